"""MarketModel: a calibrated market, frozen, saved, loaded and filtered forward.

In: what calibration fitted. Out: a value that simulation reads, that a file holds exactly, and
that `update` moves to newer prices by the volatility recursions alone, without a refit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import few, plain_time, require_type
from mcmargin.data.bars import YEAR, BarCalendar
from mcmargin.data.prices import PriceHistory, joint_returns
from mcmargin.errors import DataError
from mcmargin.models.dependence import Dependence
from mcmargin.models.innovations import Innovations
from mcmargin.models.updates import record_update, update_summary
from mcmargin.models.volatility import VARIANCE_FLOOR, Volatility

REVISED = 1e-3
"""Relative difference from which a close of the same date counts as revised, and not as rounded."""


@dataclass(frozen=True, eq=False)
class FilterState:
    """Where the filter stands: after the close of one bar, or provisionally within one.

    Attributes
    ----------
    as_of : numpy.datetime64
    prices : ndarray of shape (assets,), float64
    variance : ndarray of shape (assets,), float64
        Of the bar that comes next.
    residuals : ndarray of shape (assets,), float64
        Standardised residual of the bar that ended.
    """

    as_of: np.datetime64
    prices: NDArray[np.float64]
    variance: NDArray[np.float64]
    residuals: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class History:
    """Joint returns that the model has seen, and its filter's variances: what stress is read from.

    Its arrays are read-only. What `extended` adds is joined to them when one is first read, so
    that an update costs by its own bars, however many came before.

    Attributes
    ----------
    times : ndarray of shape (bars,), datetime64[ns]
        End of each bar, increasing.
    returns, variances : ndarray of shape (bars, assets), float64
        Simple returns as fractions, and the variance that the filter gave each bar beforehand.

    Examples
    --------
    >>> days = np.array(["2021-01-01", "2021-01-02"], "datetime64[ns]")
    >>> first = History(days[:1], np.array([[0.01]]), np.array([[1e-4]]))
    >>> second = first.extended(days[1:], np.array([[-0.02]]), np.array([[2e-4]]))
    >>> first.returns.tolist(), second.returns.tolist()
    ([[0.01]], [[0.01], [-0.02]])
    """

    times: NDArray[np.datetime64]
    returns: NDArray[np.float64]
    variances: NDArray[np.float64]

    def __post_init__(self) -> None:
        self._set((self.times, self.returns, self.variances))

    def _set(self, arrays: tuple[NDArray[Any], ...]) -> None:
        """Set the arrays to views that cannot be written: models that branch share them."""
        for name, array in zip(_HISTORY_ARRAYS, arrays, strict=True):
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    # Hidden from type checkers, to whom any name would be an attribute.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Join the parts when an array is first asked for, which is not there until then."""
            if name not in _HISTORY_ARRAYS:
                raise AttributeError(f"History has no attribute {name!r}")
            parts = self.__dict__.get("_parts")
            # Gone where another thread has joined them just now; two that join set the same.
            if parts is not None:
                self._set(tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
                self.__dict__.pop("_parts", None)
            return self.__dict__[name]

    @property
    def residuals(self) -> NDArray[np.float64]:
        """Standardised residuals; float64 [bars, assets]."""
        return np.asarray(self.returns / np.sqrt(self.variances))

    def extended(
        self,
        times: NDArray[np.datetime64],
        returns: NDArray[np.float64],
        variances: NDArray[np.float64],
    ) -> History:
        """Return the history with newer bars; this one stays as it is."""
        before = self.__dict__.get("_parts") or ((self.times, self.returns, self.variances),)
        longer = object.__new__(History)
        longer.__dict__["_parts"] = (*before, (times, returns, variances))
        return longer


_HISTORY_ARRAYS = ("times", "returns", "variances")


@dataclass(frozen=True)
class CalibrationNotes:
    """What a report tells of its model: short, however many assets there are.

    Attributes
    ----------
    assets : int
    dates : str
        Common dates, and those lost.
    updates : str
        Bars taken in since calibration, and dates lost.
    refused : dict of str to str
        By asset whose fit gave way: to what, and why.
    history_years : float
        From the first bar of the model's history to its state; 0 where it has none.
    """

    assets: int
    dates: str
    updates: str
    refused: dict[str, str]
    history_years: float


@dataclass(frozen=True, eq=False, repr=False)
class MarketModel:
    """A calibrated market.

    Attributes
    ----------
    assets : tuple of str
    volatility : Volatility
    innovations : tuple of Innovations
        One an asset.
    dependence : Dependence
    committed : FilterState
        After the last closed bar; every update starts here.
    state : FilterState
        What simulation starts from: `committed`, or a provisional state within a bar.
    tables : ndarray of shape (assets, 4163) or (0, 0), float64
        Marginal transforms (`mcmargin.models.marginals.marginal_table`); empty for `historical`.
    calendar : BarCalendar
        When bars close.
    history : History
    facts : dict
        Bar length, fits asset by asset, dates lost, updates since, data fingerprint, library
        versions.

    Examples
    --------
    >>> from mcmargin.demo import demo_model
    >>> model = demo_model()
    >>> model.assets, str(model.as_of)[:10]
    (('sp500', 'nasdaq', 'wti'), '2018-12-28')
    >>> (100 * np.sqrt(252 * model.state.variance)).round(1).tolist()  # volatility a year, in %
    [22.2, 29.7, 49.0]
    """

    assets: tuple[str, ...]
    volatility: Volatility
    innovations: tuple[Innovations, ...]
    dependence: Dependence
    committed: FilterState
    state: FilterState
    tables: NDArray[np.float64]
    calendar: BarCalendar
    history: History
    facts: dict[str, Any]

    def __repr__(self) -> str:
        within = ", provisional" if self.provisional else ""
        return (
            f"<MarketModel of {few(self.assets)}: as of {plain_time(self.as_of)}{within}, "
            f"{self.dependence.kind} dependence, {len(self.history.times):,} bars of history>"
        )

    @property
    def as_of(self) -> np.datetime64:
        """Time of the prices that simulation starts from."""
        return self.state.as_of

    @property
    def provisional(self) -> bool:
        """Whether the state is within a bar."""
        return self.state is not self.committed

    def update(self, prices: PriceHistory, *, provisional: bool = False) -> MarketModel:
        """Filter variances forward over newer closes, without a refit.

        Parameters
        ----------
        prices : PriceHistory
            All of the model's assets; rows at or before the committed state are passed over,
            and so are, as in calibration, dates on which some asset has no close.
        provisional : bool
            Take the last row as a tick within the running bar: the state is computed from the
            committed one and the bar's return so far, and is not committed. Assets without a
            price keep theirs.

        Returns
        -------
        MarketModel
            Its `update_report` tells the bars taken in and the dates lost.

        Raises
        ------
        DataError
            If an asset is missing, nothing is newer than the model, a close of the model's own
            date is another by 0.1 % or more, or a `historical` model was not made by `calibrate`.

        Examples
        --------
        >>> import pandas as pd
        >>> from mcmargin.demo import demo_model
        >>> model = demo_model()
        >>> closes = pd.DataFrame([[2500.0, 6650.0, 46.0]], ["2018-12-31"], columns=model.assets)
        >>> newer = PriceHistory.from_frame(closes)
        >>> moved = model.update(newer)
        >>> print(moved.as_of, moved.provisional)
        2018-12-31T00:00:00.000000000 False
        >>> model.update(newer, provisional=True).provisional
        True
        """
        require_type("prices", prices, PriceHistory)
        prices = prices.at_closes(self.calendar)
        places = {asset: at for at, asset in enumerate(prices.assets)}
        lacking = [asset for asset in self.assets if asset not in places]
        if lacking:
            raise DataError(f"{prices.source}: no column for asset {lacking[0]!r} of the model")
        columns = [places[asset] for asset in self.assets]
        rows = prices.prices[:, columns]
        newer = prices.times > self.committed.as_of
        if not provisional:
            newer &= np.isfinite(rows).all(axis=1)
        if not newer.any():
            raise DataError(
                f"{prices.source}: no row newer than the model's {self.committed.as_of} has a "
                "close of every asset; give prices after that time"
            )
        self._refuse_revised(prices, rows)
        if provisional:
            return replace(self, state=self._tick(prices.times[newer][-1], rows[newer][-1]))
        ordered = replace(prices, assets=self.assets, prices=rows)
        joint = joint_returns(ordered, before=(self.committed.as_of, self.committed.prices))
        variance, variances, residuals = self.committed.variance, [], []
        for bar in joint.returns:
            variances.append(variance)
            residuals.append(bar / np.sqrt(variance))
            variance = self.volatility.next_variance(variance, bar)
        state = FilterState(joint.times[-1], joint.last_prices, variance, residuals[-1])
        dependence = self.dependence
        if dependence.kind == "historical":
            dependence = dependence.with_dates(self._standardised(np.array(residuals)))
        elif np.isfinite(dependence.half_life):
            dependence = dependence.moved(np.vstack([self.history.residuals, residuals]))
        record = record_update(
            self.facts.get("update"),
            self.assets,
            self.committed.as_of,
            prices.times,
            np.isfinite(rows),
            self.calendar.mean_days,
        )
        return replace(
            self,
            committed=state,
            state=state,
            dependence=dependence,
            history=self.history.extended(joint.times, joint.returns, np.array(variances)),
            facts=self.facts | {"update": record},
        )

    def _refuse_revised(self, prices: PriceHistory, rows: NDArray[np.float64]) -> None:
        """Refuse prices whose row at the model's last close says something else than it does."""
        last = self.committed
        for row in rows[prices.times == last.as_of]:
            off = np.abs(row / last.prices - 1.0) > REVISED
            for at in np.flatnonzero(off)[:1].tolist():
                raise DataError(
                    f"{prices.source}: {self.assets[at]!r} closed at {row[at]:.6g} on "
                    f"{plain_time(last.as_of)}, and the model has {last.prices[at]:.6g}; prices "
                    "that were revised, or adjusted as for a split, need a new calibration"
                )

    def _standardised(self, residuals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Residuals [bars, assets] moved and scaled as calibration did those of its own dates."""
        try:
            fits = [self.facts["fits"][asset] for asset in self.assets]
            mean = np.array([fit["residual_mean"] for fit in fits])
            std = np.array([fit["residual_std"] for fit in fits])
        except KeyError:
            raise DataError(
                "the model does not say how its dates were standardised, so none can be added; "
                "calibrate it again"
            ) from None
        return np.asarray((residuals - mean) / std)

    def _tick(self, time: np.datetime64, row: NDArray[np.float64]) -> FilterState:
        last = self.committed
        traded = np.isfinite(row)
        prices = np.where(traded, row, last.prices)
        returns = prices / last.prices - 1.0
        moved = self.volatility.next_variance(last.variance, returns)
        variance = np.where(traded, moved, last.variance)
        residuals = np.where(traded, returns / np.sqrt(last.variance), last.residuals)
        return FilterState(time, prices, variance, residuals)

    def update_report(self) -> str:
        """Text for people: the bars that updates took in and the dates that they lost."""
        return update_summary(self.facts["update"]) if "update" in self.facts else ""

    def calibration_notes(self) -> CalibrationNotes:
        """Say what a report tells of the model."""
        refused = {
            asset: f"{_law(fit)}, as {'; '.join(fit['refused'])}"
            for asset, fit in self.facts.get("fits", {}).items()
            if fit["refused"]
        }
        dates = str(self.facts.get("join", ""))
        times = self.history.times
        years = float((self.as_of - times[0]) / YEAR) if len(times) else 0.0
        return CalibrationNotes(len(self.assets), dates, self.update_report(), refused, years)

    def fit_report(self) -> str:
        """Text for people: dates joined, updates since, each asset's fit, fallbacks, largest move.

        And on how many of the bars since its history began a variance was held at its floor.
        """
        lines = [str(self.facts.get("join", "")), self.update_report()]
        variances = self.history.variances
        held = dict(zip(self.assets, (variances <= self.volatility.floor).sum(axis=0), strict=True))
        for asset, fit in self.facts.get("fits", {}).items():
            lines.append(
                f"{asset}: {_law(fit)}, "
                f"persistence {fit['persistence']:.4f}"
                + (f" (fell back: {'; '.join(fit['refused'])})" if fit["refused"] else "")
            )
            if "largest_move" in fit:
                move = fit["largest_move"]
                lines[-1] += f"; largest move {move['return']:+.1%} to {plain_time(move['at'])}"
            if held[asset]:
                lines[-1] += (
                    f"; variance held at {VARIANCE_FLOOR:g} of the sample's on {held[asset]} of "
                    f"{len(variances)} bars"
                )
        return "\n".join(line for line in lines if line)

    @cached_property
    def _fingerprint(self) -> str:
        from mcmargin.models.model_file import model_fingerprint

        return model_fingerprint(self)

    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, over everything that the model holds."""
        return self._fingerprint

    def save(self, path: str | os.PathLike[str], *, key: bytes | None = None) -> None:
        """Write the model: to a temporary name in the same folder, synced, then renamed.

        Parameters
        ----------
        path : path
        key : bytes, optional
            Sign the checksum (HMAC-SHA-256) instead of only guarding against accidents.
        """
        from mcmargin.models.model_file import save_model

        save_model(self, path, key=key)


def _law(fit: dict[str, Any]) -> str:
    """Name the volatility and innovations that an asset's fit came to."""
    return f"{fit['volatility']}, {fit['innovations']}"

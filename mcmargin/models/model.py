"""MarketModel: a calibrated market, frozen, saved, loaded and filtered forward.

In: what calibration fitted. Out: a value that simulation reads, that a file holds exactly, and
that `update` moves to newer prices by the volatility recursions alone, without a refit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import few, plain_time, require_type
from mcmargin.data.bars import INSTANT, YEAR, BarCalendar, Closes
from mcmargin.data.plausibility import Plausibility
from mcmargin.data.prices import PriceHistory
from mcmargin.data.times import utc_time
from mcmargin.errors import DataError
from mcmargin.models.dependence import Dependence
from mcmargin.models.doubts import Doubt, doubts_of, past_halts
from mcmargin.models.halts import halted_bars
from mcmargin.models.innovations import Innovations
from mcmargin.models.updates import call_summary, revision_summary, update_summary
from mcmargin.models.volatility import VARIANCE_FLOOR, Volatility
from mcmargin.names import shown


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
    doubts : tuple of str
        What may be wrong in the prices: assets that are halted, moves that may be splits or
        misplaced digits, returns over many bars.
    """

    assets: int
    dates: str
    updates: str
    refused: dict[str, str]
    history_years: float
    doubts: tuple[str, ...] = ()


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

    @cached_property
    def plausibility(self) -> Plausibility:
        """Limits that the model was calibrated with."""
        return Plausibility(**self.facts.get("plausibility", {}))

    @cached_property
    def halted(self) -> NDArray[np.bool_]:
        """Bars of the history on which an asset was halted; bool [bars, assets]."""
        return halted_bars(self.history.returns, self.plausibility.still_bars)

    @cached_property
    def doubts(self) -> tuple[Doubt, ...]:
        """What may be wrong in the prices, and was taken: lasting halts, then the newest first."""
        return doubts_of(self)

    @property
    def as_of(self) -> np.datetime64:
        """Time of the prices that simulation starts from."""
        return self.state.as_of

    @property
    def provisional(self) -> bool:
        """Whether the state is within a bar."""
        return self.state is not self.committed

    def closes(self, count: int, time: np.datetime64) -> Closes:
        """The closes of the next bars after a market's time and after the model's own.

        Parameters
        ----------
        count : int
        time : numpy.datetime64
            Of the market. Where the model's prices are within the bar of a date, and the market
            says no more than that date, the date's close is still ahead.
        """
        calendar = self.calendar
        place, own = calendar.clock(time), calendar.clock(self.as_of).astype("datetime64[D]")
        if self.provisional and calendar.dated and place == own:
            time = time - INSTANT
        return calendar.closes(self.committed.as_of, count, after=time)

    def update(
        self,
        prices: PriceHistory,
        *,
        provisional: bool = False,
        plausibility: Plausibility | None = None,
        now: Any = None,
    ) -> MarketModel:
        """Filter variances forward over newer closes, without a refit.

        The variance of an asset that is halted (`mcmargin.models.halts`) stays where its last move
        left it.

        Parameters
        ----------
        prices : PriceHistory
            All of the model's assets; rows at or before the committed state are passed over,
            and so are, as in calibration, dates on which some asset has no close.
        provisional : bool
            Take the last row as a tick within the running bar: the state is computed from the
            committed one and the bar's return so far, and is not committed. Assets without a
            price keep theirs. Closes before it are committed, and earlier ticks passed over.
        plausibility : Plausibility, optional
            Limits of this update; those of the model by default.
        now : time, optional
            What no close may be after, by more than `future_days`; the clock by default.

        Returns
        -------
        MarketModel
            Its `update_report` tells the bars taken in, the dates lost, and what is doubtful.
            The model itself where nothing is newer.

        Raises
        ------
        DataError
            If an asset is missing, a row lies after now or within a running bar, a close of the
            model's own date is another by 0.1 % or more, a price changes by more than 1,000 times
            in a bar, two columns look swapped, a variance would not be finite, or a `historical`
            model was not made by `calibrate`. The model stays as it is.

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
        from mcmargin.models.updating import updated

        require_type("prices", prices, PriceHistory)
        try:
            clock = np.datetime64("now", "ns") if now is None else utc_time(now)
        except ValueError as error:
            raise DataError(f"now: {error}") from None
        closes = prices.at_closes(self.calendar)
        return updated(self, closes, provisional=provisional, plausibility=plausibility, now=clock)

    def update_report(self, since: MarketModel | None = None) -> str:
        """Text for people: bars that updates took in, dates lost, closes revised, and doubts.

        Empty if there is nothing to tell.

        Parameters
        ----------
        since : MarketModel, optional
            An earlier state of this model: only what came after it is told. All updates since the
            calibration by default.
        """
        if since is None:
            start = self.facts.get("update", {}).get("from", str(self.committed.as_of))
            text, first = self._updates(), np.datetime64(start)
        else:
            first = since.committed.as_of
            ticked = self.provisional and self.state is not since.state
            closed = self.committed.as_of > first
            text = f"prices of {plain_time(self.as_of)} within the running bar" if ticked else ""
            if closed or not ticked:
                most = self.plausibility.gap_bars
                called = call_summary(since.facts, self.facts, first, self.assets, most)
                text = "; ".join(filter(None, [called, text]))
        doubts = [each.text for each in self.doubts if each.lasts or each.time > first]
        return shown("; ".join(filter(None, [text, *doubts])))

    def _updates(self) -> str:
        record = self.facts.get("update")
        told = "" if record is None else update_summary(record, self.plausibility.gap_bars)
        return "; ".join(filter(None, [told, revision_summary(self.facts)]))

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
        doubts = tuple(each.text for each in self.doubts)
        return CalibrationNotes(len(self.assets), dates, self._updates(), refused, years, doubts)

    def fit_report(self) -> str:
        """Text for people: dates joined, updates since, each asset's fit, fallbacks, largest move.

        And on how many of the bars since its history began a variance was held at its floor; then
        what is doubtful in the prices.
        """
        lines = [str(self.facts.get("join", "")), self._updates()]
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
        lines += [f"To be looked at: {each.text}" for each in (*self.doubts, *past_halts(self))]
        return "\n".join(shown(line) for line in lines if line)

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

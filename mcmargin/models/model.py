"""MarketModel: a calibrated market that is updated, saved, and tells of itself.

In: the values of a model (`mcmargin.models.model_values`). Out: the model after newer prices, by
its recursions alone and without a refit; a file that holds it exactly; and texts about its fits,
updates and doubts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mcmargin.checks import few, plain_time, require_type
from mcmargin.data.bars import YEAR
from mcmargin.data.plausibility import Plausibility
from mcmargin.data.prices import PriceHistory
from mcmargin.data.times import utc_time
from mcmargin.errors import DataError
from mcmargin.models.archive import check_key, write_archive
from mcmargin.models.doubts import Doubt, doubts_of, past_halts
from mcmargin.models.model_values import ModelValues
from mcmargin.models.possible import require_finite
from mcmargin.models.update_records import call_summary, revision_summary, update_summary
from mcmargin.models.updating import updated
from mcmargin.models.volatility import VARIANCE_FLOOR
from mcmargin.names import shown


@dataclass(frozen=True)
class CalibrationNotes:
    """What a report says about its model, in few words for any number of assets.

    Attributes
    ----------
    assets : int
        Number of assets.
    dates : str
        Number of common dates and of lost ones.
    updates : str
        Number of bars taken in since calibration, and of dates lost.
    refused : dict of str to str
        For each asset whose fit was refused: the fit that is used, and why.
    history_years : float
        Years from the first bar of the model's history to its state; 0 without a history.
    doubts : tuple of str
        What may be wrong in the prices: halted assets, moves that may be splits or misplaced
        digits, and returns over many bars.
    """

    assets: int
    dates: str
    updates: str
    refused: dict[str, str]
    history_years: float
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class MarketModel(ModelValues):
    """A calibrated market: frozen, saved exactly, and moved to newer prices by `update`.

    Its attributes are those of `mcmargin.models.model_values.ModelValues`; `calibrate` and
    `load_model` make it.

    Examples
    --------
    >>> from mcmargin.demo import demo_model
    >>> model = demo_model()
    >>> model.assets, str(model.as_of)[:10]
    (('sp500', 'nasdaq', 'wti'), '2018-12-28')
    >>> (100 * np.sqrt(252 * model.state.variance)).round(1).tolist()  # volatility a year, in %
    [22.2, 29.7, 49.0]
    """

    def __repr__(self) -> str:
        within = ", provisional" if self.provisional else ""
        return (
            f"<MarketModel of {few(self.assets)}: as of {plain_time(self.as_of)}{within}, "
            f"{self.dependence.kind} dependence, {len(self.history.times):,} bars of history>"
        )

    @cached_property
    def doubts(self) -> tuple[Doubt, ...]:
        """What may be wrong in the prices: halts that last first, then the others, newest first."""
        return doubts_of(self)

    def update(
        self,
        prices: PriceHistory,
        *,
        provisional: bool = False,
        plausibility: Plausibility | None = None,
        now: Any = None,
    ) -> MarketModel:
        """Filter variances forward over newer closes, without a refit.

        The variance of a halted asset (`mcmargin.models.halts`) stays where its last move left it.

        Parameters
        ----------
        prices : PriceHistory
            Prices of all of the model's assets. Rows at or before the committed state are ignored
            and, as in calibration, so are dates on which some asset has no close.
        provisional : bool
            Take the last row as a tick within the running bar: the state is computed from the
            committed one and the bar's return so far, and is not committed. Assets without a price
            keep their last one. Closes before the tick are committed; earlier ticks are ignored.
        plausibility : Plausibility, optional
            Limits of this update; those of the model by default.
        now : time, optional
            Time from which on prices are unknown; the clock's by default. A row that is later by
            more than `future_days` is refused.

        Returns
        -------
        MarketModel
            Its `update_report` tells the bars taken in, the dates lost, and the doubts. If nothing
            is newer, it is the model itself.

        Raises
        ------
        DataError
            If an asset is missing, a row lies after now or within a running bar, a close of the
            model's own date differs by 0.1 % or more, a price changes by more than 1,000 times in a
            bar, two columns look swapped, a variance would not be finite, or a `historical` model
            was not made by `calibrate`. The model stays as it is.

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
        try:
            clock = np.datetime64("now", "ns") if now is None else utc_time(now)
        except ValueError as error:
            raise DataError(f"now: {error}") from None
        closes = prices.at_closes(self.calendar)
        return updated(self, closes, provisional=provisional, plausibility=plausibility, now=clock)

    def update_report(self, since: MarketModel | None = None) -> str:
        """Tell the bars that updates took in, the dates lost, the closes revised, and the doubts.

        It is empty if there is nothing to tell.

        Parameters
        ----------
        since : MarketModel, optional
            An earlier state of this model, after which the report begins. By default it is about
            all updates since the calibration.
        """
        if since is None:
            start = self.facts.get("update", {}).get("from", str(self.committed.as_of))
            text, first = self._updates(), np.datetime64(start)
        else:
            first = since.committed.as_of
            ticked = self.provisional and not self.state.equals(since.state)
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
        """What a report says about the model."""
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
        """Tell the common dates, the updates, each asset's fit and largest move, and all doubts.

        Of each asset it also tells which fits were refused, and on how many bars of the history its
        variance was held at the floor.
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

    def save(self, path: str | os.PathLike[str], *, key: bytes | None = None) -> None:
        """Write the model to a file, whole or not at all.

        It is written under a temporary name in the same folder, synced, and then renamed.

        Parameters
        ----------
        path : path
        key : bytes, optional
            Key of a signature (HMAC-SHA-256). Without a key the checksum guards against accidents
            alone.

        Raises
        ------
        DataError
            If the key is not bytes, a number of the state is not finite, or the file cannot be
            written.
        """
        check_key(key)
        for state in (self.committed, self.state):
            require_finite(state.prices, state.variance, self.assets, state.as_of, source=str(path))
        write_archive(path, self.arrays(), key=key)


def _law(fit: dict[str, Any]) -> str:
    """Name the volatility and the innovations of an asset's fit."""
    return f"{fit['volatility']}, {fit['innovations']}"

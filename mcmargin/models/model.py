"""MarketModel: a calibrated market, frozen, saved, loaded and filtered forward.

In: what calibration fitted. Out: a value that simulation reads, that a file holds exactly, and
that `update` moves to newer prices by the volatility recursions alone, without a refit.
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
        """What may be wrong in the prices, and was taken: lasting halts, then the newest first."""
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

    def save(self, path: str | os.PathLike[str], *, key: bytes | None = None) -> None:
        """Write the model: to a temporary name in the same folder, synced, then renamed.

        Parameters
        ----------
        path : path
        key : bytes, optional
            Sign the checksum (HMAC-SHA-256) instead of only guarding against accidents.
        """
        check_key(key)
        for state in (self.committed, self.state):
            require_finite(state.prices, state.variance, self.assets, state.as_of, source=str(path))
        write_archive(path, self.arrays(), key=key)


def _law(fit: dict[str, Any]) -> str:
    """Name the volatility and innovations that an asset's fit came to."""
    return f"{fit['volatility']}, {fit['innovations']}"

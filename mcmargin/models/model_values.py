"""What a calibrated model holds: its values, their arrays for a file, and their fingerprint.

In: what calibration fitted, or what a file gave back. Out: values that updates, doubts and files
read. `mcmargin.models.model` adds what one asks of a model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.data.bars import INSTANT, BarCalendar, Closes
from mcmargin.data.plausibility import Plausibility
from mcmargin.models.archive import digest
from mcmargin.models.dependence import Dependence
from mcmargin.models.halts import halted_bars
from mcmargin.models.history import History
from mcmargin.models.innovations import Innovations
from mcmargin.models.volatility import Volatility

SCHEMA = "mcmargin.model/2"
"""Form of a model file."""

HISTORY_FIELDS = ("times", "returns", "variances")
STATE_FIELDS = ("prices", "variance", "residuals")
VOLATILITY_FIELDS = tuple(each.name for each in fields(Volatility) if each.name != "kinds")
DEPENDENCE_FIELDS = tuple(each.name for each in fields(Dependence) if each.name != "kind")
"""Arrays of a model's parts, each by the name of its field."""


@dataclass(frozen=True, eq=False)
class FilterState:
    """Where the filter stands: after the close of a bar, or provisionally within one.

    Attributes
    ----------
    as_of : numpy.datetime64
        Time of the prices.
    prices : ndarray of shape (assets,), float64
    variance : ndarray of shape (assets,), float64
        Variance of the next bar.
    residuals : ndarray of shape (assets,), float64
        Standardised residuals of the bar that ended.
    """

    as_of: np.datetime64
    prices: NDArray[np.float64]
    variance: NDArray[np.float64]
    residuals: NDArray[np.float64]

    def equals(self, other: FilterState) -> bool:
        """Whether both have the same time and the same numbers."""
        return self is other or (
            self.as_of == other.as_of
            and all(
                np.array_equal(getattr(self, name), getattr(other, name)) for name in STATE_FIELDS
            )
        )


@dataclass(frozen=True, eq=False, repr=False)
class ModelValues:
    """The values of a calibrated market.

    Attributes
    ----------
    assets : tuple of str
    volatility : Volatility
    innovations : tuple of Innovations
        The innovations of each asset.
    dependence : Dependence
    committed : FilterState
        State after the last closed bar; every update starts from it.
    state : FilterState
        State that simulation starts from: `committed`, or a provisional one within a bar.
    tables : ndarray of shape (assets, 4163) or (0, 0), float64
        Marginal transforms (`mcmargin.models.marginals.marginal_table`); empty for `historical`.
    calendar : BarCalendar
        When bars close.
    history : History
    facts : dict
        Fits of the assets, dates lost, updates since, fingerprint of the data, and versions of
        libraries.
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

    @property
    def as_of(self) -> np.datetime64:
        """Time of the prices that simulation starts from."""
        return self.state.as_of

    @property
    def provisional(self) -> bool:
        """Whether the state is another than the committed one, as within a bar."""
        return not self.state.equals(self.committed)

    @cached_property
    def plausibility(self) -> Plausibility:
        """Limits that the model was calibrated with."""
        return Plausibility(**self.facts.get("plausibility", {}))

    @cached_property
    def halted(self) -> NDArray[np.bool_]:
        """Bars of the history on which an asset was halted; bool [bars, assets]."""
        return halted_bars(self.history.returns, self.plausibility.still_bars)

    def past_closes(self, bars: int | None = None) -> NDArray[np.float64]:
        """Closes before and after each of the newest bars; float64 [bars + 1, assets].

        They are computed back from the committed closes by the returns, and are thus exact to
        rounding.

        Parameters
        ----------
        bars : int, optional
            How many of the newest bars; all bars of the history by default.
        """
        last, returns = self.committed.prices, self.history.returns
        if bars is not None:
            returns = returns[-bars:]
        grown = np.cumprod((1.0 + returns)[::-1], axis=0)[::-1]
        return np.asarray(np.vstack([last / grown, last]))

    def closes(self, count: int, time: np.datetime64) -> Closes:
        """The next bar closes after a market's time and after the model's own.

        Parameters
        ----------
        count : int
        time : numpy.datetime64
            Time of the market. If the model's prices lie within the bar of a date, and the market
            names no more than that date, the close of the date is still ahead.
        """
        calendar = self.calendar
        place, own = calendar.clock(time), calendar.clock(self.as_of).astype("datetime64[D]")
        if self.provisional and calendar.dated and place == own:
            time = time - INSTANT
        return calendar.closes(self.committed.as_of, count, after=time)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that the model holds, as the arrays of a model file."""
        states = {"committed": self.committed}
        if self.provisional:
            states["state"] = self.state
        meta = {
            "schema": SCHEMA,
            "assets": self.assets,
            "kinds": self.volatility.kinds,
            "innovations": [each.kind for each in self.innovations],
            "dependence": self.dependence.kind,
            "as_of": {name: str(state.as_of) for name, state in states.items()},
            "calendar": self.calendar.to_words(),
            "facts": self.facts,
        }
        arrays: dict[str, NDArray[Any]] = {
            "meta": np.array(json.dumps(meta, sort_keys=True)),
            "tables": self.tables,
        }
        parts: list[tuple[str, object, tuple[str, ...]]] = [
            ("history", self.history, HISTORY_FIELDS),
            ("dependence", self.dependence, DEPENDENCE_FIELDS),
            ("volatility", self.volatility, VOLATILITY_FIELDS),
            *((name, state, STATE_FIELDS) for name, state in states.items()),
        ]
        for name, part, names in parts:
            arrays |= {f"{name}.{each}": np.asarray(getattr(part, each)) for each in names}
        for number, innovations in enumerate(self.innovations):
            arrays[f"innovations.{number}"] = innovations.parameters
        return arrays

    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, over everything that the model holds."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return digest(self.arrays())

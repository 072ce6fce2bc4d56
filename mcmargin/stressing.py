"""Losses under stress: of each margin unit, in the worst scenario of every set.

In: sets of scenarios and a book's instruments, valued once in each; then units, whose losses are
one sparse product a set. Out: a `StressTable`. Arrays are numpy's, wherever the paths lie: a set
has tens of scenarios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.figures import counts_at_spot
from mcmargin.policy_parts import Stress
from mcmargin.stress_scenarios import StressSet, stress_sets
from mcmargin.valuation import Valuation, value_change

BLOCK_BYTES = 16 * 2**20
"""Losses of one block of units in one set."""


@dataclass(frozen=True, eq=False)
class StressValues:
    """What one unit of each instrument gains in a set's scenarios.

    Attributes
    ----------
    set : StressSet
    columns : ndarray of shape (touched,), int64
        Instruments that the set touches.
    changes : ndarray of shape (touched, scenarios), float64
        Gains in the market's currency; a gain is positive.
    """

    set: StressSet
    columns: NDArray[np.int64]
    changes: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StressTable:
    """Worst losses of units, a column a set; a set that lists several has a column for each.

    Attributes
    ----------
    sets : tuple of StressSet
        One a column.
    losses : ndarray of shape (units, columns), float64
        Weighted, in each unit's currency; a gain is negative.
    members : ndarray of shape (units, columns), int64
        Position of the scenario within its set.
    """

    sets: tuple[StressSet, ...]
    losses: NDArray[np.float64]
    members: NDArray[np.int64]

    @property
    def worst(self) -> NDArray[np.float64]:
        """Each unit's largest loss; float64 [units], 0 where there are no scenarios."""
        if not self.sets:
            return np.zeros(len(self.losses))
        return np.asarray(self.losses.max(axis=1))

    def names(self) -> NDArray[Any]:
        """Names of the scenarios of all losses; text [units, columns]."""
        out = np.empty(self.losses.shape, object)
        for at, own in enumerate(self.sets):
            labels = [f"{own.name}: {each}" if each else own.name for each in own.scenarios]
            out[:, at] = np.array(labels, object)[self.members[:, at]]
        return out

    def worst_names(self) -> NDArray[Any]:
        """Names of the scenarios in which units lose most; text [units]."""
        rows = np.arange(len(self.losses))
        return np.asarray(self.names()[rows, self.losses.argmax(axis=1)])


def stress_values(part: Stress, valuation: Valuation) -> tuple[StressValues, ...]:
    """Value a book's instruments in all scenarios of a policy.

    Raises
    ------
    PolicyError
        As `mcmargin.stress_scenarios.stress_sets`.
    """
    sets = stress_sets(part, valuation.instruments, valuation.scenarios, valuation.market)
    return tuple(_valued(each, valuation) for each in sets)


def _valued(own: StressSet, valuation: Valuation) -> StressValues:
    touched = [at for at, item in enumerate(valuation.instruments) if own.touches(item)]
    changes = np.empty((len(touched), own.shocked.count))
    for row, at in enumerate(touched):
        changes[row] = value_change(valuation.instruments[at], own.shocked)
    return StressValues(own, np.array(touched, np.int64), changes)


def stress_losses(
    quantities: Any,
    currencies: Sequence[str],
    values: Sequence[StressValues],
    valuation: Valuation,
) -> StressTable:
    """Worst losses of units in each set.

    Parameters
    ----------
    quantities : scipy.sparse.csr_array of shape (units, instruments), float64
    currencies : sequence of str
        One a unit.
    values : sequence of StressValues
        Of the same instruments.
    valuation : Valuation
        Gives the market, and what a unit of each instrument is worth today.
    """
    count = quantities.shape[0]
    columns = [each for each in values for _ in range(each.set.listed)]
    losses = np.zeros((count, len(columns)))
    members = np.zeros((count, len(columns)), np.int64)
    at = 0
    for each in values:
        here = slice(at, at + each.set.listed)
        at = here.stop
        own = quantities[:, each.columns]
        size = max(1, BLOCK_BYTES // (8 * each.set.shocked.count))
        for low in range(0, count, size):
            rows = slice(low, low + size)
            gains = _converted(
                own[rows] @ each.changes, quantities, currencies, rows, each.set, valuation
            )
            found = _worst(-gains * each.set.weights, each.set.listed)
            members[rows, here], losses[rows, here] = found
    return StressTable(tuple(each.set for each in columns), losses, members)


def all_losses(
    quantities: Any, currency: str, values: Sequence[StressValues], valuation: Valuation
) -> list[NDArray[np.float64]]:
    """Losses of one unit in every scenario, set by set; weighted, float64 [scenarios] each."""
    whole = slice(0, 1)
    return [
        -each.set.weights
        * _converted(
            quantities[:, each.columns] @ each.changes,
            quantities,
            (currency,),
            whole,
            each.set,
            valuation,
        )[0]
        for each in values
    ]


def _converted(
    gains: NDArray[np.float64],
    quantities: Any,
    currencies: Sequence[str],
    rows: slice,
    own: StressSet,
    valuation: Valuation,
) -> NDArray[np.float64]:
    """Gains of a block of units, each in its currency, as `figures` converts those on paths."""
    market, codes = valuation.market, currencies[rows]
    for code in dict.fromkeys(codes):
        if code == market.currency:
            continue
        held = np.array([each == code for each in codes])
        rate, moved = market.price(code), own.shocked.currency(code)
        if counts_at_spot(code, valuation) or not own.shocked.moves(code):
            gains[held] /= rate
        else:
            start = (quantities[rows][held] @ valuation.units.value)[:, None]
            gains[held] = (start + gains[held]) / moved - start / rate
    return gains


def _worst(
    losses: NDArray[np.float64], listed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions and amounts of the largest losses of each row, the worst first."""
    if listed == 1:
        places = losses.argmax(axis=1)[:, None]
    else:
        places = np.argsort(-losses, axis=1, kind="stable")[:, :listed]
    return places, np.take_along_axis(losses, places, axis=1)

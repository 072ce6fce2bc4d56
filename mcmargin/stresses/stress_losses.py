"""Losses under stress: of each margin unit, in the worst scenario of every set.

In: sets of scenarios and a book's instruments, valued once in each; then units, whose losses are
one sparse product. Out: a `StressTable`. Arrays are numpy's, wherever the paths lie: scenarios are
few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.instruments.instruments import Instrument, assets_of
from mcmargin.markets.market import Market
from mcmargin.policies.stress_parts import Stress
from mcmargin.stresses.stress_scenarios import StressSet, stress_sets
from mcmargin.valuing.valuation import Valuation, value_change
from mcmargin.workers import parallel

BLOCK_BYTES = 16 * 2**20
"""Losses of one block of units."""


@dataclass(frozen=True, eq=False)
class StressValues:
    """What one unit of each instrument gains in every scenario.

    Attributes
    ----------
    sets : tuple of StressSet
    changes : ndarray of shape (instruments, scenarios), float64
        Gains in the market's currency, set by set; a gain is positive.
    """

    sets: tuple[StressSet, ...]
    changes: NDArray[np.float64]

    @property
    def places(self) -> list[slice]:
        """Where each set's scenarios are among all."""
        ends = np.cumsum([each.shocked.count for each in self.sets]).tolist()
        return [
            slice(end - own.shocked.count, end) for end, own in zip(ends, self.sets, strict=True)
        ]


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


def stress_values(part: Stress, valuation: Valuation) -> StressValues:
    """Value a book's instruments in all scenarios of a policy.

    Raises
    ------
    PolicyError
        As `mcmargin.stresses.stress_scenarios.stress_sets`.
    """
    items = valuation.instruments
    sets = stress_sets(part, items, valuation.scenarios, valuation.market)
    changes = np.zeros((len(items), sum(each.shocked.count for each in sets)))
    values = StressValues(sets, changes)
    names = [_names_of(item, valuation.market) for item in items]
    for own, place in zip(sets, values.places, strict=True):
        for row, item in enumerate(items):
            # What a scenario does not touch is worth what it is, to the last bit.
            if own.touches(names[row]):
                changes[row, place] = value_change(item, own.shocked)
    return values


def _names_of(item: Instrument, market: Market) -> frozenset[str]:
    """Assets and currencies that an instrument's value hangs on."""
    assets = assets_of(item)
    quoted = (market.quoted.get(asset, market.currency) for asset in assets)
    return frozenset({*assets, item.currency, *quoted})


def stress_losses(
    quantities: Any, currencies: Sequence[str], values: StressValues, valuation: Valuation
) -> StressTable:
    """Worst losses of units in each set.

    Parameters
    ----------
    quantities : scipy.sparse.csr_array of shape (units, instruments), float64
    currencies : sequence of str
        One a unit.
    values : StressValues
        Of the same instruments.
    valuation : Valuation
        Gives the market, and what a unit of each instrument is worth today.
    """
    count = quantities.shape[0]
    size = max(1, BLOCK_BYTES // (8 * max(1, values.changes.shape[1])))

    def work(low: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        rows = slice(low, low + size)
        losses = all_losses(quantities[rows], currencies[rows], values, valuation)
        found = [
            _worst(losses[:, place], own.listed)
            for own, place in zip(values.sets, values.places, strict=True)
        ]
        columns = sum(own.listed for own in values.sets)
        members = np.zeros((len(losses), columns), np.int64)
        worst = np.zeros((len(losses), columns))
        if found:
            np.concatenate([each[0] for each in found], axis=1, out=members)
            np.concatenate([each[1] for each in found], axis=1, out=worst)
        return members, worst

    blocks = range(0, count, size)
    parts = list(parallel(work, blocks, min(valuation.threads, len(blocks))))
    members, losses = (np.concatenate(each) for each in zip(*parts, strict=True))
    return StressTable(
        tuple(own for own in values.sets for _ in range(own.listed)), losses, members
    )


def all_losses(
    quantities: Any, currencies: Sequence[str], values: StressValues, valuation: Valuation
) -> NDArray[np.float64]:
    """Weighted losses of units in every scenario, each in its currency; [units, scenarios].

    Parameters are those of `stress_losses`.
    """
    gains = np.asarray(quantities @ values.changes)
    market = valuation.market
    for code in dict.fromkeys(currencies):
        if code == market.currency:
            continue
        held = np.array([each == code for each in currencies])
        rate = market.worth(code)
        start = (quantities[held] @ valuation.units.value)[:, None]
        for own, place in zip(values.sets, values.places, strict=True):
            part = gains[held, place]
            # As `figures` converts what is gained on paths.
            if code in market.coins or code not in own.shocked.moved:
                gains[held, place] = part / rate
            else:
                gains[held, place] = (start + part) / own.shocked.currency(code) - start / rate
    if values.sets:
        gains *= -np.concatenate([own.weights for own in values.sets])
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

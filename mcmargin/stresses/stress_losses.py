"""Losses under stress: what each margin unit loses in the worst scenario of every set.

In: the sets of scenarios of a policy, and a book's instruments, valued once in each scenario; then
units, whose losses are one sparse product. Out: a `StressTable`. There are few scenarios, so that
all arrays are numpy's, wherever simulated paths lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.draws.plan import SimulationPlan
from mcmargin.instruments.instruments import Instrument, assets_of
from mcmargin.markets.market import Market
from mcmargin.policies.stress_parts import Stress
from mcmargin.stresses.stress_scenarios import StressSet, stress_sets
from mcmargin.valuing.instrument_values import converted, instrument_values_of, value_change
from mcmargin.valuing.outlooks import Outlooks
from mcmargin.valuing.shocked_market import Moves
from mcmargin.workers import parallel

BLOCK_BYTES = 16 * 2**20
"""Losses of one block of units."""


@dataclass(frozen=True, eq=False)
class ValuedSet:
    """A `StressSet` in which instruments have been valued, without the market in its scenarios.

    Attributes
    ----------
    name : str
    scenarios : tuple of str
    weights : ndarray of shape (scenarios,), float64
        Share of the loss that counts.
    listed : int
        Number of the worst scenarios that are listed.
    currencies : mapping of str to ndarray of shape (scenarios,), float64
        Value in the market's currency of each currency that the scenarios move, coins left out.
    """

    name: str
    scenarios: tuple[str, ...]
    weights: Moves
    listed: int
    currencies: Mapping[str, Moves]

    @classmethod
    def of(cls, own: StressSet, market: Market) -> ValuedSet:
        """The part of a set from which losses are computed."""
        # As on simulated paths, a gain is converted into a coin at today's price.
        codes = {*market.fx, *market.quoted.values()} & own.shocked.moved - {*market.coins}
        currencies = {code: own.shocked.currency(code) for code in sorted(codes)}
        return cls(own.name, own.scenarios, own.weights, own.listed, currencies)


@dataclass(frozen=True, eq=False)
class StressValues:
    """Gains of one unit of each instrument in every scenario.

    Attributes
    ----------
    sets : tuple of ValuedSet
    changes : ndarray of shape (instruments, scenarios), float64
        Gains in the market's currency, set after set; a gain is positive.
    today : ndarray of shape (instruments,), float64
        Value today of one unit of each instrument, in the market's currency.
    market : Market
        Of today.
    """

    sets: tuple[ValuedSet, ...]
    changes: NDArray[np.float64]
    today: NDArray[np.float64]
    market: Market

    @property
    def places(self) -> list[slice]:
        """The columns of each set's scenarios."""
        counts = [len(each.scenarios) for each in self.sets]
        ends = np.cumsum(counts).tolist()
        return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]


@dataclass(frozen=True, eq=False)
class StressTable:
    """Worst losses of units. A set has one column for each of the worst scenarios that it lists.

    Attributes
    ----------
    sets : tuple of ValuedSet
        The set of each column.
    losses : ndarray of shape (units, columns), float64
        Weighted losses, in each unit's currency; a gain is negative.
    members : ndarray of shape (units, columns), int64
        Position of the scenario within its set.
    """

    sets: tuple[ValuedSet, ...]
    losses: NDArray[np.float64]
    members: NDArray[np.int64]

    @property
    def worst(self) -> NDArray[np.float64]:
        """Each unit's largest loss; float64 [units]. It is 0 if there are no scenarios."""
        if not self.sets:
            return np.zeros(len(self.losses))
        return np.asarray(self.losses.max(axis=1))

    def names(self) -> NDArray[Any]:
        """Names of the scenarios in which these losses happen; text [units, columns]."""
        out = np.empty(self.losses.shape, object)
        for at, own in enumerate(self.sets):
            labels = [f"{own.name}: {each}" if each else own.name for each in own.scenarios]
            out[:, at] = np.array(labels, object)[self.members[:, at]]
        return out

    def worst_names(self) -> NDArray[Any]:
        """Name of the scenario in which each unit loses most; text [units]."""
        rows = np.arange(len(self.losses))
        return np.asarray(self.names()[rows, self.losses.argmax(axis=1)])


def stress_values(
    part: Stress,
    instruments: Sequence[Instrument],
    market: Market,
    outlooks: Outlooks,
    price_floor: float = SimulationPlan.price_floor,
) -> StressValues:
    """Value a book's instruments in all scenarios of a policy.

    Parameters and errors are those of `mcmargin.stresses.stress_scenarios.stress_sets`.
    """
    sets = stress_sets(part, instruments, market, outlooks, price_floor)
    changes = np.zeros((len(instruments), sum(len(each.scenarios) for each in sets)))
    valued = tuple(ValuedSet.of(each, market) for each in sets)
    values = StressValues(valued, changes, instrument_values_of(instruments, market).value, market)
    names = [_names_of(item, market) for item in instruments]
    for own, place in zip(sets, values.places, strict=True):
        for row, item in enumerate(instruments):
            # What a scenario does not touch gains exactly 0, which revaluing would miss by a bit.
            if own.touches(names[row]):
                changes[row, place] = value_change(item, own.shocked)
    return values


def _names_of(item: Instrument, market: Market) -> frozenset[str]:
    """Assets and currencies that the value of an instrument depends on."""
    assets = assets_of(item)
    quoted = (market.quoted.get(asset, market.currency) for asset in assets)
    return frozenset({*assets, item.currency, *quoted})


def stress_losses(
    quantities: Any, currencies: Sequence[str], values: StressValues, *, threads: int = 1
) -> StressTable:
    """Worst losses of units in each set.

    Parameters
    ----------
    quantities : scipy.sparse.csr_array of shape (units, instruments), float64
    currencies : sequence of str
        The currency of each unit.
    values : StressValues
        Of the same instruments.
    threads : int
        Threads that share the units.
    """
    count = quantities.shape[0]
    size = max(1, BLOCK_BYTES // (8 * max(1, values.changes.shape[1])))

    def work(low: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        rows = slice(low, low + size)
        losses = all_losses(quantities[rows], currencies[rows], values)
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
    parts = list(parallel(work, blocks, min(threads, len(blocks))))
    members, losses = (np.concatenate(each) for each in zip(*parts, strict=True))
    return StressTable(
        tuple(own for own in values.sets for _ in range(own.listed)), losses, members
    )


def all_losses(
    quantities: Any, currencies: Sequence[str], values: StressValues
) -> NDArray[np.float64]:
    """Weighted losses of units in every scenario, in each unit's currency; [units, scenarios].

    Parameters are those of `stress_losses`.
    """
    gains = np.asarray(quantities @ values.changes)
    market = values.market
    for code in dict.fromkeys(currencies):
        if code == market.currency:
            continue
        held = np.array([each == code for each in currencies])
        rate = market.worth(code)
        start = (quantities[held] @ values.today)[:, None]
        for own, place in zip(values.sets, values.places, strict=True):
            part, then = gains[held, place], own.currencies.get(code)
            if then is None:
                gains[held, place] = part / rate
            else:
                gains[held, place] = converted(part, start, then, rate)
    if values.sets:
        gains *= -np.concatenate([own.weights for own in values.sets])
    return gains


def _worst(
    losses: NDArray[np.float64], listed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Columns and amounts of the largest losses of each row, the worst first."""
    if listed == 1:
        places = losses.argmax(axis=1)[:, None]
    else:
        places = np.argsort(-losses, axis=1, kind="stable")[:, :listed]
    return places, np.take_along_axis(losses, places, axis=1)

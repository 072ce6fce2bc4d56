"""The stress add-on: a share of the losses that stress adds to base.

In: units with their expected shortfall, and their worst loss in the policy's scenarios. Out:
amounts by unit, in the unit's currency. The add-on charges two excesses over base, each at its
weight in the policy:

worst scenario       the largest loss in all stress scenarios
worse of two tests   two largest: the sum of the two largest expected shortfalls of an underlying;
                     perfect dependence: the sum of the expected shortfalls of all underlyings,
                     which is the expected shortfall if they all move in step (comonotone)

The tests look at positions; open orders count in base alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.margins.estimates import (
    GROUPS,
    Estimate,
    chosen,
    fixed,
    larger,
    minus,
    plus,
    times,
)
from mcmargin.margins.lone import lone_estimates, shortfalls_of
from mcmargin.margins.unit_context import Amounts, UnitContext
from mcmargin.progress import Progress

LARGEST = 2
"""Number of underlyings in the two-largest test."""

FAR = 8.0
"""Standard errors below the other test, beyond which the two-largest test does not count."""

PARTS_AT_A_TIME = 2**14
"""Number of parts of units whose movements are kept at a time."""


def add_on(context: UnitContext, base: Estimate) -> Estimate:
    """Weighted excesses over base: of the worst scenario, and of the worse of two tests.

    References
    ----------
    OCC, STANS: the add-on is a fraction of the excess over the base expected shortfall of the worse
    of two tests: concentration (the two largest risk factors; here the two-largest test) and
    perfect dependence.
    """
    part = context.policy.stress
    added = none = fixed(np.zeros(len(context.units.currencies)))
    if part is None:
        return added
    if part.scenario_weight and context.stress is not None:
        beyond = larger(minus(fixed(context.stress.worst), base), none, context.kink("scenario"))
        added = plus(added, times(part.scenario_weight, beyond))
    if part.dependence_weight:
        worse = larger(*_tests(context), context.kink("tests"))
        beyond = larger(minus(worse, base), none, context.kink("worse test"))
        added = plus(added, times(part.dependence_weight, beyond))
    return added


def dependence_tests(context: UnitContext) -> tuple[Amounts, Amounts]:
    """Two-largest test and perfect-dependence test of every unit.

    The sum of expected shortfalls is exact for underlyings that move in step, if the profit and
    loss of each underlying rises with its factor. Otherwise it is an upper bound for every
    dependence.
    """
    two_largest, dependent = _tests(context)
    return two_largest.amounts, dependent.amounts


def _tests(context: UnitContext) -> tuple[Estimate, Estimate]:
    """The two tests, with how they move with the paths."""
    parts = _parts_of(context)
    shortfalls, moved = _shortfalls(context, parts, np.ones(len(parts.owner)), context.next_pass())
    dependent = np.asarray(parts.matrix(shortfalls).sum(axis=1), np.float64)
    largest = np.maximum(shortfalls, 0.0)
    order = np.lexsort((-largest, parts.owner))
    rank = np.arange(len(order)) - parts.indptr[parts.owner]
    taken = order[rank < LARGEST]
    two_largest = np.zeros(len(dependent))
    np.add.at(two_largest, parts.owner[taken], largest[taken])
    all_of_it = replace(moved, amounts=dependent)
    if not context.together:
        return fixed(two_largest), all_of_it
    # Both tests move alike if the unit has no other parts. If it has, the movements of the two
    # largest parts are computed where the two-largest test may be the worse one.
    weights = np.zeros(len(shortfalls))
    weights[taken] = largest[taken] > 0.0
    others = np.bincount(parts.owner, weights == 0.0, len(dependent)) > 0
    needed = others & (two_largest > dependent - FAR * all_of_it.error)
    if needed.any():
        _, own = _shortfalls(context, parts, weights * needed[parts.owner])
        moved = chosen(own, moved, needed)
    return replace(moved, amounts=two_largest), all_of_it


@dataclass(frozen=True, eq=False)
class _Parts:
    """Units, split into parts: a part is all positions of a unit in one underlying.

    Attributes
    ----------
    owner, underlying : ndarray of shape (parts,), int64
        Unit and underlying of each part, in the order of units, then of underlyings' names.
    indptr : ndarray of shape (units + 1,), int64
        Place of each unit's first part.
    underlyings : int
        Number of underlyings.
    whole : ndarray of shape (parts,), bool
        Whether the part is the whole unit.
    lone, lone_unit, lone_column : ndarray of shape (lone parts,), int64
        Parts of a single position, with their units and instruments.
    lone_size : ndarray of shape (lone parts,), float64
    several : ndarray of shape (other parts,), int64
        Parts of several positions.
    rows : scipy.sparse.csr_array of shape (other parts, instruments), float64
        Their positions.
    """

    owner: NDArray[np.int64]
    underlying: NDArray[np.int64]
    indptr: NDArray[np.int64]
    underlyings: int
    whole: NDArray[np.bool_]
    lone: NDArray[np.int64]
    lone_unit: NDArray[np.int64]
    lone_column: NDArray[np.int64]
    lone_size: NDArray[np.float64]
    several: NDArray[np.int64]
    rows: sparse.csr_array

    def matrix(self, amounts: NDArray[np.float64]) -> sparse.csr_array:
        """Amounts of parts as a matrix [units, underlyings]; entries of 0 are kept."""
        shape = (len(self.indptr) - 1, self.underlyings)
        return sparse.csr_array((amounts, self.underlying, self.indptr), shape=shape)


def underlying_shortfalls(context: UnitContext) -> sparse.csr_array:
    """Expected shortfall of each unit's positions in one underlying alone.

    Returns
    -------
    scipy.sparse.csr_array of shape (units, underlyings), float64
        Underlyings are in the order of their names. Where a unit has positions, an entry of 0 is
        kept.
    """
    parts = _parts_of(context)
    none = np.zeros(len(parts.owner))
    return parts.matrix(_shortfalls(context, parts, none, context.next_pass())[0])


def _parts_of(context: UnitContext) -> _Parts:
    units, valuation = context.units, context.valuation
    # A currency whose rate is an asset of the model counts as that asset.
    same = valuation.market.fx_asset
    factors = [same.get(item.underlying, item.underlying) for item in valuation.instruments]
    names = sorted(set(factors))
    group = np.array([names.index(factor) for factor in factors], np.int64)
    quantities = units.quantities
    unit = np.repeat(np.arange(quantities.shape[0]), np.diff(quantities.indptr))
    keys, part = np.unique(unit * len(names) + group[quantities.indices], return_inverse=True)
    owner, underlying = np.divmod(keys, max(1, len(names)))
    positions = np.bincount(part, minlength=len(keys))
    counts = np.bincount(owner, minlength=quantities.shape[0])
    # The figures of a unit in one underlying are known already.
    whole = counts[owner] == 1
    single = (~whole & (positions == 1))[part]
    several = ~whole & (positions > 1)
    own = several[part]
    place = (np.cumsum(several) - 1)[part[own]]
    shape = int(several.sum()), quantities.shape[1]
    return _Parts(
        owner=owner,
        underlying=underlying,
        indptr=np.concatenate([[0], np.cumsum(counts)]),
        underlyings=len(names),
        whole=whole,
        lone=part[single],
        lone_unit=unit[single],
        lone_column=quantities.indices[single].astype(np.int64),
        lone_size=quantities.data[single],
        several=np.flatnonzero(several),
        rows=sparse.csr_array(
            (quantities.data[own], (place, quantities.indices[own])), shape=shape
        ),
    )


def _shortfalls(
    context: UnitContext,
    parts: _Parts,
    weights: NDArray[np.float64],
    progress: Progress | None = None,
) -> tuple[NDArray[np.float64], Estimate]:
    """Expected shortfall of each part, and the movements of their weighted sums by unit.

    The estimate of the sums has movements alone; its amounts are 0. Parts of several positions are
    left out if their weight is 0, unless all weights are 0.
    """
    shortfalls, count = np.zeros(len(parts.owner)), len(parts.indptr) - 1
    whole, codes = context.figures.estimates.expected_shortfall, context.units.currencies
    shortfalls[parts.whole] = whole.amounts[parts.owner[parts.whole]]
    columns, which = _kinds(context, parts)
    lone = lone_estimates(context, *columns)
    sizes = np.abs(parts.lone_size)
    shortfalls[parts.lone] = sizes * lone.amounts[which]
    moves = np.zeros((count, GROUPS if context.together else 0))
    if context.together:
        owner = parts.owner[parts.whole]
        moves[owner] = weights[parts.whole, None] * whole.moves[owner]
        if len(which):
            shares = (sizes * weights[parts.lone], (parts.lone_unit, which))
            share = sparse.csr_array(shares, shape=(count, len(lone.amounts)))
            moves += np.asarray(share @ lone.moves)
    wanted = np.arange(len(parts.several))
    if weights.any() and not weights.all():
        wanted = np.flatnonzero(weights[parts.several])
    # The movements of all parts would not fit the memory; without movements one pass does.
    step = PARTS_AT_A_TIME if context.together else max(1, len(wanted))
    for low in range(0, len(wanted), step):
        chunk = wanted[low : low + step]
        own = parts.owner[parts.several[chunk]]
        told = None if progress is None else _pieces(progress, low, len(chunk), len(wanted))
        here = shortfalls_of(context, parts.rows[chunk], tuple(codes[at] for at in own), told)
        shortfalls[parts.several[chunk]] = here.amounts
        if context.together:
            np.add.at(moves, own, weights[parts.several[chunk], None] * here.moves)
    return shortfalls, Estimate(np.zeros(count), moves, np.zeros((count, 0)))


def _kinds(
    context: UnitContext, parts: _Parts
) -> tuple[tuple[NDArray[np.int64], NDArray[np.bool_], list[str]], NDArray[np.int64]]:
    """Different instruments, sides and currencies of lone positions, and which one each has."""
    codes = sorted(set(context.units.currencies))
    place = {code: at for at, code in enumerate(codes)}
    code = np.array([place[each] for each in context.units.currencies], np.int64)
    keys = (parts.lone_column * 2 + (parts.lone_size < 0)) * len(codes) + code[parts.lone_unit]
    found, which = np.unique(keys, return_inverse=True)
    side, currency = np.divmod(found, len(codes))
    return (side // 2, side % 2 == 1, [codes[at] for at in currency]), which


def _pieces(progress: Progress, start: int, size: int, count: int) -> Progress:
    """Progress of a part of a pass, told as progress of the whole pass."""
    return lambda done, total: progress(start + size * done // total, count)

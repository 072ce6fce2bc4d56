"""Tails of margin units, where the values of their instruments do not fit the memory.

In: units, and a valuation that gives value changes by blocks of paths. Out: each unit's worst
losses. Units are taken in groups. On a block of paths every instrument is valued once for all units
of a group. For each unit, only the worst losses so far are kept, and all of its gains if it has
open orders. A group has as many units as fit the memory: since each group values its instruments
anew, few groups are better than many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.books.units import Units
from mcmargin.margins.gains import block_gains
from mcmargin.numerics.arrays import array_module
from mcmargin.numerics.selection import BYTES_A_LOSS, WorstLosses
from mcmargin.numerics.tail import check_finite, tail_width
from mcmargin.progress import Progress
from mcmargin.valuing.scenario_market import PathBlock
from mcmargin.valuing.valuation import Valuation
from mcmargin.workers import parallel

SHARE_OF_LIMIT = 2 / 3
"""Share of the memory limit that the worst losses and gains of a group may take."""

PIECES = 16
"""One over the share of the memory limit that a piece of units may take on a block of paths."""

LARGEST_PIECE = 2 * 2**20
"""Bytes of the gains of a piece on a block of paths; more would not fit the processor's cache."""


@dataclass(frozen=True, eq=False)
class Group:
    """Some units, with the instruments that at least one of them holds.

    Attributes
    ----------
    rows : range
        Places of the units among all.
    quantities : scipy.sparse.csr_array of shape (units, instruments)
    codes : tuple of str
        Currencies, one a unit.
    valuation : Valuation
        Of these instruments alone.
    columns : ndarray of shape (instruments,), int64
        Places of the instruments among all.
    ordered : ndarray of shape (n,), int64
        Places in the group of the units that have open orders.
    holders : ndarray of shape (n,), int64
        Places in the group of the units that have collateral; empty where nobody asks for their
        positions alone.
    """

    rows: range
    quantities: Any
    codes: tuple[str, ...]
    valuation: Valuation
    columns: NDArray[np.int64]
    ordered: NDArray[np.int64]
    holders: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GroupTails:
    """What was found for a group.

    Attributes
    ----------
    worst : WorstLosses
        Of all units.
    alone : WorstLosses
        Of the positions of `holders`, without their collateral.
    gains : ndarray of shape (units of `ordered`, paths), float64
    """

    worst: WorstLosses
    alone: WorstLosses
    gains: Any


def with_orders(units: Units) -> NDArray[np.bool_]:
    """Which units have open orders; bool [units]."""
    return np.asarray((np.diff(units.buys.indptr) > 0) | (np.diff(units.sells.indptr) > 0))


def groups_of(
    units: Units, valuation: Valuation, level: float, confidence: float, *, whole: bool
) -> Iterator[Group]:
    """Groups of units, in their order; each has as many units as fit the memory.

    Parameters
    ----------
    units : Units
    valuation : Valuation
    level, confidence : float
    whole : bool
        Whether open orders, and positions without their collateral, are asked for too.
    """
    for rows in group_rows(units, valuation, level, confidence, whole=whole):
        yield _group(units, valuation, rows, whole)


def group_rows(
    units: Units, valuation: Valuation, level: float, confidence: float, *, whole: bool
) -> list[range]:
    """Places of the units of each group; parameters of `groups_of`."""
    paths, count = valuation.scenarios.plan.paths, units.quantities.shape[0]
    sizes = np.full(count, 1.5 * BYTES_A_LOSS * tail_width(paths, level, confidence))
    if whole:
        sizes += 8.0 * paths * with_orders(units)
        sizes += BYTES_A_LOSS * tail_width(paths, level) * (_posted(units, valuation) > 0)
    most = SHARE_OF_LIMIT * valuation.memory_limit
    starts, total = [0], 0.0
    for row, size in enumerate(sizes.tolist()):
        if total + size > most and row > starts[-1]:
            starts.append(row)
            total = 0.0
        total += size
    return [range(low, high) for low, high in zip(starts, [*starts[1:], count], strict=True)]


def _posted(units: Units, valuation: Valuation) -> NDArray[np.int64]:
    """Number of balances that move, for each unit."""
    balances = len(valuation.collateral.instruments)
    if balances == 0:
        return np.zeros(units.quantities.shape[0], np.int64)
    return np.asarray(np.diff(units.quantities[:, -balances:].indptr), np.int64)


def _group(units: Units, valuation: Valuation, rows: range, whole: bool) -> Group:
    here = slice(rows.start, rows.stop)
    quantities = units.quantities[here]
    columns = np.unique(quantities.indices).astype(np.int64)
    none = np.zeros(0, np.int64)
    ordered = np.flatnonzero(with_orders(units)[here]) if whole else none
    holders = np.flatnonzero(_posted(units, valuation)[here]) if whole else none
    return Group(
        rows=rows,
        quantities=quantities[:, columns],
        codes=units.currencies[here],
        valuation=some_of(valuation, columns),
        columns=columns,
        ordered=ordered,
        holders=holders,
    )


def some_of(valuation: Valuation, columns: NDArray[np.int64]) -> Valuation:
    """A valuation of some of the instruments, in their order."""
    return replace(valuation, instruments=tuple(valuation.instruments[at] for at in columns))


def tails_of_group(
    group: Group, level: float, confidence: float, progress: Progress | None = None
) -> GroupTails:
    """The worst losses of a group, in one pass over the paths.

    Parameters
    ----------
    group : Group
    level, confidence : float
    progress : callable, optional
        Called with paths done and in all.
    """
    valuation = group.valuation
    xp, paths = array_module(valuation.scenarios.returns), valuation.scenarios.plan.paths
    found = GroupTails(
        WorstLosses(rows=len(group.rows), count=tail_width(paths, level, confidence), xp=xp),
        WorstLosses(rows=len(group.holders), count=tail_width(paths, level), xp=xp),
        xp.zeros((len(group.ordered), paths)),
    )
    threads = valuation.threads if xp is np else 1
    for block, changes in valuation.blocks():
        share = min(LARGEST_PIECE, valuation.memory_limit // (PIECES * threads))
        size = max(1, share // (8 * changes.shape[1]))
        starts = range(0, len(group.rows), size)
        pieces = [range(low, min(low + size, len(group.rows))) for low in starts]

        def work(rows: range, block: PathBlock = block, changes: Any = changes) -> None:
            _look(group, found, rows, block, changes)

        for _ in parallel(work, pieces, min(threads, len(pieces))):
            pass
        if progress is not None:
            progress(block.paths.stop, paths)
        # The next block is made without these values in memory.
        del changes, work
    return found


def _look(group: Group, found: GroupTails, rows: range, block: PathBlock, changes: Any) -> None:
    """Add the losses of some units of a group on a block of paths to what was found."""
    valuation, here = group.valuation, slice(rows.start, rows.stop)
    quantities, codes, first = group.quantities[here], group.codes[here], block.paths.start
    gains = block_gains(quantities, changes, codes, block, valuation)
    low, high = np.searchsorted(group.ordered, (rows.start, rows.stop))
    if low < high:
        own = block.xp.asarray(group.ordered[low:high] - rows.start)
        found.gains[low:high, block.paths] = gains[own]
    losses = block.xp.negative(gains, out=gains)
    check_finite(losses)
    found.worst.add(losses, first_path=first, first_row=rows.start)
    low, high = np.searchsorted(group.holders, (rows.start, rows.stop))
    if low < high:
        holders = group.holders[low:high] - rows.start
        balances = len(valuation.collateral.instruments)
        posted = quantities[holders][:, -balances:]
        own_codes = tuple(codes[at] for at in holders)
        alone = block_gains(posted, changes[-balances:], own_codes, block, valuation.collateral)
        alone += losses[block.xp.asarray(holders)]
        check_finite(alone)
        found.alone.add(alone, first_path=first, first_row=int(low))

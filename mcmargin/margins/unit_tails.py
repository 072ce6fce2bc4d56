"""Tails of margin units whose instruments' values do not fit the memory.

In: units, and a valuation that gives value changes by blocks of paths. Out: each unit's worst
losses. On a block of paths every instrument is valued once, and then serves all units of a group;
of each unit only its worst losses so far are held, and all of its gains where it has open orders.
A group is as many units as fit: each group values its instruments anew, so that the fewer groups
there are, the better.
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
"""Share of the memory limit that a group's worst losses and gains may take."""

PIECES = 16
"""One over the share of the memory limit that one piece of units may take on a block of paths."""

LARGEST_PIECE = 2 * 2**20
"""Bytes of a piece's gains on a block of paths: more would leave the processor's cache."""


@dataclass(frozen=True, eq=False)
class Group:
    """Some units, and what is looked at for them.

    Attributes
    ----------
    rows : range
        Of all units.
    quantities : scipy.sparse.csr_array of shape (units, instruments)
        Of the instruments that one of these units holds, in their order.
    codes : tuple of str
        Currencies, one a unit.
    valuation : Valuation
        Of those instruments alone.
    columns : ndarray of shape (instruments,), int64
        Where they are among all.
    ordered : ndarray of shape (n,), int64
        Units that have open orders, counted within the group.
    holders : ndarray of shape (n,), int64
        Units that have collateral, where their positions alone are asked for.
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
    """What was found of a group.

    Attributes
    ----------
    worst : WorstLosses
        Of all units.
    alone : WorstLosses
        Of the holders' positions without their collateral.
    gains : ndarray of shape (ordered units, paths), float64
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
    """Units in their order, so many at a time that what is held of them fits.

    Parameters
    ----------
    units : Units
    valuation : Valuation
    level, confidence : float
    whole : bool
        Whether open orders, and positions without their collateral, are looked at.
    """
    for rows in group_rows(units, valuation, level, confidence, whole=whole):
        yield _group(units, valuation, rows, whole)


def group_rows(
    units: Units, valuation: Valuation, level: float, confidence: float, *, whole: bool
) -> list[range]:
    """Which units each group has; parameters as of `groups_of`."""
    paths, count = valuation.scenarios.plan.paths, units.quantities.shape[0]
    held = np.full(count, 1.5 * BYTES_A_LOSS * tail_width(paths, level, confidence))
    if whole:
        held += 8.0 * paths * with_orders(units)
        held += BYTES_A_LOSS * tail_width(paths, level) * (_posted(units, valuation) > 0)
    most = SHARE_OF_LIMIT * valuation.memory_limit
    starts, total = [0], 0.0
    for row, size in enumerate(held.tolist()):
        if total + size > most and row > starts[-1]:
            starts.append(row)
            total = 0.0
        total += size
    return [range(low, high) for low, high in zip(starts, [*starts[1:], count], strict=True)]


def _posted(units: Units, valuation: Valuation) -> NDArray[np.int64]:
    """How many balances that move each unit has."""
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
        # Else they would be held while the next block is made.
        del changes, work
    return found


def _look(group: Group, found: GroupTails, rows: range, block: PathBlock, changes: Any) -> None:
    """Losses of some of a group's units on a block of paths."""
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

"""Units' open orders: what the worst fills add to the expected shortfall of each unit.

In: units with the tails of their positions, and their gains on all paths. Out: each unit's expected
shortfall with the fills that make it largest, and what those fills add to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.units import Units
from mcmargin.margins.estimates import (
    Estimate,
    collapsed,
    fixed,
    joined,
    minus,
    tail_estimate,
    with_rows,
)
from mcmargin.margins.gains import instrument_gains
from mcmargin.margins.worst_fill_errors import worst_fills_estimate
from mcmargin.margins.worst_fills import MEMORY, Blocks, piece_paths, worst_fills
from mcmargin.numerics.tail import Tails, some_tails
from mcmargin.valuing.scenario_market import PathBlock
from mcmargin.valuing.valuation import Valuation


def with_worst_fills(
    units: Units,
    rows: range,
    gains_at: Callable[[int], Any],
    tails: Tails,
    valuation: Valuation,
    *,
    together: bool,
    errors: bool,
) -> tuple[Estimate, Estimate]:
    """Each unit's expected shortfall with the worst fills, and what those fills add to it.

    Parameters
    ----------
    units : Units
        All of them.
    rows : range
        Units that are asked for.
    gains_at : callable
        Gains on all paths of the unit at a place among those rows.
    tails : Tails
        Of the positions of those rows.
    valuation : Valuation
    together, errors : bool
        As for `mcmargin.margins.figures.unit_figures`.
    """
    shortfall = tail_estimate(tails, together=together)
    none = fixed(np.zeros(len(rows)))
    if units.buys.nnz == 0 and units.sells.nnz == 0:
        return shortfall, none
    buys, sells = (matrix[rows.start : rows.stop] for matrix in (units.buys, units.sells))
    columns = _ordered_columns(buys, sells)
    # What the worst losses of combinations of fills may take beside other profit and loss.
    memory = min(MEMORY, max(1, valuation.memory_limit // 4))
    places: list[int] = []
    found: list[Estimate] = []
    for batch, valued in _batches(columns, valuation):
        for at, blocks in _batch_blocks(batch, valued, columns, rows, units, valuation):
            own, gains = columns[at], gains_at(at)
            sold, bought = (matrix[[at]].toarray()[0][own] for matrix in (sells, buys))
            most, fills = worst_fills(gains, blocks, sold, bought, level=tails.level, memory=memory)
            worst = fixed(np.array([max(most, float(tails.expected_shortfall[at]))]))
            if errors:
                # On other paths other fills may be the worst: that changes the movements alone.
                moved = worst_fills_estimate(gains, blocks, sold, bought, fills, level=tails.level)
                worst = replace(moved, amounts=worst.amounts)
            places.append(at)
            found.append(worst)
    if not places:
        return shortfall, none
    rows_with = np.array(places)
    worst = joined(found)
    added = minus(worst, tail_estimate(some_tails(tails, rows_with)))
    if not together:
        worst, added = collapsed(worst), collapsed(added)
    # The sum of the two columns, so that no bit differs from it.
    worst = replace(worst, amounts=tails.expected_shortfall[rows_with] + added.amounts)
    return with_rows(shortfall, rows_with, worst), with_rows(none, rows_with, added)


def _ordered_columns(buys: sparse.csr_array, sells: sparse.csr_array) -> list[NDArray[np.int64]]:
    """Places of the instruments that each unit has ordered, in their order."""
    asked = (abs(buys) + abs(sells)).tocsr()
    asked.eliminate_zeros()
    return [
        np.sort(asked.indices[low:high].astype(np.int64))
        for low, high in zip(asked.indptr[:-1], asked.indptr[1:], strict=True)
    ]


def _batch_blocks(
    batch: list[int],
    valued: NDArray[np.int64],
    columns: list[NDArray[np.int64]],
    rows: range,
    units: Units,
    valuation: Valuation,
) -> Iterator[tuple[int, Blocks]]:
    """Units with orders, each with the gains of one unit of every instrument that it ordered.

    The gains come in blocks of paths. Values of a batch are kept if they fit; if those of a single
    unit do not fit, they are made again whenever they are looked at.
    """
    kept: list[tuple[PathBlock, Any]] | None = None
    if valuation.fits:
        kept = list(valuation.blocks())
    elif len(valued) <= _most_kept(valuation):
        kept = list(valuation.blocks_of(valued))
    for at in batch:
        own, code = columns[at], units.currencies[rows[at]]
        place = own if valuation.fits else np.searchsorted(valued, own)

        def blocks(
            own: NDArray[np.int64] = own, code: str = code, place: NDArray[np.int64] = place
        ) -> Iterator[tuple[int, Any]]:
            size = piece_paths(len(own))
            for block, changes in valuation.blocks_of(own) if kept is None else kept:
                for low in range(0, changes.shape[1], size):
                    part = slice(low, low + size)
                    chosen = changes[:, part][block.xp.asarray(place)]
                    gains = instrument_gains(own, chosen, code, block, valuation, part)
                    del chosen
                    yield block.paths.start + low, gains
                    del gains
                # The next block is made without these values in memory.
                del changes

        yield at, blocks


def _most_kept(valuation: Valuation) -> int:
    """Instruments whose values are kept for a batch of units; memory holds two batches."""
    return valuation.memory_limit // 4 // (8 * valuation.scenarios.plan.paths)


def _batches(
    columns: list[NDArray[np.int64]], valuation: Valuation
) -> Iterator[tuple[list[int], NDArray[np.int64]]]:
    """Batches of units with orders, each with the instruments that its units ordered.

    A batch has as many units as the memory can hold the instruments of. Where all values are kept
    anyway, there is one batch, and its instruments are left out.
    """
    if valuation.fits:
        yield [at for at, own in enumerate(columns) if len(own)], np.zeros(0, np.int64)
        return
    most = _most_kept(valuation)
    batch: list[int] = []
    valued = np.zeros(0, np.int64)
    for at, own in enumerate(columns):
        if len(own) == 0:
            continue
        together = np.union1d(valued, own)
        if batch and len(together) > most:
            yield batch, valued
            batch, together = [], own
        batch.append(at)
        valued = together
    if batch:
        yield batch, valued

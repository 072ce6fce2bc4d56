"""Contributions: each position's share of its unit's expected shortfall.

In: positions, the paths of their units' tails, and a valuation. Out: the weighted sum of each
position's losses on the tail; the shares of a unit add up to its expected shortfall. Where values
do not fit the memory, positions are taken in the order of their instruments, so that each
instrument is valued once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.margins.gains import tail_gains
from mcmargin.margins.unit_tails import some_of
from mcmargin.numerics.arrays import array_module, to_host
from mcmargin.valuing.valuation import Valuation

GATHERED = 4096
"""Positions whose losses on the tail are collected at a time."""

SHARE_OF_LIMIT = 3
"""One over the share of the memory limit that collected losses may take."""

PIECE = 2 * 2**20
"""Bytes of losses that are looked up at a time, where values are not kept."""

PIECES = 16
"""One over the share of the memory limit that losses looked up at a time may take."""


def contributions(
    quantities: Any,
    codes: tuple[str, ...],
    paths: Any,
    weights: NDArray[np.float64],
    valuation: Valuation,
) -> NDArray[np.float64]:
    """Share of every position; float64 [positions], in the order of the sparse matrix.

    The weights are those of the expected shortfall. They are summed in float64 and always in the
    same order, whatever the blocks of paths.

    Parameters
    ----------
    quantities : scipy.sparse.csr_array of shape (units, instruments)
    codes : tuple of str
        Currencies, one a unit.
    paths : ndarray of shape (units, tail's paths)
        On the device of the scenarios; the worst path first.
    weights : ndarray of shape (tail's paths,), float64
    valuation : Valuation
    """
    rows = np.repeat(np.arange(quantities.shape[0]), np.diff(quantities.indptr))
    shares = np.zeros(quantities.nnz)
    if valuation.fits:
        ((block, changes),) = valuation.blocks()
        for low in range(0, quantities.nnz, GATHERED):
            part = slice(low, low + GATHERED)
            columns, holders = quantities.indices[part], rows[part]
            own = paths[block.xp.asarray(holders)]
            gained = tail_gains(columns, holders, codes, own, changes, block, valuation)
            shares[part] = _shares(quantities.data[part], gained, weights)
        return shares
    order = np.argsort(quantities.indices, kind="stable")
    size = max(1, valuation.memory_limit // (SHARE_OF_LIMIT * 8 * paths.shape[1]))
    for low in range(0, len(order), size):
        taken = order[low : low + size]
        columns, place = np.unique(quantities.indices[taken], return_inverse=True)
        gathered = _gathered(place, rows[taken], codes, paths, some_of(valuation, columns))
        for start in range(0, len(taken), GATHERED):
            some = taken[start : start + GATHERED]
            gained = gathered[start : start + GATHERED]
            shares[some] = _shares(quantities.data[some], gained, weights)
    return shares


def _shares(
    quantities: NDArray[np.float64], gained: Any, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    xp = array_module(gained)
    return np.asarray(-quantities * to_host((gained * xp.asarray(weights)).sum(axis=1)))


def _gathered(
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
    codes: tuple[str, ...],
    paths: Any,
    valuation: Valuation,
) -> Any:
    """Gains of one unit of each position, on the tail of its holder; float64 [positions, paths]."""
    xp = array_module(paths)
    gathered = xp.zeros((len(columns), paths.shape[1]))
    piece = min(PIECE, valuation.memory_limit // PIECES)
    size = max(1, min(GATHERED, piece // (8 * paths.shape[1])))
    for block, changes in valuation.blocks():
        for low in range(0, len(columns), size):
            part = slice(low, low + size)
            own = paths[xp.asarray(rows[part])].astype(np.int64) - block.paths.start
            inside = (own >= 0) & (own < changes.shape[1])
            gained = tail_gains(
                columns[part],
                rows[part],
                codes,
                xp.where(inside, own, 0),
                changes,
                block,
                valuation,
            )
            gathered[part] = xp.where(inside, gained, gathered[part])
        # The next block is made without these values in memory.
        del changes
    return gathered

"""Worst fills: the combination of fills of its open orders that costs an account most.

In: an account's gains on every path, and the gains of one unit of each instrument that it has
ordered, by blocks of paths. Out: the largest expected shortfall over all combinations of fills, and
these fills. Expected shortfall is convex in the fills. So it is largest at a corner, where each
instrument has either all of its buys filled or all of its sells.

With up to `EXACT_INSTRUMENTS` instruments, the expected shortfall of every corner is computed. With
more, the search starts from several corners and moves each to a worse one, until no change of one
instrument's side makes it worse. What it finds is a lower bound, and is seldom below the exact
result. There are two moves:

all sides at once    The expected shortfall of a corner is the mean loss over its own tail. It is at
                     least the mean loss over any other set of as many paths. So each instrument
                     takes the side that loses more, on average over the corner's tail, and the new
                     corner is at least as bad. This reads every path once, whatever the number of
                     instruments.
one side             If that changes nothing, the expected shortfall of every corner that differs in
                     one instrument is computed. The worst of these corners is the next.

Paths are read block by block. For all paths at once, only the account's gains and the tail of each
corner are in memory.

References
----------
Horst and Tuy (1996), Global Optimization, chapter 5: a convex function over a box has its maximum
at a corner, and in general every corner must be examined to find it. The first move is the linear
subproblem of Frank and Wolfe (1956).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.draws.random_stream import TILE_PATHS
from mcmargin.numerics.arrays import array_module, device_matrix, to_host
from mcmargin.numerics.selection import BYTES_A_LOSS, WorstLosses
from mcmargin.numerics.tail import Tails, check_finite, tail_width, tails_of

EXACT_INSTRUMENTS = 10
"""Most instruments with orders for which every corner is computed; there are 1,024 corners then."""

BATCH = 64
"""Corners whose losses on a block of paths are in memory at a time."""

PIECE_BYTES = 4 * 2**20
"""Bytes that a block of paths may take; more would not fit the processor's cache."""

MEMORY = 64 * 2**20
"""Bytes of tails that are in memory at a time, by default."""

CLIMBS = 12
"""Corners from which the search goes on one side at a time: the worst that the starts led to."""

LEADERS = 8
"""Instruments whose own tails give starts: those whose orders alone cost most."""

Blocks: TypeAlias = Callable[[], Iterable[tuple[int, Any]]]
"""A function that gives blocks of consecutive paths. A block is the number of its first path, and
the gains of one unit of each instrument, float64 [instruments, paths of the block]. All blocks are
whole tiles, except the last."""

Corners: TypeAlias = NDArray[np.float64]
"""Fills, in units; float64 [corners, instruments]."""


def worst_fills(
    gains: Any,
    changes: Any,
    sells: NDArray[np.float64],
    buys: NDArray[np.float64],
    *,
    level: float,
    memory: int = MEMORY,
) -> tuple[float, NDArray[np.float64]]:
    """Largest expected shortfall over all fills of an account's open orders.

    With more than `EXACT_INSTRUMENTS` instruments, it is the largest that the search finds: no
    change of one instrument's side makes it larger.

    Parameters
    ----------
    gains : ndarray of shape (paths,), float64
        Gains of the positions alone.
    changes : ndarray of shape (instruments, paths), float64, or a function
        Gains of one unit of each instrument that has orders. A function is as `Blocks` says, and is
        called each time that the paths are read.
    sells, buys : ndarray of shape (instruments,), float64
        Units ordered; sells are 0 or less, buys 0 or more.
    level : float
        Confidence level.
    memory : int
        Bytes that tails of corners may take. If all tails do not fit, the paths are read more than
        once. It changes no figure.

    Returns
    -------
    float
        Expected shortfall with these fills; a loss is positive.
    ndarray of shape (instruments,), float64
        The fills, in units.

    Examples
    --------
    >>> gains = np.linspace(-1.0, 1.0, 1000)
    >>> worst, fills = worst_fills(gains, gains[None], np.array([-5.0]), np.array([1.0]), level=0.9)
    >>> round(worst, 2), fills.tolist()
    (3.6, [-5.0])
    """
    blocks = changes if callable(changes) else blocks_of_array(changes)
    sides = np.stack([sells, buys])
    paths = _Paths(gains, blocks, level, max(1, memory // _row_bytes(len(gains), level)))
    if len(sells) <= EXACT_INSTRUMENTS:
        corners = np.array(list(product(*sides.T)))
        found = _shortfalls(paths, corners)
        return float(found.max()), corners[int(found.argmax())]
    ends = _climbed(paths, _starts(paths, sides), sides)
    return max(ends, key=lambda end: end[0])


@dataclass(frozen=True, eq=False)
class _Paths:
    """What an account and its orders gain on every path, and how paths are read.

    Attributes
    ----------
    gains : ndarray of shape (paths,), float64
    blocks : function
        See `Blocks`.
    level : float
    rows : int
        Tails that are in memory at a time.
    """

    gains: Any
    blocks: Blocks
    level: float
    rows: int


def _row_bytes(paths: int, level: float) -> int:
    """Bytes of one tail, with what merging it with another takes for a while."""
    return 2 * BYTES_A_LOSS * tail_width(paths, level)


def _shortfalls(paths: _Paths, corners: Corners) -> NDArray[np.float64]:
    """Expected shortfalls of corners; float64 [corners]. As many are computed at a time as fit."""
    parts = (corners[low : low + paths.rows] for low in range(0, len(corners), paths.rows))
    return np.concatenate([_tails(paths, part).expected_shortfall for part in parts])


def _tails(paths: _Paths, corners: Corners) -> Tails:
    return tails_of_corners(paths.gains, paths.blocks, corners, paths.level)


def piece_paths(instruments: int) -> int:
    """Paths in a block, for an account with orders in a number of instruments."""
    rows = instruments + (BATCH if instruments > 6 else 2**instruments)
    return TILE_PATHS * max(1, PIECE_BYTES // (8 * rows * TILE_PATHS))


def blocks_of_array(changes: Any) -> Blocks:
    """Blocks of an array of all paths; float64 [instruments, paths]."""
    size = piece_paths(len(changes))

    def blocks() -> Iterator[tuple[int, Any]]:
        for first in range(0, changes.shape[1], size):
            yield first, changes[:, first : first + size]

    return blocks


def tails_of_corners(gains: Any, blocks: Blocks, corners: Corners, level: float) -> Tails:
    """Tails of the losses with each combination of fills; the paths are read once.

    Parameters
    ----------
    gains : ndarray of shape (paths,), float64
    blocks : function
        See `Blocks`.
    corners : ndarray of shape (corners, instruments), float64
    level : float

    Raises
    ------
    DataError
        If a loss is not finite.
    """
    xp, paths = array_module(gains), len(gains)
    worst = WorstLosses(rows=len(corners), count=tail_width(paths, level), xp=xp)
    for first, changes in blocks():
        here = gains[first : first + changes.shape[1]]
        for low in range(0, len(corners), BATCH):
            losses = _losses(here, changes, corners[low : low + BATCH])
            check_finite(losses)
            worst.add(losses, first_path=first, first_row=low)
        # Otherwise this block would stay in memory while the next one is made.
        del changes
    return tails_of(*worst.sorted(), count=paths, level=level)


def mean_gains(blocks: Blocks, tails: Tails) -> NDArray[np.float64]:
    """Mean gain of a unit of each instrument over each tail; float64 [tails, instruments].

    The paths are read once. Gains are added up within each tile, and then over the tiles, so that
    the blocks change no bit of the result.
    """
    order = np.argsort(to_host(tails.paths), axis=1, kind="stable")
    paths = np.take_along_axis(to_host(tails.paths), order, axis=1)
    weights = tails.weights[order]
    sums: Any = None
    for first, changes in blocks():
        xp = array_module(changes)
        if sums is None:
            sums = np.zeros((len(paths), len(changes)))
        for start in range(0, changes.shape[1], TILE_PATHS):
            tile = changes[:, start : start + TILE_PATHS]
            low = first + start
            for at, own in enumerate(paths):
                begin, end = np.searchsorted(own, (low, low + tile.shape[1]))
                if begin < end:
                    inside = xp.take(tile, xp.asarray(own[begin:end] - low), axis=1)
                    part = (inside * xp.asarray(weights[at, begin:end])).sum(axis=1)
                    sums[at] += to_host(part)
        del changes, tile
    return np.asarray(sums)


def _losses(gains: Any, changes: Any, corners: Corners) -> Any:
    """Losses with each combination of fills on a block; float64 [corners, paths of the block].

    It is one sparse product. Its sums run over the instruments in their order, whatever the block.
    """
    xp = array_module(gains)
    filled = sparse.csr_array(corners)
    losses = (filled if xp is np else device_matrix(filled)) @ changes
    losses += gains
    return xp.negative(losses, out=losses)


def _starts(paths: _Paths, sides: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Corners to begin with.

    They are all sells, all buys, and the side of each instrument that costs more alone; and the
    worse sides over the tail of the positions, and over the tails with each of the most costly
    orders filled.
    """
    sells, buys = sides
    alone = [_shortfalls(paths, np.diag(side)) for side in sides]
    leaders = np.argsort(-np.maximum(*alone), kind="stable")[:LEADERS]
    filled = np.zeros((1 + 2 * len(leaders), sides.shape[1]))
    for at, leader in enumerate(leaders.tolist()):
        filled[1 + 2 * at, leader], filled[2 + 2 * at, leader] = sides[:, leader]
    means, _ = _means(paths, filled)
    own = np.where(alone[0] > alone[1], sells, buys)
    return [sells, buys, own, *(_worse_sides(mean, sides, buys) for mean in means)]


def _worse_sides(
    means: NDArray[np.float64], sides: NDArray[np.float64], present: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The side of each instrument that loses more at its mean gain; the present side if equal."""
    sold, bought = sides * means
    return np.where(sold < bought, sides[0], np.where(bought < sold, sides[1], present))


def _means(paths: _Paths, corners: Corners) -> tuple[Corners, NDArray[np.float64]]:
    """Mean gains of instruments over the tail of each corner, and its expected shortfall."""
    means, shortfalls = [], []
    for low in range(0, len(corners), paths.rows):
        tails = _tails(paths, corners[low : low + paths.rows])
        means.append(mean_gains(paths.blocks, tails))
        shortfalls.append(tails.expected_shortfall)
    return np.concatenate(means), np.concatenate(shortfalls)


def _climbed(
    paths: _Paths, starts: list[NDArray[np.float64]], sides: NDArray[np.float64]
) -> list[tuple[float, NDArray[np.float64]]]:
    """Expected shortfalls and corners; no change of one side makes any of the corners worse."""
    ends = _turned(paths, np.array(starts), sides)
    ends = sorted(ends, key=lambda end: -end[0])[:CLIMBS]
    done: list[tuple[float, NDArray[np.float64]]] = []
    while ends:
        corners = np.array([corner for _, corner in ends])
        changed = corners.copy()
        for at, found in enumerate(_one_side_changed(paths, corners, sides)):
            other = int(found.argmax())
            changed[at, other] = sides[:, other].sum() - corners[at, other]
        # The same function gives both shortfalls, so that rounding alone never looks worse.
        again = _shortfalls(paths, changed)
        better = [at for at, end in enumerate(ends) if again[at] > end[0]]
        done += [end for at, end in enumerate(ends) if at not in better]
        ends = _turned(paths, changed[better], sides) if better else []
    return done


def _turned(
    paths: _Paths, corners: Corners, sides: NDArray[np.float64]
) -> list[tuple[float, NDArray[np.float64]]]:
    """Expected shortfalls and corners, each once; all sides are worse over the corner's tail."""
    done: dict[bytes, tuple[float, NDArray[np.float64]]] = {}
    seen: set[bytes] = set()
    least = np.full(len(corners), -np.inf)
    while len(corners):
        new = [at for at, corner in enumerate(corners) if not _known(corner, seen)]
        corners, least = corners[new], least[new]
        if not new:
            break
        means, found = _means(paths, corners)
        turned = np.array(
            [_worse_sides(mean, sides, corner) for mean, corner in zip(means, corners, strict=True)]
        )
        still = (turned == corners).all(axis=1) | (found <= least)
        for at in np.flatnonzero(still).tolist():
            done[corners[at].tobytes()] = float(found[at]), corners[at]
        corners, least = turned[~still], found[~still]
    return list(done.values())


def _known(corner: NDArray[np.float64], seen: set[bytes]) -> bool:
    """Whether a corner was seen before; it is added to what was seen."""
    key = corner.tobytes()
    known = key in seen
    seen.add(key)
    return known


def _one_side_changed(
    paths: _Paths, corners: Corners, sides: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Expected shortfall of each corner with each instrument's other side; [corners, instruments].

    The losses of a corner are computed once on a block of paths. Each change of a side adds one
    product to them.
    """
    count, total = sides.shape[1], len(corners) * sides.shape[1]
    parts = (range(low, min(low + paths.rows, total)) for low in range(0, total, paths.rows))
    found = np.concatenate([_changed(paths, corners, sides, part) for part in parts])
    return found.reshape(-1, count)


def _changed(
    paths: _Paths, corners: Corners, sides: NDArray[np.float64], part: range
) -> NDArray[np.float64]:
    """Expected shortfalls with one side changed, of some pairs of corner and instrument.

    Pairs are numbered corner by corner, and `part` is a range of these numbers; float64 [part].
    """
    xp, count = array_module(paths.gains), sides.shape[1]
    width = tail_width(len(paths.gains), paths.level)
    worst = WorstLosses(rows=len(part), count=width, xp=xp)
    others = xp.asarray(sides.sum(axis=0) - 2.0 * corners)
    for first, changes in paths.blocks():
        here = paths.gains[first : first + changes.shape[1]]
        for at in range(part.start // count, -(-part.stop // count)):
            base = _losses(here, changes, corners[[at]])
            begin, end = max(part.start, at * count), min(part.stop, (at + 1) * count)
            for low in range(begin, end, BATCH):
                own = slice(low - at * count, min(low + BATCH, end) - at * count)
                losses = changes[own] * -others[at, own, None]
                losses += base
                worst.add(losses, first_path=first, first_row=low - part.start)
        del changes
    tails = tails_of(*worst.sorted(), count=len(paths.gains), level=paths.level)
    return tails.expected_shortfall

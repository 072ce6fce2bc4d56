"""Open orders: the combination of fills that costs an account most.

In: an account's gains on every path, and what each order's instrument gains a unit, by blocks of
paths. Out: the largest expected shortfall over all combinations of fills, and the fills. Expected
shortfall is convex in them, so that it is largest at a corner: of each instrument, all buys or all
sells.

Of up to `EXACT_INSTRUMENTS` instruments every corner is looked at. Of more, corners are improved
until no change of one instrument's side makes any of them worse, from several starts: the result
is a lower bound of the worst, which the exact one is seldom above. Two moves improve a corner:

all sides at once    An expected shortfall is the mean loss over its own tail, and at least the mean
                     loss over any other set of as many paths. So each instrument takes the side
                     that loses more on average over the corner's tail: what results is at least as
                     bad. It costs one look at every path, whatever the number of instruments.
one side             Where that changes nothing, the shortfall of every corner that differs in one
                     instrument is taken, and the worst of them is the next corner.

Each look at the paths goes block by block, so that of all paths nothing is held but the account's
gains and a tail of each corner.

References
----------
Horst and Tuy (1996), Global Optimization, chapter 5, on the maximum of a convex function over a
box: it lies at a corner, and finding it takes, in general, all of them. The first move is the
linear subproblem of Frank and Wolfe (1956).
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
"""Up to so many instruments with orders, every corner is looked at: 1,024 of them."""

BATCH = 64
"""Corners whose losses on a block are held at a time."""

PIECE_BYTES = 4 * 2**20
"""Of what is held on a block of paths: a larger one would leave the processor's cache."""

MEMORY = 64 * 2**20
"""Bytes of tails that are held at a time by default."""

CLIMBS = 12
"""Corners that are improved one side at a time: the worst of those that the starts led to."""

LEADERS = 8
"""Instruments whose own tails are starts: those that cost most alone."""

Blocks: TypeAlias = Callable[[], Iterable[tuple[int, Any]]]
"""Gives blocks of consecutive paths, whole tiles but for the last: the first path, and gains of one
unit of each instrument; float64 [instruments, paths of the block]."""

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

    With more than `EXACT_INSTRUMENTS` instruments, the largest that is found: no change of one
    instrument's side makes it larger.

    Parameters
    ----------
    gains : ndarray of shape (paths,), float64
        Of the positions alone.
    changes : ndarray of shape (instruments, paths), float64, or a function
        Gain of one unit of each instrument that has orders; as `Blocks` where it is a function,
        which is called again for every look at the paths.
    sells, buys : ndarray of shape (instruments,), float64
        Units ordered, 0 or less and 0 or more.
    level : float
    memory : int
        Bytes that tails of corners may take; where all do not fit, the paths are looked at again.
        Changes no figure.

    Returns
    -------
    float
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
    """What an account and its orders gain on every path, and how it is looked at.

    Attributes
    ----------
    gains : ndarray of shape (paths,), float64
    blocks : function
        See `Blocks`.
    level : float
    rows : int
        Tails that are held at a time.
    """

    gains: Any
    blocks: Blocks
    level: float
    rows: int


def _row_bytes(paths: int, level: float) -> int:
    """What one tail takes, and for a while its merging."""
    return 2 * BYTES_A_LOSS * tail_width(paths, level)


def _shortfalls(paths: _Paths, corners: Corners) -> NDArray[np.float64]:
    """Expected shortfalls of corners, so many at a time that their tails fit; float64 [n]."""
    parts = (corners[low : low + paths.rows] for low in range(0, len(corners), paths.rows))
    return np.concatenate([_tails(paths, part).expected_shortfall for part in parts])


def _tails(paths: _Paths, corners: Corners) -> Tails:
    return tails_of_corners(paths.gains, paths.blocks, corners, paths.level)


def piece_paths(instruments: int) -> int:
    """Paths of a block on which an account with orders in so many instruments is looked at."""
    held = instruments + (BATCH if instruments > 6 else 2**instruments)
    return TILE_PATHS * max(1, PIECE_BYTES // (8 * held * TILE_PATHS))


def blocks_of_array(changes: Any) -> Blocks:
    """Blocks of an array of all paths; float64 [instruments, paths]."""
    size = piece_paths(len(changes))

    def blocks() -> Iterator[tuple[int, Any]]:
        for first in range(0, changes.shape[1], size):
            yield first, changes[:, first : first + size]

    return blocks


def tails_of_corners(gains: Any, blocks: Blocks, corners: Corners, level: float) -> Tails:
    """Tails of the losses with each combination of fills, in one look at the paths.

    Parameters
    ----------
    gains : ndarray of shape (paths,), float64
    blocks : function
        See `Blocks`.
    corners : ndarray of shape (n, instruments), float64
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
        # Else they would be held while the next block is made.
        del changes
    return tails_of(*worst.sorted(), count=paths, level=level)


def mean_gains(blocks: Blocks, tails: Tails) -> NDArray[np.float64]:
    """Mean gain of a unit of each instrument over each tail; float64 [tails, instruments].

    One look at the paths. Sums are of one tile each, and then of the tiles, so that they do not
    depend on the blocks.
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

    One sparse product, whose sums run over instruments in their order, whatever the block.
    """
    xp = array_module(gains)
    filled = sparse.csr_array(corners)
    losses = (filled if xp is np else device_matrix(filled)) @ changes
    losses += gains
    return xp.negative(losses, out=losses)


def _starts(paths: _Paths, sides: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Corners to begin with: all sold, all bought, each instrument's own worse side; and what the
    tails of the account and of its most costly orders make the worse sides.
    """
    sells, buys = sides
    alone = [_shortfalls(paths, np.diag(side)) for side in sides]
    leaders = np.argsort(-np.maximum(*alone), kind="stable")[:LEADERS]
    held = np.zeros((1 + 2 * len(leaders), sides.shape[1]))
    for at, leader in enumerate(leaders.tolist()):
        held[1 + 2 * at, leader], held[2 + 2 * at, leader] = sides[:, leader]
    means, _ = _means(paths, held)
    own = np.where(alone[0] > alone[1], sells, buys)
    return [sells, buys, own, *(_worse_sides(mean, sides, buys) for mean in means)]


def _worse_sides(
    means: NDArray[np.float64], sides: NDArray[np.float64], present: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of each instrument the side that loses more at its mean gain; the present one of equals."""
    sold, bought = sides * means
    return np.where(sold < bought, sides[0], np.where(bought < sold, sides[1], present))


def _means(paths: _Paths, corners: Corners) -> tuple[Corners, NDArray[np.float64]]:
    """Mean gains of instruments over each corner's own tail, and its expected shortfall."""
    means, shortfalls = [], []
    for low in range(0, len(corners), paths.rows):
        tails = _tails(paths, corners[low : low + paths.rows])
        means.append(mean_gains(paths.blocks, tails))
        shortfalls.append(tails.expected_shortfall)
    return np.concatenate(means), np.concatenate(shortfalls)


def _climbed(
    paths: _Paths, starts: list[NDArray[np.float64]], sides: NDArray[np.float64]
) -> list[tuple[float, NDArray[np.float64]]]:
    """Corners that no change of one side makes worse, and their expected shortfalls."""
    ends = _turned(paths, np.array(starts), sides)
    ends = sorted(ends, key=lambda end: -end[0])[:CLIMBS]
    done: list[tuple[float, NDArray[np.float64]]] = []
    while ends:
        corners = np.array([corner for _, corner in ends])
        changed = corners.copy()
        for at, found in enumerate(_one_side_changed(paths, corners, sides)):
            other = int(found.argmax())
            changed[at, other] = sides[:, other].sum() - corners[at, other]
        # What is worse by rounding alone is no improvement: both are taken in the same way.
        again = _shortfalls(paths, changed)
        better = [at for at, end in enumerate(ends) if again[at] > end[0]]
        done += [end for at, end in enumerate(ends) if at not in better]
        ends = _turned(paths, changed[better], sides) if better else []
    return done


def _turned(
    paths: _Paths, corners: Corners, sides: NDArray[np.float64]
) -> list[tuple[float, NDArray[np.float64]]]:
    """Corners of which every side is the worse over the corner's own tail; each once."""
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
    """Whether a corner has been looked at before; it has been from now on."""
    key = corner.tobytes()
    known = key in seen
    seen.add(key)
    return known


def _one_side_changed(
    paths: _Paths, corners: Corners, sides: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Expected shortfall of each corner with each instrument's other side; [corners, instruments].

    Beside the losses of a corner, each change is one product on a block of paths.
    """
    count, total = sides.shape[1], len(corners) * sides.shape[1]
    parts = (range(low, min(low + paths.rows, total)) for low in range(0, total, paths.rows))
    found = np.concatenate([_changed(paths, corners, sides, part) for part in parts])
    return found.reshape(-1, count)


def _changed(
    paths: _Paths, corners: Corners, sides: NDArray[np.float64], part: range
) -> NDArray[np.float64]:
    """Some of them, counted corner by corner; float64 [part]."""
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

"""Halts: prices that stand still for long, although the asset used to move.

In: returns of bars. Out: which bars belong to a halt, and the bar at which it was known to be one.
In a halt nobody trades, and the first price after it may be far away: it is not a calm time. The
bars of a halt are therefore left out of fits and of the dependence between assets, and the variance
stays where the last move left it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_MOVE = 1e-9
"""Largest return of a price that stands still. Adjusted closes carry the rounding of a product, and
the smallest tick of any price is a hundred times as large."""

CHANCE = 0.01
"""Probability, over a whole history, that a price which moves seldom is taken for a halted one."""


@dataclass(frozen=True)
class Halt:
    """Bars in a row without a move, of one asset.

    Attributes
    ----------
    start, end : int
        First bar without a move, and the first after the halt.
    known : int
        Bar at whose close the price had stood still for long enough to call it a halt.
    """

    start: int
    end: int
    known: int


def stands_still(returns: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Bars on which a price does not move, apart from rounding; bool, of the returns' shape.

    Examples
    --------
    >>> stands_still(np.array([0.0, 1e-16, -1e-7])).tolist()
    [True, True, False]
    """
    return np.asarray(np.abs(returns) <= NO_MOVE)


def halts_of(returns: NDArray[np.float64], still_bars: int) -> list[Halt]:
    """Halts of one asset, in order.

    The price of a pegged coin, or of a share on a coarse tick, often stands still without a halt.
    After a bar without a move, such a price stands still on the next bar with a probability q that
    is estimated from its own past. A run of n such bars has n + 1 closes at one price. It is a halt
    if n + 1 is at least `still_bars`, q**(n-1) times the number of bars before it is below
    `CHANCE`, and the asset has moved on at least `still_bars` bars before. Bars of halts, and those
    before an asset's first move, do not count in q.

    Parameters
    ----------
    returns : ndarray of shape (bars,), float64
    still_bars : int

    Examples
    --------
    >>> moving, still = np.full(50, 0.01), np.zeros(30)
    >>> halts_of(np.concatenate([moving, still, moving]), 20)
    [Halt(start=50, end=80, known=68)]
    >>> seldom = np.tile([0.001] + [0.0] * 9, 40)  # moves on every tenth bar
    >>> halts_of(np.concatenate([seldom, still]), 20)
    []
    """
    halts: list[Halt] = []
    stood = repeated = 0
    still = stands_still(returns)
    moves = np.cumsum(~still)
    for start, end in _runs(still):
        if start == 0:
            continue
        needed = still_bars - 1
        if repeated:
            needed = max(
                needed, 1 + math.ceil(math.log(CHANCE / start) / math.log(repeated / stood))
            )
        used_to_move = moves[start] >= still_bars
        if used_to_move and end - start >= needed:
            halts.append(Halt(start, end, start + needed - 1))
        else:
            stood, repeated = stood + end - start, repeated + end - start - 1
    return halts


def halted_bars(returns: NDArray[np.float64], still_bars: int) -> NDArray[np.bool_]:
    """Bars that belong to a halt, by what is known at the last bar.

    Parameters
    ----------
    returns : ndarray of shape (bars, assets), float64
    still_bars : int

    Returns
    -------
    ndarray of shape (bars, assets), bool
    """
    halted = np.zeros(returns.shape, bool)
    for at in _standing(returns, still_bars):
        for halt in halts_of(returns[:, at], still_bars):
            halted[halt.start : halt.end, at] = True
    return halted


def known_since(returns: NDArray[np.float64], still_bars: int) -> NDArray[np.int64]:
    """First bar of the halt in which an asset is known to be at each bar's close; -1 for none.

    Parameters
    ----------
    returns : ndarray of shape (bars, assets), float64
    still_bars : int

    Returns
    -------
    ndarray of shape (bars, assets), int64

    Examples
    --------
    >>> returns = np.r_[np.full(50, 0.01), np.zeros(20)][:, None]
    >>> known_since(returns, 20)[66:, 0].tolist()
    [-1, -1, 50, 50]
    """
    since = np.full(returns.shape, -1)
    for at in _standing(returns, still_bars):
        for halt in halts_of(returns[:, at], still_bars):
            since[halt.known : halt.end, at] = halt.start
    return since


def stretched(
    values: NDArray[np.float64], after: float, halted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Spread the values of bars on which an asset moves over all bars.

    Each bar of a halt gets the value of the first bar after the halt. For a variance, which is
    known before its bar, that is the variance after the last move.

    Parameters
    ----------
    values : ndarray of shape (moving bars,), float64
    after : float
        Value of the bar after the last one.
    halted : ndarray of shape (bars,), bool

    Examples
    --------
    >>> halted = np.array([False, True, True, False, True])
    >>> stretched(np.array([1.0, 2.0]), 3.0, halted).tolist()
    [1.0, 2.0, 2.0, 2.0, 3.0]
    """
    moved: NDArray[np.int64] = np.cumsum(~halted) - ~halted
    return np.asarray(np.append(values, after)[moved])


def _standing(returns: NDArray[np.float64], still_bars: int) -> list[int]:
    """Positions of the assets that have enough closes in a row at one price."""
    still = stands_still(returns)
    often = np.flatnonzero(still.sum(axis=0) >= still_bars - 1)
    return [
        at
        for at in often.tolist()
        if any(end - start >= still_bars - 1 for start, end in _runs(still[:, at]))
    ]


def _runs(still: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First bar of each run of true bars, and the first bar after it."""
    edges = np.diff(still.astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))

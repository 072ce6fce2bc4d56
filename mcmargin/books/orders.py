"""Open orders: the combination of fills that costs an account most.

In: an account's gains on every path, and what each order's instrument gains a unit. Out: the
largest expected shortfall over all combinations of fills, and the fills. Expected shortfall is
convex in them, so that it is largest at a corner: of each instrument, all buys or all sells.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.engines.arrays import array_module
from mcmargin.margins.tail import estimate_tails

EXACT_INSTRUMENTS = 10
"""Up to so many instruments with orders, every corner is looked at: 1,024 of them."""

BATCH = 64
"""Corners whose tails are taken at a time."""


def worst_fills(
    gains: Any, changes: Any, sells: NDArray[np.float64], buys: NDArray[np.float64], *, level: float
) -> tuple[float, NDArray[np.float64]]:
    """Largest expected shortfall over all fills of an account's open orders.

    With more than `EXACT_INSTRUMENTS` instruments, corners are improved one instrument at a time
    from all sold, all bought, and each instrument's own worse side, until none gets worse.

    Parameters
    ----------
    gains : ndarray of shape (paths,), float64
        Of the positions alone.
    changes : ndarray of shape (instruments, paths), float64
        Gain of one unit of each instrument that has orders.
    sells, buys : ndarray of shape (instruments,), float64
        Units ordered, 0 or less and 0 or more.
    level : float

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

    def shortfalls(corners: NDArray[np.float64]) -> NDArray[np.float64]:
        xp = array_module(gains)
        parts = []
        for low in range(0, len(corners), BATCH):
            fills = xp.asarray(corners[low : low + BATCH])
            losses = -(gains[None] + (fills[:, :, None] * changes[None]).sum(axis=1))
            parts.append(estimate_tails(losses, level=level).expected_shortfall)
        return np.concatenate(parts)

    sides = np.stack([sells, buys])
    if len(sells) <= EXACT_INSTRUMENTS:
        corners = np.array(list(product(*sides.T)))
        found = shortfalls(corners)
        return float(found.max()), corners[int(found.argmax())]
    alone = [shortfalls(np.diag(side)) for side in sides]
    starts = [sells, buys, np.where(alone[0] > alone[1], sells, buys)]
    best = max((_climb(start, sides, shortfalls) for start in starts), key=lambda found: found[0])
    return best


def _climb(
    start: NDArray[np.float64], sides: NDArray[np.float64], shortfalls: Any
) -> tuple[float, NDArray[np.float64]]:
    """Corner that no change of one instrument's side makes worse."""
    corner, worst = start.copy(), float(shortfalls(start[None])[0])
    while True:
        others = np.tile(corner, (len(corner), 1))
        np.fill_diagonal(others, sides.sum(axis=0) - corner)
        found = shortfalls(others)
        if not found.max() > worst:
            return worst, corner
        corner, worst = others[int(found.argmax())], float(found.max())

"""Errors of worst fills: how the expected shortfall with the worst fills moves with the paths.

In: one unit's gains on every path, those of the instruments that it ordered, and the fills that
were found to be the worst. Out: an estimate with its movements. If other fills are nearly as bad,
they would have been the worst on other paths, and the largest of several expected shortfalls moves
less than each of them.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.margins.estimates import Estimate, larger, movements
from mcmargin.margins.worst_fills import Blocks, blocks_of_array, mean_gains, tails_of_corners
from mcmargin.numerics.tail import Tails

RIVALS = 16
"""Largest number of combinations of fills that are compared."""

NEAR = 4.0
"""Distance in standard errors below the worst fills, beyond which other fills do not count."""


def worst_fills_estimate(
    gains: Any,
    changes: Any,
    sells: NDArray[np.float64],
    buys: NDArray[np.float64],
    fills: NDArray[np.float64],
    *,
    level: float,
) -> Estimate:
    """Expected shortfall with the worst fills, and how it moves; one row, one column of the rest.

    The worst fills are compared with their rivals. For up to four instruments these are all other
    combinations. For more instruments they are the opposite combination, and combinations that
    differ in one instrument: those that cost nearly as much on the tail of the worst fills.

    Parameters
    ----------
    gains : ndarray of shape (paths,), float64
        Of the positions alone.
    changes : ndarray of shape (instruments, paths), float64, or a function
        Gain of one unit of each ordered instrument, as for `worst_fills`.
    sells, buys, fills : ndarray of shape (instruments,), float64
        Units ordered to sell (0 or less) and to buy (0 or more), and units that the worst fills
        take.
    level : float
    """
    blocks = changes if callable(changes) else blocks_of_array(changes)
    first = tails_of_corners(gains, blocks, fills[None], level)
    corners = _rivals(blocks, sells, buys, fills, first)
    estimates = [_estimate(first, 0)]
    if len(corners):
        tails = tails_of_corners(gains, blocks, corners, level)
        near = tails.expected_shortfall - first.expected_shortfall[0]
        reach = NEAR * np.hypot(tails.expected_shortfall_error, first.expected_shortfall_error[0])
        order = np.argsort(-near, kind="stable")
        estimates += [_estimate(tails, at) for at in order[(near + reach > 0.0)[order]]]
    worst = estimates[0]
    for at, rival in enumerate(estimates[1:]):
        worst = larger(worst, rival, at)
    rest = np.sqrt((worst.rest**2).sum(axis=1, keepdims=True))
    return Estimate(worst.amounts, worst.moves, rest)


def _rivals(
    blocks: Blocks,
    sells: NDArray[np.float64],
    buys: NDArray[np.float64],
    fills: NDArray[np.float64],
    tails: Tails,
) -> NDArray[np.float64]:
    """Combinations of fills that may be the worst on other paths; float64 [rivals, instruments]."""
    opposite = sells + buys - fills
    moving = np.flatnonzero(opposite != fills)
    if 2 ** len(moving) <= RIVALS:
        corners = np.tile(fills, (2 ** len(moving), 1))
        sides = np.stack([fills, opposite])[:, moving]
        corners[:, moving] = list(product(*sides.T))
        return np.asarray(corners[1:])
    # The mean gain on the tail of the worst fills gives an upper bound of how much the expected
    # shortfall falls if one instrument changes its side.
    (means,) = mean_gains(blocks, tails)
    lowered = (opposite - fills)[moving] * means[moving]
    nearest = moving[np.argsort(lowered, kind="stable")[: RIVALS - 2]]
    corners = np.tile(fills, (len(nearest) + 1, 1))
    corners[np.arange(len(nearest)), nearest] = opposite[nearest]
    corners[-1] = opposite
    return np.asarray(corners)


def _estimate(tails: Tails, at: int) -> Estimate:
    """Expected shortfall of one row of tails, with its movements."""
    moves = movements(tails, tails.expected_shortfall_error)[[at]]
    return Estimate(tails.expected_shortfall[[at]], moves, np.zeros((1, 0)))

"""Steady times: closes that were written down some seconds early or late, at their usual times.

In: times of bars on a clock. Out: the same times or, where they differ from week to week as those
of a program do that asks for a price every hour, each at the middle of those that belong together.
Without that every second at which a bar once closed would be one at which bars close.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcmargin.data.bars import MONDAY, SECOND, WEEK, WEEK_SECONDS
from mcmargin.data.zones import Times

TOGETHER = 0.1
"""Of a bar, by which closes of one time of the week follow one another at most."""

MOST_TOGETHER = 600
"""The same in seconds, at most. Daylight saving moves a clock by more."""

OFTEN = 0.2
"""Share of closes from which on times differ from week to week, and have not merely moved once."""


def steadied(walls: Times, days: float) -> Times:
    """Times of bars with the same time of the week for those that belong together.

    Parameters
    ----------
    walls : ndarray of shape (bars,), datetime64[ns]
        Increasing.
    days : float
        Usual length of a bar.

    Returns
    -------
    ndarray of shape (bars,), datetime64[ns]
        Whole seconds; `walls` itself where times are steady.

    Examples
    --------
    >>> late = np.random.default_rng(1).integers(0, 90, 300) * SECOND
    >>> walls = np.arange("2021-01-04", "2021-10-31", dtype="datetime64[D]").astype("M8[ns]") + late
    >>> len(np.unique((steadied(walls, 1.0) - MONDAY) % WEEK))
    7
    """
    within = int(min(TOGETHER * days * 86_400, MOST_TOGETHER))
    at = np.asarray((walls - MONDAY) % WEEK // SECOND, np.int64)
    values = np.unique(at)
    gaps = np.diff(values, append=values[0] + WEEK_SECONDS)
    if gaps.min() > within:
        return walls
    # The week begins in the widest gap, lest midnight come between times that belong together.
    start = int(values[(int(np.argmax(gaps)) + 1) % len(values)])
    at = (at - start) % WEEK_SECONDS
    order = np.argsort(at, kind="stable")
    group = np.empty(len(at), np.int64)
    group[order] = np.cumsum(np.diff(at[order], prepend=at[order[0]]) > within)
    if not _differ(at, group):
        return walls
    middle = np.array([int(np.median(part)) for part in _parts(at[order], group[order])])
    base = walls - at * SECOND - (walls - MONDAY) % SECOND
    return np.asarray(base + middle[group] * SECOND)


def _differ(at: NDArray[np.int64], group: NDArray[np.int64]) -> bool:
    """Whether closes that belong together are often at another second than the one before."""
    order = np.argsort(group, kind="stable")
    same = np.diff(group[order]) == 0
    changed = np.diff(at[order]) != 0
    return bool(same.any() and np.mean(changed[same]) > OFTEN)


def _parts(at: NDArray[np.int64], group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Times of each group, which stand together."""
    return np.split(at, np.flatnonzero(np.diff(group)) + 1)

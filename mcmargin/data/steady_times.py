"""Steady times: closes that were recorded some seconds early or late, moved to their usual times.

In: times of bars on a clock. Out: the same times; or, if they differ from week to week, the median
of those that belong together. Times differ if, for example, a program asks for a price every hour.
Without this, bars would be expected to close at every second at which one has ever closed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcmargin.data.bars import MONDAY, SECOND, WEEK, WEEK_SECONDS
from mcmargin.data.zones import Times

TOGETHER = 0.1
"""Largest distance, as a share of a bar, between neighbouring closes that belong together."""

MOST_TOGETHER = 600
"""Largest distance in seconds, whatever a bar is. Daylight saving moves a clock by more."""

OFTEN = 0.2
"""If more than this share of closes differ from the week before, times are not steady. With fewer,
the usual time has moved once or twice."""


def steadied(walls: Times, days: float) -> Times:
    """Give closes that belong together the same time of the week.

    Parameters
    ----------
    walls : ndarray of shape (bars,), datetime64[ns]
        Times on a zone's clock, increasing.
    days : float
        Usual length of a bar in days.

    Returns
    -------
    ndarray of shape (bars,), datetime64[ns]
        Times in whole seconds; if times are steady, `walls` itself.

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
    # The week is begun in the widest gap, so that it does not part times that belong together.
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
    """Whether closes that belong together often differ from the one of the week before."""
    order = np.argsort(group, kind="stable")
    same = np.diff(group[order]) == 0
    changed = np.diff(at[order]) != 0
    return bool(same.any() and np.mean(changed[same]) > OFTEN)


def _parts(at: NDArray[np.int64], group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split sorted times by their group."""
    return np.split(at, np.flatnonzero(np.diff(group)) + 1)

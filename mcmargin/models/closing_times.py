"""Whether rows of prices are closes, or ticks within a bar that has not ended.

In: times of closes that are known, those of rows that are new, and how long a bar is. Out: nothing,
or a `DataError` that names the row's time and the way out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import plain_time
from mcmargin.data.bars import DAY
from mcmargin.data.plausibility import Plausibility
from mcmargin.errors import DataError

Times = NDArray[np.datetime64]

LEAST_SHARE = {"days": 0.5, "longer": 0.75}
"""Least length of a bar of a day, and of a longer one, as a share of the usual one. Daily bars may
close some hours early, and weekly ones a day."""

WHOLE = 0.9
"""Share of a bar from which on a row that another follows is the close of a bar."""


def within_bar(seen: Times, times: Times, days: float, limits: Plausibility) -> NDArray[np.bool_]:
    """Which times lie within a running bar; the first of them follows the last that was seen.

    A time does if its bar would be too short, or if it is at a time of day at which no bar before
    has closed, and no bar's length passes until the next row: what a bar's length passes after was
    the close of a half-day, or of a session whose hours have changed, if closes have a time of day.
    The clock of a zone may have changed by an hour since.

    Parameters
    ----------
    seen : ndarray of shape (bars,), datetime64[ns]
        Of earlier closes, one at least.
    times : ndarray of shape (rows,), datetime64[ns]
        Increasing.
    days : float
        Usual length of a bar.
    limits : Plausibility

    Examples
    --------
    >>> seen = np.arange("2021-01-01", "2021-01-11", dtype="datetime64[D]").astype("M8[ns]")
    >>> new = np.array(["2021-01-10T15:00", "2021-01-11", "2021-01-12T15:00"], "datetime64[ns]")
    >>> within_bar(seen, new, 1.0, Plausibility()).tolist()
    [True, False, True]
    """
    close, long = seen[-1], days >= 0.9
    # Only the last row, and one that another follows soon, can be of a bar that was running; but
    # among dates alone a time of day is no close.
    soon = np.ones(len(times), bool)
    if _hours(seen).any():
        soon[:-1] = np.diff(times) / DAY < WHOLE * days
    seen = np.append(seen, times[~soon])
    apart = _hours_apart(seen, times)
    if long:
        odd = apart > limits.close_hours
    else:
        shifted = [_hours_apart(seen, times + shift * DAY // 24) for shift in (-1, 1)]
        odd = np.minimum(apart, np.minimum(*shifted)) > 24.0 * days / 10
    # Widened to half a day and beyond, the limit bounds nothing.
    inside = odd & soon & (limits.close_hours < 12.0)
    if not long:
        return np.asarray(inside)
    for at in np.flatnonzero(~inside).tolist():
        # A row that is no close does not make the bar after it short.
        inside[at] = (times[at] - close) / DAY < days * _least_share(days)
        if not inside[at]:
            close = times[at]
    return np.asarray(inside)


def require_closes(
    seen: Times, times: Times, days: float, limits: Plausibility, *, source: str, way: str
) -> None:
    """Refuse rows that lie within a running bar.

    Raises
    ------
    DataError
        Naming the first such row by its time.
    """
    for time in times[within_bar(seen, times, days, limits)][:1]:
        clock = plain_clock(seen[-1])
        raise DataError(
            f"{source}: the row of {plain_time(time)} is no close: it lies within a running bar. "
            f"A bar takes {_length(days)}, and the last close that is known is of "
            f"{plain_time(seen[-1])}, at {clock} UTC. {way}"
        )


def plain_clock(time: np.datetime64) -> str:
    """Time of day for people.

    Examples
    --------
    >>> plain_clock(np.datetime64("2021-01-04T21:00:00.000000000"))
    '21:00'
    """
    return str(time.astype("datetime64[m]"))[11:16]


def _length(days: float) -> str:
    return f"{days:.3g} days" if days >= 1.5 else f"{24 * days:.3g} hours"


def _least_share(days: float) -> float:
    return LEAST_SHARE["days" if days < 1.9 else "longer"]


def _hours_apart(seen: Times, times: Times) -> NDArray[np.float64]:
    """Hours from each time of day to the nearest of those seen, around midnight, too."""
    own = _hours(times)[:, None]
    known = np.unique(_hours(seen))[None, :]
    apart = np.abs(own - known)
    return np.asarray(np.minimum(apart, 24.0 - apart).min(axis=1))


def _hours(times: Times) -> NDArray[np.float64]:
    return np.asarray((times - times.astype("datetime64[D]")) / (DAY / 24))

"""Closing times: whether a row of prices is a close, or a tick within a bar that has not ended.

In: times of known closes and of new rows, and the length of a bar. Out: nothing, or a `DataError`
that names the row's time and says what to do.
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
"""Least length of a bar of a day, and of a longer bar, as a share of the usual length. Daily bars
may close some hours early, and weekly bars a day early."""

WHOLE = 0.9
"""If the next row comes later than this share of a bar, the row is a close."""


def within_bar(seen: Times, times: Times, days: float, limits: Plausibility) -> NDArray[np.bool_]:
    """Which times lie within a running bar, and are thus not closes.

    A time is not a close if its bar would be too short. Nor is it one if no earlier bar has closed
    at its time of day, and the next row follows in less than a bar. If a whole bar passes until the
    next row, the time was the close of a half-day, or of a session with new hours. (If closes are
    dates alone, a time of day is never a close.) A zone's clock may have changed by an hour since
    the earlier closes.

    Parameters
    ----------
    seen : ndarray of shape (bars,), datetime64[ns]
        Times of earlier closes, at least one.
    times : ndarray of shape (rows,), datetime64[ns]
        Times of later rows, increasing.
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
    # A bar can only be running at the last row, or at one that another row follows soon. Among
    # closes that are dates alone, any time of day lies within a bar.
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
    # A limit of half a day or more allows every time of day.
    inside = odd & soon & (limits.close_hours < 12.0)
    if not long:
        return np.asarray(inside)
    for at in np.flatnonzero(~inside).tolist():
        # The length of a bar is counted from the last row that is a close.
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
        It names the first such row by its time.
    """
    for time in times[within_bar(seen, times, days, limits)][:1]:
        clock = plain_clock(seen[-1])
        raise DataError(
            f"{source}: the row of {plain_time(time)} is not a close: it lies within a running "
            f"bar. A bar takes {_length(days)}, and the last close that is known is of "
            f"{plain_time(seen[-1])}, at {clock} UTC. {way}"
        )


def plain_clock(time: np.datetime64) -> str:
    """Time of day as a short text.

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
    """Hours from each time of day to the nearest one seen; 23:00 and 01:00 are 2 hours apart."""
    own = _hours(times)[:, None]
    known = np.unique(_hours(seen))[None, :]
    apart = np.abs(own - known)
    return np.asarray(np.minimum(apart, 24.0 - apart).min(axis=1))


def _hours(times: Times) -> NDArray[np.float64]:
    return np.asarray((times - times.astype("datetime64[D]")) / (DAY / 24))

"""Bars: when the next ones close; and times as people and files write them.

In: a bar's length and the weekdays on which bars end, both read off the prices. Out: the times of
the closes after a moment, which give options their time and settlements their bar.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

DAY = np.timedelta64(86_400_000_000_000, "ns")
YEAR = 365 * DAY
"""ACT/365."""

FIRST, LAST = np.datetime64("1678-01-01"), np.datetime64("2262-01-01")
"""Nanoseconds since 1970 in 64 bits reach from one to the other."""


@dataclass(frozen=True)
class BarCalendar:
    """When bars close.

    Attributes
    ----------
    days : float
        Median length of a bar.
    weekdays : tuple of int
        Weekdays on which bars end, Monday 0.
    """

    days: float = 1.0
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)

    @property
    def mean_days(self) -> float:
        """Calendar days a bar on average, days without a bar included."""
        return self.days * (7.0 / len(self.weekdays) if 0.0 < self.days < 1.9 else 1.0)

    def closes_after(self, as_of: np.datetime64, count: int) -> NDArray[np.datetime64]:
        """The next bar closes after one; datetime64[ns] [count].

        Bars of a day or less end on the calendar's weekdays, at the hour that `as_of` has.

        Examples
        --------
        >>> friday = np.datetime64("2021-06-25")
        >>> BarCalendar(1.0, (0, 1, 2, 3, 4)).closes_after(friday, 2).astype("datetime64[D]")
        array(['2021-06-28', '2021-06-29'], dtype='datetime64[D]')
        """
        start = as_of.astype("datetime64[ns]")
        step = DAY if 0.9 < self.days < 1.9 else np.timedelta64(round(self.days * int(DAY)), "ns")
        if step > DAY:
            return np.asarray(start + step * np.arange(1, count + 1))
        # Weeks hold at least one of the weekdays, and so many bars reach `count` of them.
        reach = int(np.ceil(7 * DAY / step)) * (count // max(1, len(self.weekdays)) + 2)
        ahead = start + step * np.arange(1, reach + 1)
        return np.asarray(ahead[np.isin(weekday(ahead), self.weekdays)][:count])


def weekday(times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Weekday of times, Monday 0.

    Examples
    --------
    >>> weekday(np.array(["2021-06-25"], "datetime64[ns]")).tolist()
    [4]
    """
    # 1970-01-01 was a Thursday.
    return np.asarray((times.astype("datetime64[D]").astype(np.int64) + 3) % 7)


def calendar_of(times: NDArray[np.datetime64]) -> BarCalendar:
    """Calendar that times of bars follow: weekdays with at least a tenth of an even share.

    Examples
    --------
    >>> calendar_of(np.arange("2021-01-04", "2021-02-01", dtype="datetime64[D]")).weekdays
    (0, 1, 2, 3, 4, 5, 6)
    """
    days = float(np.median(np.diff(times)) / np.timedelta64(1, "D"))
    counts = np.bincount(weekday(times), minlength=7)
    often = np.flatnonzero(counts > 0.1 * len(times) / 7)
    return BarCalendar(days, tuple(int(day) for day in often))


def years_between(start: np.datetime64, end: np.datetime64) -> float:
    """ACT/365 in UTC.

    Examples
    --------
    >>> years_between(np.datetime64("2021-01-01"), np.datetime64("2022-01-01"))
    1.0
    """
    return float((end - start) / YEAR)


def utc_time(time: Any) -> np.datetime64:
    """Time of day in UTC, nanoseconds; a date alone means its midnight.

    Parameters
    ----------
    time : str, datetime.date, datetime.datetime or numpy.datetime64
        Text is ISO 8601; without a zone it is UTC.

    Raises
    ------
    ValueError
        If it is none, or before 1678 or after 2261.

    Examples
    --------
    >>> utc_time("2021-03-26"), utc_time("2021-03-26T10:00+02:00")
    (np.datetime64('2021-03-26T00:00:00.000000000'), np.datetime64('2021-03-26T08:00:00.000000000'))
    """
    given = time
    if isinstance(time, str):
        time = datetime.fromisoformat(time.strip())
    if not isinstance(time, (date, np.datetime64)):
        raise ValueError(f"{given!r} is not a time")
    exact = np.datetime64("NaT")
    with suppress(OverflowError):
        if isinstance(time, datetime) and time.tzinfo is not None:
            time = time.astimezone(UTC).replace(tzinfo=None)
        exact = np.datetime64(time)
    if np.isnat(exact) or not FIRST <= exact.astype("datetime64[D]") < LAST:
        raise ValueError(f"{given!r} is not between 1678 and 2261")
    stamp: np.datetime64 = exact.astype("datetime64[ns]")
    return stamp

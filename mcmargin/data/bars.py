"""Bars: when the next ones close.

In: a bar's length and the weekdays on which bars end, both read off the prices. Out: the times of
the closes after a moment, which give options their time and settlements their bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DAY = np.timedelta64(86_400_000_000_000, "ns")
YEAR = 365 * DAY
"""ACT/365."""


@dataclass(frozen=True)
class BarCalendar:
    """When bars close.

    Attributes
    ----------
    days : float
        Median length of a bar.
    weekdays : tuple of int
        Weekdays on which bars end, Monday 0.
    slots : tuple of int
        Of bars shorter than a day: minutes after midnight UTC at which they end.
    mean : float, optional
        Calendar days a bar on average, as the prices had them; by the weekdays where none is given.
    """

    days: float = 1.0
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    slots: tuple[int, ...] = ()
    mean: float | None = None

    @property
    def mean_days(self) -> float:
        """Calendar days a bar on average, days and nights without a bar included."""
        if self.mean is not None:
            return self.mean
        return self.days * (7.0 / len(self.weekdays) if 0.0 < self.days < 1.9 else 1.0)

    def closes_after(
        self, close: np.datetime64, count: int, *, after: np.datetime64 | None = None
    ) -> NDArray[np.datetime64]:
        """The next bar closes; datetime64[ns] [count].

        Parameters
        ----------
        close : numpy.datetime64
            A bar's close: bars of a day or more end at its hour.
        count : int
        after : numpy.datetime64, optional
            Closes at or before it do not count; `close` itself by default.

        Examples
        --------
        >>> friday = np.datetime64("2021-06-25")
        >>> BarCalendar(1.0, (0, 1, 2, 3, 4)).closes_after(friday, 2).astype("datetime64[D]")
        array(['2021-06-28', '2021-06-29'], dtype='datetime64[D]')
        """
        first = close.astype("datetime64[ns]")
        bound = first if after is None else max(first, after.astype("datetime64[ns]"))
        passed = max(0, int((bound - first) / DAY))
        if self.slots:
            # A week holds at least one bar on each of its weekdays.
            week = len(self.slots) * len(self.weekdays)
            days = np.arange(passed + 7 * (count // week + 2))
            midnights = first.astype("datetime64[D]").astype("datetime64[ns]") + DAY * days
            minutes = np.array(self.slots) * np.timedelta64(60 * 10**9, "ns")
            ahead = (midnights[:, None] + minutes).ravel()
            ahead = ahead[np.isin(weekday(ahead), self.weekdays)]
        elif self.days < 1.9:
            reach = passed + 7 * (count // len(self.weekdays) + 2)
            ahead = first + DAY * np.arange(1, reach + 1)
            ahead = ahead[np.isin(weekday(ahead), self.weekdays)]
        else:
            step = np.timedelta64(round(self.days * int(DAY)), "ns")
            # Bars of two days may move to one Monday; a week has at least one of its own.
            most = count * max(1, round(7.0 / self.days)) + 2
            ahead = first + step * np.arange(1, int(passed / self.days) + most)
            ahead = np.unique(self._moved_to_weekdays(ahead))
        return np.asarray(ahead[ahead > bound][:count])

    def _moved_to_weekdays(self, times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
        """Each time, or the next that falls on a weekday on which bars end."""
        moved = times.copy()
        for _ in range(6):
            off = ~np.isin(weekday(moved), self.weekdays)
            moved[off] += DAY
        return moved


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
    """Calendar that times of bars follow.

    Weekdays count that have at least a tenth of an even share of the bars; of bars shorter than a
    day, minutes that a tenth of the dates have.

    Examples
    --------
    >>> calendar_of(np.arange("2021-01-04", "2021-02-01", dtype="datetime64[D]")).weekdays
    (0, 1, 2, 3, 4, 5, 6)
    """
    days = float(np.median(np.diff(times)) / np.timedelta64(1, "D"))
    mean = float((times[-1] - times[0]) / np.timedelta64(1, "D")) / (len(times) - 1)
    counts = np.bincount(weekday(times), minlength=7)
    often = np.flatnonzero(counts > 0.1 * len(times) / 7)
    slots: tuple[int, ...] = ()
    if days < 0.9:
        minutes = (times - times.astype("datetime64[D]")) // np.timedelta64(1, "m")
        values, held = np.unique(minutes.astype(np.int64), return_counts=True)
        dates = len(np.unique(times.astype("datetime64[D]")))
        slots = tuple(int(minute) for minute in values[held > 0.1 * dates])
    return BarCalendar(days, tuple(int(day) for day in often), slots, mean)


def years_between(start: np.datetime64, end: Any) -> Any:
    """Years from one time to another, a number, or to several, an array; ACT/365, both UTC.

    Examples
    --------
    >>> years_between(np.datetime64("2021-01-01"), np.datetime64("2022-01-01"))
    1.0
    """
    years = (np.asarray(end, "datetime64[ns]") - start) / YEAR
    return years if years.ndim else float(years)

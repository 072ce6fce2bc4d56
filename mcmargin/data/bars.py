"""Bars: when the next bars close, and at which close a contract settles.

In: the regular pattern of a history's closes on a zone's clock, which `mcmargin.data.bar_patterns`
finds. Out: the closes after a moment. They give the remaining time of options, and the bar at which
a contract settles.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.data.exchanges import exchange_sessions
from mcmargin.data.times import LAST, utc_time
from mcmargin.data.zones import Times, from_wall_clock, wall_clock
from mcmargin.errors import DataError

SECOND = np.timedelta64(10**9, "ns")
DAY = 86_400 * SECOND
WEEK = 7 * DAY
WEEK_SECONDS = 7 * 86_400
YEAR = 365 * DAY
"""ACT/365."""

INSTANT = np.timedelta64(1, "ns")

MONDAY = np.datetime64("1969-12-29", "ns")
"""The start of a week, from which weeks are counted."""

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

LAST_DAY, LAST_WEEKDAY = -1, -2
"""Days of the month on which monthly bars may end, besides 1 to 31."""


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
        Minutes after midnight UTC at which bars end on each of the weekdays, in models of an
        earlier version. If `week` is there, it counts instead.
    mean : float, optional
        Average number of calendar days of a bar in the prices; by default the weekdays give it.
    zone : str
        IANA name of the zone on whose clock the closes are regular.
    week : tuple of (int, int, int)
        Ends of bars of up to a week: runs of (first, step, count) in seconds after Monday's
        midnight on the zone's clock.
    dated : bool
        Whether only the dates of closes are known, and not their hour.
    months : int
        Length of a bar in months; 0 for shorter bars.
    month_day : int
        Day of the month on which bars of months end; it may be `LAST_DAY` or `LAST_WEEKDAY`.
    exchange : str
        Name in `exchange_calendars` of the exchange whose holidays and short sessions count.
    stamps : str
        What the user said about the times of the prices: "dates", "start", "end", or "" for
        nothing.
    """

    days: float = 1.0
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    slots: tuple[int, ...] = ()
    mean: float | None = None
    zone: str = "UTC"
    week: tuple[tuple[int, int, int], ...] = ()
    dated: bool = False
    months: int = 0
    month_day: int = 0
    exchange: str = ""
    stamps: str = ""

    @property
    def mean_days(self) -> float:
        """Average number of calendar days of a bar, with the days and nights without bars."""
        if self.mean is not None:
            return self.mean
        return self.days * (7.0 / len(self.weekdays) if 0.0 < self.days < 1.9 else 1.0)

    def closes_after(
        self, close: np.datetime64, count: int, *, after: np.datetime64 | None = None
    ) -> Times:
        """Times of the next bar closes, datetime64[ns] [count]; see `closes`.

        Examples
        --------
        >>> friday = np.datetime64("2021-06-25")
        >>> BarCalendar(1.0, (0, 1, 2, 3, 4)).closes_after(friday, 2).astype("datetime64[D]")
        array(['2021-06-28', '2021-06-29'], dtype='datetime64[D]')
        """
        return self.closes(close, count, after=after).times

    def closes(
        self, close: np.datetime64, count: int, *, after: np.datetime64 | None = None
    ) -> Closes:
        """The next bar closes, with the latest expiry that settles at each.

        If closes are dates alone, their hour is not known. A market of the close's own date, or one
        whose time is a date alone, is then taken at the close of its date, and the next closes
        follow in whole days. A market with a time of day on a later date is before the close of
        that date, which is then at the end of the date.

        Parameters
        ----------
        close : numpy.datetime64
            Close of a bar, as in the prices.
        count : int
            Number of closes.
        after : numpy.datetime64, optional
            The closes are later than this time; `close` itself by default.

        Returns
        -------
        Closes

        Raises
        ------
        DataError
            If they lie after 2261, or a named exchange has no sessions then.
        """
        close = utc_time(close)
        bound = close if after is None else utc_time(after)
        if count * 2.0 * max(self.days, self.mean_days) > float((LAST - bound) / DAY) - 60.0:
            raise DataError(
                f"{count} bars of {self.days:.4g} days after {bound.astype('M8[D]')} end after 2261"
            )
        if not self.dated:
            first = self._wall(close)
            walls = self._next(first, max(first, self._wall(bound)), count)
            times = from_wall_clock(walls, self.zone)
            # When a clock is put back or forward, two closes may change their order.
            times = np.unique(times[times > max(close, bound)])
            if len(times) < count:
                return self.closes(close, count + 2, after=after).first(count)
            return Closes(times[:count], times[:count], self)
        own, place = _date(self.clock(close)), self.clock(bound)
        today = _date(place)
        within = today > own and place != today
        dates = self._next(own, max(own, today - DAY if within else today), count)
        last = dates + (DAY - INSTANT)
        times = from_wall_clock(last, self.zone) if within else bound + (dates - today)
        return Closes(times, last, self)

    def clock(self, moment: np.datetime64) -> np.datetime64:
        """Return a moment so that it can be compared to `Closes.ends`.

        If closes are dates alone, that is the time on the zone's clock. Midnight UTC is then a date
        without an hour, which is the same date in every zone.
        """
        moment = moment.astype("datetime64[ns]")
        if not self.dated or moment == _date(moment):
            return moment
        return self._wall(moment)

    def in_window(self, times: Times, first: str, last: str) -> NDArray[np.bool_]:
        """Which closes end bars within a window of whole dates, both of which are included.

        A bar that closes at midnight is the last one of the date before, unless midnight stands for
        the date.

        Examples
        --------
        >>> hours = np.array(["2021-01-04T00:00", "2021-01-04T01:00"], "datetime64[ns]")
        >>> BarCalendar(1 / 24).in_window(hours, "2021-01-04", "2021-01-04").tolist()
        [False, True]
        """
        start, end = np.datetime64(first, "ns"), np.datetime64(last, "ns") + DAY
        if self.dated or (self.days >= 0.9 and not self.stamps):
            walls = wall_clock(times, self.zone) if self.dated else times
            return np.asarray((walls >= start) & (walls < end))
        return np.asarray((times > start) & (times <= end))

    def unscheduled(self, times: Times) -> Times:
        """Times at which no session of the calendar's exchange closes."""
        if not self.exchange or self.dated or len(times) == 0:
            return times
        sessions = exchange_sessions(self.exchange, times[0], times[-1])
        return np.asarray(times[~np.isin(times, sessions.closes)])

    def summary(self) -> str:
        """Say how long bars are, in which zone they are regular, and when they close.

        Examples
        --------
        >>> BarCalendar(1.0, (0, 1, 2, 3, 4), dated=True).summary()
        'bars of 1 day, on Monday, Tuesday, Wednesday, Thursday, Friday; closes are dates alone'
        >>> BarCalendar(1 / 24, week=((0, 3600, 48),), zone="America/New_York").summary()
        'bars of 1 hour, on Monday, Tuesday; regular in America/New_York'
        """
        length, unit = float(self.months), "month"
        if not self.months:
            sizes = {"week": 7.0, "day": 1.0, "hour": 1 / 24, "minute": 1 / 1440, "second": 0.0}
            unit = next(name for name, size in sizes.items() if self.days > 0.99 * size)
            length = self.days / (sizes[unit] or 1 / 86_400)
        text = f"bars of {length:.4g} {unit}{'' if round(length, 2) == 1 else 's'}"
        days = self.weekdays
        if self.week:
            days = tuple(np.unique(self._week_times // DAY).tolist())
        if not self.months and len(days) < 7:
            text += f", on {', '.join(_WEEKDAYS[day] for day in days)}"
        text += "; closes are dates alone" if self.dated else f"; regular in {self.zone}"
        return text + (f"; sessions of {self.exchange}" if self.exchange else "")

    def to_words(self) -> dict[str, Any]:
        """Fields of a model file: those that it always has, and others if they are set."""
        words, usual = asdict(self), asdict(BarCalendar())
        always = ("days", "weekdays", "slots", "mean")
        return {name: x for name, x in words.items() if name in always or x != usual[name]}

    def _wall(self, moment: np.datetime64) -> np.datetime64:
        shown: np.datetime64 = wall_clock(np.array([moment]), self.zone)[0]
        return shown

    def _next(self, close: np.datetime64, bound: np.datetime64, count: int) -> Times:
        """The next closes after `bound` of bars that closed at `close`, on the zone's clock."""
        if self.months:
            return self._month_ends(close, bound, count)
        if self.exchange and not self.dated and not self.week:
            return self._session_closes(bound, count)
        seconds = self._seconds(close)
        if len(seconds) == 0:
            return self._steps(close, bound, count)
        since = (close - MONDAY) % WEEK
        if since not in seconds:
            # A close at an unusual time, as before a holiday, was that of the bar that is near.
            bound = max(bound, close + self._half)
        start = MONDAY + (bound - MONDAY) // WEEK * WEEK
        weeks = count // len(seconds) + 2
        while True:
            walls = (start + WEEK * np.arange(weeks))[:, None] + seconds
            ahead = self._open(walls.ravel()[walls.ravel() > bound])
            ahead = ahead[ahead > bound]
            if len(ahead) >= count:
                return np.asarray(ahead[:count])
            if weeks > 50 * (count + 2):
                raise DataError(
                    f"calendar {self.exchange!r}: it has no session at the times at which these "
                    "bars end; name another exchange or none"
                )
            weeks *= 2

    @property
    def _half(self) -> np.timedelta64:
        return np.timedelta64(round(0.5 * self.days * 86_400e9), "ns")

    def _seconds(self, close: np.datetime64) -> NDArray[np.timedelta64]:
        """Times of the week at which bars end; none for bars of other lengths."""
        if self.week:
            return self._week_times
        if self.slots:
            times = np.array(self.slots) * 60 * SECOND
        elif 0.9 <= self.days < 1.9 or (6.5 < self.days < 7.5 and len(self.weekdays) == 1):
            times = np.array([close - _date(close)])
        else:
            return np.array([], "timedelta64[ns]")
        days = np.array(self.weekdays) * DAY
        return np.asarray((days[:, None] + times).ravel())

    @cached_property
    def _week_times(self) -> NDArray[np.timedelta64]:
        runs = [first + step * np.arange(count) for first, step, count in self.week]
        return np.asarray(np.concatenate(runs) * SECOND)

    def _open(self, walls: Times) -> Times:
        """Closes at which the exchange is open, or all closes without an exchange."""
        if not self.exchange:
            return walls
        sessions = exchange_sessions(self.exchange, walls[0], walls[-1])
        if self.days > 6.5:
            # If the last day of a week is a holiday, the week ends with the session before it.
            ends = sessions.dates if self.dated else wall_clock(sessions.closes, self.zone)
            return np.unique(ends[np.searchsorted(ends, walls, side="right") - 1])
        if self.dated:
            return np.asarray(walls[np.isin(walls, sessions.dates)])
        times = from_wall_clock(walls, self.zone)
        at = np.minimum(np.searchsorted(sessions.closes, times), len(sessions.closes) - 1)
        inside = (sessions.opens[at] <= times) & (times <= sessions.closes[at])
        return np.asarray(walls[inside])

    def _session_closes(self, bound: np.datetime64, count: int) -> Times:
        """Closes of whole sessions of the exchange."""
        reach = round(1.5 * count) + 4
        while True:
            sessions = exchange_sessions(self.exchange, bound, bound + reach * DAY)
            walls = wall_clock(sessions.closes, self.zone)
            ahead = walls[walls > bound]
            if len(ahead) >= count:
                return np.asarray(ahead[:count])
            reach *= 2

    def _month_ends(self, close: np.datetime64, bound: np.datetime64, count: int) -> Times:
        """Ends of months after `bound`; the one nearest to `close` is its own."""
        month, hour = close.astype("datetime64[M]"), close - _date(close)
        near = self._ends_of(month + np.arange(-1, 2)) + hour
        own = month + int(np.argmin(np.abs(near - close))) - 1
        passed = max(0, int((bound - close) / DAY)) // 28
        ahead = self._ends_of(own + self.months * np.arange(1, count + passed + 2)) + hour
        return np.asarray(ahead[ahead > bound][:count])

    def _ends_of(self, months: NDArray[np.datetime64]) -> Times:
        starts = months.astype("datetime64[D]")
        lasts = (months + 1).astype("datetime64[D]") - 1
        if self.month_day == LAST_DAY:
            ends = lasts
        elif self.month_day != LAST_WEEKDAY:
            ends = np.minimum(starts + (self.month_day - 1), lasts)
        elif self.exchange:
            dates = exchange_sessions(self.exchange, starts[0], lasts[-1]).dates
            ends = dates[np.searchsorted(dates, lasts, side="right") - 1]
        else:
            ends = np.busday_offset(lasts, 0, roll="backward")
        return np.asarray(ends.astype("datetime64[ns]"))

    def _steps(self, close: np.datetime64, bound: np.datetime64, count: int) -> Times:
        """Closes at the distance of a bar; those of days move on to the next weekday with bars."""
        step = np.timedelta64(round(self.days * int(DAY / INSTANT)), "ns")
        # A close on a weekday without bars moves on by less than a week.
        first = max(1, int((bound - close - WEEK) // step))
        # Two closes may move to the same Monday, so that more are made than are needed.
        most = count * max(1, min(7, round(7.0 / self.days))) + 2
        ahead = close + step * np.arange(first, max(1, int((bound - close) / step)) + most)
        # Bars of some hours without a regular week follow one another day and night.
        for _ in range(6 if self.days >= 0.9 else 0):
            off = ~np.isin(weekday(ahead), self.weekdays)
            ahead[off] += DAY
        ahead = np.unique(ahead)
        return np.asarray(ahead[ahead > bound][:count])


@dataclass(frozen=True, eq=False)
class Closes:
    """Bar closes, one after another.

    Attributes
    ----------
    times : ndarray of shape (closes,), datetime64[ns]
        Times of the closes in UTC, by which elapsed time is counted.
    ends : ndarray of shape (closes,), datetime64[ns]
        Latest expiry that settles at each close, to be compared to `calendar.clock`: the close
        itself or, if closes are dates, the last instant of its date.
    calendar : BarCalendar
    """

    times: Times
    ends: Times
    calendar: BarCalendar

    def bar_of(self, expiry: np.datetime64) -> int:
        """Bar, counted from 1, at whose close an expiry settles; the number after the last if none.

        Examples
        --------
        >>> weekdays = BarCalendar(1.0, (0, 1, 2, 3, 4), dated=True)
        >>> closes = weekdays.closes(np.datetime64("2018-12-28"), 5)
        >>> closes.bar_of(np.datetime64("2018-12-31T21:00"))
        1
        """
        # Books hold many contracts of few expiries, and a zone's clock takes long to compute.
        if expiry not in self._bars:
            place = self.calendar.clock(expiry)
            self._bars[expiry] = int(np.searchsorted(self.ends, place)) + 1
        return self._bars[expiry]

    @cached_property
    def _bars(self) -> dict[np.datetime64, int]:
        return {}

    def years_left(self, bar: int, expiry: np.datetime64) -> float:
        """Years from a bar's close to an expiry, ACT/365; 0 if it has settled by then."""
        if self.bar_of(expiry) <= bar:
            return 0.0
        return float(years_between(self.times[bar - 1], expiry))

    def first(self, count: int) -> Closes:
        """The first closes."""
        return Closes(self.times[:count], self.ends[:count], self.calendar)


def weekday(times: Times) -> NDArray[np.int64]:
    """Weekday of times, Monday 0.

    Examples
    --------
    >>> weekday(np.array(["2021-06-25"], "datetime64[ns]")).tolist()
    [4]
    """
    # 1970-01-01 was a Thursday.
    return np.asarray((times.astype("datetime64[D]").astype(np.int64) + 3) % 7)


def years_between(start: np.datetime64, end: Any) -> Any:
    """Years from one time to another or to several, ACT/365; a number or an array.

    Examples
    --------
    >>> years_between(np.datetime64("2021-01-01"), np.datetime64("2022-01-01"))
    1.0
    """
    years = (np.asarray(end, "datetime64[ns]") - start) / YEAR
    return years if years.ndim else float(years)


def _date(time: np.datetime64) -> np.datetime64:
    midnight: np.datetime64 = time.astype("datetime64[D]").astype("datetime64[ns]")
    return midnight

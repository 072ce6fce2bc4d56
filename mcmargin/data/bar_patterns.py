"""Bar patterns: the calendar that a history's own closes follow.

In: the times of bars, and what the user knows of them: their zone, their exchange and their stamps.
Out: a `BarCalendar`. Regular times are found in the newest weeks, so that the hours of an old
session, a half-day or a stray bar on a weekend are not expected again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcmargin.data.bar_stamps import at_midnight, refuse_starts
from mcmargin.data.bars import (
    DAY,
    LAST_DAY,
    LAST_WEEKDAY,
    MONDAY,
    SECOND,
    WEEK,
    BarCalendar,
    weekday,
)
from mcmargin.data.exchanges import Sessions, exchange_sessions
from mcmargin.data.steady_times import steadied
from mcmargin.data.zones import EXCHANGE_ZONES, Times, check_zone, wall_clock
from mcmargin.errors import DataError

RECENT = 13 * WEEK
"""Span in which a pattern is found. Holidays are few in it, and old hours are forgotten soon."""

THIN = 4 * RECENT
"""Span if bars are at a usual time in fewer than four of five weeks."""

ZONE_HISTORY = 104 * WEEK
"""Span in which a zone is found: daylight saving begins and ends in it more than once."""

REGULAR = 0.5
"""A time of the week is regular if it has this share of the weeks that a usual time has."""

LEAST_FAULTS = 2
"""Another zone is taken only if it has this many irregular closes fewer than UTC."""

LEAST_BARS = 100
"""Least number of bars of a calendar that an update finds anew; calibration needs as many."""

MOST_RUNS = 5_000
"""Largest number of runs of a week's times. Bars with more of them follow no clock."""

Seconds = NDArray[np.int64]


def calendar_of(
    times: Times,
    *,
    zone: str | None = None,
    shown_zone: str | None = None,
    exchange: str = "",
    stamps: str = "",
) -> BarCalendar:
    """Find the calendar that the times of bars follow.

    Parameters
    ----------
    times : ndarray of shape (bars,), datetime64[ns]
        Closes in UTC, at least two.
    zone : str, optional
        IANA name of the zone on whose clock they are regular. By default it is the zone of the
        exchange. Without an exchange it is UTC, unless times of the week repeat better in one of
        `EXCHANGE_ZONES`.
    shown_zone : str, optional
        Zone in which the times were written; it is tried, too. It is taken if bars are of a day or
        more and all times are midnights in it.
    exchange : str
        Name in `exchange_calendars`. The expected closes follow its holidays and short sessions.
    stamps : str
        With "dates" the times are the dates of the closes, whose hour is unknown. With "end", and
        with "start" after `closes_of`, they are the moments of the closes. With "" they are dates
        if bars are of a day or more and all times are midnights, and otherwise moments.

    Raises
    ------
    DataError
        If the zone or the exchange is unknown, fewer than nine of ten bars are on the exchange's
        sessions, or `stamps` does not say whether dates of weeks or months that look like starts
        are starts.

    Examples
    --------
    >>> calendar_of(np.arange("2021-01-04", "2021-02-01", dtype="datetime64[D]")).weekdays
    (0, 1, 2, 3, 4, 5, 6)
    """
    times = times.astype("datetime64[ns]")
    days = float(np.median(np.diff(times)) / DAY)
    mean = float((times[-1] - times[0]) / DAY) / (len(times) - 1)
    if exchange:
        sessions = exchange_sessions(exchange, times[0], times[-1])
        zone = zone or sessions.zone
    may_be_dates = stamps == "dates" or (stamps == "" and days >= 0.9)
    if days >= 0.9 and at_midnight(times) >= 0.9:
        # Dates without an hour are the same in every zone.
        zone = "UTC"
    if zone is None and shown_zone is not None and may_be_dates:
        zone = shown_zone if at_midnight(wall_clock(times, shown_zone)) >= 0.9 else None
    zone = infer_zone(times, days, shown_zone) if zone is None else check_zone(zone)
    walls = wall_clock(times, zone)
    dates = walls.astype("datetime64[D]").astype("datetime64[ns]")
    dated = stamps == "dates" or (may_be_dates and at_midnight(walls) >= 0.9)
    months, month_day = _months(walls, days)
    if dated:
        if not stamps:
            refuse_starts(dates, days, month_day)
        walls = dates
    elif days < 7.5:
        walls = steadied(walls, days)
    weekdays = weekdays_of(walls, "UTC")
    week: tuple[tuple[int, int, int], ...] = ()
    if not months and days < 7.5 and _repeats(walls, days):
        week = _runs(_regular_times(walls, days))
    if exchange and _follows(sessions, times, dates, dated, days):
        week = ()
    return BarCalendar(
        days, weekdays, (), mean, zone, week, dated, months, month_day, exchange, stamps
    )


def renewed(
    calendar: BarCalendar, close: np.datetime64, newer: Times, history: Callable[[], Times]
) -> BarCalendar:
    """Return the calendar, whose week is found anew if it does not expect the newer closes.

    The newest weeks then show a longer session, another weekday, or the first change of the clocks
    since the calibration. Holidays change nothing.

    Parameters
    ----------
    calendar : BarCalendar
    close : numpy.datetime64
        The model's last close before the newer ones.
    newer : ndarray of shape (bars,), datetime64[ns]
    history : callable
        Returns the times of all bars with the newer ones. It is only called if it is needed.
    """
    # Some of the expected closes are missing because of holidays, so that more are asked for.
    expected = calendar.closes(close, 2 * len(newer) + 10)
    if calendar.dated:
        found = wall_clock(newer, calendar.zone).astype("datetime64[D]")
        known = expected.ends.astype("datetime64[D]")
    else:
        found, known = newer, expected.times
    times = np.array([]) if np.isin(found, known).all() or not calendar.week else history()
    if len(times) < LEAST_BARS:
        return calendar
    zone = None if calendar.zone == "UTC" else calendar.zone
    now = calendar_of(times, zone=zone, exchange=calendar.exchange, stamps=calendar.stamps)
    if (now.dated, now.months) != (calendar.dated, calendar.months):
        return calendar
    return replace(calendar, zone=now.zone, week=now.week, weekdays=now.weekdays)


def weekdays_of(times: Times, zone: str) -> tuple[int, ...]:
    """Weekdays (Monday 0) on a zone's clock with more than a tenth of an even share of closes."""
    counts = np.bincount(weekday(wall_clock(times, zone)), minlength=7)
    return tuple(np.flatnonzero(counts > 0.1 * len(times) / 7).tolist())


def infer_zone(times: Times, days: float, shown_zone: str | None = None) -> str:
    """Zone on whose clock the times of the week repeat best; UTC if it is as good.

    Examples
    --------
    >>> index = np.arange("2023-01-02", "2023-12-30", dtype="datetime64[D]")
    >>> infer_zone(index.astype("datetime64[ns]"), 1.0)
    'UTC'
    """
    recent = times[times > times[-1] - ZONE_HISTORY]
    period = WEEK if days < 7.5 else DAY
    best, fewest = "UTC", (np.inf, True)
    for zone in dict.fromkeys(("UTC", shown_zone or "UTC", *EXCHANGE_ZONES)):
        walls = wall_clock(recent, zone)
        walls = steadied(walls, days) if days < 7.5 else walls
        faults = _faults(walls, period) + (LEAST_FAULTS if zone != "UTC" else 0)
        # Of zones with the same rule, the one in which the times are midnights is taken.
        found = (faults, bool((walls != walls.astype("datetime64[D]")).any()))
        if found < fewest:
            best, fewest = zone, found
        if zone == "UTC" and faults <= LEAST_FAULTS:
            break
    return best


def refuse_local_times(times: Times, zone: str) -> None:
    """Refuse times that repeat in UTC and not in the zone that the user named.

    They are times of that zone, which were written without it and read as UTC.

    Raises
    ------
    DataError
    """
    days = float(np.median(np.diff(times)) / DAY)
    if days > 7.5 or at_midnight(times) >= 0.9:
        return
    recent = times[times > times[-1] - ZONE_HISTORY]
    here, there = (_faults(wall_clock(recent, each), WEEK) for each in ("UTC", zone))
    if there > 2 * here + 10:
        raise DataError(
            f"the times repeat from week to week in UTC and not on the clock of zone {zone!r}, as "
            "local times do that are written without their zone and read as UTC; write them with "
            f"their offset from UTC, or give a frame with index.tz_localize({zone!r})"
        )


def _times_in(walls: Times, period: np.timedelta64) -> tuple[Seconds, Seconds]:
    """Number of the period in which each bar closes, and seconds since the period began."""
    since = walls - MONDAY
    return np.asarray(since // period), np.asarray((since % period) // SECOND)


def _shares(cycles: Seconds, at: Seconds) -> tuple[Seconds, Seconds, Seconds]:
    """Times of a period, number of closes at each, and number of periods in which each could be.

    Periods without any bar do not count.
    """
    values, counts = np.unique(at, return_counts=True)
    first, last = at[0], at[-1]
    exposed = len(np.unique(cycles)) - (values < first).astype(int) - (values > last)
    return values, counts, np.maximum(exposed, counts)


def _usual(counts: Seconds, exposed: Seconds) -> float:
    """Share of the periods that have the time of a bar; the median over all bars."""
    shares = np.repeat(counts / exposed, counts)
    return float(np.median(shares))


def _faults(walls: Times, period: np.timedelta64) -> int:
    """Number of closes at irregular times, and of regular times without a close."""
    _, counts, exposed = _shares(*_times_in(walls, period))
    regular = counts / exposed >= REGULAR * _usual(counts, exposed)
    return int((exposed - counts)[regular].sum() + counts[~regular].sum())


def _regular_times(walls: Times, days: float) -> Seconds:
    """Times of the week at which bars close, in seconds since Monday's midnight."""
    recent = _newest(walls, RECENT) if days < 6.5 else walls
    values, counts, exposed = _shares(*_times_in(recent, WEEK))
    if _usual(counts, exposed) < 0.8:
        recent = _newest(walls, THIN) if days < 6.5 else walls
        values, counts, exposed = _shares(*_times_in(recent, WEEK))
    regular = counts / exposed >= REGULAR * _usual(counts, exposed)
    if days < 0.9:
        regular &= ~_stray(values, exposed, recent, days)
    found = values[regular]
    if days > 6.5:
        return np.asarray(values[[int(np.argmax(counts))]])
    span = recent[-1] - recent[0]
    if span < WEEK:
        found = np.union1d(found, _unseen(recent, found, days))
    return np.asarray(found)


def _repeats(walls: Times, days: float) -> bool:
    """Whether each week is like the one before; with bars of two days or five hours it is not."""
    if days < 1.9:
        steps = np.diff(walls)
        step = np.median(steps)
        return bool(WEEK % step == np.timedelta64(0) or np.mean(steps == step) < 0.98)
    _, counts, exposed = _shares(*_times_in(walls[walls > walls[-1] - THIN], WEEK))
    return _usual(counts, exposed) >= 0.8


def _newest(walls: Times, span: np.timedelta64) -> Times:
    """The newest bars, or all bars if there are few."""
    recent = walls[walls > walls[-1] - span]
    return recent if len(recent) >= 10 else walls


def _stray(values: Seconds, exposed: Seconds, walls: Times, days: float) -> NDArray[np.bool_]:
    """Times of the week, in a history of few weeks, that only bars far from all others have."""
    if exposed.min() >= 3:
        return np.zeros(len(values), bool)
    gaps = np.diff(walls, prepend=walls[0] - WEEK, append=walls[-1] + WEEK) / DAY
    lone = (gaps[:-1] > 1.5 * days) & (gaps[1:] > 1.5 * days)
    # What lies beyond the ends of a history is not known.
    lone[[0, -1]] = False
    hours = (walls - walls.astype("datetime64[D]")) // SECOND
    dates = len(np.unique(walls.astype("datetime64[D]")))
    _, hour, counts = np.unique(hours, return_inverse=True, return_counts=True)
    odd = lone & (counts[hour] < REGULAR * dates)
    _, at = _times_in(walls[odd], WEEK)
    return np.asarray(np.isin(values, at) & (exposed < 3))


def _unseen(walls: Times, found: Seconds, days: float) -> Seconds:
    """Times of the week that a history of less than a week lacks, if they are like those it has.

    A market that closes at night is assumed to close at weekends, too.
    """
    day = int(DAY / SECOND)
    step = max(1, round(days * day))
    if np.diff(walls).max() / DAY <= 1.5 * days:
        every = np.arange(int(found[0]) % step, 7 * day, step)
    else:
        hours = np.unique(found % day)
        gaps = np.diff(hours, append=hours[0] + day)
        dates = 5 if gaps.max() > 1.5 * np.median(gaps) else 7
        every = (day * np.arange(dates)[:, None] + hours).ravel()
    first, last = (int(x) for x in ((walls[[0, -1]] - MONDAY) % WEEK) // SECOND)
    seen = (
        (first <= every) & (every <= last) if first <= last else (every >= first) | (every <= last)
    )
    return np.asarray(every[~seen])


def _runs(seconds: Seconds) -> tuple[tuple[int, int, int], ...]:
    """Write times as runs of (first, step, count); none if there are more than `MOST_RUNS`."""
    runs: list[tuple[int, int, int]] = []
    steps = np.diff(seconds)
    # Places at which a step differs from the one before, and the end.
    turns = np.append(np.flatnonzero(np.diff(steps)) + 1, len(steps))
    at = 0
    while at < len(seconds) and len(runs) <= MOST_RUNS:
        step, end = 0, at + 1
        if end < len(seconds):
            step, end = int(steps[at]), int(turns[np.searchsorted(turns, at, side="right")]) + 1
        # Two times alone are not a run, unless no other times are left.
        if end - at == 2 and end < len(seconds):
            step, end = 0, at + 1
        runs.append((int(seconds[at]), step, end - at))
        at = end
    return tuple(runs) if len(runs) <= MOST_RUNS else ()


def _months(walls: Times, days: float) -> tuple[int, int]:
    """Length of a bar in months, and the day on which it ends; 0 and 0 for other bars."""
    months = round(days / 30.4)
    if days < 27.0 or abs(days - 30.4375 * months) > 3.0 or not 1 <= months <= 24:
        return 0, 0
    dates = walls.astype("datetime64[D]")
    starts = walls.astype("datetime64[M]").astype("datetime64[D]")
    lasts = (walls.astype("datetime64[M]") + 1).astype("datetime64[D]") - 1
    if np.mean(dates == lasts) >= 0.9:
        return months, LAST_DAY
    # On some last weekdays of months exchanges are closed.
    near = (np.busday_offset(lasts, 0, roll="backward") - dates).astype(int)
    if np.mean((near >= 0) & (near <= 4)) >= 0.8 and np.mean(near == 0) >= 0.6:
        return months, LAST_WEEKDAY
    days_of_month, counts = np.unique((dates - starts).astype(int) + 1, return_counts=True)
    return months, int(days_of_month[np.argmax(counts)])


def _follows(sessions: Sessions, times: Times, dates: Times, dated: bool, days: float) -> bool:
    """Whether daily bars close when the sessions of an exchange do.

    Raises
    ------
    DataError
        If fewer than nine of ten bars are on sessions.
    """
    kept = np.isin(dates, sessions.dates)
    if days < 0.9:
        at = np.minimum(np.searchsorted(sessions.closes, times), len(sessions.closes) - 1)
        kept = sessions.opens[at] <= times
    if np.mean(kept) < 0.9:
        raise DataError(
            f"only {int(kept.sum())} of {len(kept)} bars are on sessions of the exchange that "
            "calendar names; name another, or none, and write times with their zone"
        )
    return not dated and days < 1.9 and bool(np.mean(np.isin(times, sessions.closes)) >= 0.8)

"""Bar patterns: the calendar that a history's own closes show.

In: the times of bars and what the user knows of them: their zone, their exchange, how they are
stamped. Out: a `BarCalendar`. What is regular is read from the newest weeks, so that an old
session's hours, a half-day or a stray bar on a weekend do not come back in the closes ahead.
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
"""What a pattern is read from: long enough for holidays to be few, short enough to forget."""

THIN = 4 * RECENT
"""The same where bars stand at a usual time in fewer than four of five weeks."""

ZONE_HISTORY = 104 * WEEK
"""What a zone is read from: daylight saving begins and ends in it more than once."""

REGULAR = 0.5
"""Share of the weeks, over what bars usually have, from which on a time of the week is regular."""

LEAST_FAULTS = 2
"""By how many irregular closes fewer than UTC another zone has to have."""

LEAST_BARS = 100
"""From which on a calendar is read anew: calibration asks for no fewer."""

MOST_RUNS = 5_000
"""Of a week's times. Bars of more than these are on no clock."""

Seconds = NDArray[np.int64]


def calendar_of(
    times: Times,
    *,
    zone: str | None = None,
    shown_zone: str | None = None,
    exchange: str = "",
    stamps: str = "",
) -> BarCalendar:
    """Calendar that the times of bars follow.

    Parameters
    ----------
    times : ndarray of shape (bars,), datetime64[ns]
        Closes, UTC, at least two.
    zone : str, optional
        IANA name of the zone on whose clock they are regular. Without one it is the exchange's, or
        UTC unless another of `EXCHANGE_ZONES` makes the times of the week repeat better.
    shown_zone : str, optional
        Zone that the times were written in, which is tried beside those. It decides where times of
        bars of a day or more are all midnights in it.
    exchange : str
        Of `exchange_calendars`; its holidays and short sessions are left out of the closes ahead.
    stamps : str
        "dates": the times are the dates of the closes, whose hour is unknown. "end", or "start"
        where `closes_of` has moved them: they are the moments of the closes. "": those of bars of a
        day or more that are all at midnight are dates, and others moments.

    Raises
    ------
    DataError
        If the zone or the exchange is unknown, fewer than nine of ten bars are on the exchange's
        sessions, or dates of weeks or months look like those of their starts and `stamps` does not
        say what they are.

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
        # Dates alone are the same dates on every clock.
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
    """Return the calendar, with its week read anew where newer closes are not those it expects.

    A session that is longer now, another weekday, or clocks that were changed for the first time
    since the calibration: the newest weeks show them. Holidays change nothing.

    Parameters
    ----------
    calendar : BarCalendar
    close : numpy.datetime64
        The model's last close before the newer ones.
    newer : ndarray of shape (bars,), datetime64[ns]
    history : callable
        Gives the times of all bars, the newer ones among them; called only where they are needed.
    """
    # Holidays leave some of the expected closes out.
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
    """Weekdays, Monday 0, on which a tenth of an even share of the bars close on a zone's clock."""
    counts = np.bincount(weekday(wall_clock(times, zone)), minlength=7)
    return tuple(np.flatnonzero(counts > 0.1 * len(times) / 7).tolist())


def infer_zone(times: Times, days: float, shown_zone: str | None = None) -> str:
    """Zone on whose clock the bars' times of the week repeat best; UTC where it does as well.

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
        # Of zones of one rule, dates are those of the zone in which they begin.
        found = (faults, bool((walls != walls.astype("datetime64[D]")).any()))
        if found < fewest:
            best, fewest = zone, found
        if zone == "UTC" and faults <= LEAST_FAULTS:
            break
    return best


def refuse_local_times(times: Times, zone: str) -> None:
    """Refuse times that repeat in UTC and not in the zone that a user names for them.

    They are the zone's own clock, written without their zone, and were read as UTC.

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
    """Number of the period that each bar closes in, and seconds from its start."""
    since = walls - MONDAY
    return np.asarray(since // period), np.asarray((since % period) // SECOND)


def _shares(cycles: Seconds, at: Seconds) -> tuple[Seconds, Seconds, Seconds]:
    """Times of a period, how often bars closed at each, and how often they could have.

    Periods without any bar do not count.
    """
    values, counts = np.unique(at, return_counts=True)
    first, last = at[0], at[-1]
    exposed = len(np.unique(cycles)) - (values < first).astype(int) - (values > last)
    return values, counts, np.maximum(exposed, counts)


def _usual(counts: Seconds, exposed: Seconds) -> float:
    """Share of the periods in which the time of a bar in the middle stood."""
    shares = np.repeat(counts / exposed, counts)
    return float(np.median(shares))


def _faults(walls: Times, period: np.timedelta64) -> int:
    """Closes at irregular times, and regular times without one."""
    _, counts, exposed = _shares(*_times_in(walls, period))
    regular = counts / exposed >= REGULAR * _usual(counts, exposed)
    return int((exposed - counts)[regular].sum() + counts[~regular].sum())


def _regular_times(walls: Times, days: float) -> Seconds:
    """Times of the week at which bars close, in seconds after Monday's midnight."""
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
    """Whether a week is like the one before; bars of two days, or of five hours, are not."""
    if days < 1.9:
        steps = np.diff(walls)
        step = np.median(steps)
        return bool(WEEK % step == np.timedelta64(0) or np.mean(steps == step) < 0.98)
    _, counts, exposed = _shares(*_times_in(walls[walls > walls[-1] - THIN], WEEK))
    return _usual(counts, exposed) >= 0.8


def _newest(walls: Times, span: np.timedelta64) -> Times:
    """The newest bars, or all of a history that has few."""
    recent = walls[walls > walls[-1] - span]
    return recent if len(recent) >= 10 else walls


def _stray(values: Seconds, exposed: Seconds, walls: Times, days: float) -> NDArray[np.bool_]:
    """Times of the week that only a bar far from all others has, in a history of few weeks."""
    if exposed.min() >= 3:
        return np.zeros(len(values), bool)
    gaps = np.diff(walls, prepend=walls[0] - WEEK, append=walls[-1] + WEEK) / DAY
    lone = (gaps[:-1] > 1.5 * days) & (gaps[1:] > 1.5 * days)
    # The edges of a history say nothing of what lies beyond them.
    lone[[0, -1]] = False
    hours = (walls - walls.astype("datetime64[D]")) // SECOND
    dates = len(np.unique(walls.astype("datetime64[D]")))
    _, hour, counts = np.unique(hours, return_inverse=True, return_counts=True)
    odd = lone & (counts[hour] < REGULAR * dates)
    _, at = _times_in(walls[odd], WEEK)
    return np.asarray(np.isin(values, at) & (exposed < 3))


def _unseen(walls: Times, found: Seconds, days: float) -> Seconds:
    """Times of the week that a history of less than a week does not reach: like those it does.

    A market that has a night is taken to have a weekend, too.
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
    """Times as runs of (first, step, count); none where they are too many for any clock."""
    runs: list[tuple[int, int, int]] = []
    steps = np.diff(seconds)
    # Where a step is not the one before it, and the end.
    turns = np.append(np.flatnonzero(np.diff(steps)) + 1, len(steps))
    at = 0
    while at < len(seconds) and len(runs) <= MOST_RUNS:
        step, end = 0, at + 1
        if end < len(seconds):
            step, end = int(steps[at]), int(turns[np.searchsorted(turns, at, side="right")]) + 1
        # Two times alone make no run, unless they are all that is left.
        if end - at == 2 and end < len(seconds):
            step, end = 0, at + 1
        runs.append((int(seconds[at]), step, end - at))
        at = end
    return tuple(runs) if len(runs) <= MOST_RUNS else ()


def _months(walls: Times, days: float) -> tuple[int, int]:
    """Length of a bar in months and the day on which it ends; 0 and 0 where it has no months."""
    months = round(days / 30.4)
    if days < 27.0 or abs(days - 30.4375 * months) > 3.0 or not 1 <= months <= 24:
        return 0, 0
    dates = walls.astype("datetime64[D]")
    starts = walls.astype("datetime64[M]").astype("datetime64[D]")
    lasts = (walls.astype("datetime64[M]") + 1).astype("datetime64[D]") - 1
    if np.mean(dates == lasts) >= 0.9:
        return months, LAST_DAY
    # Exchanges are closed on some last weekdays of months.
    near = (np.busday_offset(lasts, 0, roll="backward") - dates).astype(int)
    if np.mean((near >= 0) & (near <= 4)) >= 0.8 and np.mean(near == 0) >= 0.6:
        return months, LAST_WEEKDAY
    days_of_month, counts = np.unique((dates - starts).astype(int) + 1, return_counts=True)
    return months, int(days_of_month[np.argmax(counts)])


def _follows(sessions: Sessions, times: Times, dates: Times, dated: bool, days: float) -> bool:
    """Whether daily bars close with an exchange's sessions; DataError where they do not fit it."""
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

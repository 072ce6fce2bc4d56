"""Stamps of bars: whether the times of bars are dates of closes, starts or ends.

In: times as a file has them, and what the user says about them. Out: the times of the closes, or a
`DataError` if dates look like the starts of periods and the user has not said what they are.
"""

from __future__ import annotations

import numpy as np

from mcmargin.data.bars import DAY, BarCalendar, weekday
from mcmargin.data.zones import Times, from_wall_clock, wall_clock
from mcmargin.errors import DataError

STAMPS = ("dates", "start", "end")
"""What the times of bars may be: dates of the closes, starts of the bars, or the closes."""


def closes_of(
    times: Times, stamps: str, zone: str | None, *, calendar: BarCalendar | None = None
) -> Times:
    """Closes of bars; times that are starts are moved to the end of the bar.

    A bar closes one bar's length after its start: an hour, or a day or a week on the zone's clock,
    or at the start of the next month.

    Parameters
    ----------
    times : ndarray of shape (bars,), datetime64[ns]
    stamps : str
        One of `STAMPS`, or "".
    zone : str or None
        Zone on whose clock days, weeks and months are counted; UTC for None.
    calendar : BarCalendar, optional
        Calendar with the length of a bar; by default the length is found in the times.

    Examples
    --------
    >>> months = np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "datetime64[ns]")
    >>> closes_of(months, "start", None).astype("datetime64[D]").astype(str).tolist()
    ['2024-02-01', '2024-03-01', '2024-04-01']
    """
    if stamps != "start":
        return times
    if calendar is None:
        if len(times) < 2:
            raise DataError("one bar alone does not say how long it is, and so when it closes")
        days = float(np.median(np.diff(times)) / DAY)
        months = round(days / 30.4) if days > 27 else 0
        # Dates without an hour are the same in every zone.
        zone = "UTC" if zone is None or at_midnight(times) >= 0.9 else zone
    else:
        days, months, zone = calendar.days, calendar.months, calendar.zone
    if days < 0.9:
        return np.asarray(times + np.timedelta64(round(days * 86_400e9), "ns"))
    walls = wall_clock(times, zone)
    if not months:
        return from_wall_clock(walls + round(days) * DAY, zone)
    starts = walls.astype("datetime64[M]")
    moved = (starts + months).astype("datetime64[D]").astype("datetime64[ns]")
    return from_wall_clock(moved + (walls - starts.astype("datetime64[D]")), zone)


def at_midnight(times: Times) -> float:
    """Share of the times that are midnights."""
    return float(np.mean(times == times.astype("datetime64[D]")))


def refuse_starts(dates: Times, days: float, month_day: int) -> None:
    """Refuse dates on which periods usually begin, since the close may be a period later."""
    whole = dates.astype("datetime64[D]")
    first = np.busday_offset(whole.astype("datetime64[M]").astype("datetime64[D]"), 0, "forward")
    months = month_day > 0 and (month_day == 1 or np.mean(whole == first) >= 0.8)
    weeks = 6.5 < days < 7.5 and np.mean(weekday(dates) == 0) >= 0.8
    if months or weeks:
        raise DataError(
            f"bars of {'months' if months else 'weeks'} are dated on the first day of "
            f"{'months' if months else 'weeks'} ({whole[-1]}), as those are that are dated at "
            "their start; say what the dates are: stamps='start' where each is the start of its "
            "bar, and stamps='dates' where each is the date of its close (--stamps on the "
            "command line)"
        )

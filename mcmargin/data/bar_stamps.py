"""Stamps of bars: whether their times are dates of closes, starts or ends.

In: times as a file has them, and what the user says that they are. Out: the times of the closes, or
a `DataError` where dates look like those on which periods begin and nobody said what they are.
"""

from __future__ import annotations

import numpy as np

from mcmargin.data.bars import DAY, BarCalendar, weekday
from mcmargin.data.zones import Times, from_wall_clock, wall_clock
from mcmargin.errors import DataError

STAMPS = ("dates", "start", "end")
"""How times of bars may be read: as the dates of the closes, as their starts, as the closes."""


def closes_of(
    times: Times, stamps: str, zone: str | None, *, calendar: BarCalendar | None = None
) -> Times:
    """Closes of bars whose times are read as `stamps` says; those of starts are moved to the end.

    A bar that is stamped at its start closes a bar's length later: an hour, a day or a week by the
    zone's clock, or at the start of the next month.

    Parameters
    ----------
    times : ndarray of shape (bars,), datetime64[ns]
    stamps : str
        One of `STAMPS`, or "".
    zone : str or None
        Of days, weeks and months; None: UTC.
    calendar : BarCalendar, optional
        Gives the length of a bar; without one it is that of the times themselves.

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
        # Dates alone are the same dates on every clock.
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
    """Share of times that are a midnight."""
    return float(np.mean(times == times.astype("datetime64[D]")))


def refuse_starts(dates: Times, days: float, month_day: int) -> None:
    """Refuse dates that periods usually begin on: their close may be a period later."""
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

"""Time zones: times in UTC as a zone's clock shows them, and back.

In: times in UTC and the name of a zone. Out: the times that clocks in the zone show, or the times
in UTC from those of the clocks. Daylight saving is that of the IANA database, used by pandas.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.errors import DataError

Times = NDArray[np.datetime64]

EXCHANGE_ZONES = (
    "UTC",
    "America/New_York",
    "America/Chicago",
    "Europe/London",
    "Europe/Berlin",
    "Asia/Jerusalem",
    "Australia/Sydney",
    "Pacific/Auckland",
    "America/Santiago",
    "Africa/Cairo",
)
"""Zones in which regular times are looked for: one for each rule of daylight saving that exchanges
have. A zone without daylight saving, such as Tokyo's, is not needed: times that are regular there
are regular in UTC, too."""


def check_zone(zone: Any) -> str:
    """Return the name of a zone that exists.

    Raises
    ------
    DataError
        If the IANA database has no such name.

    Examples
    --------
    >>> check_zone("America/New_York")
    'America/New_York'
    """
    try:
        return ZoneInfo(zone).key
    except (ValueError, TypeError, OSError, KeyError):
        raise DataError(
            f"zone {zone!r:.60} is unknown; write one of the IANA names, such as UTC, "
            "America/New_York or Europe/London"
        ) from None


def zone_of(index: pd.DatetimeIndex) -> str | None:
    """Return the name of an index's zone, or None if it does not tell the zone of the bars.

    UTC does not tell it, since times of any zone may be converted to UTC. A fixed offset does not
    tell it either, as it has no daylight saving, unless it makes every time a midnight.

    Examples
    --------
    >>> zone_of(pd.date_range("2024-01-02", periods=2, tz="America/New_York"))
    'America/New_York'
    >>> zone_of(pd.DatetimeIndex(["2024-01-02T00:00+09:00"]))
    'Etc/GMT-9'
    """
    zone = index.tz
    if zone is None or str(zone) == "UTC":
        return None
    offset = zone.utcoffset(None)
    if offset is None:
        try:
            return check_zone(str(zone))
        except DataError:
            return None
    hours, rest = divmod(offset, timedelta(hours=1))
    whole = not rest and -12 <= hours <= 14 and hours != 0
    if not whole or not (index == index.normalize()).all():
        return None
    # POSIX counts hours to the west.
    return f"Etc/GMT{-hours:+d}"


def wall_clock(times: Times, zone: str) -> Times:
    """Times that clocks in a zone show at times in UTC; datetime64[ns] of the same shape.

    Examples
    --------
    >>> wall_clock(np.array(["2024-07-01T20:00"], "datetime64[ns]"), "America/New_York")[0]
    np.datetime64('2024-07-01T16:00:00.000000000')
    """
    if zone == "UTC":
        return times
    index = pd.DatetimeIndex(times, tz="UTC").tz_convert(zone).tz_localize(None)
    return index.to_numpy().astype("datetime64[ns]")


def from_wall_clock(walls: Times, zone: str) -> Times:
    """Times in UTC at which clocks in a zone show `walls`; datetime64[ns] of the same shape.

    A time that a clock shows twice is taken as the first of the two. A time that it skips is taken
    as the moment at which the clock is put forward.

    Examples
    --------
    >>> from_wall_clock(np.array(["2024-01-02T16:00"], "datetime64[ns]"), "America/New_York")[0]
    np.datetime64('2024-01-02T21:00:00.000000000')
    """
    if zone == "UTC":
        return walls
    index = pd.DatetimeIndex(walls).tz_localize(
        zone, ambiguous=np.ones(len(walls), bool), nonexistent="shift_forward"
    )
    return index.tz_convert(None).to_numpy().astype("datetime64[ns]")

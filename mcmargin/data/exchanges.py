"""Sessions of exchanges, from the optional package `exchange_calendars`.

In: the name of an exchange and two dates. Out: its sessions without holidays, and with short days.
The package is imported when it is first used.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mcmargin.data.zones import Times
from mcmargin.errors import DataError


@dataclass(frozen=True, eq=False)
class Sessions:
    """Sessions of an exchange, one after another.

    Attributes
    ----------
    dates : ndarray of shape (sessions,), datetime64[ns]
        Date of each session, at midnight.
    opens, closes : ndarray of shape (sessions,), datetime64[ns]
        Opening and closing time in UTC.
    zone : str
        IANA name of the exchange's zone.
    """

    dates: Times
    opens: Times
    closes: Times
    zone: str


def exchange_sessions(name: str, first: np.datetime64, last: np.datetime64) -> Sessions:
    """Sessions of the years from `first` to `last`, and of the years before and after if known.

    Parameters
    ----------
    name : str
        Name in `exchange_calendars`, such as XNYS or XTKS.
    first, last : numpy.datetime64

    Raises
    ------
    DataError
        If the package is not installed, or does not know the exchange or its sessions then.
    """
    start, end = (time.astype("datetime64[Y]").astype(int) + 1970 for time in (first, last))
    return _around(name, int(start), int(end))


@lru_cache(maxsize=32)
def _around(name: str, start: int, end: int) -> Sessions:
    # Some exchanges have published holidays only until the end of this year.
    for years in ((start - 1, end + 1), (start - 1, end), (start, end + 1)):
        with suppress(DataError):
            return _sessions(name, *years)
    return _sessions(name, start, end)


def _sessions(name: str, first_year: int, last_year: int) -> Sessions:
    try:
        import exchange_calendars
    except ImportError:
        raise DataError(
            f"calendar {name!r} needs the package exchange_calendars; install it with "
            "pip install 'mcmargin[calendars]'"
        ) from None
    known = exchange_calendars.get_calendar_names()
    if name not in known:
        raise DataError(
            f"calendar {name!r:.60} is unknown to exchange_calendars; give the code of the "
            "exchange, such as XNYS, XLON, XTKS or XHKG"
        )
    try:
        calendar: Any = exchange_calendars.get_calendar(
            name, start=f"{first_year}-01-01", end=f"{last_year}-12-31"
        )
    except Exception as error:  # The package passes on any error of pandas.
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(
            f"calendar {name!r}: exchange_calendars has no sessions from {first_year} to "
            f"{last_year} ({reason:.120})"
        ) from None
    schedule = calendar.schedule
    return Sessions(
        dates=schedule.index.to_numpy().astype("datetime64[ns]"),
        opens=schedule["open"].dt.tz_convert(None).to_numpy().astype("datetime64[ns]"),
        closes=schedule["close"].dt.tz_convert(None).to_numpy().astype("datetime64[ns]"),
        zone=str(calendar.tz),
    )

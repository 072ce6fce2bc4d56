"""Times, read in one way from every argument and every file.

In: a `datetime`, a `date`, a `pandas.Timestamp`, a `numpy.datetime64` or ISO 8601 text. Out: a
`numpy.datetime64` in nanoseconds, UTC. All readers of files and all public arguments use these
functions, so that the same times are accepted everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.data.tables import MISSING

FIRST, LAST = np.datetime64("1678-01-01"), np.datetime64("2262-01-01")
"""First and last date that nanoseconds since 1970 reach in 64 bits."""

MANY = 10_000
"""Number of times that can be read one by one in a short time."""

_EMPTY = MISSING | {"nat", "<na>"}

_ISO = re.compile(
    r"(?:\d{4}-\d\d-\d\d|\d{8})"
    r"(?:[T ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d{1,6}(?P<nanos>\d{0,3}))?)?)?"
    r" ?(?:Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
"""A whole date, with or without a time of day. `datetime.fromisoformat` checks its numbers."""


_EPOCHS = {
    10: ("seconds", "s"),
    13: ("milliseconds", "ms"),
    16: ("microseconds", "us"),
    19: ("nanoseconds", "ns"),
}
"""Unit of a whole number of so many digits that counts time since 1970, from 2001 on."""


def utc_time(time: Any) -> np.datetime64:
    """Return a moment in UTC with nanoseconds; a date alone is its midnight.

    Parameters
    ----------
    time : str, datetime.date, datetime.datetime, pandas.Timestamp or numpy.datetime64
        Text is ISO 8601 with at least year, month and day. A time without a zone is in UTC.

    Raises
    ------
    ValueError
        If it is not a time (but a number, a word such as "today", a month alone or an empty cell),
        or lies before 1678 or after 2261.

    Examples
    --------
    >>> utc_time("2021-03-26"), utc_time("2021-03-26T10:00+02:00")
    (np.datetime64('2021-03-26T00:00:00.000000000'), np.datetime64('2021-03-26T08:00:00.000000000'))
    >>> utc_time(pd.Timestamp("2021-03-26 04:00", tz="America/New_York"))
    np.datetime64('2021-03-26T08:00:00.000000000')
    """
    exact: np.datetime64 = np.datetime64("NaT")
    with suppress(ValueError, OverflowError):
        exact = _exact(time)
    if np.isnat(exact) or not FIRST <= exact.astype("datetime64[D]") < LAST:
        raise ValueError(not_a_time(time))
    stamp: np.datetime64 = exact.astype("datetime64[ns]")
    return stamp


def not_a_time(cell: Any) -> str:
    """Say why a cell is not a time, and what to write.

    Examples
    --------
    >>> not_a_time("today")
    "'today' is not an ISO time between 1678 and 2261; write 2016-12-19 or 2016-12-19T08:00Z"
    >>> not_a_time(pd.NaT)
    'no time is given; write 2016-12-19 or 2016-12-19T08:00Z'
    """
    what = "no time is given"
    if str(cell).strip().lower() not in _EMPTY:
        # A time from TOML or Parquet is shown as it was written.
        shown = repr(cell) if isinstance(cell, (str, int, float)) else str(cell)
        what = f"{shown:.60} is not an ISO time between 1678 and 2261"
    hint = ""
    digits = str(cell).strip()
    if digits.isdecimal() and len(digits) in _EPOCHS:
        unit, code = _EPOCHS[len(digits)]
        hint = f" (it looks like {unit} since 1970: pandas.to_datetime(column, unit={code!r}))"
    return f"{what}; write 2016-12-19 or 2016-12-19T08:00Z{hint}"


def utc_times(cells: Iterable[Any]) -> tuple[NDArray[np.datetime64], NDArray[np.int64]]:
    """Read many times as `utc_time` reads one, and find the rows that are not times.

    Parameters
    ----------
    cells : iterable
        A list of what `utc_time` takes, or a column of pandas. Empty cells are not times.

    Returns
    -------
    ndarray of shape (cells,), datetime64[ns]
        Times; NaT in rows that are not times.
    ndarray of int64
        Rows that are not times, counted from 0.

    Examples
    --------
    >>> times, bad = utc_times(["2021-01-04", "2021-01-04T21:00+02:00", "4/1/2021", "today"])
    >>> times[:2].astype("datetime64[h]").tolist(), bad.tolist()
    ([datetime.datetime(2021, 1, 4, 0, 0), datetime.datetime(2021, 1, 4, 19, 0)], [2, 3])
    """
    if isinstance(cells, (pd.Series, pd.Index)) and _is_typed(cells.dtype):
        index = pd.DatetimeIndex(cells)
        if index.tz is not None:
            index = index.tz_convert(None)
        exact = index.to_numpy(copy=True)
        days = exact.astype("datetime64[D]")
        good = (days >= FIRST) & (days < LAST)
        exact[~good] = np.datetime64("NaT")
        return exact.astype("datetime64[ns]"), np.flatnonzero(~good)
    cells = list(cells)
    if len(cells) > MANY and pd.api.types.infer_dtype(cells, skipna=False) == "string":
        # A small file may unpack to millions of rows with few different times. Each is read once.
        place, given = pd.factorize(np.array(cells, object))
        if len(given) <= MANY:
            found, _ = utc_times(given.tolist())
            times = found[place]
            return times, np.flatnonzero(np.isnat(times))
    times = np.full(len(cells), "NaT", "datetime64[ns]")
    bad = []
    for row, cell in enumerate(cells):
        try:
            times[row] = utc_time(cell)
        except ValueError:
            bad.append(row)
    return times, np.array(bad, np.int64)


def date_text(day: Any) -> str:
    """Return a date as ISO text.

    Parameters
    ----------
    day : str, datetime.date, datetime.datetime, pandas.Timestamp or numpy.datetime64

    Raises
    ------
    ValueError
        If it is not a time, or has a time of day other than midnight UTC.

    Examples
    --------
    >>> date_text(pd.Timestamp("2020-03-12")), date_text("20200312")
    ('2020-03-12', '2020-03-12')
    """
    stamp = utc_time(day)
    whole = stamp.astype("datetime64[D]")
    if whole != stamp:
        raise ValueError(f"{str(day)!r:.60} has a time of day, and a date is needed")
    return str(whole)


def _is_typed(dtype: Any) -> bool:
    return isinstance(dtype, pd.DatetimeTZDtype) or (
        isinstance(dtype, np.dtype) and dtype.kind == "M"
    )


def _exact(time: Any) -> np.datetime64:
    """Return the moment in a unit that holds it; NaT or a ValueError if it is not a time."""
    if isinstance(time, str):
        return _from_text(time)
    if isinstance(time, np.datetime64):
        # A year, a month or a week is a period, not a moment.
        period = np.datetime_data(time.dtype)[0] in ("Y", "M", "W")
        return np.datetime64("NaT") if period else time
    if not isinstance(time, date) or time is pd.NaT:
        return np.datetime64("NaT")
    if isinstance(time, datetime) and time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    # A Timestamp holds nanoseconds, which numpy drops when it reads it as a datetime.
    return time.to_datetime64() if isinstance(time, pd.Timestamp) else np.datetime64(time)


def _from_text(text: str) -> np.datetime64:
    match = _ISO.fullmatch(text.strip())
    if match is None:
        return np.datetime64("NaT")
    exact = _exact(datetime.fromisoformat(match[0]))
    if match["nanos"] and FIRST <= exact < LAST:
        # `datetime` holds microseconds, and has dropped the digits after the sixth.
        exact = exact + np.timedelta64(int(match["nanos"].ljust(3, "0")), "ns")
    return exact

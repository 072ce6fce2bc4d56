"""Times of bars, tables of prices on them, and models of those prices.

Times in UTC are arrays of datetime64[ns].
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.bar_patterns import calendar_of
from tests.helpers.models import QUICK

NS = "datetime64[ns]"
OLD_CALLS = pytest.mark.filterwarnings("ignore:(DatetimeIndex|Series).*deprecated")
"""For tests of exchange_calendars, which calls what newer versions of pandas will not have."""


def utc(index):
    """Times of an index, with or without a zone, in UTC."""
    index = pd.DatetimeIndex(index)
    return (index if index.tz is None else index.tz_convert(None)).to_numpy().astype(NS)


def expect(times, ahead, **known):
    """The closes after `times` are the rows of `ahead`."""
    found = calendar_of(times, **known).closes_after(times[-1], len(ahead))
    np.testing.assert_array_equal(found, ahead)


def bars_of(week, first, last):
    """Closes in UTC of a week that repeats between two dates.

    Parameters
    ----------
    week : tuple
        Days of the week, 0 is Monday; minutes of a day at which bars end; the zone of both.
    first, last : str
    """
    days, minutes, zone = week
    dates = pd.date_range(first, last)
    stamps = [
        datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)) + timedelta(minutes=minute)
        for day in dates[dates.day_of_week.isin(days)]
        for minute in minutes
    ]
    return utc(pd.DatetimeIndex([pd.Timestamp(stamp).tz_convert("UTC") for stamp in stamps]))


def equity_hours(last="2024-06-28"):
    """Hourly bars of New York's session, stamped at their ends, in UTC."""
    return bars_of(
        ([0, 1, 2, 3, 4], [630 + 60 * k for k in range(6)] + [960], "America/New_York"),
        "2023-05-01",
        last,
    )


def schedule(name, first="2023-06-01", last="2025-06-30"):
    """The calendar of an exchange as exchange_calendars has it; without it the test is skipped."""
    return pytest.importorskip("exchange_calendars").get_calendar(name, start=first, end=last)


def frame_of(times, seed=1):
    """Prices of one asset, a random walk of 1 % a bar."""
    steps = 0.01 * np.random.default_rng(seed).standard_normal(len(times))
    return pd.DataFrame({"a": 100 * np.exp(np.cumsum(steps))}, index=pd.DatetimeIndex(times))


def model_of(frame, **known):
    """A quick model of a table of prices, read with the words given."""
    return mm.calibrate(mm.PriceHistory.from_frame(frame, **known), **QUICK)

"""Closes of exchanges against the schedules and holidays of `exchange_calendars`."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.bar_patterns import calendar_of
from tests.helpers.bars import OLD_CALLS, expect, schedule, utc

pytestmark = OLD_CALLS

EXCHANGES = ["XNYS", "XLON", "XTKS", "XHKG", "XSAU", "XASX"]
AROUND_CLOCKS = ["2024-03-05", "2024-03-26", "2024-04-16", "2024-10-22", "2024-11-05"]


def half_hours(calendar, first, last):
    """Bars of half an hour by the exchange's own minutes, without its lunch break."""
    index = calendar.sessions_in_range(first, last)
    bars = [
        calendar.session_minutes(session)[29::30].tz_convert(None) + pd.Timedelta(minutes=1)
        for session in index
    ]
    return np.concatenate([utc(each) for each in bars])


def ordinary(sessions, first, count):
    """The next sessions, up to the first holiday or short day."""
    ahead = sessions.loc[first:].iloc[1 : count + 1]
    length = (sessions["close"] - sessions["open"]).median()
    gaps = sessions.index.to_series().diff().dt.days.loc[ahead.index]
    odd = ((ahead["close"] - ahead["open"]) != length) | ~gaps.isin([1, 3])
    return ahead if not odd.any() else ahead.iloc[: int(odd.to_numpy().argmax())]


@pytest.mark.parametrize("name", EXCHANGES)
@pytest.mark.parametrize("day", AROUND_CLOCKS)
def test_closing_times_of_exchanges(name, day):
    """True closing times in UTC: in the zone that the history shows, or with the exchange named."""
    sessions = schedule(name).schedule
    times = utc(sessions.loc[:day, "close"])
    plain = ordinary(sessions, day, 10)
    if name == "XSAU":  # Sunday to Thursday
        assert set(plain.index.day_of_week) <= {6, 0, 1, 2, 3}
    expect(times, utc(plain["close"]))
    ahead = utc(sessions.loc[day:, "close"].iloc[1:])[:140]
    expect(times, ahead, exchange=name)


def test_tel_aviv_closes_earlier_on_fridays():
    """From January 2026 its week is Monday to Friday, and Friday's session the shortest."""
    sessions = schedule("XTAE", "2026-01-05", "2026-12-31").schedule
    times = utc(sessions.loc[:"2026-08-10", "close"])
    expect(times, utc(ordinary(sessions.loc["2026-08-10":], "2026-08-10", 10)["close"])[:4])
    calendar = calendar_of(times)
    friday = calendar.closes_after(np.datetime64("2026-08-13T20:00", "ns"), 1)
    assert friday[0] == utc([sessions.loc["2026-08-14", "close"]])[0]


@pytest.mark.parametrize("name", ["XNYS", "XTKS", "XHKG"])
@pytest.mark.parametrize("day", ["2024-03-05", "2024-09-30", "2024-11-27"])
def test_half_hours_of_exchanges(name, day):
    """Lunch breaks in Tokyo and Hong Kong; with the exchange named, its holidays and half-days."""
    calendar = schedule(name)
    if name == "XTKS" and day > "2024-11":
        day = "2025-05-09"  # Its session became half an hour longer on 5 November 2024.
    times = half_hours(calendar, "2023-09-01" if day < "2025" else "2024-11-05", day)
    end = str((pd.Timestamp(day) + pd.Timedelta("15D")).date())
    ahead = half_hours(calendar, day, end)
    ahead = ahead[ahead > times[-1]]
    sessions = ordinary(calendar.schedule, day, 4)
    if len(sessions):
        expect(times, ahead[ahead <= utc(sessions["close"])[-1]])
    expect(times, ahead, exchange=name)


def test_sessions_that_nobody_knows_yet_are_refused():
    """Shanghai's holidays are announced a year ahead; the sessions until then are known."""
    calendars = pytest.importorskip("exchange_calendars")
    last = calendars.get_calendar("XSHG").bound_max()
    if last is None:
        pytest.skip("this version of exchange_calendars sets no end")
    sessions = schedule("XSHG", f"{last.year - 1}-01-01", str(last.date())).schedule
    times = utc(sessions["close"])
    expect(times[:-20], times[-20:-10], exchange="XSHG")
    known = calendar_of(times[:-20], exchange="XSHG")
    with pytest.raises(
        mm.DataError, match=f"'XSHG': exchange_calendars has no sessions.*{last.year}"
    ):
        known.closes_after(times[-21], 60)


def test_a_history_of_another_exchange_is_refused():
    times = utc(schedule("XSAU").schedule["close"])
    with pytest.raises(mm.DataError, match="bars are on sessions of the exchange"):
        calendar_of(times, exchange="XNYS")

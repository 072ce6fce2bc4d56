"""The weeks and months in which bars repeat: the next closes are those that a history leaves out.

Expected are rows of a regular week by zoneinfo, schedules of `exchange_calendars` and periods of
pandas.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.data.bar_patterns import calendar_of
from tests.helpers.bars import (
    NS,
    OLD_CALLS,
    bars_of,
    equity_hours,
    expect,
    frame_of,
    model_of,
    schedule,
    utc,
)

pytestmark = OLD_CALLS


def hours_of(zone, first, last, wanted):
    """Every hour of a zone's clock at which `wanted` is true."""
    index = pd.date_range(first, last, freq="h", tz=zone)
    return utc(
        index[[wanted(day, hour) for day, hour in zip(index.day_of_week, index.hour, strict=True)]]
    )


def currency_week(close):
    """Sunday's opening to Friday's close: bars end an hour after the opening at the soonest."""
    return lambda day, hour: (
        day < 4 or (day == 4 and hour <= close - 1) or (day == 6 and hour >= close)
    )


@pytest.mark.parametrize(
    "last", ["2023-03-10", "2023-03-17", "2023-06-30", "2023-11-03", "2023-12-08"]
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_currency_trades_from_sunday_to_friday(zone, last):
    """In UTC all year, or in New York, where its UTC hours move with daylight saving."""
    week = currency_week(22 if zone == "UTC" else 17)
    times = hours_of(zone, "2022-06-01", pd.Timestamp(last) + pd.Timedelta("10D"), week)
    cut = int(np.searchsorted(times, np.datetime64(last) + np.timedelta64(15, "h")))
    expect(times[:cut], times[cut : cut + 150])


@pytest.mark.parametrize("freq", ["h", "4h", "15min", "min"])
def test_a_coin_trades_around_the_clock(freq):
    count = 3 * 7 * 24 * 60 if freq == "min" else 9000
    times = utc(pd.date_range("2023-01-01", periods=count, freq=freq))
    expect(times[:-300], times[-300:])


@st.composite
def weeks(draw):
    """A session a day, with or without a break, and a zone; the hours of night stay free.

    Clocks change at night, and a market that is open then repeats in UTC alone.
    """
    step = draw(st.sampled_from([15, 30, 60]))
    days = draw(st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True))
    start = draw(st.integers(4 * 60, 12 * 60))
    ends = start + step * np.arange(1, draw(st.integers(1, 10 * 60 // step)) + 1)
    lunch = draw(st.integers(0, len(ends)))
    ends = np.delete(ends, slice(lunch, lunch + draw(st.integers(0, 2))))
    zones = ["UTC", "America/New_York", "Europe/London", "Asia/Tokyo", "Australia/Sydney"]
    return sorted(days), ends.tolist() or [start], draw(st.sampled_from(zones))


@settings(max_examples=40, deadline=None)
@given(weeks(), st.integers(60, 420), st.integers(1, 40))
def test_what_a_regular_history_leaves_out_comes_next(week, days, count):
    """Whenever it ends: before, between and after both changes of the clocks."""
    times = bars_of(week, "2022-01-01", pd.Timestamp("2023-01-01") + pd.Timedelta(days=days))
    if len(times) > count + 100:
        expect(times[:-count], times[-count:])


@pytest.mark.parametrize("weeks_kept", [2, 5, 13, 60])
def test_a_stray_bar_makes_no_slot(weeks_kept):
    """On a weekend, or at an odd minute, however short the history."""
    whole = equity_hours()
    times = whole[whole > whole[-1] - np.timedelta64(weeks_kept, "W")]
    cut = len(times) - 30
    history, ahead = times[:cut], times[cut:]
    middle = history[len(history) // 2].astype("datetime64[D]").astype(NS)
    weekday = int((middle.astype("datetime64[D]").astype(int) + 3) % 7)
    saturday = middle + np.timedelta64(5 - weekday, "D") + np.timedelta64(11, "h")
    odd = middle + np.timedelta64(3 * 60 + 17, "m")
    expect(np.sort(np.append(history, [saturday, odd])), ahead)


def test_holidays_and_half_days_in_the_history_leave_the_week_as_it_is():
    times = bars_of(([0, 1, 2, 3, 4], [960], "America/New_York"), "2023-01-02", "2024-12-06")
    dates = times.astype("datetime64[D]").astype(str)
    kept = ~np.isin(dates, ["2024-09-02", "2024-11-28", "2024-07-04", "2024-06-19"])
    history = times.copy()
    for day in ("2024-11-29", "2024-07-03"):
        history[dates == day] -= np.timedelta64(3, "h")
    expect(history[kept][:-5], times[-5:])
    # Where the newest close is itself a half-day's, that day has no second close.
    at = int(np.flatnonzero(dates == "2024-11-29")[0])
    expect(history[: at + 1][kept[: at + 1]], times[at + 1 : at + 6])


def test_a_session_that_has_moved_counts_as_it_is_now():
    """Tokyo closes at 15:30 since 5 November 2024, and at 15:00 before."""
    sessions = schedule("XTKS").schedule
    times = utc(sessions.loc[:"2025-03-03", "close"])
    assert calendar_of(times).closes_after(times[-1], 1)[0] == np.datetime64("2025-03-04T06:30")


@pytest.mark.parametrize("hours", [101, 120, 150])
def test_a_history_of_less_than_a_week(hours):
    """What it does not reach is taken to be like what it does."""
    times = utc(pd.date_range("2023-01-02", periods=hours + 60, freq="h"))
    expect(times[:hours], times[hours:])


@pytest.mark.parametrize("freq", ["5h", "7min", "10s", "2D", "3D", "14D", "8h"])
def test_steps_that_know_no_week(freq):
    times = utc(pd.date_range("2022-01-03", periods=700, freq=freq))
    expect(times[:-40], times[-40:])


def test_a_thin_history():
    """Bars on which all assets have a close are few where markets are many."""
    times = equity_hours("2024-07-31")
    kept = np.random.default_rng(1).random(len(times)) < 0.4
    kept[-60:] = True
    expect(times[kept][:-30], times[-30:])


def test_a_session_of_two_days_has_no_weekend():
    """Five-minute bars of a Monday and a Tuesday: Wednesday comes next, and Monday after Friday."""
    minutes = list(range(575, 961, 5))
    times = bars_of(([0, 1, 2, 3, 4], minutes, "UTC"), "2024-06-03", "2024-06-10")
    expect(times[: 2 * len(minutes)], times[2 * len(minutes) :])


def test_updates_read_a_week_that_has_changed(monkeypatch):
    """A model of one winter learns of the summer from its first closes, and forgets no holiday."""
    week = ([0, 1, 2, 3, 4], [600 + 60 * k for k in range(7)], "America/New_York")
    times = bars_of(week, "2023-11-13", "2024-04-05")
    frame = frame_of(times)
    winter, spring, later = (
        frame.loc[a:b]
        for a, b in (
            ("2023-11-13", "2024-03-08"),
            ("2024-03-11", "2024-03-22"),
            ("2024-03-25", "2024-04-05"),
        )
    )
    model = model_of(winter)
    assert model.calendar.zone == "UTC"
    moved = model.update(mm.PriceHistory.from_frame(spring))
    assert moved.calendar.zone == "America/New_York"
    ahead = moved.calendar.closes_after(moved.as_of, len(later))
    np.testing.assert_array_equal(ahead, utc(later.index))
    again = moved.update(mm.PriceHistory.from_frame(later.iloc[:20].drop(later.index[7:14])))
    assert again.calendar == moved.calendar


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 10**4), min_size=1, max_size=60),
    st.sampled_from([1, 60, 3600, 14_400]),
    st.integers(0, 2**30),
    st.integers(1, 30),
    st.integers(0, 10**8),
)
def test_any_times_have_closes_ahead(gaps, unit, start, count, later):
    """However odd: in order, after the last and after the market, or refused with a word."""
    times = np.datetime64(start, "s") + np.cumsum(np.array([0, *gaps]) * unit)
    times = np.unique(times).astype(NS)
    if len(times) < 2:
        return
    try:
        calendar = calendar_of(times)
        after = times[-1] + np.timedelta64(later, "s")
        closes = calendar.closes(times[-1], count, after=after)
        again = calendar.closes(times[-1], count + 5, after=after)
    except mm.DataError:
        return
    assert len(closes.times) == len(closes.ends) == count
    assert (np.diff(closes.times) > np.timedelta64(0)).all()
    assert closes.times[0] > after
    np.testing.assert_array_equal(again.times[:count], closes.times)


@pytest.mark.parametrize("freq", ["W-FRI", "W-SUN", "W-WED", "ME", "BME", "QE", "BQE", "YE"])
@pytest.mark.parametrize("years", [1, 3])
def test_ends_of_weeks_and_months_by_pandas(freq, years):
    times = utc(pd.date_range("1980-01-01", "2024-12-31", freq=freq))
    cut = len(times) - (years * 12 if freq[0] not in "QBY" else years)
    expect(times[:cut], times[cut:])


def test_last_sessions_of_weeks():
    """Thursday before Good Friday, by the exchange's own sessions; without them, Friday."""
    sessions = schedule("XNYS", "2019-01-02", "2025-06-30").schedule
    weeks = sessions.groupby(sessions.index.to_period("W-SUN")).tail(1)
    cut = int(np.searchsorted(utc(weeks.index), np.datetime64("2024-03-01")))
    for times in (utc(weeks.index), utc(weeks["close"])):
        expect(times[:cut], times[cut : cut + 40], exchange="XNYS")
        # From Thursday, 28 March, comes Friday of the week after.
        expect(times[: cut + 5], times[cut + 5 : cut + 8])


def test_last_sessions_of_months():
    """The last session is not always the last weekday: 28 March 2024, 30 August 2024."""
    sessions = schedule("XNYS", "2014-01-02", "2025-06-30").sessions
    lasts = utc(sessions.to_series().groupby(sessions.to_period("M")).max())
    cut = int(np.searchsorted(lasts, np.datetime64("2024-01-01")))
    expect(lasts[:cut], lasts[cut : cut + 12], exchange="XNYS")
    plain = utc(pd.date_range("2024-01-01", periods=12, freq="BME"))
    expect(lasts[:cut], plain)
    # The bar that closed on Thursday, 28 March, was March's: April's comes next.
    expect(lasts[: cut + 3], plain[3:])

"""Bar calendars: the next closes are those that a history leaves out, and exchanges' own schedules.

What is expected comes from outside: rows of a regular week by zoneinfo, schedules and holidays of
`exchange_calendars`, pandas' own periods.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.data.bar_patterns import calendar_of
from mcmargin.data.bar_stamps import closes_of
from mcmargin.data.bars import BarCalendar
from tests.helpers.commands import called

NS = "datetime64[ns]"

pytestmark = pytest.mark.filterwarnings("ignore:(DatetimeIndex|Series).*deprecated")
"""Of exchange_calendars, which calls what newer versions of pandas will not have."""


def utc(index):
    index = pd.DatetimeIndex(index)
    return (index if index.tz is None else index.tz_convert(None)).to_numpy().astype(NS)


def expect(times, ahead, **known):
    """The closes after `times` are the rows of `ahead`."""
    found = calendar_of(times, **known).closes_after(times[-1], len(ahead))
    np.testing.assert_array_equal(found, ahead)


# Weeks that repeat


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


def bars_of(week, first, last):
    days, minutes, zone = week
    dates = pd.date_range(first, last)
    stamps = [
        datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)) + timedelta(minutes=minute)
        for day in dates[dates.day_of_week.isin(days)]
        for minute in minutes
    ]
    return utc(pd.DatetimeIndex([pd.Timestamp(stamp).tz_convert("UTC") for stamp in stamps]))


@settings(max_examples=40, deadline=None)
@given(weeks(), st.integers(60, 420), st.integers(1, 40))
def test_what_a_regular_history_leaves_out_comes_next(week, days, count):
    """Whenever it ends: before, between and after both changes of the clocks."""
    times = bars_of(week, "2022-01-01", pd.Timestamp("2023-01-01") + pd.Timedelta(days=days))
    if len(times) > count + 100:
        expect(times[:-count], times[-count:])


# Exchanges' own schedules


def schedule(name, first="2023-06-01", last="2025-06-30"):
    return pytest.importorskip("exchange_calendars").get_calendar(name, start=first, end=last)


EXCHANGES = ["XNYS", "XLON", "XTKS", "XHKG", "XSAU", "XASX"]
AROUND_CLOCKS = ["2024-03-05", "2024-03-26", "2024-04-16", "2024-10-22", "2024-11-05"]


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


def half_hours(calendar, first, last):
    """Bars of half an hour by the exchange's own minutes, without its lunch break."""
    index = calendar.sessions_in_range(first, last)
    bars = [
        calendar.session_minutes(session)[29::30].tz_convert(None) + pd.Timedelta(minutes=1)
        for session in index
    ]
    return np.concatenate([utc(each) for each in bars])


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


# What is odd in a history


def equity_hours(last="2024-06-28"):
    """Hourly bars of New York's session, stamped at their ends, in UTC."""
    return bars_of(
        ([0, 1, 2, 3, 4], [630 + 60 * k for k in range(6)] + [960], "America/New_York"),
        "2023-05-01",
        last,
    )


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


# Weeks and months


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


@pytest.mark.parametrize(
    "freq, what", [("MS", "months"), ("BMS", "months"), ("QS", "months"), ("W-MON", "weeks")]
)
def test_periods_that_are_dated_at_their_start_need_a_word(freq, what):
    times = utc(pd.date_range("1980-01-01", "2024-06-30", freq=freq))
    with pytest.raises(mm.DataError, match=f"bars of {what} are dated on the first day.*stamps="):
        calendar_of(times)
    dated = calendar_of(times, stamps="dates")
    assert dated.dated
    np.testing.assert_array_equal(
        dated.closes_after(times[-1], 3)[:1],
        utc(pd.date_range(times[-1] + np.timedelta64(1, "D"), periods=1, freq=freq)),
    )


def test_periods_that_are_stamped_at_their_start_close_at_their_end():
    """By pandas' own periods: a month closes when the next begins, a week seven days later."""
    months = pd.period_range("2010-01", "2024-06", freq="M")
    closes = closes_of(utc(months.start_time), "start", None)
    np.testing.assert_array_equal(closes, utc((months + 1).start_time))
    calendar = calendar_of(closes, stamps="start")
    expected = utc((months + 1).start_time.shift(2, freq="MS"))[-2:]
    np.testing.assert_array_equal(calendar.closes_after(closes[-1], 2), expected)
    mondays = pd.date_range("2020-01-06", periods=200, freq="W-MON")
    np.testing.assert_array_equal(
        closes_of(utc(mondays), "start", None), utc(mondays + pd.Timedelta("7D"))
    )
    # A zone that is named does not move dates alone.
    np.testing.assert_array_equal(
        closes_of(utc(months.start_time), "start", "America/New_York"), closes
    )
    # Days by the clock of New York, whose day of the change has 23 hours.
    days = pd.date_range("2024-03-04", periods=10, tz="America/New_York")
    np.testing.assert_array_equal(
        closes_of(utc(days), "start", "America/New_York"), utc(days.shift(1, freq="D"))
    )


# Models


def frame_of(times, seed=1):
    steps = 0.01 * np.random.default_rng(seed).standard_normal(len(times))
    return pd.DataFrame({"a": 100 * np.exp(np.cumsum(steps))}, index=pd.DatetimeIndex(times))


QUICK = {"volatility": "ewma", "innovations": "normal", "dependence": "gaussian", "jobs": 1}


def model_of(frame, **known):
    return mm.calibrate(mm.PriceHistory.from_frame(frame, **known), **QUICK)


def test_a_frame_says_its_zone():
    """Midnights of New York are dates there, whatever they are in UTC."""
    days = pd.bdate_range("2022-01-03", "2023-06-30", tz="America/New_York")
    calendar = model_of(frame_of(days)).calendar
    assert (calendar.zone, calendar.dated) == ("America/New_York", True)
    tokyo = model_of(frame_of(days.tz_localize(None).tz_localize("Asia/Tokyo"))).calendar
    assert (tokyo.zone, tokyo.dated, tokyo.weekdays) == ("Asia/Tokyo", True, (0, 1, 2, 3, 4))


@pytest.mark.parametrize("freq", ["h", "4h", "D"])
def test_the_zone_of_an_index_may_be_that_of_whoever_looks(freq):
    """A coin's bars shown on Berlin's clock go on in UTC, around both changes of the clock."""
    times = pd.date_range("2022-01-01 08:00", "2024-11-20", freq=freq, tz="UTC")
    shown = times.tz_convert("Europe/Berlin")
    for cut in ("2024-03-30", "2024-10-26"):
        kept = times < cut
        calendar = model_of(
            frame_of(utc(times))[kept].tz_localize("UTC").tz_convert(shown.tz)
        ).calendar
        assert calendar.zone == "UTC"
        ahead = utc(times[~kept])[:60]
        np.testing.assert_array_equal(
            calendar.closes_after(utc(times[kept])[-1], 60)[: len(ahead)], ahead
        )


def test_periods_of_pandas_end_with_their_last_day():
    days = pd.period_range("2024-01-01", periods=120, freq="D")
    months = pd.period_range("2012-01", "2023-12", freq="M")
    hours = pd.period_range("2024-01-01", periods=120, freq="h")
    for periods, ends in (
        (days, days.start_time),
        (months, pd.date_range("2012-01-31", periods=len(months), freq="ME")),
        (hours, pd.date_range("2024-01-01 01:00", periods=120, freq="h")),
    ):
        frame = pd.DataFrame({"a": np.arange(1.0, len(periods) + 1)}, index=periods)
        np.testing.assert_array_equal(mm.PriceHistory.from_frame(frame).times, utc(ends))


def test_a_user_names_the_zone():
    """Four months within one time of daylight saving do not tell that the hour will move."""
    week = ([0, 1, 2, 3, 4], [960], "America/New_York")
    times = bars_of(week, "2024-04-01", "2024-11-15")
    history, ahead = (
        times[times < np.datetime64("2024-10-31")],
        times[times > np.datetime64("2024-10-31")],
    )
    assert calendar_of(history).zone == "UTC"
    named = model_of(frame_of(history), zone="America/New_York").calendar
    np.testing.assert_array_equal(named.closes_after(history[-1], len(ahead)), ahead)


def test_local_times_that_were_read_as_utc_are_refused():
    """New York's own clock without a word of it, and a zone or an exchange that does not fit it."""
    index = pd.bdate_range("2023-01-02", "2023-12-29") + pd.Timedelta("16h")
    frame = frame_of(index)
    with pytest.raises(mm.DataError, match=r"repeat from week to week in UTC.*tz_localize"):
        model_of(frame, zone="America/New_York")
    local = model_of(frame.tz_localize("America/New_York"))
    assert local.calendar.zone == "America/New_York"
    assert str(local.calendar.closes_after(local.as_of, 1)[0])[:16] == "2024-01-01T21:00"
    hours = bars_of(
        ([0, 1, 2, 3, 4], [600 + 60 * k for k in range(7)], "UTC"), "2023-11-13", "2024-02-23"
    )
    with pytest.raises(
        mm.DataError, match=r"bars are on sessions of the exchange.*with their zone"
    ):
        model_of(frame_of(hours), calendar="XNYS")


@pytest.mark.parametrize(
    "known, told",
    [
        ({"zone": "New York"}, "zone 'New York' is unknown; write one of the IANA names"),
        ({"zone": 5}, "zone 5 is unknown"),
        ({"calendar": "NYSE?"}, "calendar 'NYSE\\?' is unknown to exchange_calendars"),
        ({"stamps": "open"}, "stamps 'open' is unknown; choose one of dates, start, end"),
    ],
)
def test_unknown_words_of_bars(known, told):
    frame = frame_of(pd.date_range("2024-01-01", periods=120))
    with pytest.raises(mm.DataError, match=told):
        mm.PriceHistory.from_frame(frame, **known)


def test_starts_of_bars_are_moved_in_calibration_and_in_updates(tmp_path):
    """Binance's months: the row of a month's first day is the close of its last."""
    months = pd.date_range("2012-01-01", "2024-06-01", freq="MS")
    frame = frame_of(months)
    with pytest.raises(mm.DataError, match="frame: bars of months are dated on the first day"):
        model_of(frame)
    model = model_of(frame.iloc[:-1], stamps="start")
    assert model.as_of == np.datetime64("2024-06-01")
    # The newest row alone does not tell the length of a bar; the model does.
    moved = model.update(mm.PriceHistory.from_frame(frame.iloc[-1:]))
    assert moved.as_of == np.datetime64("2024-07-01")
    assert moved.calendar.closes_after(moved.as_of, 1)[0] == np.datetime64("2024-08-01")
    with pytest.raises(mm.DataError, match="stamps='dates', and the model was calibrated on bars"):
        model.update(mm.PriceHistory.from_frame(frame.iloc[-1:], stamps="dates"))
    moved.save(tmp_path / "model.npz")
    again = mm.load_model(tmp_path / "model.npz")
    assert again.calendar == moved.calendar and again.fingerprint() == moved.fingerprint()


def test_the_running_bar_of_a_table_of_starts_is_no_close():
    """Exchanges of coins list the bar that is running, too, by its start."""
    frame = frame_of(pd.date_range("2024-01-01", periods=200))
    model = model_of(frame.iloc[:-1], stamps="start")
    newer = mm.PriceHistory.from_frame(frame.iloc[-1:])
    start = frame.index[-1]
    with pytest.raises(mm.DataError, match="the bar that closes at 2024-07-19 is running: now is"):
        model.update(newer, now=start + pd.Timedelta("9h"))
    assert model.update(newer, now=start + pd.Timedelta("24h")).as_of == start + pd.Timedelta("24h")
    tick = model.update(newer, provisional=True, now=start + pd.Timedelta("9h"))
    ahead = tick.closes(2, tick.as_of).times
    np.testing.assert_array_equal(ahead, utc(pd.date_range("2024-07-19", periods=2)))


@pytest.mark.parametrize("exchange", [None, "XNYS"])
def test_a_file_keeps_the_calendar(tmp_path, exchange):
    if exchange:
        pytest.importorskip("exchange_calendars")
    times = bars_of(([0, 1, 2, 3, 4], [960], "America/New_York"), "2022-01-03", "2023-12-20")
    sessions = [] if exchange is None else utc(schedule("XNYS", "2021-12-01", "2023-12-31").closes)
    times = (
        times if exchange is None else sessions[(sessions >= times[0]) & (sessions <= times[-1])]
    )
    model = model_of(frame_of(times), calendar=exchange)
    model.save(tmp_path / "model.npz")
    again = mm.load_model(tmp_path / "model.npz")
    assert again.calendar == model.calendar
    ahead = again.calendar.closes_after(again.as_of, 5)
    after = "2023-12-26" if exchange else "2023-12-25"  # Christmas is a holiday.
    assert str(ahead[2])[:10] == after


def test_calendars_of_an_earlier_version_keep_their_meaning():
    """Minutes of the day on each of the weekdays, in UTC, the weekend's among them."""
    old = BarCalendar(1 / 24, (0, 4, 6), (22 * 60, 23 * 60))
    found = old.closes_after(np.datetime64("2023-09-15T21:00"), 6)
    hours = ["09-15T22", "09-15T23", "09-17T22", "09-17T23", "09-18T22", "09-18T23"]
    assert [str(time)[5:13] for time in found] == hours
    assert set(old.to_words()) == {"days", "weekdays", "slots", "mean"}


def test_the_command_line_names_zone_calendar_and_stamps(tmp_path, monkeypatch, capsys):
    frame = frame_of(pd.date_range("2012-01-01", "2024-06-01", freq="MS"))
    frame.to_csv(tmp_path / "prices.csv", index_label="date")
    words = ["calibrate", tmp_path / "prices.csv", "-o", tmp_path / "model.npz", "--jobs", 1]
    words += ["--volatility", "ewma", "--innovations", "normal", "--dependence", "gaussian"]
    status, _, told = called(words, monkeypatch, capsys)
    assert status == 2 and "--stamps" in told
    status, _, told = called([*words, "--stamps", "start"], monkeypatch, capsys)
    assert status == 0 and "bars of 1 month" in told
    calendar = mm.load_model(tmp_path / "model.npz").calendar
    assert (calendar.stamps, calendar.zone, calendar.months) == ("start", "UTC", 1)
    pytest.importorskip("exchange_calendars")
    sessions = schedule("XNYS").schedule.loc["2024-01-02":"2024-06-28"]
    frame_of(utc(sessions["close"])).to_csv(tmp_path / "prices.csv", index_label="date")
    named = ["--zone", "America/New_York", "--calendar", "XNYS"]
    status, _, told = called([*words, *named], monkeypatch, capsys)
    assert status == 0 and "regular in America/New_York; sessions of XNYS" in told
    calendar = mm.load_model(tmp_path / "model.npz").calendar
    ahead = calendar.closes_after(np.datetime64("2024-07-02T20:00"), 2)
    assert [str(close)[5:16] for close in ahead] == ["07-03T17:00", "07-05T20:00"]


# Updates in another zone


def hourly(count=400, assets=1):
    steps = 0.001 * np.random.default_rng(3).standard_normal((count, assets))
    index = pd.date_range("2024-01-01", periods=count, freq="h")
    return pd.DataFrame(100 * np.exp(np.cumsum(steps, axis=0)), index=index).add_prefix("a")


@pytest.mark.parametrize("assets", [1, 3])
@pytest.mark.parametrize("hours", [1, 2, 9])
def test_closes_of_another_zone_are_no_new_bars(assets, hours):
    """The file's newest rows are the model's newest closes, some hours later."""
    frame = hourly(assets=assets)
    model = model_of(frame.iloc[:300])
    elsewhere = frame.iloc[295:300].copy()
    elsewhere.index += pd.Timedelta(hours=hours)
    newer = elsewhere[elsewhere.index > frame.index[299]]
    if len(newer) > 1 or hours > 1:
        with pytest.raises(mm.DataError, match=r"newer closes? repeats? the model's newest.*zone"):
            model.update(mm.PriceHistory.from_frame(newer))
    # And with newer closes behind them.
    longer = frame.iloc[295:320].copy()
    longer.index += pd.Timedelta(hours=hours)
    longer = longer[longer.index > frame.index[299]]
    if hours > 1:
        with pytest.raises(mm.DataError, match=f"{hours} hours later: the close of 2024-01-13T11"):
            model.update(mm.PriceHistory.from_frame(longer))
    assert model.update(mm.PriceHistory.from_frame(frame.iloc[295:320])).as_of == frame.index[319]


def test_a_close_that_has_not_moved_is_one():
    frame = hourly()
    frame.iloc[300] = frame.iloc[299]
    model = model_of(frame.iloc[:300])
    assert model.update(mm.PriceHistory.from_frame(frame.iloc[300:301])).as_of == frame.index[300]


def test_a_daily_close_that_is_repeated_two_hours_later_is_no_bar():
    frame = frame_of(pd.bdate_range("2022-01-03", "2023-06-30") + pd.Timedelta("21h"))
    model = model_of(frame)
    again = frame.iloc[-1:].copy()
    again.index += pd.Timedelta("2h")
    with pytest.raises(mm.DataError, match="no close: it lies within a running bar"):
        model.update(mm.PriceHistory.from_frame(again))
    dated = frame_of(pd.bdate_range("2022-01-03", "2023-06-30"))
    model = model_of(dated)
    again = dated.iloc[-1:].copy()
    again.index += pd.Timedelta("22h")
    with pytest.raises(mm.DataError, match="no close"):
        model.update(mm.PriceHistory.from_frame(again))


def test_a_half_day_of_a_named_exchange_is_a_close():
    """Black Friday's, at 13:00, which no bar of the history has."""
    sessions = schedule("XNYS").schedule
    times = utc(sessions.loc["2024-01-02":"2024-11-29", "close"])
    times = times[~np.isin(times.astype("datetime64[D]").astype(str), ["2024-07-03"])]
    frame = frame_of(times)
    model = model_of(frame.iloc[:-1], calendar="XNYS")
    assert model.update(mm.PriceHistory.from_frame(frame)).as_of == times[-1]
    assert model_of(frame, calendar="XNYS").as_of == times[-1]

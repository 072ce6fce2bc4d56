"""What a desk does every day: holidays and half-days of bars within a day, prices asked for late.

Sessions are those of `exchange_calendars`; a gap is told only where bars are missing that an
exchange's holidays do not explain. Prices that a program asks for some seconds late, and never at
the same second twice, are closes of the hour or the day all the same.
"""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.bar_patterns import calendar_of
from tests.helpers.models import QUICK

NEW_HOURS = [str(day.date()) for day in pd.bdate_range("2023-01-10", "2023-01-31")]


def walk(index, *, deviation=0.002, assets=("a", "b"), seed=1):
    """Closes of a random walk."""
    moves = deviation * np.random.default_rng(seed).standard_normal((len(index), len(assets)))
    return pd.DataFrame(100 * np.exp(np.cumsum(moves, axis=0)), index=index, columns=list(assets))


def sessions(exchange, first, last, minutes):
    """Ends of bars of some minutes over an exchange's sessions, UTC."""
    calendar = pytest.importorskip("exchange_calendars").get_calendar(exchange)
    step = pd.Timedelta(minutes=minutes)
    ends = []
    for day in calendar.sessions_in_range(first, last):
        pause, resume = calendar.session_break_start(day), calendar.session_break_end(day)
        parts = [(calendar.session_open(day), calendar.session_close(day))]
        if not pd.isna(pause):
            parts = [(parts[0][0], pause), (resume, parts[0][1])]
        ends += [pd.date_range(opens + step, closes, freq=step) for opens, closes in parts]
    return ends[0].append(ends[1:])


@pytest.mark.parametrize(
    ("exchange", "minutes", "first", "last"),
    [
        # Of New York with Thanksgiving and its half-day, Christmas and New Year.
        ("XNYS", 30, "2023-09-01", "2024-02-28"),
        ("XNYS", 5, "2023-11-01", "2024-01-31"),
        # Of Tokyo, which pauses at noon, with the days of New Year.
        ("XTKS", 30, "2023-09-01", "2024-02-28"),
    ],
)
def test_holidays_and_half_days_are_no_gaps(exchange, minutes, first, last):
    frame = walk(sessions(exchange, first, last, minutes))
    half = len(frame) // 3
    model = mm.calibrate(mm.PriceHistory.from_frame(frame.iloc[:half]), **QUICK)
    assert model.doubts == ()
    moved = model.update(mm.PriceHistory.from_frame(frame))
    assert "prices left out" not in moved.update_report()
    assert mm.calibrate(mm.PriceHistory.from_frame(frame), **QUICK).doubts == ()


def test_hours_and_weeks_that_are_missing_are_told():
    """Two hours at noon, and six sessions in a row."""
    frame = walk(sessions("XNYS", "2023-09-05", "2023-12-15", 10))
    dates = frame.index.normalize()
    noon = (dates == "2023-10-10") & (frame.index.hour.isin([15, 16]))
    week = (dates >= "2023-10-16") & (dates <= "2023-10-23")
    for gone, bars, until in ((noon, 13, "2023-10-10T17"), (week, 7, "2023-10-24T13:40")):
        model = mm.calibrate(mm.PriceHistory.from_frame(frame[~gone]), **QUICK)
        (told,) = model.doubts
        assert f"one return spans {bars} bars of the calendar" in told.text
        assert f"to {until}" in told.text


def test_days_of_a_market_that_closes_for_the_weekend_alone_are_told():
    """Currencies by the hour, of which Wednesday to Friday are missing."""
    hours = pd.date_range("2023-01-01", "2023-04-01", freq="h", tz="America/New_York")
    sunday, friday = hours.day_of_week == 6, hours.day_of_week == 4
    open_ = (hours.day_of_week < 4) | (sunday & (hours.hour > 17)) | (friday & (hours.hour <= 17))
    frame = walk(hours[open_])
    gone = (frame.index >= "2023-02-15") & (frame.index < "2023-02-18")
    model = mm.calibrate(mm.PriceHistory.from_frame(frame[~gone]), **QUICK)
    (told,) = model.doubts
    assert "one return spans 67 bars" in told.text


def late(index, seconds, seed=3):
    """Times some seconds late, another number of them each."""
    shift = np.random.default_rng(seed).integers(0, seconds, len(index))
    return index + pd.to_timedelta(shift, unit="s")


@pytest.mark.parametrize("seconds", [2, 20, 300])
def test_hours_that_are_asked_for_late_are_hours(seconds):
    hours = pd.date_range("2023-01-02", "2023-04-01", freq="h", tz="UTC")
    asked = late(hours, seconds)
    frame = walk(asked)
    model = mm.calibrate(mm.PriceHistory.from_frame(frame.iloc[:-50]), **QUICK)
    assert model.doubts == ()
    moved = model.update(mm.PriceHistory.from_frame(frame))
    for each in (model, moved):
        last = pd.Timestamp(each.as_of).floor("h")
        ahead = pd.DatetimeIndex(each.calendar.closes_after(each.as_of, 400))
        np.testing.assert_array_equal(
            ahead.floor("h"), pd.date_range(last, periods=401, freq="h")[1:]
        )
        assert (ahead - ahead.floor("h")).max() < pd.Timedelta(seconds=seconds)


def test_daily_closes_that_are_asked_for_late_keep_their_zone():
    """Two minutes after 16:00 in New York, of sessions with daylight saving and half-days."""
    calendar = pytest.importorskip("exchange_calendars").get_calendar("XNYS")
    days = calendar.sessions_in_range("2021-06-01", "2023-12-29")
    asked = late(pd.DatetimeIndex(calendar.closes[days]), 120)
    found = calendar_of(asked.tz_convert(None).to_numpy())
    assert found.zone == "America/New_York"
    ahead = pd.DatetimeIndex(found.closes_after(asked[-1].tz_convert(None).to_datetime64(), 250))
    local = ahead.tz_localize("UTC").tz_convert("America/New_York")
    expected = pd.bdate_range("2024-01-01", periods=250)
    np.testing.assert_array_equal(local.tz_localize(None).normalize(), expected)
    clock = local - local.normalize()
    assert clock.min() >= pd.Timedelta(hours=16) and clock.max() < pd.Timedelta("16:02:00")


def test_a_close_that_has_moved_by_minutes_is_as_it_is_now():
    """From 16:00 to 16:05 half a year ago: no time between them."""
    days = pd.bdate_range("2022-01-03", "2023-12-29")
    times = days + np.where(days < "2023-06-30", pd.Timedelta("16h"), pd.Timedelta("16h 5min"))
    found = calendar_of(times.to_numpy())
    ahead = pd.DatetimeIndex(found.closes_after(times[-1].to_datetime64(), 10))
    assert set(ahead - ahead.normalize()) == {pd.Timedelta("16h 5min")}
    assert set(ahead.day_of_week) == set(range(5))


def test_a_day_that_was_taken_before_its_end_is_told_on_the_next():
    """A job at noon whose file ends with today's row: as a tick it heals, as a close it is told."""
    frame = walk(pd.date_range("2022-01-01", periods=301))
    noon = frame.iloc[:300].copy()
    noon.iloc[-1] *= 1.01
    model = mm.calibrate(mm.PriceHistory.from_frame(frame.iloc[:299]), **QUICK)
    running, whole = (mm.PriceHistory.from_frame(each) for each in (noon, frame))
    straight = model.update(whole).state.variance
    healed = model.update(running, provisional=True).update(whole)
    np.testing.assert_array_equal(healed.state.variance, straight)
    with pytest.raises(mm.DataError, match=r"before their bar had ended.*--provisional"):
        model.update(running).update(whole)


@pytest.mark.parametrize("decimals", [3, 4])
@pytest.mark.parametrize("assets", [("usdt",), ("usdt", "usdc")])
def test_pegged_coins_that_come_back_to_a_price_are_no_repetition(decimals, assets):
    """Every day for 90 days, with an hour left out each day: the same hours again are chance."""
    hours = pd.date_range("2021-01-01", "2021-06-30", freq="h")
    noise = np.random.default_rng(2).standard_normal((len(hours), len(assets)))
    frame = pd.DataFrame(np.round(1 + 2e-4 * noise, decimals), index=hours, columns=list(assets))
    frame = frame.drop(frame.index[2010::24])
    model = mm.calibrate(mm.PriceHistory.from_frame(frame.iloc[:2000]), **QUICK)
    for start in range(2000, 2000 + 90 * 23, 23):
        model = model.update(mm.PriceHistory.from_frame(frame.iloc[start : start + 23]))
    assert model.as_of == frame.index[2000 + 90 * 23 - 1].to_datetime64()


def test_a_market_of_the_close_itself_is_no_market_before_it():
    """Closes of 23:59:59.999, as exchanges of coins write them, and markets in whole seconds."""
    close = np.timedelta64(86_400_000 - 1, "ms")
    frame = walk(pd.date_range("2022-01-01", periods=300) + close)
    model = mm.calibrate(mm.PriceHistory.from_frame(frame), **QUICK)
    book = mm.Book.from_frame(
        pd.DataFrame({"account": ["x"], "instrument": ["a"], "quantity": [1.0]})
    )
    scenarios = mm.simulate(model, horizon=1, paths=200, seed=1)
    spot = dict(zip(model.assets, model.state.prices, strict=True))
    expected = mm.margin(book, scenarios).account("x").margin
    for text in ("2022-10-27T23:59:59", "2022-10-27T23:59:15"):
        report = mm.margin(book, scenarios, mm.Market(as_of=text, spot=spot))
        assert report.account("x").margin == expected
    with pytest.raises(mm.DataError, match="is 5 minutes newer than the market"):
        mm.margin(book, scenarios, mm.Market(as_of="2022-10-27T23:54:59.999", spot=spot))


@pytest.mark.parametrize(
    ("hours", "days"),
    [
        # The day after Thanksgiving, of a history that has no half-day; and new hours for good.
        ({"2022-11-25": 18}, ["2022-11-25"]),
        (dict.fromkeys(NEW_HOURS, 23), NEW_HOURS[:1]),
    ],
)
def test_other_hours_are_closes_from_the_next_close_on(hours, days):
    """On the day itself the row could be of a bar that is running, and is refused or a tick."""
    dates = pd.bdate_range("2022-01-03", "2023-01-31")
    frame = walk(
        dates + pd.to_timedelta([hours.get(str(day.date()), 21) for day in dates], unit="h")
    )
    start = 220
    model = mm.calibrate(mm.PriceHistory.from_frame(frame.iloc[:start]), **QUICK)
    refused = []
    for at in range(start, len(frame)):
        rows = mm.PriceHistory.from_frame(frame.iloc[at - 3 : at + 1])
        try:
            model = model.update(rows)
        except mm.DataError as error:
            assert "is not a close" in str(error)
            refused.append(str(frame.index[at].date()))
    assert refused == days
    assert len(model.history.times) == len(frame) - 1


def test_a_row_of_a_bar_that_was_running_stays_refused_beside_its_close():
    frame = walk(pd.date_range("2022-01-01", periods=300))
    model = mm.calibrate(mm.PriceHistory.from_frame(frame.iloc[:290]), **QUICK)
    for hour in (5, 13, 22):
        tick = frame.iloc[[292]].set_axis(frame.index[[292]] + pd.Timedelta(hours=hour))
        rows = mm.PriceHistory.from_frame(pd.concat([frame.iloc[:293], tick, frame.iloc[293:]]))
        with pytest.raises(mm.DataError, match=f"2022-10-20T{hour:02}.*is not a close"):
            model.update(rows)

"""What a desk does every day passes without a word: holidays and half-days of bars within a day.

Sessions are those of `exchange_calendars`; a gap is told only where bars are missing that an
exchange's holidays do not explain.
"""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm

QUICK = {"volatility": "ewma", "innovations": "normal", "dependence": "gaussian", "jobs": 1}


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

"""Bars that are stamped at their start: they close at their end, in models and in updates."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.bar_patterns import calendar_of
from mcmargin.data.bar_stamps import closes_of
from tests.helpers.bars import frame_of, model_of, utc


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

"""The zone in which bars close: said by a frame, named by a user, read from the history."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.bar_patterns import calendar_of
from tests.helpers.bars import OLD_CALLS, bars_of, frame_of, model_of, schedule, utc

pytestmark = OLD_CALLS


def hourly(count=400, assets=1):
    """Hourly prices of some assets, random walks of 0.1 % a bar."""
    steps = 0.001 * np.random.default_rng(3).standard_normal((count, assets))
    index = pd.date_range("2024-01-01", periods=count, freq="h")
    return pd.DataFrame(100 * np.exp(np.cumsum(steps, axis=0)), index=index).add_prefix("a")


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
    with pytest.raises(mm.DataError, match="not a close: it lies within a running bar"):
        model.update(mm.PriceHistory.from_frame(again))
    dated = frame_of(pd.bdate_range("2022-01-03", "2023-06-30"))
    model = model_of(dated)
    again = dated.iloc[-1:].copy()
    again.index += pd.Timedelta("22h")
    with pytest.raises(mm.DataError, match="not a close"):
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

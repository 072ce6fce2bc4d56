"""Calendars of bars: unknown words are refused, and files keep what a calendar means."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.bars import BarCalendar
from tests.helpers.bars import OLD_CALLS, bars_of, frame_of, model_of, schedule, utc
from tests.helpers.commands import called

pytestmark = OLD_CALLS


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

"""A row that is not a close is refused, and leaves the model as it was."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.bars import BarCalendar
from mcmargin.models.history import History
from tests.helpers.models import QUICK, make_model, with_history
from tests.helpers.updates import NOW, after, history, walk


@pytest.fixture(scope="module")
def model():
    return mm.calibrate(history(walk()), **QUICK)


def last_of(model):
    return model.committed.prices.tolist()


@pytest.mark.parametrize("close", [1e15, 1e9, 1e-3])
def test_a_close_that_no_price_can_reach_is_refused(model, close):
    """And the model is as it was. A close of 1e300, which once made an infinite variance, is no
    price for the reader."""
    btc, eth = last_of(model)
    with pytest.raises(mm.DataError, match="'btc': 1e\\+300 is not a price"):
        after((1e300, eth))
    before = model.fingerprint()
    with pytest.raises(mm.DataError, match=r"'btc' on 2021-10-29 is .* times the one before"):
        model.update(after((btc, eth), (close, eth)), now=NOW)
    assert model.fingerprint() == before
    whole = walk()
    whole.iloc[150, 0] = close
    with pytest.raises(mm.DataError, match=r"'btc' on 2021-05-31"):
        mm.calibrate(history(whole), **QUICK)


def test_a_state_that_is_not_finite_is_never_written(model, tmp_path):
    """Whatever is allowed by name; and a state made by hand is not saved."""
    btc, eth = last_of(model)
    wide = mm.Plausibility(price_ratio=1e9)
    # 1 % a bar and a rise of 1e8 times: a variance of 6e14.
    with pytest.raises(mm.DataError, match=r"'btc' would have a variance of .*stays as it is"):
        model.update(after((1e8 * btc, eth)), plausibility=wide, now=NOW)
    broken = replace(model.state, variance=np.array([np.inf, 1e-4]))
    with pytest.raises(mm.DataError, match="'btc' would have a variance of inf"):
        replace(model, state=broken, committed=broken).save(tmp_path / "model.npz")
    assert not (tmp_path / "model.npz").exists()


@pytest.mark.parametrize("provisional", [False, True])
def test_columns_that_changed_places_are_named(model, provisional):
    btc, eth = last_of(model)
    swapped = after((1.01 * eth, 0.99 * btc))
    with pytest.raises(
        mm.DataError, match="'btc' and 'eth' look swapped: on 2021-10-28 they close"
    ):
        model.update(swapped, provisional=provisional, now=NOW)
    allowed = mm.Plausibility(move=20)
    moved = model.update(swapped, provisional=provisional, plausibility=allowed, now=NOW)
    assert moved.state.prices[0] == pytest.approx(1.01 * eth)


def test_columns_that_changed_places_in_a_circle_are_named():
    state = replace(make_model(("garch",) * 4).state, prices=np.array([4e4, 2500.0, 0.05, 1.0]))
    model = replace(make_model(("garch",) * 4), committed=state, state=state)
    rows = pd.DataFrame([[2500.0, 0.05, 4e4, 1.0]], ["2020-01-02"], columns=list(model.assets))
    with pytest.raises(mm.DataError, match="'a0' and 'a1' and 'a2' look swapped"):
        model.update(history(rows), now=NOW)


# The last bar.


def test_a_date_after_now_is_refused(model):
    """A mistyped year; and a date that has begun in Auckland, and not in London."""
    btc, eth = last_of(model)
    with pytest.raises(mm.DataError, match=r"row of 2021-10-28 is 1.5 days after now, 2021-10-26"):
        model.update(after((btc, eth)), now="2021-10-26T12:00")
    model.update(after((btc, eth)), now="2021-10-27T10:30")
    allowed = mm.Plausibility(future_days=2)
    model.update(after((btc, eth)), now="2021-10-26T12:00", plausibility=allowed)
    with pytest.raises(mm.DataError, match="now: 'soon' is not an ISO time"):
        model.update(after((btc, eth)), now="soon")
    year = pd.Timestamp.now().year + 2
    with pytest.raises(mm.DataError, match=f"row of {year}-10-28 is .* after now"):
        model.update(after((btc, eth), start=f"{year}-10-28"))


@pytest.mark.parametrize("stamp", ["2021-10-28T14:30", "2021-10-27T15:00", "2021-10-27T02:00"])
def test_a_time_of_day_among_dates_is_no_close(model, stamp):
    """Within the running day, the same date again, and the last close in another zone."""
    btc, eth = last_of(model)
    row = after((1.01 * btc, eth), start=stamp)
    with pytest.raises(mm.DataError, match=rf"row of {stamp}:00 is not a close.*provisional"):
        model.update(row, now=NOW)
    moved = model.update(row, provisional=True, now=NOW)
    assert moved.provisional
    assert moved.committed is model.committed
    frame = pd.concat([walk(), row.to_frame()])
    with pytest.raises(mm.DataError, match=rf"row of {stamp}:00 is not a close"):
        mm.calibrate(history(frame), **QUICK)


def test_the_same_date_twice_in_a_history_is_refused():
    frame = walk()
    again = frame.iloc[[150]].set_axis([frame.index[150] + pd.Timedelta(hours=6)])
    with pytest.raises(mm.DataError, match="row of 2021-05-31T06:00:00 is not a close"):
        mm.calibrate(history(pd.concat([frame, again]).sort_index()), **QUICK)


def test_a_running_week_is_no_week():
    frame = walk(bars=2100).iloc[::7]
    model = mm.calibrate(history(frame.iloc[:-1]), **QUICK)
    close = frame.iloc[[-1]]
    early = close.set_axis(close.index - pd.Timedelta(days=3))
    wide = {"now": "2030-01-01"}
    with pytest.raises(mm.DataError, match="A bar takes 7 days"):
        model.update(history(early), **wide)
    # A holiday at its end makes it a day shorter.
    for days in (0, 1):
        model.update(history(close.set_axis(close.index - pd.Timedelta(days=days))), **wide)


def test_closes_of_a_zone_are_closes_in_summer_and_winter():
    """New York closes at 21:00 and 20:00 UTC, and at 18:00 on the day after Thanksgiving.

    On that day itself the row could be of a bar that is running; the next close tells.
    """
    days = pd.bdate_range("2021-01-04", "2021-12-31")
    stamps = (days + pd.Timedelta(hours=16)).tz_localize("America/New_York").tz_convert("UTC")
    stamps = stamps.tz_localize(None).to_series()
    stamps[stamps.dt.date == pd.Timestamp("2021-11-26").date()] -= pd.Timedelta(hours=3)
    rng = np.random.default_rng(3)
    closes = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(len(stamps))))
    frame = pd.DataFrame({"a": closes}, index=pd.DatetimeIndex(stamps))
    model = mm.calibrate(history(frame.iloc[:180]), **QUICK)
    rest = frame.iloc[180:]
    short = rest.index == pd.Timestamp("2021-11-26T18:00")
    assert model.update(history(rest[~short]), now=NOW).as_of == np.datetime64("2021-12-31T21:00")
    assert model.update(history(rest), now=NOW).as_of == np.datetime64("2021-12-31T21:00")
    day = rest.iloc[: 1 + int(np.flatnonzero(short)[0])]
    with pytest.raises(mm.DataError, match="2021-11-26T18:00"):
        model.update(history(day), now=NOW)
    model.update(history(day), now=NOW, plausibility=mm.Plausibility(close_hours=3))
    # A history that has had one knows it.
    mm.calibrate(history(frame.iloc[:240]), **QUICK).update(history(frame), now=NOW)


def test_an_odd_minute_among_hours_is_no_close():
    model = with_history(make_model(("garch",)), np.full((300, 1), 0.01), np.full((300, 1), 1e-4))
    times = model.as_of - np.arange(299, -1, -1) * np.timedelta64(3600, "s")
    calendar = BarCalendar(days=1 / 24, slots=tuple(60 * hour for hour in range(24)), mean=1 / 24)
    model = replace(
        model,
        history=History(times, model.history.returns, model.history.variances),
        calendar=calendar,
    )
    for minute, fine in (("01:00", True), ("00:37", False)):
        row = pd.DataFrame({"a0": [100.0]}, [pd.Timestamp(f"2020-01-01T{minute}")])
        if fine:
            model.update(history(row), now=NOW)
        else:
            with pytest.raises(mm.DataError, match="not a close"):
                model.update(history(row), now=NOW)


def test_a_tick_after_closes_commits_them(model):
    """Three closes, two ticks of the fourth day, and the last tick: as by hand, one by one."""
    frame = walk(bars=303).iloc[-3:]
    btc, eth = frame.iloc[-1]
    stamps = [frame.index[-1] + pd.Timedelta(hours=hours) for hours in (30, 32, 34)]
    ticks = pd.DataFrame(
        [(btc, eth), (1.1 * btc, eth), (1.02 * btc, 0.99 * eth)], stamps, frame.columns
    )
    moved = model.update(history(pd.concat([frame, ticks])), provisional=True, now=NOW)
    closed = model.update(history(frame), now=NOW)
    assert moved.committed.as_of == closed.as_of
    alone = closed.update(history(ticks.iloc[[-1]]), provisional=True, now=NOW)
    np.testing.assert_array_equal(moved.state.variance, alone.state.variance)
    np.testing.assert_array_equal(moved.committed.variance, closed.committed.variance)
    assert moved.fingerprint() == alone.fingerprint()


# Nothing new, and what is.


def test_nothing_new_leaves_the_model_and_says_so(model):
    assert model.update(history(walk()), now=NOW) is model
    assert model.update(history(walk()), provisional=True, now=NOW) is model
    told = model.update_report(since=model)
    assert told.startswith("nothing new: no row after 2021-10-27 has a close of every asset")


def test_the_count_is_that_of_the_call(model):
    frame = walk(bars=305)
    first = model.update(history(frame.iloc[:303]), now=NOW)
    second = first.update(history(frame), now=NOW)
    assert "updated by 3 bars, from 2021-10-27 to 2021-10-30" in first.update_report(since=model)
    told = second.update_report(since=first)
    assert "updated by 2 bars, from 2021-10-30 to 2021-11-01" in told
    assert "5 bars since the calibration" in told
    assert "updated by 5 bars, from 2021-10-27 to 2021-11-01" in second.update_report()


def test_an_older_close_that_differs_is_told_and_the_model_keeps_its_own(model):
    frame = walk(bars=301)
    frame.iloc[[100, 120], 1] *= 1.02
    frame.iloc[130, 0] *= 1.0004  # rounded
    moved = model.update(history(frame), now=NOW)
    told = moved.update_report(since=model)
    kept, given = walk().iloc[120, 1], frame.iloc[120, 1]
    assert (
        "older closes differ from the model's, which keeps its own: eth on 2 dates, last on "
        f"2021-05-01 ({given:.6g} in the prices, {kept:.6g} in the model)"
    ) in told
    assert "older closes differ" in moved.calibration_notes().updates
    np.testing.assert_array_equal(
        moved.history.returns, model.update(history(walk(bars=301)), now=NOW).history.returns
    )

"""What may be an error of prices is told, and not refused: swapped columns, splits, ticks, gaps."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.demo import demo_prices
from tests.helpers.books import book_of
from tests.helpers.models import QUICK
from tests.helpers.updates import NOW, after, history, walk


@pytest.fixture(scope="module")
def model():
    return mm.calibrate(history(walk()), **QUICK)


def last_of(model):
    return model.committed.prices.tolist()


def test_swapped_columns_in_a_history_are_told():
    frame = walk()
    frame.iloc[200:] = frame.iloc[200:, ::-1].to_numpy()
    model = mm.calibrate(history(frame), **QUICK)
    assert [each.text for each in model.doubts] == [
        "the columns btc and eth look swapped on 2021-07-20"
    ]


@pytest.mark.parametrize(
    ("factor", "told"),
    [(0.5, "-49.4%"), (0.1, "-89.9%"), (0.01, "-99.0%"), (100.0, "+10,014.5%"), (10.0, "+911.4%")],
)
def test_splits_and_misplaced_digits_are_told_and_not_refused(factor, told):
    """In the fit, in an update and in the margin, with asset and date; the peer is the factor."""
    frame = walk()
    model = mm.calibrate(history(frame.iloc[:250]), **QUICK)
    frame.iloc[260:, 1] *= factor
    moved = model.update(history(frame), now=NOW)
    fresh = mm.calibrate(history(frame), **QUICK)
    start = f"eth: a move of {told}"
    for text in (moved.update_report(), moved.update_report(since=model), fresh.fit_report()):
        assert start in text
        assert "to 2021-09-18" in text
    assert model.doubts == ()
    book = book_of([("x", "btc", 1.0)])
    for each in (moved, fresh):
        report = mm.margin(book, mm.simulate(each, horizon=1, paths=1000, seed=7))
        (doubt,) = report.calibration.doubts
        assert doubt.startswith(start)
        assert doubt in " ".join(str(report).split())
        assert mm.MarginReport.from_json(report.to_json()).calibration.doubts == (doubt,)
    # The day after it is told still, as long as the history has it.
    assert start in mm.calibrate(history(frame.iloc[100:]), **QUICK).fit_report()


def test_a_short_history_tells_a_misplaced_digit_too():
    """Of 101 closes no return lies more than ten sample deviations from the mean."""
    frame = walk(bars=101)
    frame.iloc[50, 0] *= 10
    (first, *_) = mm.calibrate(history(frame), **QUICK).doubts[::-1]
    assert first.text.startswith("btc: a move of +887.1% to 2021-02-20")


def test_a_doubled_tick_is_told(model):
    btc, eth = last_of(model)
    tick = after((2 * btc, eth), start="2021-10-28T10:00")
    moved = model.update(tick, provisional=True, now=NOW)
    told = moved.update_report(since=model)
    assert told.startswith(
        "prices of 2021-10-28T10:00:00 within the running bar; btc: a move of +1"
    )
    assert "nothing new" not in told


def test_real_indices_have_no_doubt():
    """Nineteen years of S&P 500, NASDAQ and oil, September 2001 and October 2008 in them."""
    model = mm.calibrate(demo_prices(), **QUICK)
    assert model.doubts == ()
    assert not model.halted.any()


def test_a_gap_in_a_history_is_told():
    """A month left out of daily closes; weekends and the five days of 9/11 are usual."""
    frame = walk().drop(pd.date_range("2021-05-01", "2021-05-31"))
    (doubt,) = mm.calibrate(history(frame), **QUICK).doubts
    assert doubt.text == (
        "one return spans 32 bars of the calendar, from 2021-04-30 to 2021-06-01: were prices left "
        "out?"
    )


def test_the_limit_of_a_gap_is_that_of_the_model(model):
    later = after(last_of(model), start="2021-11-20")
    assert "one return spans 24 bars" in model.update(later, now=NOW).update_report(since=model)
    wide = replace(model, facts=model.facts | {"plausibility": {"gap_bars": 30.0}})
    moved = wide.update(later, now=NOW)
    assert "spans" not in moved.update_report(since=wide) + moved.update_report()


def test_nights_and_weekends_of_hourly_bars_are_no_gaps():
    days = pd.bdate_range("2021-01-04", "2021-03-26")
    index = pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in days for hour in range(24)])
    rng = np.random.default_rng(3)
    closes = pd.DataFrame({"a": 100 * np.exp(np.cumsum(0.003 * rng.standard_normal(len(index))))})
    model = mm.calibrate(history(closes.set_index(index)), **QUICK)
    assert model.doubts == ()
    monday = pd.DataFrame({"a": closes["a"].iloc[[-1]].to_numpy()}, [pd.Timestamp("2021-03-29")])
    assert "spans" not in model.update(history(monday), now=NOW).update_report()

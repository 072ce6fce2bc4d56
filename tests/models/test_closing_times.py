"""Closes that are dates alone, beside markets and expiries with a time of day.

The close of a date lies at an hour of that date that nobody told: an expiry of that date, at any
hour, settles at it. Expected margins are numpy's, on the paths of the bar that is right.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.data.bar_patterns import calendar_of
from mcmargin.margins.horizons import horizons_needed
from tests.helpers.books import book_of

QUICK = {"volatility": "constant", "innovations": "normal", "dependence": "gaussian", "jobs": 1}


def model_of(index, zone=None):
    moves = 0.01 * np.random.default_rng(2).standard_normal(len(index))
    frame = pd.DataFrame({"spx": 2500 * np.exp(np.cumsum(moves))}, index=index)
    return mm.calibrate(mm.PriceHistory.from_frame(frame, zone=zone), **QUICK)


@pytest.fixture(scope="module")
def weekdays():
    return model_of(pd.bdate_range("2017-01-02", "2018-12-28"))


@pytest.fixture(scope="module")
def paths(weekdays):
    return mm.simulate(weekdays, horizons=(1, 2, 3), paths=20_000, seed=7, precision="double")


MOMENTS = {
    "dates": ("2018-12-28", "2018-12-31", 1),
    "closing times": ("2018-12-28T21:00", "2018-12-31T21:00", 1),
    "a date, and the closing time": ("2018-12-28", "2018-12-31T21:00", 1),
    "the closing time, and a date": ("2018-12-28T21:00", "2018-12-31", 1),
    "in the morning of the close": ("2018-12-28T21:00", "2018-12-31T08:00", 1),
    "on the weekend": ("2018-12-28T21:00", "2018-12-29T12:00", 1),
    "the day after": ("2018-12-28T21:00", "2019-01-01T08:00", 2),
    "within the next session": ("2018-12-31T16:00", "2018-12-31T21:00", 1),
    "within it, to the day after": ("2018-12-31T16:00", "2019-01-01T21:00", 2),
    "a date later than the model": ("2018-12-31", "2019-01-01", 1),
}


@pytest.mark.parametrize("as_of, expiry, bar", MOMENTS.values(), ids=MOMENTS)
def test_an_expiry_settles_at_the_close_of_its_date(weekdays, paths, as_of, expiry, bar):
    strike = float(weekdays.committed.prices[0])
    market = mm.Market(
        as_of=as_of, spot={"spx": strike}, volatility={"spx": 0.2}, vol_of_vol={"spx": 0.0}
    )
    option = mm.Option("o", "spx", "call", strike, expiry)
    book = book_of([("a", "o", -100.0)], [option])
    policy = mm.MarginPolicy(level=0.99, horizon=3)
    assert bar in horizons_needed([option], weekdays, policy, as_of)
    loss = np.sort(100 * (np.maximum(strike * paths.returns[bar - 1, 0], 0) - option.value(market)))
    got = mm.margin(book, paths, market, policy).accounts[0].margin
    assert got == pytest.approx(loss[-200:].mean(), rel=1e-9)


def test_what_settles_is_the_same_under_stress(weekdays, paths):
    """A lived date ends at the next close; an option of that date is worth its pay-off then."""
    from mcmargin.policies.stress_parts import Stress, StressWindow
    from mcmargin.stresses.stress_scenarios import stress_sets
    from mcmargin.valuing.outlooks import outlooks_of

    strike = float(weekdays.committed.prices[0])
    market = mm.Market(
        as_of="2018-12-28T21:00",
        spot={"spx": strike},
        volatility={"spx": 0.2},
        vol_of_vol={"spx": 0.0},
    )
    option = mm.Option("o", "spx", "call", strike, "2018-12-31T22:00")
    part = Stress(windows=(StressWindow("w", "2018-01-01", "2018-12-28", replay="raw"),))
    lived = stress_sets(part, [option], market, outlooks_of(paths))[0].shocked
    history = weekdays.history
    moves = history.returns[history.times >= np.datetime64("2018-01-01"), 0]
    expected = np.maximum(strike * moves, 0) - option.value(market)
    np.testing.assert_allclose(option.gain(lived), expected, atol=1e-9)


def test_coins_by_the_day_and_an_expiry_at_eight():
    """The row of a date is the price at its end: 08:00 lies between the row before and its own."""
    model = model_of(pd.date_range("2020-01-01", "2021-01-03"))
    closes = model.calendar.closes(model.as_of, 5)
    assert closes.bar_of(np.datetime64("2021-01-05T08:00")) == 2
    assert closes.bar_of(np.datetime64("2021-01-05")) == 2
    # Rows that are stamped at the start of their day say the same by the hour.
    frame = pd.DataFrame(
        {"btc": np.exp(np.cumsum(0.02 * np.random.default_rng(1).standard_normal(369)))},
        index=pd.date_range("2020-01-01", "2021-01-03"),
    )
    exact = mm.calibrate(mm.PriceHistory.from_frame(frame, stamps="start"), **QUICK)
    assert exact.as_of == np.datetime64("2021-01-04T00:00")
    after = exact.calendar.closes(exact.as_of, 5)
    assert after.times[0] == np.datetime64("2021-01-05T00:00")
    assert after.bar_of(np.datetime64("2021-01-05T08:00")) == 2
    assert after.bar_of(np.datetime64("2021-01-05T00:00")) == 1


def test_moments_of_the_day_are_what_they_are():
    """Closes with a time of day are moments: an expiry an hour later is of the next bar."""
    index = pd.bdate_range("2022-01-03", "2023-06-30") + pd.Timedelta("21h")
    calendar = model_of(index).calendar
    assert not calendar.dated
    closes = calendar.closes(np.datetime64("2023-06-30T21:00"), 3)
    assert closes.bar_of(np.datetime64("2023-07-03T21:00")) == 1
    assert closes.bar_of(np.datetime64("2023-07-03T22:00")) == 2
    assert closes.bar_of(np.datetime64("2023-07-03T08:00")) == 1


def test_a_market_within_a_date_has_its_close_ahead(weekdays):
    """And one that is a date alone is at that date's close: whole days lie between."""
    calendar, close = weekdays.calendar, weekdays.as_of
    for as_of, first in (("2018-12-31T10:00", "2018-12-31"), ("2018-12-31", "2019-01-01")):
        moment = np.datetime64(as_of, "ns")
        closes = calendar.closes(close, 2, after=moment)
        assert str(closes.ends[0])[:10] == first
    within = calendar.closes(close, 2, after=np.datetime64("2018-12-31T10:00", "ns"))
    assert (within.times[0] - np.datetime64("2018-12-31T10:00")) // np.timedelta64(1, "m") == 839
    evening = calendar.closes(close, 2, after=np.datetime64("2018-12-28T21:00", "ns"))
    assert evening.times[0] == np.datetime64("2018-12-31T21:00")


def test_dates_of_another_zone():
    """New York's midnights are dates there; a date alone is the same date in every zone."""
    model = model_of(pd.bdate_range("2017-01-02", "2018-12-28", tz="America/New_York"))
    assert model.calendar.dated
    for as_of in (None, np.datetime64("2018-12-28", "ns"), np.datetime64("2018-12-28T21:00", "ns")):
        closes = model.calendar.closes(model.as_of, 3, after=as_of)
        assert [closes.bar_of(np.datetime64(f"2018-12-31T{hour:02}")) for hour in (0, 14, 21)] == [
            1,
            1,
            1,
        ]
        assert closes.bar_of(np.datetime64("2019-01-01")) == 2
        start = model.as_of if as_of is None else as_of
        assert closes.times[0] - start == np.timedelta64(3, "D")


@given(
    st.integers(0, 400),
    st.integers(0, 24 * 60 - 1),
    st.integers(0, 24 * 60 - 1),
    st.integers(0, 9),
)
def test_dates_are_compared_as_dates(start, minute, hour, days):
    """Whatever the hours: the bar is the count of weekdays after the close up to the expiry's."""
    calendar = calendar_of(
        np.arange("2015-01-01", "2016-01-01", dtype="datetime64[D]")[
            np.is_busday(np.arange("2015-01-01", "2016-01-01", dtype="datetime64[D]"))
        ]
    )
    own = np.busday_offset(np.datetime64("2017-01-02") + start, 0, roll="forward")
    as_of = own.astype("datetime64[ns]") + np.timedelta64(minute, "m")
    expiry = (own + 1 + days).astype("datetime64[ns]") + np.timedelta64(hour, "m")
    closes = calendar.closes(own.astype("datetime64[ns]"), 12, after=as_of)
    bar = np.busday_count(own + 1, own + 1 + days) + 1
    assert closes.bar_of(expiry) == bar
    assert (closes.times > as_of).all()
    assert all(closes.years_left(at, expiry) > 0 for at in range(1, bar))
    assert closes.years_left(bar, expiry) == 0


def test_hours_that_are_not_those_of_closes_are_told(weekdays, paths):
    """In the report, once for the market and once for what expires inside the horizon."""
    strike = float(weekdays.committed.prices[0])

    def told(as_of, expiry):
        market = mm.Market(
            as_of=as_of, spot={"spx": strike}, volatility={"spx": 0.2}, vol_of_vol={"spx": 0.0}
        )
        option = mm.Option("o", "spx", "call", strike, expiry)
        book = book_of([("a", "o", -100.0)], [option])
        report = mm.margin(book, paths, market, mm.MarginPolicy(level=0.99, horizon=3))
        again = mm.MarginReport.from_json(report.to_json())
        assert again.calibration.doubts == report.calibration.doubts
        return report.calibration.doubts

    assert told("2018-12-28", "2018-12-31") == told("2018-12-28", "2019-06-21T21:00") == ()
    market = "closes are dates alone, and the market of 2018-12-28T21:00:00 is taken at its date's"
    assert told("2018-12-28T21:00", "2018-12-31T21:00") == (f"{market} close",)
    late = "o expires at 2018-12-31T08:00:00 and settles at the close of 2018-12-31"
    assert told("2018-12-28T21:00", "2018-12-31T08:00") == (f"{market} close", late)
    assert told("2018-12-28", "2018-12-31T08:00") == (late,)
    within = "the market of 2018-12-31T10:00:00 is taken before its date's close"
    assert within in told("2018-12-31T10:00", "2019-06-21")[0]


def test_a_tick_that_is_dated_lies_before_its_dates_close(weekdays):
    """A price of Monday, taken as provisional: Monday's close comes next, and not Tuesday's."""
    frame = pd.DataFrame({"spx": [2500.0]}, index=["2018-12-31"])
    tick = weekdays.update(mm.PriceHistory.from_frame(frame), provisional=True)
    moment = np.datetime64("2018-12-31", "ns")
    closes = tick.closes(2, moment)
    assert [str(end)[:10] for end in closes.ends] == ["2018-12-31", "2019-01-01"]
    assert closes.bar_of(np.datetime64("2018-12-31T21:00")) == 1
    assert closes.times[0] > moment
    assert str(weekdays.closes(1, moment).ends[0])[:10] == "2019-01-01"


def test_windows_of_stress_hold_the_bars_of_their_dates():
    """The hour that ends at midnight is of the day before; a date is its own day's."""
    index = pd.date_range("2024-01-01", periods=400, freq="h")
    hours = model_of(index)
    chosen = hours.calendar.in_window(hours.history.times, "2024-01-05", "2024-01-06")
    expected = index[(index > "2024-01-05") & (index <= "2024-01-07")]
    np.testing.assert_array_equal(hours.history.times[chosen], expected.to_numpy())
    days = model_of(pd.date_range("2023-01-01", periods=200, tz="Asia/Tokyo"))
    chosen = days.calendar.in_window(days.history.times, "2023-03-01", "2023-03-31")
    assert chosen.sum() == 31

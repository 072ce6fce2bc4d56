"""The market on paths: its time, its calendar, and options on a surface."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.bar_patterns import calendar_of
from mcmargin.data.bars import BarCalendar
from mcmargin.valuing.scenario_market import PathBlock
from tests.helpers.books import book_of
from tests.helpers.euro_market import AS_OF, market_of
from tests.helpers.models import returns_of, scenarios_of_three

HOUR = np.timedelta64(1, "h")


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three(horizons=(1, 2, 5))


@pytest.mark.parametrize("days", [0.0, 0.25, 1.0, 3.5])
def test_time_runs_from_the_market_and_not_from_the_model(scenarios, days):
    """A market days after the model: the next bar closes after it, and an option has aged."""
    now = AS_OF + np.timedelta64(round(days * 86_400), "s")
    market = market_of(now, carry={"a0": 0.3})
    at = PathBlock(scenarios, market, scenarios.plan.tiles).at(2)
    close = AS_OF + np.timedelta64(int(np.floor(days)) + 2, "D")
    assert scenarios.closes(now).times[1] == close
    assert at.years == pytest.approx(float((close - now) / HOUR) / 24 / 365)
    option = mm.Option("C", "a0", "call", 100.0, "2020-03-01")
    years = float((option.expiry - close) / HOUR) / 24 / 365
    forward = 100 * (1 + returns_of(scenarios, 2, 0)) * np.exp(0.3 * years)
    volatility = 0.4 * at.volatility_ratio("a0", years)
    expected = mm.black76(forward, 100.0, volatility, years) - option.value(market)
    np.testing.assert_allclose(option.gain(at), expected, atol=1e-10)
    # Nothing moves, and the option is worth the same as one bought at that time.
    future = mm.Future("F", "a0", "2020-03-01", basis_volatility=0.0)
    start = 100 * np.exp(0.3 * float((future.expiry - now) / HOUR) / 24 / 365)
    assert future.price(market) == pytest.approx(start, rel=1e-12)
    np.testing.assert_allclose(future.gain(at), forward - start, atol=1e-10)


def test_funding_is_paid_from_the_markets_time_on(scenarios):
    market = market_of(AS_OF + 12 * HOUR)
    free, paying = (
        mm.Perpetual("P", "a0", funding_rate=rate, basis_volatility=0.0) for rate in (0.0, 1e-4)
    )
    at = PathBlock(scenarios, market, scenarios.plan.tiles).at(1)
    # The bar after the market's noon closes at midnight: 12 hours, 1.5 payments.
    np.testing.assert_allclose(free.gain(at) - paying.gain(at), 1.5 * 1e-4 * 100.0, atol=1e-12)


QUOTES = pd.DataFrame(
    [
        (expiry, strike, 0.4 + 0.3 * np.log(strike / 100.0) ** 2)
        for expiry in ("2020-01-31", "2020-03-31")
        for strike in (80.0, 100.0, 125.0)
    ],
    columns=["expiry", "strike", "volatility"],
).assign(forward=100.0)


def test_margins_on_a_surface(scenarios):
    """A surface that is flat margins as the one number; an old one is refused."""
    option = mm.Option("P", "a0", "put", 90.0, "2020-02-15")
    book = book_of([("x", "P", -1.0)], [option])
    flat = mm.VolatilitySurface.from_quotes(QUOTES.assign(volatility=0.4), as_of=AS_OF)
    margins = [
        mm.margin(book, scenarios, market_of(volatility={"a0": level})).accounts[0].margin
        for level in (flat, 0.4)
    ]
    assert margins[0] == pytest.approx(margins[1], rel=1e-6)
    smile = mm.VolatilitySurface.from_quotes(QUOTES, as_of=AS_OF)
    market = market_of(volatility={"a0": smile})
    report = mm.margin(book, scenarios, market)
    at = PathBlock(scenarios, market, scenarios.plan.tiles).at(5)
    forward, years = 100 * (1 + returns_of(scenarios, 5, 0)), 40 / 365
    volatility = smile.volatility(years, np.log(90.0 / forward))
    volatility = volatility * at.volatility_ratio("a0", years)
    gains = option.value(market) - mm.black76(forward, 90.0, volatility, years, "put")
    # On paths a smile is read from a fine table, whose volatility errs by less than 1e-6; of 100
    # in price, vega is 100 sqrt(40 / 365) / sqrt(2 pi) at most.
    np.testing.assert_allclose(report.profit_and_loss("x"), gains, atol=14e-6)
    old = mm.VolatilitySurface.from_quotes(QUOTES, as_of=AS_OF - np.timedelta64(3, "D"))
    with pytest.raises(mm.DataError, match=r"surface of 'a0', of 2019-12-29.*3.0 days"):
        mm.margin(
            book, scenarios, market_of(volatility={"a0": old}), mm.MarginPolicy(max_age_days=2)
        )


def test_bars_within_a_day_close_at_the_minutes_that_they_have():
    """Hours of a listed session, five days a week: after Friday's last comes Monday's first."""
    days = pd.bdate_range("2021-01-04", "2021-03-26")
    times = [day + pd.Timedelta(hours=hour) for day in days for hour in range(14, 21)]
    calendar = calendar_of(np.array(times, "datetime64[ns]"))
    assert calendar.weekdays == (0, 1, 2, 3, 4)
    # Runs of the hours from 14 to 20 of each day, in seconds after Monday's midnight.
    assert calendar.week == tuple(((24 * day + 14) * 3600, 3600, 7) for day in range(5))
    friday = np.datetime64("2021-03-26T19", "ns")
    found = calendar.closes_after(friday, 9)
    expected = ["2021-03-26T20", *(f"2021-03-29T{hour}" for hour in range(14, 21)), "2021-03-30T14"]
    assert found.astype("datetime64[h]").astype(str).tolist() == expected
    # 84 calendar days but the last three, in 12 weeks of 35 bars.
    assert calendar.mean_days == pytest.approx((81 + 6 / 24) / (12 * 35 - 1))


@pytest.mark.parametrize("count", [1, 4, 30])
@pytest.mark.parametrize("after", [0, 1, 2.5, 40])
def test_bars_of_a_day_skip_weekends_by_numpys_calendar(count, after):
    close = np.datetime64("2021-06-24", "ns")
    later = close + np.timedelta64(round(after * 24), "h")
    found = BarCalendar(1.0, (0, 1, 2, 3, 4)).closes_after(close, count, after=later)
    first = np.busday_offset(later.astype("datetime64[D]") + 1, 0, roll="forward")
    expected = np.busday_offset(first, np.arange(count))
    np.testing.assert_array_equal(found.astype("datetime64[D]"), expected)


@pytest.mark.parametrize("after", [0, 3, 7, 500])
@pytest.mark.parametrize("last", ["2021-03-26", "2021-04-01"])
def test_weeks_end_on_fridays_by_pandas_calendar(last, after):
    """From a Friday, and from the Thursday before Good Friday, to which a week's bar may move."""
    fridays = pd.date_range("2019-01-04", "2021-03-26", freq="W-FRI")
    calendar = calendar_of(fridays.to_numpy().astype("datetime64[ns]"))
    assert (calendar.days, calendar.weekdays, calendar.mean_days) == (7.0, (4,), 7.0)
    close = np.datetime64(last, "ns")
    later = close + np.timedelta64(after, "D")
    found = calendar.closes_after(close, 60, after=later)
    # A bar is a week from the one before, moved on to a Friday: after Thursday, not tomorrow.
    start = max(later + np.timedelta64(1, "D"), close + np.timedelta64(7, "D"))
    expected = pd.date_range(start, periods=60, freq="W-FRI")
    np.testing.assert_array_equal(found, expected.to_numpy().astype("datetime64[ns]"))


@pytest.mark.parametrize("days", [2.0, 3.0, 5.0])
def test_bars_of_some_days_never_end_together(days):
    """On weekdays, each after the one before, and never further apart than a step and a weekend."""
    calendar = BarCalendar(days, (0, 1, 2, 3, 4))
    found = calendar.closes_after(np.datetime64("2021-03-26", "ns"), 200)
    assert len(found) == 200
    assert np.is_busday(found.astype("datetime64[D]")).all()
    gaps = np.diff(found) / np.timedelta64(1, "D")
    assert gaps.min() > 0 and gaps.max() <= days + 2

"""The margin of a past date: what calibrate, simulate and margin give on the closes up to it."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.backtests.competing import ModelSpec
from mcmargin.backtests.margin_at import _until, margin_at
from mcmargin.errors import DataError, PolicyError

QUICK = ModelSpec("ewma", "normal", "gaussian")
ROWS = {"account": ["x", "x", "y"], "instrument": ["a", "b", "a"], "quantity": [2.0, -1.0, 1.0]}


@pytest.fixture(scope="module")
def prices():
    moves = 0.01 * np.random.default_rng(3).standard_normal((400, 2))
    dates = pd.date_range("2020-01-01", periods=400)
    frame = pd.DataFrame(100.0 * np.cumprod(1.0 + moves, axis=0), dates, ["a", "b"])
    return mm.PriceHistory.from_frame(frame)


@pytest.fixture(scope="module")
def book():
    return mm.Book.from_frame(pd.DataFrame(ROWS))


def margins(report):
    return report.to_frame()["margin"].tolist()


def test_it_is_what_the_steps_give_on_the_closes_up_to_the_date(prices, book):
    found = margin_at("2020-10-01", book, prices, QUICK, paths=5000, seed=7)
    known = mm.PriceHistory.from_frame(prices.to_frame().loc[:"2020-10-01"])
    model = mm.calibrate(
        known, volatility="ewma", innovations="normal", dependence="gaussian", jobs=1
    )
    scenarios = mm.simulate(model, horizon=1, paths=5000, seed=7)
    assert margins(found) == margins(mm.margin(book, scenarios))
    assert found.as_of[:10] == "2020-10-01"


def test_the_future_changes_nothing(prices, book):
    frame = prices.to_frame()
    frame.loc["2020-10-02":] *= 1.3
    other = mm.PriceHistory.from_frame(frame)
    one, two = (
        margin_at("2020-10-01", book, each, QUICK, paths=3000, seed=7) for each in (prices, other)
    )
    assert margins(one) == margins(two)
    assert one.fingerprints == two.fingerprints


def test_a_window_leaves_out_what_came_before(prices, book):
    frame = prices.to_frame()
    frame.loc[:"2020-04-01"] *= 2.0
    other = mm.PriceHistory.from_frame(frame)
    one, two = (
        margin_at("2020-10-01", book, each, QUICK, window=150, paths=3000, seed=7)
        for each in (prices, other)
    )
    assert margins(one) == margins(two)


def test_a_policy_brings_its_own_horizons_and_companions(prices, book):
    policy = mm.MarginPolicy(
        horizon=3,
        maintenance=mm.Maintenance(horizon=2, level=0.95),
        procyclicality=mm.Procyclicality(floor_years=1.0),
    )
    found = margin_at("2020-12-31", book, prices, QUICK, policy, paths=3000, seed=7)
    assert found.plan.horizons == (2, 3)
    assert (found.to_frame()["floor"] > 0.0).all()


@pytest.mark.parametrize(
    ("date", "given", "words"),
    [
        ("2019-12-31", {}, "no close is known by 2019-12-31; the first is of 2020-01-01"),
        ("2020-10-01", {"window": 300}, "needs 301 dates"),
        ("soon", {}, "date: "),
        ("2020-02-01", {}, "100"),
    ],
)
def test_what_cannot_be_known_is_refused(prices, book, date, given, words):
    with pytest.raises(mm.McMarginError, match=words):
        margin_at(date, book, prices, QUICK, seed=7, **given)


def test_wrong_arguments_are_named(prices, book):
    with pytest.raises(DataError, match="spec must be of type ModelSpec"):
        margin_at("2020-10-01", book, prices, "garch", seed=7)
    with pytest.raises(PolicyError, match="policy must be of type MarginPolicy"):
        margin_at("2020-10-01", book, prices, QUICK, "house", seed=7)
    with pytest.raises(PolicyError, match="window must be an integer"):
        margin_at("2020-10-01", book, prices, QUICK, window=0.5, seed=7)


def test_a_day_is_one_day_however_it_is_written():
    """Closes at 21:00: a day takes in its own close, and a moment before it does not."""
    moves = 0.01 * np.random.default_rng(3).standard_normal((200, 2))
    dates = pd.date_range("2015-06-01 21:00", periods=200)
    frame = pd.DataFrame(100.0 * np.cumprod(1.0 + moves, axis=0), dates, ["a", "b"])
    prices = mm.PriceHistory.from_frame(frame)
    day = pd.Timestamp("2015-12-01")
    for written in (day, day.tz_localize("UTC"), "2015-12-01", day.date(), day.to_datetime64()):
        found = _until(written, prices, None)
        assert found.times[-1] == np.datetime64("2015-12-01T21:00")
    assert _until("2015-12-01T20:59", prices, None).times[-1] == np.datetime64("2015-11-30T21:00")

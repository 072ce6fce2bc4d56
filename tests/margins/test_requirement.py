"""The requirement of an account: horizons, short options and stressed funding."""

import numpy as np
import pytest

import mcmargin as mm
from tests.helpers.books import book_of
from tests.helpers.euro_market import ITEMS, MARKET, margins_by_account, market_of
from tests.helpers.models import returns_of, scenarios_of_three


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three(horizons=(1, 2, 5))


def test_options_that_are_sold_as_ordered_have_the_least_margin(scenarios):
    item = mm.Option("far", "a0", "call", 400.0, "2020-02-01", contract_size=2.0)
    orders = [("x", "far", -5.0), ("y", "far", -5.0), ("z", "far", 5.0)]
    book = book_of(
        [("x", "far", 3.0), ("y", "far", -1.0), ("z", "far", 1.0)], [item], orders=orders
    )
    policy = mm.MarginPolicy(short_option_minimum=0.05)
    report = mm.margin(book, scenarios, market_of(), policy)
    expected = [0.05 * short * 2 * 100.0 for short in (2, 6, 0)]
    np.testing.assert_allclose(report.figures["short_option_minimum"], expected)


def test_stressed_funding_of_orders_is_the_worse_sides(scenarios):
    """6 payments in 2 days: 5 bp stressed each way, of which the long expects 1 bp."""
    item = mm.Perpetual(
        "P", "a0", funding_rate=1e-4, stressed_funding_rate=5e-4, basis_volatility=0.0
    )
    orders = [("x", "P", 2.0), ("y", "P", -9.0)]
    book = book_of([("x", "P", 3.0), ("y", "P", 3.0)], [item], orders=orders)
    report = mm.margin(book, scenarios, market_of(), mm.MarginPolicy(horizon=2))
    long, short = 6 * 4e-4 * 100, 6 * 6e-4 * 100
    np.testing.assert_allclose(report.figures["stressed_funding"], [5 * long, 6 * short])


def test_the_least_margin_of_short_options(scenarios):
    far = mm.Option("far", "a0", "call", 400.0, "2020-02-01", contract_size=2.0)
    rows = [("long", "far", 3.0), ("short", "far", -3.0)]
    policy = mm.MarginPolicy(short_option_minimum=0.05)
    report = mm.margin(book_of(rows, [far]), scenarios, MARKET, policy)
    assert margins_by_account(report)["short"] == pytest.approx(0.05 * 3 * 2 * 100.0)
    assert report.account("long").short_option_minimum == 0.0


def test_each_product_has_its_own_horizon(scenarios):
    rows = [("x", "S", 10.0), ("x", "Q", -10.0)]
    policy = mm.MarginPolicy(horizons={"spot": 5, "perpetual": 1})
    report = mm.margin(book_of(rows, ITEMS), scenarios, MARKET, policy)
    gains = 1000 * (returns_of(scenarios, 5, 0) - returns_of(scenarios, 1, 0))
    np.testing.assert_allclose(report.profit_and_loss("x"), gains, atol=1e-9)
    assert report.horizons == {"spot": 5, "perpetual": 1, "future": 5, "option": 5}
    with pytest.raises(mm.PolicyError, match="horizon 3 was not simulated"):
        mm.margin(book_of(rows, ITEMS), scenarios, MARKET, mm.MarginPolicy(horizons={"spot": 3}))
    with pytest.raises(mm.PolicyError, match="product class 'swap' is unknown"):
        mm.MarginPolicy(horizons={"swap": 3})

"""Values of all instruments in the currencies of accounts, on paths."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.numerics.tail import expected_shortfall
from mcmargin.policies.policy_parts import Leverage, LeverageTier
from mcmargin.policies.stress_parts import Gap, Stress
from mcmargin.valuing.scenario_market import PathBlock
from tests.helpers.books import book_of
from tests.helpers.euro_market import AS_OF, ITEMS, SPOT, WIDE, market_of
from tests.helpers.models import returns_of, scenarios_of_three

TWENTY = Leverage((LeverageTier(float("inf"), 20.0),))


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three(horizons=(1, 2, 5))


def test_each_product_is_converted_at_its_own_horizon(scenarios):
    """A spot position of five bars and a perpetual of one, in euro: each at its own rate."""
    market = market_of(fx={"EUR": 1.2}, fx_asset={"EUR": "a2"})
    items = [mm.Spot("S", "a0"), mm.Perpetual("P", "a1", basis_volatility=0.0)]
    accounts = [mm.Account("x", "EUR"), mm.Account("y", "EUR")]
    book = book_of([("x", "S", 3.0), ("x", "P", -2.0), ("y", "P", 1.0)], items, accounts=accounts)
    policy = mm.MarginPolicy(horizons={"spot": 5, "perpetual": 1})
    report = mm.margin(book, scenarios, market, policy)
    euro = {bars: 1.2 * (1 + returns_of(scenarios, bars, 2)) for bars in (1, 5)}
    spot = 3 * (100 * (1 + returns_of(scenarios, 5, 0)) / euro[5] - 100 / 1.2)
    perpetual = 50 * ((1 + returns_of(scenarios, 1, 1)) - 1) / euro[1]
    np.testing.assert_allclose(report.profit_and_loss("x"), spot - 2 * perpetual, atol=1e-10)
    np.testing.assert_allclose(report.profit_and_loss("y"), perpetual, atol=1e-10)
    shares = report.positions.query("account == 'x'")["contribution"]
    assert shares.sum() == pytest.approx(report.account("x").expected_shortfall, rel=1e-12)


def test_memory_changes_no_share_of_any_currency(scenarios):
    market = market_of(fx={"EUR": 1.2}, fx_asset={"EUR": "a2"}, coins=("a1",))
    items = [
        mm.Spot("S", "a0"),
        mm.Perpetual("P", "a1"),
        mm.Option("C", "a0", "call", 99, "2021-01-01"),
    ]
    names = [item.name for item in items]
    rng = np.random.default_rng(3)
    rows = [(f"x{n % 6}", names[n // 6], rng.normal()) for n in range(18)]
    codes = ["USD", "EUR", "a1"] * 2
    accounts = [mm.Account(f"x{n}", code) for n, code in enumerate(codes)]
    book = book_of(rows, items, accounts=accounts)
    policy = mm.MarginPolicy(horizons={"option": 2})
    whole = mm.margin(book, scenarios, market, policy)
    parts = mm.margin(book, scenarios, market, policy, memory_limit=300_000)
    pd.testing.assert_frame_equal(parts.positions, whole.positions, check_exact=True)
    pd.testing.assert_frame_equal(parts.figures, whole.figures, check_exact=True)


def test_an_asset_of_the_model_breaks_its_peg_too(scenarios):
    """The coin's own moves, and on 1 - 0.99**5 of the paths 30 % of what they leave."""
    market = market_of(depeg={"a2": mm.Depeg(0.01, 0.3)})
    report = mm.margin(book_of([("x", "usdt", 10.0)], [mm.Spot("usdt", "a2")]), scenarios, market)
    left = (report.profit_and_loss("x") + 12.0) / (12.0 * (1 + returns_of(scenarios, 5, 2)))
    assert set(np.round(left, 9)) == {1.0, 0.7}
    share, expected = (left < 0.9).mean(), 1 - 0.99**5
    assert abs(share - expected) < 4.5 * np.sqrt(expected / 10_000)


def test_an_asset_quoted_in_another_currency(scenarios):
    """50 euro a share: in dollars it moves with the rate, in euro without."""
    market = market_of(quoted={"a1": "EUR"}, fx={"EUR": 1.2}, fx_asset={"EUR": "a2"})
    items = [mm.Spot("euro", "a1", "EUR"), mm.Spot("dollar", "a1", "USD")]
    book = book_of([("x", "euro", 1.0), ("y", "dollar", 1.0)], items)
    report = mm.margin(book, scenarios, market)
    expected = 60 * ((1 + returns_of(scenarios, 5, 1)) * (1 + returns_of(scenarios, 5, 2)) - 1)
    for name in "xy":
        np.testing.assert_allclose(report.profit_and_loss(name), expected, atol=1e-10)
    assert (market.price("a1"), market.price("a1", "USD"), market.worth("a1")) == (50.0, 60.0, 60.0)


def test_accounts_that_count_in_a_coin_quoted_in_another_currency(scenarios):
    """A coin of 50 euro is 60 dollars: figures in coin are those in dollars by 60."""
    euro = {"quoted": {"a1": "EUR"}, "fx": {"EUR": 1.2}, "fx_asset": {"EUR": "a2"}}
    market = market_of(coins=("a1",), **euro)
    items = [mm.Spot("S", "a0"), mm.Spot("coin", "a1", "EUR"), mm.Perpetual("P", "a0")]
    rows = [(name, item, 2.0) for name in "xy" for item in ("S", "coin", "P")]
    balances = pd.DataFrame({"account": ["x", "y"], "asset": ["a1", "a1"], "amount": [3.0, 3.0]})
    book = book_of(
        rows, items, accounts=[mm.Account("x", "a1"), mm.Account("y")], balances=balances
    )
    policy = mm.MarginPolicy(stress=Stress(gaps=(Gap("a0", -0.4),)), leverage=TWENTY)
    report = mm.margin(book, scenarios, market, policy)
    amounts = report.figures.drop(columns="without_entry_price")  # which is a count
    coin, dollar = amounts.select_dtypes("number").to_numpy()
    np.testing.assert_allclose(60 * coin, dollar, rtol=1e-9, atol=1e-9)
    assert report.account("x").equity == pytest.approx(3 + 2 + 200 / 60)
    stressed = mm.stress(book, scenarios, market, policy).accounts.set_index("account")["loss"]
    assert 60 * stressed["x"] == pytest.approx(stressed["y"])
    greeks = mm.greeks_frame(book, market).groupby("account")["delta"].last()
    assert 60 * greeks["x"] == pytest.approx(greeks["y"])


def test_a_price_in_coin_that_is_quoted_in_another_currency(scenarios):
    """a0 in coins of a1 is worth what a0 is, whatever the coin and the euro do."""
    euro = {"quoted": {"a1": "EUR"}, "fx": {"EUR": 1.2}, "fx_asset": {"EUR": "a2"}}
    items = [mm.Spot("plain", "a0"), mm.Spot("in coin", "a0", "a1")]
    book = book_of([("x", "plain", 1.0), ("y", "in coin", 1.0)], items)
    report = mm.margin(book, scenarios, market_of(coins=("a1",), **euro))
    gains = [report.profit_and_loss(name) for name in "xy"]
    np.testing.assert_allclose(*gains, atol=1e-9)


def test_a_perpetual_settled_in_a_stablecoin_that_breaks_its_peg(scenarios):
    """Quoted in the coin, the price rises as the coin falls; the gain is paid in what is left."""
    market = market_of(fx={"USDT": 1.0}, depeg={"USDT": mm.Depeg(0.02, 0.5)})
    perpetual = mm.Perpetual("P", "a0", "USDT", basis_volatility=0.0)
    report = mm.margin(book_of([("x", "P", 1.0)], [perpetual]), scenarios, market)
    block = PathBlock(scenarios, market, scenarios.plan.tiles).at(5)
    coin = block.currency("USDT")
    assert set(np.unique(coin)) == {0.5, 1.0}
    price = 100 * (1 + returns_of(scenarios, 5, 0))
    np.testing.assert_allclose(report.profit_and_loss("x"), (price / coin - 100) * coin, atol=1e-9)


@pytest.mark.parametrize("place", ["spot", "fx"])
def test_a_coin_counts_at_todays_price_wherever_it_stands(scenarios, place):
    terms = {"spot": SPOT | {"coin": 4.0}} if place == "spot" else {"fx": {"coin": 4.0}}
    market = mm.Market(
        **({"as_of": AS_OF, "spot": SPOT, "coins": ("coin",), "plausibility": WIDE} | terms)
    )
    rows, items = [("x", "S", 2.0), ("y", "S", 2.0)], [mm.Spot("S", "a0")]
    accounts = [mm.Account("x", "coin"), mm.Account("y")]
    report = mm.margin(book_of(rows, items, accounts=accounts), scenarios, market)
    coins, dollars = report.figures["margin"]
    assert coins == pytest.approx(dollars / 4.0, rel=1e-12)


def test_many_threads_and_currencies_are_as_one(scenarios):
    codes = [f"C{n}" for n in range(40)]
    market = market_of(fx=dict.fromkeys(codes, 1.1), fx_volatility=dict.fromkeys(codes, 0.1))
    rows = [(f"x{n}", "S", 1.0 + n) for n in range(120)]
    accounts = [mm.Account(f"x{n}", codes[n % 40]) for n in range(120)]
    book = book_of(rows, [mm.Spot("S", "a0")], accounts=accounts)
    expected = mm.margin(book, scenarios, market, threads=1).figures
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for seed in range(3):
            fresh = replace(scenarios)
            found = mm.margin(book, fresh, market, threads=8).figures
            pd.testing.assert_frame_equal(found, expected, check_exact=True, obj=str(seed))
    finally:
        sys.setswitchinterval(interval)


def test_an_account_in_another_currency_has_its_rates_risk(scenarios):
    """A dollar asset in euro: (100 (1 + x)) / (1.2 (1 + y)) - 100 / 1.2, y the rate's own asset."""
    market = market_of(fx={"EUR": 1.2}, fx_asset={"EUR": "a2"})
    book = book_of([("x", "S", 3.0)], ITEMS, accounts=[mm.Account("x", "EUR")])
    report = mm.margin(book, scenarios, market)
    x, y = (returns_of(scenarios, 5, a).astype(float) for a in (0, 2))
    gains = 3 * (100 * (1 + x) / (1.2 * (1 + y)) - 100 / 1.2)
    np.testing.assert_allclose(report.profit_and_loss("x"), gains, atol=1e-10)
    assert report.accounts[0].margin == pytest.approx(expected_shortfall(-gains, level=0.99))
    assert report.accounts[0].gross_exposure == pytest.approx(300 / 1.2)


def test_what_is_settled_by_variation_margin_has_no_rate_risk_on_its_notional(scenarios):
    """A perpetual's dollars of gain turn into euro at the path's rate; its notional does not."""
    market = market_of(fx={"EUR": 1.2}, fx_asset={"EUR": "a2"})
    book = book_of([("x", "Q", 3.0)], ITEMS, accounts=[mm.Account("x", "EUR")])
    x, y = (returns_of(scenarios, 5, a).astype(float) for a in (0, 2))
    found = mm.margin(book, scenarios, market).profit_and_loss("x")
    np.testing.assert_allclose(found, 300 * x / (1.2 * (1 + y)), atol=1e-10)


def test_an_instrument_in_another_currency_moves_with_it(scenarios):
    """Declared: 10 % a year; lognormal of mean 1, and the euro asset's gain on top."""
    market = market_of(fx={"EUR": 1.2}, fx_volatility={"EUR": 0.1}, quoted={"a1": "EUR"})
    report = mm.margin(book_of([("x", "E", 2.0)], ITEMS), scenarios, market)
    moved = 1 + returns_of(scenarios, 5, 1).astype(float)
    rate = (report.profit_and_loss("x") + 2 * 50 * 1.2) / (2 * 50 * moved) / 1.2
    spread = 0.1 * np.sqrt(5 / 365)
    assert abs(np.log(rate).std() / spread - 1) < 4 / np.sqrt(2 * 10_000)
    assert abs(rate.mean() - 1) < 4 * spread / np.sqrt(10_000)


def test_a_stablecoin_breaks_its_peg(scenarios):
    """1 % a bar: over 5 bars 1 - 0.99**5 of the paths, once and for good; 30 % of the value."""
    items = [mm.Spot("usdt", "USDT")]
    market = market_of(fx={"USDT": 1.0}, depeg={"USDT": mm.Depeg(0.01, 0.3)})
    for horizon in (1, 5):
        policy = mm.MarginPolicy(horizon=horizon)
        report = mm.margin(book_of([("x", "usdt", 1000.0)], items), scenarios, market, policy)
        gains = report.profit_and_loss("x")
        assert set(np.round(gains, 9)) == {0.0, -300.0}
        share, expected = (gains < 0).mean(), 1 - 0.99**horizon
        assert abs(share - expected) < 4.5 * np.sqrt(expected / 10_000)


def test_euro_in_a_euro_book_needs_no_rate_risk(scenarios):
    market = market_of(fx={"EUR": 1.2}, quoted={"a1": "EUR"})
    book = book_of([("x", "E", 2.0)], ITEMS, accounts=[mm.Account("x", "EUR")])
    gains = 2 * 50 * returns_of(scenarios, 5, 1).astype(float)
    np.testing.assert_allclose(
        mm.margin(book, scenarios, market).profit_and_loss("x"), gains, atol=1e-10
    )


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({}, r"'x', instrument 'E': the market has no rate of currency 'EUR' in USD"),
        ({"fx": {"EUR": 1.2}}, r"the rate of 'EUR' has no risk.*fx_volatility"),
        ({"fx": {"EUR": 1.2}, "fx_asset": {"EUR": "eurusd"}}, r"the rate of 'EUR' has no risk"),
    ],
)
def test_a_currency_without_rate_or_risk(scenarios, terms, message):
    with pytest.raises(mm.DataError, match=message):
        mm.margin(book_of([("x", "E", 2.0)], ITEMS), scenarios, market_of(**terms))

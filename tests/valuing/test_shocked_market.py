"""The market of given scenarios: the twin of the simulated one, whatever is revalued on it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import QuantLib as ql

import mcmargin as mm
from mcmargin.valuing.instrument_values import value_change
from mcmargin.valuing.scenario_market import PathBlock
from mcmargin.valuing.shocked_market import ShockedMarket
from tests.helpers.models import make_model

AS_OF = np.datetime64("2020-01-01", "ns")
SPOT = {"a0": 100.0, "a1": 50.0, "a2": 1.2}
QUOTES = pd.DataFrame(
    [
        (expiry, k, 0.6 + 0.5 * k * k - 0.1 * k)
        for expiry in ("2020-01-20", "2020-06-01")
        for k in (-0.3, -0.1, 0.0, 0.1, 0.3)
    ],
    columns=["expiry", "log_moneyness", "volatility"],
)
MARKET = mm.Market(
    as_of=AS_OF,
    spot=SPOT,
    volatility={"a0": mm.VolatilitySurface.from_quotes(QUOTES, as_of=AS_OF), "a1": 0.5},
    fx={"EUR": 1.2, "USDT": 1.0},
    fx_asset={"EUR": "a2"},
    rates={"USD": 0.03},
    carry={"a0": 0.04},
)
FUTURE = mm.Future("F", "a0", "2020-03-01", carry=0.1)
ITEMS = [
    mm.Spot("S", "a0"),
    mm.Spot("E", "a1", "EUR"),
    mm.Spot("U", "USDT"),
    mm.Perpetual("P", "a1", funding_rate=1e-4),
    mm.Perpetual("I", "a0", inverse=True, contract_size=10.0),
    mm.Perpetual("W", "a0", price_asset="a1"),
    FUTURE,
    mm.Future("J", "a0", "2020-01-02", inverse=True, contract_size=10.0),
    mm.Option("C", "a0", "call", 105.0, "2020-02-01"),
    mm.Option("G", "a1", "put", 45.0, "2020-03-01", "quote", "EUR"),
    mm.Option("O", "a0", "put", 90.0, "2020-02-01", future=FUTURE),
    mm.Option("X", "a0", "call", 95.0, "2020-01-02", settlement="coin"),
]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_simulated_moves_given_as_scenarios_give_the_simulated_gains(item):
    """200 paths after one bar, read off and given: every instrument gains what it did on them."""
    model = make_model(("gjr", "garch", "egarch"), "t", "t", variance=4e-4)
    scenarios = mm.simulate(model, horizon=1, paths=200, seed=5, precision="double")
    block = PathBlock(scenarios, MARKET, scenarios.plan.tiles)
    paths = block.at(1)
    given = ShockedMarket(
        MARKET,
        block.closes.times[0],
        1,
        200,
        prices={asset: scenarios.returns[0, at] for at, asset in enumerate(model.assets)},
        currencies={},
        volatilities={
            name: lambda years, name=name: paths.volatility_ratio(name, years)
            for name in ("a0", "a1")
        },
        walks={name: paths.walk(name) for name in "PIFJ"},
        closes=block.closes,
    )
    expected = value_change(item, paths)
    # Prices times 1 + x, or plus that times x: a few units in the last place of them. On paths a
    # smile is a table, whose error times the most that vega can be is allowed.
    allowed = 1e-11
    if item.product == "option" and item.underlying == "a0":
        years = 31 / 365
        allowed = MARKET.volatility["a0"].slice(years).error * 110.0 * (years / (2 * np.pi)) ** 0.5
    np.testing.assert_allclose(value_change(item, given), expected, rtol=1e-11, atol=allowed)
    assert np.ptp(np.broadcast_to(expected, 200)) > 0 or item.name == "U"


def market_of(**moves):
    """Instantaneous scenarios of `MARKET`."""
    empty = {name: {} for name in ("prices", "currencies", "volatilities", "walks")}
    return ShockedMarket(MARKET, AS_OF, 0, 3, **(empty | moves))


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_where_nothing_moves_nothing_is_gained(item):
    assert np.abs(value_change(item, market_of())).max() < 1e-12


def test_an_option_by_quantlib():
    """Price -20, 0, +30 %, volatility x 1.5, 0, 0.8: Black's value at each, less today's."""
    ratios = np.array([1.5, 0.0, 0.8])
    moves = np.array([-0.2, 0.0, 0.3])
    given = market_of(prices={"a1": moves}, volatilities={"a1": lambda years: ratios})
    years = 60 / 365
    option = replace(ITEMS[9], currency="USD")
    value = [
        ql.blackFormula(ql.Option.Put, 45.0, 50.0 * (1 + move), 0.5 * ratio * years**0.5)
        for move, ratio in [(0.0, 1.0), *zip(moves, ratios, strict=True)]
    ]
    expected = np.exp(-0.03 * years) * (np.array(value[1:]) - value[0])
    np.testing.assert_allclose(option.gain(given), expected, atol=1e-10)


def test_a_currency_moves_with_its_asset_and_beyond_it():
    """EUR is a2: 1.2 x 0.9 x 0.95; what is quoted in euro is worth that much less."""
    given = market_of(
        prices={"a2": np.array([0.0, -0.1, -0.1])}, currencies={"EUR": np.array([0.0, 0.0, -0.05])}
    )
    expected = 1.2 * np.array([1.0, 0.9, 0.9 * 0.95])
    np.testing.assert_allclose(given.currency("EUR"), expected, rtol=1e-15)
    np.testing.assert_allclose(given.price("USDT", "EUR"), 1.0 / expected, rtol=1e-15)
    quoted = replace(given, market=replace(MARKET, quoted={"a1": "EUR"}))
    np.testing.assert_allclose(value_change(ITEMS[1], quoted), 50.0 * (expected - 1.2), rtol=1e-12)
    # Quoted in dollars and held in euro, it is worth the same dollars.
    np.testing.assert_allclose(value_change(ITEMS[1], given), np.zeros(3), atol=1e-14)
    assert given.currency("USDT").tolist() == [1.0, 1.0, 1.0]
    assert given.moved == {"a2", "EUR"}

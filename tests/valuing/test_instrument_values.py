"""Values of one unit in the market's currency, and gains that are converted into another."""

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.valuing.instrument_values import converted, instrument_values_of, value_change
from mcmargin.valuing.shocked_market import ShockedMarket

AS_OF = np.datetime64("2020-01-01", "ns")
MARKET = mm.Market(as_of=AS_OF, spot={"a0": 100.0}, volatility={"a0": 0.5}, fx={"EUR": 1.25})
ITEMS = [
    mm.Spot("S", "a0", "EUR"),
    mm.Perpetual("P", "a0", "EUR", contract_size=3.0),
    mm.Option("C", "a0", "call", 90.0, "2020-06-01", currency="EUR"),
]
MOVED = ShockedMarket(
    MARKET, AS_OF, 0, 2, {"a0": np.array([0.1, -0.2])}, {"EUR": np.array([0.2, -0.1])}, {}, {}
)


def test_amounts_today_are_in_the_markets_currency():
    """100 dollars are 80 euro; three perpetuals on it are worth nothing, and stand for 300."""
    units = instrument_values_of(ITEMS[:2], MARKET)
    np.testing.assert_allclose(units.value, [100.0, 0.0])
    np.testing.assert_allclose(units.notional, [100.0, 300.0])
    np.testing.assert_allclose(units.exposure, [100.0, 300.0])
    assert instrument_values_of([], MARKET).value.shape == (0,)


def test_a_change_takes_the_currency_along():
    """Spot is worth 110 and 80 dollars, whatever euro it is quoted in; a gain of variation margin
    in euro is worth 1.5 and 1.125 dollars for each."""
    np.testing.assert_allclose(value_change(ITEMS[0], MOVED), [10.0, -20.0], atol=1e-12)
    euro = ITEMS[1].gain(MOVED)
    np.testing.assert_allclose(value_change(ITEMS[1], MOVED), euro * [1.5, 1.125])


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_what_is_converted_back_is_the_gain_in_its_own_currency(item):
    start = instrument_values_of([item], MARKET).value[0]
    back = converted(value_change(item, MOVED), start, MOVED.currency("EUR"), 1.25)
    np.testing.assert_allclose(back, item.gain(MOVED), atol=1e-12)

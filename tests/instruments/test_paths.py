"""Every instrument's gain on a third market, which moves by constants: against closed forms."""

from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.instruments.instruments import Balance
from mcmargin.instruments.paths import Paths

AS_OF, LATER = np.datetime64("2020-01-01", "ns"), np.datetime64("2020-01-11", "ns")
NOW = mm.Market(
    as_of=AS_OF,
    spot={"btc": 100.0, "btc perpetual": 101.0},
    volatility={"btc": 0.5},
    rates={"USD": 0.03},
    carry={"btc": 0.04},
)
UP, RATIO, WALK, YEARS = 1.1, 1.2, 0.3, 10 / 365
"""In ten days the price moves by 10 %, volatility by 20 %, a basis by 0.3 times its volatility."""
PHI = NormalDist().cdf


@dataclass(frozen=True)
class TenDaysLater:
    """All prices are 10 % higher in ten days; nothing else than `Paths` asks for."""

    market: mm.Market
    years: float = YEARS

    def price(self, name, currency):
        return np.full(2, UP * self.market.price(name, currency))

    def gain(self, name, currency):
        return self.price(name, currency) - self.market.price(name, currency)

    def currency(self, code):
        return self.market.worth(code)

    def walk(self, name):
        return np.full(2, WALK)

    def years_left(self, expiry):
        return max(0.0, float((expiry - LATER) / np.timedelta64(365, "D")))

    def settled(self, expiry):
        return self

    def smile(self, underlying, years, moneyness):
        return 0.5

    def volatility_ratio(self, underlying, years):
        return RATIO


def black(forward, strike, volatility, years):
    """Black (1976), a call before discounting."""
    deviation = volatility * sqrt(years)
    d = log(forward / strike) / deviation + deviation / 2
    return forward * PHI(d) - strike * PHI(d - deviation)


def basis(volatility):
    """exp(v W - v^2 t / 2)."""
    return exp(volatility * WALK - volatility**2 * YEARS / 2)


def future(days, now=100.0):
    """S exp(carry T)."""
    return now * exp(0.04 * days / 365)


FUTURE = mm.Future("F", "btc", "2020-03-01", basis_volatility=0.2)
BRIDGE = 0.2 * sqrt(50 / 60)
F_LATER = future(50, 110.0) * basis(BRIDGE)
CASES = [
    (mm.Spot("S", "btc"), 10.0),
    (Balance("B", "btc"), 10.0),
    (mm.Perpetual("P", "btc", basis_volatility=0.2), 110.0 * basis(0.2) - 100.0),
    (
        mm.Perpetual("A", "btc", price_asset="btc perpetual", funding_rate=1e-3),
        10.1 - 1e-3 * 101.0 * 10 * 3,
    ),
    (
        mm.Perpetual("I", "btc", inverse=True, contract_size=1000.0, basis_volatility=0.2),
        1000.0 * 110.0 * (1 / 100.0 - 1 / (110.0 * basis(0.2))),
    ),
    (FUTURE, F_LATER - future(60)),
    (mm.Future("E", "btc", "2020-01-06"), 110.0 - future(5)),
    (
        mm.Future("J", "btc", "2020-03-01", inverse=True, basis_volatility=0.2),
        110.0 * (1 / future(60) - 1 / F_LATER),
    ),
    (
        mm.Option("C", "btc", "call", 105.0, "2020-03-01"),
        exp(-0.03 * 50 / 365) * black(future(50, 110.0), 105.0, 0.6, 50 / 365)
        - exp(-0.03 * 60 / 365) * black(future(60), 105.0, 0.5, 60 / 365),
    ),
    (
        mm.Option("O", "btc", "call", 105.0, "2020-03-01", future=FUTURE),
        exp(-0.03 * 50 / 365) * black(F_LATER, 105.0, 0.6, 50 / 365)
        - exp(-0.03 * 60 / 365) * black(future(60), 105.0, 0.5, 60 / 365),
    ),
    (
        mm.Option("X", "btc", "call", 105.0, "2020-01-06", settlement="coin"),
        5.0 - exp(-0.03 * 5 / 365) * black(future(5), 105.0, 0.5, 5 / 365),
    ),
]


@pytest.mark.parametrize(("item", "expected"), CASES, ids=lambda each: getattr(each, "name", ""))
def test_gains_by_closed_form(item, expected):
    paths: Paths = TenDaysLater(NOW)
    np.testing.assert_allclose(item.gain(paths), np.full(2, expected), rtol=1e-9)

"""The market in scenarios that are given, not simulated.

In: today's market, and moves of prices, currencies and volatilities, one for each scenario. Out:
the market in those scenarios, on which every instrument's `gain` runs as it does on simulated
paths (`mcmargin.instruments.paths`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mcmargin.data.bars import Closes, years_between
from mcmargin.markets.market import Market
from mcmargin.markets.surface import VolatilitySurface

Moves: TypeAlias = NDArray[np.float64]
"""Relative moves, one for each scenario."""


@dataclass(frozen=True, eq=False)
class ShockedMarket:
    """The market in each of some scenarios. What no mapping names does not move.

    Attributes
    ----------
    market : Market
        Of today.
    time : numpy.datetime64
        Time of the scenarios; for instantaneous moves the market's own time.
    horizon : int
        Bars until then.
    count : int
        Number of scenarios.
    prices : mapping of str to ndarray of shape (count,), float64
        Relative move of an asset, above -1.
    currencies : mapping of str to ndarray of shape (count,), float64
        Relative move of a currency, above -1, in addition to that of the asset that is its rate.
    volatilities : mapping of str to callable
        For an underlying, a function from years to expiry to implied volatility over today's,
        [count].
    walks : mapping of str to ndarray of shape (count,), float64
        For an instrument, the number that its basis volatility is multiplied by.
    closes : Closes, optional
        If given, the scenarios stand at the first of these closes.
    """

    market: Market
    time: np.datetime64
    horizon: int
    count: int
    prices: Mapping[str, Moves]
    currencies: Mapping[str, Moves]
    volatilities: Mapping[str, Callable[[float], Moves]]
    walks: Mapping[str, Moves]
    closes: Closes | None = None

    @property
    def years(self) -> float:
        """Time from today until the scenarios, in years of 365 days."""
        return float(years_between(self.market.as_of, self.time))

    def price(self, name: str, currency: str) -> Moves:
        """Price of an asset, or value of a currency, in a currency; float64 [count]."""
        market = self.market
        if name not in market.spot:
            return self.currency(name) / self.currency(currency)
        price = market.price(name) * (1.0 + self._move(name, name))
        quoted = market.quoted.get(name, market.currency)
        if quoted != currency:
            price = price * self.currency(quoted) / self.currency(currency)
        return np.asarray(price)

    def gain(self, name: str, currency: str) -> Moves:
        """Price change of an asset; where nothing else moves, its price times its move."""
        market = self.market
        start = market.price(name, currency)
        if name in market.spot and market.quoted.get(name, market.currency) == currency:
            return start * self._move(name, name)
        return self.price(name, currency) - start

    def currency(self, code: str) -> Moves:
        """Value of one unit of a currency, in the market's; float64 [count]."""
        market = self.market
        asset = code if code in self.prices else market.fx_asset.get(code, code)
        value = market.worth(code) * (1.0 + self._move(asset, code))
        quoted = market.quoted.get(code, market.currency)
        if quoted != market.currency:
            value = value * self.currency(quoted) / market.worth(quoted)
        return value

    @cached_property
    def moved(self) -> frozenset[str]:
        """Assets and currencies whose price or value some scenario moves."""
        rates = {code for code, asset in self.market.fx_asset.items() if asset in self.prices}
        return frozenset({*self.prices, *self.currencies, *rates})

    def walk(self, name: str) -> Moves:
        """The number that a named thing's volatility is multiplied by; float64 [count]."""
        return self.walks.get(name, self._still)

    def years_left(self, expiry: np.datetime64) -> float:
        """Years from the scenarios to an expiry; 0 if it has settled by then."""
        if self.closes is not None:
            return self.closes.years_left(1, expiry)
        return max(0.0, float(years_between(self.time, expiry)))

    def settled(self, expiry: np.datetime64) -> ShockedMarket:
        """The same market: what has expired settles at the prices of the scenario."""
        return self

    def smile(self, underlying: str, years: float, moneyness: Any) -> Any:
        """Today's implied volatility at strike / forward: an array of its shape, or a number."""
        level = self.market.volatility_of(underlying)
        if not isinstance(level, VolatilitySurface):
            return level
        # For so few scenarios the surface itself is read, and no table is made.
        return level.volatility(years, np.log(moneyness))

    def volatility_ratio(self, underlying: str, years: float) -> Any:
        """Implied volatility over today's, for `years` to expiry; float64 [count], or 1."""
        ratio = self.volatilities.get(underlying)
        return 1.0 if ratio is None else ratio(years)

    def _move(self, asset: str, name: str) -> Moves:
        """Move of an asset, compounded with the own move of the currency of that name."""
        price, own = (
            moves.get(each, self._still)
            for moves, each in ((self.prices, asset), (self.currencies, name))
        )
        return price + own + price * own

    @cached_property
    def _still(self) -> Moves:
        return np.zeros(self.count)

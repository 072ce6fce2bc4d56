"""The market in scenarios that are given, not simulated: what instruments are revalued at.

In: today's market and moves of it. Out: the twin of `ScenarioMarket`, whose arrays have one entry
a scenario instead of one a path, so that every instrument's `gain` runs on it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mcmargin.data.bars import Closes, years_between
from mcmargin.instruments.instruments import Future, Instrument
from mcmargin.markets.market import Market
from mcmargin.markets.surface import VolatilitySurface

Moves: TypeAlias = NDArray[np.float64]
"""Relative moves, one a scenario."""


@dataclass(frozen=True, eq=False)
class ShockedMarket:
    """The market in each of some scenarios; what no mapping names stays as it is.

    Attributes
    ----------
    market : Market
        Of today.
    time : numpy.datetime64
        When the scenarios stand: the market's own time for an instantaneous move.
    horizon : int
        Bars until then.
    count : int
        Of scenarios.
    prices : mapping of str to ndarray of shape (count,), float64
        Relative move of an asset, above -1.
    currencies : mapping of str to ndarray of shape (count,), float64
        Relative move of a currency, above -1, beyond that of the asset that is its rate.
    volatilities : mapping of str to callable
        Of an underlying: years to expiry to implied volatility over today's, [count].
    walks : mapping of str to ndarray of shape (count,), float64
        Of an instrument, what its basis volatility is multiplied by; see `basis_walks`.
    closes : Closes, optional
        Where the scenarios stand at the first of these closes: what settles there.
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
        """Time that has passed."""
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
        """Price change of an asset: where nothing else moves, its price x its move."""
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
        """What a named thing's volatility is multiplied by; float64 [count]."""
        return self.walks.get(name, self._still)

    def years_left(self, expiry: np.datetime64) -> float:
        """Years from the scenarios to an expiry; 0 where it has settled by then."""
        if self.closes is not None:
            return self.closes.years_left(1, expiry)
        return max(0.0, float(years_between(self.time, expiry)))

    def settled(self, expiry: np.datetime64) -> ShockedMarket:
        """The same: what expires within the time that passes settles at the scenario's prices."""
        return self

    def smile(self, underlying: str, years: float, moneyness: Any) -> Any:
        """Today's implied volatility at strike / forward: an array of its shape, or a number."""
        level = self.market.volatility_of(underlying)
        if not isinstance(level, VolatilitySurface):
            return level
        # So few scenarios are worth no table: the surface itself.
        return level.volatility(years, np.log(moneyness))

    def volatility_ratio(self, underlying: str, years: float) -> Any:
        """Implied volatility over today's, for `years` to expiry; float64 [count], or 1."""
        ratio = self.volatilities.get(underlying)
        return 1.0 if ratio is None else ratio(years)

    def _move(self, asset: str, name: str) -> Moves:
        """Move of an asset, and the own move of what it is the price or the rate of."""
        price, own = (
            moves.get(each, self._still)
            for moves, each in ((self.prices, asset), (self.currencies, name))
        )
        return price + own + price * own

    @cached_property
    def _still(self) -> Moves:
        return np.zeros(self.count)


def basis_walks(
    instruments: Iterable[Instrument],
    moves: Mapping[str, Moves],
    start: np.datetime64,
    time: np.datetime64,
) -> dict[str, Moves]:
    """Walks under which each contract's price over its spot price is exp(m T) times today's.

    Parameters
    ----------
    instruments : iterable of Instrument
        Of the perpetuals and futures among them, and the futures that options are on; one that
        declares no basis volatility has no basis to move.
    moves : mapping of str to ndarray of shape (scenarios,), float64
        m by underlying, a year of the time T to expiry, which is 0 for perpetuals.
    start, time : numpy.datetime64
        Of the market, and of the scenarios.

    Examples
    --------
    >>> future = Future("F", "btc", "2022-01-01", basis_volatility=0.05)
    >>> now = np.datetime64("2021-01-01")
    >>> basis_walks([future], {"btc": np.array([0.1])}, now, now)["F"].tolist()
    [2.0]
    """
    passed, walks = years_between(start, time), {}
    for item in instruments:
        contract = getattr(item, "future", None) or item
        volatility = getattr(contract, "basis_volatility", 0.0)
        if not volatility or contract.underlying not in moves:
            continue
        left = 0.0
        if isinstance(contract, Future):
            left = max(0.0, years_between(time, contract.expiry))
            # A future's basis fades towards its expiry; one that has settled has none.
            volatility *= math.sqrt(left / (left + passed)) if left else 0.0
        if volatility:
            # Half the variance is what keeps a simulated basis at a mean of 1.
            wanted = moves[contract.underlying] * left + 0.5 * passed * volatility**2
            walks[contract.name] = wanted / volatility
    return walks

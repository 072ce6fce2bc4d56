"""The market in scenarios that are given, not simulated: what instruments are revalued at.

In: today's market and moves of it. Out: the twin of `ScenarioMarket`, whose arrays have one entry
a scenario instead of one a path, so that every instrument's `gain` runs on it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mcmargin.bars import years_between
from mcmargin.instruments import Future, Instrument
from mcmargin.market import Market
from mcmargin.surface import VolatilitySurface

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
    """

    market: Market
    time: np.datetime64
    horizon: int
    count: int
    prices: Mapping[str, Moves]
    currencies: Mapping[str, Moves]
    volatilities: Mapping[str, Callable[[float], Moves]]
    walks: Mapping[str, Moves]

    @property
    def years(self) -> float:
        """Time that has passed."""
        return max(0.0, years_between(self.market.as_of, self.time))

    def price(self, name: str) -> Moves:
        """Price of an asset, or value of a currency; float64 [count]."""
        return self.market.price(name) + self.gain(name)

    def gain(self, name: str) -> Moves:
        """Change of an asset's price, or a currency's value; float64 [count]."""
        return self.market.price(name) * self._move(name)

    def currency(self, code: str) -> Any:
        """Value of one unit of a currency, in the market's; float64 [count], or a number."""
        return self.price(code) if self.moves(code) else self.market.price(code)

    def moves(self, name: str) -> bool:
        """Whether any scenario moves an asset or a currency."""
        return self._asset(name) in self.prices or name in self.currencies

    def walk(self, name: str) -> Moves:
        """What a named thing's volatility is multiplied by; float64 [count]."""
        return self.walks.get(name, self._still)

    def settled(self, expiry: np.datetime64) -> ShockedMarket:
        """The same: what expires within the time that passes settles at the scenario's prices."""
        return self

    def smile(self, underlying: str, years: float, moneyness: Any) -> Any:
        """Today's implied volatility at strike / forward: an array of its shape, or a number."""
        level = self.market.level_of(underlying)
        if not isinstance(level, VolatilitySurface):
            return level
        # So few scenarios are worth no table: the surface itself.
        return level.volatility(years, np.log(moneyness))

    def volatility_ratio(self, underlying: str, years: float) -> Any:
        """Implied volatility over today's, for `years` to expiry; float64 [count], or 1."""
        ratio = self.volatilities.get(underlying)
        return 1.0 if ratio is None else ratio(years)

    def _asset(self, name: str) -> str:
        return name if name in self.prices else self.market.fx_asset.get(name, name)

    def _move(self, name: str) -> Moves:
        asset, own = self.prices.get(self._asset(name)), self.currencies.get(name)
        if asset is None or own is None:
            return next((move for move in (asset, own) if move is not None), self._still)
        return asset + own + asset * own

    @cached_property
    def _still(self) -> Moves:
        return np.zeros(self.count)


def basis_walks(
    instruments: Iterable[Instrument], moves: Mapping[str, Moves], time: np.datetime64
) -> dict[str, Moves]:
    """Walks under which the price of each future is exp(m T) times what it would be.

    Parameters
    ----------
    instruments : iterable of Instrument
        Of the futures among them, and those that options are on; one that declares no basis
        volatility, or has prices of its own, has no basis to move.
    moves : mapping of str to ndarray of shape (scenarios,), float64
        m by underlying, a year of the time to expiry T.
    time : numpy.datetime64
        Of the market, which the moves are instantaneous at.

    Examples
    --------
    >>> future = Future("F", "btc", "2022-01-01", basis_volatility=0.05)
    >>> now = np.datetime64("2021-01-01")
    >>> basis_walks([future], {"btc": np.array([0.1])}, now)["F"].round(4).tolist()
    [2.1034]
    """
    futures = [getattr(item, "future", None) or item for item in instruments]
    walks = {}
    for item in futures:
        if isinstance(item, Future) and item.underlying in moves and item.basis_volatility:
            years = years_between(time, item.expiry)
            walks[item.name] = np.expm1(moves[item.underlying] * years) / item.basis_volatility
    return walks

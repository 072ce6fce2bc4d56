"""What an instrument asks of the market in scenarios, to be valued in all of them at once.

In: nothing; this is a protocol. Out: arrays with one entry for each scenario, or a number where
all scenarios are alike. `mcmargin.valuing.scenario_market` has the market on simulated paths, and
`mcmargin.valuing.shocked_market` that in scenarios which are given.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from mcmargin.markets.market import Market


class Paths(Protocol):
    """The market in each of some scenarios, at one time after today's.

    All arrays are float64 of shape (scenarios,), in one array module: numpy's or cupy's.
    """

    @property
    def market(self) -> Market:
        """The market of today."""

    @property
    def years(self) -> float:
        """Time from today until the scenarios, in years of 365 days."""

    def price(self, name: str, currency: str) -> Any:
        """Price of an asset, or value of a currency, in a currency."""

    def gain(self, name: str, currency: str) -> Any:
        """Change of the same price since today."""

    def currency(self, code: str) -> Any:
        """Value of one unit of a currency in the market's own currency."""

    def walk(self, name: str) -> Any:
        """Brownian motion of a named thing, of variance `years` where it is drawn."""

    def years_left(self, expiry: np.datetime64) -> float:
        """Years from the scenarios to an expiry; 0 if it has settled by then."""

    def settled(self, expiry: np.datetime64) -> Paths:
        """The market at the time at which an expiry settles."""

    def smile(self, underlying: str, years: float, moneyness: Any) -> Any:
        """Today's implied volatility at strike / forward, for `years` to expiry."""

    def volatility_ratio(self, underlying: str, years: float) -> Any:
        """Implied volatility in the scenarios over today's, for `years` to expiry."""

"""Assets that are held outright, and contracts on a price: spot, balances, perpetuals, futures.

In: the market of today, and the market in scenarios. Out: values and gains of one unit; see
`mcmargin.instruments.instruments` for the functions that all instruments have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from mcmargin.data.ranges import (
    CONTRACT_SIZE,
    FUNDING_HOURS,
    FUNDING_RATE,
    PAYABLE_FUNDING_RATE,
    VOLATILITY_OR_NONE,
    YEARLY_RATE,
    growth,
    require_bounded_deviation,
)
from mcmargin.instruments.paths import Paths
from mcmargin.instruments.terms import check_terms, expiry_time, years_left
from mcmargin.markets.market import Market
from mcmargin.numerics.arrays import array_module

HOURS_A_YEAR = 365 * 24.0


@dataclass(frozen=True)
class Spot:
    """One unit of an asset, or of a currency, held outright.

    Attributes
    ----------
    name, underlying, currency : str

    Examples
    --------
    >>> Spot("BTC", "btc").currency
    'USD'
    """

    name: str
    underlying: str
    currency: str = "USD"

    product: ClassVar[str] = "spot"

    def __post_init__(self) -> None:
        check_terms(self)

    def value(self, market: Market) -> float:
        """Price of the underlying.

        Examples
        --------
        >>> import numpy as np
        >>> from mcmargin.markets.market import Market
        >>> market = Market(as_of=np.datetime64("2021-01-04"), spot={"btc": 30_000.0})
        >>> Spot("btc", "btc").value(market)
        30000.0
        """
        return market.price(self.underlying, self.currency)

    def gain(self, paths: Paths) -> Any:
        """Spot price times the simple return."""
        return paths.gain(self.underlying, self.currency)

    def notional(self, market: Market) -> float:
        """Price of the underlying."""
        return market.price(self.underlying, self.currency)

    def exposure(self, market: Market) -> float:
        """Price of the underlying."""
        return market.price(self.underlying, self.currency)


@dataclass(frozen=True)
class Balance(Spot):
    """One unit of an asset or a currency, posted as collateral.

    Its value moves as that of spot does. It is no position: its notional is 0, so that nothing is
    charged for its size.
    """

    def notional(self, market: Market) -> float:
        """0: a balance is no position."""
        return 0.0

    def exposure(self, market: Market) -> float:
        """0: a balance is no position."""
        return 0.0


@dataclass(frozen=True)
class Perpetual:
    """A perpetual future, settled by variation margin.

    A linear contract of size c gains c (P' - P) in the quote currency, where P is its price. An
    inverse contract of size c in the quote currency gains c (1/P - 1/P') coins, each of which is
    worth the spot price S': margins are computed in the quote currency, never in a simulated coin.
    P moves with S and with a basis of its own.

    Attributes
    ----------
    name, underlying, currency : str
    inverse : bool
        Whether the contract is margined in coin.
    contract_size : float
        Units of the underlying; for an inverse contract, units of the quote currency.
    funding_rate : float
        Share of the notional that a long position is expected to pay in each funding interval;
        negative if it receives.
    stressed_funding_rate : float
        Share of the notional that either side may have to pay in each funding interval.
    funding_hours : float
        Length of the funding interval.
    basis_volatility : float
        Annualised volatility of P/S; with 0 the ratio does not move.
    price_asset : str, optional
        Asset of the model whose price is this contract's own. It then has no basis.

    Examples
    --------
    >>> import numpy as np
    >>> from mcmargin.markets.market import Market
    >>> market = Market(as_of=np.datetime64("2021-01-04"), spot={"btc": 40_000.0})
    >>> inverse = Perpetual("BTC-PERP", "btc", inverse=True, contract_size=100.0)
    >>> inverse.price(market)
    40000.0
    """

    name: str
    underlying: str
    currency: str = "USD"
    inverse: bool = False
    contract_size: Annotated[float, CONTRACT_SIZE] = 1.0
    funding_rate: Annotated[float, FUNDING_RATE] = 0.0
    stressed_funding_rate: Annotated[float, PAYABLE_FUNDING_RATE] = 0.0
    funding_hours: Annotated[float, FUNDING_HOURS] = 8.0
    basis_volatility: Annotated[float, VOLATILITY_OR_NONE] = 0.05
    price_asset: str | None = None

    product: ClassVar[str] = "perpetual"

    def __post_init__(self) -> None:
        check_terms(self)

    def value(self, market: Market) -> float:
        """0: gains are paid out as they come."""
        return 0.0

    def price(self, market: Market) -> float:
        """Price today: the contract's own if it has one, otherwise the spot price."""
        return market.price(self.price_asset or self.underlying, self.currency)

    def gain(self, paths: Paths) -> Any:
        """Price gain less expected funding."""
        code = self.currency
        start = self.price(paths.market)
        if self.inverse:
            coin = paths.price(self.underlying, code)
            own = self.price_asset
            price = paths.price(own, code) if own else coin * self._basis(paths)
            gain = coin / start - coin / price
        elif self.price_asset:
            gain = paths.gain(self.price_asset, code)
        else:
            gain = paths.price(self.underlying, code) * self._basis(paths) - start
        return self.contract_size * gain - self.funding(paths.market, paths.years)

    def funding(self, market: Market, years: float, *, stressed: bool = False) -> float:
        """Amount that one long unit is expected to pay over some years.

        With `stressed` it is the amount that a unit on either side may have to pay.
        """
        rate = self.stressed_funding_rate if stressed else self.funding_rate
        return rate * self.notional(market) * years * HOURS_A_YEAR / self.funding_hours

    def _basis(self, paths: Paths) -> Any:
        """(P'/S') / (P/S), lognormal of mean 1."""
        if not self.basis_volatility:
            return 1.0
        require_bounded_deviation(
            self.basis_volatility, paths.years, f"the basis of instrument {self.name!r}"
        )
        return _lognormal(
            self.basis_volatility * paths.walk(self.name), paths.years * self.basis_volatility**2
        )

    def notional(self, market: Market) -> float:
        """Size times price; for an inverse contract, its size."""
        return self.contract_size * (1.0 if self.inverse else self.price(market))

    def exposure(self, market: Market) -> float:
        """The notional; for an inverse contract, its gain for each relative move of spot."""
        if not self.inverse:
            return self.notional(market)
        own = market.price(self.price_asset or self.underlying, self.currency)
        return self.contract_size * market.price(self.underlying, self.currency) / own


@dataclass(frozen=True)
class Future:
    """A dated future, settled by variation margin, and at expiry by the spot price.

    Today F = S exp(carry T). In a scenario F moves with S and with a basis of its own, which fades
    towards expiry as a Brownian bridge does: the standard deviation of ln(F/S) after t of T years
    is v sqrt(t (T - t) / T).

    Attributes
    ----------
    name, underlying, currency : str
    expiry : str, date, datetime, pandas.Timestamp or numpy.datetime64
        In UTC if it has no zone. A date alone means its midnight.
    carry : float, optional
        ln(F/S) a year, continuously compounded; by default the market's for the underlying.
    inverse : bool
    contract_size : float
        As in `Perpetual`.
    basis_volatility : float
        v, annualised; with 0 the basis does not move.
    price_asset : str, optional
        Asset of the model whose price is this contract's own. It then has no basis.
    """

    name: str
    underlying: str
    expiry: Any
    currency: str = "USD"
    carry: Annotated[float, YEARLY_RATE] | None = None
    inverse: bool = False
    contract_size: Annotated[float, CONTRACT_SIZE] = 1.0
    basis_volatility: Annotated[float, VOLATILITY_OR_NONE] = 0.05
    price_asset: str | None = None

    product: ClassVar[str] = "future"

    def __post_init__(self) -> None:
        check_terms(self)
        object.__setattr__(self, "expiry", expiry_time(self.name, self.expiry))

    def value(self, market: Market) -> float:
        """0: gains are paid out as they come."""
        return 0.0

    def price(self, market: Market) -> float:
        """Futures price today.

        Raises
        ------
        DataError
            If the contract has expired.

        Examples
        --------
        >>> import numpy as np
        >>> from mcmargin.markets.market import Market
        >>> market = Market(as_of=np.datetime64("2021-01-01"), spot={"btc": 30_000.0})
        >>> round(Future("F", "btc", "2022-01-01", carry=0.1).price(market), 2)
        33155.13
        """
        years = years_left(self.name, self.expiry, market)
        if self.price_asset:
            return market.price(self.price_asset, self.currency)
        spot = market.price(self.underlying, self.currency)
        return spot * growth(self.carry_rate(market), years, f"instrument {self.name!r}")

    def price_on(self, paths: Paths) -> Any:
        """Futures price in every scenario; after expiry, the spot price at which it settled."""
        years = paths.years_left(self.expiry)
        if years <= 0.0:
            return paths.settled(self.expiry).price(self.underlying, self.currency)
        if self.price_asset:
            return paths.price(self.price_asset, self.currency)
        spot = paths.price(self.underlying, self.currency)
        spot = spot * growth(self.carry_rate(paths.market), years, f"instrument {self.name!r}")
        if not self.basis_volatility:
            return spot
        volatility = self.basis_volatility * math.sqrt(years / (years + paths.years))
        require_bounded_deviation(volatility, paths.years, f"the basis of instrument {self.name!r}")
        return spot * _lognormal(volatility * paths.walk(self.name), paths.years * volatility**2)

    def gain(self, paths: Paths) -> Any:
        """Price gain; an inverse contract's gain stays in coins until the horizon."""
        start, price = self.price(paths.market), self.price_on(paths)
        if self.inverse:
            coin = paths.price(self.underlying, self.currency)
            return self.contract_size * coin * (1.0 / start - 1.0 / price)
        return self.contract_size * (price - start)

    def carry_rate(self, market: Market) -> float:
        """The future's own carry, or the market's for the underlying."""
        return market.carry.get(self.underlying, 0.0) if self.carry is None else self.carry

    def notional(self, market: Market) -> float:
        """Size times price; for an inverse contract, its size."""
        return self.contract_size * (1.0 if self.inverse else self.price(market))

    def exposure(self, market: Market) -> float:
        """The notional; for an inverse contract, its gain for each relative move of spot."""
        if not self.inverse:
            return self.notional(market)
        return (
            self.contract_size * market.price(self.underlying, self.currency) / self.price(market)
        )


def _lognormal(deviation: Any, variance: float) -> Any:
    """exp(deviation - variance / 2): its mean is 1 if the deviation is normal of that variance."""
    return array_module(deviation).exp(deviation - 0.5 * variance)

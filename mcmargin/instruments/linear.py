"""What is held outright, and contracts on a price: spot, balances, perpetuals and futures.

In: the market of today, and that of each path. Out: values and gains of one unit; see
`mcmargin.instruments.instruments` for the functions that all instruments have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

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
from mcmargin.instruments.terms import check_terms, expiry_time, refuse_coin, years_left
from mcmargin.numerics.arrays import array_module

if TYPE_CHECKING:
    from mcmargin.markets.market import Market
    from mcmargin.valuing.scenario_market import ScenarioMarket
    from mcmargin.valuing.shocked_market import ShockedMarket

    Paths: TypeAlias = ScenarioMarket | ShockedMarket

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
        """Spot price x simple return."""
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

    It moves as spot does, and is no position: with no notional, nothing is charged by its size.
    """

    def notional(self, market: Market) -> float:
        """Nothing: it is no position."""
        return 0.0

    def exposure(self, market: Market) -> float:
        """Nothing: it is no position."""
        return 0.0


@dataclass(frozen=True)
class Perpetual:
    """A perpetual future, settled by variation margin.

    A linear contract of size c gains c (P' - P) in quote currency. An inverse one, of size c in
    quote currency, gains c (1/P - 1/P') coins, which are worth S' each: margins are taken in quote
    currency, never in a simulated coin. P moves with the spot price S and a basis of its own.

    Attributes
    ----------
    name, underlying, currency : str
    inverse : bool
        Margined in coin.
    contract_size : float
        Units of the underlying; of an inverse contract, units of quote currency.
    funding_rate : float
        Expected share of notional that a long pays each interval; negative where it receives.
    stressed_funding_rate : float
        Share of notional that the paying side, whichever it is, may have to pay each interval.
    funding_hours : float
        Length of the interval.
    basis_volatility : float
        Annualised volatility of P/S, drawn from the stream; 0 for none.
    price_asset : str, optional
        Asset of the model whose price is this contract's own; then no basis is drawn.

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
        refuse_coin(self)

    def value(self, market: Market) -> float:
        """Nothing: gains are paid out as they come."""
        return 0.0

    def price(self, market: Market) -> float:
        """Price today: the contract's own where it has one, else spot."""
        return market.price(self.price_asset or self.underlying, self.currency)

    def gain(self, paths: Paths) -> Any:
        """Price gain less expected funding, on every path."""
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
        """Amount that one long unit is expected to pay over some years; stressed, either side."""
        rate = self.stressed_funding_rate if stressed else self.funding_rate
        return rate * self.notional(market) * years * HOURS_A_YEAR / self.funding_hours

    def _basis(self, paths: Paths) -> Any:
        """P'/S' over P/S: lognormal, of mean 1."""
        if not self.basis_volatility:
            return 1.0
        require_bounded_deviation(
            self.basis_volatility, paths.years, f"the basis of instrument {self.name!r}"
        )
        return _lognormal(
            self.basis_volatility * paths.walk(self.name), paths.years * self.basis_volatility**2
        )

    def notional(self, market: Market) -> float:
        """Size x price; of an inverse contract, its size."""
        return self.contract_size * (1.0 if self.inverse else self.price(market))

    def exposure(self, market: Market) -> float:
        """The notional; of an inverse contract, what it gains a relative move of spot."""
        if not self.inverse:
            return self.notional(market)
        own = market.price(self.price_asset or self.underlying, self.currency)
        return self.contract_size * market.price(self.underlying, self.currency) / own


@dataclass(frozen=True)
class Future:
    """A dated future, settled by variation margin and at expiry by the spot price.

    F = S exp(carry T), on every path with a basis of its own, which fades towards expiry as that
    of a bridge does: its standard deviation after t of T years is v sqrt(t (T - t) / T).

    Attributes
    ----------
    name, underlying, currency : str
    expiry : str, date, datetime, pandas.Timestamp or numpy.datetime64
        UTC where it has no zone; a date alone means its midnight.
    carry : float, optional
        Continuously compounded, a year; the market's for the underlying where none is given.
    inverse : bool
    contract_size : float
        As of `Perpetual`.
    basis_volatility : float
        v, annualised; 0 for none.
    price_asset : str, optional
        Asset of the model whose price is this contract's own; then no basis is drawn.
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
        refuse_coin(self)

    def value(self, market: Market) -> float:
        """Nothing: gains are paid out as they come."""
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
        years = years_left(self, market)
        if self.price_asset:
            return market.price(self.price_asset, self.currency)
        spot = market.price(self.underlying, self.currency)
        return spot * growth(self.carry_rate(market), years, f"instrument {self.name!r}")

    def price_on(self, paths: Paths) -> Any:
        """Futures price on every path; after expiry, the spot price that it settled at."""
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
        """Price gain on every path; coins of an inverse contract are kept to the horizon."""
        start, price = self.price(paths.market), self.price_on(paths)
        if self.inverse:
            coin = paths.price(self.underlying, self.currency)
            return self.contract_size * coin * (1.0 / start - 1.0 / price)
        return self.contract_size * (price - start)

    def carry_rate(self, market: Market) -> float:
        """Its own carry, or the market's for the underlying."""
        return market.carry.get(self.underlying, 0.0) if self.carry is None else self.carry

    def notional(self, market: Market) -> float:
        """Size x price; of an inverse contract, its size."""
        return self.contract_size * (1.0 if self.inverse else self.price(market))

    def exposure(self, market: Market) -> float:
        """The notional; of an inverse contract, what it gains a relative move of spot."""
        if not self.inverse:
            return self.notional(market)
        return (
            self.contract_size * market.price(self.underlying, self.currency) / self.price(market)
        )


def _lognormal(deviation: Any, variance: float) -> Any:
    """exp(deviation - variance / 2), of mean 1 for a normal deviation of that variance."""
    return array_module(deviation).exp(deviation - 0.5 * variance)

"""Instruments: what one unit of each is worth today and gains on every path.

In: the market of today, and that of each path at a horizon. Out: amounts in the instrument's own
currency, float64, a gain positive. Each instrument is a small value with the same four functions:

value(market)            what a holder owns: 0 for what is settled by variation margin
gain(paths)              value change of one unit on every path, cash received included
notional(market)         the amount of underlying that one unit stands for, at today's price
exposure(market)         the same times its sensitivity: what one unit moves like
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from mcmargin.data.bars import utc_time, years_between
from mcmargin.engines.arrays import array_module
from mcmargin.errors import DataError
from mcmargin.valuing.black import black76_greeks, black76_point, black76_values

if TYPE_CHECKING:
    from mcmargin.markets.market import Market
    from mcmargin.valuing.scenario_market import ScenarioMarket
    from mcmargin.valuing.shocked_market import ShockedMarket

    Paths: TypeAlias = ScenarioMarket | ShockedMarket

HOURS_A_YEAR = 365 * 24.0
KINDS = ("call", "put")
SETTLEMENTS = ("quote", "coin")


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

    def value(self, market: Market) -> float:
        """Price of the underlying.

        Examples
        --------
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
    contract_size: float = 1.0
    funding_rate: float = 0.0
    stressed_funding_rate: float = 0.0
    funding_hours: float = 8.0
    basis_volatility: float = 0.05
    price_asset: str | None = None

    product: ClassVar[str] = "perpetual"

    def __post_init__(self) -> None:
        _require_positive(self, "contract_size", "funding_hours")
        _require_not_negative(self, "basis_volatility", "stressed_funding_rate")
        _require_finite(self, "funding_rate")
        _refuse_coin(self)

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
    expiry : str or numpy.datetime64
        UTC; a date alone means its midnight.
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
    carry: float | None = None
    inverse: bool = False
    contract_size: float = 1.0
    basis_volatility: float = 0.05
    price_asset: str | None = None

    product: ClassVar[str] = "future"

    def __post_init__(self) -> None:
        object.__setattr__(self, "expiry", _time(self.name, self.expiry))
        _require_positive(self, "contract_size")
        _require_not_negative(self, "basis_volatility")
        if self.carry is not None:
            _require_finite(self, "carry")
        _refuse_coin(self)

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
        >>> from mcmargin.markets.market import Market
        >>> market = Market(as_of=np.datetime64("2021-01-01"), spot={"btc": 30_000.0})
        >>> round(Future("F", "btc", "2022-01-01", carry=0.1).price(market), 2)
        33155.13
        """
        years = _years_left(self, market)
        if self.price_asset:
            return market.price(self.price_asset, self.currency)
        spot = market.price(self.underlying, self.currency)
        return spot * math.exp(self.carry_rate(market) * years)

    def price_on(self, paths: Paths) -> Any:
        """Futures price on every path; after expiry, the spot price that it settled at."""
        years = years_between(paths.time, self.expiry)
        if years <= 0.0:
            return paths.settled(self.expiry).price(self.underlying, self.currency)
        if self.price_asset:
            return paths.price(self.price_asset, self.currency)
        spot = paths.price(self.underlying, self.currency)
        spot = spot * math.exp(self.carry_rate(paths.market) * years)
        if not self.basis_volatility:
            return spot
        volatility = self.basis_volatility * math.sqrt(years / (years + paths.years))
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


@dataclass(frozen=True)
class Option:
    """A European option on spot, or on a future, revalued in full by Black (1976).

    Its value is exp(-r T) times Black's of F = S exp(carry T), or of the future's price. On a path
    the smile keeps its shape in moneyness, time has passed, and its volatility is that of the
    market times the root of the path's expected average variance to expiry over today's.

    Attributes
    ----------
    name, underlying, currency : str
    kind : str
        `call` or `put`.
    strike : float
    expiry : str or numpy.datetime64
        UTC; a date alone means its midnight.
    settlement : str
        `quote`, or `coin`: a pay-off inside the horizon then stays coin until its end.
    contract_size : float
    future : Future, optional
        The underlying, in place of spot.

    Examples
    --------
    >>> from mcmargin.markets.market import Market
    >>> market = Market(
    ...     as_of=np.datetime64("2021-01-04"), spot={"btc": 40_000.0}, volatility={"btc": 0.8}
    ... )
    >>> call = Option("C", "btc", kind="call", strike=45_000.0, expiry=np.datetime64("2021-03-26"))
    >>> round(call.value(market), 2)
    4155.82
    """

    name: str
    underlying: str
    kind: str
    strike: float
    expiry: Any
    settlement: str = "quote"
    currency: str = "USD"
    contract_size: float = 1.0
    future: Future | None = None

    product: ClassVar[str] = "option"

    def __post_init__(self) -> None:
        object.__setattr__(self, "expiry", _time(self.name, self.expiry))
        _require_positive(self, "contract_size", "strike")
        for field, allowed in (("kind", KINDS), ("settlement", SETTLEMENTS)):
            if getattr(self, field) not in allowed:
                raise DataError(
                    f"instrument {self.name!r}: {field} {getattr(self, field)!r} is unknown; "
                    f"give one of {allowed}"
                )
        if self.future is not None and self.future.underlying != self.underlying:
            raise DataError(
                f"instrument {self.name!r}: its future {self.future.name!r} has the underlying "
                f"{self.future.underlying!r}, not {self.underlying!r}"
            )
        if self.future is not None and self.future.expiry < self.expiry:
            raise DataError(
                f"instrument {self.name!r} expires at {self.expiry.astype('M8[s]')}, after its "
                f"future {self.future.name!r} at {self.future.expiry.astype('M8[s]')}"
            )

    @property
    def _sign(self) -> float:
        return 1.0 if self.kind == "call" else -1.0

    def value(self, market: Market) -> float:
        """Value of one unit today, discounted; see `greeks`."""
        forward, years, volatility = self._today(market)
        value, _ = black76_point(forward, self.strike, volatility, years, self._sign)
        return self.contract_size * value * market.discount(self.currency, years)

    def greeks(self, market: Market) -> dict[str, float]:
        """Value, delta, gamma, vega and theta of one unit.

        delta and gamma are by the spot price at a volatility that stays, vega per 1.00 of
        volatility, theta per calendar day.

        Examples
        --------
        >>> from mcmargin.markets.market import Market
        >>> market = Market(
        ...     as_of=np.datetime64("2021-01-01"), spot={"btc": 100.0}, volatility={"btc": 0.5}
        ... )
        >>> greeks = Option("C", "btc", "call", 100.0, "2022-01-01").greeks(market)
        >>> round(greeks["value"], 4), round(greeks["delta"], 4)
        (19.7413, 0.5987)
        """
        forward, years, volatility = self._today(market)
        black = black76_greeks(forward, self.strike, volatility, years, self.kind)
        spot = market.price(self.underlying, self.currency)
        discount, rate = market.discount(self.currency, years), market.rate(self.currency)
        slope = forward / spot
        if self.future is None:
            carry = market.carry.get(self.underlying, 0.0)
        else:
            own = self.future.price_asset is None
            carry = self.future.carry_rate(market) if own else 0.0
        size = self.contract_size * discount
        value = float(black.value)
        # The forward moves to the spot price, and the discount to 1, as time passes.
        theta = float(black.theta) - float(black.delta) * forward * carry / 365.0
        return {
            "value": size * value,
            "delta": size * float(black.delta) * slope,
            "gamma": size * float(black.gamma) * slope**2,
            "vega": size * float(black.vega),
            "theta": size * (theta + rate * value / 365.0),
        }

    def gain(self, paths: Paths) -> Any:
        """Value change on every path, or pay-off less today's value, kept to the horizon."""
        years = years_between(paths.time, self.expiry)
        if years <= 0.0:
            value = self._pay_off(paths)
        else:
            value = self.contract_size * self._black(paths, years)
            value *= paths.market.discount(self.currency, years)
        value -= self.value(paths.market)
        return value

    def _black(self, paths: Paths, years: float) -> Any:
        forward = self._forward_on(paths, years)
        volatility = paths.smile(self.underlying, years, self.strike / forward)
        volatility = volatility * paths.volatility_ratio(self.underlying, years)
        return black76_values(forward, self.strike, volatility, years**0.5, self._sign)

    def _forward_on(self, paths: Paths, years: float) -> Any:
        if self.future is not None:
            return self.future.price_on(paths)
        carry = paths.market.carry.get(self.underlying, 0.0)
        return paths.price(self.underlying, self.currency) * math.exp(carry * years)

    def _pay_off(self, paths: Paths) -> Any:
        at_expiry = paths.settled(self.expiry)
        price = self._forward_on(at_expiry, 0.0)
        paid = self.contract_size * (self._sign * (price - self.strike)).clip(0.0, None)
        if self.settlement == "coin":
            code = self.currency
            paid *= paths.price(self.underlying, code) / at_expiry.price(self.underlying, code)
        return paid

    def _today(self, market: Market) -> tuple[float, float, float]:
        """Forward, years to expiry, and volatility at the strike."""
        years = _years_left(self, market)
        if self.future is not None:
            forward = self.future.price(market)
        else:
            carry = market.carry.get(self.underlying, 0.0)
            forward = market.price(self.underlying, self.currency) * math.exp(carry * years)
        return forward, years, market.volatility_at(self.underlying, years, self.strike / forward)

    def notional(self, market: Market) -> float:
        """Size x price of the underlying."""
        return self.contract_size * market.price(self.underlying, self.currency)

    def exposure(self, market: Market) -> float:
        """Delta x price of the underlying."""
        forward, years, volatility = self._today(market)
        _, delta = black76_point(forward, self.strike, volatility, years, self._sign)
        return self.contract_size * delta * forward * market.discount(self.currency, years)


Instrument: TypeAlias = Spot | Perpetual | Future | Option


def assets_of(instrument: Instrument) -> tuple[str, ...]:
    """Names of all prices that an instrument's value hangs on."""
    own = getattr(instrument, "price_asset", None)
    future = getattr(instrument, "future", None)
    names = [instrument.underlying, own, getattr(future, "price_asset", None)]
    return tuple(dict.fromkeys(name for name in names if name is not None))


def _years_left(instrument: Future | Option, market: Market) -> float:
    years: float = years_between(market.as_of, instrument.expiry)
    if years <= 0.0:
        raise DataError(
            f"instrument {instrument.name!r} expired at {instrument.expiry.astype('M8[s]')}, and "
            f"the market is of {market.as_of.astype('M8[s]')}; take it out of the book"
        )
    return years


def _time(name: str, expiry: Any) -> np.datetime64:
    try:
        return utc_time(expiry)
    except ValueError:
        raise DataError(
            f"instrument {name!r}: expiry {expiry!r} is not an ISO time between 1678 and 2261"
        ) from None


def _lognormal(deviation: Any, variance: float) -> Any:
    """exp(deviation - variance / 2), of mean 1 for a normal deviation of that variance."""
    return array_module(deviation).exp(deviation - 0.5 * variance)


def _refuse_coin(instrument: Perpetual | Future) -> None:
    if instrument.inverse and instrument.currency == instrument.underlying:
        raise DataError(
            f"instrument {instrument.name!r}: an inverse contract's currency is the one it is "
            f"quoted in, as USD, not its coin {instrument.currency!r}"
        )


def _number(instrument: Any, field: str) -> float:
    value = getattr(instrument, field)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise DataError(f"instrument {instrument.name!r}: {field} must be a number, not {value!r}")
    object.__setattr__(instrument, field, float(value))
    return float(value)


def _require_finite(instrument: Any, *fields: str) -> None:
    for field in fields:
        _number(instrument, field)


def _require_positive(instrument: Any, *fields: str) -> None:
    for field in fields:
        if not (value := _number(instrument, field)) > 0:
            raise DataError(f"instrument {instrument.name!r}: {field} must be above 0, not {value}")


def _require_not_negative(instrument: Any, *fields: str) -> None:
    for field in fields:
        if not (value := _number(instrument, field)) >= 0:
            raise DataError(f"instrument {instrument.name!r}: {field} must be 0 or more: {value}")

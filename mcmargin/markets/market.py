"""Market: prices, rates and volatilities at one moment.

In: an as-of time, and what instruments are valued at. Out: a checked, frozen value. Currencies are
counted in the market's own, the quote currency of every spot price.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

import numpy as np

from mcmargin.audit import fingerprint as digest
from mcmargin.audit import plain
from mcmargin.checks import cited, plain_time, require_type
from mcmargin.data.plausibility import Plausibility, way_to_widen
from mcmargin.data.ranges import (
    OPEN_INTEREST,
    PRICE,
    VOLATILITY,
    VOLATILITY_OR_NONE,
    YEARLY_RATE,
    declared_ranges,
    growth,
    within,
)
from mcmargin.data.times import utc_time
from mcmargin.errors import DataError
from mcmargin.markets.market_parts import Depeg, InstrumentLiquidity
from mcmargin.markets.surface import VolatilitySurface


@dataclass(frozen=True, eq=False)
class Market:
    """Prices, rates and volatilities at one moment.

    Attributes
    ----------
    as_of : numpy.datetime64
        When prices held. Any time that `mcmargin.data.times.utc_time` reads may be given: text, a
        date, a datetime, a Timestamp; UTC where it has no zone.
    spot : mapping of str to float
        Price of one unit of each asset, above 0.
    volatility : mapping of str to float or VolatilitySurface
        Implied volatility of each underlying of options, a year.
    fx : mapping of str to float
        Value of one unit of each other currency, in `currency`.
    currency : str
        What fx, and prices that `quoted` does not name, are counted in.
    quoted : mapping of str to str
        Currency of an asset's price, where it is another.
    coins : tuple of str
        Currencies of accounts that are coins: their margin is taken in `currency` and converted at
        today's price, never on a path.
    rates : mapping of str to float
        Continuously compounded interest of each currency, a year; 0 where none is given.
    carry : mapping of str to float
        ln(F/S) a year of each underlying; 0 where none is given.
    vol_of_vol : mapping of str to float
        Annualised volatility of implied volatility, for underlyings that the model gives a
        constant one.
    volatility_asset : mapping of str to str
        Asset of the model (VIX for the S&P 500) whose moves drive an underlying's surface.
    fx_asset : mapping of str to str
        Asset of the model that is a currency's rate.
    fx_volatility : mapping of str to float
        Annualised volatility of a currency's rate that the model lacks.
    depeg : mapping of str to Depeg
        Jumps of stablecoins, by currency.
    liquidity : mapping of str to InstrumentLiquidity
        By instrument.
    open_interest : mapping of str to float
        Notional of all that is open in an underlying, in `currency`.
    plausibility : Plausibility
        Limits beyond which this market is refused, by itself or beside a model.

    Raises
    ------
    DataError
        If the time is none, a number is not finite or out of its range, or figures are not
        plausible or contradict each other.

    Examples
    --------
    >>> market = Market(as_of=np.datetime64("2021-01-04"), spot={"btc": 32_000.0}, fx={"EUR": 1.2})
    >>> market.price("btc"), market.price("EUR")
    (32000.0, 1.2)
    """

    as_of: np.datetime64
    spot: Mapping[str, Annotated[float, PRICE]]
    volatility: Mapping[str, Annotated[float, VOLATILITY] | VolatilitySurface] = field(
        default_factory=dict
    )
    fx: Mapping[str, Annotated[float, PRICE]] = field(default_factory=dict)
    currency: str = "USD"
    quoted: Mapping[str, str] = field(default_factory=dict)
    coins: tuple[str, ...] = ()
    rates: Mapping[str, Annotated[float, YEARLY_RATE]] = field(default_factory=dict)
    carry: Mapping[str, Annotated[float, YEARLY_RATE]] = field(default_factory=dict)
    vol_of_vol: Mapping[str, Annotated[float, VOLATILITY_OR_NONE]] = field(default_factory=dict)
    volatility_asset: Mapping[str, str] = field(default_factory=dict)
    fx_asset: Mapping[str, str] = field(default_factory=dict)
    fx_volatility: Mapping[str, Annotated[float, VOLATILITY_OR_NONE]] = field(default_factory=dict)
    depeg: Mapping[str, Depeg] = field(default_factory=dict)
    liquidity: Mapping[str, InstrumentLiquidity] = field(default_factory=dict)
    open_interest: Mapping[str, Annotated[float, OPEN_INTEREST]] = field(default_factory=dict)
    plausibility: Plausibility = field(default_factory=Plausibility)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "as_of", utc_time(self.as_of))
        except ValueError as error:
            raise DataError(f"market: as_of: {error}") from None
        _check_types(self)
        for code in self.fx:
            if code in self.spot:
                raise DataError(
                    f"market: {code!r} stands in spot and in fx; give it in one of them"
                )
        for asset, code in self.quoted.items():
            if asset not in self.spot or code not in (self.currency, *self.fx):
                raise DataError(
                    f"market: {asset!r} quoted in {code!r}: the asset belongs in spot, and the "
                    "currency in fx"
                )
        for code, asset in self.fx_asset.items():
            if self.quoted.get(asset, self.currency) != self.currency:
                raise DataError(
                    f"market: the rate of {code!r} is asset {asset!r}, which is quoted in "
                    f"{self.quoted[asset]!r}; a rate is in the market's currency, {self.currency}"
                )
        for name in self.depeg:
            if name == self.currency or name not in (*self.fx, *self.spot):
                raise DataError(
                    f"market: depeg of {name!r}: give its price in fx or spot; what prices are "
                    "counted in cannot lose its peg"
                )
        for code in self.coins:
            if code not in (*self.fx, *self.spot):
                raise DataError(f"market: the coin {code!r} has no price; give it in spot or fx")
        require_type("plausibility", self.plausibility, Plausibility)
        _require_plausible(self)

    def price(self, name: str, currency: str | None = None) -> float:
        """Price of an asset, or value of a currency.

        Parameters
        ----------
        name : str
        currency : str, optional
            What it is counted in; an asset's own quote currency, or else the market's, by default.

        Raises
        ------
        DataError
            If the market has neither, or no rate between the currencies.
        """
        quoted = self.quoted.get(name, self.currency)
        if name == self.currency:
            price = 1.0
        elif name in self.spot:
            price = float(self.spot[name])
        elif name in self.fx:
            price = float(self.fx[name])
        else:
            raise DataError(f"the market has no price of {name!r}; give it in spot or fx")
        if currency is None or currency == quoted:
            return price
        return price * self.worth(quoted) / self.worth(currency)

    def worth(self, currency: str) -> float:
        """Value of one unit of a currency or coin in the market's currency; errors as `price`.

        Examples
        --------
        >>> euro = {"fx": {"EUR": 1.25}, "quoted": {"btc": "EUR"}}
        >>> market = Market(as_of=np.datetime64("2021-01-04"), spot={"btc": 100.0}, **euro)
        >>> market.price("btc"), market.worth("btc")
        (100.0, 125.0)
        """
        return self.price(currency, self.currency)

    def rate(self, currency: str) -> float:
        """Interest of a currency; 0 where none is given."""
        return float(self.rates.get(currency, 0.0))

    def discount(self, currency: str, years: float) -> float:
        """exp(-rate x years); DataError where that is beyond exp(100) either way."""
        return growth(-self.rate(currency), years, f"the discount of {currency!r}")

    def volatility_of(self, underlying: str) -> float | VolatilitySurface:
        """Implied volatility of an underlying.

        Raises
        ------
        DataError
            If it has none.
        """
        volatility = self.volatility.get(underlying)
        if volatility is None:
            raise DataError(
                f"the market has no volatility of {underlying!r}; options on it need one"
            )
        return volatility if isinstance(volatility, VolatilitySurface) else float(volatility)

    def volatility_at(self, underlying: str, years: float, moneyness: float) -> float:
        """Implied volatility at one time to expiry and one strike / forward."""
        given = self.volatility_of(underlying)
        if isinstance(given, VolatilitySurface):
            return float(given.volatility(years, math.log(moneyness)))
        return given

    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of everything that is given, in one form for any types."""
        parts: list[Any] = [str(self.as_of.astype("datetime64[ns]"))]
        for each in fields(self)[1:]:
            content = getattr(self, each.name)
            # What is not given leaves no trace.
            if isinstance(content, Mapping) and content:
                parts.append((each.name, tuple(map(_plain, sorted(content.items())))))
        if self.currency != "USD":
            parts.append(("currency", self.currency))
        if self.coins:
            parts.append(("coins", tuple(sorted(self.coins))))
        if widened := self.plausibility.widened():
            parts.append(("plausibility", tuple(sorted(widened.items()))))
        return digest(*parts)


def _plain(entry: tuple[str, Any]) -> tuple[Any, ...]:
    name, content = entry
    if isinstance(content, VolatilitySurface):
        return name, content.fingerprint()
    if isinstance(content, (Depeg, InstrumentLiquidity)):
        return name, plain(content)
    return name, content if isinstance(content, str) else float(content)


_NAMES = {"spot": "price", "fx": "fx rate", "rates": "rate"}
"""What an entry of a table is called, where it is not as the table."""

_ENTRIES: dict[str, type] = {"depeg": Depeg, "liquidity": InstrumentLiquidity}
_WORDS = ("quoted", "volatility_asset", "fx_asset")


def _check_types(market: Market) -> None:
    """Refuse what is of another type or out of its range; numbers are kept as plain floats."""
    if not isinstance(market.currency, str) or not market.currency:
        raise DataError(f"market: currency must be text, not {cited(market.currency)}")
    if isinstance(market.coins, str) or not isinstance(market.coins, (tuple, list)):
        raise DataError(
            f"market: coins must be a tuple of currencies, such as ('BTC',), not "
            f"{cited(market.coins)}"
        )
    object.__setattr__(market, "coins", tuple(market.coins))
    for code in market.coins:
        if not isinstance(code, str):
            raise DataError(f"market: a coin must be a currency's name, not {cited(code)}")
    ranges = declared_ranges(Market)
    for name in (each.name for each in fields(market)):
        if name not in (*ranges, *_ENTRIES, *_WORDS):
            continue
        given = getattr(market, name)
        if not isinstance(given, Mapping):
            raise DataError(f"market: {name} must map names to values, not {cited(given)}")
        for key in given:
            if not isinstance(key, str):
                raise DataError(f"market: {name}: a name must be text, not {cited(key)}")
        if name in ranges:
            numbers = {
                key: entry
                if isinstance(entry, VolatilitySurface)
                else within(f"market: the {_NAMES.get(name, name)} of {key!r}", entry, ranges[name])
                for key, entry in given.items()
            }
            object.__setattr__(market, name, numbers)
        for key, entry in given.items():
            if name in _ENTRIES:
                require_type(f"market: {name} of {key!r}", entry, _ENTRIES[name])
            elif name in _WORDS and not isinstance(entry, str):
                raise DataError(f"market: {name} of {key!r} must be a name, not {cited(entry)}")


def _require_plausible(market: Market) -> None:
    """Refuse a market that is not plausible by its own limits.

    Raises
    ------
    DataError
        For a volatility or rate that looks as if it were in percent, a currency's rate that is not
        the price of the asset that is this rate, and a surface whose forwards are not those of
        the spot price.
    """
    limits = market.plausibility
    for what, volatility in _volatilities(market):
        if volatility > limits.volatility:
            raise DataError(
                f"market: {what} is {volatility:g}, which is {100 * volatility:,.6g} % a year; is "
                f"it in percent? Then give {volatility / 100:g}. "
                f"{way_to_widen('volatility', volatility)}"
            )
    for what, rates in (("rate", market.rates), ("carry", market.carry)):
        for name, rate in rates.items():
            if abs(rate) > limits.rate:
                raise DataError(
                    f"market: the {what} of {name!r} is {rate:g}, which is {100 * rate:,.6g} % a "
                    f"year; is it in percent? Then give {rate / 100:g}. "
                    f"{way_to_widen('rate', rate)}"
                )
    for code, asset in market.fx_asset.items():
        if asset in market.spot and code in market.fx:
            _require_same_rate(market, code, asset)
    for name, given in market.volatility.items():
        if isinstance(given, VolatilitySurface) and name in (*market.spot, *market.fx):
            _require_forwards(market, name, given)


def is_inverse(rate: float, price: float, difference: float) -> bool:
    """Whether a price is one over a rate, and not the rate itself.

    Examples
    --------
    >>> is_inverse(1 / 150, 150.3, 0.05), is_inverse(1.01, 1.0, 0.05)
    (True, False)
    """
    return abs(rate * price - 1.0) <= difference < abs(rate / price - 1.0)


def _volatilities(market: Market) -> Iterator[tuple[str, float]]:
    """Each volatility with its name; of a surface the highest at the money."""
    for name, volatility in market.volatility.items():
        if isinstance(volatility, VolatilitySurface):
            volatility = float(np.max(volatility.volatility(volatility.times, 0.0)))
        yield f"the volatility of {name!r}", volatility
    for what, given in (("vol_of_vol", market.vol_of_vol), ("fx_volatility", market.fx_volatility)):
        for name, volatility in given.items():
            yield f"the {what} of {name!r}", volatility


def _require_same_rate(market: Market, code: str, asset: str) -> None:
    rate, price = float(market.fx[code]), float(market.spot[asset])
    difference, limit = abs(price / rate - 1.0), market.plausibility.fx_difference
    if difference <= limit:
        return
    inverse = is_inverse(rate, price, max(limit, 0.05))
    question = (
        f"is one of them quoted inversely? Both must be the value of one {code} in "
        f"{market.currency}, and so must the closes that the model was calibrated on"
        if inverse
        else f"one of them is wrong, or {asset!r} is not the rate"
    )
    raise DataError(
        f"market: the rate of {code!r} is {rate:g} in fx, and the price of its asset {asset!r} is "
        f"{price:g} in spot: {question}. {way_to_widen('fx_difference', difference)}"
    )


def _require_forwards(market: Market, name: str, surface: VolatilitySurface) -> None:
    """Forwards lie around spot by the limit, and by the largest carry over their time."""
    spot, limits = market.price(name), market.plausibility
    room = math.log1p(limits.forward_difference) + limits.rate * surface.times
    apart = np.abs(np.log(surface.forwards / spot))
    # A forward that is not known is NaN, and in no comparison.
    for at in np.flatnonzero(apart > room)[:1].tolist():
        difference = math.expm1(apart[at])
        raise DataError(
            f"market: the volatility surface of {name!r} has a forward of {surface.forwards[at]:g} "
            f"at {plain_time(surface.expiries[at])}, and the spot price is {spot:g}: are these "
            f"quotes of another asset? {way_to_widen('forward_difference', difference)}"
        )

"""Market: prices, rates and volatilities at one moment.

In: an as-of time, and what instruments are valued at. Out: a checked, frozen value. Currencies are
counted in the market's own, the quote currency of every spot price.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, get_type_hints

import numpy as np

from mcmargin.audit import fingerprint as digest
from mcmargin.audit import plain
from mcmargin.checks import cited, plain_number, require_type
from mcmargin.data.plausibility import Plausibility, plausibility_from
from mcmargin.data.ranges import (
    DAILY_VOLUME,
    LEVEL_SIZE,
    OPEN_INTEREST,
    PRICE,
    SHARE,
    SPREAD,
    VOLATILITY,
    VOLATILITY_OR_NONE,
    YEARLY_RATE,
    declared_ranges,
    growth,
    within,
)
from mcmargin.data.times import utc_time
from mcmargin.data.typed_fields import read_value
from mcmargin.errors import DataError, PolicyError
from mcmargin.markets.contradictions import require_plausible
from mcmargin.markets.surface import VolatilitySurface

LARGEST_LOSS = 0.999999
"""Of a depeg: something must be left to convert at."""


@dataclass(frozen=True)
class Depeg:
    """A stablecoin's jump: once it has happened, it stays.

    Attributes
    ----------
    probability : float
        Of the jump in one bar, in [0, 1].
    loss : float
        Share of its value that the coin loses, in [0, 1).
    """

    probability: Annotated[float, SHARE]
    loss: Annotated[float, SHARE]

    def __post_init__(self) -> None:
        for name in ("probability", "loss"):
            value = plain_number(getattr(self, name))
            if value is None or not SHARE.holds(value):
                given = cited(getattr(self, name))
                raise DataError(f"depeg: {name} must lie between 0 and 1, not {given}")
            object.__setattr__(self, name, value)
        if self.loss > LARGEST_LOSS:
            raise DataError(
                f"depeg: a loss of {self.loss:g} leaves no rate to convert at; give less, as 0.999"
            )


@dataclass(frozen=True)
class InstrumentLiquidity:
    """How much of an instrument can be traded, and at what cost.

    Attributes
    ----------
    daily_volume : float, optional
        Units traded a day.
    spread : float, optional
        Share of price between best bid and ask.
    bids, asks : tuple of (float, float)
        Price and size in units of each level of the order book, the best first.

    Raises
    ------
    DataError
        If a number is not above 0, levels are out of order, or bids and asks cross.

    Examples
    --------
    >>> InstrumentLiquidity(bids=((99.0, 5.0), (98.0, 9.0)), asks=((101.0, 4.0),)).middle
    100.0
    """

    daily_volume: Annotated[float, DAILY_VOLUME] | None = None
    spread: Annotated[float, SPREAD] | None = None
    bids: tuple[tuple[float, float], ...] = ()
    asks: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in declared_ranges(InstrumentLiquidity).items():
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, within(f"market: {name}", given, allowed))
        for side, order in (("bids", -1), ("asks", 1)):
            levels = _levels(side, getattr(self, side))
            object.__setattr__(self, side, levels)
            prices = [price for price, _ in levels]
            if prices != sorted(set(prices), reverse=order < 0):
                raise DataError(f"market: {side} must run from the best price on, each once")
        if self.bids and self.asks and self.bids[0][0] >= self.asks[0][0]:
            raise DataError(
                f"market: the order book is crossed: bid {self.bids[0][0]}, ask {self.asks[0][0]}"
            )

    @property
    def middle(self) -> float:
        """Between best bid and ask; the one there is where there is one side alone."""
        best = [levels[0][0] for levels in (self.bids, self.asks) if levels]
        return sum(best) / len(best)


def _levels(side: str, given: Any) -> tuple[tuple[float, float], ...]:
    """Levels of one side as pairs of plain floats."""
    pairs = isinstance(given, (list, tuple)) and all(
        isinstance(level, (list, tuple)) and len(level) == 2 for level in given
    )
    if not pairs:
        raise DataError(
            f"market: {side} must be pairs of price and size, such as ((99.5, 10.0), (99.0, 5.0)), "
            f"not {cited(given)}"
        )
    return tuple(
        (
            within(f"market: a price of the {side}", price, PRICE),
            within(f"market: a size of the {side}", size, LEVEL_SIZE),
        )
        for price, size in given
    )


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
        plausible or contradict each other (`mcmargin.markets.contradictions`).

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
        require_plausible(self)

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

    def level_of(self, underlying: str) -> float | VolatilitySurface:
        """Implied volatility of an underlying.

        Raises
        ------
        DataError
            If it has none.
        """
        level = self.volatility.get(underlying)
        if level is None:
            raise DataError(
                f"the market has no volatility of {underlying!r}; options on it need one"
            )
        return level if isinstance(level, VolatilitySurface) else float(level)

    def volatility_at(self, underlying: str, years: float, moneyness: float) -> float:
        """Implied volatility at one time to expiry and one strike / forward."""
        level = self.level_of(underlying)
        if isinstance(level, VolatilitySurface):
            return float(level.volatility(years, math.log(moneyness)))
        return level

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


def market_terms(market: Market) -> dict[str, Any]:
    """Plain values of all that a market gives; of a surface its fingerprint."""
    terms: dict[str, Any] = {"currency": market.currency, "coins": list(market.coins)}
    for each in fields(market):
        content = getattr(market, each.name)
        if isinstance(content, Mapping) and (content or each.name == "spot"):
            terms[each.name] = {name: _term(entry) for name, entry in sorted(content.items())}
    if widened := market.plausibility.widened():
        terms["plausibility"] = widened
    return terms


def market_of(as_of: np.datetime64, terms: Mapping[str, Any]) -> Market:
    """Market of plain values; the inverse of `market_terms`.

    Raises
    ------
    DataError
        If a term is unknown or of another type, or a surface is only named.
    """
    kinds = _kinds_of_terms()
    given: dict[str, Any] = {}
    for name, content in terms.items():
        if name not in kinds:
            raise DataError(
                f"field market.{name!s:.60} is unknown; it is one of {', '.join(kinds)}"
            )
        given[name] = read_value(kinds[name], content, DataError, f"market.{name}", defaults=True)
    if "spot" not in given:
        raise DataError("field market.spot is missing")
    for name, level in given.get("volatility", {}).items():
        if isinstance(level, str):
            raise DataError(
                f"market: the volatility of {name!r} is a surface, of which only the fingerprint "
                "is filed; give the market itself"
            )
    if "plausibility" in given:
        try:
            limits = plausibility_from(given["plausibility"], where="market.plausibility")
        except PolicyError as error:
            raise DataError(str(error)) from None
        given["plausibility"] = limits
    return Market(as_of=as_of, **given)


def _kinds_of_terms() -> dict[str, Any]:
    """Types of what `market_terms` gives; a volatility may be a surface's fingerprint."""
    kinds = get_type_hints(Market)
    del kinds["as_of"]
    # Of the limits only those that differ from the usual ones.
    return kinds | {"volatility": Mapping[str, Any], "plausibility": Mapping[str, Any]}


def _term(entry: Any) -> Any:
    if isinstance(entry, VolatilitySurface):
        return entry.fingerprint()
    if isinstance(entry, (Depeg, InstrumentLiquidity)):
        # Lists, as a file of them gives back: a report that was just made reads like a filed one.
        return {name: _listed(content) for name, content in asdict(entry).items()}
    return entry if isinstance(entry, str) else float(entry)


def _listed(content: Any) -> Any:
    return [_listed(item) for item in content] if isinstance(content, tuple) else content

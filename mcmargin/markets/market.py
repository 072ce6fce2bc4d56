"""Market: prices, rates and volatilities at one moment.

In: an as-of time, and what instruments are valued at. Out: a checked, frozen value. Currencies are
counted in the market's own, the quote currency of every spot price.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from mcmargin.audit import fingerprint as digest
from mcmargin.checks import require_type
from mcmargin.data.plausibility import Plausibility, plausibility_from
from mcmargin.data.times import utc_time
from mcmargin.data.typed_fields import read_dataclass
from mcmargin.errors import DataError, PolicyError
from mcmargin.markets.contradictions import require_plausible
from mcmargin.markets.surface import VolatilitySurface
from mcmargin.policies.policy_parts import plain


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

    probability: float
    loss: float

    def __post_init__(self) -> None:
        for name in ("probability", "loss"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 <= value <= 1):
                raise DataError(f"depeg: {name} must lie between 0 and 1, not {value!r}")
        if self.loss == 1:
            raise DataError("depeg: a loss of 1 leaves no rate to convert at; give less, as 0.999")


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

    daily_volume: float | None = None
    spread: float | None = None
    bids: tuple[tuple[float, float], ...] = ()
    asks: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.daily_volume is not None:
            _check("daily_volume", self.daily_volume, above=0.0)
        if self.spread is not None:
            _check("spread", self.spread, least=0.0)
        for side, levels, order in (("bids", self.bids, -1), ("asks", self.asks, 1)):
            for price, size in levels:
                _check(f"a price of the {side}", price, above=0.0)
                _check(f"a size of the {side}", size, above=0.0)
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
    spot: Mapping[str, float]
    volatility: Mapping[str, float | VolatilitySurface] = field(default_factory=dict)
    fx: Mapping[str, float] = field(default_factory=dict)
    currency: str = "USD"
    quoted: Mapping[str, str] = field(default_factory=dict)
    coins: tuple[str, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    carry: Mapping[str, float] = field(default_factory=dict)
    vol_of_vol: Mapping[str, float] = field(default_factory=dict)
    volatility_asset: Mapping[str, str] = field(default_factory=dict)
    fx_asset: Mapping[str, str] = field(default_factory=dict)
    fx_volatility: Mapping[str, float] = field(default_factory=dict)
    depeg: Mapping[str, Depeg] = field(default_factory=dict)
    liquidity: Mapping[str, InstrumentLiquidity] = field(default_factory=dict)
    open_interest: Mapping[str, float] = field(default_factory=dict)
    plausibility: Plausibility = field(default_factory=Plausibility)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "as_of", utc_time(self.as_of))
        except ValueError as error:
            raise DataError(f"market: as_of: {error}") from None
        for asset, price in self.spot.items():
            _check(f"the price of {asset!r}", price, above=0.0)
        for code, rate in self.fx.items():
            _check(f"the fx rate of {code!r}", rate, above=0.0)
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
        for what, numbers in (("rate", self.rates), ("carry", self.carry)):
            for name, number in numbers.items():
                _check(f"the {what} of {name!r}", number)
        for name, level in self.volatility.items():
            if not isinstance(level, VolatilitySurface):
                _check(f"the volatility of {name!r}", level, above=0.0)
        declared = ("vol_of_vol", "fx_volatility", "open_interest")
        for what, numbers in ((name, getattr(self, name)) for name in declared):
            for name, number in numbers.items():
                _check(f"the {what} of {name!r}", number, least=0.0)
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
        """exp(-rate x years)."""
        return math.exp(-self.rate(currency) * years)

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


def _check(what: str, number: Any, *, above: float = -np.inf, least: float = -np.inf) -> None:
    real = not isinstance(number, bool) and isinstance(number, (int, float, np.number))
    if not (real and np.isfinite(number) and number > above and number >= least):
        bound = f" above {above:g}" if above > -np.inf else f" of {least:g} or more"
        bound = bound if max(above, least) > -np.inf else ""
        raise DataError(f"market: {what} must be a number{bound}, not {number!r:.40}")


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
    known = {each.name for each in fields(Market)} - {"as_of"}
    given: dict[str, Any] = {}
    for name, content in terms.items():
        sort: Any = {"currency": str, "coins": (list, tuple)}.get(name, Mapping)
        if name not in known or not isinstance(content, sort):
            raise DataError(f"market: {name!r} is unknown, or {content!r:.40} is not its kind")
        given[name] = tuple(content) if name == "coins" else content
    for name, level in given.get("volatility", {}).items():
        if isinstance(level, str):
            raise DataError(
                f"market: the volatility of {name!r} is a surface, of which only the fingerprint "
                "is filed; give the market itself"
            )
    kinds: tuple[tuple[str, Any], ...] = (("depeg", Depeg), ("liquidity", InstrumentLiquidity))
    for term, kind in kinds:
        given[term] = {
            name: read_dataclass(kind, entry, DataError, where=f"market.{term}.{name}.")
            for name, entry in given.get(term, {}).items()
        }
    if "plausibility" in given:
        try:
            limits = plausibility_from(given["plausibility"], where="market.plausibility")
        except PolicyError as error:
            raise DataError(str(error)) from None
        given["plausibility"] = limits
    return Market(as_of=as_of, **given)


def _term(entry: Any) -> Any:
    if isinstance(entry, VolatilitySurface):
        return entry.fingerprint()
    if isinstance(entry, (Depeg, InstrumentLiquidity)):
        # Lists, as a file of them gives back: a report that was just made reads like a filed one.
        return {name: _listed(content) for name, content in asdict(entry).items()}
    return entry if isinstance(entry, str) else float(entry)


def _listed(content: Any) -> Any:
    return [_listed(item) for item in content] if isinstance(content, tuple) else content

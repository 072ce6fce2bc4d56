"""European options on spot or on a future, valued by the formula of Black (1976).

In: the market of today, and the market in scenarios. Out: values, greeks and gains of one unit;
see `mcmargin.instruments.instruments` for the functions that all instruments have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from mcmargin.checks import cited
from mcmargin.data.ranges import CONTRACT_SIZE, PRICE, growth
from mcmargin.errors import DataError
from mcmargin.instruments.linear import Future
from mcmargin.instruments.paths import Paths
from mcmargin.instruments.terms import check_terms, expiry_time, years_left
from mcmargin.markets.market import Market
from mcmargin.numerics.black import black76_greeks, black76_point, black76_values

OPTION_KINDS = ("call", "put")
SETTLEMENTS = ("quote", "coin")


@dataclass(frozen=True)
class Option:
    """A European option on spot or on a future, valued in full by Black (1976).

    Its value is exp(-r T) times Black's value at the forward F = S exp(carry T), or at the price of
    the future. In a scenario time has passed, and the smile keeps its shape in moneyness. The
    implied volatility is today's at that moneyness, times the root of the expected average variance
    until expiry over the same expectation of today.

    Attributes
    ----------
    name, underlying, currency : str
    kind : str
        `call` or `put`.
    strike : float
    expiry : str, date, datetime, pandas.Timestamp or numpy.datetime64
        In UTC if it has no zone. A date alone means its midnight.
    settlement : str
        `quote` or `coin`. If an option expires inside the horizon, its pay-off in coin stays in
        coin until the horizon.
    contract_size : float
    future : Future, optional
        The future on which the option is written; without it the option is on spot.

    References
    ----------
    Black, F. (1976), The pricing of commodity contracts, Journal of Financial Economics 3.

    Examples
    --------
    >>> import numpy as np
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
    strike: Annotated[float, PRICE]
    expiry: Any
    settlement: str = "quote"
    currency: str = "USD"
    contract_size: Annotated[float, CONTRACT_SIZE] = 1.0
    future: Future | None = None

    product: ClassVar[str] = "option"

    def __post_init__(self) -> None:
        check_terms(self)
        object.__setattr__(self, "expiry", expiry_time(self.name, self.expiry))
        for field, allowed in (("kind", OPTION_KINDS), ("settlement", SETTLEMENTS)):
            given = getattr(self, field)
            if not isinstance(given, str) or given not in allowed:
                raise DataError(
                    f"instrument {self.name!r}: {field} {cited(given)} is unknown; "
                    f"give one of {allowed}"
                )
        if self.future is not None and not isinstance(self.future, Future):
            raise DataError(
                f"instrument {self.name!r}: future must be a Future, such as "
                f"Future('F', {self.underlying!r}, '2030-06-28'), not {cited(self.future)}"
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
        """Discounted value of one unit today."""
        forward, years, volatility = self._today(market)
        value, _ = black76_point(forward, self.strike, volatility, years, self._sign)
        return self.contract_size * value * market.discount(self.currency, years)

    def greeks(self, market: Market) -> dict[str, float]:
        """Value, delta, gamma, vega and theta of one unit.

        Delta and gamma are derivatives by the spot price while the volatility stays. Vega is for a
        change of 1.00 in volatility, theta for one calendar day.

        Examples
        --------
        >>> import numpy as np
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
        # As time passes, the forward also moves to the spot price, and the discount to 1.
        theta = float(black.theta) - float(black.delta) * forward * carry / 365.0
        return {
            "value": size * value,
            "delta": size * float(black.delta) * slope,
            "gamma": size * float(black.gamma) * slope**2,
            "vega": size * float(black.vega),
            "theta": size * (theta + rate * value / 365.0),
        }

    def gain(self, paths: Paths) -> Any:
        """Value change; if the option has expired, its pay-off less today's value."""
        years = paths.years_left(self.expiry)
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
        grown = growth(carry, years, f"instrument {self.name!r}")
        return paths.price(self.underlying, self.currency) * grown

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
        years = years_left(self.name, self.expiry, market)
        if self.future is not None:
            forward = self.future.price(market)
        else:
            carry = market.carry.get(self.underlying, 0.0)
            grown = growth(carry, years, f"instrument {self.name!r}")
            forward = market.price(self.underlying, self.currency) * grown
        return forward, years, market.volatility_at(self.underlying, years, self.strike / forward)

    def notional(self, market: Market) -> float:
        """Size times price of the underlying."""
        return self.contract_size * market.price(self.underlying, self.currency)

    def exposure(self, market: Market) -> float:
        """Size times delta times forward, discounted."""
        forward, years, volatility = self._today(market)
        _, delta = black76_point(forward, self.strike, volatility, years, self._sign)
        return self.contract_size * delta * forward * market.discount(self.currency, years)

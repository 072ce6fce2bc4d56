"""Ranges: the least and the largest that each number of a file may be.

In: a number that somebody gave. Out: a plain float, or an error that says the range. The ranges are
wider than any market, and narrow enough that no product of numbers within them overflows: the
largest position (1e15 units) of the largest contract (1e12) at the largest price (1e15), turned
into another currency (1e15) and squared, is 1e114, and float64 reaches 1e308.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from mcmargin.checks import cited, plain_number
from mcmargin.errors import DataError, McMarginError


class Range(NamedTuple):
    """Least and largest value of a number; `ends` says whether both belong to the range.

    It annotates the types of fields: `Annotated[float, PRICE]` in a dataclass, where `check_ranges`
    finds it, and in a pydantic model, which finds it by itself.

    Examples
    --------
    >>> PRICE.words, Range(0.5, 1.0, ends=False).words
    ('from 1e-15 to 1e+15', 'between 0.5 and 1')
    """

    least: float
    most: float
    ends: bool = True

    @property
    def words(self) -> str:
        """The range in words."""
        if self.ends:
            return f"from {self.least:g} to {self.most:g}"
        return f"between {self.least:g} and {self.most:g}"

    def holds(self, number: float) -> bool:
        """Whether a number lies in the range; a NaN lies in none."""
        if self.ends:
            return self.least <= number <= self.most
        return self.least < number < self.most

    def fault(self, value: Any) -> str | None:
        """Say what is wrong with a value, to be put after its name; None where nothing is.

        Examples
        --------
        >>> PRICE.fault(0.0), PRICE.fault(1.0)
        ('must be a number above 0, not 0.0', None)
        >>> PRICE.fault(1e300)
        'must be a number from 1e-15 to 1e+15, not 1e+300'
        """
        number = plain_number(value)
        if number is not None and self.holds(number):
            return None
        finite = number is not None and math.isfinite(number)
        if finite and not self._is_below(number):
            return f"must be a number {self.words}, not {cited(value)}"
        bound = f" {self._sign}" if self._sign else ""
        return f"must be a number{bound}, not {cited(value)}"

    def bound_missed(self, value: float) -> str | None:
        """Say which end a number lies beyond, or None; for messages that name the cell.

        Examples
        --------
        >>> PRICE.bound_missed(-1.0), PRICE.bound_missed(1e300), SHARE.bound_missed(-1.0)
        ('must be above 0', 'must be 1e+15 or less', 'must be 0 or more')
        """
        if self.holds(value):
            return None
        if self._is_below(value):
            return f"must be {self._sign.removeprefix('of ')}"
        if value > self.most:
            return f"must be {self.most:g} or less"
        return f"must be {self.least:g} or more"

    def _is_below(self, number: float | None) -> bool:
        """Whether a number lies below a range that begins at 0 or just above it."""
        return number is not None and bool(self._sign) and number <= 0.0

    @property
    def _sign(self) -> str:
        if 0.0 < self.least < LEAST_SHOWN:
            return "above 0"
        return "of 0 or more" if self.least == 0.0 else ""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Check the field of a pydantic model that this annotates."""
        from pydantic_core import PydanticCustomError, core_schema

        def checked(value: float) -> float:
            missed = self.bound_missed(value)
            if missed is not None:
                raise PydanticCustomError("out_of_range", "{words}", {"words": missed})
            return value

        return core_schema.no_info_after_validator_function(checked, handler(source))


LEAST_SHOWN = 0.05
"""A least value below it is there for the arithmetic: to a reader it is 'above 0'."""

PRICE = Range(1e-15, 1e15)
"""Prices, strikes, forwards and rates of exchange, in units of a currency."""

QUANTITY = Range(-1e15, 1e15)
"""Units of an instrument, of a coin or of a currency. Beyond it the cents are lost in float64."""

CONTRACT_SIZE = Range(1e-12, 1e12)
"""Units of the underlying, or of the currency, in one contract."""

YEARLY_RATE = Range(-10.0, 10.0)
"""Interest and carry a year, continuous: 10 is 1,000 %."""

VOLATILITY = Range(1e-6, 100.0)
"""Implied volatility a year: 100 is 10,000 %."""

VOLATILITY_OR_NONE = Range(0.0, 100.0)
"""Volatility a year of a basis, of a rate of exchange or of a volatility; 0 holds it still."""

FUNDING_RATE = Range(-1.0, 1.0)
"""Share of notional that a perpetual pays each interval."""

PAYABLE_FUNDING_RATE = Range(0.0, 1.0)
"""Share of notional that the paying side may have to pay each interval."""

FUNDING_HOURS = Range(0.001, 8760.0)
"""Hours between two payments of funding: from seconds to a year."""

DAILY_VOLUME = Range(1e-12, 1e18)
"""Units traded a day."""

LEVEL_SIZE = Range(1e-12, 1e18)
"""Units that can be traded at one price of an order book."""

SPREAD = Range(0.0, 2.0)
"""Share of the middle price between best bid and ask: 2 where the bid is 0."""

OPEN_INTEREST = Range(0.0, 1e30)
"""Notional in a currency."""

SHARE = Range(0.0, 1.0)
"""A probability or a share."""

LARGEST_GROWTH = 100.0
"""Largest rate times years, up or down: the price of a forward is at most e**100 of spot's."""

LARGEST_DEVIATION = 20.0
"""Largest standard deviation of a lognormal move over a horizon: of draws of 8.7 deviations, the
largest that there are, exp(174) is left."""

SIMULATED_BARS = 10_000
"""Largest horizon, in bars."""

CONFIDENCE = Range(0.5, 1.0, ends=False)
"""Confidence level of a margin."""

PROBABILITY = Range(0.0, 1.0, ends=False)
"""Confidence level of an interval."""

NOTIONAL = Range(0.0, math.inf)
"""Notional or open interest of a policy, in a currency; infinite where it bounds nothing."""


def within(
    what: str, value: Any, allowed: Range, *, error: type[McMarginError] = DataError
) -> float:
    """Return a plain float that lies in a range.

    Parameters
    ----------
    what : str
        Where the number stands and what it is, for the message.
    value : object
        Any real number, also of numpy. Truth values, complex numbers, times and text are none.
    allowed : Range
    error : type
        Of what is raised.

    Raises
    ------
    DataError
        Or the error given, if the value is no number or lies outside the range.

    Examples
    --------
    >>> within("the strike of 'C40'", 40_000, PRICE)
    40000.0
    >>> within("the strike of 'C40'", 5e-324, PRICE)
    Traceback (most recent call last):
    mcmargin.errors.DataError: the strike of 'C40' must be a number from 1e-15 to 1e+15, not 5e-324
    """
    fault = allowed.fault(value)
    if fault is not None:
        raise error(f"{what} {fault}")
    return float(value)


def declared_ranges(kind: Any) -> dict[str, Range]:
    """Ranges of the numbers of a dataclass, by field; those of an option or a table, too.

    Examples
    --------
    >>> from mcmargin.instruments.instruments import Perpetual
    >>> declared_ranges(Perpetual)["contract_size"].words
    'from 1e-12 to 1e+12'
    """
    found = {name: range_in(hint) for name, hint in _hints(kind).items()}
    return {name: allowed for name, allowed in found.items() if allowed is not None}


def range_in(annotation: Any) -> Range | None:
    """The range that a type is annotated with, or the types within it; None for none."""
    for each in getattr(annotation, "__metadata__", ()):
        if isinstance(each, Range):
            return each
    return next(filter(None, map(range_in, get_args(annotation))), None)


def check_ranges(part: Any, where: str, *, error: type[McMarginError] = DataError) -> None:
    """Check the numbers of a dataclass against their declared ranges, and keep plain floats.

    Parameters
    ----------
    part : dataclass
        As it is made, in `__post_init__`. An option may be None.
    where : str
        What the part is, for messages.
    error : type
        Of what is raised.

    Raises
    ------
    DataError
        Or the error given, naming the field.
    """
    kind: Any = type(part)
    for name, allowed in declared_ranges(kind).items():
        value, hint = getattr(part, name), _hints(kind)[name]
        if value is None and type(None) in get_args(hint):
            continue
        kept: Any
        if get_origin(hint) is Mapping:
            if not isinstance(value, Mapping):
                raise error(f"{where}: {name} must map names to numbers, not {cited(value)}")
            one = name.removesuffix("s")
            kept = {
                key: _spanned(f"{where}: {one} of {key!r}", each, allowed, error)
                for key, each in value.items()
            }
        else:
            kept = _spanned(f"{where}: {name}", value, allowed, error)
        object.__setattr__(part, name, kept)


def _spanned(what: str, value: Any, allowed: Range, error: type[McMarginError]) -> float:
    """As `within`, for fields whose message says the bound that was missed, or both."""
    number = plain_number(value)
    if number is None:
        raise error(f"{what} must be a number, not {cited(value)}")
    if allowed.holds(number):
        return number
    missed = f"must lie {allowed.words}"
    # A policy's message says both bounds, but for the 0 that a number must be above.
    if math.isfinite(number) and (number == 0.0 or issubclass(error, DataError)):
        missed = allowed.bound_missed(number) or missed
    raise error(f"{what} {missed}, not {cited(value)}")


def growth(rate: float, years: float, what: str) -> float:
    """Return exp(rate x years): a discount, or a forward over spot.

    Parameters
    ----------
    rate : float
        A year, continuous.
    years : float
    what : str
        What grows, for the message.

    Raises
    ------
    DataError
        If it grows or shrinks by more than a factor of exp(100).

    Examples
    --------
    >>> round(growth(0.05, 2.0, "the forward of 'btc'"), 6)
    1.105171
    """
    if not abs(rate * years) <= LARGEST_GROWTH:
        raise DataError(
            f"{what}: {rate:g} a year over {years:.4g} years is a factor of "
            f"exp({rate * years:.4g}), and exp({LARGEST_GROWTH:g}) is the largest; is the "
            "rate in percent, or the expiry mistyped?"
        )
    return math.exp(rate * years)


def require_bounded_deviation(volatility: float, years: float, what: str) -> None:
    """Refuse a lognormal move whose largest draws overflow.

    Raises
    ------
    DataError
        If the volatility times the root of the years is above 20.
    """
    deviation = volatility * math.sqrt(years)
    if not deviation <= LARGEST_DEVIATION:
        raise DataError(
            f"{what}: a volatility of {volatility:g} a year over {years:.4g} years is a standard "
            f"deviation of {deviation:.4g} in the logarithm, and {LARGEST_DEVIATION:g} is the "
            "largest; is the volatility in percent?"
        )


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)

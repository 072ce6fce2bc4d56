"""Ranges: the least and the largest value of each number in a file.

In: a number that a user gave. Out: a plain float, or an error that tells the range. The ranges are
wider than any market. They are narrow enough that no product of numbers overflows: the largest
position (1e15 units) of the largest contract (1e12) at the largest price (1e15), converted to
another currency (1e15) and squared, is 1e114, and float64 reaches 1e308.
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

    It annotates the types of fields, as in `Annotated[float, PRICE]`. In a dataclass `check_ranges`
    checks it, and in a pydantic model pydantic does.

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
        """Whether a number lies in the range; NaN does not."""
        if self.ends:
            return self.least <= number <= self.most
        return self.least < number < self.most

    def fault(self, value: Any) -> str | None:
        """Say what is wrong with a value, as words to follow its name; None if nothing is.

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
        """Say which bound a number misses, or None; for messages that name the cell.

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
        """Check the annotated field of a pydantic model."""
        from pydantic_core import PydanticCustomError, core_schema

        def checked(value: float) -> float:
            missed = self.bound_missed(value)
            if missed is not None:
                raise PydanticCustomError("out_of_range", "{words}", {"words": missed})
            return value

        return core_schema.no_info_after_validator_function(checked, handler(source))


LEAST_SHOWN = 0.05
"""A least value below this one is only needed by the arithmetic; messages say 'above 0'."""

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
"""Volatility a year of a basis, of a rate of exchange or of a volatility; with 0 it is constant."""

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
"""Distance of best bid and ask as a share of the middle price, which is 2 for a bid of 0."""

OPEN_INTEREST = Range(0.0, 1e30)
"""Notional in a currency."""

SHARE = Range(0.0, 1.0)
"""A probability or a share."""

LARGEST_GROWTH = 100.0
"""Largest absolute value of rate times years: a forward is at most e**100 times spot."""

LARGEST_DEVIATION = 20.0
"""Largest standard deviation of a lognormal move over a horizon. The largest draw, of 8.7 standard
deviations, then gives exp(174)."""

SIMULATED_BARS = 10_000
"""Largest horizon, in bars."""

CONFIDENCE = Range(0.5, 1.0, ends=False)
"""Confidence level of a margin."""

PROBABILITY = Range(0.0, 1.0, ends=False)
"""Confidence level of an interval."""

NOTIONAL = Range(0.0, math.inf)
"""Notional or open interest of a policy, in a currency; infinity stands for no bound."""


def within(
    what: str, value: Any, allowed: Range, *, error: type[McMarginError] = DataError
) -> float:
    """Return a plain float that lies in a range.

    Parameters
    ----------
    what : str
        Place and meaning of the number, for the message.
    value : object
        A real number, also one of numpy. Truth values, complex numbers, times and text are refused.
    allowed : Range
    error : type
        Type of the error.

    Raises
    ------
    DataError
        Or the error given, if the value is not a number or lies outside the range.

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
    """Ranges of the numbers of a dataclass by field, also of optional ones and of tables.

    Examples
    --------
    >>> from mcmargin.instruments.instruments import Perpetual
    >>> declared_ranges(Perpetual)["contract_size"].words
    'from 1e-12 to 1e+12'
    """
    found = {name: range_in(hint) for name, hint in _hints(kind).items()}
    return {name: allowed for name, allowed in found.items() if allowed is not None}


def range_in(annotation: Any) -> Range | None:
    """The range in the annotation of a type, or of the types within it; None if there is none."""
    for each in getattr(annotation, "__metadata__", ()):
        if isinstance(each, Range):
            return each
    return next(filter(None, map(range_in, get_args(annotation))), None)


def check_ranges(part: Any, where: str, *, error: type[McMarginError] = DataError) -> None:
    """Check the numbers of a dataclass against their declared ranges, and keep plain floats.

    Parameters
    ----------
    part : dataclass
        The dataclass, in its `__post_init__`. An optional number may be None.
    where : str
        Name of the dataclass, for messages.
    error : type
        Type of the error.

    Raises
    ------
    DataError
        Or the error given; it names the field.
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
    """Do the same as `within`, with a message that tells the missed bound, or both bounds."""
    number = plain_number(value)
    if number is None:
        raise error(f"{what} must be a number, not {cited(value)}")
    if allowed.holds(number):
        return number
    missed = f"must lie {allowed.words}"
    # The message of a policy tells both bounds, except for a 0 that must be exceeded.
    if math.isfinite(number) and (number == 0.0 or issubclass(error, DataError)):
        missed = allowed.bound_missed(number) or missed
    raise error(f"{what} {missed}, not {cited(value)}")


def growth(rate: float, years: float, what: str) -> float:
    """Return exp(rate x years): a discount factor, or a forward over spot.

    Parameters
    ----------
    rate : float
        Rate a year, continuously compounded.
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
    """Refuse a lognormal move whose largest draws would overflow.

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

"""Ranges: the least and the largest that each number of a file may be.

In: a number that somebody gave. Out: a plain float, or an error that says the range. The ranges are
wider than any market, and narrow enough that no product of numbers within them overflows: the
largest position (1e15 units) of the largest contract (1e12) at the largest price (1e15), turned
into another currency (1e15) and squared, is 1e114, and float64 reaches 1e308.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from mcmargin.errors import DataError, McMarginError


class Range(NamedTuple):
    """Both ends of a range, which belong to it.

    Examples
    --------
    >>> Range(0.0, 1.0).words, PRICE.words
    ('from 0 to 1', 'from 1e-15 to 1e+15')
    """

    least: float
    most: float

    @property
    def words(self) -> str:
        """The range in words."""
        return f"from {self.least:g} to {self.most:g}"


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

FUNDING_HOURS = Range(1 / 3600, 8760.0)
"""Hours between two payments of funding: from a second to a year."""

DAILY_VOLUME = Range(1e-12, 1e18)
"""Units traded a day."""

LEVEL_SIZE = Range(1e-12, 1e18)
"""Units that can be traded at one price of an order book."""

SPREAD = Range(0.0, 2.0)
"""Share of the middle price between best bid and ask: 2 where the bid is 0."""

OPEN_INTEREST = Range(0.0, 1e30)
"""Notional in a currency."""

LOSS = Range(0.0, 0.999999)
"""Share of its value that a coin loses; some must be left to convert at."""

SHARE = Range(0.0, 1.0)
"""A probability or a share."""

LARGEST_GROWTH = 100.0
"""Largest rate times years, up or down: the price of a forward is at most e**100 of spot's."""


def within(
    what: str, value: object, allowed: Range, *, error: type[McMarginError] = DataError
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
    number = plain_number(value)
    if number is None or not allowed.least <= number <= allowed.most:
        raise error(f"{what} must be a number {allowed.words}, not {shown(value)}")
    return number


def plain_number(value: Any) -> float | None:
    """Return the float that a real number is, or None for anything else.

    numpy's numbers count. What merely converts does not: truth values, complex numbers, lengths of
    time (which numpy calls integers), arrays, text.

    Examples
    --------
    >>> plain_number(np.float32(0.5)), plain_number(np.timedelta64(1, "D")), plain_number(True)
    (0.5, None, None)
    """
    if isinstance(value, (bool, np.timedelta64)) or not isinstance(value, Real):
        return None
    number: Any = value
    try:
        return float(number)
    except OverflowError:
        # A whole number beyond every float.
        return math.inf if number > 0 else -math.inf


def shown(value: Any) -> str:
    """Show a value as Python writes it, at most 60 characters of it.

    Examples
    --------
    >>> shown("btc"), shown(10**5000)
    ("'btc'", 'a whole number of many digits')
    """
    try:
        return f"{value!r:.60}"
    except ValueError:
        # Python refuses to write whole numbers of more than 4,300 digits.
        return "a whole number of many digits"

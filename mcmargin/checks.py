"""What several stages share: checks of arguments, and names, values and times for people."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from mcmargin.errors import DataError, McMarginError, PolicyError
from mcmargin.names import shown

WAYS = {
    "Account": "give Account objects, such as read_accounts reads from a file",
    "Book": "read_positions reads a file, and Book.from_frame takes a DataFrame",
    "DataFrame": "pandas.DataFrame(...) makes one",
    "MarginPolicy": "MarginPolicy(...) makes one, and MarginPolicy.from_toml reads a file",
    "MarginReport": "margin(...) makes one, and MarginReport.from_json reads one's text",
    "Market": "read_market reads a file; a policy goes by its name, policy=...",
    "MarketModel": "load_model reads a file, and calibrate fits one to prices",
    "PriceHistory": "PriceHistory.from_frame takes a DataFrame, and read_prices reads a file",
    "Scenarios": "simulate(...) makes them of a model",
    "Spot, Perpetual, Future or Option": "give such objects, as read_instruments reads from a file",
    "StressReport": "stress(...) makes one",
}
"""How a caller comes by a value of each type."""


def require_type(
    name: str, value: object, *kinds: type, error: type[McMarginError] = DataError
) -> None:
    """Refuse an argument of another type, and say how to come by one of the right type.

    Raises
    ------
    DataError
        Or the error given, if the value is of none of the kinds.

    Examples
    --------
    >>> require_type("paths", "many", int)
    Traceback (most recent call last):
    mcmargin.errors.DataError: paths must be of type int, not str
    """
    if isinstance(value, kinds):
        return
    *others, last = [kind.__name__ for kind in kinds]
    wanted = f"{', '.join(others)} or {last}" if others else last
    way = f"; {WAYS[wanted]}" if wanted in WAYS else ""
    raise error(f"{name} must be of type {wanted}, not {type(value).__name__}{way}")


def whole_number(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """Return a plain int, whatever integer type came in, so that it files and hashes alike.

    Raises
    ------
    PolicyError
        If the value is not an integer, below `least`, or above `most` where that is given.

    Examples
    --------
    >>> whole_number("paths", 1000)
    1000
    """
    whole = isinstance(value, Integral) and not (isinstance(value, bool) or is_duration(value))
    if not whole or value < least:
        raise PolicyError(f"{name} must be an integer of {least} or more, not {cited(value)}")
    if most is not None and value > most:
        raise PolicyError(f"{name} must be an integer of {most:,} or less, not {cited(value)}")
    return int(value)


def real_number(name: str, value: Any) -> float:
    """Return a plain float, whatever number came in.

    Raises
    ------
    PolicyError
        If the value is none.

    Examples
    --------
    >>> real_number("variance_cap", 100)
    100.0
    """
    number = plain_number(value)
    if number is None:
        raise PolicyError(f"{name} must be a number, not {cited(value)}")
    return number


def require_real_array(what: str, values: Any) -> None:
    """Refuse an array or list that is not of plain real numbers.

    What numpy would convert without a word is another number than it was: of a masked array it
    takes what lies under the mask, of a complex number the real part, of a length of time its
    nanoseconds, of a truth value 0 or 1.

    Parameters
    ----------
    what : str
        What the values are, for the message.
    values : array_like
        On a device or not.

    Raises
    ------
    DataError
        Naming the type.

    Examples
    --------
    >>> import numpy as np
    >>> require_real_array("losses", np.array([1j]))
    Traceback (most recent call last):
    mcmargin.errors.DataError: losses must be real numbers, not complex128
    """
    import numpy as np

    if isinstance(values, np.ma.MaskedArray):
        raise DataError(
            f"{what} are a masked array; take out what is masked, as with .compressed(), first"
        )
    dtype = getattr(values, "dtype", None)
    if dtype is None:
        try:
            dtype = np.asarray(values).dtype
        except (TypeError, ValueError):
            raise DataError(f"{what} are no array of numbers") from None
    if getattr(dtype, "kind", "O") not in "iuf":
        kind = "text" if getattr(dtype, "kind", "") in "SUT" else str(dtype)
        raise DataError(f"{what} must be real numbers, not {kind}")


def few(names: Iterable[str], most: int = 5) -> str:
    """Names for people: the first few, and how many more there are.

    Examples
    --------
    >>> few("abc"), few("abcdefg")
    ('a, b, c', 'a, b, c, d, e and 2 more')
    """
    listed = list(map(shown, names))
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def plain_time(stamp: object) -> str:
    """Time of a bar for people: to the second, or the date alone at midnight.

    Examples
    --------
    >>> plain_time("2021-01-04T00:00:00.000000000"), plain_time("2021-01-04T21:00:00.000000000")
    ('2021-01-04', '2021-01-04T21:00:00')
    """
    return str(stamp)[:19].removesuffix("T00:00:00")


def plain_number(value: Any) -> float | None:
    """Return the float that a real number is, or None for anything else.

    numpy's numbers count. What merely converts does not: truth values, complex numbers, lengths of
    time (which numpy calls integers), arrays, text.

    Examples
    --------
    >>> import numpy as np
    >>> plain_number(np.float32(0.5)), plain_number(np.timedelta64(1, "D")), plain_number(True)
    (0.5, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, Real) or is_duration(value):
        return None
    number: Any = value
    try:
        return float(number)
    except OverflowError:
        # A whole number beyond every float.
        return math.inf if number > 0 else -math.inf


def is_duration(value: Any) -> bool:
    """Whether a value is numpy's length of time; told by its type alone, so that none is loaded."""
    return getattr(getattr(value, "dtype", None), "kind", "") == "m"


def _plain(value: Any) -> Any:
    """The plain value that a scalar of numpy stands for."""
    scalar = hasattr(value, "dtype") and getattr(value, "shape", None) == ()
    return value.item() if scalar else value


def cited(value: Any) -> str:
    """Show a value as Python writes it, at most 60 characters of it; numpy's as the plain one.

    Examples
    --------
    >>> cited("btc"), cited(10**5000)
    ("'btc'", 'a whole number of many digits')
    """
    try:
        return f"{_plain(value)!r:.60}"
    except ValueError:
        # Python refuses to write whole numbers of more than 4,300 digits.
        return "a whole number of many digits"

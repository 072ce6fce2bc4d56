"""Checks that several stages share, and the texts of values in their messages.

In: an argument as somebody gave it. Out: the same value as a plain Python number, or an error that
says what is wrong with it; and names, values and times as text for people.
"""

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
    "MarginFigures": "margin(...) makes a MarginReport, which has them",
    "MarginPolicy": "MarginPolicy(...) makes one, and MarginPolicy.from_toml reads a file",
    "MarginReport": "margin(...) makes one, and MarginReport.from_json reads one's text",
    "Market": "read_market reads a file; a policy goes by its name, policy=...",
    "MarketModel": "load_model reads a file, and calibrate fits one to prices",
    "PriceHistory": "PriceHistory.from_frame takes a DataFrame, and read_prices reads a file",
    "Scenarios": "simulate(...) makes them of a model",
    "Spot, Perpetual, Future or Option": "give such objects, as read_instruments reads from a file",
    "StressReport": "stress(...) makes one",
}
"""For each type, how a caller gets a value of it."""


def require_type(
    name: str, value: object, *kinds: type, error: type[McMarginError] = DataError
) -> None:
    """Refuse an argument of a wrong type, and say how to get one of the right type.

    Raises
    ------
    DataError
        If the value is of none of the types; or the error that is given.

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
    """Return an integer of any type as a plain int, so that files and fingerprints are the same.

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
    """Return a real number of any type as a plain float.

    Raises
    ------
    PolicyError
        If the value is not a real number.

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
    """Refuse an array or list that does not hold plain real numbers.

    numpy would convert other values without an error, but not to the numbers that were meant: it
    takes the values under the mask of a masked array, the real parts of complex numbers, the
    nanoseconds of time spans, and 0 or 1 for truth values.

    Parameters
    ----------
    what : str
        Name of the values, for the message.
    values : array_like
        On the host or on a device.

    Raises
    ------
    DataError
        If the values are of another type; the message names it.

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
    """Return the first few names as text, and how many more there are.

    Examples
    --------
    >>> few("abc"), few("abcdefg")
    ('a, b, c', 'a, b, c, d, e and 2 more')
    """
    listed = list(map(shown, names))
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def plain_time(stamp: object) -> str:
    """Return the time of a bar as text: to the second, or only the date at midnight.

    Examples
    --------
    >>> plain_time("2021-01-04T00:00:00.000000000"), plain_time("2021-01-04T21:00:00.000000000")
    ('2021-01-04', '2021-01-04T21:00:00')
    """
    return str(stamp)[:19].removesuffix("T00:00:00")


def plain_number(value: Any) -> float | None:
    """Return a real number as a float, or None if the value is not a real number.

    numpy's numbers are real numbers. Truth values, complex numbers, time spans (which numpy
    registers as integers), arrays and text are not, even if Python would convert them.

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
        # The value is an int that is larger than every float.
        return math.inf if number > 0 else -math.inf


def is_duration(value: Any) -> bool:
    """Whether a value is a time span of numpy; its dtype says so, without an import of numpy."""
    return getattr(getattr(value, "dtype", None), "kind", "") == "m"


def _plain(value: Any) -> Any:
    """Return a scalar of numpy as a plain Python value."""
    scalar = hasattr(value, "dtype") and getattr(value, "shape", None) == ()
    return value.item() if scalar else value


def cited(value: Any) -> str:
    """Return a value as Python writes it, cut to 60 characters; a numpy scalar as a plain value.

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

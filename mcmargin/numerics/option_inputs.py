"""Checks of the inputs of option formulas.

In: numbers and arrays as a caller gave them, on the host or on a device. Out: the same values, or
an error that names the input and its first element that cannot be used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mcmargin.errors import DataError
from mcmargin.numerics.arrays import array_module


def check_shapes(*inputs: Any) -> None:
    """Raise DataError unless the inputs broadcast together."""
    try:
        np.broadcast_shapes(*(np.shape(x) for x in inputs))
    except ValueError:
        shapes = ", ".join(str(np.shape(x)) for x in inputs)
        raise DataError(f"options: shapes {shapes} do not broadcast together") from None


def checked_numbers(name: str, value: Any, *, above: bool = False) -> Any:
    """Return a number or an array of numbers that are finite and 0 or more, or else above 0.

    Raises
    ------
    DataError
        If an element is not; the message names the input and its first such element.

    Examples
    --------
    >>> checked_numbers("strike", [90, 110])
    array([ 90, 110])
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool | np.floating):
        value = float(value)
    array = real_numbers(name, value)
    xp = array_module(array)
    good = xp.isfinite(array) & (array > 0 if above else array >= 0)
    if not bool(good.all()):
        at = np.unravel_index(int(xp.flatnonzero(~good)[0]), array.shape)
        where = f", element {', '.join(map(str, at))}" if at else ""
        least = "above 0" if above else "0 or more"
        raise DataError(f"options: {name}{where} is {array[at]}; it must be finite and {least}")
    return value if isinstance(value, float) else array


def real_numbers(name: str, value: Any) -> Any:
    """Return an array of real numbers, or a scalar of numpy or cupy as it is.

    Raises
    ------
    DataError
        If the value is a masked array, or not of real numbers.

    Examples
    --------
    >>> real_numbers("price", [1, 2])
    array([1, 2])
    """
    array = value if hasattr(value, "dtype") else np.asarray(value)
    if isinstance(array, np.ma.MaskedArray):
        raise DataError(f"options: {name} is a masked array; take out what is masked first")
    if array.dtype.kind not in "iuf":
        raise DataError(f"options: {name} must be numbers, not {array.dtype}")
    return array


def checked_sign(kind: Any) -> Any:
    """Return 1 for calls and -1 for puts, as one number or one for each element.

    Raises
    ------
    DataError
        If `kind` is neither "call", "put" nor booleans.

    Examples
    --------
    >>> checked_sign("put"), checked_sign([True, False]).tolist()
    (-1.0, [1.0, -1.0])
    """
    if isinstance(kind, str):
        if kind not in ("call", "put"):
            raise DataError(f"options: kind must be 'call' or 'put', not {kind!r}")
        return 1.0 if kind == "call" else -1.0
    array = kind if hasattr(kind, "dtype") else np.asarray(kind)
    if array.dtype.kind != "b":
        raise DataError("options: kind must be 'call', 'put' or booleans, True for calls")
    return array_module(array).where(array, 1.0, -1.0)

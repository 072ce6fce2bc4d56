"""What several stages share: whole numbers, times for people, the shape of a progress callback."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, TypeAlias

from mcmargin.errors import PolicyError

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the pieces of work done, and how many there are in all."""


def whole_number(name: str, value: Any, *, least: int = 1) -> int:
    """Return a plain int, whatever integer type came in, so that it files and hashes alike.

    Raises
    ------
    PolicyError
        If the value is not an integer, or below `least`.

    Examples
    --------
    >>> whole_number("paths", 1000)
    1000
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise PolicyError(f"{name} must be an integer of {least} or more, not {value!r}")
    return int(value)


def plain_time(stamp: object) -> str:
    """Time of a bar for people: to the second, or the date alone at midnight.

    Examples
    --------
    >>> plain_time("2021-01-04T00:00:00.000000000"), plain_time("2021-01-04T21:00:00.000000000")
    ('2021-01-04', '2021-01-04T21:00:00')
    """
    return str(stamp)[:19].removesuffix("T00:00:00")

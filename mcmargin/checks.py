"""What several stages share: whole numbers, times for people, progress, work on threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from typing import Any, TypeAlias, TypeVar

from mcmargin.errors import PolicyError

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the pieces of work done, and how many there are in all."""

T = TypeVar("T")
R = TypeVar("R")


def parallel(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Results of `work`, in the items' order, made by threads where there are several.

    Examples
    --------
    >>> list(parallel(abs, [-1, 2, -3], 2))
    [1, 2, 3]
    """
    if threads < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from pool.map(work, items)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


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

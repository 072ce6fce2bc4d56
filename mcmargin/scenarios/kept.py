"""What is made of scenarios once and asked for again, such as their closes.

In: a key, and a function that makes a value. Out: the value, made by the first who asks. A lock
lets several threads ask; a pickle or a copy starts empty.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import RLock
from typing import Any, TypeVar

T = TypeVar("T")


class Kept:
    """Values that are made once for each key.

    Examples
    --------
    >>> kept = Kept()
    >>> kept.once("a", lambda: 1), kept.once("a", lambda: 2)
    (1, 1)
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}
        self._lock = RLock()

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key; `make` is called if nobody has asked for it before."""
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
            value: T = self._values[key]
            return value

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()

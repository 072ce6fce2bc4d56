"""Progress of long work.

In: a callable, which the caller of the work gives. Out: calls of it, while the work is being done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""A callable that gets the number of pieces that are done, and the number of all pieces."""


class Passes:
    """Progress of work that goes over the same pieces several times.

    Parameters
    ----------
    call : callable
        It gets the pieces done in all passes so far, and the number of pieces in all passes. The
        first number only grows, and the second stays the same.
    pieces, count : int
        Number of pieces in one pass, and number of passes.

    Examples
    --------
    >>> passes = Passes(lambda done, total: print(done, "of", total), 100, 2)
    >>> first, second = passes.begin(), passes.begin()
    >>> first(50, 100)
    50 of 200
    >>> second(1, 4)
    125 of 200
    >>> passes.finish()
    200 of 200
    """

    def __init__(self, call: Progress, pieces: int, count: int) -> None:
        self._call, self._pieces, self._total = call, pieces, pieces * count
        self._begun = self._told = 0

    def begin(self) -> Progress:
        """Begin the next pass, and return its callable, which may count pieces of its own."""
        before = self._begun
        self._begun += self._pieces
        return lambda done, total: self._tell(before + self._pieces * done // total)

    def finish(self) -> None:
        """Say that all is done, including passes that told nothing."""
        self._tell(self._total)

    def _tell(self, done: int) -> None:
        if done > self._told:
            self._told = done
            self._call(done, self._total)

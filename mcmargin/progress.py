"""Progress of long work: who is called, with what, while it is being done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the pieces of work done, and how many there are in all."""


class Passes:
    """Progress over several passes of the same pieces, in all a number that stays.

    Parameters
    ----------
    call : callable
        Called with pieces of all passes done, which grow, and how many there are.
    pieces, count : int
        Pieces of one pass, and passes.

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
        """Progress of the pass that comes next, in whatever it counts itself."""
        before = self._begun
        self._begun += self._pieces
        return lambda done, total: self._tell(before + self._pieces * done // total)

    def finish(self) -> None:
        """All is done, also what had nothing to count."""
        self._tell(self._total)

    def _tell(self, done: int) -> None:
        if done > self._told:
            self._told = done
            self._call(done, self._total)

"""How a simulation runs, and not what: nothing here changes a figure beyond an engine's bound."""

from __future__ import annotations

from dataclasses import dataclass

from mcmargin.progress import Progress


@dataclass(frozen=True)
class Execution:
    """What an engine may use.

    Attributes
    ----------
    threads : int
        Of the processor; the cupy engine has no use for them.
    devices : tuple of int, optional
        GPUs to spread tiles over; the current one by default. The numpy engine has no use for
        them.
    block_tiles : int, optional
        Tiles of 2,048 paths worked on at a time; as many as suit the engine by default.
    progress : callable, optional
        Called with blocks done and in all.
    """

    threads: int = 1
    devices: tuple[int, ...] | None = None
    block_tiles: int | None = None
    progress: Progress | None = None

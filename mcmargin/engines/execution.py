"""How a simulation is run: on which threads and devices, and in which pieces.

In: numbers, which `choice` takes from the caller or from the environment. Out: one value, which the
engines read. Nothing in it changes a figure by more than the error bound of its engine.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcmargin.progress import Progress


@dataclass(frozen=True)
class Execution:
    """What an engine may use while it simulates.

    Attributes
    ----------
    threads : int
        Threads of the processor. The cupy engine does not use them.
    devices : tuple of int, optional
        GPUs to spread the tiles over; the current one by default. The numpy engine does not use
        them.
    block_tiles : int, optional
        Tiles of 2,048 paths that are simulated together; by default the engine chooses.
    progress : callable, optional
        It gets the number of pieces that are done, and the number of all pieces.
    """

    threads: int = 1
    devices: tuple[int, ...] | None = None
    block_tiles: int | None = None
    progress: Progress | None = None

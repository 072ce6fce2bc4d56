"""Work under a memory limit, which is lowered where the memory does not suffice.

In: work that takes a memory limit, and a first limit. Out: the work's result, which no limit
changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from mcmargin.engines import cupy_devices
from mcmargin.errors import EngineError
from mcmargin.numerics.arrays import array_module, device_of
from mcmargin.scenarios.scenarios import Scenarios

SHARE_OF_MEMORY = 4
"""The default limit is the memory over this number."""

SMALLEST_LIMIT = 2**20
"""Bytes below which a memory limit is not halved."""

T = TypeVar("T")


def within_memory(
    work: Callable[[int], T], scenarios: Scenarios, memory_limit: int | None, what: str
) -> T:
    """Result of some work under a memory limit, which is halved while the memory does not suffice.

    Parameters
    ----------
    work : callable
        From a memory limit in bytes to the result. After a MemoryError it is called again with
        half of the limit.
    scenarios : Scenarios
        The work runs on the device where they lie.
    memory_limit : int, optional
        The first limit; by default a quarter of the machine's memory, or of the device's free
        memory.
    what : str
        What the work is about, for the error.

    Raises
    ------
    EngineError
        If the memory does not suffice with `SMALLEST_LIMIT` either.
    """
    device = array_module(scenarios.returns) is not np
    with device_of(scenarios.returns):
        limit = memory_limit
        if limit is None and device:
            limit = max(1, cupy_devices.free_bytes() // SHARE_OF_MEMORY)
        limit = default_memory_limit() if limit is None else limit
        while True:
            try:
                return work(limit)
            except MemoryError as error:
                # That of cupy is a MemoryError, too.
                if limit <= SMALLEST_LIMIT:
                    raise EngineError(
                        f"{what} on {scenarios.plan.paths} paths do not fit the memory ({error}); "
                        "free some of it, or simulate fewer paths"
                    ) from None
            # Out of the handler, which would keep the arrays of the failed attempt alive.
            limit //= 2
            if device:
                cupy_devices.release_memory()


def default_memory_limit() -> int:
    """A quarter of the machine's memory, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // SHARE_OF_MEMORY

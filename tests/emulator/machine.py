"""The pretended machine: its GPUs, their memory, and the failures that a test asks for."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field
from typing import Any

UNIT = 512
"""The pool of cupy gives memory in multiples of this number of bytes."""


class OutOfMemoryError(MemoryError):
    """The error cupy.cuda.memory.OutOfMemoryError."""

    __module__ = "cupy.cuda.memory"


class CUDARuntimeError(RuntimeError):
    """The error cupy.cuda.runtime.CUDARuntimeError."""

    __module__ = "cupy_backends.cuda.api.runtime"


@dataclass
class Device:
    """A pretended GPU: its memory in bytes, and the math mode of its cuBLAS handle."""

    capacity: int = 4 << 30
    limit: int = 0
    used: int = 0
    held: int = 0
    math_mode: int = 0


@dataclass(frozen=True)
class Launch:
    """A launch of a kernel."""

    name: str
    device: int
    grid: tuple[int, ...]
    block: tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """A matrix product, and the math mode in which it ran."""

    device: int
    dtype: str
    math_mode: int


class Memory:
    """An allocation; its bytes go back to the pool when no array uses it any more."""

    def __init__(self, machine: Machine, device: int, size: int) -> None:
        self.machine, self.device, self.size = machine, device, size
        weakref.finalize(self, _give_back, machine.devices[device], size)


def _give_back(device: Device, size: int) -> None:
    device.used -= size


@dataclass
class Machine:
    """Pretended GPUs, and a record of what happened on them.

    Attributes
    ----------
    devices : list of Device
    fail_allocations : set of int
        Numbers of the allocations that fail, counted from 0.
    largest : int, optional
        An allocation of more bytes than this fails.
    allocations : int
        Number of allocations so far, including those that failed.
    launches, products : list
    waits : list of int
        Devices on whose stream the host waited.
    module : module
        The cupy of this machine.
    """

    devices: list[Device] = field(default_factory=lambda: [Device()])
    fail_allocations: set[int] = field(default_factory=set)
    largest: int | None = None
    allocations: int = 0
    launches: list[Launch] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    module: Any = None
    _thread: threading.local = field(default_factory=threading.local)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def current(self) -> int:
        """The current device of this thread; CUDA keeps one for each thread."""
        return getattr(self._thread, "device", 0)

    @current.setter
    def current(self, device: int) -> None:
        if not 0 <= device < len(self.devices):
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self._thread.device = device

    def allocate(self, size: int) -> Memory:
        """Take memory on the current device, as the pool of cupy does."""
        size = -(-size // UNIT) * UNIT
        with self._lock:
            number, self.allocations = self.allocations, self.allocations + 1
            if not self.devices:
                raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
            device = self.devices[self.current]
            room = min(device.capacity, device.limit or device.capacity) - device.used
            too_large = self.largest is not None and size > self.largest
            if number in self.fail_allocations or too_large or size > room:
                raise OutOfMemoryError(
                    f"Out of memory allocating {size:,} bytes "
                    f"(allocated so far: {device.used:,} bytes)."
                )
            device.used += size
            device.held = max(device.held, device.used)
        return Memory(self, self.current, size)

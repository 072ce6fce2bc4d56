"""The pretended machine: its GPUs, what their memory holds, and the failures that a test plants."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field
from typing import Any

UNIT = 512
"""cupy's pool hands out memory in multiples of this."""


class OutOfMemoryError(MemoryError):
    """As cupy.cuda.memory.OutOfMemoryError."""

    __module__ = "cupy.cuda.memory"


class CUDARuntimeError(RuntimeError):
    """As cupy.cuda.runtime.CUDARuntimeError."""

    __module__ = "cupy_backends.cuda.api.runtime"


@dataclass
class Device:
    """One pretended GPU: its memory in bytes, and the math mode of its cuBLAS handle."""

    capacity: int = 4 << 30
    limit: int = 0
    used: int = 0
    held: int = 0
    math_mode: int = 0


@dataclass(frozen=True)
class Launch:
    """One kernel launch."""

    name: str
    device: int
    grid: tuple[int, ...]
    block: tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """One matrix product, and the math mode it ran under."""

    device: int
    dtype: str
    math_mode: int


class Memory:
    """One allocation; its bytes go back to the pool with the last array that lies in it."""

    def __init__(self, machine: Machine, device: int, size: int) -> None:
        self.machine, self.device, self.size = machine, device, size
        weakref.finalize(self, _give_back, machine.devices[device], size)


def _give_back(device: Device, size: int) -> None:
    device.used -= size


@dataclass
class Machine:
    """GPUs, and what happened on them.

    Attributes
    ----------
    devices : list of Device
    fail_allocations : set of int
        Allocations that fail, counted from 0.
    largest : int, optional
        Bytes beyond which every single allocation fails.
    allocations : int
        Made so far, those that failed included.
    launches, products : list
    waits : list of int
        Devices whose stream was waited for.
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
        """This thread's device, as CUDA keeps it."""
        return getattr(self._thread, "device", 0)

    @current.setter
    def current(self, device: int) -> None:
        if not 0 <= device < len(self.devices):
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self._thread.device = device

    def allocate(self, size: int) -> Memory:
        """Take memory of the current device, as cupy's pool does."""
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

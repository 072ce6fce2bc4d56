"""cupy and the GPUs that it finds: whether they can be used, their names and their memory.

In: the machine. Out: names, places, bytes, versions. The functions import cupy, so that this module
can be imported where cupy is not installed. `missing` and `device_names` can always be called, and
the other functions only if `missing` returns None.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from numbers import Integral

from mcmargin.errors import EngineError

INSTALL = "install mcmargin with its extra cuda13 or cuda12 (README)"


def missing() -> str | None:
    """Return why cupy cannot be used on this machine, or None if it can."""
    if importlib.util.find_spec("cupy") is None:
        return f"cupy is not installed; {INSTALL}"
    try:
        import cupy

        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            return f"cupy finds no usable CUDA device ({error})"
        if not count:
            return "cupy finds no CUDA device"
        from cupy import cublas  # noqa: F401  # loaded on a device alone
    except (ImportError, OSError) as error:
        # The message of cupy is a page long; the error that caused it names the library.
        return f"cupy cannot be loaded ({_first_line(error.__cause__ or error)}); {INSTALL}"
    return None


def _first_line(error: BaseException) -> str:
    lines = (line.strip(" =") for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def device_names() -> list[str]:
    """Return the names of this machine's GPUs; an empty list if cupy cannot be used."""
    if missing() is not None:
        return []
    import cupy

    runtime = cupy.cuda.runtime
    properties = (runtime.getDeviceProperties(at) for at in range(runtime.getDeviceCount()))
    return [str(each["name"], "utf-8") for each in properties]


def checked_devices(devices: Sequence[int]) -> tuple[int, ...]:
    """Return places of GPUs as plain integers.

    Raises
    ------
    EngineError
        If a place is not one of this machine's, or is given twice, or if none is given.
    """
    import cupy

    count = cupy.cuda.runtime.getDeviceCount()
    if isinstance(devices, str) or not isinstance(devices, Sequence) or not devices:
        raise EngineError(
            f"devices must be several places of GPUs, such as (0, 1), not {devices!r}"
        )
    for each in devices:
        if isinstance(each, bool) or not isinstance(each, Integral) or not 0 <= each < count:
            raise EngineError(f"device {each!r} is not here; this machine has 0 to {count - 1}")
    if len(set(devices)) < len(devices):
        raise EngineError(f"devices {tuple(devices)} repeat; give each once")
    return tuple(int(each) for each in devices)


def free_bytes() -> int:
    """Return the bytes that can still be used on the current device, within the pool's limit."""
    import cupy

    pool = cupy.get_default_memory_pool()
    free = cupy.cuda.runtime.memGetInfo()[0] + pool.free_bytes()
    if pool.get_limit():
        free = min(free, pool.get_limit() - pool.used_bytes())
    return int(free)


def release_memory() -> None:
    """Give back the memory that cupy's pool keeps without use."""
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()


def versions() -> dict[str, str]:
    """Return the versions of cupy and of the CUDA runtime."""
    import cupy

    number = cupy.cuda.runtime.runtimeGetVersion()
    return {"cupy": cupy.__version__, "cuda": f"{number // 1000}.{number % 1000 // 10}"}

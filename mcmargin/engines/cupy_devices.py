"""cupy and the GPUs that it finds: whether they can be used, what they are called, their memory.

cupy is imported inside the functions, so that this module can be imported where cupy is not
installed. All functions but `missing` and `device_names` need a machine on which `missing` returns
None.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from numbers import Integral

from mcmargin.errors import EngineError

INSTALL = "install mcmargin with its extra cuda13 or cuda12 (README)"


def missing() -> str | None:
    """Why this engine cannot run here, or None where it can."""
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
        # cupy's own message is a page; what it was raised from names the library.
        return f"cupy cannot be loaded ({_first_line(error.__cause__ or error)}); {INSTALL}"
    return None


def _first_line(error: BaseException) -> str:
    lines = (line.strip(" =") for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def device_names() -> list[str]:
    """Names of this machine's GPUs; none where the engine cannot run."""
    if missing() is not None:
        return []
    import cupy

    runtime = cupy.cuda.runtime
    properties = (runtime.getDeviceProperties(at) for at in range(runtime.getDeviceCount()))
    return [str(each["name"], "utf-8") for each in properties]


def checked_devices(devices: Sequence[int]) -> tuple[int, ...]:
    """Places of GPUs, each once and each one that this machine has.

    Raises
    ------
    EngineError
        For anything else.
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
    """Memory of the current device that is free, the pool's limit included."""
    import cupy

    pool = cupy.get_default_memory_pool()
    free = cupy.cuda.runtime.memGetInfo()[0] + pool.free_bytes()
    if pool.get_limit():
        free = min(free, pool.get_limit() - pool.used_bytes())
    return int(free)


def release_memory() -> None:
    """Give back what the pool keeps for later and nothing uses."""
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()


def versions() -> dict[str, str]:
    """Of cupy, and of the CUDA runtime that it runs on, where the engine can run."""
    import cupy

    number = cupy.cuda.runtime.runtimeGetVersion()
    return {"cupy": cupy.__version__, "cuda": f"{number // 1000}.{number % 1000 // 10}"}

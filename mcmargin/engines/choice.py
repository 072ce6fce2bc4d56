"""The choice of an engine: which one runs, on which GPUs, and with how many threads.

In: what the caller asks for; where nothing is asked for, the environment variables
`MCMARGIN_ENGINE`, `MCMARGIN_DEVICES` and `MCMARGIN_THREADS`. Out: a name that `engine_named` turns
into the engine, places of GPUs, a number of threads; and the versions of the libraries that the
figures may depend on.
"""

from __future__ import annotations

import os
import platform
from types import ModuleType

import numpy as np
import scipy

from mcmargin.audit import package_version
from mcmargin.checks import whole_number
from mcmargin.engines import cupy_devices, cupy_engine, numpy_engine
from mcmargin.errors import EngineError, PolicyError
from mcmargin.workers import cores

ENGINES = ("auto", "numpy", "cupy")
"""Names that a caller may ask for."""


def engine_named(name: str) -> ModuleType:
    """Return the engine of a name: a module with the functions that all engines have.

    Parameters
    ----------
    name : str
        `numpy` or `cupy`: what `choose_engine` returns, or the name of an array's module.

    Examples
    --------
    >>> engine_named("numpy").__name__
    'mcmargin.engines.numpy_engine'
    """
    return {"numpy": numpy_engine, "cupy": cupy_engine}[name]


def device_ids(devices: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return the GPUs that were asked for, else those of `MCMARGIN_DEVICES`, else None.

    Raises
    ------
    EngineError
        If a device is not on this machine or is given twice.
    """
    if devices is not None:
        return cupy_devices.checked_devices(devices)
    given = os.environ.get("MCMARGIN_DEVICES")
    if not given:
        return None
    if not all(each.strip().isdecimal() for each in given.split(",")):
        raise EngineError(f"MCMARGIN_DEVICES must be places of GPUs, such as 0,1, not {given!r}")
    return cupy_devices.checked_devices([int(each) for each in given.split(",")])


def choose_engine(engine: str) -> str:
    """Return the name of the engine that will run.

    Parameters
    ----------
    engine : str
        One of `ENGINES`. `auto` takes `MCMARGIN_ENGINE`; if that is not set, it takes cupy on a
        machine that has a GPU and numpy elsewhere.

    Raises
    ------
    EngineError
        If the engine is unknown or cannot run on this machine.

    Examples
    --------
    >>> choose_engine("numpy")
    'numpy'
    """
    if isinstance(engine, str) and engine == "auto":
        engine = os.environ.get("MCMARGIN_ENGINE") or "auto"
    if not isinstance(engine, str) or engine not in ENGINES:
        raise EngineError(f"engine {engine!r:.60} is unknown; choose one of {ENGINES}")
    if engine == "numpy":
        return "numpy"
    reason = cupy_devices.missing()
    if reason is None:
        return "cupy"
    if engine == "cupy":
        raise EngineError(f"engine 'cupy' cannot run here: {reason}; use engine='numpy'")
    return "numpy"


def thread_count(threads: int | None) -> int:
    """Return the number of threads: as asked, else `MCMARGIN_THREADS`, else one for each core.

    Raises
    ------
    PolicyError
        If the number is not a whole number above 0.

    Examples
    --------
    >>> thread_count(2)
    2
    """
    if threads is None:
        given = os.environ.get("MCMARGIN_THREADS") or None
        if given is None:
            return cores()
        if not (given.isascii() and given.isdigit() and int(given) > 0):
            raise PolicyError(f"MCMARGIN_THREADS must be a whole number above 0, not {given!r}")
        return int(given)
    return whole_number("threads", threads)


def library_versions(engine: str) -> dict[str, str]:
    """Return the versions of the libraries that the figures of an engine may depend on.

    The libraries that a model was fitted with are not among them; the model keeps their versions.
    """
    return {
        "mcmargin": package_version("mcmargin"),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        **(cupy_devices.versions() if engine == "cupy" else {}),
    }

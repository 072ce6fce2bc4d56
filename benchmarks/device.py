"""The GPU that figures belong to: its name, its versions, and the peaks that its attributes give.

Settings for a run on it are made before numpy is imported. With MCMARGIN_TEST_GPU=double, cupy's
double takes the place of the GPU: then everything except the figures can be tried without one.
"""

import contextlib
import importlib
import os
import platform
import sys

SETTINGS = {
    # The tests' fixtures then use cupy and a GPU.
    "MCMARGIN_TEST_GPU": "1",
    # The numpy engine makes its own threads; threadpoolctl may not be installed.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # JAX would reserve three quarters of the memory at once.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}

NO_DEVICE = 2
"""Exit status if there is no GPU, or if a package is missing that is needed."""

NEEDED = ("numpy", "scipy", "pandas", "pytest")
"""Packages that are needed beside cupy; the engine itself says why cupy cannot be used."""

SINGLE_LANES = {70: 64, 75: 64, 80: 64, 86: 128, 87: 128, 89: 128, 90: 128, 100: 128, 120: 128}
"""float32 lanes of a multiprocessor, by compute capability (CUDA C++ Programming Guide, table
"Throughput of Native Arithmetic Instructions"); other devices take the nearest one below."""


def on_the_double():
    """Return whether cupy's double takes the place of a GPU."""
    return os.environ.get("MCMARGIN_TEST_GPU") == "double"


def prepare():
    """Make the settings that the caller has not made; numpy must not be imported yet.

    Raises
    ------
    RuntimeError
        If numpy is imported already, because BLAS reads its settings only once.
    """
    if "numpy" in sys.modules and os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        raise RuntimeError("numpy is imported already; start a process of its own")
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if on_the_double():
        os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")


def absent(packages):
    """Names of the packages that cannot be imported, as one text; it is empty if there is none.

    Call `prepare` first, because numpy is one of the packages.
    """
    found = []
    for package in packages:
        try:
            importlib.import_module(package.replace("-", "_"))
        except ImportError:
            found.append(package)
    return ", ".join(found)


@contextlib.contextmanager
def cupy_installed():
    """Give cupy or its double, and the reason if there is no GPU.

    Yields
    ------
    cupy : module, optional
        None if it finds no GPU.
    reason : str, optional
    """
    from mcmargin.engines.cupy_devices import missing

    with contextlib.ExitStack() as stack:
        if on_the_double():
            from tests.emulator.fake_cupy import installed
            from tests.emulator.machine import Device, Machine

            stack.enter_context(installed(Machine([Device()])))
        reason = missing()
        if reason is not None:
            yield None, reason
            return
        import cupy

        yield cupy, None


def facts(cupy):
    """Name, compute capability, memory, versions and peaks of the current device."""
    import numpy

    runtime, device = cupy.cuda.runtime, cupy.cuda.Device()
    name = runtime.getDeviceProperties(device.id)["name"]
    return {
        "name": str(name, "utf-8"),
        "devices": runtime.getDeviceCount(),
        "compute_capability": f"{device.compute_capability[:-1]}.{device.compute_capability[-1]}",
        "memory_GB": round(device.mem_info[1] / 1e9, 1),
        "driver": _version(runtime.driverGetVersion()),
        "runtime": _version(runtime.runtimeGetVersion()),
        "cupy": cupy.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        **peaks(cupy),
    }


def peaks(cupy):
    """What the card can do at its highest clocks, from its attributes; 0 if they do not say.

    Bytes/s: bus width x memory clock x 2 (double data rate). float32 flop/s: multiprocessors x
    lanes x 2 (a fused multiply and add) x clock. Instructions/s: multiprocessors x 4 schedulers x
    32 threads x clock.
    """
    device = cupy.cuda.Device()
    attributes = device.attributes
    clock = attributes.get("ClockRate", 0) * 1e3
    memory_clock = attributes.get("MemoryClockRate", 0) * 1e3
    processors = attributes["MultiProcessorCount"]
    capability = int(device.compute_capability)
    lanes = SINGLE_LANES[max(key for key in SINGLE_LANES if key <= capability)]
    return {
        "multiprocessors": processors,
        "clock_MHz": round(clock / 1e6),
        "peak_bytes_s": 2 * memory_clock * attributes.get("GlobalMemoryBusWidth", 0) / 8,
        "peak_flop_s": processors * lanes * 2 * clock,
        "multiprocessor_cycles_s": processors * clock,
    }


def _version(number):
    return f"{number // 1000}.{number % 1000 // 10}"

"""The modules cupy and cupyx on a processor, for the host code of an engine.

In: a `Machine`. Out: modules for sys.modules, with the part of cupy 14.2 that an engine needs. They
have no name and no parameter that cupy does not have. tests/gpu/README.md lists what they cannot
show.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import importlib.machinery
import sys
import time
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from tests.emulator.device_array import apply, check_parameters, ndarray, own
from tests.emulator.machine import CUDARuntimeError, Machine, OutOfMemoryError, Product
from tests.emulator.raw_module import CompileException, RawKernel, RawModule

CONSTANTS = """
bool_ dtype e float32 float64 finfo iinfo inf int32 int64 intp nan newaxis pi uint8 uint32 uint64
""".split()  # noqa: SIM905

UFUNCS = """
abs absolute add bitwise_and bitwise_or ceil copysign cos divide equal exp exp2 expm1 fabs floor
floor_divide fmax fmin greater greater_equal invert isfinite isinf isnan less less_equal log log1p
log2 logical_and logical_not logical_or maximum minimum multiply negative not_equal power
reciprocal remainder rint sign sin sqrt square subtract tan tanh true_divide trunc
""".split()  # noqa: SIM905

FUNCTIONS = {
    **dict.fromkeys(("empty_like", "zeros_like", "ones_like"), "a dtype order subok shape"),
    **dict.fromkeys(("sum", "prod", "mean"), "a axis dtype out keepdims"),
    **dict.fromkeys(("std", "var"), "a axis dtype out ddof keepdims"),
    **dict.fromkeys(("min", "max", "amin", "amax", "any", "all"), "a axis out keepdims"),
    **dict.fromkeys(("argmin", "argmax"), "a axis out keepdims"),
    **dict.fromkeys(("cumsum", "cumprod"), "a axis dtype out"),
    **dict.fromkeys(("sort", "argsort"), "a axis kind"),
    **dict.fromkeys(("partition", "argpartition"), "a kth axis"),
    **dict.fromkeys(("nonzero", "flatnonzero"), "a"),
    **dict.fromkeys(("vstack", "hstack"), "tup dtype casting"),
    **dict.fromkeys(("concatenate", "stack"), "tup axis out dtype casting"),
    **dict.fromkeys(("squeeze", "expand_dims"), "a axis"),
    **dict.fromkeys(("allclose", "isclose"), "a b rtol atol equal_nan"),
    "array_equal": "a1 a2 equal_nan",
    "interp": "x xp fp left right period",
    "broadcast_to": "array shape",
    "clip": "a a_min a_max out",
    "column_stack": "tup",
    "copyto": "dst src casting where",
    "count_nonzero": "a axis",
    "diff": "a n axis prepend append",
    "dot": "a b out",
    "moveaxis": "a source destination",
    "ravel": "a order",
    "repeat": "a repeats axis",
    "reshape": "a newshape order",
    "searchsorted": "a v side sorter",
    "swapaxes": "a axis1 axis2",
    "take": "a indices axis out",
    "take_along_axis": "a indices axis",
    "tile": "A reps",
    "transpose": "a axes",
    "where": "condition x y",
}
"""Functions of numpy that cupy has, with the parameters of cupy."""

CREATION = {
    **dict.fromkeys(("zeros", "ones"), "shape dtype order"),
    "full": "shape fill_value dtype order",
    "arange": "start stop step dtype",
    "linspace": "start stop num endpoint retstep dtype axis",
}


class Ufunc:
    """A ufunc of cupy: it calls that of numpy for device arrays and scalars."""

    def __init__(self, machine: Machine, ufunc: np.ufunc) -> None:
        self._machine, self._ufunc = machine, ufunc

    def __call__(self, *args, out=None, dtype=None, casting="same_kind") -> ndarray:
        if any(isinstance(each, list | tuple) for each in args):
            raise TypeError("Unsupported type of a ufunc's argument: a list or tuple")
        kwargs = {"out": out, "dtype": dtype, "casting": casting}
        return apply(self._machine, self._ufunc, args, kwargs)

    def __getattr__(self, method: str):
        return lambda *args, **kwargs: apply(
            self._machine, getattr(self._ufunc, method), args, kwargs
        )


def _function(machine: Machine, name: str, parameters: str):
    def function(*args, **kwargs):
        check_parameters(name, parameters, args, kwargs)
        if name in ("sort", "argsort"):
            kwargs["kind"] = "stable"
        if name == "take" and "axis" not in kwargs and len(args) < 3:
            kwargs["axis"] = None
        return apply(machine, getattr(np, name), args, kwargs)

    return function


def _creation(machine: Machine, name: str, parameters: str):
    def create(*args, **kwargs):
        check_parameters(name, parameters, args, kwargs)
        return own(machine, getattr(np, name)(*args, **kwargs))

    return create


class _Arrays:
    """Functions that make, copy and multiply device arrays."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def empty(self, shape, dtype=float, order="C") -> ndarray:
        """Return an array filled with bytes of ones, which are NaN in floating point."""
        host = np.empty(shape, dtype, order)
        host.view(np.uint8 if host.flags.c_contiguous and host.ndim else host.dtype).fill(255)
        return own(self.machine, host)

    def asarray(self, a, dtype=None, order=None, *, copy=None, blocking=False) -> ndarray:
        if isinstance(a, ndarray):
            if a.device_id != self.machine.current:
                a = a.copy()
            kept = not copy and (dtype is None or a.dtype == dtype)
            return (
                a if kept and order in (None, "K", "A") else a.astype(dtype or a.dtype, copy=True)
            )
        return own(self.machine, np.array(a, dtype, order=order or "K"))

    def array(self, obj, dtype=None, copy=True, order="K", *, blocking=False) -> ndarray:
        return self.asarray(obj, dtype, order, copy=copy)

    def ascontiguousarray(self, a, dtype=None) -> ndarray:
        a = self.asarray(a, dtype)
        return a if a.flags.c_contiguous and a.ndim else a.reshape(a.shape or (1,)).copy()

    def asnumpy(self, a, stream=None, order="C", out=None, *, blocking=True) -> np.ndarray:
        return a.get(order=order, out=out) if isinstance(a, ndarray) else np.asarray(a, order=order)

    def get_array_module(self, *args):
        return self.machine.module if any(isinstance(a, ndarray) for a in args) else np

    def matmul(self, x1, x2, /, out=None) -> ndarray:
        self.note_product(x1)
        return apply(self.machine, np.matmul, (x1, x2), {"out": out})

    def gemm(self, transa, transb, a, b, out=None, alpha=1.0, beta=0.0) -> ndarray:
        """Set out = alpha op(a) op(b) + beta out, as cupy.cublas.gemm does."""
        assert a.ndim == b.ndim == 2
        assert a.dtype == b.dtype
        left, right = (x.T if t == "T" else x for t, x in ((transa, a), (transb, b)))
        if out is None:
            out, beta = self.empty((left.shape[0], right.shape[1]), a.dtype, "F"), 0.0
        assert out.shape == (left.shape[0], right.shape[1])
        assert out.dtype == a.dtype
        product = alpha * self.matmul(left, right)
        out[...] = product + beta * out if beta else product
        return out

    def note_product(self, a: ndarray) -> None:
        machine = self.machine
        mode = machine.devices[machine.current].math_mode
        machine.products.append(Product(machine.current, str(a.dtype), mode))


class _Current:
    """cupy.cuda.Device; without a number, it is the current device."""

    def __init__(self, machine: Machine, device: int | None = None) -> None:
        self._machine = machine
        self.id = machine.current if device is None else device
        self._before: list[int] = []

    def __enter__(self):
        self._before.append(self._machine.current)
        return self.use()

    def __exit__(self, *args) -> None:
        self._machine.current = self._before.pop()

    def use(self):
        self._machine.current = self.id
        return self

    def synchronize(self) -> None:
        pass

    compute_capability = "90"

    @property
    def attributes(self) -> dict[str, int]:
        return {
            "MultiProcessorCount": 132,
            "MaxThreadsPerBlock": 1024,
            "ClockRate": 1_980_000,
            "MemoryClockRate": 2_619_000,
            "GlobalMemoryBusWidth": 5120,
        }

    @property
    def mem_info(self) -> tuple[int, int]:
        device = self._machine.devices[self.id]
        return device.capacity - device.held, device.capacity


class _Stream:
    """cupy.cuda.Stream; work runs at once, so that there is nothing to wait for."""

    ptr = 0

    def __init__(self, machine: Machine, null=False, non_blocking=False, ptds=False) -> None:
        self._machine = machine

    def __enter__(self):
        return self

    def __exit__(self, *args) -> None:
        pass

    def use(self):
        return self

    def synchronize(self) -> None:
        self._machine.waits.append(self._machine.current)


class _Pool:
    """The pool of the current device, as cupy.get_default_memory_pool() returns it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def _device(self):
        return self._machine.devices[self._machine.current]

    def used_bytes(self) -> int:
        return self._device.used

    def total_bytes(self) -> int:
        return self._device.held

    def free_bytes(self) -> int:
        return self._device.held - self._device.used

    def get_limit(self) -> int:
        return self._device.limit

    def set_limit(self, size=None, fraction=None) -> None:
        self._device.limit = int(fraction * self._device.capacity) if size is None else size

    def free_all_blocks(self, stream=None) -> None:
        self._device.held = self._device.used


class csr_matrix:
    """cupyx.scipy.sparse.csr_matrix, for products with dense device arrays."""

    def __init__(self, machine: Machine, arg1, shape=None, dtype=None, copy=False) -> None:
        from scipy import sparse

        data, indices, indptr = arg1
        for part in (data, indices, indptr):
            if not isinstance(part, ndarray):
                raise TypeError(f"Unsupported type {type(part)}")
            part.check_device()
        if data.dtype.char not in "?fdFD":
            raise ValueError("Only bool, float32, float64, complex64 and complex128 are supported")
        self._machine, self._parts = machine, (data, indices, indptr)
        hosts = (data.get(), indices.get(), indptr.get())
        self._host = sparse.csr_matrix(hosts, shape=shape, dtype=dtype)
        self.shape, self.dtype = self._host.shape, self._host.dtype

    def __matmul__(self, other: ndarray) -> ndarray:
        if not isinstance(other, ndarray):
            return NotImplemented
        # cuSPARSE needs columns, and cupy makes a copy with them, which takes memory for a while.
        columns = self._machine.module.asfortranarray(other)
        product = np.asarray(self._host @ columns.get())
        return own(self._machine, np.asfortranarray(product))


def _count(machine: Machine) -> int:
    if not machine.devices:
        raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
    return len(machine.devices)


def _properties(machine: Machine, device: int) -> dict[str, Any]:
    if not 0 <= device < len(machine.devices):
        raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
    capacity = machine.devices[device].capacity
    return {"name": b"Pretended GPU", "totalGlobalMem": capacity, "multiProcessorCount": 132}


def _set_mode(machine: Machine, handle: int, mode: int) -> None:
    machine.devices[handle - 1].math_mode = mode


def _random(machine: Machine) -> dict[str, Any]:
    """cupy.random: functions that draw from a generator of numpy."""
    draw = np.random.default_rng()

    def standard_normal(size=None, dtype=float):
        return own(machine, np.asarray(draw.standard_normal(size), dtype))

    def chisquare(df, size=None, dtype=float):
        return own(machine, np.asarray(draw.chisquare(df, size), dtype))

    return {"standard_normal": standard_normal, "chisquare": chisquare}


def _benchmark(func, args=(), kwargs={}, n_repeat=10000, *, n_warmup=10):  # noqa: B006
    """Measure as cupyx.profiler.benchmark does, with the processor's clock."""
    times = []
    for _ in range(n_warmup + n_repeat):
        start = time.perf_counter()
        func(*args, **kwargs)
        times.append(time.perf_counter() - start)
    kept = np.array(times[n_warmup:])
    return SimpleNamespace(cpu_times=kept, gpu_times=kept[None])


def modules(machine: Machine) -> dict[str, dict[str, Any]]:
    """Return the contents of each module by its name."""
    arrays = _Arrays(machine)
    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=functools.partial(_count, machine),
        getDevice=lambda: machine.current,
        setDevice=lambda device: setattr(machine, "current", device),
        getDeviceProperties=functools.partial(_properties, machine),
        memGetInfo=lambda: _Current(machine).mem_info,
        deviceSynchronize=lambda: None,
        driverGetVersion=lambda: 13_000,
        runtimeGetVersion=lambda: 13_020,
    )
    cublas = {
        "CUBLAS_DEFAULT_MATH": 0,
        "CUBLAS_TENSOR_OP_MATH": 1,
        "setMathMode": functools.partial(_set_mode, machine),
        "getMathMode": lambda handle: machine.devices[handle - 1].math_mode,
    }
    stream = _Stream(machine)
    cuda = {
        "Device": functools.partial(_Current, machine),
        "Stream": functools.partial(_Stream, machine),
        "get_current_stream": lambda: stream,
        "is_available": lambda: bool(machine.devices),
        "runtime": runtime,
        "memory": SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        "compiler": SimpleNamespace(CompileException=CompileException),
        "device": SimpleNamespace(get_cublas_handle=lambda: machine.current + 1),
    }
    cupy = {
        "__version__": "14.2.0",
        "ndarray": ndarray,
        "RawKernel": RawKernel,
        "RawModule": functools.partial(RawModule, machine),
        "get_default_memory_pool": functools.partial(_Pool, machine),
        **{name: getattr(np, name) for name in CONSTANTS},
        **{name: Ufunc(machine, getattr(np, name)) for name in UFUNCS},
        **{name: _function(machine, name, what) for name, what in FUNCTIONS.items()},
        **{name: _creation(machine, name, what) for name, what in CREATION.items()},
        **{
            name: getattr(arrays, name)
            for name in (
                *("array", "asarray", "ascontiguousarray", "asnumpy", "empty"),
                *("get_array_module", "matmul"),
            )
        },
        "asfortranarray": lambda a, dtype=None: own(machine, np.asfortranarray(a.get(), dtype)),
    }
    csr = functools.partial(csr_matrix, machine)
    return {
        "cupy": cupy,
        # cupy does not import this module by itself.
        "cupy.cublas": {"gemm": arrays.gemm},
        "cupy.cuda": cuda,
        "cupy.cuda.cublas": cublas,
        "cupy.random": _random(machine),
        "cupyx": {"empty_pinned": np.empty},
        "cupyx.profiler": {"benchmark": _benchmark},
        "cupyx.scipy": {},
        "cupyx.scipy.sparse": {"csr_matrix": csr, "csr_array": csr},
    }


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the double's modules, so that `import cupy.cublas` works as it does with cupy."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._modules = machine, modules(machine)

    def find_spec(self, name, path=None, target=None):
        if name not in self._modules:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return None

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(self._modules[module.__name__])
        if module.__name__ == "cupy":
            self._machine.module = module
            importlib.import_module("cupy.cuda")
            importlib.import_module("cupy.random")


@contextlib.contextmanager
def installed(machine: Machine) -> Iterator[ModuleType]:
    """Make `import cupy` import the double; afterwards restore what was there."""

    def ours(name: str) -> bool:
        return name.partition(".")[0] in ("cupy", "cupyx")

    before = {name: module for name, module in sys.modules.items() if ours(name)}
    for name in before:
        del sys.modules[name]
    finder = _Finder(machine)
    sys.meta_path.insert(0, finder)
    try:
        yield importlib.import_module("cupy")
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)

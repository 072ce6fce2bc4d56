"""cupy.ndarray on a processor: it wraps a numpy array, and is as strict as cupy.

In: device arrays, scalars of Python and numpy. Out: device arrays; as on a device, a scalar result
is one, too. A numpy array among the operands raises TypeError, and so does an implicit conversion
to numpy. An array of another device than the current one raises ValueError.
"""

from __future__ import annotations

import numbers

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tests.emulator.machine import Machine, Memory

VIEWS = ("shape", "size", "ndim", "dtype", "nbytes", "itemsize", "strides", "flags")
"""Attributes that are read from the wrapped array."""

METHODS = {
    **dict.fromkeys(("min", "max", "any", "all"), "axis out keepdims"),
    **dict.fromkeys(("sum", "prod", "mean"), "axis dtype out keepdims"),
    **dict.fromkeys(("std", "var"), "axis dtype out ddof keepdims"),
    **dict.fromkeys(("argmin", "argmax"), "axis out keepdims"),
    **dict.fromkeys(("cumsum", "cumprod"), "axis dtype out"),
    **dict.fromkeys(("ravel", "flatten"), "order"),
    "argsort": "axis kind",
    "argpartition": "kth axis",
    "astype": "dtype order casting copy",
    "clip": "min max out",
    "dot": "b out",
    "fill": "value",
    "nonzero": "",
    "repeat": "repeats axis",
    "searchsorted": "v side sorter",
    "sort": "axis kind",
    "partition": "kth axis",
    "squeeze": "axis",
    "swapaxes": "axis1 axis2",
    "take": "indices axis out",
    "view": "dtype",
}
"""Methods of numpy, with the parameters that those of cupy have."""


class ndarray(NDArrayOperatorsMixin):
    """An array on a pretended device."""

    __module__ = "cupy"

    def __init__(self, host: np.ndarray, memory: Memory) -> None:
        self._host, self._memory = host, memory

    # Its place in memory.

    @property
    def machine(self) -> Machine:
        return self._memory.machine

    @property
    def device_id(self) -> int:
        return self._memory.device

    @property
    def device(self):
        return self.machine.module.cuda.Device(self.device_id)

    @property
    def address(self) -> int:
        """Return `array.data.ptr`, which is 0 for an array without elements."""
        return self._host.ctypes.data if self.size else 0

    def check_device(self) -> None:
        if self.device_id != self.machine.current:
            raise ValueError(
                f"The device where the array resides ({self.device_id}) is different from the "
                f"current device ({self.machine.current}). Peer access is unavailable."
            )

    # Copies to the host and back are never implicit.

    def get(self, stream=None, order="C", out=None, blocking=True) -> np.ndarray:
        if out is None:
            return self._host.copy(order=order)
        out[...] = self._host
        return out

    def copy(self, order="C") -> ndarray:
        """Return a copy on the current device of an array on any device."""
        return own(self.machine, self._host.copy(order=order))

    def set(self, arr: np.ndarray, stream=None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise ValueError("dtype and shape must match")
        self._host[...] = arr

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to "
            "construct a NumPy array explicitly."
        )

    def item(self):
        return self._host.item()

    def tolist(self):
        return self._host.tolist()

    def __bool__(self) -> bool:
        return bool(self._host)

    def __int__(self) -> int:
        return int(self._host)

    def __float__(self) -> float:
        return float(self._host)

    def __index__(self) -> int:
        return self._host.__index__()

    def __repr__(self) -> str:
        return repr(self._host)

    # Its parts.

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self):
        return (self[at] for at in range(len(self)))

    def __getitem__(self, key) -> ndarray:
        key = _index(key)
        found = self._host[key]
        if isinstance(found, np.generic):
            # As in cupy, one element is a view.
            found = self._host[(*key, ...) if isinstance(key, tuple) else (key, ...)]
        return wrap(self.machine, found, (self,))

    def __setitem__(self, key, value) -> None:
        if isinstance(value, ndarray):
            value.check_device()
            value = value._host
        elif np.ndim(value):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self.check_device()
        self._host[_index(key)] = value

    @property
    def T(self) -> ndarray:
        return wrap(self.machine, self._host.T, (self,))

    def reshape(self, *shape, order="C") -> ndarray:
        return wrap(self.machine, self._host.reshape(*shape, order=order), (self,))

    def transpose(self, *axes) -> ndarray:
        return wrap(self.machine, self._host.transpose(*axes), (self,))

    # Functions of numpy that are called with it.

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        """Call a ufunc of numpy with the keywords that those of cupy have."""
        wrong = set(kwargs) - {"out", "dtype", "casting", "axis", "keepdims"}
        if wrong or (method == "__call__" and {"axis", "keepdims"} & set(kwargs)):
            raise TypeError(f"Wrong arguments {kwargs}")
        return apply(self.machine, getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, func, types, args, kwargs):
        return getattr(self.machine.module, func.__name__)(*args, **kwargs)


def _view(name: str) -> property:
    return property(lambda self: getattr(self._host, name))


def _method(name: str, parameters: str):
    def method(self, *args, **kwargs):
        check_parameters(f"ndarray.{name}", parameters, args, kwargs)
        return apply(self.machine, getattr(np.ndarray, name), (self, *args), kwargs)

    return method


for _name in VIEWS:
    setattr(ndarray, _name, _view(_name))
for _name, _parameters in METHODS.items():
    setattr(ndarray, _name, _method(_name, _parameters))


def check_parameters(name: str, parameters: str, args: tuple, kwargs: dict) -> None:
    """Refuse arguments that the function of cupy does not take."""
    names = parameters.split()
    wrong = set(kwargs) - set(names)
    if len(args) > len(names) or wrong:
        raise TypeError(f"{name}() of cupy takes ({', '.join(names)}), not {args} {kwargs}")
    if kwargs.get("kind") not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")


def apply(machine: Machine, function, args: tuple, kwargs: dict):
    """Call a function of numpy with the wrapped arrays, and wrap its results."""
    given: list[ndarray] = []
    result = function(
        *(_unwrap(each, given) for each in args),
        **{name: _unwrap(each, given) for name, each in kwargs.items()},
    )
    return wrap(machine, result, tuple(given))


def _unwrap(value, given: list[ndarray]):
    if isinstance(value, ndarray):
        given.append(value)
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, list | tuple):
        return type(value)(_unwrap(each, given) for each in value)
    return value


def _index(key):
    """Return an index for numpy; cupy takes device arrays, numpy arrays and lists."""
    if isinstance(key, tuple):
        return tuple(_index(each) for each in key)
    if isinstance(key, ndarray):
        key.check_device()
        return key._host
    return key


def wrap(machine: Machine, result, sources: tuple[ndarray, ...] = ()):
    """Wrap a result: it is a given array, a view of one, or a new array."""
    if isinstance(result, tuple | list):
        return type(result)(wrap(machine, each, sources) for each in result)
    if isinstance(result, np.generic | numbers.Number):
        result = np.asarray(result)
    given = [source for source in sources if result is source._host]
    if isinstance(result, np.ndarray) and not given:
        for source in sources:
            # Allocations never overlap, so that an array that shares bytes is a view.
            if np.may_share_memory(result, source._host):
                return ndarray(result, source._memory)
    for source in sources:
        source.check_device()
    if given or not isinstance(result, np.ndarray):
        return given[0] if given else result
    return own(machine, result)


def own(machine: Machine, host: np.ndarray) -> ndarray:
    """Return a new array on the current device."""
    return ndarray(host, machine.allocate(host.nbytes))

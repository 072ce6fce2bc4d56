"""Arrays of numpy and of cupy, treated alike.

In: an array on the host or on a device. Out: its array module, a copy on the host, its device. cupy
is imported only by `device_matrix`, which puts something on a device.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray


def array_module(array: Any) -> Any:
    """Return cupy for an array on a device, and numpy for everything else, without an import.

    Examples
    --------
    >>> array_module(np.zeros(2)).__name__
    'numpy'
    """
    return sys.modules["cupy"] if _on_device(array) else np


def to_host(array: Any) -> NDArray[Any]:
    """Return a numpy array; an array on a device is copied.

    Examples
    --------
    >>> to_host(np.zeros(2)).tolist()
    [0.0, 0.0]
    """
    return np.asarray(array.get() if _on_device(array) else array)


def device_of(array: Any) -> AbstractContextManager[Any]:
    """Return a context in which an array's device is the current one, if it has a device.

    Examples
    --------
    >>> with device_of(np.zeros(2)):
    ...     pass
    """
    return array.device if _on_device(array) else nullcontext()


def device_matrix(matrix: Any) -> Any:
    """Copy a CSR matrix of scipy to the current device, for products with arrays there."""
    import cupy
    from cupyx.scipy import sparse

    parts = tuple(cupy.asarray(part) for part in (matrix.data, matrix.indices, matrix.indptr))
    return sparse.csr_matrix(parts, shape=matrix.shape)


def _on_device(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] == "cupy"

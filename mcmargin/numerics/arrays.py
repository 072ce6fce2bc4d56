"""Which array module an array belongs to, so that code is written once over numpy and cupy."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray


def array_module(array: Any) -> Any:
    """Return numpy, or cupy for an array on a device; cupy is not imported for it.

    Examples
    --------
    >>> array_module(np.zeros(2)).__name__
    'numpy'
    """
    return sys.modules["cupy"] if _on_device(array) else np


def to_host(array: Any) -> NDArray[Any]:
    """Return a numpy array, copied from the device where it lies on one.

    Examples
    --------
    >>> to_host(np.zeros(2)).tolist()
    [0.0, 0.0]
    """
    return np.asarray(array.get() if _on_device(array) else array)


def device_of(array: Any) -> AbstractContextManager[Any]:
    """A context in which an array's device is the current one; none for an array of numpy's.

    Examples
    --------
    >>> with device_of(np.zeros(2)):
    ...     pass
    """
    return array.device if _on_device(array) else nullcontext()


def device_matrix(matrix: Any) -> Any:
    """Copy a scipy CSR matrix or array to the device, for products with arrays there."""
    import cupy
    from cupyx.scipy import sparse

    parts = tuple(cupy.asarray(part) for part in (matrix.data, matrix.indices, matrix.indptr))
    return sparse.csr_matrix(parts, shape=matrix.shape)


def _on_device(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] == "cupy"

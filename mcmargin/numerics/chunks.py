"""Elementwise kernels in pieces that stay in the processor's cache.

In: a kernel, which writes one output from operands of the same shape with the help of buffers. Out:
what the kernel makes of broadcast arrays of any layout. On the processor it is called for one piece
after another; on a device, once for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from mcmargin.numerics.arrays import array_module

CHUNK_BYTES = 98_304
"""Size of each buffer. The four that a kernel uses most fit into 384 KiB of cache, and the time of
the calls is small beside that of the work."""

Kernel: TypeAlias = Callable[[Any, Sequence[Any], Any, Sequence[Any]], None]
"""It gets the array module, the operands, the output and the buffers, all of the same shape."""


def floating_type(operands: Sequence[Any]) -> np.dtype[Any]:
    """Return float32 if all arrays are float32, else float64; plain Python numbers do not count.

    Examples
    --------
    >>> floating_type([np.float32([1, 2]), 0.5]), floating_type([np.float32([1, 2]), np.array([1])])
    (dtype('float32'), dtype('float64'))
    """
    types = {np.dtype(x.dtype) for x in operands if hasattr(x, "dtype")}
    return np.dtype(np.float32 if types == {np.dtype(np.float32)} else np.float64)


def elementwise(
    kernel: Kernel,
    operands: Sequence[Any],
    *,
    buffers: int,
    out: Any = None,
    dtype: np.dtype[Any] | None = None,
) -> Any:
    """Run a kernel over operands that are broadcast together.

    Each element is computed in the same way wherever it stands. So neither the layout nor the size
    of the pieces changes a bit of the result.

    Parameters
    ----------
    kernel : callable
    operands : sequence of array_like
        They are converted to `dtype`. If one lies on a device, all do so, or are plain numbers.
    buffers : int
        Number of buffers that the kernel needs.
    out : ndarray, optional
        Array for the result; it must not overlap an operand.
    dtype : dtype, optional
        Type of the work and of the result; by default that of `out`, or else `floating_type`.

    Returns
    -------
    ndarray or scalar
        `out` if it is given; else an array of the broadcast shape, or a scalar if that shape is ().
    """
    device = next((x for x in operands if array_module(x) is not np), out)
    xp = array_module(device)
    if dtype is None:
        dtype = floating_type(operands) if out is None else np.dtype(out.dtype)
    result = out
    if out is None:
        shapes = (x.shape if hasattr(x, "shape") else np.shape(x) for x in operands)
        out = xp.empty(np.broadcast_shapes(*shapes), dtype)
    # Infinite moneyness and exponentials that underflow are part of the arithmetic.
    with np.errstate(all="ignore"):
        if xp is np:
            _in_pieces(kernel, operands, out, buffers, dtype)
        else:
            whole = [xp.broadcast_to(xp.asarray(x, dtype), out.shape) for x in operands]
            kernel(xp, whole, out, [xp.empty(out.shape, dtype) for _ in range(buffers)])
    return out[()] if result is None else result


def _in_pieces(
    kernel: Kernel, operands: Sequence[Any], out: Any, buffers: int, dtype: np.dtype[Any]
) -> None:
    size = CHUNK_BYTES // dtype.itemsize
    # "contig": numpy may round differently with strides. Its type stubs misspell the flag.
    pieces = np.nditer(  # type: ignore[call-overload]
        [*operands, out],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=[["readonly", "contig"]] * len(operands) + [["writeonly", "contig"]],
        op_dtypes=[dtype] * (len(operands) + 1),
        casting="same_kind",
        buffersize=size,
    )
    work = _aligned(buffers, min(size, max(out.size, 1)), dtype)
    with pieces:
        for *inputs, result in pieces:
            kernel(np, inputs, result, [buffer[: len(result)] for buffer in work])


def _aligned(rows: int, size: int, dtype: np.dtype[Any]) -> Any:
    """Return rows that each begin at a cache line, which saves a tenth of the time."""
    line = 64 // dtype.itemsize
    width = -(-size // line) * line
    room = np.empty(rows * width + line, dtype)
    start = -room.ctypes.data % 64 // dtype.itemsize
    return room[start : start + rows * width].reshape(rows, width)

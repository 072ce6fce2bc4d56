"""The worst losses of each row, found at once or while the paths come in blocks.

In: losses of some rows, as an array [rows, paths], a loss positive. Out: the worst losses of each
row, and the paths that they are on. `WorstLosses` takes blocks of consecutive paths and gives the
same result to the last bit; it holds the worst losses alone, which is a hundredth of the paths at
a level of 99 %. Arrays of numpy and of cupy are selected where they lie.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.numerics.arrays import array_module, to_host

BYTES_A_LOSS = 12
"""Memory of each loss that `WorstLosses` holds: 8 bytes for its amount and 4 for its path."""

SAMPLE = 16_384
"""Paths in the sample that gives a bound for the selection on a device."""


def worst_losses(losses: Any, count: int) -> Any:
    """Select the `count` largest losses of each row, without the paths that they are on.

    Parameters
    ----------
    losses : ndarray of shape (rows, paths), float64
        A loss is positive; numpy or cupy.
    count : int
        From 1 to the number of paths.

    Returns
    -------
    ndarray of shape (rows, count), float64
        Where the losses lie. The first column is the least of the selected losses; the others
        follow in no particular order.

    Examples
    --------
    >>> worst_losses(np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 4.0]]), 2).tolist()
    [[2.0, 3.0], [5.0, 5.0]]
    """
    if array_module(losses) is not np:
        return _worst_on_device(losses, count)
    at = losses.shape[1] - count
    return np.partition(losses, at, axis=1)[:, at:]


def _worst_on_device(losses: Any, count: int) -> Any:
    """As `worst_losses`, by a sort of few losses: cupy's own partition sorts all of them.

    A regular sample of the paths gives a bound that slightly more losses than `count` are above.
    Only these are sorted.
    """
    import cupy

    rows, paths = losses.shape
    if paths <= 4 * SAMPLE:
        return cupy.sort(losses, axis=1)[:, paths - count :]
    sample = cupy.sort(cupy.ascontiguousarray(losses[:, :: paths // SAMPLE]), axis=1)
    taken = sample.shape[1]
    # The bound is six standard errors of the sample's rank lower than needed on average, so that
    # it is rarely too high.
    expected = taken * count / paths
    rank = min(taken, int(expected + 6 * expected**0.5 + 10))
    chosen = losses >= sample[:, taken - rank, None]
    counts = chosen.sum(axis=1)
    if int(counts.min()) < count:
        return cupy.sort(losses, axis=1)[:, paths - count :]
    width = int(counts.max())
    row, path = cupy.nonzero(chosen)
    first = cupy.cumsum(counts) - counts
    above = cupy.full((rows, width), -np.inf)
    above[row, cupy.arange(len(row)) - first[row]] = losses[row, path]
    return cupy.sort(above, axis=1)[:, width - count :]


def worst_of_all(losses: Any, count: int) -> tuple[Any, NDArray[np.float64]]:
    """Find the paths and the amounts of each row's worst losses.

    Parameters
    ----------
    losses : ndarray of shape (rows, paths), float64
        A loss is positive; numpy or cupy.
    count : int
        From 1 to the number of paths.

    Returns
    -------
    paths : ndarray of shape (rows, count), int64
        Where the losses lie. The path of the worst loss comes first; of equal losses, the path
        with the lower number does.
    worst : ndarray of shape (rows, count), float64
        The losses on these paths, on the host.

    Examples
    --------
    >>> paths, worst = worst_of_all(np.array([[3.0, 1.0, 5.0, 3.0]]), 2)
    >>> paths.tolist(), worst.tolist()
    ([[2, 0]], [[5.0, 3.0]])
    """
    paths, worst = _in_order_of_paths(losses, count)
    return _worst_first(paths, worst)


class WorstLosses:
    """The worst losses of each row among the blocks of paths added so far.

    Parameters
    ----------
    rows, count : int
        How many rows there are, and how many losses are wanted of each.
    xp : module
        numpy, or cupy where the losses lie on a device.

    Examples
    --------
    >>> worst = WorstLosses(rows=1, count=2, xp=np)
    >>> worst.add(np.array([[3.0, 1.0, 2.0]]), first_path=0)
    >>> worst.add(np.array([[0.0, 5.0, 3.0]]), first_path=3)
    >>> paths, losses = worst.sorted()
    >>> paths.tolist(), losses.tolist()
    ([[4, 0]], [[5.0, 3.0]])
    """

    def __init__(self, *, rows: int, count: int, xp: Any) -> None:
        self._xp, self._count = xp, count
        # They are kept in the order of paths, so that of equal losses the first path counts.
        self._losses = xp.full((rows, count), -np.inf)
        self._paths = xp.zeros((rows, count), np.int32)

    def add(self, losses: Any, *, first_path: int, first_row: int = 0) -> None:
        """Add the losses on a block of paths.

        Parameters
        ----------
        losses : ndarray of shape (some rows, paths of the block), float64
            A loss is positive.
        first_path : int
            Number of the block's first path. It is higher than those of all earlier blocks.
        first_row : int
            Number of the row that the block's first row belongs to.
        """
        xp, here = self._xp, slice(first_row, first_row + len(losses))
        kept = self._losses[here]
        # A loss that equals one that is held does not displace it: its path is a later one.
        over = losses > kept.min(axis=1, keepdims=True)
        counts = over.sum(axis=1)
        width = int(counts.max())
        if width == 0:
            return
        if width > 2 * self._count:
            # Of so many, only the worst of the block itself can matter.
            paths, new = _in_order_of_paths(losses, self._count)
            paths = paths.astype(np.int32)
        else:
            row, path = xp.nonzero(over)
            place = xp.arange(len(row)) - (xp.cumsum(counts) - counts)[row]
            new = xp.full((len(losses), width), -np.inf)
            new[row, place] = losses[row, path]
            paths = xp.zeros(new.shape, np.int32)
            paths[row, place] = path
        found = xp.concatenate([kept, new], axis=1)
        places = xp.concatenate([self._paths[here], paths + np.int32(first_path)], axis=1)
        chosen, self._losses[here] = _in_order_of_paths(found, self._count)
        self._paths[here] = xp.take_along_axis(places, chosen, axis=1)

    def sorted(self, rows: slice = slice(None)) -> tuple[Any, NDArray[np.float64]]:
        """Return the paths and the amounts of the worst losses, as `worst_of_all` does."""
        return _worst_first(self._paths[rows], self._losses[rows])


def _in_order_of_paths(losses: Any, count: int) -> tuple[Any, Any]:
    """Columns [rows, count] of the worst losses, in rising order, and these losses."""
    xp = array_module(losses)
    columns = xp.nonzero(_are_worst(losses, count))[1].reshape(len(losses), count)
    return columns, xp.take_along_axis(losses, columns, axis=1)


def _worst_first(paths: Any, losses: Any) -> tuple[Any, NDArray[np.float64]]:
    """Sort losses that are in the order of their paths: the worst comes first."""
    xp = array_module(losses)
    order = xp.argsort(-losses, axis=1, kind="stable")
    paths = xp.take_along_axis(paths, order, axis=1).astype(np.int64)
    return paths, to_host(xp.take_along_axis(losses, order, axis=1))


def _are_worst(losses: Any, count: int) -> Any:
    """Whether each loss is one of the `count` worst of its row; of equal ones the first are."""
    bound = worst_losses(losses, count)[:, :1]
    chosen = losses >= bound
    if int(chosen.sum()) > count * len(losses):
        equal = losses == bound
        spare = count - (losses > bound).sum(axis=1, keepdims=True)
        chosen &= ~equal | (equal.cumsum(axis=1) <= spare)
    return chosen

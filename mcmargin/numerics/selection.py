"""The worst losses of many rows, found while paths come block after block.

In: losses of some rows on blocks of consecutive paths, in the order of paths. Out: of each row the
worst losses of all paths and where they are, the same to the last bit as if all paths had been
looked at together. Only the worst are held: a hundredth of the paths at a level of 99 %.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.numerics.arrays import array_module, to_host

BYTES_A_LOSS = 12
"""Of a loss that is held: its amount and its path."""


class WorstLosses:
    """The worst losses so far.

    Parameters
    ----------
    rows, count : int
        How many rows there are, and how many losses of each are wanted.
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
        # In the order of paths, so that of equal losses the first path counts.
        self._losses = xp.full((rows, count), -np.inf)
        self._paths = xp.zeros((rows, count), np.int32)

    def add(self, losses: Any, *, first_path: int, first_row: int = 0) -> None:
        """Look at a block of paths, which come after all that have been looked at.

        Parameters
        ----------
        losses : ndarray of shape (some rows, paths of the block), float64
            A loss is positive.
        first_path, first_row : int
            Where they are among all.
        """
        xp, here = self._xp, slice(first_row, first_row + len(losses))
        kept = self._losses[here]
        # An equal loss of a later path does not displace one that is held.
        over = losses > kept.min(axis=1, keepdims=True)
        counts = over.sum(axis=1)
        width = int(counts.max())
        if width == 0:
            return
        if width > 2 * self._count:
            # So many that the block's own worst are found first.
            own = xp.nonzero(_worst_of(losses, self._count))[1].reshape(len(losses), -1)
            new, paths = xp.take_along_axis(losses, own, axis=1), own.astype(np.int32)
        else:
            row, path = xp.nonzero(over)
            place = xp.arange(len(row)) - (xp.cumsum(counts) - counts)[row]
            new = xp.full((len(losses), width), -np.inf)
            new[row, place] = losses[row, path]
            paths = xp.zeros(new.shape, np.int32)
            paths[row, place] = path
        found = xp.concatenate([kept, new], axis=1)
        places = xp.concatenate([self._paths[here], paths + np.int32(first_path)], axis=1)
        chosen = xp.nonzero(_worst_of(found, self._count))[1].reshape(len(losses), self._count)
        self._losses[here] = xp.take_along_axis(found, chosen, axis=1)
        self._paths[here] = xp.take_along_axis(places, chosen, axis=1)

    def sorted(self, rows: slice = slice(None)) -> tuple[Any, NDArray[np.float64]]:
        """Paths of the worst losses of some rows, where they lie, and those losses on the host.

        Both [rows, count], the worst first, ties by path number.
        """
        xp, losses = self._xp, self._losses[rows]
        order = xp.argsort(-losses, axis=1, kind="stable")
        paths = xp.take_along_axis(self._paths[rows], order, axis=1).astype(np.int64)
        return paths, to_host(xp.take_along_axis(losses, order, axis=1))


def worst_of_all(losses: Any, count: int) -> tuple[Any, NDArray[np.float64]]:
    """Paths and amounts of each row's worst losses, as `WorstLosses.sorted` gives them.

    Parameters
    ----------
    losses : ndarray of shape (rows, paths), float64
    count : int
    """
    xp = array_module(losses)
    paths = xp.nonzero(_worst_of(losses, count))[1].reshape(len(losses), count)
    worst = xp.take_along_axis(losses, paths, axis=1)
    order = xp.argsort(-worst, axis=1, kind="stable")
    paths = xp.take_along_axis(paths, order, axis=1)
    return paths, to_host(xp.take_along_axis(worst, order, axis=1))


def _worst_of(losses: Any, count: int) -> Any:
    """Which `count` losses of each row are its worst; of equal ones the first; bool."""
    name = array_module(losses).__name__
    engine = importlib.import_module(f"mcmargin.engines.{name}_engine")
    bound = engine.kth_worst(losses, count)[:, None]
    chosen = losses >= bound
    if int(chosen.sum()) > count * len(losses):
        equal = losses == bound
        spare = count - (losses > bound).sum(axis=1, keepdims=True)
        chosen &= ~equal | (equal.cumsum(axis=1) <= spare)
    return chosen

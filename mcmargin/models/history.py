"""History: the joint returns that a model has seen, with the variances of its filter.

In: times, returns and variances of bars, at once or update by update. Out: the arrays of all bars,
read-only, from which stress windows, floors and doubts are taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class History:
    """Joint returns that the model has seen, and the variance that its filter gave each bar.

    A history cannot be changed. `extended` gives a longer one, and copies no earlier bar: the parts
    are joined when an array is first read. An update thus costs as much as its own bars, however
    many bars came before.

    Parameters
    ----------
    times : ndarray of shape (bars,), datetime64[ns]
        End of each bar, increasing.
    returns : ndarray of shape (bars, assets), float64
        Simple returns as fractions.
    variances : ndarray of shape (bars, assets), float64
        Variance that the filter gave each bar before it began.

    Examples
    --------
    >>> days = np.array(["2021-01-01", "2021-01-02"], "datetime64[ns]")
    >>> first = History(days[:1], np.array([[0.01]]), np.array([[1e-4]]))
    >>> second = first.extended(days[1:], np.array([[-0.02]]), np.array([[2e-4]]))
    >>> first.returns.tolist(), second.returns.tolist()
    ([[0.01]], [[0.01], [-0.02]])
    """

    def __init__(
        self,
        times: NDArray[np.datetime64],
        returns: NDArray[np.float64],
        variances: NDArray[np.float64],
    ) -> None:
        self._parts: tuple[tuple[NDArray[Any], ...], ...] = (
            tuple(map(_read_only, (times, returns, variances))),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is made by the constructor, so that its arrays are read-only, too.
        return History, self._joined()

    @property
    def times(self) -> NDArray[np.datetime64]:
        """End of each bar, increasing; datetime64[ns] [bars]."""
        return self._joined()[0]

    @property
    def returns(self) -> NDArray[np.float64]:
        """Simple returns as fractions; float64 [bars, assets]."""
        return self._joined()[1]

    @property
    def variances(self) -> NDArray[np.float64]:
        """Variance that the filter gave each bar before it began; float64 [bars, assets]."""
        return self._joined()[2]

    @property
    def residuals(self) -> NDArray[np.float64]:
        """Standardised residuals; float64 [bars, assets]."""
        return np.asarray(self.returns / np.sqrt(self.variances))

    def extended(
        self,
        times: NDArray[np.datetime64],
        returns: NDArray[np.float64],
        variances: NDArray[np.float64],
    ) -> History:
        """Return the history with newer bars; this one stays as it is."""
        longer = History(times, returns, variances)
        longer._parts = (*self._parts, *longer._parts)
        return longer

    def _joined(self) -> tuple[NDArray[Any], ...]:
        """Times, returns and variances of all bars."""
        parts = self._parts
        if len(parts) > 1:
            # Two threads that join the parts at one time set equal arrays.
            joined = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            self._parts = parts = (tuple(map(_read_only, joined)),)
        return parts[0]


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written, since models that branch share their arrays."""
    view = array.view()
    view.flags.writeable = False
    return view

"""Impossible prices and states, which are refused before a model takes them in.

In: returns of new bars, or a state. Out: nothing, or a `DataError` that names the asset, the date
and the limit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import plain_time
from mcmargin.data.plausibility import Plausibility, changed_places
from mcmargin.errors import DataError

LARGEST_VARIANCE = 1e12
"""Largest variance of a bar: a standard deviation of a million times the price."""


def require_possible(
    times: NDArray[np.datetime64],
    returns: NDArray[np.float64],
    assets: tuple[str, ...],
    limits: Plausibility,
    *,
    source: str,
) -> None:
    """Refuse closes that rise to more than `price_ratio` times the close before, or fall by it.

    Parameters
    ----------
    times : ndarray of shape (bars,), datetime64[ns]
    returns : ndarray of shape (bars, assets), float64
    assets : tuple of str
    limits : Plausibility
    source : str
        Named in errors.

    Raises
    ------
    DataError
        It names the first such asset and date.
    """
    grown = 1.0 + returns
    good = (grown <= limits.price_ratio) & (grown * limits.price_ratio >= 1.0)
    for row, at in np.argwhere(~good)[:1].tolist():
        raise DataError(
            f"{source}: the close of {assets[at]!r} on {plain_time(times[row])} is "
            f"{grown[row, at]:.6g} times the one before; prices that change by more than "
            f"{limits.price_ratio:g} times in a bar are refused. Correct it; or, if it is right, "
            "widen the limit price_ratio (--allow price_ratio=NUMBER, or in Python plausibility=)"
        )


def require_own_columns(
    closes: NDArray[np.float64],
    variance: NDArray[np.float64],
    time: np.datetime64,
    assets: tuple[str, ...],
    limits: Plausibility,
    *,
    source: str,
) -> None:
    """Refuse a row of closes in which some columns look as if they had changed places.

    Parameters
    ----------
    closes : ndarray of shape (2, assets), float64
        Closes of the bar before and of this bar.
    variance : ndarray of shape (assets,), float64
        Conditional variance of this bar.
    time : numpy.datetime64
        Close of this bar.
    assets : tuple of str
    limits : Plausibility
    source : str
        Named in errors.

    Raises
    ------
    DataError
        It names these columns and their closes.
    """
    last, new = closes
    doubtful = limits.is_doubtful(new / last - 1.0, np.sqrt(variance))
    for group in changed_places(new, last, doubtful)[:1]:
        names, now, before = (
            " and ".join(texts)
            for texts in (
                [repr(assets[at]) for at in group],
                [f"{new[at]:g}" for at in group],
                [f"{last[at]:g}" for at in group],
            )
        )
        raise DataError(
            f"{source}: the columns {names} look swapped: on {plain_time(time)} they close at "
            f"{now}, and before at {before}. Name each column by its own asset; or, if the prices "
            "are right, widen the limit move (--allow move=NUMBER, or in Python plausibility=)"
        )


def require_finite(
    prices: NDArray[np.float64],
    variance: NDArray[np.float64],
    assets: tuple[str, ...],
    time: np.datetime64,
    *,
    source: str,
) -> None:
    """Refuse a state whose numbers would stay wrong, whatever bars follow.

    Raises
    ------
    DataError
        It names the asset.
    """
    good = np.isfinite(prices) & (prices > 0.0) & (variance > 0.0) & (variance <= LARGEST_VARIANCE)
    for at in np.flatnonzero(~good)[:1].tolist():
        raise DataError(
            f"{source}: {assets[at]!r} would have a variance of {variance[at]:g} after its close "
            f"of {prices[at]:g} on {plain_time(time)}; the model stays as it is. Correct the "
            "prices"
        )

"""Returns: simple returns between closes, and what joining several assets' dates has lost.

In: a `PriceHistory`. Out: joint returns on the dates on which every asset has a close, or the
returns of one asset on its own dates. A return over a weekend or a holiday belongs to the bar that
ends it. A date on which an asset did not trade is lost and counted; it never becomes a return of 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mcmargin.data.prices import PriceHistory
from mcmargin.data.zones import Times
from mcmargin.errors import DataError


@dataclass(frozen=True)
class JoinReport:
    """Dates that were kept and lost when the assets were joined on their common dates.

    Attributes
    ----------
    rows, common, lost : int
        Number of all dates, of dates on which every asset has a close, and of the other dates.
    first, last : str
        First and last common date, ISO.
    missing : dict of str to int
        Number of dates between an asset's own first and last close on which it has no close.
    """

    rows: int
    common: int
    lost: int
    first: str
    last: str
    missing: dict[str, int]

    def summary(self) -> str:
        """Say it in a sentence."""
        gaps = ", ".join(f"{asset} {count}" for asset, count in self.missing.items() if count)
        return (
            f"{self.common} common dates from {self.first} to {self.last}; {self.lost} of "
            f"{self.rows} dates lost, on which some asset has no close"
            + (f" (missing closes: {gaps})" if gaps else "")
        )


@dataclass(frozen=True, eq=False)
class ReturnHistory:
    """Simple returns of several assets over the same bars.

    Attributes
    ----------
    assets : tuple of str
    times : ndarray of shape (bars,), datetime64[ns]
        End of each bar.
    returns : ndarray of shape (bars, assets), float64
        Simple returns as fractions.
    last_prices : ndarray of shape (assets,), float64
        Closes of the last bar.
    report : JoinReport
    """

    assets: tuple[str, ...]
    times: Times
    returns: NDArray[np.float64]
    last_prices: NDArray[np.float64]
    report: JoinReport


def joint_returns(
    prices: PriceHistory, *, before: tuple[np.datetime64, NDArray[np.float64]] | None = None
) -> ReturnHistory:
    """Simple returns between the dates on which every asset has a close.

    Parameters
    ----------
    prices : PriceHistory
    before : tuple of time and ndarray of shape (assets,), optional
        Time and closes that are known already. Only later rows count, and the first return is
        measured from these closes.

    Raises
    ------
    DataError
        If there are too few common dates for a return.

    Examples
    --------
    >>> import pandas as pd
    >>> dates = pd.date_range("2021-01-04", periods=3)
    >>> frame = pd.DataFrame({"a": [100, 110, 99.0], "b": [50, None, 55.0]}, index=dates)
    >>> joint = joint_returns(PriceHistory.from_frame(frame))
    >>> joint.returns.round(4).tolist(), joint.report.lost
    ([[-0.01, 0.1]], 1)
    """
    times, closes = prices.times, prices.prices
    if before is not None:
        later = times > before[0]
        times, closes = times[later], closes[later]
    whole = np.isfinite(closes).all(axis=1)
    kept, common = closes[whole], times[whole]
    if before is not None:
        kept = np.vstack([before[1], kept])
    if len(kept) < 2:
        raise DataError(
            f"{prices.source}: the assets {', '.join(prices.assets)} have too few dates in common "
            f"({len(common)} of {len(times)}); check their calendars or leave one out"
        )
    report = JoinReport(
        rows=len(times),
        common=len(common),
        lost=len(times) - len(common),
        first=str(common[0])[:10],
        last=str(common[-1])[:10],
        missing={asset: _gaps(closes[:, at]) for at, asset in enumerate(prices.assets)},
    )
    ends = common if before is not None else common[1:]
    return ReturnHistory(prices.assets, ends, kept[1:] / kept[:-1] - 1.0, kept[-1], report)


def own_returns(prices: PriceHistory, asset: str) -> ReturnHistory:
    """Simple returns of one asset between its own closes, whatever closes the others have."""
    at = prices.assets.index(asset)
    alone = replace(prices, assets=(asset,), prices=prices.prices[:, at : at + 1])
    return joint_returns(alone)


def _gaps(column: NDArray[np.float64]) -> int:
    present = np.flatnonzero(np.isfinite(column))
    return 0 if len(present) == 0 else int(present[-1] - present[0] + 1 - len(present))

"""How procyclical a margin is: measures of a series of margins over time.

In: margins of one account, one for each bar, the oldest first. Out: how far and how fast they rose,
how much they moved, and their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mcmargin.checks import require_real_array, whole_number
from mcmargin.errors import DataError


@dataclass(frozen=True)
class ProcyclicalityMeasures:
    """Measures of one series of margins.

    Attributes
    ----------
    peak_to_trough : float
        The largest margin divided by the smallest.
    largest_increase : float
        Largest rise within `bars` bars, as a share of the margin before it; 0 if the margin never
        rose.
    bars : int
    log_change_std : float
        Standard deviation of the changes of the margin's logarithm from bar to bar.
    average_cost : float
        Mean margin.
    """

    peak_to_trough: float
    largest_increase: float
    bars: int
    log_change_std: float
    average_cost: float


def procyclicality_measures(margins: Any, *, bars: int = 5) -> ProcyclicalityMeasures:
    """Measure a series of margins.

    Parameters
    ----------
    margins : array_like of shape (n,)
        At least two margins above 0, the oldest first.
    bars : int
        Within which the largest increase is looked for.

    Raises
    ------
    DataError
        If a margin is not a number above 0, or if there are fewer than two.

    References
    ----------
    Murphy, Vasios and Vause (2014), An investigation into the procyclicality of risk-based initial
    margin models, Bank of England Financial Stability Paper 29: peak-to-trough and n-day measures.

    Examples
    --------
    >>> found = procyclicality_measures([100.0, 110.0, 165.0, 150.0], bars=2)
    >>> found.peak_to_trough, round(found.largest_increase, 2), found.average_cost
    (1.65, 0.65, 131.25)
    """
    bars = whole_number("bars", bars)
    require_real_array("procyclicality: margins", margins)
    series = np.asarray(margins, np.float64)
    if series.ndim != 1 or len(series) < 2:
        raise DataError("procyclicality: give a series of at least two margins")
    if not (np.isfinite(series) & (series > 0)).all():
        first = int(np.argmin(np.isfinite(series) & (series > 0)))
        raise DataError(f"procyclicality: margin {first} is {series[first]}, not above 0")
    rises = [
        (series[lag:] / series[:-lag]).max() - 1.0
        for lag in range(1, min(bars, len(series) - 1) + 1)
    ]
    return ProcyclicalityMeasures(
        peak_to_trough=float(series.max() / series.min()),
        largest_increase=float(max(0.0, *rises)) if len(rises) > 1 else max(0.0, float(rises[0])),
        bars=bars,
        log_change_std=float(np.diff(np.log(series)).std(ddof=1)) if len(series) > 2 else 0.0,
        average_cost=float(series.mean()),
    )

"""Charts of a backtest, as SVG that stands in a page.

In: dates, margins, losses and scores. Out: SVG text, the same for the same figures. matplotlib is
imported on first use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.names import shown
from mcmargin.reports.report_charts import CHARGE, MUTED, TAIL, TOTAL, numbered, svg_of

WIDE = 8.0
"""Inches of a chart over the whole page; on a phone it is all of the screen."""

COLORS = (CHARGE, TAIL, "#2f9e73", "#8a5a00", "#6b4fa0", "#22313f", "#b0427b", "#5a8f29")
DASHES = ("-", "--", "-.", ":")

LONG = re.compile(r"\d+\.\d{3,}")
"""Numbers of more than two decimals."""

DRAWN = 1200
"""Dates that a chart through time draws of each kind; a screen has no more columns."""


def timeline_chart(
    key: str,
    dates: NDArray[np.datetime64],
    margins: NDArray[np.float64],
    losses: NDArray[np.float64],
) -> str:
    """Margin against realised loss through time, with the losses beyond it marked.

    Parameters
    ----------
    key : str
        Name of the chart within its page.
    dates : ndarray of shape (n,), datetime64
    margins, losses : ndarray of shape (n,), float64
        A gain is a negative loss, and NaN one that is not known. Of many dates, those that
        `telling_dates` chooses are drawn.
    """
    at = telling_dates(margins, losses)
    dates, margins, losses = dates[at], margins[at], losses[at]

    def draw(ax: Any) -> None:
        beyond = losses > margins
        # One path of all bars is far smaller than a path each.
        times = np.repeat(dates, 3)
        bars = np.column_stack([np.zeros(len(at)), losses, np.full(len(at), np.nan)])
        ax.plot(times, bars.ravel(), color=MUTED, lw=0.6, solid_capstyle="butt")
        ax.plot(dates, margins, color=CHARGE, lw=1.2)
        ax.scatter(dates[beyond], losses[beyond], s=16, color=TAIL, zorder=3)
        ax.axhline(0.0, color=TOTAL, lw=0.6)
        ax.margins(x=0.01)

    return _drawn(key, 2.0, draw)


def telling_dates(
    margins: NDArray[np.float64], losses: NDArray[np.float64], most: int = DRAWN
) -> NDArray[np.intp]:
    """Places of the dates that a chart draws: at most `most`, and every loss beyond the margin.

    Of more dates, the record is split into `most` / 3 parts of equal length. Each part keeps its
    highest margin, its largest gain, and the loss that came nearest to the margin or went furthest
    beyond it.

    Examples
    --------
    >>> telling_dates(np.full(6, 2.0), np.array([0.0, 1.0, -1.0, 3.0, 0.0, 2.5]), most=3).tolist()
    [0, 2, 3, 5]
    """
    count = len(losses)
    if count <= most:
        return np.arange(count)
    beyond = np.where(np.isnan(losses), -np.inf, losses - margins)
    gains = np.where(np.isnan(losses), -np.inf, -losses)
    edges = np.linspace(0, count, most // 3 + 1).astype(int)
    kept = [
        first + int(np.argmax(each[first:last]))
        for first, last in pairwise(edges)
        for each in (beyond, margins, gains)
    ]
    return np.union1d(kept, np.flatnonzero(beyond > 0.0)).astype(np.intp)


def murphy_chart(
    key: str, thresholds: NDArray[np.float64], curves: Mapping[str, NDArray[np.float64]]
) -> str:
    """Mean elementary scores of several models over thresholds: the lower curve is better.

    Parameters
    ----------
    key : str
        Name of the chart within its page.
    thresholds : ndarray of shape (n,), float64
    curves : mapping of str to ndarray of shape (n,), float64
    """

    def draw(ax: Any) -> None:
        for at, (name, curve) in enumerate(curves.items()):
            ax.plot(
                thresholds,
                curve,
                lw=1.3,
                color=COLORS[at % len(COLORS)],
                ls=DASHES[at // len(COLORS) % len(DASHES)],
                label=shown(name).replace("$", r"\$"),
            )
        ax.figure.legend(loc="outside right upper")
        ax.margins(x=0.0)

    return _drawn(key, 2.6, draw)


def _drawn(key: str, height: float, draw: Callable[[Any], None]) -> str:
    """SVG of one chart over the whole page."""

    def with_numbers(ax: Any) -> None:
        draw(ax)
        numbered(ax.yaxis)

    svg = svg_of(key, (WIDE, height), with_numbers)
    # A hundredth of a point is finer than any screen or printer, and paths are most of the page.
    return re.sub(r' d="[^"]*"', lambda path: LONG.sub(_rounded, path[0]), svg)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"

"""Charts of a margin report, as SVG for a page, and of a change, as PNG.

In: names and amounts. Out: SVG text, which is the same for the same figures. It has no script and
loads nothing, and every name in it is plain text. matplotlib is imported on first use.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.names import shown

WIDTH = 4.0
"""Inches of a chart; on a phone a chart is as wide as the screen."""

CHARGE, RELIEF, TOTAL, TAIL = "#3b7ab8", "#2f9e73", "#22313f", "#c8553d"
MUTED = "#8a97a3"

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mcmargin",
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "xtick.labelcolor": TOTAL,
    "ytick.labelcolor": TOTAL,
    "text.color": TOTAL,
    "legend.frameon": False,
}

LONGEST_NAME = 22
"""Letters of a name beside a chart."""

BINS = 120
"""Bars of a histogram."""


def margins_chart(
    names: Sequence[str],
    margins: NDArray[np.float64],
    errors: NDArray[np.float64],
    losses: NDArray[np.float64] | None = None,
) -> str:
    """Margins as bars with their intervals, and the worst stressed loss of each account if known.

    Parameters
    ----------
    names : sequence of str
    margins : ndarray of shape (n,)
    errors : ndarray of shape (2, n)
        How far the interval reaches below and above.
    losses : ndarray of shape (n,), optional
    """

    def draw(ax: Any) -> None:
        rows = range(len(names))
        ax.barh(rows, margins, color=CHARGE, height=0.65, label="margin")
        ax.errorbar(margins, rows, xerr=errors, fmt="none", ecolor=TOTAL, capsize=2.5, lw=1)
        if losses is not None:
            ax.scatter(losses, rows, s=26, marker="D", color=TAIL, zorder=3, label="stressed loss")
            ax.figure.legend(loc="outside upper center", ncols=2, handletextpad=0.3)
        _named_rows(ax, names)

    return _drawn("margins", len(names) + (losses is not None), draw)


def histogram_chart(
    key: str, gains: NDArray[np.float64], value_at_risk: float, expected_shortfall: float
) -> str:
    """A histogram of profit and loss without the outermost paths, with VaR and ES marked."""
    low, high = np.quantile(gains, [0.0005, 0.9995])
    low = min(low, -1.35 * expected_shortfall)
    counts, edges = np.histogram(gains, BINS, (low, high if high > low else low + 1.0))

    def draw(ax: Any) -> None:
        ax.stairs(counts, edges, fill=True, color=CHARGE, alpha=0.45)
        beyond = edges[1:] <= -value_at_risk
        if beyond.any():
            last = int(np.flatnonzero(beyond)[-1]) + 1
            ax.stairs(counts[:last], edges[: last + 1], fill=True, color=TAIL)
        for name, at, side in (("ES", expected_shortfall, -1), ("VaR", value_at_risk, 1)):
            ax.axvline(-at, ymax=0.9, color=TAIL, lw=1.2)
            ax.annotate(
                f"{name} {short(at)}",
                (-at, 0.9),
                xycoords=("data", "axes fraction"),
                xytext=(3 * side, 0),
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                va="top",
            )
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)

    return _drawn(key, 8, draw)


def change_chart(
    names: Sequence[str],
    last: NDArray[np.float64],
    needed: NDArray[np.float64],
    charged: NDArray[np.float64],
) -> str:
    """What was charged last, what is needed now, and what is charged."""

    def draw(ax: Any) -> None:
        rows = range(len(names))
        for row, points in enumerate(zip(last, needed, charged, strict=True)):
            ax.plot([min(points), max(points)], [row, row], color=MUTED, lw=1, zorder=1)
        ax.scatter(last, rows, s=26, facecolors="white", edgecolors=TOTAL, label="charged last")
        ax.scatter(needed, rows, s=50, marker="|", color=TAIL, label="needed now", zorder=3)
        ax.scatter(charged, rows, s=26, color=CHARGE, label="charged now")
        ax.set_xlim(left=0.0)
        _named_rows(ax, names)
        ax.figure.legend(loc="outside upper center", ncols=3, handletextpad=0.1, columnspacing=1.2)

    return _drawn("change", len(names) + 1, draw)


def change_picture(title: str, steps: Sequence[tuple[str, float]]) -> bytes:
    """PNG of what each part added to a margin or took off it, and of their sum.

    Parameters
    ----------
    title : str
    steps : sequence of (str, float)
        Name and amount; the last step is the sum of the others.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    amounts = np.array([amount for _, amount in steps])
    starts = np.concatenate([[0.0], np.cumsum(amounts[:-1])[:-1], [0.0]])
    colors = [*(CHARGE if amount >= 0 else RELIEF for amount in amounts[:-1]), TOTAL]
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(2.0 * WIDTH, 1.0 + 0.3 * len(steps)), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title, loc="left", parse_math=False)
        bars = axes.barh(range(len(steps)), amounts, left=starts, color=colors)
        for bar, amount in zip(bars, amounts, strict=True):
            if amount < 0:
                bar.set(hatch="////", edgecolor="white")
        ends = np.maximum(starts, starts + amounts)
        for row, (end, amount) in enumerate(zip(ends, amounts, strict=True)):
            axes.annotate(
                f"{'+' if amount > 0 else ''}{short(amount)}",
                (end, row),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
        axes.axvline(0.0, color=MUTED, lw=0.8)
        axes.use_sticky_edges = False
        axes.margins(x=0.12)
        _named_rows(axes, [name for name, _ in steps])
        numbered(axes.xaxis)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def short(amount: float) -> str:
    """An amount in three figures.

    Examples
    --------
    >>> short(1_234_567.0), short(-950.0), short(0.00123), short(0.0)
    ('1.23M', '-950', '0.00123', '0')
    """
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(amount) >= size:
            return f"{amount / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{amount:,.0f}" if abs(amount) >= 100 else f"{amount:.3g}"


def shortened(name: str) -> str:
    """A name that fits beside a chart.

    Examples
    --------
    >>> shortened("a name of more than 22 letters")
    'a name of more than 2…'
    """
    name = shown(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _named_rows(ax: Any, names: Sequence[str]) -> None:
    """Put a name beside each row; a dollar sign in it is no mathematics."""
    ax.set_yticks(range(len(names)), [shortened(name) for name in names], parse_math=False)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def numbered(axis: Any) -> None:
    """Put a few short numbers along an axis."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(4))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _drawn(key: str, rows: int, draw: Callable[[Any], None]) -> str:
    """SVG of one chart, with room for its rows."""

    def with_numbers(ax: Any) -> None:
        draw(ax)
        numbered(ax.xaxis)

    return svg_of(key, (WIDTH, 0.5 + 0.21 * rows), with_numbers)


def svg_of(key: str, size: tuple[float, float], draw: Callable[[Any], None]) -> str:
    """SVG of one chart, for a page.

    Parameters
    ----------
    key : str
        Name of the chart within its page.
    size : tuple of float
        Width and height in inches.
    draw : callable
        Draws on the axes that it is given.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # The font that measures the text lacks some letters, and the browser has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _inline_svg(key, buffer.getvalue())


def _inline_svg(key: str, text: str) -> str:
    """An SVG file as an element of a page: it scales, and shares no name with other charts."""
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    head, _, rest = text.partition(">")
    head = re.sub(r' (width|height|version|xmlns(:\w+)?)="[^"]*"', "", head)

    def own(tag: re.Match[str]) -> str:
        named = re.sub(r'\bid="', f'id="{key}-', tag[0])
        return re.sub(r'(href="#|url\(#)', rf"\g<1>{key}-", named).replace("xlink:href", "href")

    return f'{head} aria-hidden="true">{re.sub("<[^<>]+>", own, rest)}'.strip()

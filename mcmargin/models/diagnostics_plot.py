"""Charts of an asset's residuals, for a notebook or a file.

In: what `mcmargin.models.diagnostics` computed. Out: a figure of matplotlib, which is imported on
first use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.errors import McMarginError

POINT, LINE, BOUND = "#3b7ab8", "#22313f", "#c8553d"
BINS = 20


def plotted(
    asset: str,
    quantiles: pd.DataFrame,
    autocorrelations: pd.DataFrame,
    probabilities: NDArray[np.float64],
) -> Any:
    """Draw quantiles, autocorrelations and the transform of an asset's residuals.

    Parameters
    ----------
    asset : str
    quantiles : DataFrame
        Columns fitted and residual.
    autocorrelations : DataFrame
        Columns lag, residuals, squares and bound.
    probabilities : ndarray of shape (bars,), float64
        Uniform where the fit is right.

    Returns
    -------
    matplotlib.figure.Figure
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise McMarginError(
            "plots need matplotlib, which is not installed: pip install 'mcmargin[report]'"
        ) from None
    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    # A name is text, whatever stands in it.
    figure.suptitle(asset, parse_math=False)
    left, middle, right = figure.subplots(1, 3)
    ends = [quantiles.to_numpy().min(), quantiles.to_numpy().max()]
    left.plot(ends, ends, color=LINE, lw=1)
    left.scatter(quantiles["fitted"], quantiles["residual"], s=7, color=POINT)
    left.set(title="Quantiles", xlabel="fitted innovations", ylabel="residuals")
    width = 0.38
    for shift, name, color in ((-width / 2, "residuals", LINE), (width / 2, "squares", POINT)):
        middle.bar(
            autocorrelations["lag"] + shift, autocorrelations[name], width, color=color, label=name
        )
    for sign in (-1.0, 1.0):
        middle.axhline(sign * float(autocorrelations["bound"].iloc[0]), color=BOUND, lw=1, ls="--")
    middle.set(title="Autocorrelations", xlabel="lag in bars")
    middle.legend(frameon=False)
    count = len(probabilities)
    right.hist(probabilities, BINS, range=(0.0, 1.0), color=POINT, alpha=0.7)
    right.axhline(count / BINS, color=LINE, lw=1)
    spread = 1.96 * np.sqrt(count / BINS * (1.0 - 1.0 / BINS))
    for sign in (-1.0, 1.0):
        right.axhline(count / BINS + sign * spread, color=BOUND, lw=1, ls="--")
    right.set(title="Probabilities of what happened", xlabel="even where the fit is right")
    return figure

"""Diagnostics of a fit: whether the residuals are what the model says they are.

In: a model with its history. Out: `Diagnostics`: one row an asset with tests of its standardised
residuals, and charts of them. The p-values take the fitted parameters for known, which makes them
somewhat too large: a small one says more than a large one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mcmargin.checks import few, real_number, whole_number
from mcmargin.errors import DataError, PolicyError
from mcmargin.models.innovations import Innovations
from mcmargin.models.model_values import ModelValues

LEAST_RESIDUALS = 30
"""Residuals that an asset needs for tests."""

GRID = 4001
"""Probabilities, even in their log odds, at which a distribution function is tabulated."""

FARTHEST = 16.0
"""Log odds of the outermost of them: a probability of 1e-7."""


@dataclass(frozen=True, eq=False, repr=False)
class Diagnostics:
    """What the residuals of a fit show.

    Attributes
    ----------
    frame : DataFrame
        One row an asset: asset, volatility, innovations, observations, persistence, half_life (bars
        in which half of a shock to the variance has gone; infinite where none goes), residual_mean,
        residual_std, skewness, excess_kurtosis, ljung_box (p-value of no autocorrelation of
        residuals), ljung_box_squares (of their squares: what volatility has left unexplained), pit
        (p-value of Kolmogorov and Smirnov that residuals follow the fitted innovations), lower_tail
        and upper_tail (share of residuals beyond the fitted 1 % quantiles, over 1 %), and
        correlation_change (the largest change of the asset's correlation with any other, from the
        first half of the history to the second, in standard errors).
    assets : tuple of str
    residuals : tuple of ndarray of shape (bars,), float64
        Of each asset, without the bars on which it was halted.
    innovations : tuple of Innovations
        The fitted distributions.
    lags : int
        Of the tests of autocorrelation.
    """

    frame: pd.DataFrame
    assets: tuple[str, ...]
    residuals: tuple[NDArray[np.float64], ...]
    innovations: tuple[Innovations, ...]
    lags: int

    def __repr__(self) -> str:
        return f"<Diagnostics of {few(self.assets)}>"

    def quantiles(self, asset: str) -> pd.DataFrame:
        """Residuals beside the quantiles of the fitted innovations, in rising order.

        Columns fitted and residual: points near the line of equality speak for the fit.

        Raises
        ------
        DataError
            For an unknown asset.
        """
        at = self._place(asset)
        ordered = np.sort(self.residuals[at])
        shares = (np.arange(len(ordered)) + 0.5) / len(ordered)
        fitted = np.asarray(self.innovations[at].lower_quantile(shares), np.float64)
        upper = shares > 0.5
        # Each tail by its own probability: 1 - p would lose the upper one's last digits.
        fitted[upper] = self.innovations[at].upper_quantile((1.0 - shares)[upper])
        return pd.DataFrame({"fitted": fitted, "residual": ordered})

    def autocorrelations(self, asset: str) -> pd.DataFrame:
        """Autocorrelations of an asset's residuals and of their squares, by lag.

        Columns lag, residuals, squares and bound: what 95 % of lags stay within where there is no
        autocorrelation.

        Raises
        ------
        DataError
            For an unknown asset.
        """
        from statsmodels.tsa.stattools import acf

        own = self.residuals[self._place(asset)]
        lags = min(self.lags, len(own) - 1)
        return pd.DataFrame(
            {
                "lag": np.arange(1, lags + 1),
                "residuals": acf(own, nlags=lags, fft=True)[1:],
                "squares": acf(own**2, nlags=lags, fft=True)[1:],
                "bound": 1.96 / np.sqrt(len(own)),
            }
        )

    def plot(self, asset: str) -> Any:
        """Three charts of an asset: quantiles, autocorrelations, and the distribution's transform.

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows it; `savefig` writes it.

        Raises
        ------
        DataError
            For an unknown asset.
        McMarginError
            If matplotlib is not installed.
        """
        from mcmargin.models.diagnostics_plot import plotted

        at = self._place(asset)
        probabilities = transform(self.innovations[at], self.residuals[at])
        return plotted(asset, self.quantiles(asset), self.autocorrelations(asset), probabilities)

    def _place(self, asset: str) -> int:
        if asset not in self.assets:
            raise DataError(f"the model has no asset {asset!r}; it has {few(self.assets)}")
        return self.assets.index(asset)


def diagnostics_of(model: ModelValues, *, lags: int = 10, tail: float = 0.01) -> Diagnostics:
    """Test the residuals of a model's history.

    Parameters
    ----------
    model : MarketModel
    lags : int
        Of the tests of autocorrelation.
    tail : float
        Probability of each tail that is counted.

    Raises
    ------
    DataError
        If the model has no history, or too short a one.

    References
    ----------
    Ljung and Box (1978), On a measure of lack of fit in time series models; Li and Mak (1994), On
    the squared residual autocorrelations in non-linear time series with conditional
    heteroskedasticity.

    Examples
    --------
    >>> from mcmargin.demo import demo_model
    >>> found = diagnostics_of(demo_model())
    >>> found.frame[["asset", "observations", "half_life"]].round(1)
        asset  observations  half_life
    0   sp500           749        inf
    1  nasdaq           749        inf
    2     wti           749        inf
    """
    lags = whole_number("lags", lags)
    if not 0.0 < real_number("tail", tail) < 0.5:
        raise PolicyError(f"tail must lie between 0 and 0.5, not {tail!r}")
    bars = len(model.history.times)
    if bars < LEAST_RESIDUALS:
        raise DataError(
            f"diagnostics need the residuals of at least {LEAST_RESIDUALS} bars, and the model's "
            f"history has {bars}"
        )
    residuals, halted = model.history.residuals, model.halted
    own = tuple(residuals[~halted[:, at], at] for at in range(len(model.assets)))
    changes = _correlation_changes(residuals[~halted.any(axis=1)])
    rows = [
        _row(model, at, own[at], float(changes[at]), lags, tail) for at in range(len(model.assets))
    ]
    return Diagnostics(pd.DataFrame(rows), model.assets, own, model.innovations, lags)


def _row(
    model: ModelValues, at: int, own: NDArray[np.float64], change: float, lags: int, tail: float
) -> dict[str, Any]:
    from statsmodels.stats.diagnostic import acorr_ljungbox

    asset, law = model.assets[at], model.innovations[at]
    fit = model.facts.get("fits", {}).get(asset, {})
    persistence = float(fit.get("persistence", np.nan))
    lags = min(lags, len(own) // 2)
    probabilities = transform(law, own)
    return {
        "asset": asset,
        "volatility": fit.get("volatility", ""),
        "innovations": law.kind,
        "observations": len(own),
        "persistence": persistence,
        "half_life": _half_life(persistence),
        "residual_mean": float(own.mean()),
        "residual_std": float(own.std()),
        "skewness": float(stats.skew(own)),
        "excess_kurtosis": float(stats.kurtosis(own)),
        "ljung_box": float(acorr_ljungbox(own, [lags])["lb_pvalue"].iloc[0]),
        "ljung_box_squares": float(acorr_ljungbox(own**2, [lags])["lb_pvalue"].iloc[0]),
        "pit": float(stats.kstest(probabilities, "uniform").pvalue),
        "lower_tail": float(np.mean(own < law.lower_quantile(tail)) / tail),
        "upper_tail": float(np.mean(own > law.upper_quantile(tail)) / tail),
        "correlation_change": change,
    }


def _half_life(persistence: float) -> float:
    """Bars in which half of a shock has gone; infinite where persistence is 1 or more."""
    if np.isnan(persistence):
        return float("nan")
    if persistence >= 1.0:
        return float("inf")
    return float(np.log(0.5) / np.log(persistence)) if persistence > 0.0 else 0.0


def transform(law: Innovations, residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of at most each residual under the fitted innovations (the integral transform).

    Examples
    --------
    >>> normal = Innovations("normal", np.empty(0))
    >>> transform(normal, np.array([-1.959964, 0.0, 1.644854])).round(4).tolist()
    [0.025, 0.5, 0.95]
    """
    odds = np.linspace(-FARTHEST, FARTHEST, GRID)
    shares = 1.0 / (1.0 + np.exp(-odds))
    lower = np.asarray(law.lower_quantile(shares[odds <= 0.0]), np.float64)
    # The upper half by its own probabilities, which are the mirror image of the lower ones.
    upper = np.asarray(law.upper_quantile(shares[odds < 0.0][::-1]), np.float64)
    values = np.concatenate([lower, upper])
    return np.asarray(1.0 / (1.0 + np.exp(-np.interp(residuals, values, odds))))


def _correlation_changes(residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest change of each asset's rank correlations between the halves, in standard errors."""
    assets, half = residuals.shape[1], len(residuals) // 2
    if assets < 2 or half < LEAST_RESIDUALS // 2:
        return np.full(assets, np.nan)
    ranks = [stats.rankdata(part, axis=0) for part in (residuals[:half], residuals[half:])]
    # Fisher's transform has the same variance whatever the correlation is.
    scores = []
    for each in ranks:
        correlation = np.array(np.corrcoef(each, rowvar=False))
        np.fill_diagonal(correlation, 0.0)
        scores.append(np.arctanh(np.clip(correlation, -0.999999, 0.999999)))
    counts = half, len(residuals) - half
    error = np.sqrt(1.06 * sum(1.0 / (count - 3.0) for count in counts))
    return np.asarray(np.abs(scores[1] - scores[0]).max(axis=1) / error)

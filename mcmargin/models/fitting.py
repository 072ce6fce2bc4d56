"""One asset's fit: a chain of fits, of which the first sound one is used.

In: one asset's simple returns, and the volatility and innovations to fit. Out: an `AssetFit` in
units of returns as fractions. A fit that did not converge, is not stationary or does not describe
its own residuals is never used. Instead of it GARCH and then EWMA with t innovations are tried, and
then EWMA and a constant variance with the distribution of the residuals themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mcmargin.errors import CalibrationError
from mcmargin.models.arch_fits import AssetFit, best_fit
from mcmargin.models.innovations import MINIMUM_EMPIRICAL, Innovations
from mcmargin.models.model_values import ModelValues
from mcmargin.models.volatility import KINDS, Recursion
from mcmargin.numerics.tail import expected_shortfall
from mcmargin.workers import one_blas_thread

LAST_LEVEL = 0.99
"""Level at which the expected shortfall of the last link is compared to the sample's."""


@one_blas_thread()
def fit_asset(
    returns: NDArray[np.float64],
    volatility: str,
    innovations: str,
    *,
    asset: str = "",
    start: NDArray[np.float64] | None = None,
) -> AssetFit:
    """Fit one asset along the declared chain; the first link that is sound is used.

    1. What is asked for, from `start` if it is given, then from arch's own start.
    2. GARCH with t innovations.
    3. EWMA with t innovations.
    4. EWMA with empirical innovations, or normal ones below 250 returns.
    5. Constant variance with the same innovations. It is raised if its expected shortfall at
       `LAST_LEVEL` would otherwise be below the sample's in either tail.

    `mcmargin.models.arch_fits` says when a link is sound: arch's optimiser converged, the variance
    is stationary under the innovations that are used, the standard deviation of the standardised
    residuals lies within `RESIDUAL_STD`, and no shape of the innovations lies near arch's bounds.

    With `empirical` innovations the variance is fitted by Gaussian quasi-likelihood first, and the
    distribution is that of the residuals, whichever variance model is used. EGARCH is fitted from
    two declared starts, and the sound fit of the larger likelihood is used. It never starts from an
    earlier model, so that the optimum does not depend on history.

    Parameters
    ----------
    returns : ndarray of shape (bars,), float64
        Simple returns, fractions.
    volatility, innovations : str
    asset : str
        Named in errors.
    start : ndarray, optional
        arch's parameters to start from, on returns that are scaled to unit variance.

    Raises
    ------
    CalibrationError
        If no link of the chain is sound.
    """
    last = "empirical" if len(returns) >= MINIMUM_EMPIRICAL else "normal"
    asked = (volatility, innovations)
    # arch's own start may find an optimum that an earlier model's parameters do not lead to.
    warm = [] if start is None else [(asked, start)]
    others = [("garch", "t"), ("ewma", "t"), ("ewma", last), ("constant", last)]
    if innovations == "empirical":
        others = [(kind, "empirical") for kind, _ in others]
    cold = [(each, None) for each in dict.fromkeys([asked, *others])]
    refused: list[str] = []
    for (kind, law), first in [*warm, *cold]:
        fit, reason = best_fit(returns, kind, law, first, asset)
        if fit is not None:
            if (kind, law) == cold[-1][0] != asked:
                fit = _raised(fit, returns)
            return replace(fit, refused=tuple(refused))
        refused.append(
            f"{kind} with {law} innovations{'' if first is None else ', warm,'} {reason}"
        )
    raise CalibrationError(
        f"{asset}: nothing could be fitted: {'; '.join(refused)}; leave the asset out, or give a "
        "longer history or one of longer bars, in which its price moves more often"
    )


@dataclass(frozen=True, eq=False)
class FitTask:
    """The arguments of `fit_asset` in one piece, for another process.

    Attributes
    ----------
    returns : ndarray of shape (bars,), float64
    volatility, innovations, asset : str
    start : ndarray or None
    """

    returns: NDArray[np.float64]
    volatility: str
    innovations: str
    asset: str
    start: NDArray[np.float64] | None


def fit_task(task: FitTask) -> AssetFit:
    """Fit one asset; see `fit_asset`."""
    return fit_asset(
        task.returns, task.volatility, task.innovations, asset=task.asset, start=task.start
    )


def _raised(fit: AssetFit, returns: NDArray[np.float64]) -> AssetFit:
    """Raise a constant variance until its expected shortfall is at least the sample's."""
    level, deviation = LAST_LEVEL, np.sqrt(fit.next_variance)
    ratios = [
        expected_shortfall(sign * returns, level=level) / (deviation * shortfall)
        for sign, shortfall in zip((-1.0, 1.0), fit.innovations.shortfalls(level), strict=True)
    ]
    raised = max(1.0, *ratios) ** 2
    return replace(
        fit,
        parameters=raised * fit.parameters,
        next_variance=raised * fit.next_variance,
        variances=raised * fit.variances,
        residuals=fit.residuals / np.sqrt(raised),
    )


def start_values(
    model: ModelValues | None, asset: str, volatility: str, innovations: str
) -> NDArray[np.float64] | None:
    """Arch's starting values from an earlier model's fit of the same asset and kinds.

    Returns
    -------
    ndarray of shape (parameters,), float64, or None
        None if the model has no such fit, or the kind does not start from an earlier model.
    """
    rules = KINDS[volatility]
    if model is None or asset not in model.assets:
        return None
    if not rules.fitted or rules.second_start is not None:
        return None
    at = model.assets.index(asset)
    marginal = model.innovations[at]
    if model.volatility.kinds[at] != volatility or marginal.kind != innovations:
        return None
    if innovations == "empirical":
        marginal = Innovations("normal", np.empty(0))
    own = {name: getattr(model.volatility, name)[at] for name in rules.fitted}
    # arch fits returns that are scaled to unit variance.
    variance = model.volatility.sample_variance[at]
    if rules.recursion is Recursion.LOGARITHMIC:
        own["omega"] -= (1.0 - model.volatility.beta[at]) * np.log(variance)
    else:
        own["omega"] /= variance
    return np.concatenate([list(own.values()), marginal.parameters])

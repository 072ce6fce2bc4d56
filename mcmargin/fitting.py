"""One asset's fit: arch's volatility and innovations, along a chain of what may give way.

In: one asset's simple returns, and which volatility and innovations to fit. Out: an `AssetFit`
in units of returns as fractions. A fit that did not converge, or is not stationary, is never
used: it gives way to GARCH with t innovations, and that to EWMA with t innovations.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.errors import CalibrationError
from mcmargin.innovations import Innovations, empirical_innovations
from mcmargin.model import MarketModel
from mcmargin.volatility import volatility_of

VOLATILITIES = ("garch", "gjr", "egarch", "ewma", "constant")
EWMA_DECAY = 0.94
"""RiskMetrics' daily decay factor."""

STATIONARY_BELOW = 1.0 - 1e-6
"""Persistence below which a fit is stationary. arch's optimiser stops on either side of its own
bound of 1 by rounding, and a fit at the bound must not be used on one day and refused on another.
"""


@dataclass(frozen=True, eq=False)
class AssetFit:
    """One asset's fit, in units of returns as fractions.

    Attributes
    ----------
    volatility : str
    parameters : ndarray of shape (4,), float64
        omega, alpha, gamma, beta.
    innovations : Innovations
    next_variance : float
        Of the bar after the history.
    variances : ndarray of shape (bars,), float64
        Filtered, of each bar.
    residuals : ndarray of shape (bars,), float64
        Standardised.
    persistence : float
    refused : tuple of str
        What was tried before and why it was not used.
    """

    volatility: str
    parameters: NDArray[np.float64]
    innovations: Innovations
    next_variance: float
    variances: NDArray[np.float64]
    residuals: NDArray[np.float64]
    persistence: float
    refused: tuple[str, ...]


def fit_asset(
    returns: NDArray[np.float64],
    volatility: str,
    innovations: str,
    *,
    asset: str = "",
    start: NDArray[np.float64] | None = None,
) -> AssetFit:
    """Fit one asset along the declared chain: as asked, GARCH with t, EWMA with t.

    With `empirical` innovations the variance is fitted by Gaussian quasi-likelihood first, and
    the distribution is that of the residuals whichever variance model is used.

    Parameters
    ----------
    returns : ndarray of shape (bars,), float64
        Simple returns, fractions.
    volatility, innovations : str
    asset : str
        Named in errors.
    start : ndarray, optional
        arch's parameters, on returns scaled to unit variance, to start from.

    Raises
    ------
    CalibrationError
        If nothing along the chain could be fitted.
    """
    likelihood = "normal" if innovations == "empirical" else innovations
    refused: list[str] = []
    asked, warm = (volatility, likelihood), [] if start is None else [start]
    # What a warm start does not reach, a cold one may.
    chain = [(asked, first) for first in (*warm, None)]
    chain += [(each, None) for each in (("garch", "t"), ("ewma", "t")) if each != asked]
    for (kind, law), first in chain:
        fit, reason = _try_fit(returns, kind, law, first)
        if fit is not None:
            if innovations == "empirical":
                marginal = empirical_innovations(fit.residuals, asset=asset)
                fit = replace(fit, innovations=marginal)
            return replace(fit, refused=tuple(refused))
        refused.append(
            f"{kind} with {law} innovations{'' if first is None else ', warm,'} {reason}"
        )
    raise CalibrationError(f"{asset}: nothing could be fitted: {'; '.join(refused)}")


def refilter(fit: AssetFit, returns: NDArray[np.float64], *, ratio: float) -> AssetFit:
    """Carry a fit of an asset's own bars to other bars of it, by arch's filter.

    Parameters
    ----------
    fit : AssetFit
        Of the asset's own history.
    returns : ndarray of shape (bars,), float64
        Returns over the bars to filter: the joint ones.
    ratio : float
        Variance of a joint bar over that of an own bar; 1 where they are the same bars. The
        variance's level is scaled by it, and its persistence a bar is left as it is.

    Returns
    -------
    AssetFit
        With the residuals and the next variance of these bars.
    """
    omega, alpha, gamma, beta = fit.parameters
    if fit.volatility == "egarch":
        omega += (1.0 - beta) * np.log(ratio)
    else:
        omega *= ratio
    parameters = np.array([omega, alpha, gamma, beta])
    own = {"garch": [omega, alpha, beta], "ewma": [], "constant": [omega]}
    fixed = arch_model_of(returns, fit.volatility, "normal").fix(
        own.get(fit.volatility, list(parameters))
    )
    variances = np.asarray(fixed.conditional_volatility) ** 2
    return replace(
        fit,
        parameters=parameters,
        next_variance=_next_variance(fit.volatility, parameters, variances[-1], returns[-1]),
        variances=variances,
        residuals=returns / np.sqrt(variances),
    )


def arch_model_of(returns: NDArray[np.float64], volatility: str, law: str) -> Any:
    """Arch's own model for returns: zero mean, not rescaled."""
    from arch import univariate

    laws: dict[str, Any] = {
        "normal": univariate.Normal,
        "t": univariate.StudentsT,
        "skewt": univariate.SkewStudent,
        "ged": univariate.GeneralizedError,
    }
    processes: dict[str, Any] = {
        "garch": lambda: univariate.GARCH(p=1, o=0, q=1),
        "gjr": lambda: univariate.GARCH(p=1, o=1, q=1),
        "egarch": lambda: univariate.EGARCH(p=1, o=1, q=1),
        "ewma": lambda: univariate.EWMAVariance(EWMA_DECAY),
        "constant": univariate.ConstantVariance,
    }
    return univariate.ZeroMean(
        returns, volatility=processes[volatility](), distribution=laws[law](), rescale=False
    )


def _try_fit(
    returns: NDArray[np.float64], kind: str, law: str, start: NDArray[np.float64] | None
) -> tuple[AssetFit | None, str]:
    # Unit variance suits arch's optimiser and its bounds; parameters are scaled back below.
    scale = 1.0 / returns.std()
    model = arch_model_of(returns * scale, kind, law)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = model.fit(disp="off", show_warning=False, starting_values=start)
        except (ValueError, np.linalg.LinAlgError) as error:
            return None, f"failed ({error})"
    if result.convergence_flag != 0:
        return None, f"did not converge (flag {result.convergence_flag})"
    fitted = np.asarray(result.params, float)
    if not np.isfinite(fitted).all():
        return None, "gave parameters that are not finite"
    parameters, count = _scale_back(kind, fitted, scale)
    marginal = Innovations(law, fitted[count:])
    persistence = _persistence(kind, parameters, marginal)
    if kind != "ewma" and persistence >= STATIONARY_BELOW:
        return None, f"is not stationary (persistence {persistence:.4f})"
    variances = np.asarray(result.conditional_volatility) ** 2 / scale**2
    residuals = returns / np.sqrt(variances)
    ahead = _next_variance(kind, parameters, variances[-1], returns[-1])
    return AssetFit(kind, parameters, marginal, ahead, variances, residuals, persistence, ()), ""


def _next_variance(
    kind: str, parameters: NDArray[np.float64], variance: float, last: float
) -> float:
    recursion = volatility_of((kind,), parameters[None], np.ones(1))
    return float(recursion.next_variance(np.array([variance]), np.array([last]))[0])


def _scale_back(
    kind: str, fitted: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.float64], int]:
    """omega, alpha, gamma, beta on unscaled returns, and how many of arch's parameters they are."""
    if kind == "ewma":
        return np.array([0.0, 1.0 - EWMA_DECAY, 0.0, EWMA_DECAY]), 0
    if kind == "constant":
        return np.array([fitted[0] / scale**2, 0.0, 0.0, 0.0]), 1
    if kind == "garch":
        omega, alpha, beta = fitted[:3]
        return np.array([omega / scale**2, alpha, 0.0, beta]), 3
    omega, alpha, gamma, beta = fitted[:4]
    if kind == "egarch":
        omega -= (1.0 - beta) * 2.0 * np.log(scale)
    else:
        omega /= scale**2
    return np.array([omega, alpha, gamma, beta]), 4


def _persistence(kind: str, parameters: NDArray[np.float64], marginal: Innovations) -> float:
    _, alpha, gamma, beta = parameters
    if kind == "egarch":
        return float(abs(beta))
    return float(alpha + beta + gamma * marginal.negative_second_moment())


def start_values(
    model: MarketModel | None, asset: str, volatility: str, innovations: str
) -> NDArray[np.float64] | None:
    """Arch's starting values from an earlier model's fit of the same asset and kinds."""
    if model is None or asset not in model.assets or volatility == "ewma":
        return None
    at = model.assets.index(asset)
    marginal = model.innovations[at]
    if model.volatility.kinds[at] != volatility or marginal.kind != innovations:
        return None
    if innovations == "empirical":
        marginal = Innovations("normal", np.empty(0))
    v = model.volatility
    unit = v.sample_variance[at]
    omega = v.omega[at] / unit
    if volatility == "egarch":
        omega = v.omega[at] - (1.0 - v.beta[at]) * np.log(unit)
    own = {
        "garch": [omega, v.alpha[at], v.beta[at]],
        "gjr": [omega, v.alpha[at], v.gamma[at], v.beta[at]],
        "egarch": [omega, v.alpha[at], v.gamma[at], v.beta[at]],
        "constant": [omega],
    }[volatility]
    return np.concatenate([own, marginal.parameters])

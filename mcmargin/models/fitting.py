"""One asset's fit: arch's volatility and innovations, along a chain of what may give way.

In: one asset's simple returns, and which volatility and innovations to fit. Out: an `AssetFit`
in units of returns as fractions. A fit that did not converge, is not stationary or does not
describe its own residuals is never used: it gives way to GARCH and then EWMA with t innovations,
and these to EWMA and then a constant variance with the residuals' own distribution.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.errors import CalibrationError
from mcmargin.models.innovations import MINIMUM_EMPIRICAL, Innovations, empirical_innovations
from mcmargin.models.model import MarketModel
from mcmargin.models.volatility import VARIANCE_FLOOR, volatility_of
from mcmargin.numerics.tail import expected_shortfall
from mcmargin.workers import one_blas_thread

VOLATILITIES = ("garch", "gjr", "egarch", "ewma", "constant")
EWMA_DECAY = 0.94
"""RiskMetrics' daily decay factor."""

STATIONARY_BELOW = 1.0 - 1e-6
"""Persistence below which a fit is stationary. arch's optimiser stops on either side of its own
bound of 1 by rounding, and a fit at the bound must not be used on one day and refused on another.
"""

RESIDUAL_STD = (0.5, 1.5)
"""Range of the standardised residuals' standard deviation, 1 by definition, beyond which a fit is
not used: risk is overstated or understated by as much. Where many returns are 0, as of pegs and of
prices on a coarse tick, the likelihood grows without bound as the variance shrinks and the tails
fatten, and residuals deviate by thousands."""

LARGEST_COUNTED = 10.0
"""Size at which residuals are held for that, so that a single enormous day, which the tails of a
t, a skewed t or GED reach, condemns no fit. Normal ones reach none, and empirical ones are scaled
by whatever there is."""

LEAST_SHAPE = {"t": 2.1, "skewt": 2.1, "ged": 1.02}
"""Degrees of freedom, or GED's shape, below which a fit is not used. arch's bounds are 2.05 and
1.01; a t of 2.1 has the expected shortfall of a normal of its own variance, and below it less."""

LAST_LEVEL = 0.99
"""Level at which the last link's expected shortfall is held to the sample's."""

LARGEST_SKEWNESS = 0.99
"""Hansen's skewness in absolute value beyond which a fit is not used; arch's bounds are +-1."""

SLOW_START = (0.1, 0.1, 0.995)
"""alpha, gamma and beta of EGARCH's second start. Its likelihood has several optima on series with
single enormous days; arch's own start finds the faster ones."""


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
        Under the innovations that are used.
    log_likelihood : float
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
    log_likelihood: float
    refused: tuple[str, ...]


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

    1. As asked, from `start` where it is given, then from arch's own start.
    2. GARCH with t innovations.
    3. EWMA with t innovations.
    4. EWMA with empirical innovations, or normal ones below 250 returns.
    5. Constant variance with the same, raised where it must be for its expected shortfall at
       `LAST_LEVEL` to be at least the sample's in both tails.

    A link is sound where arch's optimiser converged, the variance is stationary under the
    innovations that are used, the standard deviation of the standardised residuals (held to
    `LARGEST_COUNTED` where tails are heavy) lies within `RESIDUAL_STD`, and no shape of the
    innovations lies near arch's bounds (`LEAST_SHAPE`, `LARGEST_SKEWNESS`).

    With `empirical` innovations the variance is fitted by Gaussian quasi-likelihood first, and
    the distribution is that of the residuals whichever variance model is used. EGARCH is fitted
    from two declared starts, and the likelier sound one is used; an earlier model's parameters
    are passed over, so that the optimum does not depend on history.

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
        If nothing along the chain is sound.
    """
    last = "empirical" if len(returns) >= MINIMUM_EMPIRICAL else "normal"
    asked = (volatility, innovations)
    # What a warm start does not reach, a cold one may.
    warm = [] if start is None else [(asked, start)]
    others = [("garch", "t"), ("ewma", "t"), ("ewma", last), ("constant", last)]
    if innovations == "empirical":
        others = [(kind, "empirical") for kind, _ in others]
    cold = [(each, None) for each in dict.fromkeys([asked, *others])]
    refused: list[str] = []
    for (kind, law), first in [*warm, *cold]:
        fit, reason = _best_fit(returns, kind, law, first, asset)
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
    """What `fit_asset` is called with, in one piece, for another process.

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


def refilter(
    fit: AssetFit, returns: NDArray[np.float64], *, ratio: float, bars: float, asset: str = ""
) -> AssetFit:
    """Carry a fit of an asset's own bars to joint bars, by arch's filter.

    The joint bars' variance lies `ratio` times as high. An excess of it over its mean is left by
    the persistence p a bar, and so by p**bars over a joint bar of as many own ones: the sum of
    GARCH returns is weak GARCH of persistence p**bars (Drost and Nijman 1993). Of that persistence
    alpha, gamma and beta keep their shares, which is an approximation: the exact shares depend on
    the fourth moment, which heavy tails may not have, and joint bars are not all of one length
    (a coin's Monday beside shares holds three of its days). On simulated returns of a coin beside
    a share an excess that the filter sees is followed by nine tenths to eight tenths of it, and
    fades as said. EGARCH's beta becomes beta**bars, and alpha and gamma shrink in proportion.
    EWMA's decay is a declared one a bar, whatever the bar is, and stays. The innovations stay too:
    those of a longer bar have thinner tails, so that risk is overstated rather than understated.

    Parameters
    ----------
    fit : AssetFit
        Of the asset's own history.
    returns : ndarray of shape (bars,), float64
        Returns over the bars to filter: the joint ones.
    ratio : float
        Variance of a joint bar over that of an own bar; 1 where they are the same bars.
    bars : float
        Own bars in a joint bar, on average; 1 where they are the same bars.
    asset : str
        Named in errors.

    Returns
    -------
    AssetFit
        With the residuals and the next variance of these bars.

    Raises
    ------
    CalibrationError
        If the residuals of these bars are not standardised to within `RESIDUAL_STD`.

    References
    ----------
    Drost and Nijman (1993), Temporal aggregation of GARCH processes, Econometrica 61(4).
    """
    omega, alpha, gamma, beta = fit.parameters
    persistence = fit.persistence
    if fit.volatility != "ewma" and persistence > 0.0:
        share = persistence ** (bars - 1.0)
        if fit.volatility == "egarch":
            # A negative beta has an alternating excess; its size is what fades.
            omega, persistence = omega * (1.0 - share * beta) / (1.0 - beta), share * persistence
        else:
            omega *= (1.0 - share * persistence) / (1.0 - persistence)
            persistence *= share
        alpha, gamma, beta = share * alpha, share * gamma, share * beta
    if fit.volatility == "egarch":
        omega += (1.0 - beta) * np.log(ratio)
    else:
        omega *= ratio
    parameters = np.array([omega, alpha, gamma, beta])
    own = {"garch": [omega, alpha, beta], "ewma": [], "constant": [omega]}
    fixed = arch_model_of(returns, fit.volatility, "normal").fix(
        own.get(fit.volatility, list(parameters))
    )
    variances = _floored(
        fit.volatility,
        parameters,
        np.asarray(fixed.conditional_volatility) ** 2,
        returns,
        returns.var(),
    )
    residuals = returns / np.sqrt(variances)
    spread = _spread(residuals, fit.innovations.kind)
    if not RESIDUAL_STD[0] <= spread <= RESIDUAL_STD[1]:
        raise CalibrationError(
            f"{asset}: the fit of its own history leaves residuals of standard deviation "
            f"{spread:.3g} on the joint dates, where 1 is right; fit the joint dates instead "
            "(own_history=False)"
        )
    return replace(
        fit,
        parameters=parameters,
        next_variance=_next_variance(
            fit.volatility, parameters, variances[-1], returns[-1], returns.var()
        ),
        variances=variances,
        residuals=residuals,
        persistence=persistence,
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


def _raised(fit: AssetFit, returns: NDArray[np.float64]) -> AssetFit:
    """A fit of constant variance whose expected shortfall is the sample's at least."""
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


def _best_fit(
    returns: NDArray[np.float64],
    kind: str,
    law: str,
    start: NDArray[np.float64] | None,
    asset: str,
) -> tuple[AssetFit | None, str]:
    """The likelier sound fit of the starts that a kind has, or why there is none."""
    starts = [start]
    if kind == "egarch":
        shapes = arch_model_of(returns, kind, _likelihood(law)).distribution.starting_values(
            returns
        )
        starts = [None, np.array([0.0, *SLOW_START, *shapes])]
    tried = [_try_fit(returns, kind, law, each, asset) for each in starts]
    sound = [fit for fit, _ in tried if fit is not None]
    if not sound:
        return tried[0]
    return max(sound, key=lambda fit: fit.log_likelihood), ""


def _try_fit(
    returns: NDArray[np.float64],
    kind: str,
    law: str,
    start: NDArray[np.float64] | None,
    asset: str,
) -> tuple[AssetFit | None, str]:
    """A fit that is sound, or why it is not."""
    # Unit variance suits arch's optimiser and its bounds; parameters are scaled back below.
    scale = 1.0 / returns.std()
    model = arch_model_of(returns * scale, kind, _likelihood(law))
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
    shapes = fitted[count:]
    if len(shapes) and shapes[0] < LEAST_SHAPE[law]:
        return None, f"has a shape of {shapes[0]:.3f}, near the optimiser's bound"
    if len(shapes) > 1 and abs(shapes[1]) > LARGEST_SKEWNESS:
        return None, f"has a skewness of {shapes[1]:.3f}, near the optimiser's bound"
    variances = np.asarray(result.conditional_volatility) ** 2 / scale**2
    variances = _floored(kind, parameters, variances, returns, returns.var())
    residuals = returns / np.sqrt(variances)
    spread = _spread(residuals, law)
    if not RESIDUAL_STD[0] <= spread <= RESIDUAL_STD[1]:
        return None, f"leaves standardised residuals of standard deviation {spread:.3g}"
    marginal = Innovations(law, shapes)
    if law == "empirical":
        try:
            marginal = empirical_innovations(residuals, asset=asset)
        except CalibrationError as error:
            return None, f"failed ({error})"
    persistence = _persistence(kind, parameters, marginal)
    if kind != "ewma" and persistence >= STATIONARY_BELOW:
        return None, f"is not stationary (persistence {persistence:.4f})"
    fit = AssetFit(
        volatility=kind,
        parameters=parameters,
        innovations=marginal,
        next_variance=_next_variance(kind, parameters, variances[-1], returns[-1], returns.var()),
        variances=variances,
        residuals=residuals,
        persistence=persistence,
        log_likelihood=float(result.loglikelihood),
        refused=(),
    )
    return fit, ""


def _spread(residuals: NDArray[np.float64], law: str) -> float:
    """Standard deviation of residuals as soundness counts it."""
    largest = LARGEST_COUNTED if law in LEAST_SHAPE else np.inf
    return float(np.clip(residuals, -largest, largest).std())


def _likelihood(law: str) -> str:
    """The law whose likelihood is maximised."""
    return "normal" if law == "empirical" else law


def _floored(
    kind: str,
    parameters: NDArray[np.float64],
    variances: NDArray[np.float64],
    returns: NDArray[np.float64],
    sample_variance: float,
) -> NDArray[np.float64]:
    """Arch's filtered variances, or, where one falls below the floor, the floored recursion's."""
    floor = VARIANCE_FLOOR * sample_variance
    if (variances >= floor).all():
        return variances
    held = np.maximum(variances, floor)
    for bar in range(1, len(held)):
        held[bar] = _next_variance(
            kind, parameters, held[bar - 1], returns[bar - 1], sample_variance
        )
    return held


def _next_variance(
    kind: str,
    parameters: NDArray[np.float64],
    variance: float,
    last: float,
    sample_variance: float,
) -> float:
    recursion = volatility_of((kind,), parameters[None], np.array([sample_variance]))
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
    # EGARCH has declared starts, so that its optimum does not depend on history.
    if model is None or asset not in model.assets or volatility in ("ewma", "egarch"):
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
    own = {
        "garch": [omega, v.alpha[at], v.beta[at]],
        "gjr": [omega, v.alpha[at], v.gamma[at], v.beta[at]],
        "constant": [omega],
    }[volatility]
    return np.concatenate([own, marginal.parameters])

"""One fit by `arch`, and whether it is sound.

In: one asset's simple returns, and one kind of volatility and of innovations. Out: an `AssetFit` in
units of returns as fractions, or the reason why the fit is not used. `mcmargin.models.fitting` then
tries the next fit.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.errors import CalibrationError
from mcmargin.models.innovations import Innovations, empirical_innovations
from mcmargin.models.volatility import COEFFICIENTS, KINDS, VARIANCE_FLOOR, Recursion, volatility_of

STATIONARY_BELOW = 1.0 - 1e-6
"""Persistence below which a fit is stationary. arch's optimiser stops on either side of its own
bound of 1 by rounding, and a fit at the bound must not be used on one day and refused on another.
"""

RESIDUAL_STD = (0.5, 1.5)
"""Range in which the standard deviation of the standardised residuals, 1 by definition, must lie.
Beyond it risk is overstated or understated by as much. Where many returns are 0, as those of pegged
coins and of prices on a coarse tick, the likelihood grows without bound as the variance shrinks and
the tails become heavier, and the residuals deviate by thousands."""

LARGEST_COUNTED = 10.0
"""Absolute value at which residuals are cut off for that standard deviation. The tails of a t, a
skewed t or a GED distribution reach a single enormous day, which is thus no reason to refuse a fit.
Residuals under a normal distribution are not cut off, as its tails reach no such day, and those
under an empirical one are not, as it is scaled by all of them."""

LEAST_SHAPE = {"t": 2.1, "skewt": 2.1, "ged": 1.02}
"""Least degrees of freedom, or GED's least shape, of a fit that is used. arch's bounds are 2.05 and
1.01. A t of 2.1 degrees of freedom has the expected shortfall of a normal of the same variance, and
one of fewer has less."""

LARGEST_SKEWNESS = 0.99
"""Largest absolute value of Hansen's skewness of a fit that is used; arch's bounds are +-1."""


@dataclass(frozen=True, eq=False)
class AssetFit:
    """One asset's fit, in units of returns as fractions.

    Attributes
    ----------
    volatility : str
    parameters : ndarray of shape (4,), float64
        omega, alpha, gamma and beta.
    innovations : Innovations
    next_variance : float
        Variance of the bar after the history.
    variances : ndarray of shape (bars,), float64
        Filtered variance of each bar.
    residuals : ndarray of shape (bars,), float64
        Standardised residual of each bar.
    persistence : float
        Persistence of the variance under the innovations that are used.
    log_likelihood : float
    refused : tuple of str
        What was tried before, and why it was not used.
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


def arch_model_of(returns: NDArray[np.float64], volatility: str, law: str) -> Any:
    """Make arch's own model of returns: zero mean, not rescaled.

    Parameters
    ----------
    returns : ndarray of shape (bars,), float64
    volatility : str
        One of `mcmargin.models.volatility.KINDS`.
    law : str
        Distribution of the innovations: `normal`, `t`, `skewt` or `ged`.
    """
    from arch import univariate

    laws: dict[str, Any] = {
        "normal": univariate.Normal,
        "t": univariate.StudentsT,
        "skewt": univariate.SkewStudent,
        "ged": univariate.GeneralizedError,
    }
    process = KINDS[volatility].process(univariate)
    return univariate.ZeroMean(returns, volatility=process, distribution=laws[law](), rescale=False)


def best_fit(
    returns: NDArray[np.float64],
    kind: str,
    law: str,
    start: NDArray[np.float64] | None,
    asset: str,
) -> tuple[AssetFit | None, str]:
    """Fit from every start that a kind has.

    Returns
    -------
    AssetFit or None
        The sound fit of the largest likelihood.
    str
        Why there is no sound fit; empty if there is one.
    """
    starts = [start]
    if (second := KINDS[kind].second_start) is not None:
        model = arch_model_of(returns, kind, _likelihood(law))
        shapes = model.distribution.starting_values(returns)
        starts = [None, np.array([0.0, *second, *shapes])]
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
    """Return a fit that is sound, or the reason why it is not."""
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
    parameters, shapes = _coefficients(kind, fitted, scale)
    if reason := _fault_of_shapes(law, shapes):
        return None, reason
    variances = np.asarray(result.conditional_volatility) ** 2 / scale**2
    variances = floored(kind, parameters, variances, returns, returns.var())
    residuals = returns / np.sqrt(variances)
    deviation = counted_deviation(residuals, law)
    if not RESIDUAL_STD[0] <= deviation <= RESIDUAL_STD[1]:
        return None, f"leaves standardised residuals of standard deviation {deviation:.3g}"
    marginal = Innovations(law, shapes)
    if law == "empirical":
        try:
            marginal = empirical_innovations(residuals, asset=asset)
        except CalibrationError as error:
            return None, f"failed ({error})"
    volatility = volatility_of((kind,), parameters[None], np.array([returns.var()]))
    persistence = float(volatility.persistence(0, negative=marginal.negative_second_moment()))
    if not KINDS[kind].integrated and persistence >= STATIONARY_BELOW:
        return None, f"is not stationary (persistence {persistence:.4f})"
    fit = AssetFit(
        volatility=kind,
        parameters=parameters,
        innovations=marginal,
        next_variance=next_variance(kind, parameters, variances[-1], returns[-1], returns.var()),
        variances=variances,
        residuals=residuals,
        persistence=persistence,
        log_likelihood=float(result.loglikelihood),
        refused=(),
    )
    return fit, ""


def _fault_of_shapes(law: str, shapes: NDArray[np.float64]) -> str:
    """Say which shape of the innovations lies near arch's bounds; empty if none does."""
    if len(shapes) and shapes[0] < LEAST_SHAPE[law]:
        return f"has a shape of {shapes[0]:.3f}, near the optimiser's bound"
    if len(shapes) > 1 and abs(shapes[1]) > LARGEST_SKEWNESS:
        return f"has a skewness of {shapes[1]:.3f}, near the optimiser's bound"
    return ""


def counted_deviation(residuals: NDArray[np.float64], law: str) -> float:
    """Standard deviation of residuals; under a law of heavy tails they are cut off."""
    largest = LARGEST_COUNTED if law in LEAST_SHAPE else np.inf
    return float(np.clip(residuals, -largest, largest).std())


def _likelihood(law: str) -> str:
    """The law whose likelihood is maximised."""
    return "normal" if law == "empirical" else law


def floored(
    kind: str,
    parameters: NDArray[np.float64],
    variances: NDArray[np.float64],
    returns: NDArray[np.float64],
    sample_variance: float,
) -> NDArray[np.float64]:
    """Filtered variances of all bars, held at the floor.

    Parameters
    ----------
    kind : str
    parameters : ndarray of shape (4,), float64
    variances : ndarray of shape (bars,), float64
        Those of arch. They are returned as they are unless one lies below the floor.
    returns : ndarray of shape (bars,), float64
    sample_variance : float
    """
    floor = VARIANCE_FLOOR * sample_variance
    if (variances >= floor).all():
        return variances
    held = np.maximum(variances, floor)
    for bar in range(1, len(held)):
        held[bar] = next_variance(
            kind, parameters, held[bar - 1], returns[bar - 1], sample_variance
        )
    return held


def next_variance(
    kind: str,
    parameters: NDArray[np.float64],
    variance: float,
    last: float,
    sample_variance: float,
) -> float:
    """Variance of the bar after one whose variance and return (`last`) are given."""
    recursion = volatility_of((kind,), parameters[None], np.array([sample_variance]))
    return float(recursion.next_variance(np.array([variance]), np.array([last]))[0])


def _coefficients(
    kind: str, fitted: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Split arch's parameters of scaled returns.

    Returns
    -------
    ndarray of shape (4,), float64
        omega, alpha, gamma and beta of the returns themselves.
    ndarray of shape (shapes,), float64
        Shapes of the innovations.
    """
    rules = KINDS[kind]
    count = len(rules.fitted)
    values = {**rules.declared, **dict(zip(rules.fitted, fitted[:count], strict=True))}
    omega, alpha, gamma, beta = (float(values.get(name, 0.0)) for name in COEFFICIENTS)
    if rules.recursion is Recursion.LOGARITHMIC:
        omega -= (1.0 - beta) * 2.0 * np.log(scale)
    else:
        omega /= scale**2
    return np.array([omega, alpha, gamma, beta]), fitted[count:]

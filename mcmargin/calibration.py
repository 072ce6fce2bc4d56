"""calibrate(): from a price history to a MarketModel, one arch fit an asset, in parallel.

In: prices, and which volatility, innovations and dependence to fit. Out: a `MarketModel` whose
facts say, asset by asset, what was fitted and what was refused on the way. A fit that did not
converge, or is not stationary, is never used: it gives way to GARCH with t innovations, and
that to EWMA with t innovations.
"""

from __future__ import annotations

import platform
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.audit import fingerprint
from mcmargin.checks import Progress, whole_number
from mcmargin.dependence import check_pair, fit_dependence, is_scale, marginal_table
from mcmargin.errors import CalibrationError
from mcmargin.innovations import Innovations, empirical_innovations
from mcmargin.model import FilterState, MarketModel, Volatility
from mcmargin.prices import PriceHistory, joint_returns

VOLATILITIES = ("garch", "gjr", "egarch", "ewma", "constant")
MINIMUM_RETURNS = 100
EWMA_DECAY = 0.94
"""RiskMetrics' daily decay factor."""


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
    residuals: NDArray[np.float64]
    persistence: float
    refused: tuple[str, ...]


def calibrate(
    prices: PriceHistory,
    *,
    volatility: str = "gjr",
    innovations: str = "skewt",
    dependence: str = "t",
    warm_start: MarketModel | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> MarketModel:
    """Fit a market model to daily (or any other regular) closes.

    Parameters
    ----------
    prices : PriceHistory
    volatility : str
        `garch`, `gjr`, `egarch`, `ewma` (decay 0.94) or `constant`; zero mean.
    innovations : str
        `normal`, `t`, `skewt`, `ged` or `empirical`.
    dependence : str
        `gaussian`, `t` or `historical` (with `empirical` innovations only).
    warm_start : MarketModel, optional
        An earlier model: its parameters start the optimiser where asset and kinds agree.
    jobs : int, optional
        Fits at a time; one a core by default.
    progress : callable, optional
        Called with fits done and in all.

    Returns
    -------
    MarketModel

    Raises
    ------
    CalibrationError
        For an unknown or illegal combination, or a history too short, naming the asset.
    PolicyError
        If jobs is not 1 or more.
    """
    from joblib import Parallel, delayed

    if volatility not in VOLATILITIES:
        raise CalibrationError(f"volatility {volatility!r} is unknown; choose of {VOLATILITIES}")
    check_pair(innovations, dependence)
    workers = -1 if jobs is None else whole_number("jobs", jobs)
    joint = joint_returns(prices)
    _check_length(joint.assets, joint.returns)
    fits: list[AssetFit] = []
    tasks = (
        delayed(fit_asset)(
            column,
            volatility,
            innovations,
            asset=asset,
            start=_start_values(warm_start, asset, volatility, innovations),
        )
        for asset, column in zip(joint.assets, joint.returns.T, strict=True)
    )
    for fit in Parallel(n_jobs=workers, return_as="generator")(tasks):
        fits.append(fit)
        if progress is not None:
            progress(len(fits), len(joint.assets))
    residuals = np.column_stack([fit.residuals for fit in fits])
    state = FilterState(
        as_of=joint.times[-1],
        prices=joint.last_prices,
        variance=np.array([fit.next_variance for fit in fits]),
        residuals=residuals[-1].copy(),
    )
    if dependence == "historical":
        residuals = (residuals - residuals.mean(axis=0)) / residuals.std(axis=0)
    law = fit_dependence(residuals, dependence)
    marginals = tuple(fit.innovations for fit in fits)
    coefficients = np.array([fit.parameters for fit in fits])
    return MarketModel(
        assets=joint.assets,
        volatility=volatility_of(
            tuple(fit.volatility for fit in fits), coefficients, joint.returns.var(axis=0)
        ),
        innovations=marginals,
        dependence=law,
        committed=state,
        state=state,
        tables=marginal_tables(marginals, law.kind, law.nu),
        facts=_facts(prices, joint.report.summary(), joint.assets, joint.times, fits),
    )


def marginal_tables(
    marginals: tuple[Innovations, ...], kind: str, nu: float
) -> NDArray[np.float64]:
    """Marginal transforms of all assets, [assets, 4099]; empty where no asset needs one."""
    if kind == "historical" or all(is_scale(marginal, nu) for marginal in marginals):
        return np.empty((0, 0))
    return np.array([marginal_table(marginal, nu) for marginal in marginals])


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
    chain = dict.fromkeys([(volatility, likelihood), ("garch", "t"), ("ewma", "t")])
    for kind, law in chain:
        fit, reason = _try_fit(returns, kind, law, start if not refused else None)
        if fit is not None:
            if innovations == "empirical":
                marginal = empirical_innovations(fit.residuals, asset=asset)
                fit = replace(fit, innovations=marginal)
            return replace(fit, refused=tuple(refused))
        refused.append(f"{kind} with {law} innovations {reason}")
    raise CalibrationError(f"{asset}: nothing could be fitted: {'; '.join(refused)}")


def volatility_of(
    kinds: tuple[str, ...],
    coefficients: NDArray[np.float64],
    sample_variance: NDArray[np.float64],
) -> Volatility:
    """Volatility of rows of omega, alpha, gamma, beta; coefficients [assets, 4]."""
    omega, alpha, gamma, beta = np.ascontiguousarray(coefficients.T)
    return Volatility(kinds, omega, alpha, gamma, beta, sample_variance)


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
    if kind != "ewma" and persistence >= 1.0:
        return None, f"is not stationary (persistence {persistence:.4f})"
    variances = np.asarray(result.conditional_volatility) ** 2 / scale**2
    residuals = returns / np.sqrt(variances)
    recursion = volatility_of((kind,), parameters[None], np.ones(1))
    ahead = recursion.next_variance(variances[-1:], returns[-1:])
    fit = AssetFit(kind, parameters, marginal, float(ahead[0]), residuals, persistence, ())
    return fit, ""


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


def _start_values(
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


def _check_length(assets: tuple[str, ...], returns: NDArray[np.float64]) -> None:
    if len(returns) < MINIMUM_RETURNS:
        raise CalibrationError(
            f"{', '.join(assets)}: {len(returns)} returns on common dates, and a fit needs at "
            f"least {MINIMUM_RETURNS}; give a longer history, or leave out the asset whose "
            "calendar is shortest"
        )
    still = [asset for asset, r in zip(assets, returns.T, strict=True) if not r.any()]
    if still:
        raise CalibrationError(f"{still[0]}: the price never moves; leave the asset out")


def _facts(
    prices: PriceHistory,
    join: str,
    assets: tuple[str, ...],
    times: NDArray[np.datetime64],
    fits: list[AssetFit],
) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "join": join,
        "bar_days": float(np.median(np.diff(times)) / np.timedelta64(1, "D")),
        "data_fingerprint": fingerprint(prices.assets, prices.times.astype(str), prices.prices),
        "versions": {name: version(name) for name in ("arch", "numpy", "scipy", "mcmargin")}
        | {"python": platform.python_version()},
        "fits": {
            asset: {
                "volatility": fit.volatility,
                "innovations": fit.innovations.kind,
                "persistence": fit.persistence,
                "residual_mean": float(fit.residuals.mean()),
                "residual_std": float(fit.residuals.std()),
                "refused": list(fit.refused),
            }
            for asset, fit in zip(assets, fits, strict=True)
        },
    }

"""Dependence between assets: a copula's correlation and degrees of freedom, or whole dates.

In: standardised residuals on common dates, `[bars, assets]`. Out: a `Dependence`: the factor that
turns independent normals into correlated ones, the chi-square table of a t copula, or, for
`historical`, the residuals themselves, from which whole dates are drawn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, special, stats

from mcmargin.errors import CalibrationError
from mcmargin.models.innovations import PARAMETERS
from mcmargin.models.marginals import mixing_table
from mcmargin.models.scores import copula_correlation
from mcmargin.workers import one_blas_thread

INNOVATIONS = tuple(PARAMETERS)
DEPENDENCE_KINDS = ("gaussian", "t", "historical")

LEGAL = {
    "gaussian": INNOVATIONS,
    "t": INNOVATIONS,
    "historical": ("empirical",),
}
"""Innovations that are allowed with each kind of dependence."""

_NU_RANGE = (2.1, 100.0)


@dataclass(frozen=True, eq=False)
class Dependence:
    """Dependence between the innovations of the assets in one step.

    A vector of copula variables is ``factor @ f``, where ``f`` are independent normals. If there is
    a diagonal, ``diagonal * z`` is added, where ``z`` is a normal of each asset's own.

    Attributes
    ----------
    kind : str
        `gaussian`, `t` or `historical`.
    factor : ndarray of shape (assets, columns), float64
        Lower Cholesky factor of the correlation, or loadings of common factors. For `historical`
        it only describes; nothing is drawn by it.
    diagonal : ndarray of shape (assets,) or (0,), float64
        Standard deviation of each asset's own part; empty for a Cholesky factor.
    nu : float
        Degrees of freedom of the t copula; infinite for the other kinds.
    mixing : ndarray of shape (4097,) or (0,), float64
        ln of the chi-square quantile at evenly spaced logits from -38 to 38; empty unless `t`.
    residuals : ndarray of shape (dates, assets) or (0, assets), float64
        Standardised residuals by date; empty unless `historical`.
    half_life : float
        Number of bars in which a date loses half its weight; infinite if the correlation stays.
    shrinkage : float
        Weight of the identity in the correlation (Ledoit and Wolf 2004).
    lookback : int
        Number of newest bars whose dates are kept, and among which scores are ranked; 0 for all.
    """

    kind: str
    factor: NDArray[np.float64]
    diagonal: NDArray[np.float64]
    nu: float
    mixing: NDArray[np.float64]
    residuals: NDArray[np.float64]
    half_life: float
    shrinkage: float
    lookback: int

    @property
    def correlation(self) -> NDArray[np.float64]:
        """Correlation of the copula variables; float64 [assets, assets], unit diagonal."""
        correlation = self.factor @ self.factor.T
        if len(self.diagonal):
            correlation += np.diag(self.diagonal**2)
        np.fill_diagonal(correlation, 1.0)
        return correlation

    def moved(self, residuals: NDArray[np.float64]) -> Dependence:
        """Return the dependence with the correlation of all residuals, [bars, assets].

        `fit_dependence` fits it with the same half-life, lookback and degrees of freedom.
        """
        fresh = fit_dependence(
            residuals[-self.lookback :], self.kind, half_life=self.half_life, nu=self.nu
        )
        return replace(self, factor=fresh.factor, shrinkage=fresh.shrinkage)

    def with_dates(self, residuals: NDArray[np.float64]) -> Dependence:
        """Return the dependence with newer dates [dates, assets]; the oldest dates are dropped."""
        dates = np.vstack([self.residuals, residuals])
        return replace(self, residuals=dates[-self.lookback :])


def check_pair(innovations: str, dependence: str) -> None:
    """Refuse a pair of innovations and dependence that is not in `LEGAL`.

    Raises
    ------
    CalibrationError
        It names what is allowed.

    Examples
    --------
    >>> check_pair("t", "gaussian")
    """
    if not isinstance(dependence, str) or dependence not in LEGAL:
        raise CalibrationError(
            f"dependence {dependence!r} is unknown; choose one of {DEPENDENCE_KINDS}"
        )
    if not isinstance(innovations, str) or innovations not in INNOVATIONS:
        raise CalibrationError(
            f"innovations {innovations!r} are unknown; choose one of {INNOVATIONS}"
        )
    if innovations not in LEGAL[dependence]:
        raise CalibrationError(
            f"dependence={dependence!r} goes with innovations in {LEGAL[dependence]}, "
            f"not {innovations!r}"
        )


@one_blas_thread()
def fit_dependence(
    residuals: NDArray[np.float64],
    kind: str,
    *,
    factors: int | None = None,
    half_life: float | None = None,
    lookback: int | None = None,
    nu: float | None = None,
) -> Dependence:
    """Fit the dependence of standardised residuals.

    Residuals become scores by their ranks, u = rank / (bars + 1), and the quantile function of the
    copula. The correlation of the scores is shrunk (Ledoit and Wolf 2004) and normalised to a unit
    diagonal. If it is not positive definite, the nearest correlation matrix is taken. The degrees
    of freedom of the t copula maximise its likelihood. With `factors`, the correlation is that of a
    factor analysis of the scores.

    With a half-life, few bars have most of the weight. A single bar could then change the
    correlation of t scores of few degrees of freedom completely. The scores are therefore standard
    normal quantiles for every copula, which stay within +-3.1 among 1,000 bars. The correlation is
    then that of the copula whose normal scores have the correlation found.

    Parameters
    ----------
    residuals : ndarray of shape (bars, assets), float64
        Standardised residuals, of the newest `lookback` bars if it is given.
    kind : str
        One of `DEPENDENCE_KINDS`.
    factors : int, optional
        Number of common factors, for many assets; without it the correlation matrix is a full one.
    half_life : float, optional
        Number of bars in which a date loses half its weight; equal weights by default.
    lookback : int, optional
        Number of bars that an update keeps; all by default.
    nu : float, optional
        Degrees of freedom of the t copula, if they are known.

    Returns
    -------
    Dependence

    References
    ----------
    Genest, Ghoudi and Rivest (1995), Biometrika 82(3): ranks in place of fitted marginals.
    McNeil, Frey and Embrechts, Quantitative Risk Management: the t copula.

    Examples
    --------
    >>> rng = np.random.default_rng(7)
    >>> x = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 5000)
    >>> bool(abs(fit_dependence(x, "gaussian").correlation[0, 1] - 0.5) < 0.04)
    True
    """
    bars, assets = residuals.shape
    weights = _weights(bars, half_life)
    # t quantiles take long to compute, so that each is computed once for all equal ranks.
    values, where = np.unique(stats.rankdata(residuals, axis=0) / (bars + 1), return_inverse=True)
    normal = special.ndtri(values)[where]

    def correlation_of(nu: float) -> tuple[NDArray[np.float64], float]:
        if half_life is None:
            return score_correlation(copula_scores(values, nu)[where], weights)
        correlation, shrinkage = score_correlation(normal, weights)
        return _of_scores(correlation, nu), shrinkage

    if kind != "t":
        nu = np.inf
    elif nu is None:
        # One asset alone does not tell nu, and its marginal is exact for any nu.
        nu = _fit_nu(values, where, weights, correlation_of) if assets > 1 else _NU_RANGE[1]
    dates = residuals if kind == "historical" else np.empty((0, assets))
    shrinkage = 0.0
    if factors is not None:
        loadings, diagonal = _factor_analysis(copula_scores(values, nu)[where], weights, factors)
        law = make_dependence(kind, factor=loadings, diagonal=diagonal, nu=nu, residuals=dates)
    else:
        correlation, shrinkage = correlation_of(nu)
        law = make_dependence(kind, correlation, nu=nu, residuals=dates)
    law = replace(law, lookback=lookback or 0)
    if half_life is None:
        return law
    return replace(law, half_life=float(half_life), shrinkage=shrinkage)


def make_dependence(
    kind: str,
    correlation: NDArray[np.float64] | None = None,
    *,
    factor: NDArray[np.float64] | None = None,
    diagonal: NDArray[np.float64] | None = None,
    nu: float = np.inf,
    residuals: NDArray[np.float64] | None = None,
) -> Dependence:
    """Make a dependence from its parameters.

    Parameters
    ----------
    kind : str
        One of `DEPENDENCE_KINDS`.
    correlation : ndarray of shape (assets, assets), float64, optional
    factor : ndarray of shape (assets, factors), float64, optional
        Loadings of common factors, instead of the correlation.
    diagonal : ndarray of shape (assets,), float64, optional
        Standard deviations of the assets' own parts, if loadings are given.
    nu : float
        Degrees of freedom of the t copula.
    residuals : ndarray of shape (dates, assets), float64, optional
        Standardised residuals by date, for `historical`.

    Raises
    ------
    CalibrationError
        If the correlation is not positive definite.

    Examples
    --------
    >>> make_dependence("t", np.eye(2), nu=5.0).mixing.shape
    (4097,)
    """
    if factor is None:
        try:
            factor = np.linalg.cholesky(np.asarray(correlation, float))
        except np.linalg.LinAlgError:
            raise CalibrationError("the correlation matrix is not positive definite") from None
    return Dependence(
        kind=kind,
        factor=np.ascontiguousarray(factor, np.float64),
        diagonal=np.empty(0) if diagonal is None else diagonal,
        nu=float(nu),
        mixing=mixing_table(nu) if kind == "t" else np.empty(0),
        residuals=np.empty((0, len(factor))) if residuals is None else residuals,
        half_life=np.inf,
        shrinkage=0.0,
        lookback=0,
    )


def copula_scores(uniforms: NDArray[np.float64], nu: float) -> NDArray[np.float64]:
    """Scores of uniforms of any shape: t scores, or normal scores if nu is infinite."""
    return np.asarray(special.ndtri(uniforms) if np.isinf(nu) else special.stdtrit(nu, uniforms))


def score_correlation(
    scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Shrunk correlation of scores, and the shrinkage.

    Parameters
    ----------
    scores : ndarray of shape (bars, assets), float64
    weights : ndarray of shape (bars,), float64
        Weights of the bars, which add up to 1.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    assets = scores.shape[1]
    if assets == 1:
        return np.ones((1, 1)), 0.0
    rows = _weighted_rows(scores, weights)
    shrinkage = float(ledoit_wolf_shrinkage(rows, assume_centered=True))
    return _nearest(_shrunk(_normalised(rows.T @ rows), shrinkage)), shrinkage


def _of_scores(correlation: NDArray[np.float64], nu: float) -> NDArray[np.float64]:
    """Correlation of the copula from that of its normal scores; positive definite."""
    return _nearest(copula_correlation(correlation, nu))


def _nearest(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """The correlation itself, or the nearest one that is positive definite."""
    if np.linalg.eigvalsh(correlation)[0] >= 1e-10:
        return correlation
    from statsmodels.stats.correlation_tools import corr_nearest

    with warnings.catch_warnings():
        # It warns when it reaches its limit of steps. The result is near enough by then, and
        # `make_dependence` refuses one that is not positive definite.
        warnings.simplefilter("ignore")
        nearest = np.asarray(corr_nearest(correlation, threshold=1e-8))
    np.fill_diagonal(nearest, 1.0)
    return nearest


def _weights(bars: int, half_life: float | None) -> NDArray[np.float64]:
    """Weights of the dates, of the newest last; they add up to 1."""
    age = np.arange(bars)[::-1]
    weights = np.ones(bars) if half_life is None else 0.5 ** (age / half_life)
    return np.asarray(weights / weights.sum())


def _weighted_rows(
    scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scale the rows so that their plain second moments are the weighted ones of the scores.

    Their variance is 1.
    """
    rows = scores * np.sqrt(weights * len(weights))[:, None]
    return np.asarray(rows / np.sqrt((rows**2).mean(axis=0)))


def _normalised(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = np.sqrt(np.diag(moments))
    return np.asarray(moments / np.outer(spread, spread))


def _shrunk(correlation: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    shrunk = (1.0 - shrinkage) * correlation
    np.fill_diagonal(shrunk, 1.0)
    return shrunk


def _factor_analysis(
    scores: NDArray[np.float64], weights: NDArray[np.float64], factors: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Loadings [assets, factors] and own standard deviations [assets], for a variance of 1."""
    from sklearn.decomposition import FactorAnalysis

    if not 1 <= factors < scores.shape[1]:
        raise CalibrationError(
            f"{factors} factors for {scores.shape[1]} assets: give fewer factors than assets"
        )
    # The solver starts from random numbers. With a fixed seed the fit depends on the data alone.
    fit = FactorAnalysis(factors, random_state=0).fit(_weighted_rows(scores, weights))
    loadings, own = fit.components_.T, fit.noise_variance_
    spread = np.sqrt((loadings**2).sum(axis=1) + own)
    return loadings / spread[:, None], np.sqrt(own) / spread


def _fit_nu(
    values: NDArray[np.float64],
    where: NDArray[np.int64],
    weights: NDArray[np.float64],
    correlation_of: Callable[[float], tuple[NDArray[np.float64], float]],
) -> float:
    def cost(log_nu: float) -> float:
        nu = float(np.exp(log_nu))
        scores = copula_scores(values, nu)
        marginal = stats.t.logpdf(scores, nu)[where].sum(axis=1)
        correlation, _ = correlation_of(nu)
        joint = _t_log_density(scores[where], correlation, nu)
        return -float(weights @ (joint - marginal))

    low, high = np.log(_NU_RANGE)
    found = optimize.minimize_scalar(
        cost, bounds=(low, high), method="bounded", options={"xatol": 0.01}
    )
    return float(np.exp(found.x))


def _t_log_density(
    scores: NDArray[np.float64], correlation: NDArray[np.float64], nu: float
) -> NDArray[np.float64]:
    """Log density of the multivariate t at each date; float64 [bars]."""
    assets = scores.shape[1]
    factor = np.linalg.cholesky(correlation)
    solved = linalg.solve_triangular(factor, scores.T, lower=True, check_finite=False)
    constant = (
        special.gammaln((nu + assets) / 2)
        - special.gammaln(nu / 2)
        - 0.5 * assets * np.log(nu * np.pi)
        - np.log(np.diag(factor)).sum()
    )
    return np.asarray(constant - 0.5 * (nu + assets) * np.log1p((solved**2).sum(axis=0) / nu))

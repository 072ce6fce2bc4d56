"""Dependence between assets: a copula's correlation and degrees of freedom, or whole dates.

In: standardised residuals on common dates, `[bars, assets]`. Out: a `Dependence`: the Cholesky
factor that turns independent normals into correlated ones, the chi-square table of a t copula,
or, for `historical`, the residuals themselves, from which whole dates are drawn. The marginal
transforms g = Q o T are tabulated here too, in x and never through a probability, which in
float32 rounds to 1 in the tail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from mcmargin.errors import CalibrationError
from mcmargin.innovations import KINDS as INNOVATIONS
from mcmargin.innovations import Innovations

KINDS = ("gaussian", "t", "historical")

LEGAL = {
    "gaussian": INNOVATIONS,
    "t": INNOVATIONS,
    "historical": ("empirical",),
}
"""Which innovations go with which dependence."""

TABLE_INTERVALS = 4096
GAUSSIAN_EDGE = 8.75
"""Beyond the largest float64 normal of the stream, 8.66."""

MIXING_EDGE = 38.0
"""Beyond the logit of the stream's smallest uniform, -37.4."""

_NU_RANGE = (2.1, 100.0)


@dataclass(frozen=True, eq=False)
class Dependence:
    """How the innovations of one step hang together.

    Attributes
    ----------
    kind : str
        `gaussian`, `t` or `historical`.
    correlation : ndarray of shape (assets, assets), float64
        Unit diagonal, positive definite; the copula's (for `historical`, descriptive only).
    factor : ndarray of shape (assets, assets), float64
        Lower Cholesky factor of `correlation`.
    nu : float
        Degrees of freedom of the t copula; infinite otherwise.
    mixing : ndarray of shape (4097,) or (0,), float64
        ln of the chi-square quantile at logits evenly from -38 to 38; empty unless `t`.
    residuals : ndarray of shape (dates, assets) or (0, assets), float64
        Standardised residuals by date; empty unless `historical`.
    """

    kind: str
    correlation: NDArray[np.float64]
    factor: NDArray[np.float64]
    nu: float
    mixing: NDArray[np.float64]
    residuals: NDArray[np.float64]


def check_pair(innovations: str, dependence: str) -> None:
    """Refuse a pair of innovations and dependence that is not in `LEGAL`.

    Raises
    ------
    CalibrationError
        Naming what is legal.

    Examples
    --------
    >>> check_pair("t", "gaussian")
    """
    if dependence not in LEGAL:
        raise CalibrationError(f"dependence {dependence!r} is unknown; choose one of {KINDS}")
    if innovations not in INNOVATIONS:
        raise CalibrationError(f"innovations {innovations!r} are unknown; choose of {INNOVATIONS}")
    if innovations not in LEGAL[dependence]:
        raise CalibrationError(
            f"dependence={dependence!r} goes with innovations in {LEGAL[dependence]}, "
            f"not {innovations!r}"
        )


def fit_dependence(residuals: NDArray[np.float64], kind: str) -> Dependence:
    """Fit the dependence of standardised residuals.

    Residuals become scores through their ranks, u = rank / (bars + 1), and the copula's own
    quantile function; the correlation of the scores is shrunk (Ledoit and Wolf 2004),
    renormalised to a unit diagonal, and moved to the nearest correlation matrix where it is
    not positive definite. The t copula's degrees of freedom maximise its likelihood.

    Parameters
    ----------
    residuals : ndarray of shape (bars, assets), float64
    kind : str
        One of `KINDS`.

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
    uniforms = stats.rankdata(residuals, axis=0) / (bars + 1)
    nu = np.inf
    if kind == "t" and assets > 1:
        nu = _fit_nu(uniforms)
    elif kind == "t":
        # One asset tells nothing of it, and its marginal is exact whatever it is.
        nu = _NU_RANGE[1]
    correlation = score_correlation(copula_scores(uniforms, nu))
    dates = residuals if kind == "historical" else np.empty((0, assets))
    return make_dependence(kind, correlation, nu=nu, residuals=dates)


def make_dependence(
    kind: str,
    correlation: NDArray[np.float64],
    *,
    nu: float = np.inf,
    residuals: NDArray[np.float64] | None = None,
) -> Dependence:
    """Dependence of known parameters, with its factor and tables.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    correlation : ndarray of shape (assets, assets), float64
    nu : float
        Degrees of freedom, for `t`.
    residuals : ndarray of shape (dates, assets), float64, optional
        For `historical`.

    Raises
    ------
    CalibrationError
        If the correlation is not positive definite.

    Examples
    --------
    >>> make_dependence("t", np.eye(2), nu=5.0).mixing.shape
    (4097,)
    """
    try:
        factor = np.linalg.cholesky(correlation)
    except np.linalg.LinAlgError:
        raise CalibrationError("the correlation matrix is not positive definite") from None
    mixing = mixing_table(nu) if kind == "t" else np.empty(0)
    if residuals is None:
        residuals = np.empty((0, len(correlation)))
    return Dependence(kind, correlation, factor.astype(np.float64), float(nu), mixing, residuals)


def copula_scores(uniforms: NDArray[np.float64], nu: float) -> NDArray[np.float64]:
    """Normal scores of uniforms [bars, assets] where nu is infinite, else t scores."""
    return np.asarray(special.ndtri(uniforms) if np.isinf(nu) else stats.t.ppf(uniforms, nu))


def score_correlation(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shrunk correlation of scores [bars, assets]."""
    from sklearn.covariance import ledoit_wolf

    if scores.shape[1] == 1:
        return np.ones((1, 1))
    scores = scores / scores.std(axis=0)
    covariance, _ = ledoit_wolf(scores, assume_centered=True)
    spread = np.sqrt(np.diag(covariance))
    correlation = np.asarray(covariance / np.outer(spread, spread))
    np.fill_diagonal(correlation, 1.0)
    if np.linalg.eigvalsh(correlation)[0] < 1e-10:
        from statsmodels.stats.correlation_tools import corr_nearest

        correlation = np.asarray(corr_nearest(correlation, threshold=1e-8))
        np.fill_diagonal(correlation, 1.0)
    return correlation


def _fit_nu(uniforms: NDArray[np.float64]) -> float:
    def cost(log_nu: float) -> float:
        nu = float(np.exp(log_nu))
        scores = copula_scores(uniforms, nu)
        return -_t_copula_likelihood(scores, score_correlation(scores), nu)

    low, high = np.log(_NU_RANGE)
    found = optimize.minimize_scalar(
        cost, bounds=(low, high), method="bounded", options={"xatol": 0.01}
    )
    return float(np.exp(found.x))


def _t_copula_likelihood(
    scores: NDArray[np.float64], correlation: NDArray[np.float64], nu: float
) -> float:
    """Log-likelihood of the t copula: the joint t density over its marginals' product."""
    bars, assets = scores.shape
    factor = np.linalg.cholesky(correlation)
    solved = np.linalg.solve(factor, scores.T)
    joint = (
        special.gammaln((nu + assets) / 2)
        - special.gammaln(nu / 2)
        - 0.5 * assets * np.log(nu * np.pi)
        - np.log(np.diag(factor)).sum()
    ) * bars - 0.5 * (nu + assets) * np.log1p((solved**2).sum(axis=0) / nu).sum()
    return float(joint - stats.t.logpdf(scores, nu).sum())


def mixing_table(nu: float) -> NDArray[np.float64]:
    """Return ln of the chi-square quantile on an even grid of logits.

    ln chi-square is smooth in the logit of its probability and linear in its lower tail, so
    straight lines between 4,097 nodes err by less than 1e-5 in relative terms.

    Examples
    --------
    >>> bool(np.isclose(mixing_table(4.0)[2048], np.log(stats.chi2.median(4))))
    True
    """
    logit = np.linspace(-MIXING_EDGE, MIXING_EDGE, TABLE_INTERVALS + 1)
    lower = special.gammaincinv(nu / 2, special.expit(logit))
    upper = special.gammainccinv(nu / 2, special.expit(-logit))
    quantile = 2 * np.where(logit < 0, lower, upper)
    # The leading term of the lower tail, where the quantile itself underflows.
    tail = np.log(2) + (2 / nu) * (np.log(special.expit(logit)) + special.gammaln(nu / 2 + 1))
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(quantile > 1e-200, np.log(quantile), tail))


def table_edge(dependence_nu: float) -> float:
    """Half-width of the marginal tables: the copula's 1 - 1e-7 quantile, at most 64.

    Examples
    --------
    >>> table_edge(np.inf)
    8.75
    """
    if np.isinf(dependence_nu):
        return GAUSSIAN_EDGE
    return float(np.clip(stats.t.isf(1e-7, dependence_nu), GAUSSIAN_EDGE, 64.0))


def marginal_table(innovations: Innovations, nu: float) -> NDArray[np.float64]:
    """Tabulate g = Q o T: from a copula variable x to the asset's innovation.

    Parameters
    ----------
    innovations : Innovations
    nu : float
        Degrees of freedom of the copula; infinite for the Gaussian.

    Returns
    -------
    ndarray of shape (4099,), float64
        g at 4,097 nodes evenly over +-`table_edge`, then the powers of |x| by which g grows
        beyond the lower and the upper edge (its log-log slope there).

    Examples
    --------
    >>> table = marginal_table(Innovations("normal", np.empty(0)), np.inf)
    >>> bool(np.allclose(table[:4097], np.linspace(-8.75, 8.75, 4097), atol=1e-8))
    True
    """
    edge = table_edge(nu)
    x = np.linspace(-edge, edge, TABLE_INTERVALS + 1)
    lower = special.ndtr(x) if np.isinf(nu) else stats.t.cdf(x, nu)
    upper = special.ndtr(-x) if np.isinf(nu) else stats.t.sf(x, nu)
    half = TABLE_INTERVALS // 2
    g = np.concatenate(
        [innovations.lower_quantile(lower[:half]), innovations.upper_quantile(upper[half:])]
    )
    step = x[1] - x[0]
    powers = [
        abs((g[1] - g[0]) / step * edge / g[0]),
        abs((g[-1] - g[-2]) / step * edge / g[-1]),
    ]
    return np.concatenate([g, powers])


def is_scale(innovations: Innovations, nu: float) -> bool:
    """Whether g is a mere scale: t marginals of the copula's own degrees of freedom, or normal."""
    if innovations.kind == "normal":
        return bool(np.isinf(nu))
    return innovations.kind == "t" and bool(innovations.parameters[0] == nu)

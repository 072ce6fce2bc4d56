"""Tables of what the copula's variables become: marginal transforms, and the t copula's mixing.

In: innovations and the copula's degrees of freedom. Out: the transform g = Q o T of an asset from
a copula variable to its innovation, tabulated in x and never through a probability, which in
float32 rounds to 1 in the tail; and the logarithm of the chi-square quantile.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from mcmargin.innovations import Innovations

TABLE_INTERVALS = 4096
GAUSSIAN_EDGE = 8.75
"""Beyond the largest float64 normal of the stream, 8.66."""

MIXING_EDGE = 38.0
"""Beyond the logit of the stream's smallest uniform, -37.4."""


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

    A multiple of 1/16, so that in float32, too, every node is a number and the way to it exact.

    Examples
    --------
    >>> table_edge(np.inf)
    8.75
    """
    if np.isinf(dependence_nu):
        return GAUSSIAN_EDGE
    quantile = np.clip(stats.t.isf(1e-7, dependence_nu), GAUSSIAN_EDGE, 64.0)
    return float(np.ceil(16.0 * quantile) / 16.0)


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
    lower = np.asarray(special.ndtr(x) if np.isinf(nu) else stats.t.cdf(x, nu))
    upper = np.asarray(special.ndtr(-x) if np.isinf(nu) else stats.t.sf(x, nu))
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


def marginal_tables(
    marginals: tuple[Innovations, ...], kind: str, nu: float
) -> NDArray[np.float64]:
    """Marginal transforms of all assets, [assets, 4099]; empty where no asset needs one."""
    if kind == "historical" or all(is_scale(marginal, nu) for marginal in marginals):
        return np.empty((0, 0))
    return np.array([marginal_table(marginal, nu) for marginal in marginals])


def is_scale(innovations: Innovations, nu: float) -> bool:
    """Whether g is a mere scale: t marginals of the copula's own degrees of freedom, or normal."""
    if innovations.kind == "normal":
        return bool(np.isinf(nu))
    return innovations.kind == "t" and bool(innovations.parameters[0] == nu)


def copula_variables(
    residuals: NDArray[np.float64], marginals: tuple[Innovations, ...], nu: float
) -> NDArray[np.float64]:
    """Copula variables of standardised residuals: the inverse of the marginal transforms.

    Parameters
    ----------
    residuals : ndarray of shape (bars, assets), float64
    marginals : tuple of Innovations
        One an asset.
    nu : float
        Degrees of freedom of the copula; infinite for the Gaussian.

    Returns
    -------
    ndarray of shape (bars, assets), float64
        Held to +-`table_edge`.

    Examples
    --------
    >>> normal = Innovations("normal", np.empty(0))
    >>> copula_variables(np.array([[1.5]]), (normal,), np.inf).round(6).item()
    1.5
    """
    edge = table_edge(nu)
    x = np.linspace(-edge, edge, TABLE_INTERVALS + 1)
    out = np.empty_like(residuals)
    for at, marginal in enumerate(marginals):
        out[:, at] = np.interp(residuals[:, at], marginal_table(marginal, nu)[:-2], x)
    return out

"""From the correlation of normal scores to the correlation of a t copula.

In: a correlation of normal scores, which a single bar cannot change much, however large its moves
are. Out: the correlation of the t copula whose normal scores have this correlation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

RADII = 96
ANGLES = 128
"""Numbers of nodes of the expectation over a bivariate t in polar coordinates; its error is below
1e-5."""

LARGEST_SURPRISE = 45.0
"""-ln of the probability of the radii that are left out."""

CORRELATIONS = np.cos(2 * np.pi / ANGLES * np.arange(ANGLES // 4, -1, -1))
"""Correlations at which the expectation is taken: cosines of whole steps of the angle."""


def copula_correlation(correlation: NDArray[np.float64], nu: float) -> NDArray[np.float64]:
    """Correlation of a t copula from the correlation of its normal scores, element by element.

    The correlation of the normal scores of a t copula is a little smaller than the copula's, by up
    to 0.007 at 5 degrees of freedom and 0.025 at 2.1. For the Gaussian copula both are equal.

    Parameters
    ----------
    correlation : ndarray of any shape, float64
        Correlation of normal scores.
    nu : float
        Degrees of freedom of the copula; infinite for the Gaussian.

    Examples
    --------
    >>> copula_correlation(np.array([0.4946, -0.4946, 1.0]), 5.0).round(4).tolist()
    [0.5, -0.5, 1.0]
    """
    if np.isinf(nu):
        return correlation
    sizes = np.interp(np.abs(correlation), _score_correlations(nu), CORRELATIONS)
    return np.asarray(np.sign(correlation) * sizes)


def _score_correlations(nu: float) -> NDArray[np.float64]:
    """Correlation of normal scores for each of `CORRELATIONS`; increasing from 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(RADII)
    # A radius r is exceeded with probability (1 + r**2 / nu)**(-nu / 2), whose logarithm has the
    # nodes.
    surprise = (nodes + 1) / 2 * LARGEST_SURPRISE
    weights = weights * np.exp(-surprise)
    radius = np.sqrt(nu * np.expm1(2 * surprise / nu))[:, None]
    x = radius * np.cos(2 * np.pi / ANGLES * (np.arange(ANGLES) + 0.5))
    scores = np.sign(x) * -special.ndtri(stats.t.sf(np.abs(x), nu))
    # Of two variables with correlation cos(a), the second is the first one turned by the angle a.
    products = np.array(
        [
            weights @ (scores * np.roll(scores, steps, axis=1)).sum(axis=1)
            for steps in range(ANGLES // 4, -1, -1)
        ]
    )
    products[0] = 0.0
    return np.asarray(products / products[-1])

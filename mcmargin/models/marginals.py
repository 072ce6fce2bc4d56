"""Tables of the simulation: marginal transforms, and the mixing variable of the t copula.

In: innovations, and the degrees of freedom of the copula. Out: for each asset the transform
g = Q o T from a copula variable x to its innovation, where T is the distribution function of x and
Q the quantile function of the innovation; and the logarithm of the chi-square quantile. g is
tabulated in x, since a probability in float32 rounds to 1 in the tail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from mcmargin.models.innovations import Innovations

TABLE_INTERVALS = 4096
TAIL_INTERVALS = 32
TAIL_SPACING = 0.25
"""Distance of the knots beyond an edge in ln(|x| / edge). They reach to 3,000 times the edge."""

TABLE_WIDTH = TABLE_INTERVALS + 1 + 2 * (TAIL_INTERVALS + 1)
"""Length of one asset's table: the nodes, then the knots of the lower and of the upper tail."""

LEAST_PROBABILITY = 1e-60
"""Tail probability below which the last line is extended. No draw comes near it, and below it
quantile functions fail."""

GAUSSIAN_EDGE = 8.75
"""Edge of the tables of the Gaussian copula; the largest float64 normal of the stream is 8.66."""

MIXING_EDGE = 38.0
"""Edge of the logits; that of the stream's smallest uniform is -37.4."""


def mixing_table(nu: float) -> NDArray[np.float64]:
    """Return ln of the chi-square quantile on an even grid of logits.

    It is smooth in the logit of the probability, and linear in the lower tail. Straight lines
    between 4,097 nodes therefore have a relative error below 1e-5.

    Examples
    --------
    >>> bool(np.isclose(mixing_table(4.0)[2048], np.log(stats.chi2.median(4))))
    True
    """
    logit = np.linspace(-MIXING_EDGE, MIXING_EDGE, TABLE_INTERVALS + 1)
    lower = special.gammaincinv(nu / 2, special.expit(logit))
    upper = special.gammainccinv(nu / 2, special.expit(-logit))
    quantile = 2 * np.where(logit < 0, lower, upper)
    # In the far lower tail the quantile underflows, and its leading term is exact enough.
    tail = np.log(2) + (2 / nu) * (np.log(special.expit(logit)) + special.gammaln(nu / 2 + 1))
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(quantile > 1e-200, np.log(quantile), tail))


def table_edge(dependence_nu: float) -> float:
    """Half-width of the marginal tables: the copula's 1 - 1e-7 quantile, at most 64.

    It is a multiple of 1/16, so that every node and every distance to it is exact in float32, too.

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
    """Tabulate g = Q o T, from a copula variable x to the asset's innovation.

    Within the edges g is tabulated in x. Beyond them evenly spaced nodes would be too far apart. So
    ln|g| is tabulated in ln|x| there, in which it is nearly a straight line: exactly so if both
    tails are powers, and slightly bent if one is not. Most extreme draws of a t copula of few
    degrees of freedom lie beyond the edge; their quantiles are right to a probability of 1e-12.

    Parameters
    ----------
    innovations : Innovations
    nu : float
        Degrees of freedom of the copula; infinite for the Gaussian.

    Returns
    -------
    ndarray of shape (4163,), float64
        g at 4,097 evenly spaced nodes from -`table_edge` to `table_edge`. Then, for the lower and
        for the upper tail, ln(g / g at the edge) at 33 knots of ln(|x| / edge) from 0 on, 0.25
        apart. Beyond the last knot the last line is extended.

    Examples
    --------
    >>> table = marginal_table(Innovations("normal", np.empty(0)), np.inf)
    >>> bool(np.allclose(table[:4097], np.linspace(-8.75, 8.75, 4097), atol=1e-8))
    True
    """
    edge = table_edge(nu)
    x = np.linspace(-edge, edge, TABLE_INTERVALS + 1)
    half = TABLE_INTERVALS // 2
    # The copula variable is symmetric, so that both tails have the same probabilities.
    g = np.concatenate(
        [
            innovations.lower_quantile(_lower_probability(x[:half], nu)),
            innovations.upper_quantile(_lower_probability(-x[half:], nu)),
        ]
    )
    probability = _lower_probability(
        -edge * np.exp(TAIL_SPACING * np.arange(TAIL_INTERVALS + 1)), nu
    )
    reached = probability > LEAST_PROBABILITY
    tails = []
    for quantile in (innovations.lower_quantile, innovations.upper_quantile):
        grown = np.abs(quantile(probability[reached]))
        knots = np.log(grown / grown[0])
        missing = np.arange(1, TAIL_INTERVALS + 2 - len(knots))
        tails.append(np.concatenate([knots, knots[-1] + missing * (knots[-1] - knots[-2])]))
    return np.concatenate([g, *tails])


CHECKED = np.array([0, 256, 1024, 1792, 2304, 3072, 3840, 4096])
"""Nodes of a table's body that `table_nodes` computes."""

CHECKED_KNOT = 2
"""Knot of each tail that `table_nodes` computes; its probability is far above the least."""


def table_nodes(
    innovations: Innovations, nu: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Compute a few entries of an asset's `marginal_table`, to check a table that was read.

    Returns
    -------
    ndarray of shape (10,), int64
        Their places in the table: eight in the body, and one in each tail.
    ndarray of shape (10,), float64
        The entries.

    Examples
    --------
    >>> law = Innovations("t", np.array([6.0]))
    >>> places, values = table_nodes(law, 4.0)
    >>> bool(np.allclose(marginal_table(law, 4.0)[places], values))
    True
    """
    edge = table_edge(nu)
    x = np.linspace(-edge, edge, TABLE_INTERVALS + 1)[CHECKED]
    below = x < 0.0
    further = _lower_probability(-edge * np.exp(TAIL_SPACING * CHECKED_KNOT), nu)
    low = innovations.lower_quantile(np.append(_lower_probability(x[below], nu), further))
    high = innovations.upper_quantile(np.append(_lower_probability(-x[~below], nu), further))
    tails = np.log(np.array([low[-1] / low[0], high[-1] / high[-2]]))
    first = TABLE_INTERVALS + 1 + CHECKED_KNOT
    places = np.append(CHECKED, [first, first + TAIL_INTERVALS + 1])
    return places, np.concatenate([low[:-1], high[:-1], tails])


def _lower_probability(x: NDArray[np.float64], nu: float) -> NDArray[np.float64]:
    """Probability that a copula variable lies below x."""
    return np.asarray(special.ndtr(x) if np.isinf(nu) else stats.t.cdf(x, nu))


def marginal_tables(
    marginals: tuple[Innovations, ...], kind: str, nu: float
) -> NDArray[np.float64]:
    """Marginal transforms of all assets, float64 [assets, 4163]; empty if no asset needs one."""
    if kind == "historical" or all(is_scale(marginal, nu) for marginal in marginals):
        return np.empty((0, 0))
    return np.array([marginal_table(marginal, nu) for marginal in marginals])


def is_scale(innovations: Innovations, nu: float) -> bool:
    """Whether g is a multiplication: t innovations of the copula's nu, or normal under Gaussian."""
    if innovations.kind == "normal":
        return bool(np.isinf(nu))
    return innovations.kind == "t" and bool(innovations.parameters[0] == nu)

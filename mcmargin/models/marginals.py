"""Tables of what the copula's variables become: marginal transforms, and the t copula's mixing.

In: innovations and the copula's degrees of freedom. Out: the transform g = Q o T of an asset from
a copula variable to its innovation, tabulated in x and never through a probability, which in
float32 rounds to 1 in the tail; and the logarithm of the chi-square quantile.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from mcmargin.models.innovations import Innovations

TABLE_INTERVALS = 4096
TAIL_INTERVALS = 32
TAIL_SPACING = 0.25
"""Knots beyond an edge, evenly in ln(|x| / edge): as far as 3,000 edges."""

TABLE_WIDTH = TABLE_INTERVALS + 1 + 2 * (TAIL_INTERVALS + 1)
"""Numbers of one asset's table: the nodes, then the knots of the lower and the upper tail."""

LEAST_PROBABILITY = 1e-60
"""Tail probability below which the last line goes on: no draw comes near, and quantiles fail."""

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

    Within the edges g is tabulated in x. Beyond them, where the even nodes would be too far
    apart, ln|g| is tabulated in ln|x|, of which it is nearly a straight line: a power where both
    tails are powers, and slowly bent where one is not. So the quantiles of a t copula of few
    degrees of freedom, most of whose extreme draws lie beyond the edge, hold as far as a
    probability of 1e-12.

    Parameters
    ----------
    innovations : Innovations
    nu : float
        Degrees of freedom of the copula; infinite for the Gaussian.

    Returns
    -------
    ndarray of shape (4163,), float64
        g at 4,097 nodes evenly over +-`table_edge`; then, of the lower and of the upper tail,
        ln(g / g at the edge) at 33 knots of ln(|x| / edge), 0.25 apart from 0 on. Beyond the
        last knot the last line goes on.

    Examples
    --------
    >>> table = marginal_table(Innovations("normal", np.empty(0)), np.inf)
    >>> bool(np.allclose(table[:4097], np.linspace(-8.75, 8.75, 4097), atol=1e-8))
    True
    """
    edge = table_edge(nu)
    x = np.linspace(-edge, edge, TABLE_INTERVALS + 1)
    half = TABLE_INTERVALS // 2
    # By symmetry the upper tail's probabilities are those of the lower.
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
"""Nodes of a table's body at which `table_nodes` computes it."""

CHECKED_KNOT = 2
"""Knot of either tail at which it does; of every law its probability is far above the least."""


def table_nodes(
    innovations: Innovations, nu: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Compute a few entries of an asset's `marginal_table`, by which a table read can be checked.

    Returns
    -------
    ndarray of shape (10,), int64
        Where they stand in the table: eight of the body, and one of each tail.
    ndarray of shape (10,), float64

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
    """Marginal transforms of all assets, [assets, 4163]; empty where no asset needs one."""
    if kind == "historical" or all(is_scale(marginal, nu) for marginal in marginals):
        return np.empty((0, 0))
    return np.array([marginal_table(marginal, nu) for marginal in marginals])


def is_scale(innovations: Innovations, nu: float) -> bool:
    """Whether g is a mere scale: t marginals of the copula's own degrees of freedom, or normal."""
    if innovations.kind == "normal":
        return bool(np.isinf(nu))
    return innovations.kind == "t" and bool(innovations.parameters[0] == nu)

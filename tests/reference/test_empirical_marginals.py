"""Empirical innovations with generalised Pareto tails, against scipy's genpareto."""

import numpy as np
import pytest
from scipy import stats

from mcmargin.models.innovations import empirical_innovations
from mcmargin.models.marginals import TABLE_INTERVALS, table_edge
from mcmargin.scenarios.simulation import simulate
from tests.helpers.models import make_model

PATHS = 4_000_000


@pytest.fixture(scope="module")
def law():
    """Fitted to skewed, heavy-tailed residuals, so that no two of its parts are alike."""
    rng = np.random.default_rng(5)
    z = rng.standard_t(5, 3000)
    return empirical_innovations(np.where(z < 0, 1.2, 0.9) * z)


def quantile(law, p):
    """Quantiles by the parameters' own meaning: 5 % in each tail, knots evenly in between."""
    low_shape, low_scale, high_shape, high_scale = law.parameters[:4]
    knots = law.parameters[4:]
    grid = np.linspace(0.05, 0.95, len(knots))
    if p < 0.05:
        return knots[0] - stats.genpareto.ppf(1 - p / 0.05, low_shape, scale=low_scale)
    if p > 0.95:
        return knots[-1] + stats.genpareto.ppf(1 - (1 - p) / 0.05, high_shape, scale=high_scale)
    return np.interp(p, grid, knots)


def test_moments_are_0_and_1_by_genparetos_own(law):
    low_shape, low_scale, high_shape, high_scale = law.parameters[:4]
    knots = law.parameters[4:]
    low = stats.genpareto(low_shape, scale=low_scale)
    high = stats.genpareto(high_shape, scale=high_scale)
    pieces = stats.uniform(knots[:-1], np.diff(knots))
    mean = 0.05 * (knots[0] - low.mean()) + 0.05 * (knots[-1] + high.mean())
    mean += 0.9 * pieces.mean().mean()
    square = 0.05 * (low.var() + (knots[0] - low.mean()) ** 2)
    square += 0.05 * (high.var() + (knots[-1] + high.mean()) ** 2)
    square += 0.9 * (pieces.var() + pieces.mean() ** 2).mean()
    assert abs(mean) < 1e-12
    assert abs(square - 1) < 1e-12


@pytest.mark.parametrize(("dependence", "copula"), [("gaussian", stats.norm), ("t", stats.t(5.0))])
def test_simulated_marginal_in_the_body_and_in_both_tails(law, dependence, copula):
    """Four million draws: counts between 40 quantiles, and beyond those of 1e-3, 1e-4 and 1e-5.

    A count of expectation m has a standard deviation of at most sqrt(m); 4.5 of them leave a
    chance below 1e-5 a comparison. The marginal transform is a table of straight lines, exact
    at its nodes; between them it cuts the corners of the empirical quantile function, which has
    one at every knot. So the quantiles taken are those at the nodes next to 1/40, 2/40, ...; and
    at 1/40, 2/40, ... themselves a share may err by the probability of one interval more, never
    by more, because both are monotone.
    """
    model = make_model(("constant",), innovations=law, dependence=dependence)
    scenarios = simulate(model, horizon=1, paths=PATHS, seed=13, price_floor=1e-9)
    z = np.sort(scenarios.returns[0, 0].astype(float) / np.sqrt(model.state.variance[0]))
    edge = table_edge(model.dependence.nu)
    nodes, step = np.linspace(-edge, edge, TABLE_INTERVALS + 1, retstep=True)
    shares = np.arange(1, 40) / 40
    at_nodes = copula.cdf(nodes[np.searchsorted(nodes, copula.ppf(shares))])
    edges = [quantile(law, p) for p in at_nodes]
    counts = np.diff(np.searchsorted(z, edges), prepend=0, append=PATHS)
    expected = PATHS * np.diff(at_nodes, prepend=0.0, append=1.0)
    assert (np.abs(counts - expected) < 4.5 * np.sqrt(expected)).all()
    between = np.searchsorted(z, [quantile(law, p) for p in shares]) / PATHS
    bound = 4.5 * np.sqrt(shares * (1 - shares) / PATHS) + copula.pdf(copula.ppf(shares)) * step
    assert (np.abs(between - shares) < bound).all()
    for p in (1e-3, 1e-4, 1e-5):
        below = np.searchsorted(z, quantile(law, p))
        above = PATHS - np.searchsorted(z, quantile(law, 1 - p))
        for count in (below, above):
            assert abs(count - PATHS * p) < 4.5 * np.sqrt(PATHS * p)

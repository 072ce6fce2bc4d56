"""Marginals, correlation and tail dependence against scipy's and arch's distributions."""

from dataclasses import replace

import numpy as np
import pytest
from arch.univariate import GeneralizedError, SkewStudent, StudentsT
from scipy import stats

from mcmargin.engines.model_arrays import model_arrays
from mcmargin.engines.numpy_steps import asset_blocks, transform
from mcmargin.models.innovations import Innovations, empirical_innovations
from mcmargin.scenarios.simulation import simulate
from tests.helpers.models import MARGINALS, make_model

PEERS = {
    "normal": lambda p: stats.norm.ppf(p),
    "t": lambda p: StudentsT().ppf(p, [5.0]),
    "skewt": lambda p: SkewStudent().ppf(p, [6.0, -0.2]),
    "ged": lambda p: GeneralizedError().ppf(p, [1.4]),
}


@pytest.mark.parametrize("law", list(PEERS))
def test_quantiles_are_archs(law):
    innovations = Innovations(law, np.array(MARGINALS[law]))
    p = np.array([1e-7, 1e-3, 0.02, 0.3, 0.5, 0.77, 0.99, 0.9999])
    expected = PEERS[law](p)
    np.testing.assert_allclose(innovations.lower_quantile(p), expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(innovations.upper_quantile(1 - p), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dependence", ["gaussian", "t"])
@pytest.mark.parametrize("law", list(PEERS))
def test_simulated_marginal_in_the_body_and_in_both_tails(law, dependence):
    """Four million draws: counts between 40 quantiles, and beyond the 1e-5 quantiles.

    A count of expectation m has a standard deviation of at most sqrt(m); 4.5 of them leave a
    chance below 1e-5 a comparison.
    """
    paths = 4_000_000
    # 4.2 degrees of freedom differ from the t marginal's 5, so that the table is used.
    nu = 4.2 if dependence == "t" else None
    model = make_model(("constant",), innovations=law, dependence=dependence, nu=nu)
    scenarios = simulate(model, horizon=1, paths=paths, seed=13, price_floor=1e-9)
    z = scenarios.returns[0, 0].astype(float) / np.sqrt(model.state.variance[0])
    counts = np.histogram(
        z, np.concatenate([[-np.inf], PEERS[law](np.arange(1, 40) / 40), [np.inf]])
    )
    assert (np.abs(counts[0] - paths / 40) < 4.5 * np.sqrt(paths / 40)).all()
    low, high = PEERS[law](np.array([1e-5, 1 - 1e-5]))
    for count in ((z < low).sum(), (z > high).sum()):
        assert abs(count - paths * 1e-5) < 4.5 * np.sqrt(paths * 1e-5)


@pytest.mark.parametrize("nu", [2.1, 2.5, 3.0])
@pytest.mark.parametrize("law", list(PEERS))
def test_far_quantiles_of_copulas_of_few_degrees_of_freedom(law, nu):
    """The 1e-5 quantile of such a copula lies beyond the table's even nodes.

    Four million draws: counts beyond the 1e-5 quantiles within 4.5 standard deviations. And the
    engine's transform of the copula's own quantiles: to 0.1 % at 1e-5 and at 1e-7, where a power
    from the edge on was 2 % and 13 % away.
    """
    paths = 4_000_000
    model = make_model(("constant",), innovations=law, dependence="t", nu=nu)
    scenarios = simulate(model, horizon=1, paths=paths, seed=13, price_floor=1e-9)
    z = scenarios.returns[0, 0].astype(float) / np.sqrt(model.state.variance[0])
    low, high = PEERS[law](np.array([1e-5, 1 - 1e-5]))
    for count in ((z < low).sum(), (z > high).sum()):
        assert abs(count - paths * 1e-5) < 4.5 * np.sqrt(paths * 1e-5)
    p = np.array([1e-3, 1e-5, 1e-6, 1e-7, 1e-9])
    x = np.concatenate([stats.t.ppf(p, nu), stats.t.isf(p, nu)])
    (block,) = asset_blocks(model_arrays(model, replace(scenarios.plan, precision="double")))
    shape = (1, 1, len(x))
    g = x.reshape(shape).copy()
    transform(block, g, np.empty(shape), np.empty(shape, np.int32))
    # Hansen's t mirrored has the opposite skewness; the others are their own mirrors.
    mirrored = SkewStudent().ppf(p, [6.0, 0.2]) if law == "skewt" else PEERS[law](p)
    expected = np.concatenate([PEERS[law](p), -mirrored])
    np.testing.assert_allclose(g.ravel(), expected, rtol=1e-3)


def test_t_copula_has_the_correlation_and_the_tail_dependence_of_the_multivariate_t():
    rho, nu, paths = 0.5, 5.0, 1_000_000
    model = make_model(("constant", "constant"), innovations="t", dependence="t", nu=nu)
    x = simulate(model, horizon=1, paths=paths, seed=17).returns[0].astype(float)
    # Kendall's tau of every elliptical copula: 2/pi asin(rho); standard error below 1.1/sqrt(n).
    part = x[:, :50_000]
    tau = stats.kendalltau(part[0], part[1]).statistic
    assert abs(tau - 2 / np.pi * np.arcsin(rho)) < 4 * 1.1 / np.sqrt(50_000)
    q = 0.005
    edge = stats.t.ppf(q, nu)
    law = stats.multivariate_t(shape=[[1, rho], [rho, 1]], df=nu)
    joint = law.cdf([edge, edge], random_state=0, maxpts=200_000)
    bound = np.quantile(x, q, axis=1)
    count = (x < bound[:, None]).all(axis=0).sum()
    assert abs(count - joint * paths) < 5 * np.sqrt(joint * paths)


def test_empirical_innovations_have_mean_0_variance_1_and_the_residuals_quantiles():
    rng = np.random.default_rng(5)
    residuals = rng.standard_t(5, 4000) * np.sqrt(3 / 5)
    law = empirical_innovations(residuals)
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    z = law.lower_quantile(u)
    assert abs(z.mean()) < 1e-4
    assert abs(z.var() - 1) < 5e-3
    for p in (0.1, 0.5, 0.9):
        expected = np.quantile(residuals, p) - residuals.mean()
        assert abs(law.lower_quantile(p) - expected / residuals.std()) < 0.03
    assert (np.diff(z) >= 0).all()


def test_historical_dependence_draws_whole_dates():
    rng = np.random.default_rng(6)
    dates = rng.standard_normal((300, 2))
    law = empirical_innovations(dates[:, 0])
    model = make_model(
        ("constant", "constant"), innovations=law, dependence="historical", residuals=dates
    )
    moves = simulate(model, horizon=1, paths=5000, seed=1, precision="double").returns[0] / 0.01
    known = {tuple(np.round(date, 9)) for date in dates}
    drawn = {tuple(np.round(move, 9)) for move in moves.T}
    assert drawn <= known
    assert len(drawn) > 290


@pytest.mark.parametrize(("nu", "skew"), [(2.5, 0.3), (6.0, -0.2), (30.0, 0.0), (4.0, 0.9)])
def test_the_lower_half_of_hansens_variance_is_archs(nu, skew):
    ours = Innovations("skewt", np.array([nu, skew])).negative_second_moment()
    assert ours == pytest.approx(SkewStudent().partial_moment(2, 0.0, [nu, skew]), rel=1e-8)

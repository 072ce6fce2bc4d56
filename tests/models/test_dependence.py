"""Dependence fitted, weighed by time, reduced to factors, and moved by an update."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mcmargin as mm
from mcmargin.models.dependence import (
    copula_scores,
    fit_dependence,
    make_dependence,
    score_correlation,
)
from mcmargin.models.scores import copula_correlation
from mcmargin.scenarios.simulation import simulate
from tests.helpers.models import make_model

LOADINGS = np.array([[0.8, 0.0], [0.7, 0.3], [0.6, -0.4], [0.5, 0.5], [0.9, 0.1], [0.4, -0.6]])
OWN = np.sqrt(1 - (LOADINGS**2).sum(axis=1))
IMPLIED = LOADINGS @ LOADINGS.T + np.diag(OWN**2)


def ranks(x):
    return x.argsort(axis=0).argsort(axis=0) + 1


def test_factors_are_recovered():
    """8,000 bars: a correlation has an error of (1 - r**2)/sqrt(n) < 0.0112; 4.5 of them."""
    rng = np.random.default_rng(31)
    x = rng.standard_normal((8000, 2)) @ LOADINGS.T + rng.standard_normal((8000, 6)) * OWN
    law = fit_dependence(x, "gaussian", factors=2)
    assert law.factor.shape == (6, 2)
    np.testing.assert_allclose(np.diag(law.correlation), 1.0, atol=1e-12)
    np.testing.assert_allclose(law.correlation, IMPLIED, atol=4.5 * 0.0112)


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("dependence", ["gaussian", "t"])
def test_factors_simulate_the_correlation_they_imply(dependence, precision):
    """Scores of one bar, 200,000 paths: bands of 4.5 errors, wider for t by its kurtosis."""
    nu = 8.0 if dependence == "t" else np.inf
    model = make_model(("constant",) * 6, innovations="normal", correlation=np.eye(6))
    law = make_dependence(dependence, factor=LOADINGS, diagonal=OWN, nu=nu)
    marginals = make_model(("constant",) * 6, "normal", dependence, np.eye(6), nu=nu)
    model = type(model)(**{**marginals.__dict__, "dependence": law})
    paths = 200_000
    x = simulate(model, horizon=1, paths=paths, seed=19, precision=precision).returns[0]
    z = x.astype(float) / 0.01
    assert abs(z.mean()) < 4.5 / np.sqrt(paths)
    if dependence == "gaussian":
        np.testing.assert_allclose(np.corrcoef(z), IMPLIED, atol=4.5 / np.sqrt(paths))
    else:
        scores = copula_scores(ranks(z.T) / (paths + 1), nu)
        # Var of a t's correlation estimate: about (1 + 2 / (nu - 4)) times the normal's.
        np.testing.assert_allclose(
            np.corrcoef(scores.T), IMPLIED, atol=4.5 * np.sqrt(1.5 / paths) + 1e-3
        )


def test_a_common_factor_is_drawn_once_for_all_assets_in_any_blocks():
    law = make_dependence("gaussian", factor=np.full((70, 1), 0.9), diagonal=np.full(70, 0.19**0.5))
    model = make_model(("constant",) * 70, correlation=np.eye(70))
    model = type(model)(**{**model.__dict__, "dependence": law})
    runs = [simulate(model, horizon=2, paths=5000, seed=3, block_tiles=b).returns for b in (1, 3)]
    np.testing.assert_array_equal(*runs)
    # The first and the last asset lie in different blocks of the engine.
    one_bar = simulate(model, horizon=1, paths=50_000, seed=3).returns[0]
    assert abs(np.corrcoef(one_bar[0], one_bar[69])[0, 1] - 0.81) < 4 * 0.35 / np.sqrt(50_000)


def test_weights_are_those_of_pandas_exponential_window():
    rng = np.random.default_rng(37)
    x = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 800)
    law = fit_dependence(x, "gaussian", half_life=60.0)
    scores = copula_scores(ranks(x) / 801, np.inf)
    products = pd.DataFrame({(i, j): scores[:, i] * scores[:, j] for i in (0, 1) for j in (0, 1)})
    expected = products.ewm(halflife=60.0).mean().iloc[-1].to_numpy().reshape(2, 2)
    plain = expected[0, 1] / np.sqrt(expected[0, 0] * expected[1, 1])
    assert law.correlation[0, 1] == pytest.approx((1 - law.shrinkage) * plain, rel=1e-9)


def prices_of(returns):
    index = pd.date_range("2015-01-01", periods=len(returns) + 1)
    closes = 100 * np.vstack([np.ones(returns.shape[1]), np.cumprod(1 + returns, axis=0)])
    return pd.DataFrame(closes, index=index, columns=[f"a{i}" for i in range(returns.shape[1])])


def two_regimes():
    """600 bars of correlation 0.9, then 400 of -0.5."""
    rng = np.random.default_rng(41)
    parts = [
        rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], count)
        for rho, count in ((0.9, 600), (-0.5, 400))
    ]
    return prices_of(0.01 * np.vstack(parts))


SIMPLE = {"volatility": "constant", "innovations": "normal", "dependence": "gaussian", "jobs": 1}


def test_a_lookback_looks_no_farther():
    """400 bars: (1 - 0.25)/sqrt(400) = 0.0375 a correlation; the shrinkage adds a little."""
    frame = two_regimes()
    history = mm.PriceHistory.from_frame(frame)
    short = mm.calibrate(history, correlation_lookback=400, **SIMPLE).dependence.correlation[0, 1]
    whole = mm.calibrate(history, **SIMPLE).dependence.correlation[0, 1]
    assert abs(short + 0.5) < 4 * 0.0375 + 0.02
    assert whole > 0.1


def test_update_moves_the_correlation_only_with_a_half_life():
    frame = two_regimes()
    before, after = mm.PriceHistory.from_frame(frame.iloc[:601]), mm.PriceHistory.from_frame(frame)
    still = mm.calibrate(before, **SIMPLE)
    np.testing.assert_array_equal(still.update(after).dependence.factor, still.dependence.factor)
    model = mm.calibrate(before, correlation_half_life=50.0, **SIMPLE)
    moved = model.update(after).dependence
    assert model.dependence.correlation[0, 1] > 0.8
    # 8 half-lives later; an effective 2 x 50 / ln 2 = 144 bars: (1 - 0.25)/sqrt(144) = 0.0625.
    assert abs(moved.correlation[0, 1] + 0.5) < 4 * 0.0625 + 0.02
    # In two steps or at once: the same.
    step = model.update(mm.PriceHistory.from_frame(frame.iloc[:800])).update(after).dependence
    np.testing.assert_array_equal(step.factor, moved.factor)


@pytest.mark.parametrize(("nu", "rho"), [(2.2, 0.5), (3.0, 0.9), (3.0, -0.7), (8.0, 0.3)])
def test_normal_scores_of_a_t_copula_correlate_as_said(nu, rho):
    """A million draws of scipy's multivariate t; 4.5 errors of a correlation.

    Its standard error is below 1.3 (1 - r**2)/sqrt(n), the factor for tails that come together."""
    law = stats.multivariate_t(shape=[[1, rho], [rho, 1]], df=nu, seed=83)
    draws = law.rvs(1_000_000)
    scores = stats.norm.ppf(stats.t.cdf(draws, nu))
    found = copula_correlation(np.corrcoef(scores.T), nu)[0, 1]
    assert abs(found - rho) < 4.5 * 1.3 * (1 - rho**2) / 1000
    assert abs(np.corrcoef(scores.T)[0, 1] - rho) > 2 * abs(found - rho)


def t_returns(bars, nu=3.0):
    """Returns of 1 % from a bivariate t of correlation 1/2."""
    rng = np.random.default_rng(4)
    normals = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], bars)
    return 0.01 * normals / np.sqrt(rng.chisquare(nu, bars) / (nu - 2))[:, None]


@pytest.mark.parametrize("lookback", [None, 400])
@pytest.mark.parametrize("last", [(0.15, -0.15), (0.15, 0.15), (0.15, 0.0)])
def test_one_bar_does_not_turn_the_correlation_about(last, lookback):
    """A bar of 15 % up and 15 % down, weight 1.1 %: an update finds what a calibration finds.

    Among 1,001 bars its normal scores are 3.09 at most, and so it moves a moment by 0.11 at most;
    the shrinkage that it brings halves what is left at most. By t scores of 64 and more it moved a
    correlation of 0.40 to -0.39. With the degrees of freedom given the two are equal; calibration
    fits them again, which moves the correlation that normal scores stand for by 0.01 at most."""
    before = t_returns(1000)
    after = prices_of(np.vstack([before, [last]]))
    options = {"volatility": "constant", "innovations": "t", "dependence": "t", "jobs": 1}
    options |= {"correlation_half_life": 60.0, "correlation_lookback": lookback}
    model = mm.calibrate(mm.PriceHistory.from_frame(prices_of(before)), **options)
    again = mm.calibrate(mm.PriceHistory.from_frame(after), **options).dependence
    moved = model.update(mm.PriceHistory.from_frame(after)).dependence
    start = model.dependence.correlation[0, 1]
    assert start > 0.35
    assert start / 2 - 0.11 < moved.correlation[0, 1] < start + 0.11
    assert abs(moved.correlation[0, 1] - again.correlation[0, 1]) < 0.01
    assert moved.nu == model.dependence.nu


def test_an_update_moves_the_correlation_to_that_of_a_calibration():
    """300 bars later, of a variance that is not fitted: to rounding, by the same arithmetic."""
    returns = t_returns(1000)
    options = {"volatility": "ewma", "innovations": "normal", "dependence": "gaussian", "jobs": 1}
    options |= {"correlation_half_life": 60.0, "correlation_lookback": 500}
    frame = prices_of(returns)
    before = mm.calibrate(mm.PriceHistory.from_frame(frame.iloc[:701]), **options)
    whole = mm.PriceHistory.from_frame(frame)
    moved, again = before.update(whole).dependence, mm.calibrate(whole, **options).dependence
    assert abs(before.dependence.correlation[0, 1] - again.correlation[0, 1]) > 0.02
    np.testing.assert_allclose(moved.correlation, again.correlation, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"correlation_half_life": 0.0}, mm.PolicyError, "above 0"),
        ({"correlation_half_life": np.nan}, mm.PolicyError, "above 0"),
        ({"correlation_lookback": 50}, mm.PolicyError, "correlation_lookback"),
        ({"factors": 0}, mm.PolicyError, "factors"),
        ({"factors": 2}, mm.CalibrationError, "fewer factors than assets"),
        ({"factors": 1, "correlation_half_life": 9.0}, mm.CalibrationError, "with factors"),
    ],
)
def test_options_out_of_range(options, error, match):
    with pytest.raises(error, match=match):
        mm.calibrate(mm.PriceHistory.from_frame(two_regimes()), **(SIMPLE | options))


def test_a_factor_model_and_a_half_life_survive_their_file(tmp_path):
    rng = np.random.default_rng(43)
    frame = prices_of(0.01 * (rng.standard_normal((300, 1)) + rng.standard_normal((300, 4))))
    history = mm.PriceHistory.from_frame(frame)
    for options in ({"factors": 2}, {"correlation_half_life": 30.0}):
        model = mm.calibrate(history, **(SIMPLE | options))
        model.save(tmp_path / "m.npz")
        again = mm.load_model(tmp_path / "m.npz")
        assert again.fingerprint() == model.fingerprint()
        assert again.dependence.half_life == model.dependence.half_life
        np.testing.assert_array_equal(again.dependence.diagonal, model.dependence.diagonal)


def nearest_correlation(matrix, least):
    """Higham (2002): projections in turn, by Dykstra, onto matrices of eigenvalues and diagonal."""
    found, correction = matrix, np.zeros_like(matrix)
    for _ in range(2000):
        moved = found - correction
        values, vectors = np.linalg.eigh(moved)
        clipped = (vectors * np.maximum(values, least)) @ vectors.T
        correction, found = clipped - moved, clipped.copy()
        np.fill_diagonal(found, 1.0)
    return found


@pytest.mark.filterwarnings("error")
def test_a_correlation_of_no_matrix_is_moved_to_the_nearest():
    """Four assets of two sources: of the copula's correlations, taken one by one, none is theirs.

    To 1e-6, a hundred times the least eigenvalue that is asked for."""
    rng = np.random.default_rng(1)
    sources = rng.standard_t(3, (4000, 2))
    x = np.column_stack([sources, sources.sum(axis=1), sources[:, 0] - sources[:, 1]])
    law = fit_dependence(x, "t", half_life=2000.0, nu=2.5)
    weights = 0.5 ** (np.arange(4000)[::-1] / 2000)
    scores = stats.norm.ppf(stats.rankdata(x, axis=0) / 4001)
    by_scores, _ = score_correlation(scores, weights / weights.sum())
    one_by_one = copula_correlation(by_scores, 2.5)
    assert np.linalg.eigvalsh(one_by_one)[0] < -0.005
    expected = nearest_correlation(one_by_one, 1e-8)
    np.testing.assert_allclose(law.correlation, expected, atol=1e-6)
    assert np.linalg.eigvalsh(law.correlation)[0] > 0
    np.testing.assert_allclose(np.diag(law.correlation), 1.0, atol=1e-12)


def test_a_correlation_that_is_not_positive_definite_is_refused():
    with pytest.raises(mm.CalibrationError, match="not positive definite"):
        make_dependence("gaussian", np.array([[1.0, 1.1], [1.1, 1.0]]))

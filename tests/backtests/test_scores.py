"""Scores: consistent, related as the literature says, compared as arch and statsmodels do."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from arch.bootstrap import MCS
from scipy import integrate, stats
from sklearn.metrics import mean_pinball_loss

from mcmargin.backtests.scores import (
    diebold_mariano,
    fz0_score,
    model_confidence_set,
    murphy_expected_shortfall,
    murphy_value_at_risk,
    quantile_score,
)
from mcmargin.errors import DataError, PolicyError


def test_the_quantile_score_is_the_pinball_loss():
    random = np.random.default_rng(1)
    gains, var = random.standard_normal(500), random.random(500) + 1.0
    wanted = mean_pinball_loss(gains, -var, alpha=0.05)
    assert quantile_score(gains, var, 0.95).mean() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("level", [0.95, 0.975, 0.99])
def test_nobody_beats_the_true_forecast(level):
    """Means over 2,000,000 normal draws; what beats the truth by noise alone is 1e-4 of it."""
    gains = np.random.default_rng(2).standard_normal(2_000_000)
    var = stats.norm.ppf(level)
    shortfall = stats.norm.pdf(var) / (1.0 - level)

    def mean(v, e):
        ones = np.ones(len(gains))
        return fz0_score(gains, v * ones, e * ones, level).mean()

    best = mean(var, shortfall)
    for v, e in ((0.9, 1.0), (1.1, 1.1), (1.0, 1.15), (1.0, 0.95), (0.85, 0.85), (1.2, 1.2)):
        assert mean(v * var, max(e * shortfall, v * var)) > best + 1e-4
    # Of a normal, the mean of FZ0 at the truth is ln(ES): the other terms cancel.
    assert best == pytest.approx(np.log(shortfall), abs=0.01)


def test_fz0_is_a_mixture_of_elementary_scores():
    """The difference of FZ0 of two forecasts is that of their elementary scores, at every threshold
    below 0 with weight 1/η² (Ziegel, Krüger, Jordan and Fasciati 2020)."""
    gains, ones = np.array([-3.1, -1.4, 0.7]), np.ones(3)
    one, other = (2.0 * ones, 2.6 * ones), (1.2 * ones, 1.9 * ones)
    wanted = fz0_score(gains, *one, 0.975).mean() - fz0_score(gains, *other, 0.975).mean()

    def difference(eta):
        first, second = (
            murphy_expected_shortfall(gains, *each, 0.975, [eta])[0] for each in (one, other)
        )
        return (first - second) / eta**2

    # Beyond both forecasts the elementary scores are equal but for what falls as 1/η².
    pieces = [-1e6, -1e3, -50.0, -3.1, -2.6, -1.9, -1.4, -1e-9]
    found = sum(
        integrate.quad(difference, low, high, limit=200)[0] for low, high in pairwise(pieces)
    )
    assert found == pytest.approx(wanted, abs=1e-4)


def test_the_quantile_score_is_the_integral_of_the_murphy_curve():
    gains, var = np.array([-3.1, -1.4, 0.7]), np.array([2.0, 2.1, 1.9])
    grid = np.linspace(-4.0, 2.0, 60_001)
    curve = murphy_value_at_risk(gains, var, 0.975, grid)
    wanted = quantile_score(gains, var, 0.975).mean()
    assert integrate.trapezoid(curve, grid) == pytest.approx(wanted, abs=2e-4)


def test_the_murphy_curve_of_the_truth_lies_below_that_of_a_wrong_forecast():
    gains = np.random.default_rng(3).standard_normal(200_000)
    ones, grid = np.ones(len(gains)), np.linspace(-3.0, -1.0, 9)
    truth = murphy_expected_shortfall(gains, 1.959964 * ones, 2.337803 * ones, 0.975, grid)
    wrong = murphy_expected_shortfall(gains, 1.5 * ones, 1.8 * ones, 0.975, grid)
    assert (truth <= wrong + 1e-3).all()
    assert (truth < wrong - 1e-2).any()


@pytest.mark.parametrize("lags", [0, 1, 5])
def test_the_comparison_is_a_regression_with_newey_west_errors(lags):
    random = np.random.default_rng(4)
    noise = random.standard_normal(403)
    one, other = noise[3:] + noise[:-3] + 0.3, random.standard_normal(400)
    fitted = sm.OLS(one - other, np.ones(400)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False}
    )
    found = diebold_mariano(one, other, lags=lags)
    assert found.mean_difference == pytest.approx(fitted.params[0])
    assert found.standard_error == pytest.approx(fitted.bse[0], rel=1e-9)
    assert found.p_value == pytest.approx(fitted.pvalues[0], rel=1e-6)


def test_equal_models_differ_by_nothing_and_a_constant_difference_is_certain():
    scores = np.random.default_rng(5).random(100)
    assert diebold_mariano(scores, scores).p_value == 1.0
    found = diebold_mariano(scores, scores + 1.0)
    assert found.p_value == 0.0
    assert found.mean_difference == pytest.approx(-1.0)


def test_models_that_are_equally_good_are_told_apart_at_the_nominal_rate():
    random = np.random.default_rng(6)
    # Of 3,000 dates the window of 8 lags moves the size by less than 0.1 %.
    drawn = random.standard_normal((1500, 2, 3000), np.float32).astype(float)
    found = np.mean([diebold_mariano(one, other).p_value < 0.05 for one, other in drawn])
    assert found == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 1500))


def test_overlapping_horizons_are_told_apart_at_the_nominal_rate():
    """Sums of 10 independent numbers, of 3,000 dates. Bartlett weights up to 9 lags would reject
    11 %: they leave a third of the variance of the mean out."""
    random, histories, span = np.random.default_rng(8), 1000, 10
    drawn = np.cumsum(random.standard_normal((histories, 3000 + span)), axis=1)
    drawn = drawn[:, span:] - drawn[:, :-span]
    nothing = np.zeros(3000)
    found = [diebold_mariano(each, nothing, horizon=span).p_value < 0.05 for each in drawn]
    error = np.sqrt(0.05 * 0.95 / histories)
    assert np.mean(found) == pytest.approx(0.05, abs=3 * error)
    bartlett = [diebold_mariano(each, nothing, lags=9).p_value < 0.05 for each in drawn[:400]]
    assert np.mean(bartlett) > 0.05 + 3 * error


def test_the_statistic_of_overlapping_horizons_is_that_of_harvey_leybourne_and_newbold():
    noise = np.random.default_rng(9).standard_normal(209)
    scores = np.array([noise[at : at + 10].sum() for at in range(200)]) + 0.5
    found = diebold_mariano(scores, np.zeros(200), horizon=10)
    covariances = [
        np.sum((scores - scores.mean())[k:] * (scores - scores.mean())[: 200 - k])
        for k in range(10)
    ]
    variance = (covariances[0] + 2.0 * sum(covariances[1:])) / 200**2
    factor = (200 + 1 - 20 + 10 * 9 / 200) / 200
    wanted = scores.mean() / np.sqrt(variance) * np.sqrt(factor)
    assert found.statistic == pytest.approx(wanted)
    assert found.p_value == pytest.approx(2.0 * stats.t.sf(abs(wanted), 199))
    assert found.lags == 9


def test_a_variance_that_is_not_above_nothing_is_replaced():
    """Scores that alternate: all lags in full would leave a variance below 0."""
    scores = np.tile([1.0, -1.0], 20) + np.linspace(0.0, 0.1, 40)
    found = diebold_mariano(scores, np.zeros(40), horizon=2, lags=1)
    assert 0.0 < found.standard_error < np.inf


def test_models_with_equal_scores_share_their_place_in_the_confidence_set():
    random = np.random.default_rng(7)
    one, other = random.random(300), random.random(300) + 0.5
    found = model_confidence_set({"a": one, "b": other, "c": one.copy()}, seed=3, resamples=200)
    without = model_confidence_set({"a": one, "b": other}, seed=3, resamples=200)
    assert found["model"].tolist() == ["a", "c", "b"]
    assert found["in_set"].tolist() == [True, True, False]
    columns = ["mean_score", "p_value"]
    assert (
        found.set_index("model")
        .loc[["a", "b"], columns]
        .equals(without.set_index("model").loc[["a", "b"], columns])
    )
    all_equal = model_confidence_set({"a": one, "b": one}, seed=3, resamples=200)
    assert all_equal["p_value"].tolist() == [1.0, 1.0]
    assert all_equal["in_set"].all()


def test_the_confidence_set_is_that_of_arch():
    random = np.random.default_rng(7)
    common = random.random(300)
    scores = {
        name: common + random.random(300) + more
        for name, more in (("a", 0.0), ("b", 0.01), ("c", 0.5))
    }
    theirs = MCS(pd.DataFrame(scores), 0.1, reps=200, seed=3)
    theirs.compute()
    found = model_confidence_set(scores, seed=3, resamples=200)
    assert set(found["model"][found["in_set"]]) == set(theirs.included)
    for row in found.to_dict("records"):
        assert row["p_value"] == theirs.pvalues.loc[row["model"], "Pvalue"]
    assert found["mean_score"].is_monotonic_increasing
    again = model_confidence_set(scores, seed=3, resamples=200)
    pd.testing.assert_frame_equal(found, again)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: diebold_mariano([1.0, 2.0], [1.0]), "2 and 1"),
        (lambda: diebold_mariano([1.0, np.nan], [1.0, 2.0]), "scores of the first model"),
        (lambda: diebold_mariano([1.0, 2.0], ["a", "b"]), "of the second"),
        (lambda: model_confidence_set({"a": [1.0, 2.0]}, seed=1), "at least two models"),
        (lambda: model_confidence_set({"a": [1.0], "b": [1.0]}, seed=1), "at least two models"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(call, words):
    with pytest.raises(DataError, match=words):
        call()


@pytest.mark.parametrize("lags", [-1, 1.5, True])
def test_lags_that_are_no_number_of_dates_are_refused(lags):
    with pytest.raises(PolicyError, match="lags must be an integer"):
        diebold_mariano([1.0, 2.0, 4.0], [1.0, 3.0, 3.0], lags=lags)

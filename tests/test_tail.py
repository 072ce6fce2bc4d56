"""VaR and ES against closed forms, hand-worked cases and the properties of a coherent measure."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from mcmargin.errors import DataError, PolicyError
from mcmargin.simulation import simulate
from mcmargin.tail import estimate_tail, expected_shortfall, tail_count, value_at_risk
from tests.models import make_model

losses_of_40 = arrays(np.float64, 40, elements=st.floats(-1e6, 1e6))


def test_k_is_exact():
    assert tail_count(100_000, 0.99) == 1000
    assert tail_count(250, 0.975) == Fraction(25, 4)


def test_fractional_tail_by_hand():
    """k = 10 x 0.25 = 2.5: VaR the third worst, ES (10 + 9 + 8/2) / 2.5 = 9.2."""
    losses = np.arange(1.0, 11.0)
    assert value_at_risk(losses, level=0.75) == 8.0
    assert expected_shortfall(losses, level=0.75) == pytest.approx(9.2, rel=1e-15)


def test_ties_go_by_path_number():
    tail = estimate_tail(np.array([1.0, 5, 5, 5, 0, 5, 7, 0, 0, 0]), level=0.7)
    assert tail.paths.tolist() == [6, 1, 2]


@pytest.mark.parametrize("level", [0.975, 0.99])
def test_normal_and_t_portfolios_at_one_bar(level):
    """Two assets of correlation 1/2 and 1 % volatility: closed forms, within 4 of our errors."""
    weights, sigma = np.array([1.0, 2.0]), 0.01 * np.sqrt(1 + 4 + 2 * 0.5 * 2)
    normal = stats.norm.pdf(stats.norm.ppf(level)) / (1 - level)
    nu = 5.0
    q = stats.t.ppf(level, nu)
    heavy = stats.t.pdf(q, nu) / (1 - level) * (nu + q * q) / (nu - 1) * np.sqrt((nu - 2) / nu)
    for law, dependence, expected in (("normal", "gaussian", normal), ("t", "t", heavy)):
        model = make_model(("constant",) * 2, innovations=law, dependence=dependence, nu=None)
        moves = simulate(model, horizon=1, paths=400_000, seed=23).returns[0].astype(float)
        tail = estimate_tail(-(weights @ moves), level=level)
        assert abs(tail.expected_shortfall - sigma * expected) < 4 * tail.expected_shortfall_error


@pytest.mark.parametrize("draw", ["normal", "t5"])
def test_errors_are_the_spread_of_1000_repeats(draw):
    """A standard deviation of 1,000 repeats has an error of 1/sqrt(2000) = 2.2 %; 10 % is 4.5."""
    rng = np.random.default_rng(29)
    sample = rng.standard_normal if draw == "normal" else lambda size: rng.standard_t(5, size)
    tails = [estimate_tail(sample(20_000), level=0.99) for _ in range(1000)]
    for figure in ("expected_shortfall", "value_at_risk"):
        spread = np.std([getattr(tail, figure) for tail in tails])
        stated = np.mean([getattr(tail, f"{figure}_error") for tail in tails])
        assert abs(stated / spread - 1) < 0.10
    truth = stats.norm.ppf(0.99) if draw == "normal" else stats.t.ppf(0.99, 5)
    covered = np.mean(
        [
            tail.value_at_risk_interval[0] <= truth <= tail.value_at_risk_interval[1]
            for tail in tails
        ]
    )
    # 95 % intervals: 4 standard errors of a share of 1,000, and a little for the whole ranks.
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 1000) + 0.005


@given(losses_of_40, losses_of_40, st.floats(-1e3, 1e3), st.floats(0.01, 100))
@settings(max_examples=100, deadline=None)
def test_a_coherent_measure(a, b, shift, scale):
    level, size = 0.9, 1e-9 * (np.abs(a).sum() + np.abs(b).sum() + abs(shift) + 1)
    es = expected_shortfall(a, level=level)
    assert es >= value_at_risk(a, level=level)
    assert abs(expected_shortfall(a + shift, level=level) - es - shift) <= size
    assert abs(expected_shortfall(a * scale, level=level) - es * scale) <= size * scale
    assert expected_shortfall(a + b, level=level) <= es + expected_shortfall(b, level=level) + size


@given(losses_of_40, st.sampled_from([0.6, 0.9, 0.93, 0.975]))
@settings(max_examples=100, deadline=None)
def test_weights_make_es_of_the_tail(losses, level):
    tail = estimate_tail(losses, level=level)
    assert tail.weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert len(tail.paths) == math.ceil(tail_count(40, level))
    ordered = np.sort(losses)[::-1][: len(tail.paths)]
    np.testing.assert_array_equal(np.sort(losses[tail.paths])[::-1], ordered)


@pytest.mark.parametrize("level", [0.5, 1.0, 0.0, -1.0, 99.0, math.nan])
def test_a_level_out_of_range(level):
    with pytest.raises(PolicyError, match="level"):
        expected_shortfall(np.ones(1000), level=level)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 95.0, math.nan])
def test_a_confidence_out_of_range(confidence):
    with pytest.raises(PolicyError, match="confidence must lie between 0 and 1"):
        estimate_tail(np.ones(1000), level=0.99, confidence=confidence)


def test_too_few_paths_names_how_many():
    with pytest.raises(PolicyError, match="at least 1000"):
        expected_shortfall(np.ones(999), level=0.999)


def test_a_loss_that_is_not_finite():
    with pytest.raises(DataError, match="finite"):
        expected_shortfall(np.array([1.0] * 99 + [np.nan]), level=0.9)

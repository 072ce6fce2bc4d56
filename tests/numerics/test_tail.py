"""VaR and ES against closed forms, cases by hand and the properties of a coherent measure."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from mcmargin.errors import DataError, PolicyError
from mcmargin.numerics.tail import (
    estimate_tail,
    estimate_tails,
    expected_shortfall,
    shortfalls,
    tail_count,
    value_at_risk,
)
from mcmargin.scenarios.simulation import simulate
from tests.helpers.models import make_model

losses_of_40 = arrays(np.float64, 40, elements=st.floats(-1e6, 1e6))


def test_k_is_exact():
    assert tail_count(100_000, 0.99) == 1000
    assert tail_count(250, 0.975) == Fraction(25, 4)


def test_fractional_tail_by_hand():
    """With k = 10 x 0.25 = 2.5, VaR is the third worst, and ES is (10 + 9 + 8/2) / 2.5 = 9.2."""
    losses = np.arange(1.0, 11.0)
    assert value_at_risk(losses, level=0.75) == 8.0
    assert expected_shortfall(losses, level=0.75) == pytest.approx(9.2, rel=1e-15)


def test_ties_go_by_path_number():
    tail = estimate_tail(np.array([1.0, 5, 5, 5, 0, 5, 7, 0, 0, 0]), level=0.7)
    assert tail.paths.tolist() == [6, 1, 2]


@pytest.mark.parametrize("level", [0.975, 0.99])
def test_normal_and_t_portfolios_at_one_bar(level):
    """Two assets have correlation 1/2 and volatility 1 %; closed forms, to 4 standard errors."""
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
    """The standard deviation of 1,000 repeats errs by 1/sqrt(2000) = 2.2 %; 10 % is 4.5 errors."""
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
    # The share of 95 % may miss by 4 standard errors of 1,000 samples, and a little more, because
    # ranks are whole numbers.
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 1000) + 0.005


def shortfall_of(nu, level):
    """Return the closed form; if nu is infinite, that of a normal."""
    if np.isinf(nu):
        return stats.norm.pdf(stats.norm.ppf(level)) / (1 - level)
    q = stats.t.ppf(level, nu)
    return stats.t.pdf(q, nu) / (1 - level) * (nu + q * q) / (nu - 1)


@pytest.mark.parametrize(
    ("nu", "least"),
    [
        # These leave 1, 2, 5, 10, 20 and 50 paths in the tail, and 200 for 20,000 paths at 99 %.
        (np.inf, (0.90, 0.92, 0.91, 0.92, 0.92, 0.93, 0.93)),
        (5.0, (0.90, 0.92, 0.86, 0.87, 0.89, 0.92, 0.93)),
        (3.0, (0.85, 0.90, 0.83, 0.84, 0.86, 0.88, 0.90)),
    ],
)
def test_intervals_of_es_cover_it(nu, least):
    """In 1,500 samples, the share covered has a standard error of 0.006 at 95 % and 0.009 at 85 %.

    The bounds lie at least 3 errors below the shares of 4,000 samples. Heavy tails are covered less
    often, as the docstring says. With one or two paths in the tail, an earlier formula covered 0
    and 50 % of samples.
    """
    rng = np.random.default_rng(67)
    for k, bound in zip((1, 2, 5, 10, 20, 50, 200), least, strict=True):
        level, paths = (0.99, 100 * k) if k != 50 else (0.975, 2000)
        shape = (1500 if k < 200 else 600, paths)
        losses = rng.standard_normal(shape) if np.isinf(nu) else rng.standard_t(nu, shape)
        tails = estimate_tails(losses, level=level)
        low, high = tails.expected_shortfall_interval.T
        truth = shortfall_of(nu, level)
        assert ((low <= truth) & (truth <= high)).mean() > bound, k
        assert (tails.expected_shortfall_error > 0).all()


def test_the_error_of_a_tail_of_three_by_hand():
    """The worst losses 9, 6, 5 have excesses 4 and 1 over VaR, with mean 2.5 and variance 4.5."""
    losses = np.concatenate([[9.0, 6.0, 5.0], np.linspace(-1, 1, 27)])
    tail = estimate_tail(losses, level=0.9)
    error = math.sqrt((4.5 + 0.9 * 2.5**2) / 2)
    assert tail.expected_shortfall_error == pytest.approx(error, rel=1e-12)
    half = 4.302652729911275 * error  # Student's t of 2 degrees of freedom, from tables
    assert tail.expected_shortfall_interval == pytest.approx((20 / 3 - half, 20 / 3 + half))


def test_the_error_of_a_tail_of_one_is_the_spacing_below_it():
    tail = estimate_tail(np.array([7.0, 4.0, *np.zeros(8)]), level=0.9)
    assert tail.expected_shortfall == 7.0
    assert tail.expected_shortfall_error == pytest.approx(3 * math.sqrt(1.9))


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


@given(st.integers(0, 99))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_shortfalls_are_those_of_the_tail(seed):
    losses = np.random.default_rng(seed).standard_t(4, (3, 1501)).round(1)
    for level in (0.9, 0.99, 0.9873):
        expected = estimate_tails(losses, level=level).expected_shortfall
        np.testing.assert_allclose(shortfalls(losses, level=level), expected, rtol=1e-12)

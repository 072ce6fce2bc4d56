"""Observations are paired by date; what cannot be paired is refused and named."""

import numpy as np
import pytest

from mcmargin.backtests.observations import observations, result, series, tail_share
from mcmargin.errors import DataError, PolicyError

NAN = float("nan")


def test_a_date_with_a_nan_is_left_out_of_all_figures_and_counted():
    found = observations([1.0, NAN, -2.0, -3.0], [1.0, 1.0, NAN, 2.0], [2.0, 2.0, 2.0, 4.0])
    assert found.left_out == 2
    assert found.profit_and_loss.tolist() == [1.0, -3.0]
    assert found.value_at_risk.tolist() == [1.0, 2.0]
    assert found.expected_shortfall.tolist() == [2.0, 4.0]


def test_a_loss_equal_to_value_at_risk_is_no_exception():
    assert observations([-2.0, -2.0000001], [2.0, 2.0]).exceptions.tolist() == [False, True]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (([1.0, 2.0], [1.0]), "profit_and_loss has 2, value_at_risk has 1"),
        (([[1.0]], [[1.0]]), "profit_and_loss must be one figure a date"),
        (([np.inf], [1.0]), "profit_and_loss of date 0 is infinite"),
        (([1.0, 1.0], [1.0, -np.inf]), "value_at_risk of date 1 is infinite"),
        (([1.0], [1.0], [0.5]), "expected_shortfall of date 0 is 0.5"),
        (([1.0, 1.0], [-2.0, -2.0], [1.0, -1.0]), "expected_shortfall of date 1 is -1"),
        ((["a"], [1.0]), "profit_and_loss must be real numbers"),
        (([1j], [1.0]), "profit_and_loss must be real numbers"),
    ],
)
def test_what_cannot_be_paired_is_refused_by_name(given, words):
    with pytest.raises(DataError, match=words):
        observations(*given)


def test_a_series_leaves_out_what_is_missing():
    assert series("probabilities", [0.5, NAN, 0.25]).tolist() == [0.5, 0.25]


@pytest.mark.parametrize("level", [0.5, 1.0, 99, NAN, "high", True])
def test_a_level_that_is_none_is_refused(level):
    with pytest.raises(PolicyError, match="level must"):
        tail_share(level)


def test_the_share_of_a_level_is_exact_in_decimals():
    assert [tail_share(level) for level in (0.99, 0.975, 0.95)] == [0.01, 0.025, 0.05]


@pytest.mark.parametrize("significance", [0.0, 1.0, NAN, 5])
def test_a_significance_that_is_none_is_refused(significance):
    with pytest.raises(PolicyError, match="significance must"):
        result("x", 1.0, 0.5, np.zeros(3, bool), significance)

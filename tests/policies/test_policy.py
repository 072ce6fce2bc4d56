"""Policies: what is refused, and a fingerprint that does not hang on the caller's types."""

import math

import numpy as np
import pytest

import mcmargin as mm


@pytest.mark.parametrize("horizon", [2.5, True, math.nan, 0, -1, "2"])
def test_a_horizon_is_a_whole_number_of_bars(horizon):
    with pytest.raises(mm.PolicyError, match="horizon"):
        mm.MarginPolicy(horizon=horizon)


@pytest.mark.parametrize("level", ["0.99", None, True, math.nan, 99, 1.0])
def test_a_level_is_a_number_between_a_half_and_one(level):
    with pytest.raises(mm.PolicyError, match="level"):
        mm.MarginPolicy(level=level)


def test_numpy_numbers_are_plain_numbers():
    plain = mm.MarginPolicy(level=0.99, horizon=3, max_age_days=2)
    numpy = mm.MarginPolicy(level=np.float64(0.99), horizon=np.int64(3), max_age_days=np.float64(2))
    assert plain.fingerprint() == numpy.fingerprint()

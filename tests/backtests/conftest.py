"""Prices that the tests of backtests walk through."""

import numpy as np
import pytest

from tests.helpers.short_walks import history


@pytest.fixture(scope="module")
def prices():
    return history(0.01 * np.random.default_rng(3).standard_normal((360, 2)))

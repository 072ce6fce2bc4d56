"""Scenarios on which instruments are valued."""

import pytest

import mcmargin as mm
from tests.helpers.models import make_model


@pytest.fixture(scope="module")
def scenarios():
    """20,000 paths of two assets to 1, 2 and 5 bars, in float64."""
    model = make_model(("gjr", "garch"), "t", "t", variance=4e-4)
    return mm.simulate(model, horizons=(1, 2, 5), paths=20_000, seed=11, precision="double")

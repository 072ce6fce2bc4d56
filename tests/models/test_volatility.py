"""The table of volatility kinds against arch, and the recursions against each other."""

import inspect

import numpy as np
import pytest
from arch import univariate

import mcmargin as mm
from mcmargin.cli import calibrating
from mcmargin.models.volatility import COEFFICIENTS, KINDS, volatility_of
from tests.helpers.models import RECURSIONS

ARCH_NAMES = {"omega": "omega", "alpha[1]": "alpha", "gamma[1]": "gamma", "beta[1]": "beta",
              "sigma2": "omega"}  # fmt: skip


def test_every_kind_is_in_the_tests_and_in_both_helps():
    assert set(KINDS) == set(RECURSIONS)
    *rest, last = KINDS
    assert f"{', '.join(rest)} or {last}." in inspect.getsource(calibrating)
    assert all(f"`{kind}`" in str(mm.calibrate.__doc__) for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_are_those_of_arch_in_its_order(kind):
    names = KINDS[kind].process(univariate).parameter_names()
    assert [ARCH_NAMES[name] for name in names] == list(KINDS[kind].fitted)


@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_that_a_kind_lacks_are_0(kind):
    own = {*KINDS[kind].fitted, *KINDS[kind].declared}
    for name, value in zip(COEFFICIENTS, RECURSIONS[kind], strict=True):
        assert (value == 0.0) == (name not in own), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_recursion_by_innovations_is_that_by_returns(kind):
    law = volatility_of((kind,), np.array([RECURSIONS[kind]]), np.full(1, 1e-4))
    h, z = np.geomspace(2e-5, 1e-2, 7)[:, None], np.linspace(-6.0, 6.0, 9)
    by_returns = law.next_variance(h[..., None], (z * np.sqrt(h))[..., None])[..., 0]
    by_innovations = np.broadcast_to(law.recursion(0)(h, z), by_returns.shape)
    expected = np.maximum(by_innovations, law.floor[0])
    np.testing.assert_allclose(by_returns, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not KINDS[kind].logarithmic])
def test_persistence_is_the_share_of_an_excess_that_is_left_on_average(kind):
    """E[h'] of two variances, with innovations of variance 1 of which half lies below 0."""
    law = volatility_of((kind,), np.array([RECURSIONS[kind]]), np.full(1, 1e-4))
    z = np.array([-1.0, 1.0])
    low, high = (float(law.recursion(0)(np.array([[h]]), z).mean()) for h in (1e-4, 3e-4))
    assert (high - low) / 2e-4 == pytest.approx(law.persistence(0), abs=1e-12)

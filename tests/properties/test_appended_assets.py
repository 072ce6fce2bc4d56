"""An asset appended to a model leaves the others' draws as they were, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest

from mcmargin.draws.random_stream import TILE_PATHS, WordSource, stream_key
from mcmargin.models.dependence import make_dependence
from mcmargin.scenarios.simulation import simulate
from tests.helpers.models import RECURSIONS, make_model

KINDS = tuple(RECURSIONS)


def draws(precision, slots, first_slot=0):
    source = WordSource(stream_key(7))
    dtype = np.float64 if precision == "double" else np.float32
    out = np.empty((3, slots, TILE_PATHS), dtype)
    fill = source.normals_double if precision == "double" else source.normals_single
    fill(tiles=range(4, 7), step=2, first_slot=first_slot, out=out)
    return out


@pytest.mark.parametrize("precision", ["single", "double"])
def test_raw_draws_of_any_number_of_slots(precision):
    """However many slots are drawn at a time, and from whichever slot on."""
    whole = draws(precision, 70)
    for slots in (1, 3, 64, 65):
        np.testing.assert_array_equal(draws(precision, slots), whole[:, :slots])
    np.testing.assert_array_equal(draws(precision, 5, first_slot=62), whole[:, 62:67])


def run(count, precision, law, dependence, correlation):
    kinds = tuple(KINDS[at % len(KINDS)] for at in range(count))
    model = make_model(
        kinds,
        innovations=law,
        dependence=dependence,
        correlation=correlation[:count, :count],
    )
    return simulate(model, horizon=3, paths=5000, seed=7, precision=precision)


@pytest.mark.parametrize(("law", "dependence"), [("normal", "gaussian"), ("skewt", "t")])
@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize(("few", "more"), [(3, 4), (64, 65), (66, 70)])
def test_returns_with_identity_correlation(few, more, precision, law, dependence):
    """Bit for bit: the product only adds exact zeros to each asset's own draw.

    Sizes on both sides of the engine's block of 64 assets.
    """
    before, after = (run(n, precision, law, dependence, np.eye(more)) for n in (few, more))
    np.testing.assert_array_equal(before.returns, after.returns[:, :few])
    np.testing.assert_array_equal(before.next_variance, after.next_variance[:, :few])


BOUNDS = [("single", 2e-5), ("double", 1e-11)]


def assert_within(bound, before, after):
    """The leading assets' returns agree to the engine bound, a share of sigma plus the return."""
    ours = before.returns.astype(float)
    theirs = after.returns[:, : ours.shape[1]].astype(float)
    sigma = np.sqrt(before.next_variance.astype(float))
    assert (np.abs(ours - theirs) <= bound * (sigma + np.abs(ours))).all()


@pytest.mark.parametrize(("precision", "bound"), BOUNDS)
@pytest.mark.parametrize(("few", "more"), [(3, 4), (63, 70)])
def test_returns_with_any_correlation(few, more, precision, bound):
    """Within the engine bound only: BLAS rounds a product of another shape otherwise.

    The leading block of the Cholesky factor is that of the smaller model's own, to rounding.
    """
    rng = np.random.default_rng(5)
    loadings = rng.standard_normal((more, 2))
    covariance = loadings @ loadings.T + np.eye(more)
    spread = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(spread, spread)
    before, after = (run(n, precision, "t", "t", correlation) for n in (few, more))
    assert_within(bound, before, after)


@pytest.mark.parametrize(("precision", "bound"), BOUNDS)
@pytest.mark.parametrize(("few", "more"), [(3, 4), (63, 70)])
def test_returns_with_common_factors(few, more, precision, bound):
    """The factors' draws do not move either; loadings of the others are as they were."""
    loadings = np.random.default_rng(6).uniform(-0.6, 0.6, (more, 2))
    own = np.sqrt(1 - (loadings**2).sum(axis=1))

    def with_factors(count):
        law = make_dependence("gaussian", factor=loadings[:count], diagonal=own[:count])
        model = replace(make_model(("gjr",) * count), dependence=law)
        return simulate(model, horizon=3, paths=5000, seed=7, precision=precision)

    assert_within(bound, with_factors(few), with_factors(more))

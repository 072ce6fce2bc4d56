"""Draws of named things: kept within a bound, the same whoever asks, not in a pickle."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mcmargin.draws.plan import SimulationPlan
from mcmargin.draws.random_stream import lane_of
from mcmargin.engines import numpy_engine
from mcmargin.scenarios import named_draws
from mcmargin.scenarios.named_draws import NamedDraws

PLAN = SimulationPlan(seed=1, paths=3000, horizons=(1, 4), precision="single")
TILES = PLAN.tiles
ONE = 8 * 4 * 3000
"""Bytes of one thing's normals."""


def test_draws_of_many_names_are_kept_in_proportion():
    """What is kept is counted as it grows: adding up all of it for every draw took its square."""
    draws, few = NamedDraws(PLAN, "numpy"), NamedDraws(PLAN, "numpy")
    for at in range(5):
        normals = draws.normals(f"P{at}", TILES)
        assert draws.kept_bytes == (at + 1) * ONE
        assert draws.normals(f"P{at}", TILES) is normals
        few.normals(f"P{at}", TILES, most=3 * ONE)
    assert few.kept_bytes == 3 * ONE
    again = few.normals("P4", TILES, most=0)
    assert few.kept_bytes == 3 * ONE
    np.testing.assert_array_equal(again, draws.normals("P4", TILES))


def test_draws_that_are_not_kept_are_drawn_again_alike(monkeypatch):
    kept = NamedDraws(PLAN, "numpy").normals("P", TILES)
    monkeypatch.setattr(named_draws, "KEPT_BYTES", ONE - 1)
    again = NamedDraws(PLAN, "numpy")
    drawn = again.normals("P", TILES)
    assert again.normals("P", TILES) is not drawn
    np.testing.assert_array_equal(again.normals("P", TILES), kept)


def test_they_are_those_of_the_stream():
    """By name, seed and step as the engine draws them, of which the plan's paths are kept."""
    draws = NamedDraws(PLAN, "numpy")
    for name in ("a", "b"):
        drawn = numpy_engine.named_normals(1, lane_of(name), TILES, range(4))
        np.testing.assert_array_equal(draws.normals(name, TILES), drawn[:, :3000])
        jumps = numpy_engine.named_jumps(1, lane_of(name), TILES, range(4), 0.2)
        np.testing.assert_array_equal(draws.jumps(name, TILES, 0.2), jumps[:, :3000])


@pytest.mark.parametrize("room", [2, 100])
def test_threads_that_ask_at_once_get_the_same_and_none_is_counted_twice(room):
    draws, names = NamedDraws(PLAN, "numpy"), [f"P{at % 4}" for at in range(64)]
    with ThreadPoolExecutor(8) as threads:
        found = list(
            threads.map(lambda name: draws.normals(name, TILES, most=room * ONE).sum(), names)
        )
    assert found == found[:4] * 16
    assert draws.kept_bytes == min(room, 4) * ONE


def test_a_pickle_starts_empty_and_draws_the_same():
    draws = NamedDraws(PLAN, "numpy")
    normals = draws.normals("P", TILES)
    again = pickle.loads(pickle.dumps(draws))
    assert again.kept_bytes == 0
    np.testing.assert_array_equal(again.normals("P", TILES), normals)

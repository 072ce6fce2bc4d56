"""What the stream promises: same bits in any blocks and threads, and extension bit for bit."""

import numpy as np
import pytest

from mcmargin.draws.plan import SimulationPlan
from mcmargin.errors import EngineError, PolicyError
from mcmargin.scenarios.simulation import simulate, simulate_plan
from tests.helpers.models import RECURSIONS, make_model

KINDS = tuple(RECURSIONS)


def run(model, **options):
    settings = {"horizon": 2, "paths": 9000, "seed": 7}
    return simulate(model, **{**settings, **options}).returns


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize(("law", "dependence"), [("normal", "gaussian"), ("skewt", "t")])
def test_blocks_and_threads_change_no_bit(law, dependence, precision):
    model = make_model(KINDS, innovations=law, dependence=dependence)
    base = run(model, threads=1, block_tiles=1, precision=precision)
    for threads, block in ((1, 3), (2, 1), (2, 2), (4, 16)):
        other = run(model, threads=threads, block_tiles=block, precision=precision)
        np.testing.assert_array_equal(base, other)


def test_longer_horizons_and_more_paths_extend():
    model = make_model(KINDS, innovations="t", dependence="t")
    base = run(model, horizon=None, horizons=(1, 2))
    longer = run(model, horizon=None, horizons=(1, 2, 5), paths=20_000)
    np.testing.assert_array_equal(base, longer[:2, :, :9000])


def test_an_appended_asset_leaves_the_others():
    few, more = make_model(("garch",) * 3), make_model(("garch",) * 4)
    np.testing.assert_allclose(run(few), run(more)[:, :3], atol=2e-5 * 0.02)


def test_precisions_draw_apart_but_agree_in_law():
    """Two independent samples: means within 4 standard errors of their difference."""
    model = make_model(("garch",))
    single, double = run(model, paths=100_000), run(model, paths=100_000, precision="double")
    assert single.dtype == np.float32
    assert double.dtype == np.float64
    error = np.sqrt((single.var() + double.var()) / 100_000)
    assert abs(single.astype(float).mean() - double.mean()) < 4 * error


@pytest.mark.parametrize(
    "options",
    [
        {"paths": 0},
        {"paths": 2**32 * 2048 + 1},
        {"horizon": 0},
        {"horizon": None, "horizons": (2, 1)},
        {"horizon": None, "horizons": ()},
        {"seed": -1},
        {"precision": "half"},
        {"variance_cap": 0.5},
        {"price_floor": 0.0},
        {"threads": 0},
        {"horizons": (1,)},
    ],
)
def test_plans_out_of_range_are_refused(options):
    with pytest.raises(PolicyError):
        run(make_model(), **options)


@pytest.mark.parametrize("engine", ["cupy", "fortran"])
def test_an_engine_that_is_not_here_is_refused(engine):
    with pytest.raises(EngineError, match=engine):
        run(make_model(), engine=engine)


def test_environment_chooses_threads(monkeypatch):
    monkeypatch.setenv("MCMARGIN_THREADS", "none")
    with pytest.raises(PolicyError, match="MCMARGIN_THREADS"):
        run(make_model())


def test_a_plan_gives_what_its_fields_give():
    model = make_model(KINDS, innovations="t", dependence="t")
    plan = SimulationPlan(7, 3000, (1, 3), "double", 50.0, 0.01)
    ours = simulate_plan(model, plan, threads=1)
    whole = simulate(
        model,
        horizons=(1, 3),
        paths=3000,
        seed=7,
        precision="double",
        variance_cap=50.0,
        price_floor=0.01,
    )
    assert ours.plan == whole.plan == plan
    np.testing.assert_array_equal(ours.returns, whole.returns)
    np.testing.assert_array_equal(ours.next_variance, whole.next_variance)

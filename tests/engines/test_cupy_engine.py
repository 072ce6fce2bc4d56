"""The host code of the cupy engine on a pretended machine: memory, devices and settings."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.engines import cupy_engine
from mcmargin.scenarios.simulation import simulate
from tests.helpers.books import book_of
from tests.helpers.models import make_model

SETTINGS = {"horizon": 3, "paths": 9000, "seed": 7, "engine": "cupy"}


@pytest.fixture
def model():
    return make_model(("garch", "egarch", "gjr"), "skewt", "t", nu=4.2)


@pytest.fixture
def expected(model, machine):
    """Simulate with enough memory, in double precision, where blocks change less than 1e-13."""
    return simulate(model, precision="double", **SETTINGS).to_host()


def again(model, **options):
    return simulate(model, precision="double", **(SETTINGS | options)).to_host()


def assert_alike(scenarios, expected):
    np.testing.assert_allclose(scenarios.returns, expected.returns, atol=1e-13)
    np.testing.assert_allclose(scenarios.next_variance, expected.next_variance, rtol=1e-12)
    assert scenarios.capped_paths == expected.capped_paths
    assert scenarios.limited == expected.limited


def normals(machine):
    """Return tiles x steps x assets of each launch of normals."""
    own = [launch for launch in machine.launches if launch.name.startswith("normals")]
    return [int(np.prod(launch.grid)) for launch in own]


@pytest.mark.parametrize("number", range(7))
def test_one_allocation_that_fails_halves_the_block(model, machine, expected, number):
    # The first ten allocations are the model's arrays, two results, the flags and the counts.
    machine.fail_allocations = {machine.allocations + 10 + number}
    machine.launches.clear()
    assert_alike(again(model), expected)
    assert len(normals(machine)) > 1


def test_blocks_are_halved_until_they_fit_and_then_the_steps(model, machine, expected):
    del expected
    plain = make_model(("garch",) * 3)
    free = again(plain, paths=2000, horizon=8)
    machine.launches.clear()
    # One tile of three assets takes 3 x 2,048 x 8 bytes a step; two steps of the eight fit.
    machine.largest = 3 * 2048 * 8 * 2
    assert_alike(again(plain, paths=2000, horizon=8), free)
    # Eight steps did not fit, four did not fit, and then four launches took two steps each.
    assert normals(machine) == [3 * 2] * 4
    with pytest.raises(mm.EngineError, match="fewer paths or horizons"):
        again(plain, paths=100_000)


def test_the_end_of_the_road_is_an_error_that_says_so(machine):
    machine.largest = 2048 * 8
    with pytest.raises(mm.EngineError, match=r"device 0: its memory does not hold one tile of 3"):
        simulate(make_model(("garch",) * 3), horizon=3, paths=100, seed=7, engine="cupy")


def test_blocks_fit_the_pools_limit(model, machine, expected):
    pool = machine.module.get_default_memory_pool()
    results = expected.returns.nbytes * 2
    machine.launches.clear()
    pool.set_limit(size=pool.used_bytes() + results + 40 * 3 * 2048 * 8)
    assert_alike(again(model), expected)
    # Without a limit, one launch would take all 5 tiles x 3 assets x 3 steps.
    assert len(normals(machine)) > 1
    assert max(device.held for device in machine.devices) <= pool.get_limit()


def test_tiles_are_spread_over_devices(model, machine, expected):
    machine.launches.clear()
    scenarios = simulate(model, precision="double", devices=(0, 1), **SETTINGS)
    assert {launch.device for launch in machine.launches} == {0, 1}
    assert scenarios.returns.device.id == 0
    assert_alike(scenarios.to_host(), expected)


def test_parts_are_waited_for_and_gathered_in_little_memory(model, machine, expected):
    """A worker's stream is waited for before its part is copied, the caller's before and after.

    The first device holds the results once, a block, and one horizon of the other device's part.
    """
    options = {"horizons": (1, 2, 3), "paths": 40_000, "horizon": None, "block_tiles": 1}
    free = again(model, **options)
    machine.waits.clear()
    first, start = machine.devices[0], machine.allocations
    first.held, before = first.used, first.used
    spread = again(model, devices=(0, 1), **options)
    assert sorted(machine.waits) == [0, 0, 0, 1]
    assert_alike(spread, free)
    results = 2 * free.returns.nbytes
    assert first.held - before < 1.4 * results
    # The last allocation is for a horizon of the other device's part.
    machine.fail_allocations = {2 * machine.allocations - start - 1}
    with pytest.raises(mm.EngineError, match=r"device 0: .* part of another device .*; give fewer"):
        again(model, devices=(0, 1), **options)
    machine.module.get_default_memory_pool().set_limit(size=first.used + results // 2)
    with pytest.raises(mm.EngineError, match=r"device 0: .* do not fit its memory .*; give fewer"):
        again(model, devices=(0, 1), **options)


def test_long_horizons_are_drawn_in_pieces(model, machine, monkeypatch):
    """A grid has at most 65,535 blocks in its second dimension, which is steps."""
    free = again(model, horizon=7)
    named = cupy_engine.named_normals(7, 3, range(2), range(7)).get()
    monkeypatch.setattr(cupy_engine, "LARGEST_STEPS", 3)
    machine.launches.clear()
    assert_alike(again(model, horizon=7), free)
    again_named = cupy_engine.named_normals(7, 3, range(2), range(7)).get()
    np.testing.assert_array_equal(again_named, named)
    steps = [each.grid[1] for each in machine.launches if each.name.startswith("normals")]
    assert steps == [3, 3, 1] * 2


def test_the_current_device_is_used_and_left_as_it_was(model, machine, expected):
    cuda = machine.module.cuda
    machine.launches.clear()
    with cuda.Device(1):
        scenarios = again(model)
        assert cuda.Device().id == 1
    assert {launch.device for launch in machine.launches} == {1}
    assert_alike(scenarios, expected)


def test_products_are_never_of_tf32(model, machine, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "1")
    # 3 is CUBLAS_TF32_TENSOR_OP_MATH: a caller may have set it, and finds it again.
    machine.devices[0].math_mode = 3
    simulate(model, **SETTINGS)
    assert machine.products
    assert {product.math_mode for product in machine.products} == {0}
    assert machine.devices[0].math_mode == 3
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    with pytest.raises(mm.EngineError, match="NVIDIA_TF32_OVERRIDE"):
        simulate(model, **SETTINGS)


def test_progress_counts_tiles(model, machine):
    seen = []
    simulate(model, block_tiles=2, progress=lambda *done: seen.append(done), **SETTINGS)
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_margins_are_taken_where_their_scenarios_lie(model, machine):
    """Scenarios lie on the second device, while the current device of the thread is the first."""
    items = [mm.Spot(name, name) for name in ("a0", "a1")]
    book, trade = book_of([("a", "a0", 1.0)], items), {"a1": 2.0}
    policy = mm.MarginPolicy(stress=mm.Stress(gaps=(mm.Gap("a0", -0.2),)))
    expected = mm.margin(book, simulate(model, **SETTINGS), policy=policy)
    scenarios = simulate(model, devices=[np.int64(1)], **SETTINGS)
    found = mm.margin(book, scenarios, policy=policy)
    pd.testing.assert_frame_equal(found.figures, expected.figures, rtol=1e-12)
    assert found.what_if("a", trade).margin == expected.what_if("a", trade).margin
    np.testing.assert_allclose(found.profit_and_loss("a"), expected.profit_and_loss("a"))
    assert mm.stress(book, scenarios, policy=policy).accounts["loss"].tolist() == [20.0]
    assert machine.current == 0


def test_results_of_several_devices_that_one_does_not_hold(model, machine):
    for device in machine.devices:
        device.capacity = 600_000
    settings = {**SETTINGS, "paths": 2048 * 8}
    with pytest.raises(mm.EngineError, match=r"does not (hold|fit)|do not fit"):
        simulate(model, devices=(0, 1), **settings)


def test_margins_take_the_memory_that_their_device_has(machine, cupy):
    """All values take 10 MB, and 4 are free: blocks halve until they fit; figures are equal."""
    scenarios = mm.simulate(make_model(("garch",) * 3), horizon=1, paths=20_000, seed=7,
                            engine="cupy")  # fmt: skip
    items = [mm.Spot(f"i{at}", f"a{at % 3}") for at in range(60)]
    rows = [(f"account {at % 5}", item.name, 1.0) for at, item in enumerate(items)]
    book = book_of(rows, items)
    # Without its session, which keeps all values on the device.
    expected = mm.MarginReport.from_json(mm.margin(book, scenarios).to_json())
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=pool.used_bytes() + 4_000_000)
    found = mm.margin(book, scenarios)
    pd.testing.assert_frame_equal(found.figures, expected.figures, rtol=1e-12)
    pool.set_limit(size=pool.used_bytes() + 1000)
    with pytest.raises(mm.EngineError, match="do not fit the memory"):
        mm.margin(book, scenarios)

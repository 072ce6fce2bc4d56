"""The cupy engine's host code on a pretended machine: memory that runs out, devices, settings."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.engines import cupy_engine
from mcmargin.scenarios.simulation import choose_engine, simulate
from tests.models import make_model

SETTINGS = {"horizon": 3, "paths": 9000, "seed": 7, "engine": "cupy"}


@pytest.fixture
def model():
    return make_model(("garch", "egarch", "gjr"), "skewt", "t", nu=4.2)


@pytest.fixture
def expected(model, machine):
    """Without any pressure, in double precision, in which blocks change less than 1e-13."""
    return simulate(model, precision="double", **SETTINGS).to_host()


def again(model, **options):
    return simulate(model, precision="double", **(SETTINGS | options)).to_host()


def assert_alike(scenarios, expected):
    np.testing.assert_allclose(scenarios.returns, expected.returns, atol=1e-13)
    np.testing.assert_allclose(scenarios.next_variance, expected.next_variance, rtol=1e-12)
    assert scenarios.capped_paths == expected.capped_paths


def normals(machine):
    """Rows of tiles of each launch of normals: tiles x steps x assets."""
    own = [launch for launch in machine.launches if launch.name.startswith("normals")]
    return [int(np.prod(launch.grid)) for launch in own]


@pytest.mark.parametrize("number", range(7))
def test_one_allocation_that_fails_halves_the_block(model, machine, expected, number):
    # The model's arrays, the two results and the flags come first.
    machine.fail_allocations = {machine.allocations + 9 + number}
    machine.launches.clear()
    assert_alike(again(model), expected)
    assert len(normals(machine)) > 1


def test_blocks_are_halved_until_they_fit_and_then_the_steps(model, machine, expected):
    del expected
    plain = make_model(("garch",) * 3)
    free = again(plain, paths=2000, horizon=8)
    machine.launches.clear()
    # One tile of three assets takes 3 x 2,048 x 8 bytes a step: room for two steps of the eight.
    machine.largest = 3 * 2048 * 8 * 2
    assert_alike(again(plain, paths=2000, horizon=8), free)
    # One launch that found no room for its eight steps, one of four, and four of two.
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
    # 5 tiles x 3 assets x 3 steps would take one launch without a limit.
    assert len(normals(machine)) > 1
    assert max(device.held for device in machine.devices) <= pool.get_limit()


def test_tiles_are_spread_over_devices(model, machine, expected):
    machine.launches.clear()
    scenarios = simulate(model, precision="double", devices=(0, 1), **SETTINGS)
    assert {launch.device for launch in machine.launches} == {0, 1}
    assert scenarios.returns.device.id == 0
    assert_alike(scenarios.to_host(), expected)


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
    simulate(model, **SETTINGS)
    assert machine.products
    assert {product.math_mode for product in machine.products} == {0}
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    with pytest.raises(mm.EngineError, match="NVIDIA_TF32_OVERRIDE"):
        simulate(model, **SETTINGS)


def test_progress_counts_tiles(model, machine):
    seen = []
    simulate(model, block_tiles=2, progress=lambda *done: seen.append(done), **SETTINGS)
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_auto_takes_the_gpu_where_there_is_one(machine, monkeypatch):
    assert choose_engine("auto") == "cupy"
    monkeypatch.setenv("MCMARGIN_ENGINE", "numpy")
    assert choose_engine("auto") == "numpy"
    monkeypatch.delenv("MCMARGIN_ENGINE")
    machine.devices.clear()
    assert choose_engine("auto") == "numpy"
    assert cupy_engine.device_names() == []
    with pytest.raises(mm.EngineError, match="no usable CUDA device"):
        choose_engine("cupy")


def test_devices_are_named(machine):
    assert len(cupy_engine.device_names()) == 2


def test_reports_name_cupy_and_cuda_where_they_ran(machine):
    """The double calls itself cupy 14.2.0 on CUDA 13.2."""
    frame = pd.DataFrame({"account": ["a"], "instrument": ["a0"], "quantity": [1.0]})
    book = mm.Book.from_frame(frame)
    given = {}
    for engine in ("cupy", "numpy"):
        scenarios = simulate(make_model(), **SETTINGS | {"engine": engine})
        given[engine] = mm.margin(book, scenarios).versions
    assert given["cupy"] == given["numpy"] | {"cupy": "14.2.0", "cuda": "13.2"}

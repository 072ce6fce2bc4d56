"""What only a GPU can show: memory that runs out, streams, threads, several GPUs, a large run.

The bounds are those of docs/design.md. What a test measures goes into the report of
`tests.gpu.check`, as a property of the test. On a GPU the tests take about three minutes in all. On
the double they are small, and only show that the tests themselves work.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.draws.plan import SimulationPlan
from mcmargin.draws.random_stream import (
    NORMAL_DOUBLE,
    NORMAL_SINGLE,
    TILE_PATHS,
    WordSource,
    stream_key,
)
from mcmargin.engines import numpy_engine
from mcmargin.engines.cupy_kernels import NAME_EXPRESSIONS, kernel, kernel_folder
from mcmargin.engines.cupy_steps import normals
from mcmargin.engines.execution import Execution
from mcmargin.scenarios.simulation import simulate
from tests.helpers.books import seven_accounts
from tests.helpers.kernels import BOUND, KEY, REGISTERS, WORDS, philox_words
from tests.helpers.models import RECURSIONS, make_model

REAL = os.environ.get("MCMARGIN_TEST_GPU") == "1"
ASSETS, BARS, PATHS = (500, 10, 262_144) if REAL else (12, 3, 8_192)
ADDRESSES, WORDS_EACH = (64, 2**20) if REAL else (4, 2**12)
SETTINGS = {"horizon": 10, "paths": 100_000 if REAL else 9_000, "seed": 7, "engine": "cupy"}
BOTH = pytest.mark.parametrize("precision", ["single", "double"])


@pytest.fixture
def model():
    return make_model(("garch", "egarch", "gjr"), "skewt", "t", nu=4.2)


@pytest.fixture
def pool(cupy):
    """Return the memory pool without blocks of earlier tests, and remove its limit afterwards."""
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    yield pool
    pool.set_limit(size=0)
    pool.free_all_blocks()


def again(model, **options):
    return simulate(model, **(SETTINGS | {"precision": "double"} | options)).to_host()


def distance(scenarios, expected, model):
    """Return the largest difference of two returns, as a share of volatility plus |return|."""
    scale = np.sqrt(model.state.variance)[None, :, None] + np.abs(expected.returns)
    return float((np.abs(scenarios.returns.astype(float) - expected.returns) / scale).max())


def test_words_are_numpys_bit_for_bit(cupy):
    source = (kernel_folder() / "common.cuh").read_text() + WORDS
    words = cupy.RawModule(code=source, name_expressions=("words",)).get_function("words")
    draw = np.random.default_rng(67)
    for _ in range(ADDRESSES):
        tile, step, purpose = (int(n) for n in draw.integers(0, [2**31, 2**31, 8]))
        lane = int(draw.integers(0, 2**64, dtype=np.uint64))
        out = cupy.empty(WORDS_EACH, np.uint64)
        numbers = (tile << 32, step, purpose, lane, *KEY)
        words((WORDS_EACH // 512,), (128,), (out, *(np.uint64(n) for n in numbers)))
        expected = philox_words(WORDS_EACH, tile, step, purpose, lane)
        np.testing.assert_array_equal(out.get(), expected)


@BOTH
def test_normals_are_those_of_the_numpy_engine(cupy, precision, record_property):
    """16 million normals agree with those of the numpy engine."""
    slots, tiles, steps = ASSETS, range(3, 11), range(2, 4)
    plan = SimulationPlan(7, tiles.stop * TILE_PATHS, (BARS,), precision)
    double = precision == "double"
    purpose = NORMAL_DOUBLE if double else NORMAL_SINGLE
    drawn = normals(plan.dtype, stream_key(7), purpose, slots, tiles, steps).get()
    source, worst = WordSource(stream_key(7)), 0.0
    fill = source.normals_double if double else source.normals_single
    for at, step in enumerate(steps):
        peer = np.empty((len(tiles), slots, TILE_PATHS), plan.dtype)
        fill(tiles=tiles, step=step, first_slot=0, out=peer, purpose=purpose)
        ours = drawn[:, at].reshape(slots, len(tiles), TILE_PATHS).swapaxes(0, 1)
        worst = max(worst, float(np.abs(ours - peer).max()))
    record_property("farthest normal from numpy's", worst)
    record_property("largest normal", float(np.abs(drawn).max()))
    assert worst < (1e-13 if double else 5e-6)


@BOTH
def test_returns_and_variances(cupy, precision, record_property):
    model = make_model(tuple(RECURSIONS), "skewt", "t", nu=4.2)
    options = SETTINGS | {"precision": precision}
    ours = simulate(model, **options).to_host()
    peer = simulate(model, **(options | {"engine": "numpy"}))
    worst = distance(ours, peer, model)
    moved = float(np.abs(ours.next_variance.astype(float) / peer.next_variance - 1).max())
    record_property("farthest return from numpy's, of volatility plus |return|", worst)
    record_property("farthest variance from numpy's, relative", moved)
    assert worst < BOUND[precision]
    assert moved < 4 * BOUND[precision]


def test_under_the_pools_limit(model, pool):
    """The limit leaves room for three tiles, then half a tile, then less than the results."""
    free = again(model)
    pool.free_all_blocks()
    tile = 2 * 3 * SETTINGS["horizon"] * TILE_PATHS * 8
    constants = 200_000
    results = 2 * free.returns.nbytes + 2 * SETTINGS["paths"] + constants
    for tiles in (3, 0.5):
        pool.set_limit(size=pool.used_bytes() + results + int(tiles * tile))
        assert distance(again(model), free, model) < BOUND["double"]
    pool.set_limit(size=pool.used_bytes() + free.returns.nbytes)
    with pytest.raises(mm.EngineError, match="give fewer paths or horizons"):
        again(model)
    pool.set_limit(size=0)
    assert distance(again(model), free, model) < BOUND["double"]


def test_where_others_hold_the_memory(cupy, pool):
    """Only half a GiB of the card is free: blocks shrink, and the results are the same."""
    if not REAL:
        pytest.skip("the double's memory is the processor's")
    model = make_model(("gjr",) * 20, "t", "t")
    options = {"paths": PATHS, "precision": "single"}
    free = simulate(model, **(SETTINGS | options)).to_host()
    pool.free_all_blocks()
    left = cupy.cuda.runtime.memGetInfo()[0]
    ballast = cupy.cuda.memory.Memory(left - 2**29)
    try:
        pressed = simulate(model, **(SETTINGS | options)).to_host()
    finally:
        del ballast
    assert distance(pressed, free, model) < BOUND["single"]


@BOTH
def test_the_same_bits_again(cupy, model, precision):
    first, second = (again(model, precision=precision) for _ in range(2))
    np.testing.assert_array_equal(first.returns, second.returns)
    np.testing.assert_array_equal(first.next_variance, second.next_variance)


def test_a_stream_of_its_own(cupy, model, record_property):
    """Work that is launched after a simulation, in the same stream, sees its results."""
    expected = again(model)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        scenarios = simulate(model, precision="double", **SETTINGS)
        doubled = scenarios.returns + scenarios.returns
        scenarios.returns.fill(0)
    stream.synchronize()
    record_property("equal bit for bit", bool((doubled.get() == 2 * expected.returns).all()))
    halved = replace(expected, returns=doubled.get() / 2)
    assert distance(halved, expected, model) < BOUND["double"]


@pytest.mark.parametrize("streams", [False, True], ids=["one stream", "streams"])
def test_threads_at_once(cupy, model, streams, record_property):
    """Two threads run four simulations, in two streams or in one."""
    seeds = (1, 2, 3, 4)
    expected = [again(model, seed=seed) for seed in seeds]

    def run(seed):
        if not streams:
            return again(model, seed=seed)
        with cupy.cuda.Stream(non_blocking=True):
            return again(model, seed=seed)

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(run, seeds))
    equal = all((a.returns == b.returns).all() for a, b in zip(found, expected, strict=True))
    record_property("equal bit for bit", equal)
    for ours, peer in zip(found, expected, strict=True):
        assert distance(ours, peer, model) < BOUND["double"]
        assert ours.capped_paths == peer.capped_paths


def test_several_devices_simulate_what_one_does(cupy, model):
    count = cupy.cuda.runtime.getDeviceCount()
    if count < 2:
        pytest.skip("there is one GPU")
    expected = again(model)
    spread = simulate(model, precision="double", devices=tuple(range(count)), **SETTINGS)
    assert spread.returns.device.id == 0
    assert distance(spread.to_host(), expected, model) < BOUND["double"]
    # This stream waits for no other one; what follows in it must see the results.
    with cupy.cuda.Stream(non_blocking=True) as stream:
        spread = simulate(model, precision="double", devices=tuple(range(count)), **SETTINGS)
        doubled = spread.returns + spread.returns
        spread.returns.fill(0)
    stream.synchronize()
    halved = replace(expected, returns=doubled.get() / 2)
    assert distance(halved, expected, model) < BOUND["double"]
    with cupy.cuda.Device(1):
        other = simulate(model, precision="double", **SETTINGS)
        assert other.returns.device.id == cupy.cuda.Device().id == 1
        assert distance(other.to_host(), expected, model) < BOUND["double"]


@pytest.mark.parametrize(
    ("file", "name"), [(file, name) for file, names in NAME_EXPRESSIONS.items() for name in names]
)
def test_registers_and_local_memory(cupy, file, name, record_property):
    if not REAL:
        pytest.skip("registers are the device compiler's")
    attributes = kernel(file, name).attributes
    record_property("registers", attributes["num_regs"])
    assert attributes["num_regs"] <= REGISTERS[name]
    assert attributes["local_size_bytes"] == 0


def test_a_large_run(cupy, pool, record_property):
    """Tiles from its middle agree with the numpy engine, and its margins with those on the host."""
    model = make_model(("gjr", "garch") * (ASSETS // 2), "t", "t")
    options = {"horizons": (1, BARS), "paths": PATHS, "seed": 7}
    scenarios = simulate(model, engine="cupy", **options)
    tiles = range(1, 4)
    peer, variance, _ = numpy_engine.simulate_paths(
        model, scenarios.plan, Execution(threads=os.cpu_count()), tiles
    )
    here = slice(tiles.start * TILE_PATHS, tiles.stop * TILE_PATHS)
    ours = scenarios.returns[:, :, here].get()
    scale = np.sqrt(model.state.variance)[None, :, None] + np.abs(peer)
    worst = float((np.abs(ours - peer) / scale).max())
    record_property("farthest return from numpy's, of volatility plus |return|", worst)
    assert worst < BOUND["single"]
    ours = scenarios.next_variance[:, :, here].get()
    assert np.abs(ours / variance - 1).max() < 4 * BOUND["single"]
    book, policy = seven_accounts(model.assets), mm.MarginPolicy(level=0.99)
    report = mm.margin(book, scenarios, policy=policy)
    host = mm.margin(book, scenarios.to_host(), policy=policy)
    apart = [
        max(abs(a.margin - b.margin), abs(a.value_at_risk - b.value_at_risk)) / b.gross_exposure
        for a, b in zip(report.accounts, host.accounts, strict=True)
    ]
    record_property(
        "farthest margin or value at risk from the host's, of gross exposure", max(apart)
    )
    # The scenarios are the same; only the order of float64 sums differs.
    assert max(apart) < 1e-10

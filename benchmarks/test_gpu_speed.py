"""Simulation on a GPU beside other libraries, and each of its steps alone.

W1: 20 assets x 10 bars, GARCH, normal, Gaussian. W2: 100 x 10, GJR, t innovations, t dependence.
W3: 500 x 2, as W1. W4: 1,000 x 10 as W1, streamed: parts of the paths are simulated, reduced to the
profit and loss of one book, and dropped. All have 1,000,000 paths in float32; `benchmarks.gpu` runs
them. Whole simulations are timed by the host's clock, from the call to the device's last result.
"""

import os

import numpy as np
import pytest

from benchmarks import gpu_steps
from benchmarks.device import facts, on_the_double
from benchmarks.gpu_peers import PEERS
from benchmarks.gpu_steps import STEPS, bound, make_block, work_of
from mcmargin.draws.plan import SimulationPlan
from mcmargin.engines import cupy_engine
from mcmargin.engines.execution import Execution
from mcmargin.scenarios.simulation import simulate
from tests.helpers.models import make_model

if not os.environ.get("MCMARGIN_TEST_GPU"):
    pytest.skip("for a GPU: make gpu-bench", allow_module_level=True)

STREAMED = "W4"
PART_TILES = 32
PEER_PART = 62_500
"""Paths that a peer simulates at a time when it streams: about as many as we, and a divisor."""

WORKLOADS, PATHS = gpu_steps.WORKLOADS, gpu_steps.PATHS
if on_the_double():
    WORKLOADS = {name: (*kinds, 3, 2) for name, (*kinds, _, _) in WORKLOADS.items()}
    PATHS, PART_TILES, PEER_PART = 2_100, 1, 300

ROUNDS = {"mcmargin": 9, "numba-cuda": 2}
OTHER_ROUNDS = 5
RUNS = ("mcmargin", *PEERS)


@pytest.fixture(scope="module")
def cupy():
    return pytest.importorskip("cupy")


def workload(name):
    kind, law, dependence, assets, bars = WORKLOADS[name]
    return make_model((kind,) * assets, innovations=law, dependence=dependence), bars


def holdings(model):
    """A book of one unit of each asset: the money by which a return of 1 moves it."""
    return np.asarray(model.state.prices, np.float32)


def ours(model, bars):
    scenarios = simulate(model, horizon=bars, paths=PATHS, seed=7, engine="cupy")
    return scenarios.returns[0], scenarios.next_variance[0]


def ours_streamed(model, bars):
    import cupy

    plan, weights = SimulationPlan(7, PATHS, (bars,), "single"), cupy.asarray(holdings(model))
    parts = []
    for start in range(0, len(plan.tiles), PART_TILES):
        tiles = range(start, min(start + PART_TILES, len(plan.tiles)))
        returns, _, _ = cupy_engine.simulate_paths(model, plan, Execution(), tiles)
        parts.append(weights @ returns[0])
    return parts


def peers_streamed(peer, model, bars):
    parts = []
    for _ in range(0, PATHS, PEER_PART):
        returns, _ = peer.simulate(model, bars, PEER_PART)
        parts.append(peer.weigh(holdings(model), returns))
    return parts


@pytest.mark.parametrize("name", list(WORKLOADS))
@pytest.mark.parametrize("who", RUNS)
def test_simulation(benchmark, cupy, who, name):
    """Measure medians; a peer that does not fit into the card's memory is skipped with a note."""
    peer = PEERS["plain cupy" if who == "mcmargin" else who]
    reason = peer.missing()
    if reason is not None:
        pytest.skip(f"{who}: {reason}")
    model, bars = workload(name)
    cupy.get_default_memory_pool().free_all_blocks()

    own = who == "mcmargin"

    def run():
        if name == STREAMED:
            parts = ours_streamed(model, bars) if own else peers_streamed(peer, model, bars)
            peer.wait(parts[-1])
            return sum(len(part) for part in parts)
        returns, variance = ours(model, bars) if own else peer.simulate(model, bars, PATHS)
        peer.wait(variance)
        return tuple(returns.shape)

    benchmark.group = name
    benchmark.extra_info |= {"who": who, "asset_steps": len(model.assets) * bars * PATHS}
    try:
        done = benchmark.pedantic(run, rounds=ROUNDS.get(who, OTHER_ROUNDS), warmup_rounds=1)
    except Exception as error:
        if own or "memory" not in str(error).lower():
            raise
        pytest.skip(f"{who}, {name}: out of memory")
    finally:
        peer.release()
    expected = PATHS if name == STREAMED else (len(model.assets), PATHS)
    assert done == expected


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", list(WORKLOADS))
def test_step(benchmark, cupy, name, step):
    """Time one step of one block by the device's own clock, beside the least time possible."""
    from cupyx.profiler import benchmark as device_benchmark

    model, bars = workload(name)
    block = make_block(model, bars, PATHS)
    if step not in block.runs:
        pytest.skip(f"{name} has no {step}")
    run = block.runs[step]
    repeat = 3 if on_the_double() else 30
    seconds = float(np.median(device_benchmark(run, n_repeat=repeat, n_warmup=3).gpu_times))
    mixed = model.dependence.kind == "t"
    work = work_of(step, assets=len(model.assets), bars=bars, paths=block.paths, mixed=mixed)
    least, by = bound(work, facts(cupy))
    benchmark.group = f"{name} steps"
    benchmark.extra_info |= {
        "step": step,
        "workload": name,
        "device_s": seconds,
        "ps_an_element": 1e12 * seconds / work.elements,
        "GB_s": work.bytes / seconds / 1e9,
        **({"Gflop_s": work.flop / seconds / 1e9} if work.flop else {}),
        "bound_by": by,
        "share_of_bound": None if least is None else least / seconds,
    }

    def launch():
        run()
        cupy.cuda.Device().synchronize()

    benchmark.pedantic(launch, rounds=3)


def test_ceilings(benchmark, cupy):
    """Measure what the card reaches: a copy of 1 GiB and a large float32 product, run by cupy."""
    from cupyx.profiler import benchmark as device_benchmark

    size, side = (2**14, 64) if on_the_double() else (2**28, 8192)
    repeat = 3 if on_the_double() else 20
    source, target = cupy.ones(size, np.float32), cupy.empty(size, np.float32)
    copy = device_benchmark(lambda: cupy.copyto(target, source), n_repeat=repeat, n_warmup=3)
    a = cupy.asarray(np.random.default_rng(3).standard_normal((side, side), np.float32))
    product = device_benchmark(lambda: a @ a, n_repeat=repeat, n_warmup=3)
    benchmark.group = "ceilings"
    benchmark.extra_info |= {
        "ceiling": "copy and product",
        "copy_bytes_s": 2 * 4 * size / float(np.median(copy.gpu_times)),
        "product_flop_s": 2 * side**3 / float(np.median(product.gpu_times)),
    }
    benchmark.pedantic(cupy.copyto, args=(target, source), rounds=3)

"""`make gpu-bench` without a GPU runs small workloads on the double; figures mean nothing.

The benchmarks, the peers' simulations (numba's in its simulator, PyTorch's and JAX's on the
processor) and the report run here, so that none of them fails at the first GPU that it meets.
"""

import json

import numpy as np
import pytest

from benchmarks import report
from benchmarks.device import peaks
from benchmarks.gpu_peers import PEERS
from benchmarks.gpu_steps import STEPS, Work, bound, make_block, work_of
from tests.helpers.bare_machine import run_bare
from tests.helpers.models import RECURSIONS, make_model

H100 = {"peak_bytes_s": 3.352e12, "peak_flop_s": 66.9e12, "multiprocessor_cycles_s": 132 * 1.98e9}


SIMULATIONS = ("W1", "W2", "W3", "W4")
BOOKS = (
    "B1, 400 accounts",
    "B1 with balances, 80 accounts",
    "B2, one account of 200 positions",
    "B3, a what-if of one trade",
    "P1, all components of 400 accounts",
    "P2, one account of 10 positions, full policy",
)


def test_the_benchmarks_of_a_bare_machine(machine, tmp_path):
    """Ours and plain cupy run; the report says that the other peers are not installed."""
    pytest.importorskip("pytest_benchmark")
    done = run_bare("benchmarks.gpu", "--results", tmp_path, "-p", "pytest_benchmark.plugin")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "gpu_speed.json").read_text())
    assert summary["device"]["name"] == "Pretended GPU"
    rows = [(row["group"], row["who"]) for row in summary["rows"]]
    assert [row for row in rows if row[0] in SIMULATIONS] == [
        (name, who) for who in ("mcmargin", "plain cupy") for name in SIMULATIONS
    ]
    engines = ("mcmargin", "mcmargin, cupy")
    both = {
        *((group, who) for group in ("float32", "float64") for who in engines),
        *((group, who) for group in BOOKS for who in engines),
    }
    assert both <= set(rows)
    assert ("P1, all components of 400 accounts", "mcmargin, cupy, base alone") in rows
    assert ("B1 with balances, 80 accounts", "mcmargin, cupy, two coins, haircuts") in rows
    steps = {(step["workload"], step["step"]) for step in summary["steps"]}
    plain = [(name, step) for name in ("W1", "W3", "W4") for step in STEPS if step != "mixing"]
    assert steps == {*plain, *(("W2", step) for step in STEPS)}
    assert {"pytorch: PyTorch is not installed", "jax: JAX is not installed"} <= set(
        summary["skipped"]
    )
    assert summary["failed"] == []
    goals = [(each["what"], each["goal"].split(" ")[0]) for each in summary["targets"]]
    assert {what.split(" ")[0] for what, _ in goals} == set(SIMULATIONS)
    assert goals[:6] == [*((f"W{n}", "at") for n in (1, 2, 3, 4)), ("W1", "1e9"), ("W2", "1e9")]
    assert "Pretended GPU, compute capability 9.0" in (tmp_path / "gpu_speed.md").read_text()


@pytest.mark.filterwarnings("ignore")  # a warning of numba's own simulator
@pytest.mark.parametrize("who", list(PEERS))
def test_peers_simulate_the_same_thing(machine, monkeypatch, who):
    """Mean next variance, known in closed form, and correlation hold within six standard errors."""
    monkeypatch.setenv("MCMARGIN_TEST_GPU", "double")
    if who == "numba-cuda":
        # arch may have imported numba already, but not its CUDA part.
        numba = pytest.importorskip("numba")
        monkeypatch.setattr(numba.config, "ENABLE_CUDASIM", 1)
    peer = PEERS[who]
    reason = peer.missing()
    if reason is not None:
        pytest.skip(reason)
    bars, paths = 2, 256 if who == "numba-cuda" else 20_000
    for law, dependence in (("normal", "gaussian"), ("t", "t")):
        model = make_model(("gjr",) * 3, law, dependence, nu=5.0 if law == "t" else None)
        returns, variance = peer.simulate(model, bars, paths)
        gains = peer.weigh(np.array([1.0, 2.0, 3.0]), returns)
        peer.wait(gains)
        returns, variance, gains = (
            np.asarray(each.copy_to_host() if hasattr(each, "copy_to_host") else host(each), float)
            for each in (returns, variance, gains)
        )
        np.testing.assert_allclose(gains, [1.0, 2.0, 3.0] @ returns, rtol=1e-3, atol=1e-5)
        omega, alpha, gamma, beta = RECURSIONS["gjr"]
        expected = 1e-4
        for _ in range(bars):
            expected = omega + (alpha + gamma / 2 + beta) * expected
        error = variance.std(axis=1) / np.sqrt(paths)
        assert (np.abs(variance.mean(axis=1) - expected) < 6 * error).all()
        # A correlation of 0.5, whose standard error under t with 5 degrees is below 3 / sqrt(n).
        correlations = np.corrcoef(returns)[np.triu_indices(3, 1)]
        assert (np.abs(correlations - 0.5) < 6 * 3 / np.sqrt(paths)).all()
        peer.release()


def host(array):
    return array.get() if hasattr(array, "get") else array


def test_bounds_by_hand():
    """W2's product takes 200 flop and 8 bytes for an asset-step: 3 ps at 66.9 Tflop/s."""
    work = work_of("product", assets=100, bars=10, paths=2048)
    cells = 100 * 10 * 2048
    assert work == Work(cells, 8 * cells, 200 * cells, 0)
    least, by = bound(work, H100)
    assert by == "float32"
    assert least / cells == pytest.approx(200 / 66.9e12)
    # W4's product stops at the diagonal blocks: 256 x 256 + 256 x 512 + 256 x 768 + 232 x 1000.
    work = work_of("product", assets=1000, bars=1, paths=2048)
    assert work.flop == 2 * 625_216 * 2048
    assert work.bytes == 4 * (256 + 512 + 768 + 1000 + 1000) * 2048
    # 4 bytes are read, and 2 x 8 of a path's states and results over 10 bars; instructions set it.
    work = work_of("evolve", assets=20, bars=10, paths=2048)
    assert work.bytes == (4 + 16 / 10) * work.elements
    assert bound(work, H100)[1] == "instructions"


def test_peaks_that_no_driver_tells_bound_nothing():
    """Without clocks there is no bound; the memory's clock bounds only steps that move bytes."""
    work, nothing = Work(10, 80, 200, 5), dict.fromkeys(H100, 0)
    assert bound(work, nothing) == (None, "unknown")
    assert bound(work, nothing | {"peak_bytes_s": 8.0}) == (10.0, "memory")
    assert bound(Work(10, 0, 200, 5), nothing | {"peak_bytes_s": 8.0}) == (None, "unknown")
    step = {"workload": "W1", "step": "evolve", "bound_by": "unknown", "share_of_block": 0.5}
    told = report.targets([], [step | {"share_of_bound": None}])
    assert [(each["found"], each["met"]) for each in told] == [(None, False)]


def test_steps_leave_what_a_simulation_does(machine, cupy):
    """The block that is timed is as large as the engine's own."""
    model = make_model(("gjr",) * 3, "t", "t")
    block = make_block(model, 2, 5000)
    machine.launches.clear()
    for step in STEPS:
        block.runs[step]()
    assert [launch.name for launch in machine.launches] == [
        *("normals<float>", "mixing<float>", "evolve<float, 0>")
    ]
    assert block.paths == 3 * 2048


def test_peaks_of_an_h100(machine, cupy):
    """The peaks are those of the data sheet: 3.35 TB/s and 67 Tflop/s."""
    found = peaks(cupy)
    assert found["peak_bytes_s"] == pytest.approx(3.35e12, rel=2e-3)
    assert found["peak_flop_s"] == pytest.approx(67e12, rel=2e-3)


def test_targets_are_judged():
    rows = [
        {"group": "W1", "who": "mcmargin", "times_ours": 1.0, "ps_an_asset_step": 14.0},
        {"group": "W1", "who": "jax", "times_ours": 2.9},
        {"group": "W1", "who": "pytorch", "times_ours": 4.0},
        {"group": "W3", "who": "mcmargin", "times_ours": 1.0, "ps_an_asset_step": 14.0},
    ]
    step = {"workload": "W1", "step": "evolve", "bound_by": "memory", "share_of_block": 0.5}
    steps = [step | {"share_of_bound": 0.6}, step | {"share_of_bound": 0.1, "share_of_block": 0.01}]
    found = [(each["what"], each["found"], each["met"]) for each in report.targets(rows, steps)]
    assert found == [
        *(("W1", 2.9, False), ("W3", None, False), ("W1", 0.014, True)),
        ("W1 evolve", 0.6, True),
    ]

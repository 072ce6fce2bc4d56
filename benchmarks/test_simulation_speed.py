"""Simulation beside other libraries; see peers.py.

W1: 20 assets x 10 bars x 100,000 paths, GARCH, normal, Gaussian. W2: 100 x 10 x 100,000, GJR, t
innovations, and t dependence with the same degrees of freedom. W3: 500 x 2 x 20,000 as W1. Each has
two threads. Peak memory is that of one call in a process of its own.
"""

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.peers import PEERS, available
from benchmarks.size import SMALL, size
from mcmargin.models.innovations import Innovations
from mcmargin.scenarios.simulation import simulate
from tests.helpers.models import make_model

THREADS = 2
WORKLOADS = {
    "W1": ("garch", "normal", "gaussian", 20, 10, size(100_000, 2048)),
    "W2": ("gjr", "t", "t", size(100, 5), size(10, 2), size(100_000, 2048)),
    "W3": ("garch", "normal", "gaussian", size(500, 70), 2, size(20_000, 2048)),
}


def workload(name):
    kind, law, dependence, assets, horizon, paths = WORKLOADS[name]
    return make_model((kind,) * assets, innovations=law, dependence=dependence), horizon, paths


def ours(model, horizon, paths, threads):
    scenarios = simulate(
        model, horizon=horizon, paths=paths, seed=7, threads=threads, engine="numpy"
    )
    return scenarios.returns[0], scenarios.next_variance[0]


RUNS = {"mcmargin": ours, **PEERS}


@pytest.mark.parametrize("name", list(WORKLOADS))
@pytest.mark.parametrize("peer", list(RUNS))
def test_simulation(benchmark, name, peer):
    if peer != "mcmargin" and not available(peer):
        pytest.skip(f"{peer} is not installed (extra bench)")
    model, horizon, paths = workload(name)
    benchmark.group = name
    benchmark.extra_info["who"] = peer
    if not SMALL:
        benchmark.extra_info["peak MB"] = peak_megabytes(name, peer)
    returns, variance = benchmark.pedantic(
        RUNS[peer],
        args=(model, horizon, paths, THREADS),
        rounds=2 if peer == "arch" else 7,
        warmup_rounds=1,
    )
    assert returns.shape == variance.shape == (len(model.assets), paths)


def test_marginals_of_their_own(benchmark):
    """W2 as a calibration gives it: marginals have other degrees of freedom than the copula.

    Then each draw goes through the table of its asset; with equal degrees of freedom it does not.
    """
    kind, _, dependence, assets, horizon, paths = WORKLOADS["W2"]
    marginal = Innovations("t", np.array([4.2]))
    model = make_model((kind,) * assets, innovations=marginal, dependence=dependence)
    benchmark.group = "W2"
    benchmark.extra_info["who"] = "mcmargin, marginals of their own"
    benchmark.pedantic(ours, args=(model, horizon, paths, THREADS), rounds=7, warmup_rounds=1)


def peak_megabytes(name, peer):
    """Measure how much memory a call adds at most to a process that is warmed up, with outputs."""
    code = (
        "from benchmarks.memory import growth\n"
        "from benchmarks.test_simulation_speed import RUNS, THREADS, workload\n"
        f"model, horizon, paths = workload({name!r})\n"
        f"RUNS[{peer!r}](model, 1, 2048, THREADS)\n"
        f"print(growth(RUNS[{peer!r}], model, horizon, paths, THREADS)[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return round(float(done.stdout.split()[-1]))

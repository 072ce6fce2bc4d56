"""Simulation beside the loop that everybody writes: float64 numpy over whole arrays.

W1: 20 assets x 10 bars x 100,000 paths, GARCH, normal, Gaussian. W2: 100 x 10 x 100,000, GJR, t
innovations, t dependence. W3: 500 x 2 x 20,000 as W1. Two threads each.
"""

import numpy as np
import pytest

from mcmargin.simulation import simulate
from tests.models import make_model

WORKLOADS = {
    "W1": ("garch", "normal", "gaussian", 20, 10, 100_000),
    "W2": ("gjr", "t", "t", 100, 10, 100_000),
    "W3": ("garch", "normal", "gaussian", 500, 2, 20_000),
}


def workload(name):
    kind, law, dependence, assets, horizon, paths = WORKLOADS[name]
    return make_model((kind,) * assets, innovations=law, dependence=dependence), horizon, paths


def plain_numpy(model, horizon, paths):
    """Whole-array float64 simulation; returns the compounded simple returns."""
    rng = np.random.default_rng(7)
    v, nu = model.volatility, model.dependence.nu
    omega, alpha, gamma, beta = (x[:, None] for x in (v.omega, v.alpha, v.gamma, v.beta))
    total = np.zeros((len(model.assets), paths))
    h = np.repeat(model.state.variance[:, None], paths, axis=1)
    for _ in range(horizon):
        z = model.dependence.factor @ rng.standard_normal(total.shape)
        if np.isfinite(nu):
            z *= np.sqrt((nu - 2) / rng.chisquare(nu, paths))
        eps = np.sqrt(h) * z
        total = total + eps + total * eps
        h = omega + (alpha + gamma * (eps < 0)) * eps**2 + beta * h
    return total, h


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_ours(benchmark, name):
    model, horizon, paths = workload(name)
    benchmark.group = name
    benchmark.pedantic(
        simulate,
        args=(model,),
        kwargs={"horizon": horizon, "paths": paths, "seed": 7, "threads": 2},
        rounds=7,
        warmup_rounds=1,
    )


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_plain_numpy(benchmark, name):
    benchmark.group = name
    benchmark.pedantic(plain_numpy, args=workload(name), rounds=5, warmup_rounds=1)

"""The steps of one block of paths on the device, and the least time that the card allows each.

The bound of a step is the largest of three times: its bytes over the card's bytes/s, where each
array is read or written once; its flop over the card's float32 flop/s; and, for mcmargin's own
kernels, their instructions (docs/gpu_instructions.json, counted for an H100) over the number that
the card's multiprocessors issue. All assets of a path read the same mixing variables, from the L2
cache, and so these count once. docs/gpu_model.md has the same figures with the peaks of an H100.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcmargin.draws.plan import SimulationPlan
from mcmargin.draws.random_stream import NORMAL_SINGLE, TILE_PATHS
from mcmargin.engines import cupy_engine, cupy_steps
from mcmargin.engines.model_arrays import model_arrays

INSTRUCTIONS = Path(__file__).parents[1] / "docs" / "gpu_instructions.json"
STEPS = ("normals", "product", "mixing", "evolve")
WORKLOADS = {
    "W1": ("garch", "normal", "gaussian", 20, 10),
    "W2": ("gjr", "t", "t", 100, 10),
    "W3": ("garch", "normal", "gaussian", 500, 2),
    "W4": ("garch", "normal", "gaussian", 1000, 10),
}
"""Volatility, innovations, dependence, assets and bars."""
PATHS = 1_000_000
SINGLE = 4
"""Bytes of a float32."""


@dataclass(frozen=True)
class Work:
    """The work of one step of a block.

    Attributes
    ----------
    elements : int
        Asset-steps; for the mixing, path-steps.
    bytes, flop : float
    cycles : float
        Cycles of a multiprocessor for all instructions; 0 for kernels that are not ours.
    """

    elements: int
    bytes: float
    flop: float
    cycles: float


def work_of(step, *, assets, bars, paths, horizons=1, mixed=False, product_rows=None):
    """Bytes, flop and cycles of a step.

    Parameters
    ----------
    step : str
        One of STEPS.
    assets, bars, paths, horizons : int
        Sizes of the block; `paths` is a whole number of tiles.
    mixed : bool
        Whether the dependence is a t copula.
    product_rows : int, optional
        Assets in one matrix product; as many as in the engine by default.
    """
    counted = json.loads(INSTRUCTIONS.read_text())
    kernels = counted["kernels"]
    cells, path_steps = assets * bars * paths, bars * paths
    if step == "normals":
        return Work(cells, SINGLE * cells, 0, cells * kernels["normals, float32"]["cycles"])
    if step == "mixing":
        return Work(path_steps, SINGLE * path_steps, 0, path_steps * kernels["mixing"]["cycles"])
    if step == "product":
        rows = cupy_steps.PRODUCT_ROWS if product_rows is None else product_rows
        tops = [min(low + rows, assets) for low in range(0, assets, rows)]
        heights = np.diff([0, *tops])
        # The factor itself is small. Each group of rows reads the normals up to its last row.
        read = SINGLE * sum(tops) * path_steps
        flop = 2 * int(np.dot(heights, tops)) * path_steps
        return Work(cells, read + SINGLE * cells, flop, 0)
    kernel = kernels["evolve, scaled, float32"]
    states, results = 2 * assets * paths, 2 * horizons * assets * paths
    read = cells + (path_steps if mixed else 0)
    once = (kernel["once_a_thread"] + horizons * kernel["once_a_horizon"]) * assets * paths
    cycles = cells * kernel["cycles"] + once / counted["issued"]
    return Work(cells, SINGLE * (read + states + results), 0, cycles)


def bound(work, peaks):
    """The least seconds that a step can take, and the bound that sets them.

    Both are None if no peak is known.

    Parameters
    ----------
    work : Work
    peaks : dict
        `peak_bytes_s`, `peak_flop_s` and `multiprocessor_cycles_s`, as `benchmarks.device.peaks`.
    """
    parts = {
        "memory": (work.bytes, peaks["peak_bytes_s"]),
        "float32": (work.flop, peaks["peak_flop_s"]),
        "instructions": (work.cycles, peaks["multiprocessor_cycles_s"]),
    }
    # If a driver does not tell its clocks, the peaks are 0.
    least = {name: amount / peak for name, (amount, peak) in parts.items() if amount and peak}
    if not least:
        return None, "unknown"
    name = max(least, key=least.get)
    return least[name], name


@dataclass(frozen=True, eq=False)
class Block:
    """A block of paths as the engine would take it, on the device.

    Attributes
    ----------
    paths : int
    runs : dict
        For each step, a callable without arguments that launches this step alone.
    """

    paths: int
    runs: dict[str, Callable[[], object]]


def make_block(model, bars, paths):
    """Make the arrays and the steps of one block of a model.

    Parameters
    ----------
    model : MarketModel
        It has no common factors, and its dependence is not historical.
    bars, paths : int
        Sizes of the whole simulation; the engine takes one block of it at a time.
    """
    import cupy

    plan = SimulationPlan(7, paths, (bars,), "single")
    host = model_arrays(model, plan)
    there = cupy_steps.device_model(host)
    count = min(cupy_engine._fitting_tiles(there, bars), len(plan.tiles))
    tiles, steps = range(count), range(bars)
    width, assets = count * TILE_PATHS, len(model.assets)

    def normals():
        return cupy_steps.normals(np.float32, host.key, NORMAL_SINGLE, assets, tiles, steps)

    flat = normals().reshape(assets, bars * width)
    draws = cupy_steps.draw(there, tiles, steps)
    state = cupy.empty((2, assets, width), np.float32)
    results = tuple(cupy.empty((1, assets, width), np.float32) for _ in range(2))
    flags, counts = cupy.zeros((2, width), np.uint8), cupy.zeros((2, assets), np.int32)
    marks = cupy_steps.Marks(flags[0], flags[1], counts, None)
    runs = {
        "normals": normals,
        "product": lambda: cupy_steps.multiply(there, flat, draws.shocks),
        "evolve": lambda: cupy_steps.evolve(there, plan, steps, draws, state, 0, results, marks),
    }
    if model.dependence.kind == "t":
        runs["mixing"] = lambda: cupy_steps.mixing_variables(there, tiles, steps)
    return Block(width, runs)

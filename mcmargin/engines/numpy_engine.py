"""The numpy engine: groups of path tiles go through draws, product, transform and recursion.

In: a model and a plan. Out: simple returns and next variances at each horizon. Each thread takes
one group of tiles after another. A group goes through all steps, and in each step through one block
of assets after another (`numpy_steps`), so that a block's arrays stay in the processor's cache.
BLAS is held to one thread, and every matrix product is of one block and one tile, because BLAS
rounds differently for different shapes. So neither groups nor threads change a bit of the result.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.draws.plan import SimulationPlan
from mcmargin.draws.random_stream import (
    MIXING,
    NAMED,
    TILE_PATHS,
    WordSource,
    normal_purposes,
    stream_key,
)
from mcmargin.engines.execution import Execution
from mcmargin.engines.limited import Limited
from mcmargin.engines.model_arrays import ModelArrays, model_arrays
from mcmargin.engines.numpy_steps import (
    BLOCK_ASSETS,
    GROUP_ELEMENTS,
    AssetBlock,
    Marks,
    advance,
    asset_blocks,
    mixing_variables,
    transform,
)
from mcmargin.models.model import MarketModel
from mcmargin.workers import one_blas_thread

MIXING_STEPS = 16
"""Steps whose mixing variables are made together."""


def simulate_paths(
    model: MarketModel, plan: SimulationPlan, execution: Execution, tiles: range | None = None
) -> tuple[NDArray[Any], NDArray[Any], Limited]:
    """Simulate the paths of a plan.

    Parameters
    ----------
    model : MarketModel
    plan : SimulationPlan
    execution : Execution
        Its `block_tiles` is what a thread takes at a time; as many tiles as fill the cache by
        default.
    tiles : range, optional
        Consecutive tiles, if only their paths are to be simulated.

    Returns
    -------
    returns, next_variance : ndarray of shape (horizons, assets, paths)
    limited : Limited
        Paths on which a price was floored, and on which a variance was capped.
    """
    arrays = model_arrays(model, plan)
    blocks, threads = asset_blocks(arrays), execution.threads
    tiles = plan.tiles if tiles is None else tiles
    fitting = GROUP_ELEMENTS // (TILE_PATHS * min(arrays.assets, BLOCK_ASSETS))
    # A small simulation is cut finer, so that every thread has a share of it.
    size = execution.block_tiles or min(fitting, max(1, len(tiles) // (4 * threads)))
    groups = [range(start, min(start + size, tiles.stop)) for start in tiles[::size]]
    shape = (len(plan.horizons), arrays.assets, plan.paths_in(tiles))
    returns = np.empty(shape, arrays.dtype)
    next_variance = np.empty_like(returns)
    waiting, lock = iter(groups), threading.Lock()
    done, limited = 0, Limited.none(arrays.assets)

    def take() -> range | None:
        with lock:
            return next(waiting, None)

    def work() -> None:
        nonlocal done, limited
        source, room = WordSource(arrays.key), _Room(arrays, size)
        for group in iter(take, None):
            first = (group.start - tiles.start) * TILE_PATHS
            results = returns[:, :, first:], next_variance[:, :, first:]
            counts = _simulate_group(arrays, blocks, plan, source, room, group, results)
            with lock:
                done, limited = done + 1, limited + counts
                if execution.progress is not None:
                    execution.progress(done, len(groups))

    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        workers = [pool.submit(work) for _ in range(min(threads, len(groups)))]
        try:
            for worker in workers:
                worker.result()
        finally:
            # If one thread failed, the others take no further group.
            waiting = iter(())
    return returns, next_variance, limited


class _Room:
    """One thread's arrays, made once: new ones would fault their pages in every time."""

    def __init__(self, model: ModelArrays, tiles: int) -> None:
        rows = min(model.assets, BLOCK_ASSETS)
        self.normals = np.empty((tiles, model.assets, TILE_PATHS), model.dtype)
        self.factors = np.empty((tiles, model.factors, TILE_PATHS), model.dtype)
        self.total = np.empty_like(self.normals)
        self.variance = np.empty_like(self.normals)
        self.shocks = np.empty((tiles, rows, TILE_PATHS), model.dtype)
        self.scratch = np.empty_like(self.shocks)
        self.nodes = np.empty(self.shocks.shape, np.int32)
        self.mixing: NDArray[Any] = np.empty(0)
        self.dates: list[NDArray[np.int64]] = []


def _simulate_group(
    model: ModelArrays,
    blocks: tuple[AssetBlock, ...],
    plan: SimulationPlan,
    source: WordSource,
    room: _Room,
    tiles: range,
    results: tuple[NDArray[Any], NDArray[Any]],
) -> Limited:
    """Simulate consecutive tiles into the first paths of the results."""
    here, marks = slice(0, len(tiles)), Marks()
    total, variance = room.total[here], room.variance[here]
    total[:] = 0.0
    for block in blocks:
        variance[:, block.rows] = block.start
    for step in range(plan.horizons[-1]):
        _draw(model, source, room, tiles, range(step, plan.horizons[-1]))
        for block in blocks:
            size = block.rows.stop - block.rows.start
            shocks, scratch = room.shocks[here, :size], room.scratch[here, :size]
            _shock(model, block, room, shocks, scratch)
            if model.dependence == "t":
                shocks *= room.mixing[:, step % MIXING_STEPS, None]
            if len(block.tables):
                transform(block, shocks, scratch, room.nodes[here, :size])
            own_total, own_variance = total[:, block.rows], variance[:, block.rows]
            advance(block, shocks, own_total, own_variance, scratch, model.floor, marks)
        if step + 1 in plan.horizons:
            at = plan.horizons.index(step + 1)
            for result, state in zip(results, (total, variance), strict=True):
                _keep(plan, tiles, state, result[at])
    return marks.counted(model.assets, plan.paths_in(tiles))


def _draw(model: ModelArrays, source: WordSource, room: _Room, tiles: range, steps: range) -> None:
    """Draw what the first of the steps needs, and mixing variables for some steps ahead."""
    step = steps.start
    if model.dependence == "historical":
        count = model.residuals.shape[1]
        room.dates = [source.dates(tile=tile, step=step, count=count) for tile in tiles]
        return
    fill = source.normals_double if model.dtype is np.float64 else source.normals_single
    arrays = room.normals[: len(tiles)], room.factors[: len(tiles)]
    for out, purpose in zip(arrays, normal_purposes(model.dtype), strict=True):
        for low in range(0, out.shape[1], BLOCK_ASSETS):
            part = out[:, low : low + BLOCK_ASSETS]
            fill(tiles=tiles, step=step, first_slot=low, out=part, purpose=purpose)
    if model.dependence == "t" and step % MIXING_STEPS == 0:
        u = source.uniforms(tiles=tiles, steps=steps[:MIXING_STEPS], purpose=MIXING)
        room.mixing = mixing_variables(model.mixing, model.nu, u).astype(model.dtype)


def _shock(
    model: ModelArrays, block: AssetBlock, room: _Room, shocks: NDArray[Any], scratch: NDArray[Any]
) -> None:
    """Write a block's copula variables before mixing; for historical dependence, its residuals."""
    here = slice(0, len(shocks))
    if model.dependence == "historical":
        for dates, out in zip(room.dates, shocks, strict=True):
            np.take(block.dates, dates, axis=1, out=out, mode="clip")
    elif block.diagonal is None:
        np.matmul(block.factor, room.normals[here, : block.rows.stop], out=shocks)
    else:
        np.matmul(block.factor, room.factors[here], out=shocks)
        np.multiply(room.normals[here, block.rows], block.diagonal, out=scratch)
        shocks += scratch


def _keep(plan: SimulationPlan, tiles: range, state: NDArray[Any], out: NDArray[Any]) -> None:
    """Copy [tiles, assets, paths] into [assets, paths]; the plan ends within its last tile."""
    for number, tile in enumerate(tiles):
        paths, first = plan.paths_in(range(tile, tile + 1)), number * TILE_PATHS
        out[:, first : first + paths] = state[number, :, :paths]


def named_normals(seed: int, lane: int, tiles: range, steps: range) -> NDArray[np.float64]:
    """Draw standard normals of a named thing; float64 [steps, paths of the tiles]."""
    source = WordSource(stream_key(seed))
    out = np.empty((len(steps), len(tiles), 1, TILE_PATHS))
    for row, step in zip(out, steps, strict=True):
        source.normals_double(
            tiles=tiles, step=step, first_slot=0, out=row, purpose=NAMED, lane=lane
        )
    return out.reshape(len(steps), -1)


def named_jumps(
    seed: int, lane: int, tiles: range, steps: range, probability: float
) -> NDArray[np.bool_]:
    """Draw whether a named thing jumps; bool [steps, paths of the tiles]."""
    source = WordSource(stream_key(seed))
    rows = [
        [source.jumps(tile=tile, step=step, lane=lane, probability=probability) for tile in tiles]
        for step in steps
    ]
    return np.array(rows).reshape(len(steps), -1)

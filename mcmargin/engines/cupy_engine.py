"""The cupy engine: blocks of path tiles go through CUDA kernels and cuBLAS, on one GPU or several.

In: a model and a plan. Out: the numpy engine's results within the design's bounds, in arrays that
stay on the device. The tiles are shared out among the devices; each device takes its share in
blocks (`cupy_steps`), which are sized by its free memory, and halved where that runs out.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mcmargin.draws.plan import SimulationPlan
from mcmargin.draws.random_stream import NAMED, TILE_PATHS, jump_bound, stream_key
from mcmargin.engines.cupy_devices import free_bytes, release_memory
from mcmargin.engines.cupy_steps import (
    DeviceModel,
    Marks,
    device_model,
    draw,
    evolve,
    jumps,
    normals,
)
from mcmargin.engines.execution import Execution
from mcmargin.engines.limited import Limited
from mcmargin.engines.model_arrays import ModelArrays, model_arrays
from mcmargin.errors import EngineError
from mcmargin.models.model import MarketModel

Array = Any
"""An array on a device."""

BLOCK_BYTES = 512 * 2**20
"""Largest memory of one block: room for many tiles a launch, and far below a card's memory."""

FREE_SHARE = 0.8
"""Share of the free memory that one block may take."""

LARGEST_OFFSET = 2**31 - 1
"""Largest number of one asset's draws in a block: kernels/evolve.cu counts them in 32 bits."""

LARGEST_STEPS = 65_535
"""Most steps that are drawn together: the steps of normals are a grid's second dimension."""


def simulate_paths(
    model: MarketModel, plan: SimulationPlan, execution: Execution, tiles: range | None = None
) -> tuple[Array, Array, Limited]:
    """Simulate the paths of a plan.

    Parameters
    ----------
    model : MarketModel
    plan : SimulationPlan
    execution : Execution
    tiles : range, optional
        Consecutive tiles, if only their paths are to be simulated.

    Returns
    -------
    returns, next_variance : cupy.ndarray of shape (horizons, assets, paths)
        On the first of the devices, in the current stream's order.
    limited : Limited
        Paths on which a price was floored, and on which a variance was capped.

    Raises
    ------
    EngineError
        If the device's memory does not hold the results and one tile, or TF32 is forced.
    """
    import cupy

    if os.environ.get("NVIDIA_TF32_OVERRIDE", "") not in ("", "0"):
        raise EngineError(
            "NVIDIA_TF32_OVERRIDE would round every product to 10 bits; unset it or set it to 0"
        )
    devices = execution.devices or (cupy.cuda.Device().id,)
    tiles = plan.tiles if tiles is None else tiles
    size = -(-len(tiles) // len(devices))
    shares = [tiles[low : low + size] for low in range(0, len(tiles), size)]
    arrays, progress = model_arrays(model, plan), _Progress(execution, len(tiles))
    with cupy.cuda.Device(devices[0]):
        results = _results(arrays, plan, tiles, devices[0])
        if len(shares) == 1:
            limited = _simulate_share(arrays, plan, execution, tiles, devices[0], progress, results)
        else:
            limited = _spread(arrays, plan, execution, shares, devices, progress, results)
    return *results, limited


def _spread(
    model: ModelArrays,
    plan: SimulationPlan,
    execution: Execution,
    shares: list[range],
    devices: tuple[int, ...],
    progress: _Progress,
    results: tuple[Array, Array],
) -> Limited:
    """Simulate each share on a device of its own, and gather all on the first, the current one."""
    import cupy

    # The threads run in streams of their own: earlier work on this memory must be finished.
    cupy.cuda.get_current_stream().synchronize()

    def work(share: range, device: int) -> tuple[tuple[Array, Array], Limited]:
        with cupy.cuda.Device(device):
            # The first device's paths are the first of all: they go straight to their place.
            own = results if device == devices[0] else _results(model, plan, share, device)
            counts = _simulate_share(model, plan, execution, share, device, progress, own)
            cupy.cuda.get_current_stream().synchronize()
        return own, counts

    with ThreadPoolExecutor(len(shares)) as pool:
        running = [
            pool.submit(work, share, device) for share, device in zip(shares, devices, strict=False)
        ]
        done = [each.result() for each in running]
    del running
    limited = sum((counts for _, counts in done), Limited.none(model.assets))
    parts = [part for part, _ in done[1:]]
    del done
    start = plan.paths_in(shares[0])
    try:
        while parts:
            start = _gather(parts.pop(0), results, start)
    except cupy.cuda.memory.OutOfMemoryError as error:
        raise EngineError(
            f"device {devices[0]}: its memory does not hold {plan.paths} paths of "
            f"{model.assets} assets and a part of another device ({error}); give fewer "
            "paths or horizons, or name a device with more memory first"
        ) from None
    return limited


def _results(
    model: ModelArrays, plan: SimulationPlan, tiles: range, device: int
) -> tuple[Array, Array]:
    """Empty arrays for the returns and next variances of some tiles, on the current device."""
    import cupy

    dtype = plan.dtype
    shape = (len(plan.horizons), model.assets, plan.paths_in(tiles))
    try:
        return cupy.empty(shape, dtype), cupy.empty(shape, dtype)
    except cupy.cuda.memory.OutOfMemoryError as error:
        raise _too_large(model, plan, device, error) from None


def _too_large(
    model: ModelArrays, plan: SimulationPlan, device: int, error: Exception
) -> EngineError:
    return EngineError(
        f"device {device}: {plan.paths} paths of {model.assets} assets over "
        f"{len(plan.horizons)} horizons do not fit its memory ({error}); give fewer paths or "
        "horizons"
    )


def _gather(part: tuple[Array, Array], results: tuple[Array, Array], start: int) -> int:
    """Copy another device's part to its place in the results, and return the path after it.

    One horizon is copied at a time, so that the copies take little memory: a kernel reads the
    memory of its own device alone. The copies are finished when this returns, so that the part's
    memory may be given back.
    """
    import cupy

    stop: int = start + part[0].shape[2]
    for source, target in zip(part, results, strict=True):
        for horizon in range(len(target)):
            target[horizon, :, start:stop] = cupy.asarray(source[horizon])
    cupy.cuda.get_current_stream().synchronize()
    return stop


class _Progress:
    """Counts the tiles that are done, over all devices."""

    def __init__(self, execution: Execution, tiles: int) -> None:
        self.wanted = execution.progress is not None
        self._call, self._tiles, self._done = execution.progress, tiles, 0
        self._lock = threading.Lock()

    def add(self, tiles: int) -> None:
        with self._lock:
            self._done += tiles
            if self._call is not None:
                self._call(self._done, self._tiles)


def _simulate_share(
    model: ModelArrays,
    plan: SimulationPlan,
    execution: Execution,
    tiles: range,
    device: int,
    progress: _Progress,
    results: tuple[Array, Array],
) -> Limited:
    """Simulate consecutive tiles on the current device, into the first paths of the results."""
    import cupy

    out_of_memory = cupy.cuda.memory.OutOfMemoryError
    try:
        on_device = device_model(model)
        flags = cupy.zeros((2, len(tiles) * TILE_PATHS), np.uint8)
        counts = cupy.zeros((2, model.assets), np.int32)
    except out_of_memory as error:
        raise _too_large(model, plan, device, error) from None
    steps = min(plan.horizons[-1], LARGEST_STEPS)
    block = execution.block_tiles or _fitting_tiles(on_device, steps)
    block = min(block, len(tiles), LARGEST_OFFSET // (steps * TILE_PATHS))
    start = tiles.start
    while start < tiles.stop:
        here = range(start, min(start + block, tiles.stop))
        first = (start - tiles.start) * TILE_PATHS
        try:
            counts += _simulate_block(on_device, plan, here, steps, first, results, flags)
        except out_of_memory as error:
            release_memory()
            if block == 1 and steps == 1:
                raise EngineError(
                    f"device {device}: its memory does not hold one tile of "
                    f"{model.assets} assets ({error}); free some of it"
                ) from None
            # Half as many tiles are tried; when there is one tile, half as many steps.
            block, steps = (block // 2, steps) if block > 1 else (1, max(1, steps // 2))
            continue
        start = here.stop
        if progress.wanted:
            cupy.cuda.get_current_stream().synchronize()
        progress.add(len(here))
    # The device counts them: to copy a million flags takes as long as to simulate.
    kept = plan.paths_in(tiles)
    floored, capped = (int(n) for n in cupy.asnumpy(flags[:, :kept].sum(axis=1)))
    return Limited(floored, capped, cupy.asnumpy(counts).astype(np.int64))


def _fitting_tiles(model: DeviceModel, steps: int) -> int:
    """Number of tiles whose arrays fit the free memory."""
    host = model.host
    arrays = 2 * host.assets * steps + host.factors * steps + 2 * host.assets + steps
    tile = arrays * TILE_PATHS * np.dtype(host.dtype).itemsize
    return max(1, int(min(BLOCK_BYTES, FREE_SHARE * free_bytes()) / tile))


def _simulate_block(
    model: DeviceModel,
    plan: SimulationPlan,
    tiles: range,
    steps_together: int,
    first_path: int,
    results: tuple[Array, Array],
    flags: Array,
) -> Array:
    """Simulate consecutive tiles, `steps_together` steps at a time, into the share's results.

    Flags [2, paths of the share] are set where a path is floored or capped. Out: how many paths of
    each asset were floored and capped, [2, assets].
    """
    import cupy

    assets, paths = model.host.assets, len(tiles) * TILE_PATHS
    state = cupy.empty((2, assets, paths), model.host.dtype)
    # Where one launch takes all steps, no path can be counted twice.
    several = steps_together < plan.horizons[-1]
    before = cupy.zeros((assets, paths), np.uint8) if several else None
    counts = cupy.zeros((2, assets), np.int32)
    marks = Marks(flags[0, first_path:], flags[1, first_path:], counts, before)
    for first_step in range(0, plan.horizons[-1], steps_together):
        steps = range(first_step, min(first_step + steps_together, plan.horizons[-1]))
        draws = draw(model, tiles, steps)
        evolve(model, plan, steps, draws, state, first_path, results, marks)
    return counts


def named_normals(seed: int, lane: int, tiles: range, steps: range) -> Array:
    """Draw standard normals of a named thing; float64 [steps, paths of the tiles]."""
    import cupy

    key = stream_key(seed)
    parts = [
        normals(np.float64, key, NAMED, 1, tiles, some, lane)[0]
        for some in (steps[at : at + LARGEST_STEPS] for at in range(0, len(steps), LARGEST_STEPS))
    ]
    return parts[0] if len(parts) == 1 else cupy.concatenate(parts)


def named_jumps(seed: int, lane: int, tiles: range, steps: range, probability: float) -> Array:
    """Draw whether a named thing jumps; bool [steps, paths of the tiles]."""
    return jumps(stream_key(seed), lane, jump_bound(probability), tiles, steps)

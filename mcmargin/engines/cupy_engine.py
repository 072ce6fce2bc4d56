"""The cupy engine: blocks of path tiles through CUDA kernels and cuBLAS, on one GPU or several.

In: a model and a plan. Out: the numpy engine's results within the design's bounds, in arrays that
stay on the device. A block goes through normals, the product with the dependence factor in float32
or float64 proper (never TF32), and one kernel that carries mixing, marginal transforms, recursion
and compounding over all steps. Blocks are sized from free memory and halved where it runs out.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmargin.draws.random_stream import (
    DATES,
    FACTOR_DOUBLE,
    FACTOR_SINGLE,
    JUMPS,
    MIXING,
    NAMED,
    NORMAL_DOUBLE,
    NORMAL_SINGLE,
    TILE_PATHS,
    jump_bound,
    stream_key,
)
from mcmargin.engines.cupy_devices import free_bytes, release_memory
from mcmargin.engines.cupy_kernels import kernel
from mcmargin.engines.execution import Execution
from mcmargin.engines.limited import Limited
from mcmargin.errors import EngineError
from mcmargin.models.marginals import MIXING_EDGE, is_scale, table_edge
from mcmargin.models.model import MarketModel

if TYPE_CHECKING:
    from mcmargin.draws.plan import SimulationPlan

Array = Any
"""An array on a device."""

BLOCK_BYTES = 512 * 2**20
"""Memory of one block at the most: many tiles a launch, and far below a card's memory."""

FREE_SHARE = 0.8
"""Share of the free memory that one block may take."""

PRODUCT_ROWS = 256
"""Assets of one product, which stops at the Cholesky factor's diagonal block."""

LARGEST_OFFSET = 2**31 - 1
"""Draws of one asset in a block: kernels/evolve.cu counts them in 32 bits."""

LARGEST_STEPS = 65_535
"""Steps that are drawn together: the steps of normals are a grid's second dimension."""

THREADS = 256
NULL = np.uintp(0)
EGARCH, TABLED = 1, 2
"""Bits of an asset's kind, as kernels/evolve.cu reads them."""


@dataclass(frozen=True, eq=False)
class _Constants:
    """A model's arrays on one device, in the simulation's precision."""

    dtype: Any
    key: tuple[np.uint64, np.uint64]
    assets: int
    dependence: str
    factor: Array
    common: bool
    mixing: Array
    nu: float
    residuals: Array
    coefficients: Array
    kinds: Array
    tables: Array
    edge: float
    floor: float


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
        Consecutive tiles whose paths alone are simulated; all by default.

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
    share = -(-len(tiles) // len(devices))
    shares = [tiles[low : low + share] for low in range(0, len(tiles), share)]
    report = _Progress(execution, len(tiles))
    with cupy.cuda.Device(devices[0]):
        results = _results(model, plan, tiles, devices[0])
        if len(shares) == 1:
            counts = _simulate_share(model, plan, execution, shares[0], devices[0], report, results)
            return *results, counts
        # The workers run in streams of their own: what was in this memory must be done with it.
        cupy.cuda.get_current_stream().synchronize()

    def work(share: range, device: int) -> tuple[tuple[Array, Array], Limited]:
        with cupy.cuda.Device(device):
            # The first device's paths are the first: they go straight to their place.
            own = results if device == devices[0] else _results(model, plan, share, device)
            counts = _simulate_share(model, plan, execution, share, device, report, own)
            cupy.cuda.get_current_stream().synchronize()
        return own, counts

    with ThreadPoolExecutor(len(shares)) as pool:
        running = [
            pool.submit(work, share, device) for share, device in zip(shares, devices, strict=False)
        ]
        done = [each.result() for each in running]
    del running
    limited = sum((counts for _, counts in done), Limited.none(len(model.assets)))
    parts = [part for part, _ in done[1:]]
    del done
    with cupy.cuda.Device(devices[0]):
        start = plan.paths_in(shares[0])
        try:
            while parts:
                start = _gather(parts.pop(0), results, start)
        except cupy.cuda.memory.OutOfMemoryError as error:
            raise EngineError(
                f"device {devices[0]}: its memory does not hold {plan.paths} paths of "
                f"{len(model.assets)} assets and a part of another device ({error}); give fewer "
                "paths or horizons, or name a device with more memory first"
            ) from None
    return *results, limited


def _results(
    model: MarketModel, plan: SimulationPlan, tiles: range, device: int
) -> tuple[Array, Array]:
    """Room for the returns and next variances of some tiles, on the current device."""
    import cupy

    dtype = plan.dtype
    shape = (len(plan.horizons), len(model.assets), plan.paths_in(tiles))
    try:
        return cupy.empty(shape, dtype), cupy.empty(shape, dtype)
    except cupy.cuda.memory.OutOfMemoryError as error:
        raise _too_large(model, plan, device, error) from None


def _too_large(
    model: MarketModel, plan: SimulationPlan, device: int, error: Exception
) -> EngineError:
    return EngineError(
        f"device {device}: {plan.paths} paths of {len(model.assets)} assets over "
        f"{len(plan.horizons)} horizons do not fit its memory ({error}); give fewer paths or "
        "horizons"
    )


def _gather(part: tuple[Array, Array], results: tuple[Array, Array], start: int) -> int:
    """Copy another device's part to its place in the results; the path after it.

    By horizons, so that what is copied first takes little room: a kernel reads its own device
    alone. Done when it returns, so that the part's memory may be given back.
    """
    import cupy

    stop: int = start + part[0].shape[2]
    for source, target in zip(part, results, strict=True):
        for horizon in range(len(target)):
            target[horizon, :, start:stop] = cupy.asarray(source[horizon])
    cupy.cuda.get_current_stream().synchronize()
    return stop


class _Progress:
    """Tiles done, over all devices."""

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
    model: MarketModel,
    plan: SimulationPlan,
    execution: Execution,
    tiles: range,
    device: int,
    report: _Progress,
    results: tuple[Array, Array],
) -> Limited:
    """Simulate consecutive tiles on the current device, in blocks that its memory holds.

    Into the first paths of the results. Out: paths floored and paths capped.
    """
    import cupy

    out_of_memory = cupy.cuda.memory.OutOfMemoryError
    try:
        constants = _constants(model, plan)
        flags = cupy.zeros((2, len(tiles) * TILE_PATHS), np.uint8)
        counts = cupy.zeros((2, constants.assets), np.int32)
    except out_of_memory as error:
        raise _too_large(model, plan, device, error) from None
    steps = min(plan.horizons[-1], LARGEST_STEPS)
    block = execution.block_tiles or _fitting_tiles(constants, steps)
    block = min(block, len(tiles), LARGEST_OFFSET // (steps * TILE_PATHS))
    start = tiles.start
    while start < tiles.stop:
        here = range(start, min(start + block, tiles.stop))
        first = (start - tiles.start) * TILE_PATHS
        try:
            marked = _simulate_block(constants, plan, here, steps, first, *results, flags)
            counts += marked
        except out_of_memory as error:
            release_memory()
            if block == 1 and steps == 1:
                raise EngineError(
                    f"device {device}: its memory does not hold one tile of "
                    f"{constants.assets} assets ({error}); free some of it"
                ) from None
            # Half as much at a time: of tiles, then of the steps that are drawn together.
            block, steps = (block // 2, steps) if block > 1 else (1, max(1, steps // 2))
            continue
        start = here.stop
        if report.wanted:
            cupy.cuda.get_current_stream().synchronize()
        report.add(len(here))
    # Counted where they lie: to copy and count a million flags takes as long as to simulate.
    kept = plan.paths_in(tiles)
    floored, capped = (int(n) for n in cupy.asnumpy(flags[:, :kept].sum(axis=1)))
    return Limited(floored, capped, cupy.asnumpy(counts).astype(np.int64))


def _fitting_tiles(constants: _Constants, steps: int) -> int:
    """Tiles whose arrays fit the memory that is free, the pool's limit included."""
    factors = constants.factor.shape[1] if constants.common else 0
    arrays = 2 * constants.assets * steps + factors * steps + 2 * constants.assets + steps
    tile = arrays * TILE_PATHS * np.dtype(constants.dtype).itemsize
    return max(1, int(min(BLOCK_BYTES, FREE_SHARE * free_bytes()) / tile))


def _constants(model: MarketModel, plan: SimulationPlan) -> _Constants:
    """Bring a model to the current device."""
    import cupy

    dtype = plan.dtype
    volatility, dependence, count = model.volatility, model.dependence, len(model.assets)
    nu = dependence.nu
    own = 1.0 if np.isinf(nu) else np.sqrt((nu - 2.0) / nu)
    scaled = np.array([is_scale(marginal, nu) for marginal in model.innovations])
    tabled = ~scaled & (dependence.kind != "historical")
    sample, cap = volatility.sample_variance, plan.variance_cap
    columns = [
        *(volatility.omega, volatility.alpha, volatility.gamma, volatility.beta),
        *(model.state.variance, sample / cap, sample * cap),
        np.where(tabled, 1.0, own if dependence.kind != "historical" else 1.0),
        dependence.diagonal if len(dependence.diagonal) else np.zeros(count),
    ]
    tables = model.tables if tabled.any() else np.zeros((1, 1))
    key = stream_key(plan.seed)

    def device(array: Any, kind: Any = dtype) -> Array:
        return cupy.asarray(np.ascontiguousarray(array, kind))

    return _Constants(
        dtype=dtype,
        key=(key[0], key[1]),
        assets=count,
        dependence=dependence.kind,
        factor=device(dependence.factor),
        common=len(dependence.diagonal) > 0,
        mixing=device(dependence.mixing, np.float64),
        nu=nu,
        residuals=device(dependence.residuals.T),
        coefficients=device(np.column_stack(columns)),
        kinds=device(EGARCH * volatility.is_egarch + TABLED * tabled, np.int32),
        tables=device(tables),
        edge=table_edge(nu),
        floor=plan.price_floor - 1.0,
    )


def _simulate_block(
    constants: _Constants,
    plan: SimulationPlan,
    tiles: range,
    steps_together: int,
    first_path: int,
    returns: Array,
    next_variance: Array,
    flags: Array,
) -> Array:
    """Simulate consecutive tiles, `steps_together` steps at a time, into the share's results.

    Out: how many paths of each asset were floored and capped, [2, assets].
    """
    import cupy

    paths = len(tiles) * TILE_PATHS
    state = cupy.empty((2, constants.assets, paths), constants.dtype)
    # Where one launch takes all steps, no path is counted twice.
    several = steps_together < plan.horizons[-1]
    before = cupy.zeros((constants.assets, paths), np.uint8) if several else NULL
    counts = cupy.zeros((2, constants.assets), np.int32)
    for first_step in range(0, plan.horizons[-1], steps_together):
        steps = range(first_step, min(first_step + steps_together, plan.horizons[-1]))
        shocks, own = _shocks(constants, tiles, steps)
        draws = shocks, own, _mixing(constants, tiles, steps), _dates(constants, tiles, steps)
        marks = flags, counts, before
        _evolve(constants, plan, steps, draws, state, first_path, (returns, next_variance), marks)
    return counts


def _evolve(
    constants: _Constants,
    plan: SimulationPlan,
    steps: range,
    draws: tuple[Array, Array, Array, Array],
    state: Array,
    first_path: int,
    results: tuple[Array, Array],
    marks: tuple[Array, Array, Array],
) -> None:
    """Carry a block's state [2, assets, paths] over some steps, into the share's results.

    Marks are the flags of paths [2, paths of the share], the counts of paths by asset [2, assets],
    and what earlier steps of the block marked [assets, paths], or nothing.
    """
    import cupy

    flags, counts, before = marks

    paths, kept = state.shape[2], results[0].shape[2]
    at = [plan.horizons.index(s + 1) if s + 1 in plan.horizons else -1 for s in steps]
    source = 1 if constants.dependence == "historical" else 0
    _launch(
        "evolve.cu",
        f"evolve<{_c_type(constants.dtype)}, {source}>",
        (-(-paths // THREADS), constants.assets),
        THREADS,
        (
            *(*draws, np.int64(constants.residuals.shape[1])),
            *(constants.coefficients, constants.kinds, constants.tables),
            *(constants.dtype(constants.edge), constants.dtype(constants.floor)),
            *(cupy.asarray(np.array(at, np.int32)), np.int32(len(steps)), np.int64(paths)),
            *(np.int32(steps.start == 0), state[0], state[1], *results),
            *(np.int64(constants.assets), np.int64(kept), np.int64(first_path)),
            *(flags[0, first_path:], flags[1, first_path:], counts, before),
        ),
    )


def _shocks(constants: _Constants, tiles: range, steps: range) -> tuple[Array, Array]:
    """Copula variables [assets, steps, paths], and the assets' own parts where factors are common.

    For historical dependence the residuals [assets, dates] that dates are drawn from.
    """
    import cupy

    if constants.dependence == "historical":
        return constants.residuals, NULL
    double = constants.dtype is np.float64
    own_purpose, common_purpose = (
        (NORMAL_DOUBLE, FACTOR_DOUBLE) if double else (NORMAL_SINGLE, FACTOR_SINGLE)
    )
    own = _normals(constants.dtype, constants.key, own_purpose, constants.assets, tiles, steps)
    width = len(steps) * len(tiles) * TILE_PATHS
    shocks = cupy.empty((constants.assets, width), constants.dtype)
    if constants.common:
        factors = constants.factor.shape[1]
        drawn = _normals(constants.dtype, constants.key, common_purpose, factors, tiles, steps)
        _multiply(constants, drawn.reshape(factors, width), shocks)
        return shocks, own
    _multiply(constants, own.reshape(constants.assets, width), shocks)
    return shocks, NULL


def _multiply(constants: _Constants, normals: Array, out: Array) -> None:
    """Set out [assets, draws] to the product of the dependence factor and normals [.., draws].

    Never in TF32, whatever the caller set cuBLAS to.
    """
    import cupy
    from cupy import cublas
    from cupy.cuda import cublas as library

    handle = cupy.cuda.device.get_cublas_handle()
    mode = library.getMathMode(handle)
    library.setMathMode(handle, library.CUBLAS_DEFAULT_MATH)
    try:
        if constants.common:
            cublas.gemm("N", "N", constants.factor, normals, out=out)
            return
        for low in range(0, constants.assets, PRODUCT_ROWS):
            high = min(low + PRODUCT_ROWS, constants.assets)
            rows = cupy.ascontiguousarray(constants.factor[low:high, :high])
            cublas.gemm("N", "N", rows, normals[:high], out=out[low:high])
    finally:
        library.setMathMode(handle, mode)


def _normals(
    dtype: Any,
    key: tuple[np.uint64, np.uint64],
    purpose: int,
    slots: int,
    tiles: range,
    steps: range,
    lane: int = 0,
) -> Array:
    """Standard normals [slots, steps, paths]."""
    import cupy

    out = cupy.empty((slots, len(steps), len(tiles) * TILE_PATHS), dtype)
    _launch(
        "normals.cu",
        f"normals<{_c_type(dtype)}>",
        (len(tiles), len(steps), slots),
        TILE_PATHS // 8,
        (
            *(out, *key, np.int32(purpose), np.uint64(lane), np.int64(tiles.start)),
            *(np.int32(len(tiles)), np.int32(steps.start), np.int32(len(steps))),
        ),
    )
    return out


def named_normals(seed: int, lane: int, tiles: range, steps: range) -> Array:
    """Standard normals of a named thing; float64 [steps, paths of the tiles]."""
    import cupy

    first, second = stream_key(seed)
    parts = [
        _normals(np.float64, (first, second), NAMED, 1, tiles, some, lane)[0]
        for some in (steps[at : at + LARGEST_STEPS] for at in range(0, len(steps), LARGEST_STEPS))
    ]
    return parts[0] if len(parts) == 1 else cupy.concatenate(parts)


def named_jumps(seed: int, lane: int, tiles: range, steps: range, probability: float) -> Array:
    """Whether a named thing jumps; bool [steps, paths of the tiles]."""
    import cupy

    out = cupy.empty((len(steps), len(tiles) * TILE_PATHS), bool)
    place = (np.int32(JUMPS), np.uint64(lane), *_rows(tiles, steps))
    _launch(
        "shared_draws.cu",
        "jumps",
        (len(steps) * len(tiles),),
        TILE_PATHS // 4,
        (out, np.uint64(jump_bound(probability)), *stream_key(seed), *place),
    )
    return out


def _mixing(constants: _Constants, tiles: range, steps: range) -> Array:
    """sqrt(nu / chi-square) [steps, paths], for t dependence."""
    import cupy

    if constants.dependence != "t":
        return NULL
    out = cupy.empty((len(steps), len(tiles) * TILE_PATHS), constants.dtype)
    draw = (np.float64(constants.nu), np.float64(MIXING_EDGE), *constants.key, np.int32(MIXING))
    _launch(
        "shared_draws.cu",
        f"mixing<{_c_type(constants.dtype)}>",
        (len(steps) * len(tiles),),
        TILE_PATHS // 4,
        (out, constants.mixing, *draw, *_rows(tiles, steps)),
    )
    return out


def _dates(constants: _Constants, tiles: range, steps: range) -> Array:
    """Historical dates drawn [steps, paths], for historical dependence."""
    import cupy

    if constants.dependence != "historical":
        return NULL
    out = cupy.empty((len(steps), len(tiles) * TILE_PATHS), np.int32)
    count = np.uint64(constants.residuals.shape[1])
    _launch(
        "shared_draws.cu",
        "dates",
        (len(steps) * len(tiles),),
        TILE_PATHS // 4,
        (out, count, *constants.key, np.int32(DATES), *_rows(tiles, steps)),
    )
    return out


def _rows(tiles: range, steps: range) -> tuple[Any, ...]:
    return np.int64(tiles.start), np.int32(len(tiles)), np.int32(steps.start)


def _c_type(dtype: Any) -> str:
    return "double" if dtype is np.float64 else "float"


def _launch(
    file: str, name: str, grid: tuple[int, ...], threads: int, arguments: tuple[Any, ...]
) -> None:
    kernel(file, name)(grid, (threads,), arguments)

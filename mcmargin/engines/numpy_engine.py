"""The numpy engine: groups of path tiles through words, product, transform and recursion.

In: a model and a plan. Out: simple returns and next variances at each horizon. Threads take
groups of tiles from one queue; BLAS is held to one thread each. Work goes by blocks of
consecutive assets, so that a block's arrays stay cached through all its passes. Every matrix
product is of one block of `BLOCK_ASSETS` and one tile, because BLAS rounds differently for
different shapes; so results are equal to the last bit for any group and number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.draws.random_stream import (
    FACTOR_DOUBLE,
    FACTOR_SINGLE,
    MIXING,
    NAMED,
    NORMAL_DOUBLE,
    NORMAL_SINGLE,
    TILE_PATHS,
    WordSource,
    stream_key,
)
from mcmargin.engines.execution import Execution
from mcmargin.engines.limited import Limited
from mcmargin.models.marginals import (
    MIXING_EDGE,
    TABLE_INTERVALS,
    TAIL_INTERVALS,
    TAIL_SPACING,
    is_scale,
    table_edge,
)
from mcmargin.models.model import MarketModel
from mcmargin.models.volatility import ROOT_TWO_OVER_PI
from mcmargin.workers import one_blas_thread

if TYPE_CHECKING:
    from mcmargin.draws.plan import SimulationPlan

BLOCK_ASSETS = 64
"""Assets of one product and one pass; part of the arithmetic, so that it never varies."""

GROUP_ELEMENTS = 2 * BLOCK_ASSETS * TILE_PATHS
"""Elements of an array of one pass; few assets take several tiles at a time to fill it."""

MIXING_STEPS = 16
"""Steps whose mixing variables are made at a time."""


@dataclass(frozen=True, eq=False)
class AssetBlock:
    """Consecutive assets in the simulation's precision; columns [assets, 1] broadcast over paths.

    Attributes
    ----------
    rows : slice
        Of all assets.
    factor : ndarray of shape (assets, rows.stop) or (assets, factors)
        These rows of the lower Cholesky factor, up to its diagonal, or of the loadings; times
        the marginal scales.
    diagonal : ndarray of shape (assets, 1), optional
        With loadings: standard deviations of the own parts, times the marginal scales.
    tables, slopes : ndarray of shape (assets * 4097,)
        Values and steps of the marginal transforms; empty where all are scales.
    first_node : ndarray of shape (assets, 1), int32
        Where each asset's table begins.
    tails : ndarray of shape (2 * assets, 33)
        ln(g / g at the edge) at the knots beyond each asset's lower, then its upper edge.
    dates : ndarray of shape (assets, dates)
        Residuals that `historical` draws from.
    omega, alpha, gamma, beta, start, lowest, highest : ndarray of shape (assets, 1)
    leverage : bool
        Whether any gamma of the linear recursions is not 0.
    egarch, linear : slice or ndarray of int, optional
        Which assets follow which recursion; None for no asset.
    """

    rows: slice
    factor: NDArray[Any]
    diagonal: NDArray[Any] | None
    tables: NDArray[Any]
    slopes: NDArray[Any]
    first_node: NDArray[np.int32]
    tails: NDArray[Any]
    dates: NDArray[Any]
    omega: NDArray[Any]
    alpha: NDArray[Any]
    gamma: NDArray[Any]
    beta: NDArray[Any]
    start: NDArray[Any]
    lowest: NDArray[Any]
    highest: NDArray[Any]
    leverage: bool
    egarch: Any
    linear: Any


@dataclass(frozen=True, eq=False)
class Kernel:
    """A model and a plan, brought into the simulation's precision and layout."""

    dtype: Any
    assets: int
    factors: int
    blocks: tuple[AssetBlock, ...]
    dependence: str
    nu: float
    mixing: NDArray[np.float64]
    edge: float
    floor: Any


def prepare(model: MarketModel, plan: SimulationPlan) -> Kernel:
    """Cut a model's arrays into blocks of assets."""
    dtype = plan.dtype
    nu, count = model.dependence.nu, len(model.assets)
    starts = range(0, count, BLOCK_ASSETS)
    return Kernel(
        dtype=dtype,
        assets=count,
        factors=model.dependence.factor.shape[1] if len(model.dependence.diagonal) else 0,
        blocks=tuple(
            _block(model, plan, slice(start, min(start + BLOCK_ASSETS, count)), dtype)
            for start in starts
        ),
        dependence=model.dependence.kind,
        nu=nu,
        mixing=model.dependence.mixing,
        edge=table_edge(nu),
        floor=dtype(plan.price_floor - 1.0),
    )


def _block(model: MarketModel, plan: SimulationPlan, rows: slice, dtype: Any) -> AssetBlock:
    volatility, dependence, nu = model.volatility, model.dependence, model.dependence.nu
    marginals = model.innovations[rows]

    def column(values: NDArray[np.float64]) -> NDArray[Any]:
        return np.ascontiguousarray(values[rows, None], dtype)

    # A marginal that is a mere scale of the copula variable needs no table; where the whole
    # block's are, the factor carries the scales.
    tabled = dependence.kind != "historical" and not all(is_scale(z, nu) for z in marginals)
    own = 1.0 if np.isinf(nu) or tabled else np.sqrt((nu - 2.0) / nu)
    tables = model.tables[rows, : TABLE_INTERVALS + 1] if tabled else np.empty((0, 1))
    tails = model.tables[rows, TABLE_INTERVALS + 1 :] if tabled else np.empty((0, 1))
    slopes = np.diff(tables, axis=1, append=tables[:, -1:])
    egarch = volatility.is_egarch[rows]
    common = len(dependence.diagonal) > 0
    factor = dependence.factor[rows] if common else dependence.factor[rows, : rows.stop]
    return AssetBlock(
        rows=rows,
        factor=np.ascontiguousarray(own * factor, dtype),
        diagonal=column(own * dependence.diagonal) if common else None,
        tables=np.ascontiguousarray(tables, dtype).ravel(),
        slopes=np.ascontiguousarray(slopes, dtype).ravel(),
        first_node=np.arange(len(marginals), dtype=np.int32)[:, None] * (TABLE_INTERVALS + 1),
        tails=np.ascontiguousarray(tails, dtype).reshape(-1, TAIL_INTERVALS + 1),
        dates=np.ascontiguousarray(dependence.residuals.T[rows], dtype),
        omega=column(volatility.omega),
        alpha=column(volatility.alpha),
        gamma=column(volatility.gamma),
        beta=column(volatility.beta),
        start=column(model.state.variance),
        lowest=column(volatility.sample_variance / plan.variance_cap),
        highest=column(volatility.sample_variance * plan.variance_cap),
        leverage=bool(volatility.gamma[rows][~egarch].any()),
        egarch=_members(egarch),
        linear=_members(~egarch),
    )


def _members(chosen: NDArray[np.bool_]) -> Any:
    """Index of the chosen assets: a slice, and so a view, where it is all of them."""
    if chosen.all():
        return slice(None)
    return np.flatnonzero(chosen) if chosen.any() else None


def simulate_paths(
    model: MarketModel, plan: SimulationPlan, execution: Execution, tiles: range | None = None
) -> tuple[NDArray[Any], NDArray[Any], Limited]:
    """Simulate the paths of a plan.

    Parameters
    ----------
    model : MarketModel
    plan : SimulationPlan
    execution : Execution
        Its block is what a thread takes at a time: as many tiles as fill the cache by default.
    tiles : range, optional
        Consecutive tiles whose paths alone are simulated; all by default.

    Returns
    -------
    returns, next_variance : ndarray of shape (horizons, assets, paths)
    limited : Limited
        Paths on which a price was floored, and on which a variance was capped.
    """
    kernel, threads, progress = prepare(model, plan), execution.threads, execution.progress
    tiles = plan.tiles if tiles is None else tiles
    fitting = GROUP_ELEMENTS // (TILE_PATHS * min(kernel.assets, BLOCK_ASSETS))
    # Small jobs are cut finer, so that every thread has a share.
    group = execution.block_tiles or min(fitting, max(1, len(tiles) // (4 * threads)))
    starts = tiles[::group]
    shape = (len(plan.horizons), kernel.assets, plan.paths_in(tiles))
    returns = np.empty(shape, kernel.dtype)
    next_variance = np.empty_like(returns)
    queue = iter(starts)
    lock, stopped = threading.Lock(), threading.Event()
    done, limited = 0, Limited.none(kernel.assets)

    def groups() -> Iterator[range]:
        while not stopped.is_set():
            with lock:
                start = next(queue, None)
            if start is None:
                return
            yield range(start, min(start + group, tiles.stop))

    def work() -> None:
        nonlocal done, limited
        source, room = WordSource(stream_key(plan.seed)), _Room(kernel, group)
        for tile_group in groups():
            first = (tile_group.start - tiles.start) * TILE_PATHS
            results = returns[:, :, first:], next_variance[:, :, first:]
            counts = _simulate_group(kernel, plan, source, room, tile_group, *results)
            with lock:
                done, limited = done + 1, limited + counts
                if progress is not None:
                    progress(done, len(starts))

    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        workers = [pool.submit(work) for _ in range(min(threads, len(starts)))]
        try:
            for worker in workers:
                worker.result()
        finally:
            stopped.set()
    return returns, next_variance, limited


class _Room:
    """One thread's arrays, made once: fresh ones would fault their pages in every time."""

    def __init__(self, kernel: Kernel, tiles: int) -> None:
        rows = min(kernel.assets, BLOCK_ASSETS)
        self.normals = np.empty((tiles, kernel.assets, TILE_PATHS), kernel.dtype)
        self.factors = np.empty((tiles, kernel.factors, TILE_PATHS), kernel.dtype)
        self.total = np.empty_like(self.normals)
        self.variance = np.empty_like(self.normals)
        self.shocks = np.empty((tiles, rows, TILE_PATHS), kernel.dtype)
        self.scratch = np.empty_like(self.shocks)
        self.nodes = np.empty(self.shocks.shape, np.int32)


def _simulate_group(
    kernel: Kernel,
    plan: SimulationPlan,
    source: WordSource,
    room: _Room,
    tiles: range,
    returns: NDArray[Any],
    next_variance: NDArray[Any],
) -> Limited:
    """Simulate consecutive tiles into the results from their first path on."""
    here = slice(0, len(tiles))
    normals, total, variance = room.normals[here], room.total[here], room.variance[here]
    total[:] = 0.0
    for block in kernel.blocks:
        variance[:, block.rows] = block.start
    # By asset, and made where one is: few ever are.
    floored: dict[int, NDArray[np.bool_]] = {}
    capped: dict[int, NDArray[np.bool_]] = {}
    mixing = np.empty(0)
    for step in range(plan.horizons[-1]):
        if kernel.dependence == "historical":
            count = kernel.blocks[0].dates.shape[1]
            drawn = [source.dates(tile=tile, step=step, count=count) for tile in tiles]
        else:
            _fill_normals(kernel, source, tiles, step, normals, room.factors[here])
        if kernel.dependence == "t" and step % MIXING_STEPS == 0:
            steps = range(step, min(step + MIXING_STEPS, plan.horizons[-1]))
            mixing = _mixing(kernel, source.uniforms(tiles=tiles, steps=steps, purpose=MIXING))
        for block in kernel.blocks:
            size = block.rows.stop - block.rows.start
            shocks, scratch = room.shocks[here, :size], room.scratch[here, :size]
            if kernel.dependence == "historical":
                for at, dates in enumerate(drawn):
                    np.take(block.dates, dates, axis=1, out=shocks[at], mode="clip")
            elif block.diagonal is None:
                np.matmul(block.factor, normals[:, : block.rows.stop], out=shocks)
            else:
                np.matmul(block.factor, room.factors[here], out=shocks)
                np.multiply(normals[:, block.rows], block.diagonal, out=scratch)
                shocks += scratch
            if kernel.dependence == "t":
                shocks *= mixing[:, step % MIXING_STEPS, None]
            if len(block.tables):
                _transform(kernel, block, shocks, scratch, room.nodes[here, :size])
            _advance(
                block, shocks, total[:, block.rows], variance[:, block.rows], scratch,
                kernel.floor, floored, capped,
            )  # fmt: skip
        if step + 1 in plan.horizons:
            at = plan.horizons.index(step + 1)
            for number, tile in enumerate(tiles):
                keep = plan.paths_in(range(tile, tile + 1))
                here_kept = slice(number * TILE_PATHS, number * TILE_PATHS + keep)
                returns[at, :, here_kept] = total[number, :, :keep]
                next_variance[at, :, here_kept] = variance[number, :, :keep]
    keep = plan.paths_in(tiles)
    by_asset = np.zeros((2, kernel.assets), np.int64)
    paths = []
    for counts, limited in zip(by_asset, (floored, capped), strict=True):
        for asset, hit in limited.items():
            counts[asset] = hit.ravel()[:keep].sum()
        any_asset = np.logical_or.reduce([*limited.values()]) if limited else np.zeros(1, bool)
        paths.append(int(any_asset.ravel()[:keep].sum()))
    return Limited(paths[0], paths[1], by_asset)


def _fill_normals(
    kernel: Kernel,
    source: WordSource,
    tiles: range,
    step: int,
    normals: NDArray[Any],
    factors: NDArray[Any],
) -> None:
    """Fill the assets' own normals, and those of common factors where there are any."""
    double = kernel.dtype is np.float64
    fill = source.normals_double if double else source.normals_single
    own, common = (NORMAL_DOUBLE, FACTOR_DOUBLE) if double else (NORMAL_SINGLE, FACTOR_SINGLE)
    for out, purpose in ((normals, own), (factors, common)):
        for low in range(0, out.shape[1], BLOCK_ASSETS):
            part = out[:, low : low + BLOCK_ASSETS]
            fill(tiles=tiles, step=step, first_slot=low, out=part, purpose=purpose)


def _mixing(kernel: Kernel, u: NDArray[np.float64]) -> NDArray[Any]:
    """Return sqrt(nu / chi-square), shared by all assets; made in float64, once a path."""
    u = np.minimum(u, 1.0 - 2.0**-53)
    position = (np.log(u) - np.log1p(-u) + MIXING_EDGE) * (TABLE_INTERVALS / (2 * MIXING_EDGE))
    node = np.clip(position.astype(np.int64), 0, TABLE_INTERVALS - 1)
    left = kernel.mixing[node]
    log_chi_square = left + (position - node) * (kernel.mixing[node + 1] - left)
    return np.sqrt(kernel.nu * np.exp(-log_chi_square)).astype(kernel.dtype)


def _transform(
    kernel: Kernel,
    block: AssetBlock,
    x: NDArray[Any],
    scratch: NDArray[Any],
    nodes: NDArray[np.int32],
) -> None:
    """Apply g in place: straight lines in x within the table, of logarithms beyond its edges."""
    edge, step = kernel.dtype(kernel.edge), kernel.dtype(2 * kernel.edge / TABLE_INTERVALS)
    reach = max(x.max(), -x.min())
    beyond = np.nonzero(np.abs(x) > edge) if reach > edge else None
    far = None if beyond is None else x[beyond]
    if beyond is not None:
        np.clip(x, -edge, edge, out=x)
    np.add(x, edge, out=scratch)
    scratch *= 1 / step
    np.copyto(nodes, scratch, casting="unsafe")
    # x less its node is exact, where the whole way from the edge would be rounded.
    np.copyto(scratch, nodes, casting="unsafe")
    scratch *= step
    scratch -= edge
    x -= scratch
    x *= 1 / step
    nodes += block.first_node
    np.take(block.slopes, nodes, out=scratch, mode="clip")
    x *= scratch
    np.take(block.tables, nodes, out=scratch, mode="clip")
    x += scratch
    if beyond is not None and far is not None:
        tail = 2 * beyond[1] + (far > 0)
        position = np.log(np.abs(far) / edge) * kernel.dtype(1 / TAIL_SPACING)
        knot = np.minimum(position.astype(np.int32), TAIL_INTERVALS - 1)
        left = block.tails[tail, knot]
        x[beyond] *= np.exp(
            left + (position - knot.astype(kernel.dtype)) * (block.tails[tail, knot + 1] - left)
        )


def _advance(
    block: AssetBlock,
    z: NDArray[Any],
    total: NDArray[Any],
    h: NDArray[Any],
    scratch: NDArray[Any],
    floor: Any,
    floored: dict[int, NDArray[np.bool_]],
    capped: dict[int, NDArray[np.bool_]],
) -> None:
    """Compound one bar's return into `total` and move the variance `h`, in place; z is used up.

    What is floored and capped is marked by asset, [tiles, paths].
    """
    if block.egarch is not None:
        log_h, shock = np.log(h[:, block.egarch]), np.array(z[:, block.egarch])
    np.sqrt(h, out=scratch)
    z *= scratch
    np.multiply(total, z, out=scratch)
    scratch += z
    total += scratch
    if total.min() < floor:
        _mark(floored, total < floor, block)
        np.maximum(total, floor, out=total)
    if block.linear is not None:
        h *= block.beta
        if block.leverage:
            np.minimum(z, 0, out=scratch)
            scratch *= scratch
            scratch *= block.gamma
            h += scratch
        z *= z
        z *= block.alpha
        h += z
        h += block.omega
    if block.egarch is not None:
        alpha, gamma, beta, omega, lowest = (
            c[block.egarch]
            for c in (block.alpha, block.gamma, block.beta, block.omega, block.lowest)
        )
        log_h *= beta
        log_h += alpha * (np.abs(shock) - z.dtype.type(ROOT_TWO_OVER_PI)) + gamma * shock + omega
        h[:, block.egarch] = np.maximum(np.exp(log_h), lowest)
    if (h.max(axis=-1, keepdims=True) > block.highest).any():
        _mark(capped, h > block.highest, block)
        np.minimum(h, block.highest, out=h)


def _mark(limited: dict[int, NDArray[np.bool_]], hit: NDArray[np.bool_], block: AssetBlock) -> None:
    """Mark paths of a block's assets, [tiles, assets, paths]."""
    for row in np.flatnonzero(hit.any(axis=(0, 2))).tolist():
        asset = block.rows.start + row
        marked = limited.get(asset)
        limited[asset] = hit[:, row].copy() if marked is None else marked | hit[:, row]


def named_normals(seed: int, lane: int, tiles: range, steps: range) -> NDArray[np.float64]:
    """Standard normals of a named thing; float64 [steps, paths of the tiles]."""
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
    """Whether a named thing jumps; bool [steps, paths of the tiles]."""
    source = WordSource(stream_key(seed))
    rows = [
        [source.jumps(tile=tile, step=step, lane=lane, probability=probability) for tile in tiles]
        for step in steps
    ]
    return np.array(rows).reshape(len(steps), -1)

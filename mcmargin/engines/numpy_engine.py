"""The numpy engine: tiles of paths through words, product, transform and recursion.

In: a model's arrays, a plan, and one work item (consecutive tiles). Out: the work item's simple
returns and next variances at each horizon, written into the caller's arrays. Every matrix product
runs on one tile, because BLAS rounds differently for different shapes; so results are equal to
the last bit for any block size and number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.dependence import MIXING_EDGE, TABLE_INTERVALS, is_scale, table_edge
from mcmargin.model import ROOT_TWO_OVER_PI, MarketModel
from mcmargin.random_stream import MIXING, TILE_PATHS, WordSource

CHUNK_ELEMENTS = 65_536
"""Elements of one array that the recursion works on at a time, so that its arrays stay cached."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """A model's arrays in the simulation's precision; columns [assets, 1] broadcast over paths."""

    dtype: Any
    egarch: NDArray[np.bool_]
    omega: NDArray[Any]
    alpha: NDArray[Any]
    gamma: NDArray[Any]
    beta: NDArray[Any]
    start: NDArray[Any]
    lowest: NDArray[Any]
    highest: NDArray[Any]
    floor: Any
    kind: str
    factor: NDArray[Any]
    nu: float
    mixing: NDArray[np.float64]
    dates: NDArray[Any]
    scale: NDArray[np.float64]
    tables: NDArray[Any]
    edge: float


def prepare(model: MarketModel, *, double: bool, variance_cap: float, price_floor: float) -> Kernel:
    """Bring a model into the simulation's precision and layout."""
    dtype = np.float64 if double else np.float32
    volatility, dependence = model.volatility, model.dependence

    def column(values: NDArray[np.float64]) -> NDArray[Any]:
        return np.ascontiguousarray(values[:, None], dtype)

    # A marginal that is a mere scale of the copula variable skips its table.
    nu = dependence.nu
    own = 1.0 if np.isinf(nu) else np.sqrt((nu - 2.0) / nu)
    scale = np.array([own if is_scale(z, nu) else np.nan for z in model.innovations])
    return Kernel(
        dtype=dtype,
        egarch=volatility.is_egarch,
        omega=column(volatility.omega),
        alpha=column(volatility.alpha),
        gamma=column(volatility.gamma),
        beta=column(volatility.beta),
        start=column(model.state.variance),
        lowest=column(volatility.sample_variance / variance_cap),
        highest=column(volatility.sample_variance * variance_cap),
        floor=dtype(price_floor - 1.0),
        kind=dependence.kind,
        factor=np.ascontiguousarray(dependence.factor, dtype),
        nu=nu,
        mixing=dependence.mixing,
        dates=np.ascontiguousarray(dependence.residuals.T, dtype),
        scale=scale,
        tables=np.ascontiguousarray(model.tables, dtype),
        edge=table_edge(nu),
    )


def simulate_tiles(
    kernel: Kernel,
    key: NDArray[np.uint64],
    first_tile: int,
    tiles: int,
    horizons: tuple[int, ...],
    returns: NDArray[Any],
    next_variance: NDArray[Any],
) -> tuple[int, int]:
    """Simulate consecutive tiles into the caller's arrays.

    Parameters
    ----------
    kernel : Kernel
    key : ndarray of shape (2,), uint64
    first_tile, tiles : int
    horizons : tuple of int
        Increasing.
    returns, next_variance : ndarray of shape (horizons, assets, paths)
        Of the whole simulation; only these tiles' paths are written.

    Returns
    -------
    tuple of int
        Paths on which a price was floored, and on which a variance was capped.
    """
    source = WordSource(key)
    assets = len(kernel.omega)
    paths = returns.shape[-1]
    rows = max(1, CHUNK_ELEMENTS // TILE_PATHS)
    z = np.empty((assets, TILE_PATHS), kernel.dtype)
    x = np.empty_like(z)
    total, h = np.empty_like(z), np.empty_like(z)
    work = np.empty((2, min(rows, assets), TILE_PATHS), kernel.dtype)
    floored_paths = capped_paths = 0
    for tile in range(first_tile, first_tile + tiles):
        keep = min(TILE_PATHS, paths - tile * TILE_PATHS)
        here = slice(tile * TILE_PATHS, tile * TILE_PATHS + keep)
        total[:] = 0.0
        h[:] = kernel.start
        floored = np.zeros(TILE_PATHS, bool)
        capped = np.zeros(TILE_PATHS, bool)
        for step in range(horizons[-1]):
            shocks = _innovations(kernel, source, tile, step, z, x)
            for low in range(0, assets, rows):
                part = slice(low, min(low + rows, assets))
                _advance(kernel, part, shocks[part], total[part], h[part], work, floored, capped)
            if step + 1 in horizons:
                at = horizons.index(step + 1)
                returns[at, :, here] = total[:, :keep]
                next_variance[at, :, here] = h[:, :keep]
        floored_paths += int(floored[:keep].sum())
        capped_paths += int(capped[:keep].sum())
    return floored_paths, capped_paths


def _innovations(
    kernel: Kernel,
    source: WordSource,
    tile: int,
    step: int,
    z: NDArray[Any],
    x: NDArray[Any],
) -> NDArray[Any]:
    """Standardised innovations of one tile and step, [assets, TILE_PATHS]."""
    if kernel.kind == "historical":
        drawn = source.dates(tile=tile, step=step, count=kernel.dates.shape[1])
        np.take(kernel.dates, drawn, axis=1, out=x, mode="clip")
        return x
    fill = source.normals_double if kernel.dtype is np.float64 else source.normals_single
    fill(tile=tile, step=step, first_slot=0, out=z)
    np.matmul(kernel.factor, z, out=x)
    if kernel.kind == "t":
        x *= _mixing(kernel, source.uniforms(tile=tile, step=step, purpose=MIXING))
    for asset, scale in enumerate(kernel.scale):
        if np.isnan(scale):
            _transform(x[asset], kernel.tables[asset], kernel.edge)
        elif scale != 1.0:
            x[asset] *= kernel.dtype(scale)
    return x


def _mixing(kernel: Kernel, u: NDArray[np.float64]) -> NDArray[Any]:
    """Return sqrt(nu / chi-square), shared by all assets; in float64, once a path."""
    u = np.minimum(u, 1.0 - 2.0**-53)
    position = (np.log(u) - np.log1p(-u) + MIXING_EDGE) * (TABLE_INTERVALS / (2 * MIXING_EDGE))
    node = np.clip(position.astype(np.int64), 0, TABLE_INTERVALS - 1)
    left = kernel.mixing[node]
    log_chi_square = left + (position - node) * (kernel.mixing[node + 1] - left)
    return np.sqrt(kernel.nu * np.exp(-log_chi_square)).astype(kernel.dtype)


def _transform(x: NDArray[Any], table: NDArray[Any], edge: float) -> None:
    """Apply g in place: straight lines within the table, powers of |x| beyond its edges."""
    number = x.dtype.type
    position = np.clip(x, number(-edge), number(edge))
    position += number(edge)
    position *= number(TABLE_INTERVALS / (2 * edge))
    node = np.minimum(position.astype(np.int32), TABLE_INTERVALS - 1)
    position -= node.astype(x.dtype)
    left = table.take(node)
    node += 1
    g = table.take(node)
    g -= left
    g *= position
    g += left
    beyond = np.flatnonzero(np.abs(x) > number(edge))
    if len(beyond):
        far = x[beyond]
        power = np.where(far < 0, table[-2], table[-1])
        g[beyond] *= (np.abs(far) / number(edge)) ** power
    x[:] = g


def _advance(
    kernel: Kernel,
    part: slice,
    z: NDArray[Any],
    total: NDArray[Any],
    h: NDArray[Any],
    work: NDArray[Any],
    floored: NDArray[np.bool_],
    capped: NDArray[np.bool_],
) -> None:
    """Compound one bar's return into `total` and move the variance `h`, in place."""
    eps, scratch = work[0, : len(h)], work[1, : len(h)]
    np.sqrt(h, out=eps)
    eps *= z
    np.multiply(total, eps, out=scratch)
    total += eps
    total += scratch
    if total.min() < kernel.floor:
        floored |= (total < kernel.floor).any(axis=0)
        np.maximum(total, kernel.floor, out=total)
    egarch = kernel.egarch[part]
    if egarch.any():
        log_h = np.log(h[egarch])
        shock = z[egarch]
    if not egarch.all():
        h *= kernel.beta[part]
        if kernel.gamma[part].any():
            np.minimum(eps, 0, out=scratch)
            scratch *= scratch
            scratch *= kernel.gamma[part]
            h += scratch
        eps *= eps
        eps *= kernel.alpha[part]
        h += eps
        h += kernel.omega[part]
    if egarch.any():
        a, g, b, w = (
            c[part][egarch] for c in (kernel.alpha, kernel.gamma, kernel.beta, kernel.omega)
        )
        log_h *= b
        log_h += a * (np.abs(shock) - kernel.dtype(ROOT_TWO_OVER_PI)) + g * shock + w
        h[egarch] = np.maximum(np.exp(log_h), kernel.lowest[part][egarch])
    if (h.max(axis=1) > kernel.highest[part][:, 0]).any():
        capped |= (h > kernel.highest[part]).any(axis=0)
        np.minimum(h, kernel.highest[part], out=h)

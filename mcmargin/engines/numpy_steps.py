"""The arithmetic of the numpy engine: one step of one block of assets on a group of path tiles.

In: a block of consecutive assets, and their variances, draws and returns so far. Out: all of these
moved on by one bar, in place. Every operation is elementwise, so that neither the block nor the
group changes a bit of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.draws.random_stream import TILE_PATHS
from mcmargin.engines.limited import Limited
from mcmargin.engines.model_arrays import ModelArrays
from mcmargin.models.marginals import MIXING_EDGE, TABLE_INTERVALS, TAIL_INTERVALS, TAIL_SPACING
from mcmargin.models.volatility import ROOT_TWO_OVER_PI

BLOCK_ASSETS = 64
"""Assets of one block. It shapes the matrix products, and so it is part of the arithmetic and must
never change."""

GROUP_ELEMENTS = 2 * BLOCK_ASSETS * TILE_PATHS
"""Elements of a block's array for one group of tiles: few assets take several tiles together."""


@dataclass(frozen=True, eq=False)
class AssetBlock:
    """Consecutive assets in the simulation's precision; columns [assets, 1] broadcast over paths.

    Attributes
    ----------
    rows : slice
        Which of all assets these are.
    dtype : type
        float32 or float64.
    factor : ndarray of shape (assets, rows.stop) or (assets, factors)
        These rows of the lower Cholesky factor, up to its diagonal, or of the loadings; times
        the scale of the copula variables where no asset of the block is tabled.
    diagonal : ndarray of shape (assets, 1), optional
        With loadings: standard deviations of the own parts, scaled in the same way.
    edge : float
        Half-width of the marginal tables.
    tables, slopes : ndarray of shape (assets * 4097,)
        Values of the marginal transforms at the nodes, and the step to the next node. Both are
        empty if no asset of the block is tabled.
    first_node : ndarray of shape (assets, 1), int32
        Where each asset's table begins.
    tails : ndarray of shape (2 * assets, 33)
        ln(g / g at the edge) at the knots beyond each asset's lower edge, then its upper edge.
    dates : ndarray of shape (assets, dates)
        Residuals that `historical` draws from.
    omega, alpha, gamma, beta, start, lowest, highest : ndarray of shape (assets, 1)
        See `ModelArrays.recursion`.
    leverage : bool
        Whether some gamma of the linear recursions is not 0.
    egarch, linear : slice or ndarray of int, optional
        Which assets follow which recursion; None for no asset.
    """

    rows: slice
    dtype: Any
    factor: NDArray[Any]
    diagonal: NDArray[Any] | None
    edge: float
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


def asset_blocks(model: ModelArrays) -> tuple[AssetBlock, ...]:
    """Cut a model's arrays into blocks of `BLOCK_ASSETS` assets."""
    starts = range(0, model.assets, BLOCK_ASSETS)
    return tuple(
        _block(model, slice(start, min(start + BLOCK_ASSETS, model.assets))) for start in starts
    )


def _block(model: ModelArrays, rows: slice) -> AssetBlock:
    dtype, egarch = model.dtype, model.egarch[rows]
    # If no asset of the block needs its table, the factor carries the scale.
    tabled = bool(model.tabled[rows].any())
    scale = 1.0 if tabled else model.scale
    tables = model.tables[rows, : TABLE_INTERVALS + 1] if tabled else np.empty((0, 1))
    tails = model.tables[rows, TABLE_INTERVALS + 1 :] if tabled else np.empty((0, 1))
    slopes = np.diff(tables, axis=1, append=tables[:, -1:])
    factor = model.factor[rows] if model.factors else model.factor[rows, : rows.stop]

    def column(values: NDArray[np.float64]) -> NDArray[Any]:
        return np.ascontiguousarray(values[rows, None], dtype)

    columns: dict[str, Any] = {name: column(each) for name, each in model.recursion.items()}
    return AssetBlock(
        rows=rows,
        dtype=dtype,
        factor=np.ascontiguousarray(scale * factor, dtype),
        diagonal=None if model.diagonal is None else column(scale * model.diagonal),
        edge=model.edge,
        tables=np.ascontiguousarray(tables, dtype).ravel(),
        slopes=np.ascontiguousarray(slopes, dtype).ravel(),
        first_node=np.arange(len(egarch), dtype=np.int32)[:, None] * (TABLE_INTERVALS + 1),
        tails=np.ascontiguousarray(tails, dtype).reshape(-1, TAIL_INTERVALS + 1),
        dates=np.ascontiguousarray(model.residuals[rows], dtype),
        **columns,
        leverage=bool(model.recursion["gamma"][rows][~egarch].any()),
        egarch=_members(egarch),
        linear=_members(~egarch),
    )


def _members(chosen: NDArray[np.bool_]) -> Any:
    """Index of the chosen assets; if all are chosen, a slice, which makes a view of an array."""
    if chosen.all():
        return slice(None)
    return np.flatnonzero(chosen) if chosen.any() else None


def mixing_variables(
    table: NDArray[np.float64], nu: float, uniforms: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return sqrt(nu / chi-square) of uniforms, through the table of ln chi-square on logits.

    All assets of a path share a mixing variable, so that float64 costs little here.
    """
    u = np.minimum(uniforms, 1.0 - 2.0**-53)
    position = (np.log(u) - np.log1p(-u) + MIXING_EDGE) * (TABLE_INTERVALS / (2 * MIXING_EDGE))
    node = np.clip(position.astype(np.int64), 0, TABLE_INTERVALS - 1)
    left = table[node]
    log_chi_square = left + (position - node) * (table[node + 1] - left)
    return np.asarray(np.sqrt(nu * np.exp(-log_chi_square)))


def transform(
    block: AssetBlock, x: NDArray[Any], scratch: NDArray[Any], nodes: NDArray[np.int32]
) -> None:
    """Turn copula variables into standardised residuals g(x), in place.

    Within the table g is a straight line in x between two nodes. Beyond the table's edges, ln g is
    a straight line in ln x between two knots.

    Parameters
    ----------
    block : AssetBlock
        A block with tables.
    x, scratch : ndarray of shape (tiles, assets, paths)
    nodes : ndarray of shape (tiles, assets, paths), int32
        `scratch` and `nodes` are overwritten.
    """
    edge, step = block.dtype(block.edge), block.dtype(2 * block.edge / TABLE_INTERVALS)
    reach = max(x.max(), -x.min())
    beyond = np.nonzero(np.abs(x) > edge) if reach > edge else None
    far = None if beyond is None else x[beyond]
    if beyond is not None:
        np.clip(x, -edge, edge, out=x)
    np.add(x, edge, out=scratch)
    scratch *= 1 / step
    np.copyto(nodes, scratch, casting="unsafe")
    # x less its node is exact; the distance from the edge to x would be rounded.
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
        position = np.log(np.abs(far) / edge) * block.dtype(1 / TAIL_SPACING)
        knot = np.minimum(position.astype(np.int32), TAIL_INTERVALS - 1)
        left = block.tails[tail, knot]
        x[beyond] *= np.exp(
            left + (position - knot.astype(block.dtype)) * (block.tails[tail, knot + 1] - left)
        )


def advance(
    block: AssetBlock,
    z: NDArray[Any],
    total: NDArray[Any],
    h: NDArray[Any],
    scratch: NDArray[Any],
    floor: float,
    marks: Marks,
) -> None:
    """Move a block of assets on by one bar, in place.

    Parameters
    ----------
    block : AssetBlock
    z : ndarray of shape (tiles, assets, paths)
        Standardised residuals of the bar; overwritten, as `scratch` is.
    total : ndarray of shape (tiles, assets, paths)
        Simple returns so far; after the call, with the bar's return compounded.
    h : ndarray of shape (tiles, assets, paths)
        Variances of the bar; after the call, those of the next bar.
    scratch : ndarray of shape (tiles, assets, paths)
    floor : float
        Lowest simple return; what falls below it is set to it and marked.
    marks : Marks
    """
    log_next = None if block.egarch is None else _egarch(block, z, h)
    np.sqrt(h, out=scratch)
    z *= scratch
    np.multiply(total, z, out=scratch)
    scratch += z
    total += scratch
    lowest = block.dtype(floor)
    if total.min() < lowest:
        marks.add("floored", total < lowest, block)
        np.maximum(total, lowest, out=total)
    if block.linear is not None:
        _linear(block, z, h, scratch)
    if log_next is not None:
        h[:, block.egarch] = np.maximum(np.exp(log_next), block.lowest[block.egarch])
    if (h.max(axis=-1, keepdims=True) > block.highest).any():
        marks.add("capped", h > block.highest, block)
        np.minimum(h, block.highest, out=h)


def _linear(block: AssetBlock, e: NDArray[Any], h: NDArray[Any], scratch: NDArray[Any]) -> None:
    """Set h to omega + (alpha + gamma 1{e < 0}) e**2 + beta h; the returns e are overwritten."""
    h *= block.beta
    if block.leverage:
        np.minimum(e, 0, out=scratch)
        scratch *= scratch
        scratch *= block.gamma
        h += scratch
    e *= e
    e *= block.alpha
    h += e
    h += block.omega


def _egarch(block: AssetBlock, z: NDArray[Any], h: NDArray[Any]) -> NDArray[Any]:
    """Return omega + alpha (|z| - sqrt(2/pi)) + gamma z + beta ln h of the EGARCH assets."""
    alpha, gamma, beta, omega = (
        each[block.egarch] for each in (block.alpha, block.gamma, block.beta, block.omega)
    )
    shock = z[:, block.egarch]
    log_h: NDArray[Any] = np.log(h[:, block.egarch])
    log_h *= beta
    log_h += alpha * (np.abs(shock) - block.dtype(ROOT_TWO_OVER_PI)) + gamma * shock + omega
    return log_h


class Marks:
    """Marks of the paths of a group of tiles on which an asset was held within its limits."""

    def __init__(self) -> None:
        # By asset, since few assets ever reach a limit.
        self._hit: dict[str, dict[int, NDArray[np.bool_]]] = {"floored": {}, "capped": {}}

    def add(self, limit: str, hit: NDArray[np.bool_], block: AssetBlock) -> None:
        """Mark what was `floored` or `capped` of a block's assets, [tiles, assets, paths]."""
        marked = self._hit[limit]
        for row in np.flatnonzero(hit.any(axis=(0, 2))).tolist():
            asset = block.rows.start + row
            earlier = marked.get(asset)
            marked[asset] = hit[:, row].copy() if earlier is None else earlier | hit[:, row]

    def counted(self, assets: int, paths: int) -> Limited:
        """Count the marks on the first paths of the group."""
        by_asset = np.zeros((2, assets), np.int64)
        in_all = []
        for counts, marked in zip(by_asset, self._hit.values(), strict=True):
            for asset, hit in marked.items():
                counts[asset] = hit.ravel()[:paths].sum()
            of_any = np.logical_or.reduce([*marked.values()]) if marked else np.zeros(1, bool)
            in_all.append(int(of_any.ravel()[:paths].sum()))
        return Limited(in_all[0], in_all[1], by_asset)

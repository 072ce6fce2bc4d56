"""Figures of margin units: profit and loss, its tail, and each position's share of it.

In: units, and how to value their instruments. Out: columns of figures, one entry a unit, in the
unit's currency. Units are taken in blocks, whose profit and loss is one sparse product; no figure
depends on the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import Progress, parallel
from mcmargin.engines.arrays import array_module, device_matrix, to_host
from mcmargin.market import Market
from mcmargin.orders import worst_fills
from mcmargin.scenario_market import PathBlock
from mcmargin.tail import Tails, estimate_tails, shortfalls
from mcmargin.units import Units
from mcmargin.valuation import Valuation

BLOCK_BYTES = 16 * 2**20
"""Profit and loss of one block of units, where instruments need no second valuation."""

T = TypeVar("T")

GATHERED = 4096
"""Positions whose tail losses are gathered at a time."""


@dataclass(frozen=True, eq=False)
class UnitFigures:
    """Columns of figures; float64 [units], in each unit's currency.

    Attributes
    ----------
    expected_shortfall, expected_shortfall_error, value_at_risk, value_at_risk_error : ndarray
    expected_shortfall_interval, value_at_risk_interval : ndarray of shape (units, 2)
    open_orders : ndarray
        What the worst fills add to the expected shortfall; 0 or more.
    positions_alone : ndarray
        Expected shortfall of the positions without the collateral that moves with them.
    contributions : ndarray of shape (positions,)
        Shares of the expected shortfall, in the order of the units' sparse matrix.
    """

    expected_shortfall: NDArray[np.float64]
    expected_shortfall_error: NDArray[np.float64]
    expected_shortfall_interval: NDArray[np.float64]
    value_at_risk: NDArray[np.float64]
    value_at_risk_error: NDArray[np.float64]
    value_at_risk_interval: NDArray[np.float64]
    open_orders: NDArray[np.float64]
    positions_alone: NDArray[np.float64]
    contributions: NDArray[np.float64]


def unit_figures(
    units: Units,
    valuation: Valuation,
    level: float,
    *,
    confidence: float = 0.95,
    shares: bool = True,
    progress: Progress | None = None,
) -> UnitFigures:
    """Figures of all units.

    Parameters
    ----------
    units : Units
    valuation : Valuation
    level, confidence : float
    shares : bool
        Whether contributions, and positions alone, are wanted; else the first are zeros, and the
        second as with collateral.
    progress : callable, optional
        Called with units done and in all.

    Returns
    -------
    UnitFigures
    """

    def work(rows: range) -> UnitFigures:
        return _block_figures(units, rows, valuation, level, confidence, shares)

    done, parts = 0, []
    for rows, part in _by_blocks(work, units.quantities.shape[0], valuation):
        done += len(rows)
        parts.append(part)
        if progress is not None:
            progress(done, units.quantities.shape[0])
    columns = {
        each.name: np.concatenate([getattr(part, each.name) for part in parts])
        for each in fields(UnitFigures)
    }
    return UnitFigures(**columns)


def unit_shortfalls(units: Units, valuation: Valuation, level: float) -> NDArray[np.float64]:
    """Expected shortfall of all units, open orders left out; float64 [units]."""

    def work(rows: range) -> NDArray[np.float64]:
        here = slice(rows.start, rows.stop)
        gains = gains_of(units.quantities[here], units.currencies[here], valuation)
        return estimate_tails(-gains, level=level).expected_shortfall

    parts = [part for _, part in _by_blocks(work, units.quantities.shape[0], valuation)]
    return np.concatenate(parts)


def _by_blocks(
    work: Callable[[range], T], count: int, valuation: Valuation
) -> Iterator[tuple[range, T]]:
    """Work on blocks of units whose profit and loss fits, in their order."""
    row_bytes = 8 * valuation.scenarios.plan.paths
    # Where instruments are valued anew for every block of units, the fewer blocks the better.
    most = BLOCK_BYTES if valuation.fits else valuation.memory_limit
    size = max(1, most // row_bytes)
    starts = range(0, count, size)
    device = array_module(valuation.scenarios.returns) is not np
    if valuation.fits:
        list(valuation.blocks())
        list(valuation.collateral.blocks())

    threads = 1 if device or not valuation.fits else min(valuation.threads, len(starts))
    blocks = [range(start, min(start + size, count)) for start in starts]
    yield from zip(blocks, parallel(work, blocks, threads), strict=True)


def _block_figures(
    units: Units,
    rows: range,
    valuation: Valuation,
    level: float,
    confidence: float,
    shares: bool,
) -> UnitFigures:
    here = slice(rows.start, rows.stop)
    quantities = units.quantities[here]
    codes = units.currencies[here]
    gains = gains_of(quantities, codes, valuation)
    tails = estimate_tails(-gains, level=level, confidence=confidence)
    shared = _contributions(quantities, codes, tails, valuation) if shares else None
    alone = tails.expected_shortfall.copy()
    if shares and valuation.collateral.instruments:
        _leave_collateral_out(alone, quantities, codes, gains, valuation, level)
    return UnitFigures(
        expected_shortfall=tails.expected_shortfall,
        expected_shortfall_error=tails.expected_shortfall_error,
        expected_shortfall_interval=tails.expected_shortfall_interval,
        value_at_risk=tails.value_at_risk,
        value_at_risk_error=tails.value_at_risk_error,
        value_at_risk_interval=tails.value_at_risk_interval,
        open_orders=_open_orders(units, rows, gains, tails, valuation, level),
        positions_alone=alone,
        contributions=np.zeros(quantities.nnz) if shared is None else shared,
    )


def _leave_collateral_out(
    alone: NDArray[np.float64],
    quantities: Any,
    codes: tuple[str, ...],
    gains: Any,
    valuation: Valuation,
    level: float,
) -> None:
    """Put the positions' own expected shortfall where a unit has collateral."""
    posted = quantities[:, -len(valuation.collateral.instruments) :]
    rows = np.flatnonzero(np.diff(posted.indptr))
    if len(rows):
        own = tuple(codes[row] for row in rows)
        moved = gains_of(posted[rows], own, valuation.collateral)
        alone[rows] = shortfalls(moved - gains[array_module(gains).asarray(rows)], level=level)


def gains_of(quantities: Any, codes: tuple[str, ...], valuation: Valuation) -> Any:
    """Gains of some units on all paths, each in its currency; float64 [units, paths].

    Parameters
    ----------
    quantities : scipy.sparse.csr_array of shape (units, instruments)
    codes : tuple of str
        Currencies, one a unit.
    valuation : Valuation
    """
    paths = valuation.scenarios.plan.paths
    gains: Any = None
    for block, changes in valuation.blocks():
        part = _gains(quantities, changes, codes, block, valuation)
        if part.shape[1] == paths:
            return part
        if gains is None:
            gains = block.xp.empty((quantities.shape[0], paths))
        gains[:, block.paths] = part
    return gains


def _gains(
    quantities: Any, changes: Any, codes: tuple[str, ...], block: PathBlock, valuation: Valuation
) -> Any:
    """Gains of some units on a block of paths, each in its currency; float64 [units, paths]."""
    matrix = quantities if block.xp is np else device_matrix(quantities)
    gains = block.xp.ascontiguousarray(matrix @ changes)
    for code in dict.fromkeys(codes):
        if code == valuation.market.currency:
            continue
        rows = [row for row, own in enumerate(codes) if own == code]
        start = block.xp.asarray(quantities[rows] @ valuation.units.value)[:, None]
        gains[rows] = _converted(gains[rows], start, code, block, valuation)
    return gains


def _converted(gains: Any, start: Any, code: str, block: PathBlock, valuation: Valuation) -> Any:
    """Gains in a currency, of what is worth `start` today in the market's."""
    rate = valuation.market.price(code)
    if _counts_at_spot(code, valuation):
        return gains / rate
    moved = block.at(max(valuation.horizons.values())).currency(code)
    return (start + gains) / moved - start / rate


def _counts_at_spot(code: str, valuation: Valuation) -> bool:
    """Whether a currency is a coin: a tail is never taken in a simulated one."""
    market: Market = valuation.market
    return code in valuation.scenarios.assets and code not in (*market.fx, *market.fx_asset)


def _open_orders(
    units: Units,
    rows: range,
    gains: Any,
    tails: Tails,
    valuation: Valuation,
    level: float,
) -> NDArray[np.float64]:
    """What the worst fills add to each unit's expected shortfall."""
    added = np.zeros(len(rows))
    if units.buys.nnz == 0 and units.sells.nnz == 0:
        return added
    for at, row in enumerate(rows):
        buys, sells = units.buys[[row]].toarray()[0], units.sells[[row]].toarray()[0]
        columns = np.flatnonzero((buys != 0) | (sells != 0))
        if len(columns) == 0:
            continue
        changes = _unit_gains(columns, units.currencies[row], valuation)
        worst, _ = worst_fills(gains[at], changes, sells[columns], buys[columns], level=level)
        added[at] = max(worst - tails.expected_shortfall[at], 0.0)
    return added


def _unit_gains(columns: NDArray[np.int64], code: str, valuation: Valuation) -> Any:
    """Gains of one unit of some instruments on all paths, in a currency; float64 [n, paths]."""
    parts = []
    chosen = [valuation.instruments[column] for column in columns]
    for block, changes in valuation.blocks():
        own = changes[columns] if valuation.fits else valuation.changes(block, chosen)
        if code != valuation.market.currency:
            start = block.xp.asarray(valuation.units.value[columns])[:, None]
            own = _converted(own, start, code, block, valuation)
        parts.append(own)
    return array_module(parts[0]).concatenate(parts, axis=1)


def _contributions(
    quantities: Any, codes: tuple[str, ...], tails: Tails, valuation: Valuation
) -> NDArray[np.float64]:
    """Each position's share of its unit's expected shortfall: the tail's weights on its losses."""
    rows = np.repeat(np.arange(quantities.shape[0]), np.diff(quantities.indptr))
    shares = np.zeros(quantities.nnz)
    for block, changes in valuation.blocks():
        rates = _rates(codes, block, valuation)
        for low in range(0, quantities.nnz, GATHERED):
            part = slice(low, low + GATHERED)
            columns, held = quantities.indices[part], rows[part]
            losses = _tail_losses(columns, held, codes, tails, changes, rates, block, valuation)
            shares[part] += -quantities.data[part] * losses
    return shares


def _rates(codes: tuple[str, ...], block: PathBlock, valuation: Valuation) -> dict[str, Any]:
    """Simulated rates of the units' currencies that move; float64 [paths of the block] each."""
    own = valuation.market.currency
    horizon = max(valuation.horizons.values())
    return {
        code: block.at(horizon).currency(code)
        for code in dict.fromkeys(codes)
        if code != own and not _counts_at_spot(code, valuation)
    }


def _tail_losses(
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
    codes: tuple[str, ...],
    tails: Tails,
    changes: Any,
    rates: dict[str, Any],
    block: PathBlock,
    valuation: Valuation,
) -> NDArray[np.float64]:
    """Weighted gains of one unit over its holder's tail paths in this block; float64 [positions].

    The same fractional weights that make the expected shortfall, summed in float64.
    """
    xp = block.xp
    paths = tails.paths[xp.asarray(rows)] - block.paths.start
    whole = changes.shape[1] == valuation.scenarios.plan.paths
    inside = None if whole else (paths >= 0) & (paths < changes.shape[1])
    if inside is not None:
        paths = xp.where(inside, paths, 0)
    gained = changes[xp.asarray(columns)[:, None], paths]
    own = valuation.market.currency
    for code in dict.fromkeys(codes):
        if code == own:
            continue
        mine = np.array([codes[row] == code for row in rows])
        if not mine.any():
            continue
        at = xp.asarray(np.flatnonzero(mine))
        start = xp.asarray(valuation.units.value[columns[mine]])[:, None]
        rate = valuation.market.price(code)
        if code in rates:
            moved = rates[code][paths[at]] if getattr(rates[code], "ndim", 0) else rates[code]
            gained[at] = (start + gained[at]) / moved - start / rate
        else:
            gained[at] = gained[at] / rate
    weights = xp.asarray(tails.weights)
    if inside is not None:
        gained = xp.where(inside, gained, 0.0)
    return to_host((gained * weights).sum(axis=1))

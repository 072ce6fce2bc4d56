"""Figures of margin units: profit and loss, its tail, and each position's share of it.

In: units, and how to value their instruments. Out: columns of figures, one entry a unit, in the
unit's currency. Units are taken in blocks, whose profit and loss is one sparse product; no figure
depends on the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mcmargin.books.orders import worst_fills
from mcmargin.books.units import Units
from mcmargin.checks import Progress, parallel
from mcmargin.engines.arrays import array_module, device_matrix, to_host
from mcmargin.margins.estimates import (
    Estimate,
    collapsed,
    fixed,
    joined,
    minus,
    rows_of,
    tail_estimate,
    with_rows,
)
from mcmargin.margins.fills import worst_fills_estimate
from mcmargin.margins.tail import Tails, estimate_tails
from mcmargin.valuing.scenario_market import PathBlock
from mcmargin.valuing.valuation import Valuation

BLOCK_BYTES = 16 * 2**20
"""Profit and loss of one block of units, where instruments need no second valuation."""

T = TypeVar("T")

GATHERED = 4096
"""Positions whose tail losses are gathered at a time."""


@dataclass(frozen=True, eq=False)
class UnitEstimates:
    """Figures of units with how they move with the paths, each an `Estimate` of all units.

    Attributes
    ----------
    expected_shortfall, value_at_risk : Estimate
    worst : Estimate
        Expected shortfall with the worst fills of open orders.
    open_orders, wrong_way : Estimate
        What the worst fills, and the collateral that moves, add to the expected shortfall.
    """

    expected_shortfall: Estimate
    value_at_risk: Estimate
    worst: Estimate
    open_orders: Estimate
    wrong_way: Estimate


@dataclass(frozen=True, eq=False)
class UnitFigures:
    """Columns of figures; float64 [units], in each unit's currency.

    Attributes
    ----------
    expected_shortfall, expected_shortfall_error, value_at_risk, value_at_risk_error : ndarray
    expected_shortfall_interval, value_at_risk_interval : ndarray of shape (units, 2)
    open_orders : ndarray
        What the worst fills add to the expected shortfall; 0 or more.
    wrong_way : ndarray
        What the collateral that moves with the positions adds to their expected shortfall.
    contributions : ndarray of shape (positions,)
        Shares of the expected shortfall, in the order of the units' sparse matrix.
    estimates : UnitEstimates
    """

    expected_shortfall: NDArray[np.float64]
    expected_shortfall_error: NDArray[np.float64]
    expected_shortfall_interval: NDArray[np.float64]
    value_at_risk: NDArray[np.float64]
    value_at_risk_error: NDArray[np.float64]
    value_at_risk_interval: NDArray[np.float64]
    open_orders: NDArray[np.float64]
    wrong_way: NDArray[np.float64]
    contributions: NDArray[np.float64]
    estimates: UnitEstimates


def unit_figures(
    units: Units,
    valuation: Valuation,
    level: float,
    *,
    confidence: float = 0.95,
    shares: bool = True,
    together: bool = False,
    progress: Progress | None = None,
) -> UnitFigures:
    """Figures of all units.

    Parameters
    ----------
    units : Units
    valuation : Valuation
    level, confidence : float
    shares : bool
        Whether contributions, and what collateral adds, are wanted; else they are zeros.
    together : bool
        Whether the estimates will be put together with one another or with others on the same
        paths; else each has its standard error alone.
    progress : callable, optional
        Called with units done and in all.

    Returns
    -------
    UnitFigures
    """

    def work(rows: range) -> UnitFigures:
        return _block_figures(units, rows, valuation, level, confidence, shares, together)

    return figures_of(_by_blocks(work, units.quantities.shape[0], valuation, progress))


def figures_of(parts: Sequence[UnitFigures]) -> UnitFigures:
    """Figures of units one after another."""
    if len(parts) == 1:
        return parts[0]
    estimates = {
        each.name: joined([getattr(part.estimates, each.name) for part in parts])
        for each in fields(UnitEstimates)
    }
    columns = {
        each.name: np.concatenate([getattr(part, each.name) for part in parts])
        for each in fields(UnitFigures)
        if each.name != "estimates"
    }
    return UnitFigures(**columns, estimates=UnitEstimates(**estimates))


def without_movements(figures: UnitFigures) -> UnitFigures:
    """The same figures, whose estimates have their standard errors alone."""
    kept = {
        each.name: collapsed(getattr(figures.estimates, each.name))
        for each in fields(UnitEstimates)
    }
    return replace(figures, estimates=UnitEstimates(**kept))


def unit_shortfalls(
    units: Units,
    valuation: Valuation,
    level: float,
    *,
    together: bool = False,
    progress: Progress | None = None,
) -> Estimate:
    """Expected shortfall of all units, open orders left out; parameters as of `unit_figures`."""

    def work(rows: range) -> Estimate:
        here = slice(rows.start, rows.stop)
        gains = gains_of(units.quantities[here], units.currencies[here], valuation)
        return tail_estimate(estimate_tails(-gains, level=level), together=together)

    return joined(_by_blocks(work, units.quantities.shape[0], valuation, progress))


def _by_blocks(
    work: Callable[[range], T], count: int, valuation: Valuation, progress: Progress | None
) -> list[T]:
    """Work on blocks of units whose profit and loss fits, in their order."""
    paths = valuation.scenarios.plan.paths
    # Where instruments are valued anew for every block of units, the fewer blocks the better; the
    # gains of their tails are kept too, which are at most as many as those of all paths.
    most = BLOCK_BYTES if valuation.fits else valuation.memory_limit // 2
    size = max(1, most // (8 * paths))
    starts = range(0, count, size)
    device = array_module(valuation.scenarios.returns) is not np
    if valuation.fits:
        list(valuation.blocks())
        list(valuation.collateral.blocks())

    threads = 1 if device or not valuation.fits else min(valuation.threads, len(starts))
    blocks = [range(start, min(start + size, count)) for start in starts]
    parts = []
    for rows, part in zip(blocks, parallel(work, blocks, threads), strict=True):
        parts.append(part)
        if progress is not None:
            progress(rows.stop, count)
    return parts


def _block_figures(
    units: Units,
    rows: range,
    valuation: Valuation,
    level: float,
    confidence: float,
    shares: bool,
    together: bool,
) -> UnitFigures:
    here = slice(rows.start, rows.stop)
    quantities = units.quantities[here]
    codes = units.currencies[here]
    gains = gains_of(quantities, codes, valuation)
    tails = estimate_tails(-gains, level=level, confidence=confidence)
    shared = _contributions(quantities, codes, tails, valuation) if shares else None
    shortfall = tail_estimate(tails, together=together)
    wrong_way = fixed(np.zeros(len(rows)))
    if shares and valuation.collateral.instruments:
        wrong_way = _wrong_way(quantities, codes, gains, tails, valuation, together)
    worst, orders = _open_orders(units, rows, gains, tails, valuation, together)
    return UnitFigures(
        expected_shortfall=tails.expected_shortfall,
        expected_shortfall_error=tails.expected_shortfall_error,
        expected_shortfall_interval=tails.expected_shortfall_interval,
        value_at_risk=tails.value_at_risk,
        value_at_risk_error=tails.value_at_risk_error,
        value_at_risk_interval=tails.value_at_risk_interval,
        open_orders=orders.amounts,
        wrong_way=wrong_way.amounts,
        contributions=np.zeros(quantities.nnz) if shared is None else shared,
        estimates=UnitEstimates(
            expected_shortfall=shortfall,
            value_at_risk=tail_estimate(tails, together=together, of="value_at_risk"),
            worst=worst,
            open_orders=orders,
            wrong_way=wrong_way,
        ),
    )


def _wrong_way(
    quantities: Any,
    codes: tuple[str, ...],
    gains: Any,
    tails: Tails,
    valuation: Valuation,
    together: bool,
) -> Estimate:
    """What collateral adds to the expected shortfall of each unit that has some."""
    xp, whole = array_module(gains), tail_estimate(tails)
    posted = quantities[:, -len(valuation.collateral.instruments) :]
    size = max(1, BLOCK_BYTES // (8 * gains.shape[1]))
    holders = np.flatnonzero(np.diff(posted.indptr))
    parts = []
    for rows in (holders[low : low + size] for low in range(0, len(holders), size)):
        own = tuple(codes[row] for row in rows)
        losses = gains_of(posted[rows], own, valuation.collateral)
        losses -= gains if len(rows) == len(gains) else gains[xp.asarray(rows)]
        alone = tail_estimate(estimate_tails(losses, level=tails.level))
        parts.append(minus(rows_of(whole, rows), alone))
    none = fixed(np.zeros(quantities.shape[0]))
    added = with_rows(none, holders, joined(parts)) if parts else none
    return added if together else collapsed(added)


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
        if code in valuation.market.coins:
            gains[rows] /= valuation.market.worth(code)
        else:
            gains[rows] = _converted_sums(quantities[rows], changes, code, block, valuation)
    return gains


def _converted_sums(
    quantities: Any, changes: Any, code: str, block: PathBlock, valuation: Valuation
) -> Any:
    """Gains of some units in a currency, those of each horizon at that horizon's rate."""
    total: Any = 0.0
    for horizon in sorted(set(valuation.item_horizons.tolist())):
        chosen = np.flatnonzero(valuation.item_horizons == horizon)
        part = quantities[:, chosen]
        matrix = part if block.xp is np else device_matrix(part)
        gains = matrix @ (changes if len(chosen) == changes.shape[0] else changes[chosen])
        start = block.xp.asarray(part @ valuation.units.value[chosen])[:, None]
        total = total + _converted(gains, start, code, block.at(horizon).currency(code), valuation)
    return total


def _converted(gains: Any, start: Any, code: str, moved: Any, valuation: Valuation) -> Any:
    """Gains in a currency that moves, of what is worth `start` today in the market's."""
    return (start + gains) / moved - start / valuation.market.worth(code)


def _open_orders(
    units: Units,
    rows: range,
    gains: Any,
    tails: Tails,
    valuation: Valuation,
    together: bool,
) -> tuple[Estimate, Estimate]:
    """Each unit's expected shortfall with the worst fills, and what those add to it."""
    shortfall = tail_estimate(tails, together=together)
    none = fixed(np.zeros(len(rows)))
    if units.buys.nnz == 0 and units.sells.nnz == 0:
        return shortfall, none
    buys, sells = (matrix[rows.start : rows.stop] for matrix in (units.buys, units.sells))
    asked = (abs(buys) + abs(sells)).tocsr()
    asked.eliminate_zeros()
    columns = [
        np.sort(asked.indices[low:high].astype(np.int64))
        for low, high in zip(asked.indptr[:-1], asked.indptr[1:], strict=True)
    ]
    whole, places = tail_estimate(tails), []
    found: tuple[list[Estimate], list[Estimate]] = ([], [])
    for batch, valued in _ordered(columns, valuation):
        parts = list(valuation.blocks() if valuation.fits else valuation.blocks_of(valued))
        for at in batch:
            own = columns[at]
            place = own if valuation.fits else np.searchsorted(valued, own)
            changes = _unit_gains(own, place, units.currencies[rows[at]], parts, valuation)
            sold, bought = (matrix[[at]].toarray()[0][own] for matrix in (sells, buys))
            most, fills = worst_fills(gains[at], changes, sold, bought, level=tails.level)
            # Which paths make the fills the worst changes their movements, and no amount.
            moved = worst_fills_estimate(gains[at], changes, sold, bought, fills, level=tails.level)
            least = float(tails.expected_shortfall[at])
            worst = replace(moved, amounts=np.array([max(most, least)]))
            places.append(at)
            found[0].append(worst)
            found[1].append(minus(worst, rows_of(whole, [at])))
    if not places:
        return shortfall, none
    worst, added = (joined(each) for each in found)
    if not together:
        worst, added = collapsed(worst), collapsed(added)
    rows_with = np.array(places)
    # As base adds them up.
    worst = replace(worst, amounts=tails.expected_shortfall[rows_with] + added.amounts)
    return with_rows(shortfall, rows_with, worst), with_rows(none, rows_with, added)


def _ordered(
    columns: list[NDArray[np.int64]], valuation: Valuation
) -> Iterator[tuple[list[int], NDArray[np.int64]]]:
    """Units with orders, so many at a time that what they ordered fits; and those instruments.

    Where values are kept, all at once, and no instruments.
    """
    if valuation.fits:
        yield [at for at, own in enumerate(columns) if len(own)], np.zeros(0, np.int64)
        return
    # Two batches are held at a time.
    most = valuation.memory_limit // 4 // (8 * valuation.scenarios.plan.paths)
    batch: list[int] = []
    valued = np.zeros(0, np.int64)
    for at, own in enumerate(columns):
        if len(own) == 0:
            continue
        together = np.union1d(valued, own)
        if batch and len(together) > most:
            yield batch, valued
            batch, together = [], own
        batch.append(at)
        valued = together
    if batch:
        yield batch, valued


def _unit_gains(
    columns: NDArray[np.int64],
    place: NDArray[np.int64],
    code: str,
    blocks: list[tuple[PathBlock, Any]],
    valuation: Valuation,
) -> Any:
    """Gains of one unit of some instruments on all paths, in a currency; float64 [n, paths].

    `place` says where they are among the changes of the blocks.
    """
    parts = []
    for block, changes in blocks:
        own = changes[block.xp.asarray(place)]
        if code in valuation.market.coins:
            own = own / valuation.market.worth(code)
        elif code != valuation.market.currency:
            start = valuation.units.value[columns]
            own = block.xp.stack(
                [
                    _converted(gain, value, code, block.at(horizon).currency(code), valuation)
                    for gain, value, horizon in zip(
                        own, start, valuation.item_horizons[columns].tolist(), strict=True
                    )
                ]
            )
        parts.append(own)
    return parts[0] if len(parts) == 1 else array_module(parts[0]).concatenate(parts, axis=1)


def _contributions(
    quantities: Any, codes: tuple[str, ...], tails: Tails, valuation: Valuation
) -> NDArray[np.float64]:
    """Each position's share of its unit's expected shortfall: the tail's weights on its losses.

    The same fractional weights that make the expected shortfall, summed in float64 and in one
    order whatever the blocks of paths.
    """
    rows = np.repeat(np.arange(quantities.shape[0]), np.diff(quantities.indptr))
    parts = [slice(low, low + GATHERED) for low in range(0, quantities.nnz, GATHERED)]
    shares = np.zeros(quantities.nnz)

    def share(part: slice, gained: Any) -> None:
        weights = array_module(gained).asarray(tails.weights)
        shares[part] = -quantities.data[part] * to_host((gained * weights).sum(axis=1))

    gathered: Any = None
    for block, changes in valuation.blocks():
        whole = changes.shape[1] == valuation.scenarios.plan.paths
        for part in parts:
            columns, held = quantities.indices[part], rows[part]
            paths = tails.paths[block.xp.asarray(held)] - block.paths.start
            inside = (paths >= 0) & (paths < changes.shape[1])
            gained = _tail_gains(
                columns, held, codes, block.xp.where(inside, paths, 0), changes, block, valuation
            )
            if whole:
                share(part, gained)
                continue
            if gathered is None:
                gathered = block.xp.zeros((quantities.nnz, tails.paths.shape[1]))
            gathered[part] = block.xp.where(inside, gained, gathered[part])
    if gathered is not None:
        for part in parts:
            share(part, gathered[part])
    return shares


def _tail_gains(
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
    codes: tuple[str, ...],
    paths: Any,
    changes: Any,
    block: PathBlock,
    valuation: Valuation,
) -> Any:
    """Gains of one unit on its holder's tail paths; float64 [positions, tail's paths]."""
    xp, market = block.xp, valuation.market
    gained = changes[xp.asarray(columns)[:, None], paths]
    for code in dict.fromkeys(codes):
        if code == market.currency:
            continue
        mine = np.array([codes[row] == code for row in rows], bool)
        if code in market.coins:
            gained[xp.asarray(np.flatnonzero(mine))] /= market.worth(code)
            continue
        horizons = valuation.item_horizons[columns]
        for horizon in sorted(set(horizons[mine].tolist())):
            here = np.flatnonzero(mine & (horizons == horizon))
            at = xp.asarray(here)
            moved = block.at(horizon).currency(code)
            moved = moved[paths[at]] if getattr(moved, "ndim", 0) else moved
            start = xp.asarray(valuation.units.value[columns[here]])[:, None]
            gained[at] = _converted(gained[at], start, code, moved, valuation)
    return gained

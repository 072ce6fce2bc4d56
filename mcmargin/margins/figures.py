"""Figures of margin units: expected shortfall, value at risk, and each position's share of them.

In: units, and how their instruments are valued. Out: columns of figures, one entry a unit, in the
unit's currency. If the values of all instruments fit the memory, they are kept, and units are taken
in blocks: the profit and loss of a block is one sparse product. If they do not fit, paths are taken
in blocks, and only the worst losses of each unit are kept (`mcmargin.margins.unit_tails`). Both
ways give the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mcmargin.books.units import Units
from mcmargin.margins.contributions import contributions
from mcmargin.margins.estimates import (
    Estimate,
    collapsed,
    fixed,
    joined,
    minus,
    tail_estimate,
    with_rows,
)
from mcmargin.margins.gains import gains_of
from mcmargin.margins.unit_orders import with_worst_fills
from mcmargin.margins.unit_tails import Group, GroupTails, groups_of, tails_of_group
from mcmargin.numerics.arrays import array_module
from mcmargin.numerics.tail import Tails, estimate_tails, some_tails, tail_weights, tails_of
from mcmargin.progress import Progress
from mcmargin.valuing.valuation import Valuation
from mcmargin.workers import parallel

BLOCK_BYTES = 16 * 2**20
"""Bytes of the profit and loss of one block of units, where all values are kept."""

PIECE_UNITS = 512
"""Units whose figures are computed at a time, where values are not kept."""

UNUSED_CONFIDENCE = 0.95
"""Any level will do: these intervals are not used."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class UnitEstimates:
    """Figures of units, with how they move with the paths; each has one entry a unit.

    Attributes
    ----------
    expected_shortfall, value_at_risk : Estimate
    worst : Estimate
        Expected shortfall with the worst fills of open orders.
    open_orders, wrong_way : Estimate
        What the worst fills add to the expected shortfall, and what collateral that moves adds.
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
    errors: bool = True,
    progress: Progress | None = None,
) -> UnitFigures:
    """Figures of all units.

    Parameters
    ----------
    units : Units
    valuation : Valuation
    level, confidence : float
        Of the tails, and of the intervals.
    shares : bool
        Whether contributions, and what collateral adds, are wanted; if not, they are 0.
    together : bool
        Whether the estimates will be added to one another, or compared, or so with others on the
        same paths; if not, each has its own standard error alone.
    errors : bool
        Whether standard errors are wanted; if not, those of open orders are left out.
    progress : callable, optional
        Called with units done and in all.

    Returns
    -------
    UnitFigures
    """
    wanted = _Wanted(level, confidence, shares, together, errors)
    if valuation.fits:
        work = partial(_block_figures, units, valuation, wanted)
        return figures_of(_by_blocks(work, units.quantities.shape[0], valuation, progress))
    parts = [
        part
        for group in groups_of(units, valuation, level, confidence, whole=True)
        for part in _group_figures(units, group, valuation, wanted, progress)
    ]
    return figures_of(parts)


@dataclass(frozen=True, eq=False)
class _Wanted:
    """What is asked for; see `unit_figures`."""

    level: float
    confidence: float
    shares: bool
    together: bool
    errors: bool


def figures_of(parts: Sequence[UnitFigures]) -> UnitFigures:
    """Figures of several groups of units, one group after the other."""
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
    """The same figures; their estimates keep their standard errors, but not their movements."""
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
    """Expected shortfall of all units without their open orders; parameters of `unit_figures`."""
    if valuation.fits:

        def work(rows: range) -> Estimate:
            here = slice(rows.start, rows.stop)
            gains = gains_of(units.quantities[here], units.currencies[here], valuation)
            return tail_estimate(estimate_tails(-gains, level=level), together=together)

        return joined(_by_blocks(work, units.quantities.shape[0], valuation, progress))
    parts, count = [], units.quantities.shape[0]
    for group in groups_of(units, valuation, level, UNUSED_CONFIDENCE, whole=False):
        found = tails_of_group(group, level, UNUSED_CONFIDENCE, _told(progress, group, count))
        paths = valuation.scenarios.plan.paths
        parts += [
            tail_estimate(tails, together=together)
            for _, tails in _pieces(group, found, paths, level, UNUSED_CONFIDENCE)
        ]
    return joined(parts)


def _by_blocks(
    work: Callable[[range], T], count: int, valuation: Valuation, progress: Progress | None
) -> list[T]:
    """Results for blocks of units, in their order, where all values are kept."""
    size = max(1, BLOCK_BYTES // (8 * valuation.scenarios.plan.paths))
    starts = range(0, count, size)
    # Values are made before there are threads.
    list(valuation.blocks())
    list(valuation.collateral.blocks())
    device = array_module(valuation.scenarios.returns) is not np
    threads = 1 if device else min(valuation.threads, len(starts))
    blocks = [range(start, min(start + size, count)) for start in starts]
    parts = []
    for rows, part in zip(blocks, parallel(work, blocks, threads), strict=True):
        parts.append(part)
        if progress is not None:
            progress(rows.stop, count)
    return parts


def _block_figures(units: Units, valuation: Valuation, wanted: _Wanted, rows: range) -> UnitFigures:
    """Figures of one block of units, from their gains on all paths."""
    here = slice(rows.start, rows.stop)
    quantities, codes = units.quantities[here], units.currencies[here]
    gains = gains_of(quantities, codes, valuation)
    tails = estimate_tails(-gains, level=wanted.level, confidence=wanted.confidence)
    shared = np.zeros(quantities.nnz)
    holders, parts = np.zeros(0, np.int64), []
    if wanted.shares:
        shared = contributions(quantities, codes, tails.paths, tails.weights, valuation)
        posted = quantities[:, quantities.shape[1] - len(valuation.collateral.instruments) :]
        holders = np.flatnonzero(np.diff(posted.indptr))
    size = max(1, BLOCK_BYTES // (8 * gains.shape[1]))
    for own in (holders[low : low + size] for low in range(0, len(holders), size)):
        losses = gains_of(posted[own], tuple(codes[row] for row in own), valuation.collateral)
        losses -= gains[array_module(gains).asarray(own)]
        parts.append(_by_collateral(tails, own, estimate_tails(losses, level=wanted.level)))
    wrong_way = _wrong_way(len(rows), holders, parts, wanted)
    figures = _figures(units, rows, tails, valuation, wanted, lambda at: gains[at], wrong_way)
    return replace(figures, contributions=shared)


def _group_figures(
    units: Units, group: Group, valuation: Valuation, wanted: _Wanted, progress: Progress | None
) -> list[UnitFigures]:
    """Figures of a group of units, piece by piece, where the values do not fit the memory."""
    paths, xp = valuation.scenarios.plan.paths, array_module(valuation.scenarios.returns)
    told = _told(progress, group, units.quantities.shape[0])
    found = tails_of_group(group, wanted.level, wanted.confidence, told)
    weights = tail_weights(paths, wanted.level)
    tail_paths = xp.empty((len(group.rows), len(weights)), np.int32)
    parts = []
    for piece, tails in _pieces(group, found, paths, wanted.level, wanted.confidence):
        tail_paths[piece.start : piece.stop] = tails.paths
        low, high = np.searchsorted(group.holders, (piece.start, piece.stop)).tolist()
        own, added = group.holders[low:high] - piece.start, []
        if wanted.shares and low < high:
            worst = found.alone.sorted(slice(low, high))
            added = [_by_collateral(tails, own, tails_of(*worst, count=paths, level=wanted.level))]
        wrong_way = _wrong_way(len(piece), own, added, wanted)
        rows = range(group.rows.start + piece.start, group.rows.start + piece.stop)
        gains = _some_gains(group, found, piece)
        parts.append(_figures(units, rows, tails, valuation, wanted, gains, wrong_way))
    # The worst losses are no longer needed; contributions take their memory.
    del found
    if not wanted.shares:
        return parts
    shared = contributions(group.quantities, group.codes, tail_paths, weights, group.valuation)
    counts = np.diff(group.quantities.indptr)
    ends = np.cumsum([0, *(len(part.contributions) for part in parts)])
    assert ends[-1] == counts.sum()
    return [
        replace(part, contributions=shared[low:high])
        for part, low, high in zip(parts, ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    ]


def _some_gains(group: Group, found: GroupTails, piece: range) -> Callable[[int], Any]:
    """Function that gives the gains on all paths of a unit that has open orders, by its place."""
    place = {at: row for row, at in enumerate((group.ordered - piece.start).tolist())}
    return lambda at: found.gains[place[at]]


def _pieces(
    group: Group, found: GroupTails, paths: int, level: float, confidence: float
) -> Iterator[tuple[range, Tails]]:
    """Tails of a group's units, piece by piece, with the places of the units in the group."""
    for low in range(0, len(group.rows), PIECE_UNITS):
        piece = range(low, min(low + PIECE_UNITS, len(group.rows)))
        worst = found.worst.sorted(slice(piece.start, piece.stop))
        yield piece, tails_of(*worst, count=paths, level=level, confidence=confidence)


def _told(progress: Progress | None, group: Group, count: int) -> Progress | None:
    """Progress over the paths of a group, told as progress over units."""
    if progress is None:
        return None
    rows = group.rows
    return lambda done, total: progress(rows.start + len(rows) * done // total, count)


def _figures(
    units: Units,
    rows: range,
    tails: Tails,
    valuation: Valuation,
    wanted: _Wanted,
    gains_at: Callable[[int], Any],
    wrong_way: Estimate,
) -> UnitFigures:
    """Figures of units whose tails are known; their contributions are still 0.

    `gains_at` gives the gains of a unit on all paths. It is called for units with open orders only.
    """
    together = wanted.together
    worst, orders = with_worst_fills(
        units, rows, gains_at, tails, valuation, together=together, errors=wanted.errors
    )
    here = slice(rows.start, rows.stop)
    return UnitFigures(
        expected_shortfall=tails.expected_shortfall,
        expected_shortfall_error=tails.expected_shortfall_error,
        expected_shortfall_interval=tails.expected_shortfall_interval,
        value_at_risk=tails.value_at_risk,
        value_at_risk_error=tails.value_at_risk_error,
        value_at_risk_interval=tails.value_at_risk_interval,
        open_orders=orders.amounts,
        wrong_way=wrong_way.amounts,
        contributions=np.zeros(units.quantities[here].nnz),
        estimates=UnitEstimates(
            expected_shortfall=tail_estimate(tails, together=together),
            # A value at risk is added up for reports alone, as contributions are.
            value_at_risk=tail_estimate(
                tails, together=together and wanted.shares, of="value_at_risk"
            ),
            worst=worst,
            open_orders=orders,
            wrong_way=wrong_way,
        ),
    )


def _by_collateral(tails: Tails, rows: NDArray[np.int64], alone: Tails) -> Estimate:
    """What collateral adds to the expected shortfall of some units; `alone` has no collateral."""
    return minus(tail_estimate(some_tails(tails, rows)), tail_estimate(alone))


def _wrong_way(
    count: int, holders: NDArray[np.int64], parts: Sequence[Estimate], wanted: _Wanted
) -> Estimate:
    """What collateral adds to the expected shortfall of each unit; 0 for a unit without any."""
    none = fixed(np.zeros(count))
    if not parts:
        return none
    added = with_rows(none, holders, joined(parts))
    return added if wanted.together else collapsed(added)

"""The requirement: initial and maintenance margin of every account, and of every owner that nets.

In: units, with the account or the netting owner of each, and how they are valued. Out: every column
of the margin, one entry a row: first the accounts, then those owners. Where the movements of all
units would not fit the memory limit, rows are taken in chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mcmargin.books.units import Units
from mcmargin.margins.estimates import GROUPS, Estimate, rows_of, summed_by_row, together_with
from mcmargin.margins.figures import UnitFigures, figures_of, without_movements
from mcmargin.margins.row_margins import Previous, RowMargins, Shared, row_margins
from mcmargin.margins.unit_context import Amounts, UnitContext
from mcmargin.margins.valuations import Valuations
from mcmargin.policies.policy import MarginPolicy
from mcmargin.progress import Progress
from mcmargin.stresses.stress_losses import StressTable

LEAST_UNITS = 4096
"""Smallest number of units whose movements are kept at a time, whatever the memory limit."""

MOVEMENTS = 128
"""One over the share of the memory limit that the movements of each component may take."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over rows whose standard errors are wanted: of owners who have several accounts.

    Attributes
    ----------
    row, sum : ndarray of shape (n,), int64
        A row, and the sum that it belongs to.
    weights : ndarray of shape (n,), float64
    count : int
        How many sums there are.
    """

    row: NDArray[np.int64]
    sum: NDArray[np.int64]
    weights: NDArray[np.float64]
    count: int


@dataclass(frozen=True, eq=False)
class Requirement:
    """Columns of all rows, and what initial margin was computed from.

    Attributes
    ----------
    columns : mapping of str to ndarray of shape (rows,), float64
        In each row's currency.
    context : UnitContext
        Of initial margin.
    sums : mapping of str to Estimate
        `margin` and `maintenance` added up over rows, where that was asked for.
    """

    columns: dict[str, Amounts]
    context: UnitContext
    sums: Mapping[str, Estimate]

    @property
    def figures(self) -> UnitFigures:
        """Of the units, for initial margin."""
        return self.context.figures


def requirement(
    units: Units,
    accounts: int,
    valuations: Valuations,
    policy: MarginPolicy,
    previous: Previous | None = None,
    *,
    sums: Sums | None = None,
    errors: bool = True,
    progress: Progress | None = None,
) -> Requirement:
    """Initial and maintenance margin of every account, and of every owner that nets.

    Parameters
    ----------
    units : Units
    accounts : int
        Number of accounts; the owners that net come after them.
    valuations : Valuations
    policy : MarginPolicy
    previous : Previous, optional
    sums : Sums, optional
    errors : bool
        Whether standard errors are wanted; without them, those in the columns mean nothing.
    progress : callable, optional
        Called with units done and in all, over all passes: a unit counts once for each expected
        shortfall that is taken of it.
    """
    owners = np.cumsum(units.account < 0) - 1 + accounts
    row = np.where(units.account < 0, owners, units.account)
    together = errors and (sums is not None or _moves_together(units, row, valuations, policy))
    size = len(row)
    if together:
        size = max(LEAST_UNITS, valuations.memory_limit // (MOVEMENTS * 8 * GROUPS))
    shared = Shared(policy, valuations, together, errors)
    parts: list[RowMargins] = []
    total: dict[str, Estimate] = {}
    for chunk in _chunks(row, size):
        rows = range(int(row[chunk.start]), int(row[chunk.stop - 1]) + 1)
        part = row_margins(
            shared,
            units if len(chunk) == len(row) else _units_of(units, chunk),
            row[chunk.start : chunk.stop] - rows.start,
            len(rows),
            _previous_of(previous, rows),
            _share_of(progress, chunk, len(row)),
        )
        if sums is not None:
            total = _with_rows(total, part.margins, rows, sums)
        # Movements are no longer needed; those of many units would take more than all else.
        parts.append(replace(part, margins={}, figures=without_movements(part.figures)))
    columns = {
        name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns
    }
    # Without `passes`: what is asked of this context later is not told as progress.
    context = UnitContext(
        units,
        valuations.initial,
        valuations.initial_companions,
        policy,
        policy.level,
        figures_of([part.figures for part in parts]),
        _stress_of([part.stress for part in parts]),
    )
    return Requirement(columns, context, total)


def _moves_together(
    units: Units, row: NDArray[np.int64], valuations: Valuations, policy: MarginPolicy
) -> bool:
    """Whether the margin of a row is made of several figures that move with the paths."""
    tested = policy.stress is not None and policy.stress.dependence_weight > 0.0
    longer = policy.liquidity is not None and any(
        each.daily_volume is not None for each in valuations.initial.market.liquidity.values()
    )
    isolated = len(np.unique(row)) < len(row)
    floored = "floor" in valuations.initial_companions
    return tested or longer or isolated or floored or policy.maintenance is not None


def _chunks(row: NDArray[np.int64], size: int) -> list[range]:
    """Ranges of about `size` units, each with all units of its rows."""
    if len(row) <= size:
        return [range(len(row))]
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    places = np.searchsorted(starts, np.arange(0, len(row), size))
    cuts = np.unique([*starts[np.minimum(places, len(starts) - 1)].tolist(), len(row)]).tolist()
    return [range(low, high) for low, high in pairwise(cuts)]


def _units_of(units: Units, chunk: range) -> Units:
    """The units of one chunk."""
    chosen = slice(chunk.start, chunk.stop)
    account = units.account[chosen]
    before = int((units.account[: chunk.start] < 0).sum())
    return Units(
        units.quantities[chosen],
        units.buys[chosen],
        units.sells[chosen],
        units.currencies[chosen],
        account,
        units.owner[before : before + int((account < 0).sum())],
    )


def _previous_of(previous: Previous | None, rows: range) -> Previous | None:
    """What the last report says of some rows."""
    if previous is None:
        return None
    here = slice(rows.start, rows.stop)
    return Previous(previous.calm[here], previous.maintenance_calm[here], previous.bars)


def _share_of(progress: Progress | None, chunk: range, units: int) -> Progress | None:
    """Progress over the units of one chunk, told as progress over all units."""
    if progress is None or len(chunk) == units:
        return progress

    def tell(done: int, total: int) -> None:
        each = total // len(chunk)
        progress(each * chunk.start + done, each * units)

    return tell


def _with_rows(
    total: Mapping[str, Estimate], margins: Mapping[str, Estimate], rows: range, sums: Sums
) -> dict[str, Estimate]:
    """Sums with the margins of some rows added to those that they belong to."""
    here = np.flatnonzero((sums.row >= rows.start) & (sums.row < rows.stop))
    added = {}
    for name, each in margins.items():
        own = rows_of(each, sums.row[here] - rows.start)
        part = summed_by_row(own, sums.sum[here], sums.count, sums.weights[here])
        added[name] = together_with(total[name], part) if name in total else part
    return added


def _stress_of(parts: Sequence[StressTable | None]) -> StressTable | None:
    """Stress losses of units one after another."""
    found = [part for part in parts if part is not None]
    if len(found) < 2:
        return found[0] if found else None
    losses, members = (
        np.concatenate([getattr(part, name) for part in found]) for name in ("losses", "members")
    )
    return StressTable(found[0].sets, losses, members)

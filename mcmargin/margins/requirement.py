"""The requirement: how components become a margin, in the order that `MarginPolicy` states.

In: amounts by unit, gathered by account and by owner that nets. Out: every column of the margin,
one entry a row: the accounts, then those owners.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mcmargin.books.units import Units
from mcmargin.margins.components import COMPONENTS
from mcmargin.margins.estimates import (
    GROUPS,
    Estimate,
    fixed,
    gathered,
    larger,
    rows_of,
    together_with,
)
from mcmargin.margins.figures import UnitFigures, figures_of, unit_figures, without_movements
from mcmargin.margins.formula import margin_of, scaled_bounds
from mcmargin.margins.unit_context import Amounts, UnitContext
from mcmargin.margins.valuations import Valuations
from mcmargin.policies.policy import MarginPolicy
from mcmargin.progress import Passes, Progress
from mcmargin.stresses.stress_losses import StressTable, stress_losses

MOVING = (
    *("margin", "maintenance", "base", "floor", "stress_add_on", "liquidity"),
    *("open_orders", "wrong_way"),
)
"""Columns whose standard errors are reported beside those of the tails."""

SUMMED = ("margin", "maintenance")
"""Columns that are added up for owners."""

LEAST_UNITS = 4096
"""Units whose movements are held at a time, however little memory there is."""

MOVEMENTS = 128
"""One over the share of the memory limit that each component's movements may take."""


@dataclass(frozen=True, eq=False)
class Previous:
    """What the last report says of the rows.

    Attributes
    ----------
    calm, maintenance_calm : ndarray of shape (rows,), float64
        NaN where a row is new.
    bars : int
        Bars closed since then.
    """

    calm: Amounts
    maintenance_calm: Amounts
    bars: int


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
        """Of the units of initial margin."""
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
        Rows of accounts; owners come after them.
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
    state = _State(policy, valuations, together, {}, ({}, {}))
    parts: list[_Part] = []
    total: dict[str, Estimate] = {}
    for chunk in _chunks(row, size):
        rows = slice(int(row[chunk.start]), int(row[chunk.stop - 1]) + 1)
        whole = slice(chunk.start, chunk.stop)
        own = units if len(chunk) == len(row) else _units_of(units, whole)
        before = None if previous is None else _previous_of(previous, rows)
        told = progress
        if progress is not None and len(chunk) < len(row):
            told = _share_of(progress, chunk, len(row))
        part = _part(state, own, row[whole] - rows.start, rows.stop - rows.start, before, told)
        if sums is not None:
            _add_to(total, part.margins, rows, sums)
        # Movements have served; of many units they would take more than all else.
        parts.append(replace(part, margins={}, figures=without_movements(part.figures)))
    columns = {
        name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns
    }
    # What is asked of it later is nobody's progress.
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


@dataclass(frozen=True, eq=False)
class _State:
    """What all parts of a requirement share."""

    policy: MarginPolicy
    valuations: Valuations
    together: bool
    kinks: dict[str, int]
    lone: tuple[dict[tuple[int, bool, str], Estimate], dict[tuple[int, bool, str], Estimate]]


@dataclass(frozen=True, eq=False)
class _Part:
    """Some rows of a requirement, and what they were computed from."""

    columns: dict[str, Amounts]
    figures: UnitFigures
    stress: StressTable | None
    margins: dict[str, Estimate]


def _part(
    state: _State,
    units: Units,
    row: NDArray[np.int64],
    rows: int,
    previous: Previous | None,
    progress: Progress | None,
) -> _Part:
    """Columns of some rows, with all of their units."""
    policy, valuations = state.policy, state.valuations
    passes = None
    if progress is not None:
        passes = Passes(progress, len(units.currencies), _passes(valuations, policy))
    figures = unit_figures(
        units,
        valuations.initial,
        policy.level,
        confidence=policy.confidence,
        together=state.together,
        progress=None if passes is None else passes.begin(),
    )
    stress = None
    if valuations.stress is not None:
        stress = stress_losses(
            units.quantities, units.currencies, valuations.stress, valuations.initial.threads
        )
    context = UnitContext(
        units,
        valuations.initial,
        valuations.initial_companions,
        policy,
        policy.level,
        figures,
        stress,
        passes,
        together=state.together,
        kinks=state.kinks,
        lone=state.lone[0],
    )
    calm = None if previous is None else previous.calm
    bars = 1 if previous is None else previous.bars
    estimates = _gathered(_unit_estimates(context), row, rows)
    estimates |= margin_of(estimates, policy, calm, bars, context.kink)
    columns = _plain_sums(context, row, rows) | _shortfall_columns(figures, row, rows)
    estimates["maintenance"] = estimates["maintenance_calm"] = fixed(np.zeros(rows))
    own = policy.maintenance
    if own is not None:
        lower = unit_figures(
            units,
            valuations.maintenance,
            own.level,
            confidence=policy.confidence,
            shares=False,
            together=state.together,
            progress=context.next_pass(),
        )
        context = replace(
            context,
            valuation=valuations.maintenance,
            companions=valuations.maintenance_companions,
            level=own.level,
            figures=lower,
            margin="maintenance",
            lone=state.lone[1],
        )
        maintenance = _gathered(_unit_estimates(context), row, rows)
        calm = None if previous is None else previous.maintenance_calm
        maintenance |= margin_of(maintenance, policy, calm, bars, context.kink)
        estimates["maintenance"] = maintenance["margin"]
        estimates["maintenance_calm"] = maintenance["calm"]
        # A shorter horizon can cost more: of a hedge that converges at expiry.
        for name in ("margin", "unrounded"):
            estimates[name] = larger(estimates[name], maintenance[name], context.kink(name))
    if passes is not None:
        passes.finish()
    columns |= {name: each.amounts for name, each in estimates.items()}
    columns |= {f"{name}_error": estimates[name].error for name in MOVING}
    return _Part(columns, figures, stress, {name: estimates[name] for name in SUMMED})


def _passes(valuations: Valuations, policy: MarginPolicy) -> int:
    """Expected shortfalls that are taken of every unit: base, floor and stress, of each margin."""
    tested = policy.stress is not None and policy.stress.dependence_weight > 0.0
    each = 1 + ("floor" in valuations.initial_companions) + tested
    return each if policy.maintenance is None else 2 * each


def _moves_together(
    units: Units, row: NDArray[np.int64], valuations: Valuations, policy: MarginPolicy
) -> bool:
    """Whether a row's margin is made of several figures that move with the paths."""
    tested = policy.stress is not None and policy.stress.dependence_weight > 0.0
    longer = policy.liquidity is not None and any(
        each.daily_volume is not None for each in valuations.initial.market.liquidity.values()
    )
    isolated = len(np.unique(row)) < len(row)
    floored = "floor" in valuations.initial_companions
    return tested or longer or isolated or floored or policy.maintenance is not None


def _unit_estimates(context: UnitContext) -> dict[str, Estimate]:
    """Every component, a row a unit."""
    found = {name: component(context) for name, component in COMPONENTS.items()}
    return {
        name: each if isinstance(each, Estimate) else fixed(each) for name, each in found.items()
    } | {
        "open_orders": context.figures.estimates.open_orders,
        "wrong_way": context.figures.estimates.wrong_way,
    }


def _gathered(
    estimates: Mapping[str, Estimate], row: NDArray[np.int64], rows: int
) -> dict[str, Estimate]:
    """Sums over each row's units: an isolated account's positions are charged one by one."""
    return {name: gathered(each, row, rows) for name, each in estimates.items()}


def _plain_sums(context: UnitContext, row: NDArray[np.int64], rows: int) -> dict[str, Amounts]:
    """Gross and net exposure of each row: those of its units, added up."""
    quantities, values = context.units.quantities, context.valuation.units
    largest = abs(quantities)
    for filled in (context.units.bought, context.units.sold):
        if filled is not quantities:
            largest = largest.maximum(abs(filled))
    exposures = {
        "gross_exposure": abs(quantities) @ values.notional / context.rates,
        "gross_with_orders": largest @ values.notional / context.rates,
        "net_exposure": quantities @ values.exposure / context.rates,
    }
    return {
        name: np.bincount(row, each, rows).astype(np.float64) for name, each in exposures.items()
    }


def _shortfall_columns(
    figures: UnitFigures, row: NDArray[np.int64], rows: int
) -> dict[str, Amounts]:
    """Expected shortfall and value at risk of each row, with their errors and intervals."""
    columns: dict[str, Amounts] = {}
    several = np.bincount(row, minlength=rows) > 1
    for name in ("expected_shortfall", "value_at_risk"):
        whole = gathered(getattr(figures.estimates, name), row, rows)
        low, high = getattr(figures, f"{name}_interval").T
        apart, low, high = (
            np.bincount(row, each, rows).astype(np.float64)
            for each in (getattr(figures, f"{name}_error"), low, high)
        )
        error = np.where(several, whole.error, apart)
        # Units that do not move together lessen the error of their sum, and the interval with it.
        ratio = np.where(several & (apart > 0.0), error / np.where(apart > 0.0, apart, 1.0), 1.0)
        columns |= {
            name: whole.amounts,
            f"{name}_error": error,
            f"{name}_low": scaled_bounds(whole.amounts, low, ratio),
            f"{name}_high": scaled_bounds(whole.amounts, high, ratio),
        }
    return columns


def _chunks(row: NDArray[np.int64], size: int) -> list[range]:
    """Units so many at a time, and all of a row together."""
    if len(row) <= size:
        return [range(len(row))]
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    places = np.searchsorted(starts, np.arange(0, len(row), size))
    cuts = np.unique([*starts[np.minimum(places, len(starts) - 1)].tolist(), len(row)]).tolist()
    return [range(low, high) for low, high in pairwise(cuts)]


def _units_of(units: Units, chosen: slice) -> Units:
    """Some units of many."""
    account = units.account[chosen]
    before = int((units.account[: chosen.start] < 0).sum())
    return Units(
        units.quantities[chosen],
        units.buys[chosen],
        units.sells[chosen],
        units.currencies[chosen],
        account,
        units.owner[before : before + int((account < 0).sum())],
    )


def _previous_of(previous: Previous, rows: slice) -> Previous:
    return Previous(previous.calm[rows], previous.maintenance_calm[rows], previous.bars)


def _share_of(progress: Progress, chunk: range, units: int) -> Progress:
    """Progress of some units, told as that of all."""

    def tell(done: int, total: int) -> None:
        each = total // len(chunk)
        progress(each * chunk.start + done, each * units)

    return tell


def _add_to(
    total: dict[str, Estimate], margins: Mapping[str, Estimate], rows: slice, sums: Sums
) -> None:
    """Add margins of some rows to the sums that they belong to."""
    here = np.flatnonzero((sums.row >= rows.start) & (sums.row < rows.stop))
    for name, each in margins.items():
        own = rows_of(each, sums.row[here] - rows.start)
        part = gathered(own, sums.sum[here], sums.count, sums.weights[here])
        total[name] = together_with(total[name], part) if name in total else part


def _stress_of(parts: Sequence[StressTable | None]) -> StressTable | None:
    """Stress losses of units one after another."""
    found = [part for part in parts if part is not None]
    if len(found) < 2:
        return found[0] if found else None
    losses, members = (
        np.concatenate([getattr(part, name) for part in found]) for name in ("losses", "members")
    )
    return StressTable(found[0].sets, losses, members)

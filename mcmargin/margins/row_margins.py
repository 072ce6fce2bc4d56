"""Margins of some rows, a row being an account, or an owner whose accounts are netted.

In: the units of these rows. Out: every column of the margin, one entry a row, in its currency. The
components are computed for each unit, added up over the units of a row, and put together as the
formula says: for initial margin, and once more for maintenance margin.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mcmargin.books.units import Units
from mcmargin.margins.components import short_option_minimum, unit_components
from mcmargin.margins.estimates import Estimate, summed_by_row
from mcmargin.margins.figures import UnitFigures, unit_figures
from mcmargin.margins.operations import margin_of, with_maintenance
from mcmargin.margins.unit_context import Amounts, UnitContext
from mcmargin.margins.valuations import Valuations
from mcmargin.policies.policy import MarginPolicy
from mcmargin.policies.policy_parts import Maintenance
from mcmargin.progress import Passes, Progress
from mcmargin.stresses.stress_losses import StressTable, stress_losses

MOVING = (
    *("margin", "maintenance", "base", "floor", "stress_add_on", "liquidity"),
    *("open_orders", "wrong_way"),
)
"""Columns that are reported with their standard errors, beside those of the tails."""

SUMMED = ("margin", "maintenance")
"""Columns that are added up for owners."""


@dataclass(frozen=True, eq=False)
class Previous:
    """What the last report says of the rows.

    Attributes
    ----------
    calm, maintenance_calm : ndarray of shape (rows,), float64
        NaN where a row is new.
    bars : int
        Bars that have closed since then.
    """

    calm: Amounts
    maintenance_calm: Amounts
    bars: int


@dataclass(frozen=True, eq=False)
class Shared:
    """What all rows of a requirement share.

    Attributes
    ----------
    policy : MarginPolicy
    valuations : Valuations
    together, errors : bool
        See `UnitContext`.
    kinks, lone, maintenance_lone : dict
        What has been found for some rows, kept for the others; see `UnitContext`.
    """

    policy: MarginPolicy
    valuations: Valuations
    together: bool
    errors: bool
    kinks: dict[str, int] = field(default_factory=dict)
    lone: dict[tuple[int, bool, str], Estimate] = field(default_factory=dict)
    maintenance_lone: dict[tuple[int, bool, str], Estimate] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RowMargins:
    """Margins of some rows.

    Attributes
    ----------
    columns : mapping of str to ndarray of shape (rows,), float64
        In each row's currency.
    figures : UnitFigures
        Of the units, for initial margin.
    stress : StressTable, optional
        Of the units, where the policy charges stress scenarios.
    margins : mapping of str to Estimate
        The columns of `SUMMED`, with how they move with the paths.
    """

    columns: dict[str, Amounts]
    figures: UnitFigures
    stress: StressTable | None
    margins: dict[str, Estimate]


def row_margins(
    shared: Shared,
    units: Units,
    row: NDArray[np.int64],
    rows: int,
    previous: Previous | None,
    progress: Progress | None,
) -> RowMargins:
    """Margins of some rows, from all of their units.

    Parameters
    ----------
    shared : Shared
    units : Units
    row : ndarray of shape (units,), int64
        The row of each unit.
    rows : int
    previous : Previous, optional
        Of these rows.
    progress : callable, optional
        Called with units done and in all, over all passes.
    """
    passes = None
    if progress is not None:
        passes = Passes(progress, len(units.currencies), _passes(shared))
    context = _initial_context(shared, units, passes)
    calm, before, bars = None, None, 1
    if previous is not None:
        calm, before, bars = previous.calm, previous.maintenance_calm, previous.bars
    initial = _applied(context, row, rows, calm, bars)
    columns = _own_columns(context, row, rows) | _tail_columns(context.figures, row, rows)
    maintenance, part = None, shared.policy.maintenance
    if part is not None:
        lower = _maintenance_context(shared, context, part)
        maintenance = _applied(lower, row, rows, before, bars)
    estimates = with_maintenance(initial, maintenance, context.kink)
    if passes is not None:
        passes.finish()
    columns |= {name: each.amounts for name, each in estimates.items()}
    columns |= {f"{name}_error": estimates[name].error for name in MOVING}
    margins = {name: estimates[name] for name in SUMMED}
    return RowMargins(columns, context.figures, context.stress, margins)


def _initial_context(shared: Shared, units: Units, passes: Passes | None) -> UnitContext:
    """What the components of initial margin are computed from."""
    policy, valuations = shared.policy, shared.valuations
    figures = unit_figures(
        units,
        valuations.initial,
        policy.level,
        confidence=policy.confidence,
        together=shared.together,
        errors=shared.errors,
        progress=None if passes is None else passes.begin(),
    )
    stress = None
    if valuations.stress is not None:
        codes, initial = units.currencies, valuations.initial
        stress = stress_losses(units.quantities, codes, valuations.stress, threads=initial.threads)
    return UnitContext(
        units,
        valuations.initial,
        valuations.initial_companions,
        policy,
        policy.level,
        figures,
        stress,
        passes,
        together=shared.together,
        errors=shared.errors,
        kinks=shared.kinks,
        lone=shared.lone,
    )


def _maintenance_context(shared: Shared, initial: UnitContext, part: Maintenance) -> UnitContext:
    """The same for maintenance margin: at its own level and horizons, with the same stress."""
    valuations = shared.valuations
    figures = unit_figures(
        initial.units,
        valuations.maintenance,
        part.level,
        confidence=shared.policy.confidence,
        shares=False,
        together=shared.together,
        errors=shared.errors,
        progress=initial.next_pass(),
    )
    return replace(
        initial,
        valuation=valuations.maintenance,
        companions=valuations.maintenance_companions,
        level=part.level,
        figures=figures,
        purpose="maintenance",
        lone=shared.maintenance_lone,
    )


def _applied(
    context: UnitContext, row: NDArray[np.int64], rows: int, last: Amounts | None, bars: int
) -> dict[str, Estimate]:
    """The formula's components and lines by row; each component is a sum over the row's units."""
    own, estimates = unit_components(context), context.figures.estimates
    own |= {"open_orders": estimates.open_orders, "wrong_way": estimates.wrong_way}
    # The positions of an isolated account are charged one by one.
    summed = {name: summed_by_row(each, row, rows) for name, each in own.items()}
    return summed | margin_of(summed, context.policy, last, bars, context.kink)


def _passes(shared: Shared) -> int:
    """Expected shortfalls that are taken of every unit: base, floor and stress, of each margin."""
    policy = shared.policy
    tested = policy.stress is not None and policy.stress.dependence_weight > 0.0
    each = 1 + ("floor" in shared.valuations.initial_companions) + tested
    return each if policy.maintenance is None else 2 * each


def _own_columns(context: UnitContext, row: NDArray[np.int64], rows: int) -> dict[str, Amounts]:
    """Columns beside the formula: exposures and the least of short options, added up by row."""
    quantities, values = context.units.quantities, context.valuation.instrument_values
    largest = abs(quantities)
    for filled in (context.units.bought, context.units.sold):
        if filled is not quantities:
            largest = largest.maximum(abs(filled))
    by_unit = {
        "short_option_minimum": short_option_minimum(context),
        "gross_exposure": abs(quantities) @ values.notional / context.rates,
        "gross_with_orders": largest @ values.notional / context.rates,
        "net_exposure": quantities @ values.exposure / context.rates,
    }
    return {name: np.bincount(row, each, rows).astype(np.float64) for name, each in by_unit.items()}


def _tail_columns(figures: UnitFigures, row: NDArray[np.int64], rows: int) -> dict[str, Amounts]:
    """Expected shortfall and value at risk of each row, with their errors and intervals."""
    columns: dict[str, Amounts] = {}
    several = np.bincount(row, minlength=rows) > 1
    for name in ("expected_shortfall", "value_at_risk"):
        whole = summed_by_row(getattr(figures.estimates, name), row, rows)
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
            f"{name}_low": _scaled(whole.amounts, low, ratio),
            f"{name}_high": _scaled(whole.amounts, high, ratio),
        }
    return columns


def _scaled(amounts: Amounts, bounds: Amounts, ratio: Amounts) -> Amounts:
    """Bounds whose distance from the amounts is scaled; the same bits where the ratio is 1."""
    return np.where(ratio == 1.0, bounds, amounts + (bounds - amounts) * ratio)

"""The requirement: how components become a margin, in the order that `MarginPolicy` states.

In: amounts by unit, gathered by account and by owner that nets. Out: every column of the margin,
one entry a row: the accounts, then those owners.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mcmargin.books.units import Units
from mcmargin.checks import Passes, Progress
from mcmargin.margins.components import COMPONENTS
from mcmargin.margins.components_context import Amounts, UnitContext
from mcmargin.margins.figures import UnitFigures, unit_figures
from mcmargin.policies.policy import MarginPolicy
from mcmargin.policies.policy_parts import Procyclicality
from mcmargin.stresses.stressing import StressValues, stress_losses
from mcmargin.valuing.valuation import Valuation


@dataclass(frozen=True, eq=False)
class Run:
    """What margins are taken on.

    Attributes
    ----------
    initial, maintenance : Valuation
        The same where maintenance margin has no horizon of its own.
    initial_companions, maintenance_companions : mapping of str to Valuation
    stress : StressValues, optional
        Where the policy charges stress scenarios.
    memory_limit : int
        Bytes that the valuations may take together.
    """

    initial: Valuation
    maintenance: Valuation
    initial_companions: Mapping[str, Valuation]
    maintenance_companions: Mapping[str, Valuation]
    stress: StressValues | None
    memory_limit: int


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
class Requirement:
    """Columns of all rows, and what initial margin was computed from.

    Attributes
    ----------
    columns : mapping of str to ndarray of shape (rows,), float64
        In each row's currency.
    context : UnitContext
        Of initial margin.
    """

    columns: dict[str, Amounts]
    context: UnitContext

    @property
    def figures(self) -> UnitFigures:
        """Of the units of initial margin."""
        return self.context.figures


def requirement(
    units: Units,
    accounts: int,
    run: Run,
    policy: MarginPolicy,
    previous: Previous | None = None,
    *,
    progress: Progress | None = None,
) -> Requirement:
    """Initial and maintenance margin of every account, and of every owner that nets.

    Parameters
    ----------
    units : Units
    accounts : int
        Rows of accounts; owners come after them.
    run : Run
    policy : MarginPolicy
    previous : Previous, optional
    progress : callable, optional
        Called with units done and in all, over all passes: a unit counts once for each expected
        shortfall that is taken of it.
    """
    passes = None
    if progress is not None:
        passes = Passes(progress, len(units.currencies), _passes(run, policy))
    figures = unit_figures(
        units,
        run.initial,
        policy.level,
        confidence=policy.confidence,
        progress=None if passes is None else passes.begin(),
    )
    stress = None
    if run.stress is not None:
        stress = stress_losses(units.quantities, units.currencies, run.stress, run.initial)
    context = UnitContext(
        units, run.initial, run.initial_companions, policy, policy.level, figures, stress, passes
    )
    columns = _gathered(_unit_columns(context), units, accounts)
    # What is asked of it later is nobody's progress.
    initial = replace(context, passes=None)
    calm = None if previous is None else previous.calm
    bars = 1 if previous is None else previous.bars
    _require(columns, policy, calm, bars)
    own = policy.maintenance
    columns["maintenance"] = np.zeros_like(columns["margin"])
    columns["maintenance_calm"] = np.zeros_like(columns["margin"])
    if own is not None:
        lower = unit_figures(
            units,
            run.maintenance,
            own.level,
            confidence=policy.confidence,
            shares=False,
            progress=context.next_pass(),
        )
        context = replace(
            context,
            valuation=run.maintenance,
            companions=run.maintenance_companions,
            level=own.level,
            figures=lower,
        )
        maintenance = _gathered(_unit_columns(context), units, accounts)
        calm = None if previous is None else previous.maintenance_calm
        _require(maintenance, policy, calm, bars)
        columns["maintenance"] = maintenance["margin"]
        columns["maintenance_calm"] = maintenance["calm"]
        # A shorter horizon can cost more: of a hedge that converges at expiry.
        for name in ("margin", "unrounded"):
            columns[name] = np.maximum(columns[name], maintenance[name])
    if passes is not None:
        passes.finish()
    return Requirement(columns, initial)


def _passes(run: Run, policy: MarginPolicy) -> int:
    """Expected shortfalls that are taken of every unit: base, floor and stress, of each margin."""
    tested = policy.stress is not None and policy.stress.dependence_weight > 0.0
    each = 1 + ("floor" in run.initial_companions) + tested
    return each if policy.maintenance is None else 2 * each


def _unit_columns(context: UnitContext) -> dict[str, Amounts]:
    """Amounts of every component, and the figures that add up over units."""
    figures, values = context.figures, context.valuation.units
    quantities, rates = context.units.quantities, context.rates
    shortfall, risk = figures.expected_shortfall_interval.T, figures.value_at_risk_interval.T
    return {name: component(context) for name, component in COMPONENTS.items()} | {
        "expected_shortfall": figures.expected_shortfall,
        "expected_shortfall_error": figures.expected_shortfall_error,
        "value_at_risk": figures.value_at_risk,
        "value_at_risk_error": figures.value_at_risk_error,
        "open_orders": figures.open_orders,
        "wrong_way": figures.expected_shortfall - figures.positions_alone,
        "gross_exposure": abs(quantities) @ values.notional / rates,
        "net_exposure": quantities @ values.exposure / rates,
        "expected_shortfall_low": shortfall[0],
        "expected_shortfall_high": shortfall[1],
        "value_at_risk_low": risk[0],
        "value_at_risk_high": risk[1],
    }


def _gathered(columns: dict[str, Amounts], units: Units, accounts: int) -> dict[str, Amounts]:
    """Sums over each row's units: an isolated account's positions are charged one by one."""
    owners = np.cumsum(units.account < 0) - 1 + accounts
    row = np.where(units.account < 0, owners, units.account)
    rows = accounts + len(units.owner)
    return {
        name: np.bincount(row, column, rows).astype(np.float64) for name, column in columns.items()
    }


def _require(
    columns: dict[str, Amounts], policy: MarginPolicy, previous: Amounts | None, bars: int
) -> None:
    """Add `stressed`, `calm`, `total` and `margin` to the columns of components."""
    columns["stressed"] = np.maximum(columns["base"], columns["floor"]) + columns["stress_add_on"]
    columns["calm"] = calmed(
        columns["stressed"], columns["base"], policy.procyclicality, previous, bars
    )
    extras = columns["liquidity"] + columns["concentration"] + columns["stressed_funding"]
    columns["total"] = columns["calm"] + extras
    least = np.maximum(columns["total"], columns["leverage_minimum"])
    columns["unrounded"] = least
    columns["margin"] = rounded_up(least, policy.tick)


def calmed(
    stressed: Amounts,
    base: Amounts,
    part: Procyclicality | None,
    previous: Amounts | None,
    bars: int,
) -> Amounts:
    """Margin after buffer and speed limit.

    In calm times (1 + buffer) x stressed is charged. While requirements rise, the last charge
    stands as long as it covers them: the buffer is drawn down. Then no charge rises faster than
    the speed limit a bar, but for base, which is always covered; what is cut off is caught up with
    in the bars that follow.

    Parameters
    ----------
    stressed, base : ndarray of shape (rows,), float64
    part : Procyclicality, optional
    previous : ndarray of shape (rows,), float64, optional
        The last charge; NaN for a row that had none.
    bars : int
        Bars since then.

    References
    ----------
    EMIR RTS 153/2013, Article 28(1)(a): a buffer of at least 25 % that may be exhausted
    temporarily.

    Examples
    --------
    >>> part = Procyclicality(buffer=0.25)
    >>> last = np.array([np.nan, 125.0, 125.0, 125.0])
    >>> now = np.array([100.0, 110.0, 140.0, 80.0])
    >>> calmed(now, now, part, last, 1).tolist()
    [125.0, 125.0, 140.0, 100.0]
    """
    if part is None:
        return stressed
    highest = (1.0 + part.buffer) * stressed
    if previous is None:
        return highest
    known = np.isfinite(previous)
    last = np.where(known, previous, highest)
    calm = np.clip(last, stressed, highest)
    if part.speed_limit is not None:
        fastest = last * (1.0 + part.speed_limit) ** bars
        calm = np.maximum(np.minimum(calm, fastest), base)
    return np.where(known, calm, highest)


def rounded_up(amounts: Amounts, tick: float) -> NDArray[np.float64]:
    """Amounts rounded up to whole ticks.

    What is a whole number of ticks but for the last bits of a float stays.

    Examples
    --------
    >>> rounded_up(np.array([10.01, 10.0, 0.3]), 0.1).round(1).tolist()
    [10.1, 10.0, 0.3]
    """
    if tick == 0.0:
        return amounts
    return np.asarray(np.ceil(amounts / tick * (1.0 - 1e-12)) * tick)

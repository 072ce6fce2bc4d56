"""Operations of the formula: how the components of accounts become margins, step by step.

In: components of accounts, and of owners whose accounts are netted, with how they move with the
paths. Out: the margin, every amount on the way to it, and what each step adds. The order of the
steps stands in `mcmargin.policies.formula.FORMULA` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mcmargin.margins.estimates import (
    Estimate,
    chosen,
    fixed,
    larger,
    plus,
    smaller,
    times,
)
from mcmargin.margins.unit_context import Amounts
from mcmargin.policies.formula import FORMULA, Operation, Step
from mcmargin.policies.policy import MarginPolicy
from mcmargin.policies.policy_parts import Procyclicality

COARSE = 1.5
"""Standard error, in ticks, from which on rounding adds the variance of a uniform number."""

REACH = 14
"""Ticks on either side that are summed over where the standard error is smaller."""


def margin_of(
    components: Mapping[str, Estimate],
    policy: MarginPolicy,
    previous: Amounts | None,
    bars: int,
    kink: Callable[[str], int],
) -> dict[str, Estimate]:
    """Apply the formula, for initial margin or for maintenance margin alone.

    Parameters
    ----------
    components : mapping of str to Estimate
        By their names, one row an account; see `mcmargin.margins.components`.
    policy : MarginPolicy
    previous : ndarray of shape (rows,), float64, optional
        The last charge; NaN for a row that had none.
    bars : int
        Bars since then.
    kink : callable
        Column of a comparison by its name; see `mcmargin.margins.estimates.larger`.

    Returns
    -------
    dict of str to Estimate
        What each line of the formula makes, by its name, and `unrounded`.
    """
    made: dict[str, Estimate] = {}
    so_far = fixed(np.zeros(0))
    for (line, operation), steps in _groups():
        own = [components[step.component] for step in steps if step.component]
        if operation is Operation.START:
            so_far = own[0]
        elif operation is Operation.AT_LEAST:
            for step, amounts in zip(steps, own, strict=True):
                so_far = larger(so_far, amounts, kink(f"{line} or {step.name}"))
        elif operation is Operation.PLUS:
            so_far = plus(so_far, plus(*own))
        elif operation is Operation.CALM:
            part, base = policy.procyclicality, components["base"]
            so_far = calmed_estimate(so_far, base, part, previous, bars, kink)
        elif operation is Operation.ROUND_UP:
            made["unrounded"] = so_far
            so_far = rounded_estimate(so_far, policy.tick, kink("tick"))
        else:
            break  # Maintenance margin ends here, and initial margin goes on with it.
        made[line] = so_far
    return made


def with_maintenance(
    initial: Mapping[str, Estimate],
    maintenance: Mapping[str, Estimate] | None,
    kink: Callable[[str], int],
) -> dict[str, Estimate]:
    """Initial margin that is at least maintenance margin: the last step of the formula.

    Parameters
    ----------
    initial, maintenance : mapping of str to Estimate
        As `margin_of` returns them; no maintenance where the policy has none.
    kink : callable
        As for `margin_of`.
    """
    if maintenance is None:
        none = fixed(np.zeros(len(initial["margin"].amounts)))
        return {**initial, "maintenance": none, "maintenance_calm": none}
    # A shorter horizon can cost more, for example of a hedge that converges at expiry.
    at_least = {
        name: larger(initial[name], maintenance[name], kink(name))
        for name in ("margin", "unrounded")
    }
    own = {"maintenance": maintenance["margin"], "maintenance_calm": maintenance["calm"]}
    return {**initial, **own, **at_least}


def added_by_steps(columns: Mapping[Any, Any], tick: float) -> dict[str, Any]:
    """What each step of the formula adds to a margin, by the step's name; it adds up to the margin.

    Parameters
    ----------
    columns : mapping of str to float, or to ndarray
        Of a report's figures: one account's, or columns of many.
    tick : float
        The policy's; 0 for what the margin was before it was rounded.

    Examples
    --------
    >>> columns = dict.fromkeys(["stress_add_on", "liquidity", "concentration"], 0.0)
    >>> columns |= {"base": 100.0, "floor": 110.0, "calm": 137.5, "stressed_funding": 2.0}
    >>> columns |= {"leverage_minimum": 120.0, "margin": 140.0, "unrounded": 139.5}
    >>> added = added_by_steps(columns, tick=10.0)
    >>> {name: float(amount) for name, amount in added.items() if amount}
    {'base': 100.0, 'floor': 10.0, 'procyclicality': 27.5, 'stressed_funding': 2.0, 'tick': 0.5}
    """
    added: dict[str, Any] = {}
    so_far: Any = 0.0
    for (line, operation), steps in _groups():
        if operation is Operation.PLUS:
            own = {step.name: columns[step.component] for step in steps}
            added |= own
            # The columns of a report were summed up in this order, so that no bit differs.
            first, *others = own.values()
            so_far = so_far + sum(others, first)
            continue
        for step in steps:
            if operation is Operation.AT_LEAST:
                after = np.maximum(so_far, columns[step.component])
            elif operation is Operation.ROUND_UP:
                after = rounded_up(so_far, tick)
            elif operation is Operation.MAINTENANCE:
                after = columns["margin" if tick else "unrounded"]
            else:
                after = columns[line]
            added[step.name] = after - so_far
            so_far = after
    return added


def _groups() -> list[tuple[tuple[str, Operation], list[Step]]]:
    """Steps next to each other that have the same line and the same operation."""
    groups = groupby(FORMULA, key=lambda step: (step.line, step.operation))
    return [(key, list(steps)) for key, steps in groups]


def calmed_estimate(
    stressed: Estimate,
    base: Estimate,
    part: Procyclicality | None,
    previous: Amounts | None,
    bars: int,
    kink: Callable[[str], int],
) -> Estimate:
    """Margin after buffer and speed limit, and how it moves with the paths; see `calmed`."""
    if part is None:
        return stressed
    highest = times(1.0 + part.buffer, stressed)
    if previous is None:
        return highest
    known = np.isfinite(previous)
    last = fixed(np.where(known, previous, highest.amounts))
    calm = stressed
    if part.buffer > 0.0:
        drawn = smaller(last, highest, kink("last or highest"))
        calm = larger(drawn, stressed, kink("drawn or stressed"))
    if part.speed_limit is not None:
        fastest = times((1.0 + part.speed_limit) ** bars, last)
        limited = smaller(calm, fastest, kink("calm or fastest"))
        calm = larger(limited, base, kink("limited or base"))
    return chosen(calm, highest, known)


def calmed(
    stressed: Amounts,
    base: Amounts,
    part: Procyclicality | None,
    previous: Amounts | None,
    bars: int,
) -> Amounts:
    """Margin after buffer and speed limit.

    In calm times (1 + buffer) x stressed is charged. While requirements rise, the last charge stays
    as it is for as long as it covers them: the buffer is used up. The speed limit then limits the
    rise of a charge in each bar, but base is always covered. The rest of a rise follows in later
    bars.

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
    return calmed_estimate(
        fixed(stressed), fixed(base), part, previous, bars, lambda name: 0
    ).amounts


def rounded_up(amounts: Amounts, tick: float) -> NDArray[np.float64]:
    """Amounts rounded up to whole ticks.

    An amount that differs from a whole number of ticks by the last bits of a float is not raised.

    Examples
    --------
    >>> rounded_up(np.array([10.01, 10.0, 0.3]), 0.1).round(1).tolist()
    [10.1, 10.0, 0.3]
    """
    if tick == 0.0:
        return amounts
    return np.asarray(np.ceil(amounts / tick * (1.0 - 1e-12)) * tick)


def rounded_estimate(estimate: Estimate, tick: float, kink: int) -> Estimate:
    """Estimates rounded up to whole ticks; one that moves by less than a tick may not move at all.

    Examples
    --------
    >>> from mcmargin.margins.estimates import alone
    >>> moving = alone(np.array([10.5, 10.0, 100.0]), np.array([0.01, 0.01, 5.0]))
    >>> rounded_estimate(moving, 1.0, 0).error.round(3).tolist()
    [0.0, 0.5, 5.008]
    """
    amounts = rounded_up(estimate.amounts, tick)
    if tick == 0.0:
        return estimate
    error = estimate.error
    found = _rounded_error(estimate.amounts / tick, error / tick) * tick
    kept = np.minimum(found / np.where(error > 0.0, error, 1.0), 1.0)
    moved = times(kept, estimate)
    beside = np.zeros((len(amounts), kink + 1))
    beside[:, kink] = np.sqrt(np.maximum(found**2 - (kept * error) ** 2, 0.0))
    more = Estimate(np.zeros(len(amounts)), np.zeros((len(amounts), 0)), beside)
    moved = plus(moved, more)
    return Estimate(amounts, moved.moves, moved.rest)


def _rounded_error(mean: NDArray[np.float64], error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of normal numbers after they are rounded up to whole numbers."""
    found = np.sqrt(error**2 + 1.0 / 12.0)
    fine = np.flatnonzero(error < COARSE)
    ends = np.floor(mean[fine])[:, None] + np.arange(-REACH, REACH + 1)
    deviation = np.maximum(error[fine], 1e-12)[:, None]
    below = ndtr((ends - mean[fine, None]) / deviation)
    share = np.diff(below, axis=1)
    values = np.arange(share.shape[1], dtype=np.float64)
    first = share @ values
    found[fine] = np.sqrt(np.maximum(share @ values**2 - first**2, 0.0))
    found[error == 0.0] = 0.0
    return found

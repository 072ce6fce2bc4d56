"""The formula: how a row's components become its margin, in the order that `MarginPolicy` states.

In: components of accounts, and of owners that net, with how they move with the paths. Out: the
margin, each amount on the way to it, and the standard error of every one that moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
from mcmargin.policies.policy import MarginPolicy
from mcmargin.policies.policy_parts import Procyclicality

COARSE = 1.5
"""Standard errors, in ticks, from which rounding adds the variance of a uniform number."""

REACH = 14
"""Ticks either way that are looked at below that."""


def margin_of(
    parts: Mapping[str, Estimate],
    policy: MarginPolicy,
    previous: Amounts | None,
    bars: int,
    kink: Callable[[str], int],
) -> dict[str, Estimate]:
    """What components are put together to: `stressed`, `calm`, `total`, `unrounded` and `margin`.

    Parameters
    ----------
    parts : mapping of str to Estimate
        Components by their names, a row each; see `mcmargin.margins.components`.
    policy : MarginPolicy
    previous : ndarray of shape (rows,), float64, optional
        The last charge; NaN for a row that had none.
    bars : int
        Bars since then.
    kink : callable
        Column of a comparison by its name; see `mcmargin.margins.estimates.larger`.
    """
    worst = larger(parts["base"], parts["floor"], kink("base or floor"))
    stressed = plus(worst, parts["stress_add_on"])
    calm = calmed_estimate(stressed, parts["base"], policy.procyclicality, previous, bars, kink)
    extras = plus(parts["liquidity"], parts["concentration"], parts["stressed_funding"])
    total = plus(calm, extras)
    least = larger(total, parts["leverage_minimum"], kink("total or leverage"))
    return {
        "stressed": stressed,
        "calm": calm,
        "total": total,
        "unrounded": least,
        "margin": rounded_estimate(least, policy.tick, kink("tick")),
    }


def calmed_estimate(
    stressed: Estimate,
    base: Estimate,
    part: Procyclicality | None,
    previous: Amounts | None,
    bars: int,
    kink: Callable[[str], int],
) -> Estimate:
    """Margin after buffer and speed limit, with how it moves; see `calmed`."""
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
        held = smaller(calm, fastest, kink("calm or fastest"))
        calm = larger(held, base, kink("held or base"))
    return chosen(calm, highest, known)


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
    return calmed_estimate(
        fixed(stressed), fixed(base), part, previous, bars, lambda name: 0
    ).amounts


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


def rounded_estimate(estimate: Estimate, tick: float, kink: int) -> Estimate:
    """Estimates rounded up to whole ticks: what moves by less than a tick may not move at all.

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
    """Standard deviation of a normal number that is rounded up to whole numbers."""
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


def scaled_bounds(amounts: Amounts, bounds: Amounts, ratio: Amounts) -> Amounts:
    """Bounds of intervals as far from the amounts, times a ratio; unchanged where it is 1."""
    return np.where(ratio == 1.0, bounds, amounts + (bounds - amounts) * ratio)

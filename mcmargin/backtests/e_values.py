"""E-backtests: tests of value at risk and expected shortfall that may be looked at on every date.

In: profit and loss and the forecasts for the same dates, the oldest first. Out: an `EBacktest`: the
wealth of somebody who bets, date by date, that the forecast understates risk. Where forecasts are
right, the wealth does not grow on average. The probability that it ever reaches 1 / significance is
then at most that significance, however often one looks and whenever one stops.

References
----------
Wang, Wang and Ziegel (2022), E-backtesting, arXiv 2209.00991.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.backtests.observations import FAIL, PASS, UNDECIDED, observations, tail_share
from mcmargin.checks import real_number
from mcmargin.errors import PolicyError

MOST = 0.5
"""Largest share of the wealth that is bet on one date."""

BLOCK = 2**18
"""Numbers that are looked at together: dates times payoffs before them."""

STEPS = 100
"""Steps to the best share, at most."""


@dataclass(frozen=True, eq=False)
class EBacktest:
    """What the bets against a forecast came to.

    Attributes
    ----------
    test : str
    wealth : ndarray of shape (dates,), float64
        After each date; it begins at 1.
    first_rejection : int
        Place of the first date at which the wealth reached 1 / significance; -1 for none.
    p_value : float
        One over the largest wealth, at most 1: valid whenever one stops. NaN where undecided.
    verdict : str
        `fail` where the wealth ever reached 1 / significance, else `pass`; `undecided` where there
        is nothing to bet on, as `note` says.
    observations, exceptions : int
    note : str
        Empty, or why the verdict is undecided.
    """

    test: str
    wealth: NDArray[np.float64]
    first_rejection: int
    p_value: float
    verdict: str
    observations: int
    exceptions: int
    note: str = ""


def e_backtest_value_at_risk(
    profit_and_loss: Any, value_at_risk: Any, level: float, *, significance: float = 0.05
) -> EBacktest:
    """Bet against value at risk: the stake is paid back 1 / (1 - level) times after an exception.

    Parameters
    ----------
    profit_and_loss, value_at_risk : array_like of shape (dates,)
        The oldest first; a date with a NaN is left out.
    level : float
    significance : float

    Examples
    --------
    >>> gains = np.random.default_rng(2).standard_normal(2000)
    >>> e_backtest_value_at_risk(gains, np.full(2000, 1.959964), 0.975).verdict
    'pass'
    >>> e_backtest_value_at_risk(1.4 * gains, np.full(2000, 1.959964), 0.975).verdict
    'fail'
    """
    share, paired = tail_share(level), observations(profit_and_loss, value_at_risk)
    payoffs = paired.exceptions / share
    return _bets("e-backtest of value at risk", payoffs, paired.exceptions, significance)


def e_backtest_expected_shortfall(
    profit_and_loss: Any,
    value_at_risk: Any,
    expected_shortfall: Any,
    level: float,
    *,
    significance: float = 0.05,
) -> EBacktest:
    """Bet against expected shortfall, at value at risk beside it.

    The stake is paid back (loss - VaR)+ / ((1 - level) (ES - VaR)) times. On average this is at
    most 1 where value at risk is the true one and expected shortfall at least the true one: that is
    what is tested. A wrong value at risk is refuted with it: with the true expected shortfall
    of a normal at 97.5 %, 2.34, and a value at risk of 1.5 in place of 1.96, it is 1.39. Forecasts
    that give one number as both on every date, such as a fixed percentage, would be paid back
    without bound at their first exception; the verdict on them is undecided.

    Parameters
    ----------
    profit_and_loss, value_at_risk, expected_shortfall : array_like of shape (dates,)
        The oldest first; a date with a NaN is left out. A date whose expected shortfall equals its
        value at risk pays nothing without an exception, and without bound with one.
    level : float
    significance : float

    Examples
    --------
    >>> gains = np.random.default_rng(2).standard_normal(2000)
    >>> var, shortfall = np.full(2000, 1.959964), np.full(2000, 2.337803)
    >>> e_backtest_expected_shortfall(gains, var, shortfall, 0.975).verdict
    'pass'
    >>> e_backtest_expected_shortfall(1.4 * gains, var, shortfall, 0.975).verdict
    'fail'
    """
    share = tail_share(level)
    paired = observations(profit_and_loss, value_at_risk, expected_shortfall)
    beyond = np.maximum(-paired.profit_and_loss - paired.value_at_risk, 0.0)
    room = share * (paired.expected_shortfall - paired.value_at_risk)
    name = "e-backtest of expected shortfall"
    if len(room) and not room.any():
        note = "expected shortfall equals value at risk on every date"
        return _undecided(name, paired.exceptions, note)
    alone = np.where(beyond > 0.0, np.inf, 0.0)
    payoffs = np.where(room > 0.0, beyond / np.where(room > 0.0, room, 1.0), alone)
    return _bets(name, payoffs, paired.exceptions, significance)


def _bets(
    name: str,
    payoffs: NDArray[np.float64],
    exceptions: NDArray[np.bool_],
    significance: float,
) -> EBacktest:
    """Wealth of bets whose share maximises the growth over all dates before (GREE)."""
    if not 0.0 < real_number("significance", significance) < 1.0:
        raise PolicyError(f"significance must lie between 0 and 1, not {significance!r}")
    if len(payoffs) == 0:
        return _undecided(name, exceptions, "there are no observations")
    shares = best_shares(payoffs)
    bet = shares > 0.0
    grown = np.ones(len(payoffs))
    grown[bet] += shares[bet] * (payoffs[bet] - 1.0)
    wealth = np.cumprod(grown).astype(np.float64)
    reached = np.flatnonzero(wealth >= 1.0 / significance)
    largest = float(wealth.max(initial=1.0))
    return EBacktest(
        name,
        wealth,
        int(reached[0]) if len(reached) else -1,
        min(1.0, 1.0 / largest),
        FAIL if len(reached) else PASS,
        len(payoffs),
        int(exceptions.sum()),
    )


def _undecided(name: str, exceptions: NDArray[np.bool_], note: str) -> EBacktest:
    """Nothing was bet, and the wealth stays what it was."""
    wealth, dates = np.ones(len(exceptions)), len(exceptions)
    return EBacktest(name, wealth, -1, np.nan, UNDECIDED, dates, int(exceptions.sum()), note)


def best_shares(payoffs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the wealth to bet on each date: the best of all dates before it, 0 to `MOST`.

    Examples
    --------
    >>> best_shares(np.array([0.0, 4.0, 0.0, 0.0])).round(3).tolist()
    [0.0, 0.0, 0.333, 0.111]
    """
    shares = np.zeros(len(payoffs))
    before = payoffs[:-1]
    # Nothing is bet unless bets have paid more than they cost: the growth falls from 0 on.
    dates = np.flatnonzero(np.cumsum(before - 1.0) > 0.0)
    paid = before[before != 0.0]
    counts = np.cumsum(before != 0.0)[dates]
    lost = dates + 1 - counts
    step = max(1, BLOCK // max(1, len(paid)))
    for first in range(0, len(dates), step):
        part = slice(first, first + step)
        shares[dates[part] + 1] = _best(paid[: counts[part][-1]], counts[part], lost[part])
    return shares


def _best(
    paid: NDArray[np.float64], counts: NDArray[np.int64], lost: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Shares that are best for the mean log growth of several dates.

    Of each date, the first `counts` of the payoffs `paid` came before it, and `lost` that paid
    nothing. The growth has one maximum: its slope falls, and Newton's steps to where it is 0 are
    halved where they would leave the bracket.
    """
    known = np.arange(len(paid)) < counts[:, None]
    gains = np.where(known & np.isfinite(paid), paid - 1.0, 0.0)
    without_bound = (known & np.isinf(paid)).sum(axis=1)

    def slope(
        share: NDArray[np.float64], gains: NDArray[np.float64], at: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        terms = gains / (1.0 + share[:, None] * gains)
        rest, more = lost[at] / (1.0 - share), without_bound[at] / share
        curve = (terms * terms).sum(axis=1) + rest / (1.0 - share) + more / share
        return terms.sum(axis=1) - rest + more, -curve

    found = np.full(len(counts), MOST)
    left = np.flatnonzero(slope(found, gains, np.arange(len(counts)))[0] < 0.0)
    low, high = np.zeros(len(left)), np.full(len(left), MOST)
    share = np.full(len(left), 0.5 * MOST)
    for _ in range(STEPS):
        if not len(left):
            break
        value, curve = slope(share, gains[left], left)
        low, high = np.where(value > 0.0, share, low), np.where(value > 0.0, high, share)
        moved = share - value / curve
        moved = np.where((moved > low) & (moved < high), moved, 0.5 * (low + high))
        done = (np.abs(moved - share) < 1e-13) | (value == 0.0)
        found[left] = np.where(value == 0.0, share, moved)
        left, low, high, share = left[~done], low[~done], high[~done], moved[~done]
    return found

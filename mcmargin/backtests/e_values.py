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
from scipy import optimize

from mcmargin.backtests.observations import FAIL, PASS, observations, tail_share
from mcmargin.checks import real_number
from mcmargin.errors import PolicyError

MOST = 0.5
"""Largest share of the wealth that is bet on one date."""


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
        One over the largest wealth, at most 1: valid whenever one stops.
    verdict : str
        `fail` where the wealth ever reached 1 / significance, else `pass`.
    observations, exceptions : int
    """

    test: str
    wealth: NDArray[np.float64]
    first_rejection: int
    p_value: float
    verdict: str
    observations: int
    exceptions: int


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

    The stake is paid back (loss - VaR)+ / ((1 - level) (ES - VaR)) times, whose mean is at most 1
    where expected shortfall is at least the true one, whatever value at risk is.

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
    alone = np.where(beyond > 0.0, np.inf, 0.0)
    payoffs = np.where(room > 0.0, beyond / np.where(room > 0.0, room, 1.0), alone)
    return _bets("e-backtest of expected shortfall", payoffs, paired.exceptions, significance)


def _bets(
    name: str,
    payoffs: NDArray[np.float64],
    exceptions: NDArray[np.bool_],
    significance: float,
) -> EBacktest:
    """Wealth of bets whose share maximises the growth over all dates before (GREE)."""
    if not 0.0 < real_number("significance", significance) < 1.0:
        raise PolicyError(f"significance must lie between 0 and 1, not {significance!r}")
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


def best_shares(payoffs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the wealth to bet on each date: the best of all dates before it, 0 to `MOST`.

    Examples
    --------
    >>> best_shares(np.array([0.0, 4.0, 0.0, 0.0])).round(3).tolist()
    [0.0, 0.0, 0.333, 0.111]
    """
    shares = np.zeros(len(payoffs))
    paid: list[float] = []
    lost, gained = 0, 0.0
    for at, payoff in enumerate(payoffs.tolist()):
        if gained > 0.0:
            shares[at] = _best_share(np.array(paid), lost)
        # Nothing is bet unless bets have paid more than they cost: the growth falls from 0 on.
        gained += payoff - 1.0
        if payoff == 0.0:
            lost += 1
        else:
            paid.append(payoff)
    return shares


def _best_share(paid: NDArray[np.float64], lost: int) -> float:
    """Share that is best for the mean log growth of some payoffs, and of some that paid nothing."""
    finite, without_bound = paid[np.isfinite(paid)] - 1.0, int(np.isinf(paid).sum())

    def slope(share: float) -> float:
        gained = float((finite / (1.0 + share * finite)).sum())
        return gained - lost / (1.0 - share) + (without_bound / share if share else 0.0)

    if slope(MOST) >= 0.0:
        return MOST
    least = 1e-12 if without_bound else 0.0
    return float(optimize.brentq(slope, least, MOST, xtol=1e-12))

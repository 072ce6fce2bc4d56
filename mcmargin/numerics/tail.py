"""Tails: value at risk and expected shortfall of simulated losses, with Monte Carlo errors.

In: losses, where a loss is positive and the last dimension is paths. Out: value at risk (VaR) and
expected shortfall (ES), their standard errors and intervals, and the paths of the tail with their
weights in ES. With k = paths x (1 - level), in exact arithmetic, VaR is the ceil(k)-th worst loss,
and ES is the sum of the floor(k) worst losses and (k - floor(k)) times the next one, divided by k
(Acerbi and Tasche 2002). Of equal losses, the one with the lower path number counts as worse.
Losses on a device are selected there, and only the tail is copied to the host.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mcmargin.checks import plain_number, real_number, require_real_array
from mcmargin.errors import DataError, PolicyError
from mcmargin.numerics.arrays import array_module, to_host
from mcmargin.numerics.selection import worst_losses, worst_of_all


@dataclass(frozen=True, eq=False)
class TailEstimate:
    """The tail of one account's losses.

    Attributes
    ----------
    level : float
    value_at_risk, expected_shortfall : float
        Losses are positive.
    value_at_risk_error, expected_shortfall_error : float
        Monte Carlo standard errors. They do not include the errors of the model's parameters.
    value_at_risk_interval, expected_shortfall_interval : tuple of float
    paths : ndarray of shape (ceil(k),), int64
        Paths of the tail, the worst first.
    weights : ndarray of shape (ceil(k),), float64
        Weights of the losses on these paths in ES; their sum is 1.
    """

    level: float
    value_at_risk: float
    expected_shortfall: float
    value_at_risk_error: float
    expected_shortfall_error: float
    value_at_risk_interval: tuple[float, float]
    expected_shortfall_interval: tuple[float, float]
    paths: NDArray[np.int64]
    weights: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tails:
    """The tails of many accounts on the same paths and at the same level, all of the same length.

    Attributes
    ----------
    level : float
    value_at_risk, expected_shortfall : ndarray of shape (accounts,), float64
    value_at_risk_error, expected_shortfall_error : ndarray of shape (accounts,), float64
    value_at_risk_interval, expected_shortfall_interval : ndarray of shape (accounts, 2), float64
    paths : ndarray of shape (accounts, ceil(k)), int64
        Paths of the tail, the worst first, on the device of the losses.
    weights : ndarray of shape (ceil(k),), float64
        Weights of the losses on these paths in ES; the same for every account.
    excesses : ndarray of shape (accounts, ceil(k)), float64
        The loss on each path of the tail, less the value at risk.
    """

    level: float
    value_at_risk: NDArray[np.float64]
    expected_shortfall: NDArray[np.float64]
    value_at_risk_error: NDArray[np.float64]
    expected_shortfall_error: NDArray[np.float64]
    value_at_risk_interval: NDArray[np.float64]
    expected_shortfall_interval: NDArray[np.float64]
    paths: Any
    weights: NDArray[np.float64]
    excesses: NDArray[np.float64]


def tail_count(paths: int, level: float) -> Fraction:
    """Return k = paths x (1 - level), in exact decimal arithmetic.

    Raises
    ------
    PolicyError
        If the level is outside (0.5, 1), or k is below 1.

    Examples
    --------
    >>> tail_count(100_000, 0.99)
    Fraction(1000, 1)
    """
    if plain_number(level) is None or not 0.5 < level < 1:
        raise PolicyError(f"level must lie between 0.5 and 1 (0.99 is 99 %), not {level!r}")
    beyond = 1 - Fraction(Decimal(repr(float(level))))
    k = paths * beyond
    if k < 1:
        raise PolicyError(
            f"{paths} paths leave less than one in the tail at level {level}; "
            f"give at least {math.ceil(1 / beyond)}"
        )
    return k


def value_at_risk(losses: NDArray[Any], *, level: float) -> Any:
    """Return the value at risk: the ceil(k)-th worst loss, k = paths x (1 - level).

    Parameters
    ----------
    losses : ndarray of shape (paths,) or (..., paths)
        A loss is positive.
    level : float

    Returns
    -------
    float or ndarray of shape (...)

    Raises
    ------
    DataError
        If there is no loss, or a loss is not a finite number.
    PolicyError
        If the level is not between 0.5 and 1, or so high that k is below 1.

    Examples
    --------
    >>> value_at_risk(np.arange(1.0, 101.0), level=0.95)
    96.0
    """
    return _over_paths(losses, level, "value_at_risk")


def expected_shortfall(losses: NDArray[Any], *, level: float) -> Any:
    """Return the expected shortfall: the mean of the k = paths x (1 - level) worst losses.

    Parameters
    ----------
    losses : ndarray of shape (paths,) or (..., paths)
    level : float

    Returns
    -------
    float or ndarray of shape (...)

    Raises
    ------
    DataError, PolicyError
        As `value_at_risk`.

    Examples
    --------
    >>> expected_shortfall(np.arange(1.0, 101.0), level=0.95)
    98.0
    """
    return _over_paths(losses, level, "expected_shortfall")


def _over_paths(losses: NDArray[Any], level: float, figure: str) -> Any:
    losses = _checked(losses)
    tails = estimate_tails(losses.reshape(-1, losses.shape[-1]), level=level)
    values = getattr(tails, figure)
    return float(values[0]) if losses.ndim == 1 else values.reshape(losses.shape[:-1])


def _checked(losses: Any) -> Any:
    """Return losses as float64, where they lie; `estimate_tails` checks that they are finite."""
    xp = array_module(losses)
    require_real_array("losses", losses)
    try:
        losses = xp.asarray(losses, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"losses are no array of numbers ({error})") from None
    if losses.ndim == 0 or losses.size == 0:
        raise DataError("no losses; give an array of them, one a path")
    return losses


def estimate_tail(
    losses: NDArray[np.float64], *, level: float, confidence: float = 0.95
) -> TailEstimate:
    """Estimate VaR and ES of one account, with their Monte Carlo errors; see `estimate_tails`.

    Parameters
    ----------
    losses : ndarray of shape (paths,), float64
    level, confidence : float

    Examples
    --------
    >>> tail = estimate_tail(np.arange(1.0, 1001.0), level=0.99)
    >>> tail.expected_shortfall, tail.value_at_risk, len(tail.paths)
    (995.5, 991.0, 10)
    """
    losses = _checked(losses)
    if losses.ndim > 1:
        raise DataError(f"losses of shape {losses.shape} are of several accounts; give one's")
    tails = estimate_tails(losses[None], level=level, confidence=confidence)
    low, high = tails.value_at_risk_interval[0]
    below, above = tails.expected_shortfall_interval[0]
    return TailEstimate(
        level=level,
        value_at_risk=float(tails.value_at_risk[0]),
        expected_shortfall=float(tails.expected_shortfall[0]),
        value_at_risk_error=float(tails.value_at_risk_error[0]),
        expected_shortfall_error=float(tails.expected_shortfall_error[0]),
        value_at_risk_interval=(float(low), float(high)),
        expected_shortfall_interval=(float(below), float(above)),
        paths=to_host(tails.paths[0]),
        weights=tails.weights,
    )


def estimate_tails(losses: Any, *, level: float, confidence: float = 0.95) -> Tails:
    """Estimate VaR and ES of many accounts, with their Monte Carlo errors.

    The standard error of ES is sqrt((s**2 + level m**2) / (n - 1)). Here n = ceil(k) is the number
    of paths in the tail, and m and s**2 are the mean and the variance of n - 1 excesses over VaR,
    since VaR is the n-th of these losses itself. For large n the error is
    sqrt((s**2 + level (ES - VaR)**2) / k). The variance is computed with the divisor n - 2. If
    there is only one excess, it stands for m and for s; if the tail has only one path, the excess
    of the worst loss over the next one does. The interval of ES uses Student's t with n - 1 degrees
    of freedom, because the error is estimated from n - 1 excesses. The interval of VaR runs between
    two of the sorted losses, whose ranks are quantiles of the binomial number of exceedances.

    With 10 or more paths in the tail, intervals of 95 % contain the true ES in 94 % of samples of a
    normal distribution, in 89 to 95 % for Student's t with 5 degrees of freedom and in 87 to 93 %
    with 3. Heavy tails need more paths: a sample often lacks the rarest losses, most of all if the
    fourth moment does not exist. With fewer than 10 paths in the tail, the error is only a rough
    figure, and more paths should be drawn.

    Parameters
    ----------
    losses : ndarray of shape (accounts, paths), float64
        A loss is positive; numpy or cupy. The worst losses are selected where the array lies.
    level, confidence : float

    Returns
    -------
    Tails

    Raises
    ------
    DataError
        If a loss is not finite.
    PolicyError
        If the level or the confidence is out of range, or the level needs more paths.

    Examples
    --------
    >>> tails = estimate_tails(np.arange(1.0, 1001.0) * [[1.0], [2.0]], level=0.99)
    >>> tails.expected_shortfall.tolist()
    [995.5, 1991.0]
    """
    count = losses.shape[1]
    width = tail_width(count, level, confidence)
    check_finite(losses)
    paths, worst = worst_of_all(losses, width)
    return tails_of(paths, worst, count=count, level=level, confidence=confidence)


def tail_width(count: int, level: float, confidence: float = 0.95) -> int:
    """Return how many of the worst losses are needed for the figures of a tail.

    Parameters
    ----------
    count : int
        Number of paths.
    level, confidence : float

    Raises
    ------
    PolicyError
        As `estimate_tails`.

    Examples
    --------
    >>> tail_width(1000, 0.99)
    18
    """
    tail_count(count, level)
    confidence = real_number("confidence", confidence)
    if not 0 < confidence < 1:
        raise PolicyError(f"confidence must lie between 0 and 1, not {confidence}")
    return _rank_interval(count, level, confidence)[1]


def check_finite(losses: Any) -> None:
    """Refuse losses if one of them is not finite.

    Raises
    ------
    DataError
        If a loss is infinite or NaN.

    Examples
    --------
    >>> check_finite(np.array([1.0, np.nan]))
    Traceback (most recent call last):
    mcmargin.errors.DataError: a loss is not finite; check quantities and prices
    """
    if not bool(array_module(losses).isfinite(losses).all()):
        raise DataError("a loss is not finite; check quantities and prices")


def tails_of(
    paths: Any,
    worst: NDArray[np.float64],
    *,
    count: int,
    level: float,
    confidence: float = 0.95,
) -> Tails:
    """Estimate tails from the worst losses, which have been selected; see `estimate_tails`.

    Parameters
    ----------
    paths : ndarray of shape (accounts, tail_width), int64
    worst : ndarray of shape (accounts, tail_width), float64
        On the host; the worst first.
    count : int
        Number of all paths, of which these are the worst.
    level, confidence : float

    Examples
    --------
    >>> worst = np.arange(1000.0, 980.0, -1.0)[None]
    >>> tails = tails_of(np.arange(20)[None], worst, count=1000, level=0.99)
    >>> tails.expected_shortfall.tolist(), tails.value_at_risk.tolist()
    ([995.5], [991.0])
    """
    k = tail_count(count, level)
    lowest_rank, highest_rank = _rank_interval(count, level, confidence)
    length, weights = math.ceil(k), tail_weights(count, level)
    var = worst[:, length - 1].copy()
    # ES is computed as VaR plus the weighted excesses: this is accurate for losses that are all
    # large, and ES is never below VaR. Sums run along rows, so that an account's figures do not
    # depend on the other accounts.
    excess = worst[:, :length] - var[:, None]
    above = (excess * weights).sum(axis=1)
    es = var + above
    used = max(length, 2)
    over = worst[:, : used - 1] - worst[:, used - 1 : used]
    mean = over.sum(axis=1) / (used - 1)
    spread = over[:, 0] ** 2
    if used > 2:
        spread = ((over - mean[:, None]) ** 2).sum(axis=1) / (used - 2)
    error = np.sqrt((spread + level * mean**2) / (used - 1))
    t, z = _quantiles(confidence, used - 1)
    half = t * error
    interval = worst[:, [highest_rank - 1, lowest_rank - 1]]
    return Tails(
        level=level,
        value_at_risk=var,
        expected_shortfall=es,
        value_at_risk_error=(interval[:, 1] - interval[:, 0]) / (2 * z),
        expected_shortfall_error=error,
        value_at_risk_interval=interval,
        expected_shortfall_interval=np.column_stack([es - half, es + half]),
        paths=paths[:, :length],
        weights=weights,
        excesses=excess,
    )


def tail_weights(count: int, level: float) -> NDArray[np.float64]:
    """Return the weights of the tail's losses in ES, the worst first; float64 [ceil(k)].

    Examples
    --------
    >>> tail_weights(1500, 0.999).round(4).tolist()
    [0.6667, 0.3333]
    """
    k = tail_count(count, level)
    length = math.ceil(k)
    weights = np.full(length, float(1 / k))
    weights[-1] = float((k - (length - 1)) / k)
    return weights


def some_tails(tails: Tails, rows: Any) -> Tails:
    """Return the tails of some accounts.

    Parameters
    ----------
    tails : Tails
    rows : ndarray of int64
        Places of the accounts; the result has their order.

    Examples
    --------
    >>> tails = estimate_tails(np.arange(1.0, 1001.0) * [[1.0], [2.0]], level=0.99)
    >>> some_tails(tails, np.array([1])).expected_shortfall.tolist()
    [1991.0]
    """
    whole = ("level", "weights")
    own = {
        each.name: getattr(tails, each.name)[rows]
        for each in fields(Tails)
        if each.name not in (*whole, "paths")
    }
    return replace(tails, **own, paths=tails.paths[array_module(tails.paths).asarray(rows)])


def shortfalls(losses: Any, *, level: float) -> NDArray[np.float64]:
    """Return the expected shortfall of many accounts, without errors or paths.

    ES is VaR + mean excess / (1 - level). This is the figure of `estimate_tails`, in less time. It
    is not checked that the losses are finite.

    Parameters
    ----------
    losses : ndarray of shape (accounts, paths), float64
        A loss is positive; numpy or cupy.
    level : float

    Returns
    -------
    ndarray of shape (accounts,), float64

    References
    ----------
    Rockafellar and Uryasev (2002), Conditional value-at-risk for general loss distributions.

    Examples
    --------
    >>> shortfalls(np.arange(1.0, 1001.0) * [[1.0], [2.0]], level=0.99).tolist()
    [995.5, 1991.0]
    """
    xp = array_module(losses)
    k = tail_count(losses.shape[1], level)
    # They are sorted, so that their sum does not depend on the order of the selection.
    worst = xp.sort(worst_losses(losses, math.ceil(k)), axis=1)
    var = worst[:, 0]
    return to_host(var + (worst - var[:, None]).sum(axis=1) / float(k))


@lru_cache(maxsize=64)
def _rank_interval(count: int, level: float, confidence: float) -> tuple[int, int]:
    tail = (1 - confidence) / 2
    lowest = int(stats.binom.ppf(tail, count, 1 - level))
    highest = int(stats.binom.isf(tail, count, 1 - level)) + 1
    return max(lowest, 1), min(max(highest, math.ceil(tail_count(count, level)), 2), count)


@lru_cache(maxsize=64)
def _quantiles(confidence: float, degrees: int) -> tuple[float, float]:
    """How many standard errors an interval reaches: of Student's t, and of the normal."""
    tail = (1 - confidence) / 2
    return float(stats.t.isf(tail, degrees)), float(stats.norm.isf(tail))

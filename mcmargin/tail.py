"""Tails: value at risk and expected shortfall of simulated losses, with Monte Carlo errors.

In: losses, a loss positive, paths last. Out: VaR, ES, their standard errors and intervals, and
the tail's paths with the weights that make ES of them. With k = paths x (1 - level), exactly:
VaR is the ceil(k)-th worst loss; ES is the sum of the floor(k) worst plus (k - floor(k)) of the
next, over k (Acerbi and Tasche 2002). Ties go by path number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mcmargin.errors import DataError, PolicyError


@dataclass(frozen=True, eq=False)
class TailEstimate:
    """Tail of one account's losses.

    Attributes
    ----------
    level : float
    value_at_risk, expected_shortfall : float
        Losses are positive.
    value_at_risk_error, expected_shortfall_error : float
        Monte Carlo standard errors; they say nothing of parameter error.
    value_at_risk_interval, expected_shortfall_interval : tuple of float
    paths : ndarray of shape (ceil(k),), int64
        The tail's paths, increasing.
    weights : ndarray of shape (ceil(k),), float64
        Adding up to 1; ES is their sum with the losses.
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


def tail_count(paths: int, level: float) -> Fraction:
    """K = paths x (1 - level), in exact decimal arithmetic.

    Raises
    ------
    PolicyError
        If the level is outside (0.5, 1), or k is below 1.

    Examples
    --------
    >>> tail_count(100_000, 0.99)
    Fraction(1000, 1)
    """
    if not 0.5 < level < 1:
        raise PolicyError(f"level must lie between 0.5 and 1 (0.99 is 99 %), not {level}")
    beyond = 1 - Fraction(Decimal(repr(float(level))))
    k = paths * beyond
    if k < 1:
        raise PolicyError(
            f"{paths} paths leave less than one in the tail at level {level}; "
            f"give at least {math.ceil(1 / beyond)}"
        )
    return k


def value_at_risk(losses: NDArray[Any], *, level: float) -> Any:
    """Value at risk: the ceil(k)-th worst loss.

    Parameters
    ----------
    losses : ndarray of shape (paths,) or (..., paths)
        A loss is positive.
    level : float

    Returns
    -------
    float or ndarray of shape (...)

    Examples
    --------
    >>> value_at_risk(np.arange(1.0, 101.0), level=0.95)
    96.0
    """
    return _over_paths(losses, level, "value_at_risk")


def expected_shortfall(losses: NDArray[Any], *, level: float) -> Any:
    """Expected shortfall: mean of the worst k losses, the last in part.

    Parameters
    ----------
    losses : ndarray of shape (paths,) or (..., paths)
    level : float

    Returns
    -------
    float or ndarray of shape (...)

    Examples
    --------
    >>> expected_shortfall(np.arange(1.0, 101.0), level=0.95)
    98.0
    """
    return _over_paths(losses, level, "expected_shortfall")


def _over_paths(losses: NDArray[Any], level: float, figure: str) -> Any:
    losses = np.asarray(losses, np.float64)
    flat = losses.reshape(-1, losses.shape[-1])
    values = [getattr(estimate_tail(row, level=level), figure) for row in flat]
    return values[0] if losses.ndim == 1 else np.array(values).reshape(losses.shape[:-1])


def estimate_tail(
    losses: NDArray[np.float64], *, level: float, confidence: float = 0.95
) -> TailEstimate:
    """VaR and ES of one account with their Monte Carlo errors.

    The standard error of ES is sqrt((s**2 + level (ES - VaR)**2) / k), s**2 the variance of the
    losses in the tail. The interval of VaR runs between the order statistics whose ranks the
    binomial number of exceedances gives, at most the worst loss.

    Parameters
    ----------
    losses : ndarray of shape (paths,), float64
    level, confidence : float

    Raises
    ------
    DataError
        If a loss is not finite.
    PolicyError
        If level or confidence is out of range, or the level needs more paths.

    Examples
    --------
    >>> tail = estimate_tail(np.arange(1.0, 1001.0), level=0.99)
    >>> tail.expected_shortfall, tail.value_at_risk, len(tail.paths)
    (995.5, 991.0, 10)
    """
    losses = np.asarray(losses, np.float64)
    count = len(losses)
    k = tail_count(count, level)
    if not 0 < confidence < 1:
        raise PolicyError(f"confidence must lie between 0 and 1, not {confidence}")
    if not np.isfinite(losses).all():
        raise DataError("a simulated loss is not finite; check quantities and prices")
    lowest_rank, highest_rank = _rank_interval(count, level, confidence)
    worst = np.sort(np.partition(losses, count - highest_rank)[count - highest_rank :])[::-1]
    var = float(worst[math.ceil(k) - 1])
    paths, weights = _weights(losses, var, k)
    # Excesses over VaR keep the sum accurate, and ES at or above VaR, whatever the offset.
    excess = losses[paths] - var
    above = float(weights @ excess)
    spread = float(weights @ (excess - above) ** 2)
    es = var + above
    error = math.sqrt((spread + level * above**2) / k)
    z = float(stats.norm.isf((1 - confidence) / 2))
    low, high = float(worst[highest_rank - 1]), float(worst[lowest_rank - 1])
    return TailEstimate(
        level=level,
        value_at_risk=var,
        expected_shortfall=es,
        value_at_risk_error=(high - low) / (2 * z),
        expected_shortfall_error=error,
        value_at_risk_interval=(low, high),
        expected_shortfall_interval=(es - z * error, es + z * error),
        paths=paths,
        weights=weights,
    )


def _rank_interval(count: int, level: float, confidence: float) -> tuple[int, int]:
    tail = (1 - confidence) / 2
    lowest = int(stats.binom.ppf(tail, count, 1 - level))
    highest = int(stats.binom.isf(tail, count, 1 - level)) + 1
    return max(lowest, 1), min(max(highest, math.ceil(tail_count(count, level))), count)


def _weights(
    losses: NDArray[np.float64], var: float, k: Fraction
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Paths of the tail and their weights; of losses equal to VaR the lowest numbers count."""
    beyond = np.flatnonzero(losses > var)
    ties = np.flatnonzero(losses == var)[: math.ceil(k) - len(beyond)]
    paths = np.concatenate([beyond, ties])
    weights = np.full(len(paths), float(1 / k))
    weights[-1] = float((k - (len(paths) - 1)) / k)
    order = np.argsort(paths)
    return paths[order], weights[order]

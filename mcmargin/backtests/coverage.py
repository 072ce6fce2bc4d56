"""Tests of coverage: how often losses exceeded value at risk, and whether they came in clusters.

In: whether each date was an exception (`Observations.exceptions`), the oldest first, and the level.
Out: a `TestResult` each. Few exceptions, or none, have an answer that each function states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import xlog1py, xlogy

from mcmargin.backtests.observations import TestResult, observations, result, tail_share
from mcmargin.checks import whole_number
from mcmargin.errors import DataError

MULTIPLIERS = (1.50, 1.50, 1.50, 1.50, 1.50, 1.70, 1.76, 1.83, 1.88, 1.92, 2.00)
"""Basel's multiplier of capital after 0, 1, ... and 10 or more exceptions in 250 days at 99 %."""

YELLOW, RED = 0.95, 0.9999
"""Probabilities of at most as many exceptions from which the zones begin."""

TIME_CELLS = 2**14
"""Cells of the distribution of times between failures."""


def kupiec(exceptions: Any, level: float, *, significance: float = 0.05) -> TestResult:
    """Test whether exceptions are as frequent as the level says (Kupiec's proportion of failures).

    The likelihood ratio is -2 ln of the probability of the exceptions at the level's rate over that
    at their own rate. It also rejects forecasts that are too careful. With no exception it is
    -2 T ln(level); with no observation the verdict is undecided.

    Parameters
    ----------
    exceptions : array_like of bool of shape (dates,)
    level : float
        Confidence level of value at risk, such as 0.99.
    significance : float
        P-value below which the verdict is `fail`.

    References
    ----------
    Kupiec (1995), Techniques for verifying the accuracy of risk measurement models.

    Examples
    --------
    >>> days = np.arange(1043) < 57
    >>> found = kupiec(days, 0.95)
    >>> round(found.statistic, 6), round(found.p_value, 6), found.verdict
    (0.461466, 0.496939, 'pass')
    """
    hits = _hits(exceptions)
    if len(hits) == 0:
        return result("kupiec", np.nan, np.nan, hits, significance, "there are no observations")
    statistic = _frequency_ratio(hits, tail_share(level))
    return result("kupiec", statistic, stats.chi2.sf(statistic, 1), hits, significance)


def christoffersen_independence(
    exceptions: Any, level: float, *, significance: float = 0.05
) -> TestResult:
    """Test whether an exception makes one on the next date more, or less, probable.

    A Markov chain of exceptions is compared with independent ones. Fewer than two exceptions
    cannot come together, and the statistic is then small whatever the forecasts are, as the note
    says; with fewer than two observations the verdict is undecided. With few exceptions the test
    is careful: on 250 and on 1,000 dates at 97.5 % it rejects 1.5 % of right forecasts, not 5 %.

    Parameters
    ----------
    exceptions : array_like of bool of shape (dates,)
        The oldest first.
    level : float
        Of no influence on the statistic; it is there so that all tests are called alike.
    significance : float

    References
    ----------
    Christoffersen (1998), Evaluating interval forecasts.

    Examples
    --------
    >>> together, apart = np.zeros(500, bool), np.zeros(500, bool)
    >>> together[100:105], apart[::100] = True, True
    >>> christoffersen_independence(together, 0.99).verdict
    'fail'
    >>> christoffersen_independence(apart, 0.99).verdict
    'pass'
    """
    hits = _hits(exceptions)
    tail_share(level)
    name = "christoffersen independence"
    if len(hits) < 2:
        return result(name, np.nan, np.nan, hits, significance, "there is no pair of dates")
    statistic = _independence_ratio(hits)
    return result(name, statistic, stats.chi2.sf(statistic, 1), hits, significance, _sparse(hits))


def conditional_coverage(
    exceptions: Any, level: float, *, significance: float = 0.05
) -> TestResult:
    """Test frequency and independence of exceptions together (Christoffersen).

    The statistic is the sum of those of `kupiec` and `christoffersen_independence`.

    Parameters
    ----------
    exceptions : array_like of bool of shape (dates,)
        The oldest first.
    level, significance : float

    References
    ----------
    Christoffersen (1998), Evaluating interval forecasts.

    Examples
    --------
    >>> days = np.zeros(1000, bool)
    >>> days[[100, 300, 301, 302, 303, 304, 305, 500, 700, 900]] = True
    >>> kupiec(days, 0.99).verdict, conditional_coverage(days, 0.99).verdict
    ('pass', 'fail')
    """
    hits = _hits(exceptions)
    name = "conditional coverage"
    if len(hits) < 2:
        return result(name, np.nan, np.nan, hits, significance, "there is no pair of dates")
    statistic = _frequency_ratio(hits, tail_share(level)) + _independence_ratio(hits)
    return result(name, statistic, stats.chi2.sf(statistic, 2), hits, significance, _sparse(hits))


def time_between_failures(
    exceptions: Any, level: float, *, significance: float = 0.05
) -> TestResult:
    """Test whether the times between exceptions are those of independent exceptions.

    Each time, that to the first exception included, is compared with the geometric distribution of
    the level's rate. The statistic is Haas' sum of likelihood ratios, one a time. Haas takes it for
    chi-square with a degree of freedom an exception, which it is not: each ratio rests on a single
    time, so that its mean is near 1.15 and its variance near 2.58 however long the record is, and
    a right model would be rejected the more often the longer it is watched. The p-value here is
    that of as many independent geometric times; their sum is computed, not simulated. The dates
    after the last exception are not a time between two. Without an exception the verdict is
    undecided.

    Parameters
    ----------
    exceptions : array_like of bool of shape (dates,)
        The oldest first.
    level, significance : float

    References
    ----------
    Haas (2001), New methods in backtesting, financial engineering research centre, Bonn.

    Examples
    --------
    >>> days = np.arange(1000) % 100 == 99
    >>> found = time_between_failures(days, 0.99)
    >>> round(found.statistic, 6), found.verdict
    (0.0, 'pass')
    """
    hits = _hits(exceptions)
    share, name = tail_share(level), "time between failures"
    if not hits.any():
        return result(name, np.nan, np.nan, hits, significance, "there is no exception")
    ratios = _time_ratios(np.diff(np.flatnonzero(hits), prepend=-1).astype(np.float64), share)
    return result(name, float(ratios.sum()), _time_p_value(ratios, share), hits, significance)


def dynamic_quantile(
    profit_and_loss: Any,
    value_at_risk: Any,
    level: float,
    *,
    lags: int = 4,
    significance: float = 0.05,
) -> TestResult:
    """Test whether exceptions can be told in advance (Engle and Manganelli's dynamic quantile).

    Exceptions less their rate are regressed on a constant, on their own last values and on value at
    risk; all coefficients are 0 where forecasts are right. Columns that others explain, as a
    constant value at risk, take no degree of freedom. With no more dates than coefficients
    the verdict is undecided. The distribution is that of long records: at 97.5 % and a significance
    of 5 %, 10 % of right forecasts are rejected on 250 dates, and 5 % on 1,000.

    Parameters
    ----------
    profit_and_loss, value_at_risk : array_like of shape (dates,)
        The oldest first. A date that has a NaN, or has one among the dates it looks back on, is
        left out.
    level : float
    lags : int
        How many last dates are looked at; 0 or more.
    significance : float

    References
    ----------
    Engle and Manganelli (2004), CAViaR: conditional autoregressive value at risk by regression
    quantiles.

    Examples
    --------
    >>> gains = np.random.default_rng(1).standard_normal(2000)
    >>> dynamic_quantile(gains, np.full(2000, 2.326348), 0.99).verdict
    'pass'
    >>> calm = np.where(np.arange(2000) < 1800, 0.5, 3.0)
    >>> dynamic_quantile(gains * calm, np.full(2000, 2.326348), 0.99).verdict
    'fail'
    """
    share, lags = tail_share(level), whole_number("lags", lags, least=0)
    hits, name = observations(profit_and_loss, value_at_risk).exceptions, "dynamic quantile"
    gains, var = np.asarray(profit_and_loss, np.float64), np.asarray(value_at_risk, np.float64)
    excess = np.where(np.isnan(gains) | np.isnan(var), np.nan, (-gains > var) - share)
    # In units of its own: beside a value at risk of 1e12 the other columns would count for nothing.
    unit = float(np.nanmax(np.abs(var), initial=0.0)) or 1.0
    dates = max(0, len(excess) - lags)
    last = [excess[lags - lag : lags - lag + dates] for lag in range(1, lags + 1)]
    rows = np.column_stack([excess[lags:], *last, var[lags:] / unit])
    rows = rows[~np.isnan(rows).any(axis=1)]
    if len(rows) <= lags + 2:
        note = f"there are too few dates for {lags} lags"
        return result(name, np.nan, np.nan, hits, significance, note)
    regressors = np.column_stack([np.ones(len(rows)), rows[:, 1:]])
    fitted, _, rank, _ = np.linalg.lstsq(regressors, rows[:, 0], rcond=None)
    statistic = float(np.sum((regressors @ fitted) ** 2) / (share * (1.0 - share)))
    return result(name, statistic, stats.chi2.sf(statistic, int(rank)), hits, significance)


@dataclass(frozen=True)
class TrafficLight:
    """Basel's traffic light.

    Attributes
    ----------
    zone : str
        `green`, `yellow` or `red`.
    observations, exceptions : int
    cumulative_probability : float
        Of at most as many exceptions, if the forecasts are right.
    type_one_error : float
        Probability of at least as many exceptions, if the forecasts are right.
    multiplier : float
        Of capital, for 250 dates at 99 %; NaN elsewhere, where Basel has none.
    """

    zone: str
    observations: int
    exceptions: int
    cumulative_probability: float
    type_one_error: float
    multiplier: float


def traffic_light(exceptions: Any, level: float) -> TrafficLight:
    """Zone that the number of exceptions lies in.

    The yellow zone begins where the probability of at most as many exceptions reaches 95 %, the red
    one where it reaches 99.99 %.

    Parameters
    ----------
    exceptions : array_like of bool of shape (dates,)
    level : float

    Raises
    ------
    DataError
        Without an observation.

    References
    ----------
    Basel Committee on Banking Supervision, MAR32.

    Examples
    --------
    >>> found = traffic_light(np.arange(250) < 5, 0.99)
    >>> found.zone, round(found.cumulative_probability, 5), found.multiplier
    ('yellow', 0.95882, 1.7)
    """
    hits, share = _hits(exceptions), tail_share(level)
    if len(hits) == 0:
        raise DataError("backtest: the traffic light needs at least one observation")
    count, dates = int(hits.sum()), len(hits)
    below = float(stats.binom.cdf(count, dates, share))
    zone = "green" if below < YELLOW else "yellow" if below < RED else "red"
    basel = dates == 250 and share == 0.01
    multiplier = MULTIPLIERS[min(count, len(MULTIPLIERS) - 1)] if basel else float("nan")
    above = float(stats.binom.sf(count - 1, dates, share))
    return TrafficLight(zone, dates, count, below, above, multiplier)


def _hits(exceptions: Any) -> NDArray[np.bool_]:
    hits = np.asarray(exceptions)
    if hits.ndim != 1 or (hits.dtype != np.bool_ and len(hits)):
        raise DataError(
            "backtest: exceptions must be one truth value a date, such as "
            "observations(...).exceptions gives"
        )
    return hits.astype(np.bool_)


def _frequency_ratio(hits: NDArray[np.bool_], share: float) -> float:
    dates, count = len(hits), int(hits.sum())
    own = xlogy(count, count / dates) + xlogy(dates - count, 1.0 - count / dates)
    return float(2.0 * (own - xlogy(count, share) - xlog1py(dates - count, -share)))


def _independence_ratio(hits: NDArray[np.bool_]) -> float:
    before, after = hits[:-1], hits[1:]
    moved = {(a, b): int(np.sum((before == a) & (after == b))) for a in (0, 1) for b in (0, 1)}
    chain = sum(_likelihood(moved[a, 1], moved[a, 0]) for a in (0, 1))
    alone = _likelihood(moved[0, 1] + moved[1, 1], moved[0, 0] + moved[1, 0])
    return max(0.0, 2.0 * (chain - alone))


def _time_ratios(times: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Likelihood ratio of each time: at its own rate over the level's rate."""
    own = -np.log(times) + xlog1py(times - 1.0, -1.0 / times)
    wanted = np.log(share) + (times - 1.0) * np.log1p(-share)
    return np.asarray(np.maximum(2.0 * (own - wanted), 0.0))


def _time_p_value(ratios: NDArray[np.float64], share: float) -> float:
    """Probability that the ratios of independent geometric times add up to at least these.

    Ratios are rounded to whole cells, the observed ones like the possible ones, and the
    distribution of one is convolved with itself by a Fourier transform.
    """
    count = len(ratios)
    # Times that are exceeded with a probability below 1e-20 are left out; long ones are taken
    # together, a thousandth of their length at a time, so that they are few at any level.
    longest = np.ceil(-46.0 / np.log1p(-share)) + 1.0
    times = np.unique(np.ceil(np.geomspace(1.0, longest, TIME_CELLS)))
    exceeded = np.exp(np.concatenate([[0.0], times]) * np.log1p(-share))
    chances = exceeded[:-1] - exceeded[1:]
    # Ratios have mean 1.2 and variance below 3: beyond 12 deviations there is next to nothing.
    widest = 1.2 * count + 12.0 * np.sqrt(3.0 * count) + 100.0
    cell = widest / TIME_CELLS
    places = np.rint(_time_ratios(times, share) / cell).astype(np.int64)
    one = np.bincount(places, chances, TIME_CELLS)[:TIME_CELLS]
    total = np.fft.irfft(np.fft.rfft(one) ** count, TIME_CELLS)
    observed = int(np.rint(ratios / cell).sum())
    return float(np.clip(total[observed:].sum(), 0.0, 1.0))


def _likelihood(hits: int, misses: int) -> float:
    """Log-likelihood of hits and misses at their own rate."""
    total = max(1, hits + misses)
    return float(xlogy(hits, hits / total) + xlogy(misses, misses / total))


def _sparse(hits: NDArray[np.bool_]) -> str:
    few = int(hits.sum()) < 2
    return "fewer than two exceptions cannot come together" if few else ""

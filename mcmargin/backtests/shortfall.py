"""Tests of expected shortfall: whether losses beyond value at risk are as large as was forecast.

In: profit and loss, value at risk and expected shortfall, one entry a date. Acerbi and Szekely's
tests also take the profit and loss that the model itself drew for each date: it says how their
statistic is distributed if the model is right. `tail_pit` takes probabilities of what happened.
Out: a `TestResult` each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from mcmargin.backtests.observations import (
    Observations,
    TestResult,
    observations,
    ranked,
    result,
    series,
    tail_share,
)
from mcmargin.checks import require_real_array, whole_number
from mcmargin.errors import DataError

NO_EXCEPTION = "there is no exception"

NONE_DRAWN = "no history that the model drew has an exception"

BLOCK = 2**22
"""Numbers of the model's own draws that are looked at together."""


def acerbi_szekely_z1(
    profit_and_loss: Any,
    value_at_risk: Any,
    expected_shortfall: Any,
    draws: Any,
    *,
    significance: float = 0.05,
) -> TestResult:
    """Test the mean size of exceptions: Z1 = mean over exceptions of X / ES, plus 1.

    Z1 says nothing of how many exceptions there are: it is 0 on average where forecasts are right,
    and below 0 where the losses beyond value at risk are larger than expected shortfall says.
    Without an exception in what happened the verdict is undecided. What happened is therefore
    compared only with the simulated histories that have an exception; where none has one, the
    verdict is undecided too.

    Parameters
    ----------
    profit_and_loss : array_like of shape (dates,)
        X; a loss is negative.
    value_at_risk, expected_shortfall : array_like of shape (dates,)
        Losses are positive.
    draws : array_like of shape (histories, dates)
        Profit and loss that the model drew for each date.
    significance : float

    Returns
    -------
    TestResult
        The p-value is the share of these histories, with what happened among them, whose
        statistic is at most the observed one; `critical` is the statistic below which it fails.

    References
    ----------
    Acerbi and Szekely (2014), Backtesting expected shortfall.

    Examples
    --------
    >>> random = np.random.default_rng(7)
    >>> var, shortfall = np.full(500, 1.959964), np.full(500, 2.337803)
    >>> drawn = random.standard_normal((2000, 500))
    >>> happened = 1.5 * random.standard_normal(500)
    >>> acerbi_szekely_z1(happened, var, shortfall, drawn).verdict
    'fail'
    """
    return _acerbi_szekely(
        "acerbi-szekely z1",
        profit_and_loss,
        value_at_risk,
        expected_shortfall,
        draws,
        None,
        significance,
    )


def acerbi_szekely_z2(
    profit_and_loss: Any,
    value_at_risk: Any,
    expected_shortfall: Any,
    draws: Any,
    level: float,
    *,
    significance: float = 0.05,
) -> TestResult:
    """Test number and size of exceptions.

    Z2 = sum over exceptions of X / (T (1 - level) ES), plus 1. It is 0 on average where forecasts
    are right, and negative where risk is understated. Without an exception it is 1, which speaks
    for the forecasts.

    Parameters
    ----------
    profit_and_loss : array_like of shape (dates,)
        X; a loss is negative.
    value_at_risk, expected_shortfall : array_like of shape (dates,)
        Losses are positive.
    draws : array_like of shape (histories, dates)
        Profit and loss that the model drew for each date.
    level, significance : float

    Returns
    -------
    TestResult
        The p-value is the share of simulated histories, with what happened among them, whose
        statistic is at most the observed one; `critical` is the statistic below which it fails.

    References
    ----------
    Acerbi and Szekely (2014), Backtesting expected shortfall.

    Examples
    --------
    >>> random = np.random.default_rng(7)
    >>> var, shortfall = np.full(500, 1.959964), np.full(500, 2.337803)
    >>> drawn = random.standard_normal((2000, 500))
    >>> acerbi_szekely_z2(random.standard_normal(500), var, shortfall, drawn, 0.975).verdict
    'pass'
    """
    share = tail_share(level)
    return _acerbi_szekely(
        "acerbi-szekely z2",
        profit_and_loss,
        value_at_risk,
        expected_shortfall,
        draws,
        share,
        significance,
    )


def _acerbi_szekely(
    name: str,
    profit_and_loss: Any,
    value_at_risk: Any,
    expected_shortfall: Any,
    draws: Any,
    share: float | None,
    significance: float,
) -> TestResult:
    paired = observations(profit_and_loss, value_at_risk, expected_shortfall)
    hits, dates = paired.exceptions, len(paired.profit_and_loss)
    if dates == 0:
        return result(name, np.nan, np.nan, hits, significance, "there are no observations")
    if share is None and not hits.any():
        return result(name, np.nan, np.nan, hits, significance, NO_EXCEPTION)
    drawn = _draws(draws, profit_and_loss, value_at_risk, expected_shortfall)
    observed = _statistics(paired.profit_and_loss[None], paired, share)[0]
    step = max(1, BLOCK // dates)
    starts = range(0, len(drawn), step)
    null = np.concatenate([_statistics(drawn[at : at + step], paired, share) for at in starts])
    null = null[~np.isnan(null)]
    if len(null) == 0:
        return result(name, observed, np.nan, hits, significance, NONE_DRAWN)
    return ranked(name, observed, null, hits, significance)


def _statistics(
    gains: NDArray[np.float64], paired: Observations, share: float | None
) -> NDArray[np.float64]:
    """Z1 (NaN without an exception), or Z2 where the tail's share is given, of histories."""
    hits = -gains > paired.value_at_risk
    sums = np.sum(np.where(hits, gains / paired.expected_shortfall, 0.0), axis=1)
    if share is not None:
        return np.asarray(sums / (gains.shape[1] * share) + 1.0)
    counts = hits.sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1) + 1.0, np.nan)


def _draws(draws: Any, *given: Any) -> NDArray[np.float64]:
    """The model's own draws on the dates that have all figures."""
    require_real_array("backtest: draws", draws)
    drawn = np.asarray(draws, np.float64)
    dates = len(np.asarray(given[0]))
    if drawn.ndim != 2 or drawn.shape[1] != dates or len(drawn) == 0:
        raise DataError(
            f"backtest: draws must be of shape (histories, {dates}), a row a simulated history, "
            f"not {drawn.shape}"
        )
    known = ~np.isnan(np.array([np.asarray(each, np.float64) for each in given])).any(axis=0)
    drawn = drawn[:, known]
    if not np.isfinite(drawn).all():
        raise DataError("backtest: draws must be finite on every date that is tested")
    return drawn


def mcneil_frey(
    profit_and_loss: Any,
    value_at_risk: Any,
    expected_shortfall: Any,
    *,
    seed: int,
    resamples: int = 10_000,
    significance: float = 0.05,
) -> TestResult:
    """Test whether losses beyond value at risk exceed expected shortfall on average.

    The residuals (loss - ES) / ES of exceptions have mean 0 where forecasts are right. McNeil and
    Frey divide by the volatility that was forecast, which not every model has. The t-statistic is
    the same where expected shortfall is a fixed multiple of volatility. It is compared with those
    of resampled residuals whose mean was taken off, against the alternative of a positive mean.
    With few exceptions the test is careful: of right forecasts at 97.5 % (normal, and t with 5
    degrees of freedom) it rejects about 2 % at 6 exceptions, 4 % at 25 and 5 % at 100, at a
    significance of 5 %. With fewer than two exceptions the verdict is undecided.

    Parameters
    ----------
    profit_and_loss, value_at_risk, expected_shortfall : array_like of shape (dates,)
    seed : int
        Of the resampling.
    resamples : int
    significance : float

    References
    ----------
    McNeil and Frey (2000), Estimation of tail-related risk measures for heteroscedastic financial
    time series; Efron and Tibshirani (1993), An introduction to the bootstrap, section 16.4.

    Examples
    --------
    >>> gains = 1.3 * np.random.default_rng(3).standard_normal(2000)
    >>> mcneil_frey(gains, np.full(2000, 1.959964), np.full(2000, 2.337803), seed=7).verdict
    'fail'
    """
    paired, resamples = (
        observations(profit_and_loss, value_at_risk, expected_shortfall),
        whole_number("resamples", resamples),
    )
    seed = whole_number("seed", seed, least=0)
    hits, name = paired.exceptions, "mcneil-frey"
    beyond = -paired.profit_and_loss[hits]
    residuals = beyond / paired.expected_shortfall[hits] - 1.0
    if len(residuals) < 2:
        note = "fewer than two exceptions have no spread"
        return result(name, np.nan, np.nan, hits, significance, note)
    if np.ptp(residuals) == 0.0:
        note = "all exceptions are of one size, so that they have no spread"
        return result(name, np.nan, np.nan, hits, significance, note)
    observed = _t_statistics(residuals[None])[0]
    centred = residuals - residuals.mean()
    random = np.random.default_rng(seed)
    above, step = 0, max(1, BLOCK // len(centred))
    for first in range(0, resamples, step):
        shape = (min(step, resamples - first), len(centred))
        drawn = centred[random.integers(len(centred), size=shape)]
        above += int(np.sum(_t_statistics(drawn) >= observed))
    return result(name, observed, (1 + above) / (1 + resamples), hits, significance)


def _t_statistics(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over its standard error, of each row; infinite where a row is one number again."""
    deviation = rows.std(axis=1, ddof=1) / np.sqrt(rows.shape[1])
    mean = rows.mean(axis=1)
    alone = np.where(mean == 0.0, 0.0, np.copysign(np.inf, mean))
    spread = deviation > 1e-12 * np.abs(mean)
    return np.where(spread, mean / np.where(spread, deviation, 1.0), alone)


def tail_pit(probabilities: Any, level: float, *, significance: float = 0.05) -> TestResult:
    """Test the forecast distribution in its lower tail alone (Berkowitz).

    Each probability is the forecast's own of a profit and loss at most as large as what happened;
    where forecasts are right, they are uniform and their normal quantiles standard normal. A
    normal distribution of free mean and deviation is fitted to the quantiles in the tail, all
    others counting as lying above it, and its likelihood is compared with the standard normal's.
    Without a probability in the tail, the statistic is -2 T ln(level).

    Parameters
    ----------
    probabilities : array_like of shape (dates,)
        Above 0 and below 1. Of a rank among simulated values, (rank + 1/2) / (values + 1) is one.
    level : float
        The tail are the probabilities below 1 - level.
    significance : float

    References
    ----------
    Berkowitz (2001), Testing density forecasts, with applications to risk management.

    Examples
    --------
    >>> uniform = np.random.default_rng(5).random(2000)
    >>> tail_pit(uniform, 0.975).verdict
    'pass'
    >>> tail_pit(stats.norm.cdf(1.3 * stats.norm.ppf(uniform)), 0.975).verdict
    'fail'
    """
    share, found = tail_share(level), series("probabilities", probabilities)
    if not ((found > 0.0) & (found < 1.0)).all():
        raise DataError(
            "backtest: probabilities must lie above 0 and below 1; of a rank among simulated "
            "values give (rank + 1/2) / (values + 1)"
        )
    hits, name = found < share, "tail pit"
    if len(found) == 0:
        return result(name, np.nan, np.nan, hits, significance, "there are no observations")
    bound, others = float(stats.norm.ppf(share)), int((~hits).sum())
    quantiles = stats.norm.ppf(found[hits])

    def likelihood(mean: float, deviation: float) -> float:
        inside = stats.norm.logpdf(quantiles, mean, deviation).sum()
        return float(inside + others * stats.norm.logsf(bound, mean, deviation))

    def unlikely(given: NDArray[np.float64]) -> float:
        return -likelihood(float(given[0]), float(np.exp(given[1])))

    best = 0.0
    if len(quantiles):
        fitted = optimize.minimize(
            unlikely,
            np.zeros(2),
            method="Nelder-Mead",
            options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000},
        )
        best = -float(fitted.fun)
    statistic = max(0.0, 2.0 * (best - likelihood(0.0, 1.0)))
    return result(name, statistic, stats.chi2.sf(statistic, 2), hits, significance)

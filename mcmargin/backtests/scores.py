"""Scores: how good forecasts of value at risk and expected shortfall were, and which are better.

In: profit and loss and forecasts, one entry a date, or scores of several models. Out: a score a
date, lower is better; the comparison of two models; the set of models that cannot be told from the
best. A score here is consistent: whoever knows the true distribution cannot lower its mean by any
other forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mcmargin.backtests.observations import observations, tail_share
from mcmargin.checks import few, require_real_array, whole_number
from mcmargin.errors import DataError


def quantile_score(profit_and_loss: Any, value_at_risk: Any, level: float) -> NDArray[np.float64]:
    """Quantile (pinball) score of value at risk on each date.

    (1{X <= q} - p) (q - X), where X is the profit and loss, q = -VaR and p = 1 - level.

    Parameters
    ----------
    profit_and_loss, value_at_risk : array_like of shape (dates,)
        Dates with a NaN are left out.
    level : float

    Returns
    -------
    ndarray of shape (dates,), float64

    References
    ----------
    Koenker and Bassett (1978), Regression quantiles.

    Examples
    --------
    >>> quantile_score([1.0, -3.0], [2.0, 2.0], 0.99).round(4).tolist()
    [0.03, 0.99]
    """
    share, paired = tail_share(level), observations(profit_and_loss, value_at_risk)
    quantile, gains = -paired.value_at_risk, paired.profit_and_loss
    return np.asarray(((gains <= quantile) - share) * (quantile - gains))


def fz0_score(
    profit_and_loss: Any, value_at_risk: Any, expected_shortfall: Any, level: float
) -> NDArray[np.float64]:
    """Fissler and Ziegel's score FZ0 of value at risk and expected shortfall on each date.

    With v = -VaR, e = -ES and p = 1 - level:
    -1{X <= v} (v - X) / (p e) + v / e + ln(-e) - 1.

    Parameters
    ----------
    profit_and_loss, value_at_risk, expected_shortfall : array_like of shape (dates,)
        Dates with a NaN are left out.
    level : float

    Returns
    -------
    ndarray of shape (dates,), float64

    References
    ----------
    Fissler and Ziegel (2016), Higher order elicitability and Osband's principle; Patton, Ziegel and
    Chen (2019), Dynamic semiparametric models for expected shortfall (and value-at-risk).

    Examples
    --------
    >>> fz0_score([1.0, -3.0], [2.0, 2.0], [2.5, 2.5], 0.99).round(4).tolist()
    [0.7163, 40.7163]
    """
    share = tail_share(level)
    paired = observations(profit_and_loss, value_at_risk, expected_shortfall)
    v, e, gains = -paired.value_at_risk, -paired.expected_shortfall, paired.profit_and_loss
    return np.asarray((gains <= v) * (v - gains) / (-share * e) + v / e + np.log(-e) - 1.0)


@dataclass(frozen=True)
class Comparison:
    """Which of two models scored better.

    Attributes
    ----------
    mean_difference : float
        Of the first model's scores less the second's: below 0 where the first is better.
    standard_error : float
        Of that mean, with scores that depend on one another.
    statistic, p_value : float
        Of no difference, against any.
    observations, lags : int
    """

    mean_difference: float
    standard_error: float
    statistic: float
    p_value: float
    observations: int
    lags: int


def diebold_mariano(
    one: Any, other: Any, *, lags: int | None = None, horizon: int = 1
) -> Comparison:
    """Test whether two models' scores differ on average (Diebold and Mariano).

    The variance of the mean is Newey and West's, with Bartlett weights, where each score is of one
    date. Where horizons overlap, these weights would take it too low, and equal models would differ
    in 11 % of cases at 10 dates a horizon. All lags then count in full, and the statistic is
    corrected as by Harvey, Leybourne and Newbold and compared with a t distribution. A variance
    that is not above 0 is replaced by that with Bartlett weights over three times the lags.

    Parameters
    ----------
    one, other : array_like of shape (dates,)
        Scores of the same dates.
    lags : int, optional
        Dates apart that scores may depend on one another; by default ⌊4 (T/100)^(2/9)⌋, and at
        least the horizon less 1.
    horizon : int
        Dates that each score spans; scores of dates nearer than that overlap.

    Raises
    ------
    DataError
        For scores of different lengths, fewer than two, or that are not finite.

    References
    ----------
    Diebold and Mariano (1995), Comparing predictive accuracy; Newey and West (1987; 1994); Harvey,
    Leybourne and Newbold (1997), Testing the equality of prediction mean squared errors.

    Examples
    --------
    >>> random = np.random.default_rng(1)
    >>> found = diebold_mariano(random.random(500), random.random(500) + 0.2)
    >>> found.mean_difference < 0, found.p_value < 0.01
    (True, True)
    """
    first, second = _scores("scores of the first model", one), _scores("of the second", other)
    if len(first) != len(second) or len(first) < 2:
        raise DataError(
            f"backtest: give both models' scores of the same dates, at least two: there are "
            f"{len(first):,} and {len(second):,}"
        )
    dates = len(first)
    horizon = whole_number("horizon", horizon)
    if lags is None:
        lags = max(horizon - 1, int(4.0 * (dates / 100.0) ** (2.0 / 9.0)))
    chosen = min(whole_number("lags", lags, least=0), dates - 1)
    difference = first - second
    mean = float(difference.mean())
    variance = _long_run_variance(difference, chosen, whole=horizon > 1)
    error = float(np.sqrt(variance / dates))
    if error <= 1e-15 * max(1.0, float(np.abs(first).max())):
        # Equal scores differ by nothing; a constant difference leaves no doubt.
        same = mean == 0.0
        statistic = 0.0 if same else float(np.copysign(np.inf, mean))
        return Comparison(mean, 0.0, statistic, 1.0 if same else 0.0, dates, chosen)
    statistic = mean / error
    law = stats.t(dates - 1) if horizon > 1 else stats.norm
    p_value = float(2.0 * law.sf(abs(statistic)))
    return Comparison(mean, error, statistic, p_value, dates, chosen)


def _long_run_variance(values: NDArray[np.float64], lags: int, *, whole: bool) -> float:
    """Variance of the mean times the dates: all lags in full, or with Bartlett weights."""
    centred = values - values.mean()
    dates = len(centred)
    found = float(centred @ centred) / dates
    for lag in range(1, lags + 1):
        weight = 1.0 if whole else 1.0 - lag / (lags + 1)
        found += 2.0 * weight * float(centred[lag:] @ centred[:-lag]) / dates
    # Harvey, Leybourne and Newbold's factor, of scores that depend on one another up to `lags`.
    span = lags + 1
    factor = (dates + 1 - 2 * span + span * (span - 1) / dates) / dates
    if whole and found > 0.0 and factor > 0.0:
        return found / factor
    return _long_run_variance(values, min(3 * lags, dates - 1), whole=False) if whole else found


def model_confidence_set(
    scores: Mapping[str, Any],
    *,
    seed: int,
    size: float = 0.1,
    resamples: int = 1000,
    block_size: int | None = None,
) -> pd.DataFrame:
    """Models that cannot be told from the best one, by their scores.

    Parameters
    ----------
    scores : mapping of str to array_like of shape (dates,)
        Of each model, for the same dates.
    seed : int
        Of the bootstrap.
    size : float
        Probability that the best model is left out.
    resamples : int
    block_size : int, optional
        Dates that are drawn together; the square root of their number by default. Give at least a
        few horizons where horizons overlap.

    Returns
    -------
    DataFrame
        One row a model, the best first: model, mean_score, p_value, in_set. Models with equal
        scores on every date share what is found of one of them.

    References
    ----------
    Hansen, Lunde and Nason (2011), The model confidence set; as `arch.bootstrap.MCS` computes it.

    Examples
    --------
    >>> random = np.random.default_rng(1)
    >>> found = model_confidence_set(
    ...     {"good": random.random(400), "bad": random.random(400) + 1.0}, seed=7, resamples=100
    ... )
    >>> found["model"].tolist(), found["in_set"].tolist()
    (['good', 'bad'], [True, False])
    """
    from arch.bootstrap import MCS

    seed = whole_number("seed", seed, least=0)
    resamples = whole_number("resamples", resamples)
    columns = {name: _scores(f"scores of {name!r}", each) for name, each in scores.items()}
    lengths = {len(each) for each in columns.values()}
    if len(columns) < 2 or len(lengths) != 1 or min(lengths) < 2:
        raise DataError(
            "backtest: give the scores of at least two models, all of the same dates; these are "
            f"{few(f'{name}: {len(each):,}' for name, each in columns.items())}"
        )
    block = block_size if block_size is None else whole_number("block_size", block_size)
    # Equal columns have no variance between them, by which the statistic divides.
    first_of: dict[bytes, str] = {}
    same = {
        name: first_of.setdefault((each + 0.0).tobytes(), name) for name, each in columns.items()
    }
    frame = pd.DataFrame({name: columns[name] for name in first_of.values()})
    p_values, included = dict.fromkeys(frame, 1.0), list(frame)
    if len(first_of) > 1:
        found = MCS(frame, size, reps=resamples, block_size=block, seed=seed)
        found.compute()
        p_values, included = found.pvalues["Pvalue"].to_dict(), found.included
    table = pd.DataFrame(
        {
            "model": list(columns),
            "mean_score": [frame[same[name]].mean() for name in columns],
            "p_value": [p_values[same[name]] for name in columns],
            "in_set": [same[name] in included for name in columns],
        }
    )
    return table.sort_values("mean_score", kind="stable", ignore_index=True)


def murphy_value_at_risk(
    profit_and_loss: Any, value_at_risk: Any, level: float, thresholds: Any
) -> NDArray[np.float64]:
    """Mean elementary scores of value at risk: one number a threshold, lower is better.

    A model whose curve lies below another's at every threshold is better under every consistent
    score of the quantile. With q = -VaR and p = 1 - level the score at θ is
    (1{X <= q} - p) (1{θ < q} - 1{θ < X}).

    Parameters
    ----------
    profit_and_loss, value_at_risk : array_like of shape (dates,)
    level : float
    thresholds : array_like of shape (n,)
        In the units of profit and loss.

    Returns
    -------
    ndarray of shape (n,), float64

    References
    ----------
    Ehm, Gneiting, Jordan and Krüger (2016), Of quantiles and expectiles: consistent scoring
    functions, Choquet representations and forecast rankings.

    Examples
    --------
    >>> murphy_value_at_risk([-3.0, 1.0], [2.0, 2.0], 0.99, [-2.5, 0.0]).round(4).tolist()
    [0.495, 0.005]
    """
    share, paired = tail_share(level), observations(profit_and_loss, value_at_risk)
    at = _thresholds(thresholds)[:, None]
    quantile, gains = -paired.value_at_risk, paired.profit_and_loss
    signs = (gains <= quantile) - share
    return np.asarray((signs * ((at < quantile) * 1.0 - (at < gains))).mean(axis=1))


def murphy_expected_shortfall(
    profit_and_loss: Any,
    value_at_risk: Any,
    expected_shortfall: Any,
    level: float,
    thresholds: Any,
) -> NDArray[np.float64]:
    """Mean elementary scores of expected shortfall: one number a threshold, lower is better.

    With v = -VaR, e = -ES and p = 1 - level the score at η is
    1{η <= e} (1{X <= v} (v - X) / p - (v - η)) + 1{η <= X} (X - η).

    Parameters
    ----------
    profit_and_loss, value_at_risk, expected_shortfall : array_like of shape (dates,)
    level : float
    thresholds : array_like of shape (n,)
        In the units of profit and loss; losses are negative.

    Returns
    -------
    ndarray of shape (n,), float64

    References
    ----------
    Ziegel, Krüger, Jordan and Fasciati (2020), Robust forecast evaluation of expected shortfall.

    Examples
    --------
    >>> murphy_expected_shortfall([-3.0], [2.0], [2.5], 0.99, [-4.0, -1.0]).round(4).tolist()
    [99.0, 0.0]
    """
    share = tail_share(level)
    paired = observations(profit_and_loss, value_at_risk, expected_shortfall)
    at = _thresholds(thresholds)[:, None]
    v, e, gains = -paired.value_at_risk, -paired.expected_shortfall, paired.profit_and_loss
    beyond = (gains <= v) * (v - gains) / share
    forecast = (at <= e) * (beyond - (v - at))
    return np.asarray((forecast + (at <= gains) * (gains - at)).mean(axis=1))


def _scores(name: str, values: Any) -> NDArray[np.float64]:
    require_real_array(f"backtest: {name}", values)
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise DataError(f"backtest: {name} must be finite, one a date")
    return found


def _thresholds(values: Any) -> NDArray[np.float64]:
    return _scores("thresholds", np.atleast_1d(np.asarray(values)))

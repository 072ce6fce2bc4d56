"""What a clearing house publishes of margins: coverage by month, procyclicality, responsiveness.

In: a `BacktestResult`. Out: tables, one row a model, portfolio, horizon and level, and a month or a
number of bars where there are several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.backtests.backtest_values import BacktestValues
from mcmargin.checks import real_number, require_type, whole_number
from mcmargin.errors import DataError, PolicyError
from mcmargin.margins.procyclicality import procyclicality_measures

VOLATILITY_BARS = 20
"""Last bars whose profit and loss a portfolio's volatility is taken from."""

RISE_BARS = 5
"""Bars within which volatility must rise for an episode to begin."""

QUIET_BARS = 20
"""Bars after the beginning of an episode in which no other one begins."""


def monthly_coverage(result: BacktestValues) -> pd.DataFrame:
    """Coverage by calendar month: what ISO 20022 auth.066 and disclosure 6.5 ask for.

    A date belongs to the month in which it was forecast from. Every date counts, also where
    horizons overlap, since each day's margin is what is published.

    Parameters
    ----------
    result : BacktestResult

    Returns
    -------
    DataFrame
        Columns model, portfolio, horizon, level, month (the first day), observations, exceptions,
        coverage, largest_exception, average_exception (by how much losses exceeded margin; 0
        without an exception) and average_margin. Exceptions are losses beyond margin.

    References
    ----------
    CPMI-IOSCO (2015), Public quantitative disclosure standards for central counterparties, 6.5.

    Examples
    --------
    >>> from mcmargin.backtests.backtest import backtest
    >>> from mcmargin.backtests.peers import EwmaNormal
    >>> from mcmargin.demo import demo_prices
    >>> found = backtest(
    ...     demo_prices(), {"index": {"sp500": 1.0}}, {"normal": EwmaNormal()},
    ...     horizons=(1,), levels=(0.99,), window=250, start="2018-11-01", seed=7, jobs=1,
    ... )
    >>> monthly_coverage(found)[["month", "observations", "exceptions"]]
           month  observations  exceptions
    0 2018-11-01            21           0
    1 2018-12-01            18           1
    """
    require_type("result", result, BacktestValues)
    frame = result.frame.dropna(subset=["profit_and_loss"])
    beyond = -frame["profit_and_loss"] - frame["margin"]
    frame = frame.assign(
        month=frame["date"].to_numpy().astype("datetime64[M]").astype("datetime64[ns]"),
        beyond=beyond.where(beyond > 0.0),
    )
    keys = ["model", "portfolio", "horizon", "level", "month"]
    groups = frame.groupby(keys, observed=True, sort=True)
    table = pd.DataFrame(
        {
            "observations": groups.size(),
            "exceptions": groups["beyond"].count(),
            "largest_exception": groups["beyond"].max().fillna(0.0),
            "average_exception": groups["beyond"].mean().fillna(0.0),
            "average_margin": groups["margin"].mean(),
        }
    )
    table.insert(2, "coverage", 1.0 - table["exceptions"] / table["observations"])
    found = table.reset_index()
    return found.astype({"model": object, "portfolio": object})


def procyclicality(result: BacktestValues, *, bars: int = 5) -> pd.DataFrame:
    """How far, how fast and how much each margin moved; see `procyclicality_measures`.

    Parameters
    ----------
    result : BacktestResult
    bars : int
        Of the largest increase.

    Returns
    -------
    DataFrame
        Columns model, portfolio, horizon, level, peak_to_trough, largest_increase, bars,
        log_change_std and average_cost.

    Examples
    --------
    >>> from mcmargin.backtests.backtest import backtest
    >>> from mcmargin.backtests.peers import StaticPercentage
    >>> from mcmargin.demo import demo_prices
    >>> found = backtest(
    ...     demo_prices(), {"index": {"sp500": 1.0}}, {"static": StaticPercentage()},
    ...     horizons=(1,), levels=(0.99,), window=250, start="2018-11-01", seed=7, jobs=1,
    ... )
    >>> procyclicality(found)["peak_to_trough"].tolist()
    [1.0]
    """
    require_type("result", result, BacktestValues)
    rows = []
    for key, margins, _ in _margins(result):
        measures = procyclicality_measures(margins, bars=bars)
        rows.append(key | vars(measures))
    return pd.DataFrame(rows)


def responsiveness(
    result: BacktestValues, *, bars: Sequence[int] = (1, 5, 20), least_rise: float = 0.25
) -> pd.DataFrame:
    """By how much margins have risen some bars after a rise in volatility, beside the rise itself.

    A portfolio's volatility is the root mean square of its last 20 one-bar gains, as known on each
    date. An episode begins on the first date t0 on which volatility is `least_rise` or more above
    that of 5 bars before, and no other one begins in the 20 bars after. Both logarithmic rises
    start from the same date, t0 - 5, before volatility rose: that of volatility ends on t0, and
    that of the margin k bars later, for each k of `bars`. So responsiveness at k is

        mean of log(margin[t0 + k] / margin[t0 - 5])
        / mean of log(volatility[t0] / volatility[t0 - 5]),

    where means are over episodes. It is 0 for a margin that does not move, and 1 where the margin
    has risen by k bars after t0 as much as volatility had by t0. It exceeds 1 where volatility, and
    the margin with it, rose on: `volatility_after` is the rise of volatility to t0 + k, which the
    margin of a model that is always proportional to volatility equals.

    Parameters
    ----------
    result : BacktestResult
        With a horizon of one bar among its horizons.
    bars : sequence of int
        Bars after t0 on which margins are read.
    least_rise : float
        Of volatility, as a share.

    Returns
    -------
    DataFrame
        Columns model, portfolio, horizon, level, bars, rises (episodes), volatility_rise (to t0),
        margin_rise and volatility_after (to t0 + bars; means of log changes, NaN without an
        episode), and responsiveness, which is margin_rise over volatility_rise. An episode counts
        for every `bars` or for none: it is left out where the record ends too early for one.

    Raises
    ------
    DataError
        If the result has no horizon of one bar.
    PolicyError
        If `bars` or `least_rise` is out of range.

    References
    ----------
    BCBS, CPMI and IOSCO (2025), Transparency and responsiveness of initial margin in centrally
    cleared markets (d590), asks for such a measure and prescribes none. This one was chosen because
    all models are compared over the same episodes, which no model defines; because an episode
    counts once, however long it lasts; and because a margin that comes late scores less at a small
    number of bars than at a large one.

    Examples
    --------
    >>> from mcmargin.backtests.backtest import backtest
    >>> from mcmargin.backtests.peers import EwmaNormal, StaticPercentage
    >>> from mcmargin.demo import demo_prices
    >>> found = backtest(
    ...     demo_prices(), {"index": {"sp500": 1.0}},
    ...     {"normal": EwmaNormal(), "static": StaticPercentage()},
    ...     horizons=(1,), levels=(0.99,), window=250, start="2018-01-02", seed=7, jobs=1,
    ... )
    >>> responsiveness(found, bars=(5,))[["model", "rises", "responsiveness"]].round(2)
        model  rises  responsiveness
    0  normal      4            1.09
    1  static      4            0.00
    """
    require_type("result", result, BacktestValues)
    if 1 not in result.horizons:
        raise DataError(
            "backtest: responsiveness reads volatility off gains over one bar; walk with a horizon "
            "of 1 among the horizons"
        )
    if not real_number("least_rise", least_rise) > 0.0:
        raise PolicyError(f"least_rise must be above 0, not {least_rise!r}")
    gaps = [whole_number("bars", each) for each in bars]
    one_bar = result.realised[:, :, result.horizons.index(1)]
    volatility = [_volatility(one_bar[:, p]) for p in range(len(result.portfolios))]
    begins = [_episodes(each, least_rise) for each in volatility]
    rows = [
        key | {"bars": gap} | _rises(margins, volatility[at], begins[at], gap, max(gaps))
        for key, margins, at in _margins(result)
        for gap in gaps
    ]
    return pd.DataFrame(rows)


def _margins(
    result: BacktestValues,
) -> Iterator[tuple[dict[str, Any], NDArray[np.float64], int]]:
    """Margins of every model, portfolio, horizon and level, and the portfolio's place."""
    for key, (m, p, h, q) in result.cases():
        yield key, result.margin[m, :, p, h, q], p


def _volatility(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square of the gains that were known on each date; NaN until there are enough."""
    # The gain that begins on a date is known on the next one.
    known = pd.Series(gains).shift(1)
    squares = (known**2).rolling(VOLATILITY_BARS).mean().to_numpy(np.float64)
    return np.asarray(np.sqrt(squares))


def _episodes(volatility: NDArray[np.float64], least: float) -> NDArray[np.int64]:
    """Places of the dates on which episodes begin."""
    risen = _log_change(volatility, np.arange(RISE_BARS, len(volatility)), 0)
    begins: list[int] = []
    for at in np.flatnonzero(np.isfinite(risen) & (risen >= np.log1p(least))) + RISE_BARS:
        if not begins or at - begins[-1] > QUIET_BARS:
            begins.append(int(at))
    return np.array(begins, np.int64)


def _rises(
    margins: NDArray[np.float64],
    volatility: NDArray[np.float64],
    begins: NDArray[np.int64],
    gap: int,
    longest: int,
) -> dict[str, Any]:
    """Mean rises over the episodes that end `longest` bars after they began, or before."""
    kept = begins[begins + longest < len(margins)]
    told = {
        "volatility_rise": _log_change(volatility, kept, 0),
        "margin_rise": _log_change(margins, kept, gap),
        "volatility_after": _log_change(volatility, kept, gap),
    }
    means = {name: float(each.mean()) if len(kept) else np.nan for name, each in told.items()}
    ratio = means["margin_rise"] / means["volatility_rise"]
    return {"rises": len(kept)} | means | {"responsiveness": ratio}


def _log_change(
    values: NDArray[np.float64], begins: NDArray[np.int64], after: int
) -> NDArray[np.float64]:
    """Log change from `RISE_BARS` before each place to `after` bars after it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(values[begins + after] / values[begins - RISE_BARS]))

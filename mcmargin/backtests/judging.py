"""Judging a backtest: coverage, tests, scores and comparisons of what was forecast.

In: the values of a backtest. Out: tables, one row a model, portfolio, horizon and level, or one
row a test or a model where there are several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.backtests import coverage, e_values, scores, shortfall
from mcmargin.backtests.backtest_values import BacktestValues, Cell
from mcmargin.backtests.observations import TestResult, ranked, result, tail_share

NO_DISTRIBUTION = "the model gives no distribution"


def coverage_of(values: BacktestValues) -> pd.DataFrame:
    """One row a model, portfolio, horizon and level: how often losses exceeded value at risk.

    Columns model, portfolio, horizon, level, observations, exceptions, beyond_margin (losses that
    exceeded the margin), coverage (share of dates without an exception), largest and average
    exception (by how much a loss exceeded value at risk; 0 without one), average_margin. Of a
    horizon of several bars, only dates whose horizons do not overlap are taken.
    """
    rows = []
    for key, each in values.cells():
        beyond = -each.gains - each.value_at_risk
        hits = beyond[beyond > 0.0]
        rows.append(
            key
            | {
                "observations": len(each.gains),
                "exceptions": len(hits),
                "beyond_margin": int((-each.gains > each.margin).sum()),
                "coverage": 1.0 - len(hits) / len(each.gains) if len(each.gains) else np.nan,
                "largest_exception": float(hits.max(initial=0.0)),
                "average_exception": float(hits.mean()) if len(hits) else 0.0,
                "average_margin": _mean(each.margin),
            }
        )
    return pd.DataFrame(rows)


def tests_of(values: BacktestValues, *, significance: float = 0.05) -> pd.DataFrame:
    """One row a model, portfolio, horizon, level and test, the fields of `TestResult`.

    Of a horizon of several bars, only dates whose horizons do not overlap are taken. Tests that
    need a model's distribution are undecided where it gives none.
    """
    rows = [
        key | {each.name: getattr(found, each.name) for each in fields(TestResult)}
        for key, cell in values.cells()
        for found in _tests(cell, key["level"], values.settings["seed"], significance)
    ]
    return pd.DataFrame(rows)


def scores_of(values: BacktestValues) -> pd.DataFrame:
    """One row a model, portfolio, horizon and level: mean scores of all dates, lower is better.

    Columns model, portfolio, horizon, level, fz0, quantile_score, average_margin: NaN without an
    observation.
    """
    rows = []
    for key, each in values.cells(overlapping=True):
        forecast = each.gains, each.value_at_risk
        fz0 = scores.fz0_score(*forecast, each.expected_shortfall, key["level"])
        rows.append(
            key
            | {
                "fz0": _mean(fz0),
                "quantile_score": _mean(scores.quantile_score(*forecast, key["level"])),
                "average_margin": _mean(each.margin),
            }
        )
    return pd.DataFrame(rows)


def compared(values: BacktestValues, *, size: float = 0.1, resamples: int = 1000) -> pd.DataFrame:
    """One row a horizon, level and model, the best first: which are better, and how surely.

    Each date's FZ0 is averaged over the portfolios; a portfolio without an observation is left
    out. Columns horizon, level, model, fz0, difference (from the best), standard_error and p_value
    of it (Diebold and Mariano), in_set (whether the model confidence set of probability 1 - size
    has it), set_p_value, and margin_at_equal_coverage (see `margin_efficiency`). Fewer than
    two dates compare nothing: all models are then in the set, and the figures are NaN.
    """
    tables = []
    keys = ["horizon", "level", "model"]
    efficient = margin_efficiency(values).set_index(keys)["margin_at_equal_coverage"]
    for column, horizon in enumerate(values.horizons):
        ended = ~np.isnan(values.realised[:, :, column])
        taken = np.flatnonzero(ended.any(axis=0))
        known = np.asarray(ended[:, taken].all(axis=1))
        for place, level in enumerate(values.levels):
            by_model = {
                name: _mean_fz0(values, model, taken, column, place, known)
                for model, name in enumerate(values.models)
            }
            table = _ranking(by_model, horizon, values.settings["seed"], size, resamples)
            table.insert(0, "level", level)
            table.insert(0, "horizon", horizon)
            tables.append(table.join(efficient, on=keys))
    return pd.concat(tables, ignore_index=True)


def margin_efficiency(values: BacktestValues) -> pd.DataFrame:
    """One row a model, horizon and level: its average margin, were its coverage as promised.

    Each model's margins, of all dates and portfolios, are scaled by one factor, so that the share
    of losses beyond them is 1 - level, or as near to it as any factor comes. A model that asks
    for less at this equal coverage puts its margin where the risk is; whether its margins
    were high or low altogether has no influence.

    Columns model, horizon, level, observations, factor, exceptions (share of losses beyond the
    scaled margin), average_margin (not scaled) and margin_at_equal_coverage. Horizons that overlap
    are all taken. Without an observation the figures are NaN.
    """
    rows = []
    by_case: dict[tuple[str, int, float], list[Cell]] = {}
    for key, cell in values.cells(overlapping=True):
        by_case.setdefault((key["model"], key["horizon"], key["level"]), []).append(cell)
    for (model, horizon, level), cells in by_case.items():
        losses = -np.concatenate([each.gains for each in cells])
        margins = np.concatenate([each.margin for each in cells])
        factor, beyond = _factor(losses, margins, tail_share(level))
        average = _mean(margins)
        rows.append(
            {
                "model": model,
                "horizon": horizon,
                "level": level,
                "observations": len(losses),
                "factor": factor,
                "exceptions": beyond,
                "average_margin": average,
                "margin_at_equal_coverage": factor * average,
            }
        )
    return pd.DataFrame(rows)


def _factor(
    losses: NDArray[np.float64], margins: NDArray[np.float64], share: float
) -> tuple[float, float]:
    """Factor of the margins that leaves a share of losses beyond them, and the share it leaves."""
    if not len(losses):
        return np.nan, np.nan
    # A loss lies beyond a margin from the factor loss / margin down; beyond no margin, always.
    needed = np.where(losses > 0.0, np.inf, 0.0)
    np.divide(np.maximum(losses, 0.0), margins, out=needed, where=margins > 0.0)
    factors = np.unique(needed[np.isfinite(needed)])
    if not len(factors):
        return np.nan, np.nan
    beyond = len(needed) - np.searchsorted(np.sort(needed), factors, side="right")
    # Of two that come equally near, the larger factor, with fewer losses beyond it.
    miss = np.abs(beyond - share * len(needed))[::-1]
    chosen = len(factors) - 1 - int(np.argmin(miss))
    return float(factors[chosen]), float(beyond[chosen] / len(needed))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _mean_fz0(
    values: BacktestValues,
    model: int,
    taken: NDArray[np.intp],
    column: int,
    place: int,
    known: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """FZ0 of each date, averaged over the portfolios that are taken."""
    found = [
        scores.fz0_score(
            values.realised[known, portfolio, column],
            values.value_at_risk[model, known, portfolio, column, place],
            values.expected_shortfall[model, known, portfolio, column, place],
            values.levels[place],
        )
        for portfolio in taken
    ]
    return np.asarray(np.mean(found, axis=0)) if found else np.zeros(0)


def _tests(cell: Cell, level: float, seed: int, significance: float) -> Iterator[TestResult]:
    given: dict[str, Any] = {"significance": significance}
    hits = -cell.gains > cell.value_at_risk
    forecast = cell.gains, cell.value_at_risk
    both = (*forecast, cell.expected_shortfall)
    for test in (
        coverage.kupiec,
        coverage.christoffersen_independence,
        coverage.conditional_coverage,
        coverage.time_between_failures,
    ):
        yield test(hits, level, **given)
    yield coverage.dynamic_quantile(*forecast, level, **given)
    yield _z1(cell, hits, significance)
    yield _z2(cell, hits, level, significance)
    yield shortfall.mcneil_frey(*both, seed=seed, resamples=2000, **given)
    if np.isnan(cell.probability).any() or not len(cell.probability):
        yield result("tail pit", np.nan, np.nan, hits, significance, NO_DISTRIBUTION)
    else:
        yield shortfall.tail_pit(cell.probability, level, **given)
    for bet in (
        e_values.e_backtest_value_at_risk(*forecast, level, **given),
        e_values.e_backtest_expected_shortfall(*both, level, **given),
    ):
        largest = 1.0 / bet.p_value if bet.p_value else np.inf
        counts = bet.observations, bet.exceptions
        yield TestResult(bet.test, largest, bet.p_value, bet.verdict, *counts, bet.note)


def _z1(cell: Cell, hits: NDArray[np.bool_], significance: float) -> TestResult:
    name = "acerbi-szekely z1"
    if cell.dates_summed == 0:
        return result(name, np.nan, np.nan, hits, significance, NO_DISTRIBUTION)
    if not hits.any():
        return result(name, np.nan, np.nan, hits, significance, shortfall.NO_EXCEPTION)
    observed = float((cell.gains[hits] / cell.expected_shortfall[hits]).mean()) + 1.0
    some = cell.ratio_counts > 0
    if not some.any():
        return result(name, observed, np.nan, hits, significance, shortfall.NONE_DRAWN)
    drawn = cell.ratio_sums[some] / cell.ratio_counts[some] + 1.0
    return ranked(name, observed, drawn, hits, significance)


def _z2(cell: Cell, hits: NDArray[np.bool_], level: float, significance: float) -> TestResult:
    name, share = "acerbi-szekely z2", tail_share(level)
    if cell.dates_summed == 0:
        return result(name, np.nan, np.nan, hits, significance, NO_DISTRIBUTION)
    if not len(hits):
        return result(name, np.nan, np.nan, hits, significance, "there are no observations")
    ratios = np.where(hits, cell.gains / cell.expected_shortfall, 0.0)
    observed = float(ratios.sum()) / (len(hits) * share) + 1.0
    drawn = cell.ratio_sums / (cell.dates_summed * share) + 1.0
    return ranked(name, observed, drawn, hits, significance)


def _ranking(
    by_model: Mapping[str, NDArray[np.float64]],
    horizon: int,
    seed: int,
    size: float,
    resamples: int,
) -> pd.DataFrame:
    """Models by their scores, against the best one."""
    means = {name: _mean(own) for name, own in by_model.items()}
    names = sorted(means, key=means.__getitem__)
    best = by_model[names[0]]
    dates = len(best)
    if dates < 2:
        table = pd.DataFrame({"model": names, "fz0": [means[name] for name in names]})
        unknown = dict.fromkeys(["difference", "standard_error", "p_value"], np.nan)
        return table.assign(**unknown, in_set=True, set_p_value=np.nan)
    found = [scores.diebold_mariano(by_model[name], best, horizon=horizon) for name in names]
    table = pd.DataFrame(
        {
            "model": names,
            "fz0": [means[name] for name in names],
            "difference": [each.mean_difference for each in found],
            "standard_error": [each.standard_error for each in found],
            "p_value": [each.p_value for each in found],
        }
    )
    if len(names) == 1:
        return table.assign(in_set=True, set_p_value=1.0)
    # Blocks of a few horizons keep what overlaps together.
    block = min(dates, max(int(np.sqrt(dates)), 3 * horizon))
    chosen = scores.model_confidence_set(
        by_model, seed=seed, size=size, resamples=resamples, block_size=block
    ).set_index("model")
    table["in_set"] = chosen["in_set"].reindex(names).to_numpy(bool)
    table["set_p_value"] = chosen["p_value"].reindex(names).to_numpy(float)
    return table

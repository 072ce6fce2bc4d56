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
from mcmargin.backtests.observations import FAIL, PASS, TestResult, result, tail_share


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
                "average_margin": float(each.margin.mean()) if len(each.margin) else np.nan,
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

    Columns model, portfolio, horizon, level, fz0, quantile_score, average_margin.
    """
    rows = []
    for key, each in values.cells(overlapping=True):
        forecast = each.gains, each.value_at_risk
        fz0 = scores.fz0_score(*forecast, each.expected_shortfall, key["level"])
        rows.append(
            key
            | {
                "fz0": float(fz0.mean()),
                "quantile_score": float(scores.quantile_score(*forecast, key["level"]).mean()),
                "average_margin": float(each.margin.mean()),
            }
        )
    return pd.DataFrame(rows)


def compared(values: BacktestValues, *, size: float = 0.1, resamples: int = 1000) -> pd.DataFrame:
    """One row a horizon, level and model, the best first: which are better, and how surely.

    Each date's FZ0 is averaged over the portfolios. Columns horizon, level, model, fz0,
    difference (from the best), standard_error and p_value of it (Diebold and Mariano), in_set
    (whether the model confidence set of probability 1 - size has it) and set_p_value.
    """
    tables = []
    for column, horizon in enumerate(values.horizons):
        known = np.asarray(~np.isnan(values.realised[:, :, column]).any(axis=1))
        for place, level in enumerate(values.levels):
            by_model = {
                name: _mean_fz0(values, model, column, place, known)
                for model, name in enumerate(values.models)
            }
            table = _ranking(by_model, horizon, values.settings["seed"], size, resamples)
            table.insert(0, "level", level)
            table.insert(0, "horizon", horizon)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _mean_fz0(
    values: BacktestValues, model: int, column: int, place: int, known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """FZ0 of each date, averaged over the portfolios."""
    found = [
        scores.fz0_score(
            values.realised[known, portfolio, column],
            values.value_at_risk[model, known, portfolio, column, place],
            values.expected_shortfall[model, known, portfolio, column, place],
            values.levels[place],
        )
        for portfolio in range(len(values.portfolios))
    ]
    return np.asarray(np.mean(found, axis=0))


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
        note = "the model gives no distribution"
        yield result("tail pit", np.nan, np.nan, hits, significance, note)
    else:
        yield shortfall.tail_pit(cell.probability, level, **given)
    for bet in (
        e_values.e_backtest_value_at_risk(*forecast, level, **given),
        e_values.e_backtest_expected_shortfall(*both, level, **given),
    ):
        largest = 1.0 / bet.p_value if bet.p_value else np.inf
        verdict = FAIL if bet.verdict == FAIL else PASS
        yield TestResult(bet.test, largest, bet.p_value, verdict, bet.observations, bet.exceptions)


def _z1(cell: Cell, hits: NDArray[np.bool_], significance: float) -> TestResult:
    name = "acerbi-szekely z1"
    if cell.dates_summed == 0:
        note = "the model gives no distribution"
        return result(name, np.nan, np.nan, hits, significance, note)
    if not hits.any():
        return result(name, np.nan, np.nan, hits, significance, shortfall.NO_EXCEPTION)
    observed = float((cell.gains[hits] / cell.expected_shortfall[hits]).mean()) + 1.0
    counts = cell.ratio_counts
    drawn = np.where(counts > 0, cell.ratio_sums / np.maximum(counts, 1) + 1.0, 0.0)
    return _ranked(name, observed, drawn, hits, significance)


def _z2(cell: Cell, hits: NDArray[np.bool_], level: float, significance: float) -> TestResult:
    name, share = "acerbi-szekely z2", tail_share(level)
    if cell.dates_summed == 0:
        note = "the model gives no distribution"
        return result(name, np.nan, np.nan, hits, significance, note)
    ratios = np.where(hits, cell.gains / cell.expected_shortfall, 0.0)
    observed = float(ratios.sum()) / (len(hits) * share) + 1.0
    drawn = cell.ratio_sums / (cell.dates_summed * share) + 1.0
    return _ranked(name, observed, drawn, hits, significance)


def _ranked(
    name: str,
    observed: float,
    drawn: NDArray[np.float64],
    hits: NDArray[np.bool_],
    significance: float,
) -> TestResult:
    """A result whose p-value is the share of drawn statistics that are at most the observed one."""
    # Sums in another order differ in their last digits.
    below = int(np.sum(drawn <= observed + 1e-12 * max(1.0, abs(observed))))
    return result(name, observed, (1 + below) / (1 + len(drawn)), hits, significance)


def _ranking(
    by_model: Mapping[str, NDArray[np.float64]],
    horizon: int,
    seed: int,
    size: float,
    resamples: int,
) -> pd.DataFrame:
    """Models by their scores, against the best one."""
    names = sorted(by_model, key=lambda name: float(by_model[name].mean()))
    best = by_model[names[0]]
    dates = len(best)
    lags = max(horizon - 1, int(4.0 * (dates / 100.0) ** (2.0 / 9.0)))
    found = [scores.diebold_mariano(by_model[name], best, lags=lags) for name in names]
    table = pd.DataFrame(
        {
            "model": names,
            "fz0": [float(by_model[name].mean()) for name in names],
            "difference": [each.mean_difference for each in found],
            "standard_error": [each.standard_error for each in found],
            "p_value": [each.p_value for each in found],
        }
    )
    if len(names) == 1:
        return table.assign(in_set=True, set_p_value=1.0)
    chosen = scores.model_confidence_set(by_model, seed=seed, size=size, resamples=resamples)
    chosen = chosen.set_index("model")
    table["in_set"] = chosen["in_set"].reindex(names).to_numpy(bool)
    table["set_p_value"] = chosen["p_value"].reindex(names).to_numpy(float)
    return table

"""The page of a backtest: which model is better, whether margins covered, and how they moved.

In: a `BacktestResult`. Out: one HTML page, the same for the same result: no script runs, nothing is
loaded from elsewhere, and names are escaped whatever is in them. jinja2 and matplotlib are imported
on first use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mcmargin.backtests.backtest_charts import murphy_chart, timeline_chart
from mcmargin.backtests.backtest_values import BacktestValues
from mcmargin.backtests.coverage import traffic_light
from mcmargin.backtests.disclosure import procyclicality, responsiveness
from mcmargin.backtests.judging import compared, coverage_of, tests_of
from mcmargin.backtests.observations import FAIL
from mcmargin.backtests.scores import murphy_expected_shortfall
from mcmargin.checks import few
from mcmargin.reports.page_environment import page_environment

CHARTED = 6
"""Portfolios whose margins are drawn through time."""

DRAWN_DATES = 1500
"""Dates of a chart through time: the newest ones."""

THRESHOLDS = 81
"""Thresholds of a Murphy diagram."""

JUDGED = ("kupiec", "christoffersen independence", "acerbi-szekely z2")
"""Tests that the table of models counts."""


def backtest_to_html(result: BacktestValues) -> str:
    """One page; see `BacktestResult.to_html`."""
    ranked, tests = compared(result), tests_of(result)
    covered = coverage_of(result)
    best = str(ranked["model"].iloc[0])
    page: str = (
        page_environment()
        .get_template("backtest.html")
        .render(
            result=result,
            cases=_cases(result, ranked, tests, covered),
            best=best,
            lights=_lights(covered),
            years=_years(result),
            assets=_portfolios(covered),
            timelines=_timelines(result, best),
            murphy=_murphy(result),
            moved=_moved(result),
            failed=_failed(tests),
            judged=JUDGED,
        )
    )
    return page


def _cases(
    result: BacktestValues, ranked: pd.DataFrame, tests: pd.DataFrame, covered: pd.DataFrame
) -> list[dict[str, Any]]:
    """By horizon and level: a row a model, the best first, and the answer in words."""
    found = []
    for (horizon, level), own in ranked.groupby(["horizon", "level"], sort=False):
        same = (tests["horizon"] == horizon) & (tests["level"] == level)
        kept = covered[(covered["horizon"] == horizon) & (covered["level"] == level)]
        rows = []
        for row in own.to_dict("records"):
            mine = kept[kept["model"] == row["model"]]
            passed = {
                name: _passed(tests[same & (tests["model"] == row["model"])], name)
                for name in JUDGED
            }
            count = mine["observations"].sum()
            share = mine["exceptions"].sum() / count if count else np.nan
            rows.append(
                row
                | {
                    "passed": passed,
                    "exceptions": share,
                    "margin": _relative_margin(result, mine),
                }
            )
        chosen = [str(row["model"]) for row in rows if row["in_set"]]
        found.append({"horizon": horizon, "level": level, "rows": rows, "chosen": few(chosen)})
    return found


def _passed(tests: pd.DataFrame, name: str) -> str:
    """How many of the portfolios that were decided passed a test."""
    own = tests[(tests["test"] == name) & (tests["verdict"] != "undecided")]
    return f"{int((own['verdict'] != FAIL).sum())} of {len(own)}" if len(own) else "none decided"


def _relative_margin(result: BacktestValues, rows: pd.DataFrame) -> float:
    """Average margin as a share of gross exposure."""
    gross = np.abs(result.exposures).sum(axis=1)
    return float((rows["average_margin"].to_numpy(float) / gross).mean())


def _lights(covered: pd.DataFrame) -> list[dict[str, Any]]:
    """By horizon, level and model: how many portfolios lie in each zone."""
    rows = []
    for key, own in covered.groupby(["horizon", "level", "model"], sort=False):
        zones = {"green": 0, "yellow": 0, "red": 0}
        for each in own.to_dict("records"):
            if each["observations"]:
                hits = np.arange(each["observations"]) < each["exceptions"]
                zones[traffic_light(hits, float(each["level"])).zone] += 1
        rows.append(dict(zip(("horizon", "level", "model"), key, strict=True)) | zones)
    return rows


def _years(result: BacktestValues) -> dict[str, Any]:
    """Share of exceptions by year and model, over the first horizon at the first level."""
    horizon, level = result.horizons[0], result.levels[0]
    frame = result.frame.dropna(subset=["profit_and_loss"])
    frame = frame[(frame["horizon"] == horizon) & (frame["level"] == level)]
    year = frame["date"].dt.year.rename("year")
    table = frame.assign(year=year).pivot_table(
        index="year", columns="model", values="exception", aggfunc="mean", observed=True
    )
    return {"horizon": horizon, "level": level, "table": _records(table)}


def _portfolios(covered: pd.DataFrame) -> dict[str, Any]:
    """Exceptions by portfolio and model, over the first horizon at the first level."""
    first = covered.iloc[0]
    own = covered[(covered["horizon"] == first["horizon"]) & (covered["level"] == first["level"])]
    table = own.pivot_table(index="portfolio", columns="model", values="exceptions")
    table = table.reindex(list(dict.fromkeys(own["portfolio"]))).astype(np.int64)
    expected = float(own["observations"].iloc[0]) * (1.0 - float(first["level"]))
    return {"expected": expected, "table": _records(table)}


def _records(table: pd.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    return [
        (str(name), {str(column): value for column, value in row.items()})
        for name, row in table.iterrows()
    ]


def _timelines(result: BacktestValues, best: str) -> list[dict[str, str]]:
    """Margin of the best model against realised loss, over the first horizon at the first level."""
    model = result.models.index(best)
    found = []
    for at, name in enumerate(result.portfolios[:CHARTED]):
        newest = slice(-DRAWN_DATES, None)
        losses = -result.realised[newest, at, 0]
        margins = result.margin[model, newest, at, 0, 0]
        beyond = int(np.sum(losses > margins))
        svg = timeline_chart(f"t{at}", result.dates[newest], margins, losses)
        found.append({"name": name, "beyond": str(beyond), "svg": svg})
    return found


def _murphy(result: BacktestValues) -> list[dict[str, Any]]:
    """Elementary scores of expected shortfall, portfolios put on one scale by gross exposure."""
    found = []
    gross = np.abs(result.exposures).sum(axis=1)
    for column, horizon in enumerate(result.horizons):
        gains = result.realised[:, :, column] / gross
        known = ~np.isnan(gains)
        for place, level in enumerate(result.levels):
            forecasts = {
                name: (
                    result.value_at_risk[m, :, :, column, place] / gross,
                    result.expected_shortfall[m, :, :, column, place] / gross,
                )
                for m, name in enumerate(result.models)
            }
            reach = max(float(np.quantile(each, 0.99)) for _, each in forecasts.values())
            at = np.linspace(-1.5 * reach, 0.0, THRESHOLDS)
            curves = {
                name: murphy_expected_shortfall(
                    gains[known], var[known], shortfall[known], float(level), at
                )
                for name, (var, shortfall) in forecasts.items()
            }
            svg = murphy_chart(f"m{column}{place}", 100.0 * at, curves)
            found.append({"horizon": horizon, "level": level, "svg": svg})
    return found


def _moved(result: BacktestValues) -> list[dict[str, Any]]:
    """Procyclicality, and responsiveness within 5 bars, averaged over portfolios."""
    keys = ["horizon", "level", "model"]
    table = (
        procyclicality(result)
        .groupby(keys, sort=False)[["peak_to_trough", "largest_increase", "log_change_std"]]
        .mean()
    )
    if 1 in result.horizons:
        moved = responsiveness(result).pivot_table(
            index=keys, columns="bars", values="responsiveness", aggfunc="mean", dropna=False
        )
        table = table.join(moved.add_prefix("within_"))
    rows = table.reset_index().to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _failed(tests: pd.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    """By test: how many of the decided cases each model failed."""
    decided = tests[tests["verdict"] != "undecided"]
    table = decided.pivot_table(
        index="test",
        columns="model",
        values="verdict",
        aggfunc=lambda own: f"{int((own == FAIL).sum())} of {len(own)}",
        sort=False,
    )
    models = list(dict.fromkeys(tests["model"]))
    return _records(table.reindex(columns=models).fillna("none decided"))

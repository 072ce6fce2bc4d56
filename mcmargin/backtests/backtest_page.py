"""The page of a backtest: which model is better, whether margins covered, and how they moved.

In: the values of a backtest, and the tables that judge them. Out: one HTML page, the same for the
same result: no script runs, nothing is loaded from elsewhere, and names are escaped whatever is in
them. jinja2 and matplotlib are imported on first use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mcmargin.backtests.backtest_charts import DRAWN, murphy_chart, timeline_chart
from mcmargin.backtests.backtest_values import BacktestValues
from mcmargin.backtests.coverage import traffic_light
from mcmargin.backtests.observations import FAIL
from mcmargin.backtests.scores import murphy_expected_shortfall, murphy_value_at_risk
from mcmargin.checks import few
from mcmargin.reports.page_environment import page_environment

CHARTED = 6
"""Portfolios whose margins are drawn through time."""

WORST_MONTHS = 24
"""Rows of the table by month."""

THRESHOLDS = 81
"""Thresholds of a Murphy diagram."""

JUDGED = ("kupiec", "christoffersen independence", "acerbi-szekely z2")
"""Tests that the table of models counts."""


@dataclass(frozen=True, eq=False)
class PageTables:
    """Tables that a page shows; each is what the method of `BacktestResult` of this name returns.

    Attributes
    ----------
    compare, tests, coverage, monthly_coverage, procyclicality : DataFrame
    responsiveness : DataFrame, optional
        None where no horizon of one bar was walked, which it needs.
    """

    compare: pd.DataFrame
    tests: pd.DataFrame
    coverage: pd.DataFrame
    monthly_coverage: pd.DataFrame
    procyclicality: pd.DataFrame
    responsiveness: pd.DataFrame | None


def backtest_to_html(result: BacktestValues, tables: PageTables) -> str:
    """One page; see `BacktestResult.to_html`."""
    best = str(tables.compare["model"].iloc[0])
    page: str = (
        page_environment()
        .get_template("backtest.html")
        .render(
            result=result,
            cases=_cases(result, tables),
            best=best,
            lights=_lights(tables.coverage),
            years=_years(result),
            months=_months(result, tables.monthly_coverage, best),
            assets=_portfolios(tables.coverage),
            timelines=_timelines(result, best),
            murphy=_murphy(result),
            moved=_moved(tables),
            episodes=_episodes(tables.responsiveness),
            failed=_failed(tables.tests),
            judged=JUDGED,
            drawn=DRAWN,
        )
    )
    return page


def _cases(result: BacktestValues, tables: PageTables) -> list[dict[str, Any]]:
    """By horizon and level: a row a model, the best first, and the answer in words."""
    found = []
    tests, covered = tables.tests, tables.coverage
    for (horizon, level), own in tables.compare.groupby(["horizon", "level"], sort=False):
        same = (tests["horizon"] == horizon) & (tests["level"] == level)
        kept = covered[(covered["horizon"] == horizon) & (covered["level"] == level)]
        rows = []
        for row in own.to_dict("records"):
            mine = kept[kept["model"] == row["model"]]
            passed = {
                name: _passed(tests[same & (tests["model"] == row["model"])], name)
                for name in JUDGED
            }
            sums = mine[["observations", "exceptions", "beyond_margin"]].sum()
            count = sums["observations"] or np.nan
            rows.append(
                row
                | {
                    "passed": passed,
                    "beyond_var": sums["exceptions"] / count,
                    "beyond_margin": sums["beyond_margin"] / count,
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
    """Share of losses beyond value at risk by year and model, first horizon and first level."""
    gains = result.realised[:, :, 0]
    year = result.dates.astype("datetime64[Y]").astype(int) + 1970
    known = ~np.isnan(gains)
    rows = []
    for each in np.unique(year[known.any(axis=1)]):
        own = (year == each)[:, None] & known
        hits = [(-gains > var[:, :, 0, 0])[own].mean() for var in result.value_at_risk]
        rows.append((str(each), dict(zip(result.models, hits, strict=True))))
    return {"horizon": result.horizons[0], "level": result.levels[0], "table": rows}


def _months(result: BacktestValues, months: pd.DataFrame, best: str) -> dict[str, Any]:
    """The worst months of one model, first horizon and first level; amounts are shares of gross."""
    same = (months["horizon"] == result.horizons[0]) & (months["level"] == result.levels[0])
    own = months[same & (months["model"] == best)]
    gross = dict(zip(result.portfolios, np.abs(result.exposures).sum(axis=1), strict=True))
    amounts = ["largest_exception", "average_exception", "average_margin"]
    shares = own[amounts].div(own["portfolio"].map(gross), axis=0)
    worst = own.assign(**{name: shares[name] for name in amounts}).sort_values(
        ["exceptions", "largest_exception"], ascending=False, kind="stable"
    )
    return {"rows": worst.head(WORST_MONTHS).to_dict("records"), "count": len(own)}


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
        losses = -result.realised[:, at, 0]
        margins = result.margin[model, :, at, 0, 0]
        beyond = int(np.sum(losses > margins))
        svg = timeline_chart(f"t{at}", result.dates, margins, losses)
        found.append({"name": name, "beyond": str(beyond), "svg": svg})
    return found


def _murphy(result: BacktestValues) -> list[dict[str, Any]]:
    """Elementary scores of both forecasts, portfolios put on one scale by gross exposure."""
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
            quantile, shortfall = {}, {}
            for name, (var, es) in forecasts.items():
                given = gains[known], var[known]
                quantile[name] = murphy_value_at_risk(*given, float(level), at)
                shortfall[name] = murphy_expected_shortfall(*given, es[known], float(level), at)
            key = f"{column}{place}"
            found.append(
                {
                    "horizon": horizon,
                    "level": level,
                    "value_at_risk": murphy_chart(f"v{key}", 100.0 * at, quantile),
                    "expected_shortfall": murphy_chart(f"e{key}", 100.0 * at, shortfall),
                }
            )
    return found


def _moved(tables: PageTables) -> list[dict[str, Any]]:
    """Procyclicality, and responsiveness after some bars, averaged over portfolios."""
    keys = ["horizon", "level", "model"]
    table = tables.procyclicality.groupby(keys, sort=False)[
        ["peak_to_trough", "largest_increase", "log_change_std"]
    ].mean()
    if tables.responsiveness is not None:
        moved = tables.responsiveness.pivot_table(
            index=keys, columns="bars", values="responsiveness", aggfunc="mean", dropna=False
        )
        table = table.join(moved.add_prefix("after_"))
    rows = table.reset_index().to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _episodes(risen: pd.DataFrame | None) -> dict[str, Any] | None:
    """How many episodes of rising volatility there were, and how far it rose, as shares."""
    if risen is None:
        return None
    # No model, horizon or level changes the episodes.
    first = risen.iloc[0]
    same = (risen[["model", "horizon", "level"]] == first[["model", "horizon", "level"]]).all(
        axis=1
    )
    own = risen[same & (risen["rises"] > 0)]
    if own.empty:
        return None
    after = own.groupby("bars")["volatility_after"].mean().to_dict()
    return {
        "count": int(own.loc[own["bars"] == first["bars"], "rises"].sum()),
        "rise": float(np.expm1(own["volatility_rise"].mean())),
        "after": [(bars, float(np.expm1(rise))) for bars, rise in after.items()],
    }


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

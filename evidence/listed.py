"""S&P 500, NASDAQ and WTI, from 1999 to 2018: every model of the package, and its peers.

In: the closes that ship with `arch`. Out: a `BacktestResult`, and the table of it.
"""

import numpy as np
import pandas as pd

import mcmargin as mm
from mcmargin.backtests.backtest_page import JUDGED
from mcmargin.backtests.peers import (
    EwmaNormal,
    FilteredHistorical,
    HistoricalSimulation,
    LogGarchCopula,
    PriceScan,
    StaticPercentage,
)
from mcmargin.demo import demo_prices

OURS = {
    "gjr, skewt, t copula (default)": mm.ModelSpec("gjr", "skewt", "t"),
    "gjr, t, t copula": mm.ModelSpec("gjr", "t", "t"),
    "garch, skewt, t copula": mm.ModelSpec("garch", "skewt", "t"),
    "garch, t, t copula": mm.ModelSpec("garch", "t", "t"),
    "garch, normal, gaussian copula": mm.ModelSpec("garch", "normal", "gaussian"),
    "egarch, skewt, t copula": mm.ModelSpec("egarch", "skewt", "t"),
    "ewma, t, t copula": mm.ModelSpec("ewma", "t", "t"),
    "gjr, empirical, historical": mm.ModelSpec("gjr", "empirical", "historical"),
    "garch, empirical, historical": mm.ModelSpec("garch", "empirical", "historical"),
}

PEERS = {
    "peer: GARCH-t copula on log returns": LogGarchCopula(),
    "peer: filtered historical, EWMA": FilteredHistorical(),
    "peer: historical simulation, 500": HistoricalSimulation(500),
    "peer: historical simulation, 1,000": HistoricalSimulation(1000),
    "peer: EWMA normal": EwmaNormal(),
    "peer: price scan": PriceScan(),
    "peer: static 10 %": StaticPercentage(0.1),
}


def portfolios(assets):
    """Each asset long and short, all of them, a spread, and four at random; gross exposure 1."""
    found = {}
    for name in assets:
        found[f"long {name}"], found[f"short {name}"] = {name: 1.0}, {name: -1.0}
    found["equal weights"] = dict.fromkeys(assets, 1.0 / len(assets))
    found["spread"] = {assets[0]: 0.5, assets[1]: -0.5}
    for at, weights in enumerate(np.random.default_rng(7).standard_normal((4, len(assets)))):
        weights = weights / np.abs(weights).sum()
        found[f"random {at + 1}"] = dict(zip(assets, weights.tolist(), strict=True))
    return found


def walked(folder, *, small, progress=None):
    """The backtest: windows of 1,000 returns, fits every 20 dates, 10,000 paths."""
    prices = demo_prices()
    models = OURS | PEERS
    settings = {"start": "2018-11-01", "paths": 1000} if small else {"paths": 10_000}
    if small:
        models = {name: models[name] for name in [list(OURS)[6], *list(PEERS)[1:3]]}
    return mm.backtest(
        prices,
        portfolios(prices.assets),
        models,
        window=1000,
        refit_every=20,
        seed=7,
        folder=folder,
        progress=progress,
        **settings,
    )


def table_of(result):
    """One row a horizon, level and model, the best first."""
    tests, covered = result.tests(), result.coverage()
    gross = pd.Series(np.abs(result.exposures).sum(axis=1), result.portfolios)
    keys = ["horizon", "level", "model"]
    table = result.compare().drop(columns=["p_value", "set_p_value"])
    efficient = table.pop("margin_at_equal_coverage")
    of_the_best = efficient / efficient.groupby([table[key] for key in keys[:2]]).transform("first")
    sums = covered.groupby(keys)[["observations", "exceptions", "beyond_margin"]].sum()
    share = 100.0 * covered["average_margin"] / covered["portfolio"].map(gross)
    columns = {
        "beyond_value_at_risk_percent": 100.0 * sums["exceptions"] / sums["observations"],
        "beyond_margin_percent": 100.0 * sums["beyond_margin"] / sums["observations"],
        "margin_percent_of_gross": share.groupby([covered[key] for key in keys]).mean(),
    }
    for name in JUDGED:
        own = tests[(tests["test"] == name) & (tests["verdict"] != "undecided")]
        passed = own["verdict"].eq("pass").groupby([own[key] for key in keys])
        columns[f"passed {name}"] = 100.0 * passed.mean()
    moved = result.procyclicality().groupby(keys)["peak_to_trough"].mean()
    columns["peak_to_trough"] = moved
    for bars, risen in result.responsiveness().groupby("bars"):
        columns[f"responsiveness_{bars}_bars"] = risen.groupby(keys)["responsiveness"].mean()
    table["margin_at_equal_coverage_percent_of_best"] = 100.0 * of_the_best
    return table.join(pd.DataFrame(columns), on=keys)


def text_of(result, table):
    """The table as Markdown."""
    lines = [
        "# S&P 500, NASDAQ and WTI",
        "",
        f"{len(result.dates):,} dates from {str(result.dates[0])[:10]} to "
        f"{str(result.dates[-1])[:10]}, {len(result.portfolios)} portfolios, windows of "
        f"{result.settings['window']:,} returns, fits every {result.settings['refit_every']} "
        f"dates, {result.settings['paths']:,} paths, seed {result.settings['seed']}. Lower FZ0 is "
        "better; its difference from the best stands with the standard error. A loss is counted "
        "beyond value at risk, which the level bounds, and beyond the margin, which is expected "
        "shortfall here. Static percentages and price scans have one number for all three. Over 2 "
        "bars, losses are counted and tested on every second date; FZ0 is the mean of all dates.",
        "",
        "Kupiec, Christoffersen and Z2 have the share of portfolios, in %, whose p-value is 5 % or "
        "more, of those that could be decided; [size_and_power.md](size_and_power.md) says how "
        "often each test fails a right model. Margin is the average, in % of gross exposure. "
        "Margin at equal coverage is what is left of it when one factor scales all margins of a "
        "model, so that the share of losses beyond them is what the level promises, in % of that "
        "of the first model. Responsiveness is the rise of log margin, 1, 5 and 20 bars after "
        "volatility rose by 25 % or more, over the rise of log volatility up to that date.",
        "",
        "The peer 'GARCH-t copula on log returns' is a simple one: zero mean, no leverage, and a "
        "copula whose degrees of freedom are fixed at 6 and not fitted.",
    ]
    for (horizon, level), own in table.groupby(["horizon", "level"], sort=False):
        lines += [
            "",
            f"## {horizon} bar{'' if horizon == 1 else 's'}, {100 * level:g} %",
            "",
            "| Model | FZ0 | behind the best | in the 90 % set | beyond VaR % | beyond margin % | "
            "Kupiec | Christoffersen | Z2 | margin % | at equal coverage % | peak / trough | "
            "responsiveness 1, 5, 20 |",
            f"|{' --- |' * 13}",
        ]
        for row in own.to_dict("records"):
            passed = [row[f"passed {name}"] for name in JUDGED]
            told = ["" if np.isnan(each) else f"{each:.0f}" for each in passed]
            moved = [f"{row[f'responsiveness_{bars}_bars']:.2f}" for bars in (1, 5, 20)]
            lines.append(
                f"| {row['model']} | {row['fz0']:.4f} | {row['difference']:.4f} ± "
                f"{row['standard_error']:.4f} | {'yes' if row['in_set'] else 'no'} | "
                f"{row['beyond_value_at_risk_percent']:.2f} | {row['beyond_margin_percent']:.2f} | "
                f"{' | '.join(told)} | {row['margin_percent_of_gross']:.2f} | "
                f"{row['margin_at_equal_coverage_percent_of_best']:.0f} | "
                f"{row['peak_to_trough']:.1f} | {', '.join(moved)} |"
            )
    return "\n".join(lines) + "\n"

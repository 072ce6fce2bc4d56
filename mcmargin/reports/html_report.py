"""A margin report as one HTML page, for a browser, a phone and a printer.

In: figures of a report, and what answers with its scenarios, if there is one. Out: a page that says
first who must act, then lists all accounts, and then tells how their margins came about. The same
report gives the same page. The page runs no script, loads nothing, and escapes every name. jinja2
and matplotlib are imported on first use.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from mcmargin.policies.formula import policy_in_words
from mcmargin.policies.policy_words import bars, percent
from mcmargin.reports import report_charts as charts
from mcmargin.reports.default_fund import resources
from mcmargin.reports.live import Live, MarginedGains
from mcmargin.reports.margin_figures import MarginFigures
from mcmargin.reports.margin_parts import ChartBar, Share, chart_bars, parts_of
from mcmargin.reports.page_accounts import LISTED, OVER, AccountLine, lines_of, ordered, rates_of
from mcmargin.reports.page_answer import groups_of, notes_of, totals_of
from mcmargin.reports.page_environment import page_environment
from mcmargin.reports.report_text import limits_note
from mcmargin.reports.shown_figures import exact_place, shown
from mcmargin.reports.stress_report import StressReport

OWNERS = 300
"""Owners of several accounts that a page lists."""

STRESSED = 100
"""Accounts whose stressed losses a page lists."""

CHARTED = 20
"""Accounts in a chart."""

DETAILED = 8
"""Accounts that have charts of their own: they are the first on the page."""

APART = 4
"""Positions of an isolated account that have a chart each."""

ALWAYS = "expected shortfall"
"""Part that every picture has."""


def report_to_html(report: MarginFigures, live: Live | None = None) -> str:
    """One page; see `MarginReport.to_html`."""
    environment = page_environment()
    order = ordered(report)
    lines = lines_of(report, order.iloc[:LISTED])
    stressed = None if live is None else live.stress()
    codes = set(report.figures["currency"])
    reasons, whole = _whole(report)
    ends = sorted(set(report.horizons.values()))
    figures = list(dict.fromkeys(name for line in lines for name in line.figures))
    states = (order["state"] != "").any()
    page: str = environment.get_template("report.html").render(
        report=report,
        currency=report.market["currency"],
        one_currency=next(iter(codes)) if len(codes) == 1 else "",
        policy=policy_in_words(report.policy),
        bars=f"{ends[0]} to {ends[-1]} bars" if len(ends) > 1 else bars(ends[0]),
        simulated=_horizons(report),
        groups=groups_of(report, order),
        totals=totals_of(report),
        notes=notes_of(report),
        limits=limits_note(report),
        lines=lines,
        widths=[max(8, *(len(text) for text in texts)) for texts in _near(lines)],
        listed={line.key for line in lines},
        shown_of=len(order) if len(order) > len(lines) else 0,
        columns=["account", *(["state"] if states else []), "margin", *figures],
        figures=figures,
        charts=_details(report, live, lines),
        charted=min(DETAILED, len(lines)) if live is not None else 0,
        owners=report.owners[report.owners["accounts"] > 1].iloc[:OWNERS].to_dict("records"),
        reasons=reasons,
        whole=whole,
        overview=_overview(report, live, stressed),
        stress=stressed,
        stressed=_stressed_rows(report, stressed),
        scenarios=0 if stressed is None else stressed.scenarios,
        fund=None
        if stressed is None or not report.policy.resources
        else resources(report, stressed),
    )
    return page


def _horizons(report: MarginFigures) -> str:
    """The simulated horizons in words."""
    *others, last = report.plan.horizons
    if not others:
        return f"a horizon of {bars(last)}"
    return f"horizons of {', '.join(map(str, others))} and {bars(last)}"


def _near(lines: list[AccountLine]) -> tuple[list[str], list[str]]:
    """Figures that stand beside a name on a phone."""
    return [line.margin for line in lines], [line.figures.get(OVER, "") for line in lines]


def _whole(report: MarginFigures) -> tuple[dict[str, str], list[tuple[ChartBar, str]]]:
    """Reasons of all parts that some account is charged, and a picture of all margins together."""
    figures = report.figures
    columns = {name: figures[name].to_numpy(float) for name in figures.select_dtypes("number")}
    rates = rates_of(report, figures["currency"])
    least = 1e-5 * np.abs(columns["margin"])
    charged = [
        part
        for part in parts_of(columns, report.policy)
        if part.name == ALWAYS or (np.abs(part.amount) > least).any()
    ]
    amounts: list[Share] = [(part.name, float(part.amount @ rates)) for part in charged]
    reasons = {part.name: part.reason for part in charged}
    total = float(report.owners["margin"].to_numpy() @ rates_of(report, report.owners["currency"]))
    netted = total - sum(amount for _, amount in amounts)
    if abs(netted) > 1e-5 * abs(total):
        amounts.append(("netting", netted))
        reasons["netting"] = "what owners save because their accounts are margined as one"
    place = exact_place(abs(total))
    return reasons, [(step, shown(step.amount, place)) for step in chart_bars(amounts, total)]


def _stressed_rows(
    report: MarginFigures, stressed: StressReport | None
) -> list[dict[Hashable, Any]]:
    """Accounts with their worst scenario; the largest excess of loss over margin comes first."""
    if stressed is None:
        return []
    frame = stressed.accounts[["account", "scenario", "loss"]].merge(
        report.figures[["account", "currency", "margin"]], on="account"
    )
    beyond = (frame["loss"] - frame["margin"]).to_numpy(float) * rates_of(report, frame["currency"])
    return frame.iloc[np.argsort(-beyond, kind="stable")[:STRESSED]].to_dict("records")


def _overview(
    report: MarginFigures, live: Live | None, stressed: StressReport | None
) -> list[dict[str, str]]:
    """Charts of the largest accounts side by side, in the market's currency."""
    figures = report.figures
    rates = rates_of(report, figures["currency"])
    order = np.argsort(-figures["margin"].to_numpy(float) * rates, kind="stable")[:CHARTED]
    largest, rates = figures.iloc[order], rates[order]
    charts_of_largest = [_margins_chart(report, largest, rates, stressed)]
    if live is not None and live.previous is not None:
        charts_of_largest += _change_charts(report, live.previous, largest, rates)
    return charts_of_largest


def _margins_chart(
    report: MarginFigures,
    largest: pd.DataFrame,
    rates: NDArray[np.float64],
    stressed: StressReport | None,
) -> dict[str, str]:
    """Margins of some accounts with their errors, and with the worst stressed losses if known."""
    confidence = report.policy.confidence
    reach = float(ndtri(0.5 + confidence / 2.0))
    errors = np.tile(reach * largest["margin_error"].to_numpy(float), (2, 1))
    losses = None
    if stressed is not None:
        worst = largest["account"].map(stressed.accounts.set_index("account")["loss"])
        losses = worst.to_numpy(float) * rates
    return {
        "title": f"The largest margins, {report.market['currency']}",
        "caption": f"With the {percent(confidence)} interval of Monte Carlo's "
        "error" + ("." if losses is None else ", and the worst stressed loss of each."),
        "svg": charts.margins_chart(
            [str(name) for name in largest["account"]],
            largest["margin"].to_numpy(float) * rates,
            errors * rates,
            losses,
        ),
    }


def _change_charts(
    report: MarginFigures,
    previous: MarginFigures,
    largest: pd.DataFrame,
    rates: NDArray[np.float64],
) -> list[dict[str, str]]:
    """What buffer and speed limit did, for the accounts that the previous report has, if any."""
    last = largest["account"].map(previous.figures.set_index("account")["calm"]).to_numpy(float)
    known = np.flatnonzero(np.isfinite(last))
    if not len(known):
        return []
    needed, charged = (largest[name].to_numpy(float) for name in ("stressed", "calm"))
    names = [str(name) for name in largest["account"]]
    return [
        {
            "title": f"Against procyclicality, {report.market['currency']}",
            "caption": f"What was charged on {previous.as_of[:10]}, what stress asks for now, "
            "and what buffer and speed limit make of it, before liquidity and concentration.",
            "svg": charts.change_chart(
                [names[at] for at in known],
                *((each * rates)[known] for each in (last, needed, charged)),
            ),
        }
    ]


def _details(
    report: MarginFigures, live: Live | None, lines: list[AccountLine]
) -> dict[str, list[dict[str, str]]]:
    """Charts of the first accounts, by their place on the page; none without scenarios."""
    if live is None:
        return {}
    first = [line for line in lines if line.kind != "owner"][:DETAILED]
    found = {}
    for line in first:
        units = live.margined_gains(line.name)
        found[line.key] = [
            {
                "title": f"Profit and loss of {unit.instrument or 'the account'}, {line.currency}",
                "caption": _caption(unit, report.plan.paths),
                "svg": charts.histogram_chart(
                    f"{line.key}-{at}", unit.gains, unit.value_at_risk, unit.expected_shortfall
                ),
            }
            for at, unit in enumerate(units[:APART])
        ]
        if len(units) > APART:
            rest = f" {len(units) - APART} positions more, of smaller losses, are margined alone."
            found[line.key][-1]["caption"] += rest
    return found


def _caption(unit: MarginedGains, paths: int) -> str:
    """What a chart of gains shows, and which open orders are taken as filled."""
    text = f"{paths:,} paths, the outermost 0.1 % not drawn."
    if not unit.fills:
        return text
    fills = ", ".join(f"{units:+,.10g} {name}" for name, units in unit.fills)
    return f"With the open orders filled that cost most: {fills}. {text}"

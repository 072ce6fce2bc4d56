"""Reports as one HTML page: for a browser, a phone and a printer.

In: a `MarginReport`. Out: a page that holds all that it shows, the same for the same report; no
script, nothing loaded from elsewhere, and names escaped whatever is in them. jinja2 and matplotlib
are imported on first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from mcmargin.checks import plain_time
from mcmargin.errors import McMarginError
from mcmargin.margins.components import reason_of
from mcmargin.margins.formula import rounded_up
from mcmargin.policies.policy_words import bars, percent, policy_in_words
from mcmargin.reports import report_charts as charts
from mcmargin.reports.report_file import market_without_surfaces
from mcmargin.reports.report_text import short_history
from mcmargin.reports.reporting import MarginReport
from mcmargin.stresses.default_fund import resources
from mcmargin.stresses.stress_report import StressReport, stress

SHOWN = 300
"""Accounts that the tables list."""

CHARTED = 20
"""Accounts, or positions of one, in a chart."""

DETAILED = 8
"""Accounts that have charts of their own."""

NEEDED = ("jinja2", "matplotlib")


@dataclass(frozen=True)
class Part:
    """An amount that a margin is put together of.

    Attributes
    ----------
    name : str
    amount : float
        Negative where it takes away.
    reason : str
    """

    name: str
    amount: float
    reason: str


def check_installed() -> None:
    """Refuse where what pages are made with is not installed."""
    lacking = [name for name in NEEDED if find_spec(name) is None]
    if lacking:
        raise McMarginError(
            f"HTML reports need {' and '.join(NEEDED)}, and {lacking[0]} is not installed: "
            "pip install 'mcmargin[report]'"
        )


def report_to_html(report: MarginReport) -> str:
    """One page; see `MarginReport.to_html`."""
    check_installed()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mcmargin"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "time": plain_time, "money": money}
    largest, stressed = _largest_first(report), _stress(report)
    shown = largest.iloc[:SHOWN]
    rows = shown.to_dict("records")
    made = {row["account"]: parts_of(row, report) for row in rows}
    names = [part.name for part in next(iter(made.values()))]
    seen = {part.name for row in rows for part in _visible(made[row["account"]], row)}
    ends = sorted(set(report.horizons.values()))
    over = f"{ends[0]} to {ends[-1]} bars" if len(ends) > 1 else bars(ends[0])
    return environment.get_template("report.html").render(
        report=report,
        policy=policy_in_words(report.policy),
        bars=over,
        totals=_totals(report, largest),
        owners=report.owners[report.owners["accounts"] > 1].iloc[:SHOWN].to_dict("records"),
        accounts=rows,
        **_health(report, shown),
        short_history=short_history(report),
        made=made,
        used=[name for name in names if name in seen],
        decimals={row["account"]: decimals_of(row) for row in rows},
        overview=_overview(report, largest.iloc[:CHARTED], stressed),
        stress=None if stressed is None else stressed.accounts.set_index("account"),
        scenarios=0 if stressed is None else stressed.scenarios,
        fund=None
        if stressed is None or not report.policy.resources
        else resources(report, stressed),
        details=[
            _detail(report, row, parts)
            for row in rows[:DETAILED]
            if (parts := _visible(made[row["account"]], row))
        ],
    )


def parts_of(row: Mapping[Any, Any], report: MarginReport) -> tuple[Part, ...]:
    """What an account's margin is put together of, in the order of the policy's formula.

    Amounts add up to the margin; those that change nothing are 0.
    """
    policy = report.policy
    floored = max(row["base"], row["floor"])
    least = max(row["total"], row["leverage_minimum"])
    rounded = float(rounded_up(np.array([least]), policy.tick)[0])
    return (
        Part(
            "expected shortfall",
            row["expected_shortfall"],
            f"at {percent(policy.level)}; by Monte Carlo's error from "
            f"{money(row['expected_shortfall_low'], decimals_of(row))} to "
            f"{money(row['expected_shortfall_high'], decimals_of(row))}",
        ),
        Part(
            "open orders, minimum",
            row["base"] - row["expected_shortfall"],
            "worst fills of open orders; at least 0, and the short options' least",
        ),
        Part("floor", floored - row["base"], reason_of("floor", policy)),
        Part("stress", row["stress_add_on"], reason_of("stress_add_on", policy)),
        Part("buffer, speed limit", row["calm"] - row["stressed"], "against procyclicality"),
        *(
            Part(name.replace("_", " "), row[name], reason_of(name, policy))
            for name in ("liquidity", "concentration", "stressed_funding")
        ),
        Part("leverage minimum", least - row["total"], reason_of("leverage_minimum", policy)),
        Part("tick", rounded - least, "rounded up"),
        Part("maintenance", row["margin"] - rounded, "initial margin is at least maintenance"),
    )


def _visible(parts: tuple[Part, ...], row: Mapping[Any, Any]) -> list[Part]:
    """Parts that are not shown as 0."""
    return [part for part in parts if round(part.amount, decimals_of(row))]


def money(amount: float, decimals: int) -> str:
    """An amount as people read it, without a sign where it rounds to 0.

    Examples
    --------
    >>> money(-1234.5, 2), money(-0.001, 2)
    ('-1,234.50', '0.00')
    """
    return f"{round(amount, decimals) + 0.0:,.{decimals}f}"


def decimals_of(row: Mapping[Any, Any]) -> int:
    """Decimals that all of an account's amounts are shown with, by how large they are."""
    scale = max(abs(row["margin"]), abs(row["gross_exposure"]))
    return 0 if scale >= 1e7 else 2 if scale >= 100 else 6


def _rate(report: MarginReport, code: str) -> float:
    """Value of a currency in the market's."""
    return market_without_surfaces(report).worth(code)


def _largest_first(report: MarginReport) -> pd.DataFrame:
    """Figures of the accounts, the largest margins first, at today's rates."""
    rates = {code: _rate(report, code) for code in report.figures["currency"].unique()}
    worth = report.figures["margin"] * report.figures["currency"].map(rates)
    order = np.argsort(-worth.to_numpy(), kind="stable")
    return report.figures.iloc[order].assign(rate=report.figures["currency"].map(rates))


def _totals(report: MarginReport, largest: pd.DataFrame) -> list[dict[str, Any]]:
    """Margins of all owners by currency, and what all accounts hold, in the market's."""
    names = ["margin", *(["maintenance"] if report.policy.maintenance else [])]
    sums = report.owners.groupby("currency")[names].sum().to_dict("index")
    rows = [
        {"name": f"{str(name).capitalize()}, {code}", "amount": amount}
        for code, amounts in sums.items()
        for name, amount in amounts.items()
    ]
    own = report.market["currency"]
    if list(sums) not in ([], [own]):
        worth = sum(_rate(report, str(code)) * amounts["margin"] for code, amounts in sums.items())
        rows.append({"name": f"Margin in all, {own}", "amount": worth})
    gross = float(largest["gross_exposure"].to_numpy() @ largest["rate"].to_numpy())
    return [*rows, {"name": f"Gross exposure, {own}", "amount": gross}]


def _health(report: MarginReport, shown: pd.DataFrame) -> dict[str, Any]:
    """Statuses of the accounts on the page, the least equity over initial margin first.

    And how many of all have too little equity for initial, and for maintenance margin.
    """
    if report.figures["equity"].isna().any():
        return {"health": [], "calls": 0, "liquidations": 0}
    statuses = report.statuses()
    own = statuses.loc[shown.index]
    order = np.argsort((own["over_initial"] * shown["rate"]).to_numpy(float), kind="stable")
    return {
        "health": own.iloc[order].to_dict("records"),
        "calls": int((statuses["state"] != "healthy").sum()),
        "liquidations": int((statuses["state"] == "liquidation").sum()),
    }


def _stress(report: MarginReport) -> StressReport | None:
    """Losses in the policy's stress scenarios, where it has any and the book is at hand."""
    part, session = report.policy.stress, report.session
    if part is None or session is None:
        return None
    if not (part.windows or part.grids or part.gaps or part.depegs):
        return None
    return stress(session.book, session.scenarios, session.valuation.market, report.policy)


def _overview(
    report: MarginReport, largest: pd.DataFrame, stressed: StressReport | None
) -> list[dict[str, str]]:
    """Charts of the largest accounts side by side, in the market's currency."""
    code = report.market["currency"]
    margins, rates = (largest[name].to_numpy(float) for name in ("margin", "rate"))
    reach = float(ndtri(0.5 + report.policy.confidence / 2.0))
    errors = np.tile(reach * largest["margin_error"].to_numpy(float), (2, 1))
    names = [str(name) for name in largest["account"]]
    found = [
        {
            "title": f"Margins, {code}",
            "caption": f"The largest {len(names)}, with the {percent(report.policy.confidence)} "
            "interval of Monte Carlo's error.",
            "svg": charts.margins_chart(names, margins * rates, errors * rates),
        }
    ]
    if stressed is not None:
        losses = largest["account"].map(stressed.accounts.set_index("account")["loss"])
        found.append(
            {
                "title": f"Stress, {code}",
                "caption": f"The worst of {stressed.scenarios:,} scenarios of each, beside its "
                "margin.",
                "svg": charts.stress_chart(names, margins * rates, losses.to_numpy(float) * rates),
            }
        )
    previous = None if report.session is None else report.session.previous
    if previous is None:
        return found
    last = largest["account"].map(previous.figures.set_index("account")["calm"]).to_numpy(float)
    known = np.flatnonzero(np.isfinite(last))
    if len(known):
        needed, charged = (largest[name].to_numpy(float) for name in ("stressed", "calm"))
        found.append(
            {
                "title": f"Against procyclicality, {code}",
                "caption": f"What was charged on {previous.as_of[:10]}, what stress asks for now, "
                "and what buffer and speed limit make of it, before liquidity and concentration.",
                "svg": charts.change_chart(
                    [names[at] for at in known],
                    *((each * rates)[known] for each in (last, needed, charged)),
                ),
            }
        )
    return found


def _detail(report: MarginReport, row: Mapping[Any, Any], parts: list[Part]) -> dict[str, Any]:
    """One account's parts, with reasons, and its charts."""
    name, code = str(row["account"]), row["currency"]
    key = f"a{report.figures.index[report.figures['account'] == name][0]}"
    steps = [(part.name, part.amount) for part in parts]
    found = [
        {
            "title": f"What the margin is made of, {code}",
            "caption": "",
            "svg": charts.waterfall_chart(f"{key}-parts", [*steps, ("margin", row["margin"])]),
        }
    ]
    held = report.positions[report.positions["account"] == name]
    if len(held):
        found.append(
            {
                "title": f"Contributions by position, {code}",
                "caption": "Shares of the expected shortfall; a hedge's is negative.",
                "svg": charts.contributions_chart(f"{key}-shares", *_shares(held)),
            }
        )
    if report.session is not None:
        account = next(each for each in report.session.book.accounts if each.name == name)
        alone = account.mode == "isolated" and len(held) > 1
        gains = report.profit_and_loss(name)
        found.append(
            {
                "title": f"Profit and loss, {code}",
                "caption": f"{report.plan.paths:,} paths, the outermost 0.1 % not drawn."
                + (" All positions together; VaR and ES add up each alone." if alone else ""),
                "svg": charts.histogram_chart(
                    f"{key}-gains", gains, row["value_at_risk"], row["expected_shortfall"]
                ),
            }
        )
    return {"row": row, "parts": parts, "charts": found}


def _shares(held: pd.DataFrame) -> tuple[list[str], NDArray[np.float64]]:
    """Names and contributions of the positions that matter most, and of the others together."""
    order = np.argsort(-held["contribution"].abs().to_numpy(), kind="stable")
    # A balance goes by the name of its asset, as a position in it may.
    posted = held["kind"].map({"collateral": " (collateral)"}).fillna("")
    names = (held["instrument"].astype(str) + posted).to_numpy()[order]
    amounts = held["contribution"].to_numpy(float)[order]
    if len(names) <= CHARTED:
        return list(names), amounts
    rest = len(names) - CHARTED + 1
    first = amounts[: CHARTED - 1]
    return [*names[: CHARTED - 1], f"{rest} others"], np.append(first, amounts[-rest:].sum())

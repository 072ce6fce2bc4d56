"""What a page answers first: who is in liquidation, who is called, and by how much.

In: a margin report. Out: the states, each with how many are in it, what they are short of in all,
and the worst of them by name; and what there is to know about these figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mcmargin.reports.health import STATES, entry_price_note
from mcmargin.reports.margin_figures import MarginFigures
from mcmargin.reports.page_accounts import MARGIN_ERROR, rates_of
from mcmargin.reports.report_text import SHOWN_DOUBTS, limits_note, short_history
from mcmargin.reports.shown_figures import exact_place, place_of, shown, shown_error

NAMED = 10
"""Accounts and owners of each state that are named above the table."""

HEADINGS = ("healthy", "called", "in liquidation")


@dataclass(frozen=True)
class Shortfall:
    """Somebody whose equity is below a margin.

    Attributes
    ----------
    key : str
        Place on the page.
    name, currency : str
    short, error : str
        What equity lacks to initial margin, and the Monte Carlo error of it.
    equity, margin, maintenance : str
    """

    key: str
    name: str
    currency: str
    short: str
    error: str
    equity: str
    margin: str
    maintenance: str


@dataclass(frozen=True)
class Group:
    """All that are in one state.

    Attributes
    ----------
    state, heading : str
    count : int
    amount : str
        What they lack to initial margin in all; of the healthy, what the nearest to a call has
        above it. In the market's currency.
    named : tuple of Shortfall
        The worst; none of the healthy.
    """

    state: str
    heading: str
    count: int
    amount: str
    named: tuple[Shortfall, ...]


def groups_of(report: MarginFigures, order: pd.DataFrame) -> tuple[Group, ...]:
    """The states, liquidation first; none where the report knows no equity."""
    if (order["state"] == "").all():
        return ()
    judged = order[order["kind"] != "member"]
    found = []
    for state, heading in zip(reversed(STATES), reversed(HEADINGS), strict=True):
        own = judged[judged["state"] == state]
        healthy = state == STATES[0]
        told = own.iloc[:1] if healthy else own
        # On the same paths errors add up at most.
        amount, error = abs(told["over"].sum()), _errors(report, told)
        place = place_of(error)
        text = shown(amount, exact_place(amount) if place is None else place)
        named = () if healthy else tuple(_named(report, own.iloc[:NAMED]))
        found.append(Group(state, heading, len(own), text, named))
    return tuple(found)


def _errors(report: MarginFigures, rows: pd.DataFrame) -> float:
    """Sum of the Monte Carlo errors of accounts' margins, in the market's currency."""
    own = rows[rows["kind"] != "owner"]
    errors = report.figures[MARGIN_ERROR].to_numpy(float)[own["row"].to_numpy()]
    return float(errors @ own["rate"].to_numpy(float))


def _named(report: MarginFigures, rows: pd.DataFrame) -> Iterator[Shortfall]:
    for kind, at in zip(rows["kind"], rows["row"], strict=True):
        netted = kind == "owner"
        row = (report.owners if netted else report.figures).iloc[at].to_dict()
        # Equity moves where haircuts do.
        error = float(np.hypot(row[MARGIN_ERROR], row.get("collateral_error", 0.0)))
        place = place_of(error)
        exact = exact_place(max(abs(row["margin"]), abs(row["equity"])))
        near = exact if place is None else place
        yield Shortfall(
            key=f"{'o' if netted else 'a'}{at}",
            name=str(row["owner" if netted else "account"]),
            currency=str(row["currency"]),
            short=shown(row["margin"] - row["equity"], near),
            error=shown_error(error),
            equity=shown(row["equity"], exact),
            margin=shown(row["margin"], near),
            maintenance=shown(row["maintenance"], near),
        )


def totals_of(report: MarginFigures) -> list[tuple[str, str]]:
    """Margins of all owners by currency, and what all accounts hold, in the market's."""
    own = str(report.market["currency"])
    names = ["margin", *(["maintenance"] if report.policy.maintenance else [])]
    sums = report.owners.groupby("currency")[names].sum().to_dict("index")
    rows = [
        (f"{name} in {code}" if name == "margin" else f"maintenance margin in {code}", amount)
        for code, amounts in sums.items()
        for name, amount in amounts.items()
    ]
    if list(sums) not in ([], [own]):
        total = float(report.owners["margin"] @ rates_of(report, report.owners["currency"]))
        rows.append((f"margin in all, in {own}", total))
    rates = rates_of(report, report.figures["currency"])
    gross = float(report.figures["gross_exposure"].to_numpy() @ rates)
    rows.append((f"gross exposure in {own}", gross))
    if report.figures["equity"].notna().all():
        equity = float(report.figures["equity"].to_numpy() @ rates)
        rows.append((f"equity in {own}", equity))
    return [
        (f"{name[0].upper()}{name[1:]}", shown(amount, exact_place(abs(amount))))
        for name, amount in rows
    ]


def notes_of(report: MarginFigures) -> tuple[str, ...]:
    """What somebody who acts on the figures has to know about them."""
    # Not known of a file that was written before they were counted.
    lacking = report.figures["without_entry_price"].fillna(0).to_numpy(np.int64)
    entry = ""
    if report.figures["equity"].notna().any():
        entry = entry_price_note(int(lacking.sum()), int((lacking > 0).sum()))
    refused, assets = len(report.calibration.refused), report.calibration.assets
    fits = f"{refused:,} of {assets:,} fits were replaced by simpler ones; the audit trail says why"
    limits = limits_note(report) if report.floored_paths else ""
    told = (entry, short_history(report), limits, fits if refused else "")
    doubts = report.calibration.doubts
    rest = len(doubts) - SHOWN_DOUBTS
    more = f"{rest:,} more doubts about prices are in the audit trail" if rest > 0 else ""
    return tuple(filter(None, (*doubts[:SHOWN_DOUBTS], more, *told)))

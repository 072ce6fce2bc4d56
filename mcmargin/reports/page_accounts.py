"""Accounts of a page: a line for each account, the worst first, and what its margin is made of.

In: a margin report. Out: lines of text, in which figures are rounded to their errors. Accounts in
liquidation come first, then those that are called, then the others; in each state the account that
lacks most comes first. An owner that nets has a line, and its accounts come below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.reports.health import STATES, standings
from mcmargin.reports.margin_figures import MarginFigures
from mcmargin.reports.margin_parts import ChartBar, Share, parts_of, picture_of, shares_of
from mcmargin.reports.shown_figures import (
    exact_place,
    place_of,
    shown,
    shown_error,
    shown_exactly,
)

LISTED = 1000
"""Most lines of a page; the report's JSON and Parquet have all accounts."""

MARGIN_ERROR = "margin_error"
"""Column of the Monte Carlo error of a margin."""

OVER = "over or under"
"""Heading of equity less initial margin."""

NETTED = "netted"
"""Shown as the state of an account that is netted with others of its owner."""


@dataclass(frozen=True)
class AccountLine:
    """An account, or an owner that nets, as text.

    Attributes
    ----------
    key : str
        Its place on the page.
    name, currency : str
    kind : str
        `account`, `owner`, or `member`: an account of an owner that nets.
    group : str
        State by which lines are filtered; of a member, that of its owner. Empty without balances.
    state : str
        As it is shown. Empty without balances.
    margin, error : str
    figures : mapping of str to str
        All other figures by their headings.
    exact : str
        A sentence with the exact amounts.
    steps : tuple of (ChartBar, str)
        What the margin is made of, with each amount as text.
    """

    key: str
    name: str
    currency: str
    kind: str
    group: str
    state: str
    margin: str
    error: str
    figures: Mapping[str, str]
    exact: str
    steps: tuple[tuple[ChartBar, str], ...]


def ordered(report: MarginFigures) -> pd.DataFrame:
    """Accounts and owners that net, in the order of a page.

    Returns
    -------
    DataFrame
        Columns kind (`account`, `member` or `owner`), row (place among the accounts, or among the
        owners), state (empty without balances), over (equity less initial margin, in the market's
        currency) and rate. State and over of a member are those of its owner.
    """
    figures, owners = report.figures, report.owners
    rate = rates_of(report, figures["currency"])
    frame = pd.DataFrame({"kind": "account", "row": np.arange(len(figures)), "rate": rate})
    if figures["equity"].isna().any():
        size = figures["margin"].to_numpy(float) * rate
        frame = frame.assign(state="", over=np.nan)
        return frame.iloc[np.argsort(-size, kind="stable")].reset_index(drop=True)
    standing = standings(report)
    alone = standing[standing["kind"] == "account"].set_index("name")
    netted = standing[standing["kind"] == "owner"].set_index("name")
    names, whose = figures["account"], figures["owner"]
    member = whose.isin(netted.index)
    frame["kind"] = np.where(member, "member", "account")
    frame["head"] = np.where(member, whose, names)
    frame["state"] = names.map(alone["state"]).where(~member, whose.map(netted["state"]))
    frame["over"] = names.map(alone["over_initial"]).where(
        ~member, whose.map(netted["over_initial"])
    )
    place = np.flatnonzero(owners["owner"].isin(netted.index))
    heads = pd.DataFrame({"kind": "owner", "row": place, "head": owners["owner"].to_numpy()[place]})
    heads["rate"] = rates_of(report, owners["currency"])[place]
    heads["state"] = heads["head"].map(netted["state"])
    heads["over"] = heads["head"].map(netted["over_initial"])
    frame = pd.concat([heads, frame], ignore_index=True)
    frame["over"] *= frame["rate"]
    worst = {state: at for at, state in enumerate(reversed(STATES))}
    keys = (
        frame["kind"] == "member",
        frame["head"].where(frame["kind"] != "account", ""),
        frame["over"],
        frame["state"].map(worst),
    )
    return frame.iloc[np.lexsort([key.to_numpy() for key in keys])].reset_index(drop=True)


def rates_of(report: MarginFigures, codes: pd.Series[str]) -> NDArray[np.float64]:
    """Value of each currency in the market's; float64 of the same length."""
    market = report.market_without_surfaces()
    return codes.map({code: market.worth(str(code)) for code in codes.unique()}).to_numpy(float)


def lines_of(report: MarginFigures, chosen: pd.DataFrame) -> list[AccountLine]:
    """Lines of accounts and owners, in the order given."""
    held = chosen["row"][chosen["kind"] != "owner"].to_numpy()
    rows = dict(zip(held.tolist(), report.figures.iloc[held].to_dict("records"), strict=True))
    shares = shares_of(report.positions, {row["account"] for row in rows.values()})
    lines = []
    for kind, at, state in zip(chosen["kind"], chosen["row"], chosen["state"], strict=True):
        if kind == "owner":
            lines.append(_owner_line(report.owners.iloc[at].to_dict(), f"o{at}", state))
        else:
            own = shares.get(rows[at]["account"], [])
            lines.append(_line(report, rows[at], f"a{at}", kind, state, own))
    return lines


def _line(
    report: MarginFigures,
    row: Mapping[Any, Any],
    key: str,
    kind: str,
    state: str,
    shares: list[Share],
) -> AccountLine:
    """The line of an account."""
    error = row[MARGIN_ERROR]
    amounts = (row["margin"], row["gross_exposure"], row["equity"] if state else 0.0)
    exact = exact_place(max(map(abs, amounts)))
    place = place_of(error)
    near = exact if place is None else place
    figures = {}
    exactly = f"margin {shown_exactly(row['margin'])}"
    if state:
        over = row["equity"] - row["margin"]
        figures[OVER] = _signed(over, near)
        figures["equity"] = shown(row["equity"], exact)
        exactly += f", equity {shown_exactly(row['equity'])}, difference {shown_exactly(over)}"
    if report.policy.maintenance is not None:
        figures["maintenance"] = shown(row["maintenance"], _place(row, "maintenance", exact))
        exactly += f", maintenance margin {shown_exactly(row['maintenance'])}"
    for name, told in (("expected_shortfall", "expected shortfall"), ("value_at_risk", "VaR")):
        figures[told] = shown(row[name], _place(row, name, exact))
    figures["gross notional"] = shown(row["gross_exposure"], exact)
    figures["net delta"] = shown(row["net_exposure"], exact)
    # A file of an older version does not have this column.
    known = np.isfinite(row["gross_with_orders"])
    gross = row["gross_with_orders"] if known else row["gross_exposure"]
    if gross != row["gross_exposure"]:
        exactly += f", gross notional with open orders {shown_exactly(gross)}"
    figures["margin / gross"] = f"{row['margin'] / gross:.1%}" if gross else ""
    steps = picture_of(row, parts_of(row, report.policy), shares)
    return AccountLine(
        key=key,
        name=str(row["account"]),
        currency=str(row["currency"]),
        kind=kind,
        group=state,
        state=NETTED if kind == "member" else state,
        margin=shown(row["margin"], near),
        error=shown_error(error),
        figures=figures,
        exact=exactly,
        steps=tuple((step, shown(step.amount, near)) for step in steps),
    )


def _place(row: Mapping[Any, Any], name: str, exact: int) -> int:
    """Where a figure is rounded: by its own error, or as an exact amount if it has none."""
    place = place_of(row[f"{name}_error"])
    return exact if place is None else place


def _owner_line(row: Mapping[Any, Any], key: str, state: str) -> AccountLine:
    """The line of an owner that nets."""
    exact = exact_place(max(abs(row["margin"]), abs(row["equity"])))
    place = _place(row, "margin", exact)
    over = row["equity"] - row["margin"]
    return AccountLine(
        key=key,
        name=str(row["owner"]),
        currency=str(row["currency"]),
        kind="owner",
        group=state,
        state=state,
        margin=shown(row["margin"], place),
        error=shown_error(row["margin_error"]),
        figures={
            OVER: _signed(over, place),
            "equity": shown(row["equity"], exact),
            "maintenance": shown(row["maintenance"], _place(row, "maintenance", exact)),
        },
        exact=f"margin {shown_exactly(row['margin'])} of {row['accounts']} accounts together, "
        f"equity {shown_exactly(row['equity'])}, difference {shown_exactly(over)}",
        steps=(),
    )


def _signed(amount: float, place: int) -> str:
    """A difference as text, always with its sign."""
    text = shown(amount, place)
    return f"+{text}" if amount > 0 else text

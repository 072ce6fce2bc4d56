"""MarginChange: why margins changed, as a table of parts by account.

In: accounts with what was charged before, what each part added or took off, and what is charged
now; `mm.attribute` makes it. Out: text, a page, a picture and JSON: a table of accounts, the
largest changes first, and a chart of all of them together.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcmargin.data.files import write_atomically, write_text
from mcmargin.names import shown as shown_name
from mcmargin.names import table_cell, with_borders_of_console
from mcmargin.reports.margin_parts import ChartBar, Share, chart_bars
from mcmargin.reports.page_environment import check_installed, page_environment
from mcmargin.reports.report_charts import change_picture
from mcmargin.reports.shown_figures import exact_place, shown

CHANGE_PARTS = ("positions", "market", "volatility", "parameters", "data", "policy")
"""Parts of a change, in the order of a table."""

PRINTED = 50
"""How many accounts text lists."""

DRAWN = 300
"""How many accounts a page has pictures of."""

BAR = 40
"""Letters of the longest bar of a chart in text."""

REASONS = {
    "positions": "what was opened and closed, ordered, posted and withdrawn",
    "market": "prices, rates and implied volatilities",
    "volatility": "variances of the model's state",
    "parameters": "what calibration fits, and which assets there are",
    "data": "time, the calendar, history, and the report before",
    "policy": "what is charged",
}


@dataclass(frozen=True, eq=False)
class MarginChange:
    """Why margins changed.

    Attributes
    ----------
    frame : DataFrame
        One row an account of either report: account, currency, before, positions, market,
        volatility, parameters, data, policy, after. Before and after are the column `unrounded`
        of the reports, or 0 if a report does not have the account. The parts between them add up
        to their difference.
    previous_as_of, as_of : str
        Of the reports.
    currency : str
        Of the later report's market.
    rates : dict of str to float
        Today's value of each account's currency in it.
    """

    frame: pd.DataFrame
    previous_as_of: str
    as_of: str
    currency: str
    rates: dict[str, float]

    def to_frame(self) -> pd.DataFrame:
        """One row an account; see `frame`."""
        return self.frame.copy()

    def total(self) -> pd.Series[float]:
        """Before, each part and after of all accounts together, in `currency` at today's rates.

        Examples
        --------
        >>> from mcmargin.demo import demo_report
        >>> from mcmargin.desk.waterfall import attribute
        >>> report = demo_report()
        >>> attribute(report, report).total()[["before", "positions", "after"]].round().tolist()
        [92676.0, 0.0, 92676.0]
        """
        rates = self.frame["currency"].map(self.rates).to_numpy(float)
        return self.frame[["before", *CHANGE_PARTS, "after"]].mul(rates, axis=0).sum()

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """JSON of schema mcmargin.change/1, every figure exact; also written to a path if given."""
        content = {
            "schema": "mcmargin.change/1",
            "previous_as_of": self.previous_as_of,
            "as_of": self.as_of,
            "currency": self.currency,
            "rates": self.rates,
            "accounts": self.frame.to_dict("records"),
        }
        text = json.dumps(content, indent=1, allow_nan=False)
        if path is not None:
            write_text(Path(path), text)
        return text

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """One page for a browser, with a picture of all accounts together and of each.

        Raises
        ------
        McMarginError
            If jinja2 or matplotlib is not installed (`pip install 'mcmargin[report]'`).
        """
        text = _page(self)
        if path is not None:
            write_text(Path(path), text)
        return text

    def to_png(self, path: str | os.PathLike[str] | None = None) -> bytes:
        """A chart of all accounts together, as a PNG; errors as `to_html`."""
        content = _chart(self)
        if path is not None:
            write_atomically(Path(path), content)
        return content

    def __str__(self) -> str:
        """Table for a terminal, and a chart of all accounts together."""
        return _text(self)


@dataclass(frozen=True)
class AccountChange:
    """An account's change, as text.

    Attributes
    ----------
    name : str
    ends : str
        What was charged before, and what is charged now.
    steps : tuple of (ChartBar, str)
    """

    name: str
    ends: str
    steps: tuple[tuple[ChartBar, str], ...]


def _text(change: MarginChange) -> str:
    """Table and chart for a terminal."""
    from rich.console import Console
    from rich.table import Table

    stream = io.StringIO()
    console = Console(file=stream, width=10**4, color_system=None, force_terminal=False)
    frame, parts = _largest_first(change), _changed(change)
    table = Table(title=f"Why margins changed, {_dates(change)}")
    names = ["account", "before", *parts, "after", "change"]
    for at, name in enumerate(names):
        table.add_column(name, justify="right" if at else "left")
    for row in frame.iloc[:PRINTED].to_dict("records"):
        figures = [f"{row['before']:,.2f}", *(_signed(row[name]) for name in parts)]
        figures += [f"{row['after']:,.2f}", _signed(row["after"] - row["before"])]
        table.add_row(table_cell(f"{row['account']} ({row['currency']})"), *figures)
    console.print(table)
    if len(frame) > PRINTED:
        stream.write(f"and {len(frame) - PRINTED:,} accounts more\n")
    stream.write(f"\nAll accounts together, {_ends(change.total(), change.currency)}\n")
    steps = _whole(change)
    room, wide = max(len(step.name) for step, _ in steps), max(len(text) for _, text in steps)
    for step, text in steps:
        bar = "━" * max(1, round(step.width * BAR / 100.0)) if step.amount else ""
        indent = " " * round(step.start * BAR / 100.0)
        stream.write(f"{step.name:<{room}}  {text:>{wide}}  {indent}{bar}".rstrip() + "\n")
    if not parts:
        stream.write("Nothing changed.\n")
    return with_borders_of_console(stream.getvalue().rstrip())


def _page(change: MarginChange) -> str:
    """One page; see `MarginChange.to_html`."""
    frame = _largest_first(change)
    return str(
        page_environment()
        .get_template("change.html")
        .render(
            change=change,
            whole=_whole(change),
            ends=_ends(change.total(), change.currency),
            reasons={name: REASONS[name] for name in _changed(change)},
            lines=[_line(row) for row in frame.iloc[:DRAWN].to_dict("records")],
            more=len(frame) if len(frame) > DRAWN else 0,
        )
    )


def _chart(change: MarginChange) -> bytes:
    """A chart; see `MarginChange.to_png`."""
    check_installed()
    title = f"Margins, {_dates(change)}, {_ends(change.total(), shown_name(change.currency))}"
    return change_picture(title, [(step.name, step.amount) for step, _ in _whole(change)])


def _dates(change: MarginChange) -> str:
    return f"{change.previous_as_of[:10]} to {change.as_of[:10]}"


def _signed(amount: float) -> str:
    return f"{amount:+,.2f}" if round(amount, 2) else "0.00"


def _changed(change: MarginChange) -> list[str]:
    """Parts that changed the margin of some account."""
    return [name for name in CHANGE_PARTS if (change.frame[name] != 0.0).any()]


def _whole(change: MarginChange) -> list[tuple[ChartBar, str]]:
    """A picture of all accounts together: what each part added, and their sum."""
    total = change.total()
    return _steps({name: float(total[name]) for name in ("before", *_changed(change), "after")})


def _steps(amounts: dict[str, float]) -> list[tuple[ChartBar, str]]:
    """Steps of the parts between `before` and `after`, each with its text."""
    before, after = amounts["before"], amounts["after"]
    place = exact_place(max(abs(before), abs(after)))
    parts: list[Share] = [each for each in amounts.items() if each[0] in CHANGE_PARTS]
    steps = chart_bars(parts, after - before, "change")
    return [(step, _with_sign(step.amount, place)) for step in steps]


def _with_sign(amount: float, place: int) -> str:
    return f"+{shown(amount, place)}" if amount > 0 else shown(amount, place)


def _ends(amounts: Mapping[Any, float] | pd.Series[float], currency: str) -> str:
    """Sentence of what was charged before, and what is charged now."""
    before, after = amounts["before"], amounts["after"]
    place = exact_place(max(abs(before), abs(after)))
    return f"from {shown(before, place)} to {shown(after, place)} {currency}"


def _largest_first(change: MarginChange) -> pd.DataFrame:
    rates = change.frame["currency"].map(change.rates).to_numpy(float)
    moved = np.abs((change.frame["after"] - change.frame["before"]).to_numpy(float)) * rates
    return change.frame.iloc[np.argsort(-moved, kind="stable")]


def _line(row: Mapping[Any, Any]) -> AccountChange:
    amounts = {name: row[name] for name in CHANGE_PARTS if row[name]}
    steps = _steps({"before": row["before"], **amounts, "after": row["after"]})
    return AccountChange(str(row["account"]), _ends(row, str(row["currency"])), tuple(steps))

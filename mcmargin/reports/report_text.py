"""Reports for a terminal, and for a notebook.

In: a margin report. Out: tables of its accounts and owners, what was simulated, and from what.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import numpy as np

from mcmargin.names import shown, table_cell, with_borders_of_console
from mcmargin.reports.health import account_statuses, entry_price_note
from mcmargin.reports.margin_figures import MarginFigures
from mcmargin.scenarios.limited_words import limited_words

SHOWN_ACCOUNTS = 50
"""Accounts, and owners, that a printed report lists."""

SHOWN_DOUBTS = 5
"""Doubts about prices that a printed report tells; its JSON and its page tell all."""

SHOWN_FITS = 5
"""How many of the fits that were replaced a printed report names."""

OWNER_FIGURES = ("margin", "margin_error", "maintenance", "maintenance_error")

WIDTH = 110
"""Of notes."""


@dataclass(frozen=True)
class Grid:
    """A table as text: names on the left, figures on the right.

    Attributes
    ----------
    title : str
    columns : list of str
    rows : list of list of str
    """

    title: str
    columns: list[str]
    rows: list[list[str]]


def report_to_text(report: MarginFigures) -> str:
    """Tables for a terminal, with what was simulated."""
    from rich.console import Console
    from rich.table import Table

    stream = io.StringIO()
    # Tables take the width that their names need.
    console = Console(file=stream, width=10**4, color_system=None, force_terminal=False)
    for grid in _grids(report):
        table = Table(title=grid.title)
        for at, name in enumerate(grid.columns):
            table.add_column(name, justify="right" if at else "left")
        for row in grid.rows:
            table.add_row(*map(table_cell, row))
        console.print(table)
    for line in _notes(report):
        stream.write(f"{textwrap.fill(shown(line), WIDTH)}\n")
    return with_borders_of_console(stream.getvalue().rstrip())


def report_to_tables(report: MarginFigures) -> str:
    """The same as HTML, for a notebook: nothing but tables and paragraphs, every text escaped."""
    lines = []
    for grid in _grids(report):
        lines += ["<table>", f"<caption>{escape(grid.title)}</caption>", "<thead>", "<tr>"]
        lines += [f'<th scope="col">{escape(name)}</th>' for name in grid.columns]
        lines += ["</tr>", "</thead>", "<tbody>"]
        for name, *figures in grid.rows:
            cells = "".join(f"<td>{escape(shown(figure))}</td>" for figure in figures)
            lines.append(f'<tr><th scope="row">{escape(shown(name))}</th>{cells}</tr>')
        lines += ["</tbody>", "</table>"]
    lines += [f"<p>{escape(shown(line))}</p>" for line in _notes(report)]
    return "\n".join(lines)


def short_history(report: MarginFigures) -> str:
    """What a floor rests on, where the model's history is shorter than its years; else nothing."""
    part, years = report.policy.procyclicality, report.calibration.history_years
    asked = 0.0 if part is None else part.floor_years
    shown = f"{years:.2g}"
    # What rounds to the years asked for, such as a history that begins after a weekend, is whole.
    if years >= asked or float(shown) >= asked:
        return ""
    return f"The floor of {asked:g} years rests on the {shown} years that the model has"


def limits_note(report: MarginFigures) -> str:
    """Paths on which a price was floored or a variance capped, and whose."""
    return limited_words(report.floored_paths, report.capped_paths, report.limited_paths)


def _grids(report: MarginFigures) -> Iterator[Grid]:
    yield _accounts(report)
    if (report.owners["accounts"] > 1).any():
        yield _owners(report)


def _accounts(report: MarginFigures) -> Grid:
    bars = sorted(set(report.horizons.values()))
    count = f"{bars[0]}" if len(bars) == 1 else f"{bars[0]} to {bars[-1]}"
    over = "1 bar" if bars == [1] else f"{count} bars"
    maintained = report.policy.maintenance is not None
    owned = bool(report.figures["equity"].notna().any())
    figures = report.figures
    # An older file does not hold it.
    whole = figures["gross_with_orders"].fillna(figures["gross_exposure"])
    ordered = bool((whole != figures["gross_exposure"]).any())
    shown = {"margin": "margin", "margin_error": "± error"}
    shown |= {"maintenance": "maintenance", "maintenance_error": "± error"} if maintained else {}
    shown |= {"equity": "equity"} if owned else {}
    shown |= {"value_at_risk": "VaR", "gross_exposure": "gross notional"}
    shown |= {"gross_with_orders": "with orders"} if ordered else {}
    shown |= {"net_exposure": "net delta"}
    rows = []
    states = account_statuses(report, "account")["state"].tolist() if owned else []
    for at, row in enumerate(figures.iloc[:SHOWN_ACCOUNTS].to_dict("records")):
        share = row["margin"] / whole.iloc[at] if whole.iloc[at] else 0.0
        rows.append(
            [
                f"{row['account']} ({row['currency']})",
                *(_amount(row[name]) for name in shown),
                f"{share:.2%}",
                *states[at : at + 1],
            ]
        )
    return Grid(
        f"Margin at {100 * report.policy.level:.10g} % over {over}",
        ["account", *shown.values(), "margin / gross", *["state"] * owned],
        rows,
    )


def _amount(value: float) -> str:
    """An amount to a hundredth; nothing for one that is not known."""
    return "" if np.isnan(value) else f"{value:,.2f}"


def _owners(report: MarginFigures) -> Grid:
    rows = [
        [
            f"{row['owner']} ({row['currency']})",
            str(row["netting"]),
            str(row["accounts"]),
            *(_amount(row[name]) for name in OWNER_FIGURES),
        ]
        for row in report.owners.iloc[:SHOWN_ACCOUNTS].to_dict("records")
    ]
    names = ["owner", "netting", "accounts", "margin", "± error", "maintenance", "± error"]
    return Grid("Owners", names, rows)


def _notes(report: MarginFigures) -> Iterator[str]:
    if len(report.figures) > SHOWN_ACCOUNTS:
        yield f"and {len(report.figures) - SHOWN_ACCOUNTS:,} accounts more"
    if len(report.owners) > SHOWN_ACCOUNTS:
        yield f"and {len(report.owners) - SHOWN_ACCOUNTS:,} owners more"
    plan = report.plan
    yield (
        f"{plan.paths:,} paths, seed {plan.seed}, {plan.precision} precision, {report.engine} "
        f"engine; prices of {report.market_as_of[:19]}. Each error is the standard "
        "deviation over seeds of the figure before it, and Monte Carlo's alone. Gross notional "
        "counts an option by what its underlying is worth, net delta by its delta. "
        f"{limits_note(report)}."
    )
    model = report.calibration
    yield "; ".join(filter(None, (f"{model.assets} assets", model.dates, model.updates))) + "."
    if floor := short_history(report):
        yield f"{floor}."
    lacking = report.figures["without_entry_price"]
    if report.figures["equity"].notna().any() and lacking.any():
        yield f"{entry_price_note(int(lacking.sum()), int((lacking > 0).sum()))}."
    if model.doubts:
        told = "; ".join(model.doubts[:SHOWN_DOUBTS])
        left = len(model.doubts) - SHOWN_DOUBTS
        rest = f"; and {left} more" if left > 0 else ""
        end = "" if f"{told}{rest}".endswith("?") else "."
        yield f"To be looked at: {told}{rest}{end}"
    refused = model.refused
    if refused:
        told = "; ".join(f"{name}: {text}" for name, text in list(refused.items())[:SHOWN_FITS])
        rest = f"; and {len(refused) - SHOWN_FITS} more" if len(refused) > SHOWN_FITS else ""
        yield f"Fits that were replaced: {told}{rest}."

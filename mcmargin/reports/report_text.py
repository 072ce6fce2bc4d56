"""Reports for a terminal, and for a notebook.

In: a margin report. Out: tables of its accounts and owners, what was simulated, and from what.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from mcmargin.names import shown, table_cell
from mcmargin.reports.health import entry_price_note
from mcmargin.reports.reporting import MarginReport

SHOWN_ACCOUNTS = 50
"""Accounts, and owners, that a printed report lists."""

SHOWN_FITS = 5
"""Fits that gave way which a printed report tells."""

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


def report_to_text(report: MarginReport) -> str:
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
    return stream.getvalue().rstrip()


def report_to_tables(report: MarginReport) -> str:
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


def short_history(report: MarginReport) -> str:
    """What a floor rests on, where the model's history is shorter than its years; else nothing."""
    part, years = report.policy.procyclicality, report.calibration.history_years
    asked = 0.0 if part is None else part.floor_years
    shown = f"{years:.2g}"
    # What rounds to the years asked for, such as a history that begins after a weekend, is whole.
    if years >= asked or float(shown) >= asked:
        return ""
    return f"The floor of {asked:g} years rests on the {shown} years that the model has"


def _grids(report: MarginReport) -> Iterator[Grid]:
    yield _accounts(report)
    if (report.owners["accounts"] > 1).any():
        yield _owners(report)


def _accounts(report: MarginReport) -> Grid:
    bars = sorted(set(report.horizons.values()))
    count = f"{bars[0]}" if len(bars) == 1 else f"{bars[0]} to {bars[-1]}"
    over = "1 bar" if bars == [1] else f"{count} bars"
    maintained = report.policy.maintenance is not None
    owned = bool(report.figures["equity"].notna().any())
    names = ["margin", *["maintenance"] * maintained, *["equity"] * owned]
    more = ("expected_shortfall_error", "value_at_risk", "gross_exposure", "net_exposure")
    rows = []
    states = report.statuses()["state"].tolist() if owned else []
    for at, row in enumerate(report.figures.iloc[:SHOWN_ACCOUNTS].to_dict("records")):
        share = row["margin"] / row["gross_exposure"] if row["gross_exposure"] else 0.0
        figures = [f"{row[name]:,.2f}" for name in (*names, *more)]
        rows.append(
            [
                f"{row['account']} ({row['currency']})",
                *figures,
                f"{share:.2%}",
                *states[at : at + 1],
            ]
        )
    return Grid(
        f"Margin at {100 * report.policy.level:.10g} % over {over}",
        ["account", *names, "± error", "VaR", "gross", "net", "margin / gross", *["state"] * owned],
        rows,
    )


def _owners(report: MarginReport) -> Grid:
    rows = [
        [
            f"{row['owner']} ({row['currency']})",
            str(row["netting"]),
            str(row["accounts"]),
            *(f"{row[name]:,.2f}" for name in ("margin", "maintenance")),
        ]
        for row in report.owners.iloc[:SHOWN_ACCOUNTS].to_dict("records")
    ]
    return Grid("Owners", ["owner", "netting", "accounts", "margin", "maintenance"], rows)


def _notes(report: MarginReport) -> Iterator[str]:
    if len(report.figures) > SHOWN_ACCOUNTS:
        yield f"and {len(report.figures) - SHOWN_ACCOUNTS:,} accounts more"
    if len(report.owners) > SHOWN_ACCOUNTS:
        yield f"and {len(report.owners) - SHOWN_ACCOUNTS:,} owners more"
    plan = report.plan
    yield (
        f"{plan.paths:,} paths, seed {plan.seed}, {plan.precision} precision, {report.engine} "
        f"engine; prices of {report.market_as_of[:19]}. The error is Monte Carlo's alone. Paths "
        f"with a floored price: {report.floored_paths}, with a capped variance: "
        f"{report.capped_paths}."
    )
    model = report.calibration
    yield "; ".join(filter(None, (f"{model.assets} assets", model.dates, model.updates))) + "."
    if floor := short_history(report):
        yield f"{floor}."
    lacking = report.figures["without_entry_price"]
    if report.figures["equity"].notna().any() and lacking.any():
        yield f"{entry_price_note(int(lacking.sum()), int((lacking > 0).sum()))}."
    refused = model.refused
    if refused:
        told = "; ".join(f"{name}: {text}" for name, text in list(refused.items())[:SHOWN_FITS])
        rest = f"; and {len(refused) - SHOWN_FITS} more" if len(refused) > SHOWN_FITS else ""
        yield f"Fits that gave way: {told}{rest}."

"""Reports for a terminal.

In: a margin report. Out: tables of its accounts and owners, what was simulated, and from what.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcmargin.reports.reporting import MarginReport

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_ACCOUNTS = 50
"""Accounts, and owners, that a printed report lists."""

SHOWN_FITS = 5
"""Fits that gave way which a printed report tells."""

WIDTH = 110
"""Of notes."""


def report_to_text(report: MarginReport) -> str:
    """Tables for a terminal, with what was simulated."""
    from rich.console import Console

    stream = io.StringIO()
    # Tables take the width that their names need.
    console = Console(file=stream, width=10**4, color_system=None, force_terminal=False)
    console.print(_accounts(report))
    if (report.owners["accounts"] > 1).any():
        console.print(_owners(report))
    for line in _notes(report):
        stream.write(f"{textwrap.fill(line, WIDTH)}\n")
    return stream.getvalue().rstrip()


def _accounts(report: MarginReport) -> Table:
    from rich.markup import escape

    bars = sorted(set(report.horizons.values()))
    over = f"{bars[0]}" if len(bars) == 1 else f"{bars[0]} to {bars[-1]}"
    maintained = report.policy.maintenance is not None
    owned = bool(report.figures["equity"].notna().any())
    names = ["margin", *["maintenance"] * maintained, *["equity"] * owned]
    table = _table(
        f"Margin at {100 * report.policy.level:.10g} % over {over} bars",
        ["account", *names, "± error", "VaR", "gross", "net", "margin / gross"],
    )
    more = ("expected_shortfall_error", "value_at_risk", "gross_exposure", "net_exposure")
    for row in report.figures.iloc[:SHOWN_ACCOUNTS].to_dict("records"):
        share = row["margin"] / row["gross_exposure"] if row["gross_exposure"] else 0.0
        figures = [f"{row[name]:,.2f}" for name in (*names, *more)]
        table.add_row(escape(f"{row['account']} ({row['currency']})"), *figures, f"{share:.2%}")
    return table


def _owners(report: MarginReport) -> Table:
    from rich.markup import escape

    table = _table("Owners", ["owner", "netting", "accounts", "margin", "maintenance"])
    for row in report.owners.iloc[:SHOWN_ACCOUNTS].to_dict("records"):
        table.add_row(
            escape(f"{row['owner']} ({row['currency']})"),
            row["netting"],
            str(row["accounts"]),
            *(f"{row[name]:,.2f}" for name in ("margin", "maintenance")),
        )
    return table


def _table(title: str, columns: list[str]) -> Table:
    from rich.table import Table

    table = Table(title=title)
    for at, name in enumerate(columns):
        table.add_column(name, justify="right" if at else "left")
    return table


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
    refused = model.refused
    if refused:
        told = "; ".join(f"{name}: {text}" for name, text in list(refused.items())[:SHOWN_FITS])
        rest = f"; and {len(refused) - SHOWN_FITS} more" if len(refused) > SHOWN_FITS else ""
        yield f"Fits that gave way: {told}{rest}."

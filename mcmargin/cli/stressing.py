"""The command `stress`, which computes losses in a policy's stress scenarios."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcmargin.cli.app import app, deliver, format_of
from mcmargin.cli.options import (
    BookOptions,
    Format,
    Model,
    OutputFormat,
    Positions,
    grouped,
)
from mcmargin.cli.printing import say

if TYPE_CHECKING:
    from mcmargin.reports.default_fund import ResourcesToRisk


@app.command()
@grouped
def stress(
    model: Model,
    positions: Positions,
    policy: Annotated[
        Path,
        typer.Option(
            "--policy", metavar="FILE", help="TOML, with the scenarios in its part [stress]."
        ),
    ],
    *,
    book: BookOptions,
    margins: Annotated[
        Path | None,
        typer.Option(
            "--margins",
            metavar="REPORT",
            help="JSON of 'margin' on the same book and market; with it the default fund of the "
            "policy's part [resources] is sized.",
            show_default="none",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write: .json, .csv or a table.",
            show_default="print it",
        ),
    ] = None,
    form: OutputFormat = None,
) -> None:
    """Tell what accounts lose in a policy's stress scenarios, and what a default fund must hold.

    A loss is positive, in the account's currency. The table has each account's worst scenario; csv
    and json have the worst scenario of every set. Open orders add nothing to a loss; their file is
    taken because it is part of the book that 'margin' was given.

    Example: mcmargin stress model.npz positions.csv --policy policy.toml --margins report.json
    """
    from mcmargin.desk.restoring import read_report
    from mcmargin.desk.stress_testing import stress_of_model
    from mcmargin.models.model_file import load_model
    from mcmargin.names import to_csv_text
    from mcmargin.policies.policy import MarginPolicy
    from mcmargin.reports.default_fund import resources
    from mcmargin.reports.stress_report import stress_to_json

    files = book.with_positions(positions)
    if output is not None:
        files.check_output(output, model, policy, *([] if margins is None else [margins]))
    asked = MarginPolicy.from_toml(policy)
    charged = None if margins is None else read_report(margins)
    (held, market), fitted = files.read(tell=say), load_model(model)
    found = stress_of_model(held, fitted, market, asked)
    fund = None if charged is None else resources(charged, found, asked)
    shape = format_of(form, output)
    if shape is Format.json:
        text = f"{stress_to_json(found, **({} if fund is None else {'resources': _fund(fund)}))}\n"
    elif shape is Format.csv:
        text = to_csv_text(found.to_frame())
        if fund is not None:
            say(str(fund))
    else:
        text = f"{found}\n" if fund is None else f"{found}\n{fund}\n"
    deliver(text, shape, output)
    if output is not None:
        say(f"Wrote {output}.")


def _fund(fund: ResourcesToRisk) -> dict[str, Any]:
    """The fields of a default fund for JSON; the ratio is null if there is no loss at all."""
    names = ("cover", "fund", "margin", "loss", "target_ratio", "met", "surplus", "currency")
    return {name: getattr(fund, name) for name in names} | {
        "ratio": None if math.isinf(fund.ratio) else fund.ratio,
        "owners": fund.owners.to_dict("records"),
    }

"""Commands that make figures and check them: `margin`, `simulate` and `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcmargin.cli.app import app, bar, deliver, format_of, is_page, text_of_report
from mcmargin.cli.inputs import margined
from mcmargin.cli.options import (
    BookOptions,
    ChargeOptions,
    Engine,
    Format,
    InstrumentFile,
    Model,
    Paths,
    PlanOptions,
    Positions,
    Precision,
    Seed,
    grouped,
)
from mcmargin.cli.printing import say, show
from mcmargin.data.files import check_destination
from mcmargin.errors import DataError


@app.command()
@grouped
def margin(
    model: Model,
    positions: Positions,
    *,
    book: BookOptions,
    charge: ChargeOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write: .json, .csv, .html (a page), or else a table; .parquet writes "
            "accounts, and .positions.parquet and .owners.parquet beside them.",
            show_default="print it",
        ),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="Format of the report, unless it is Parquet.",
            show_default="as FILE ends, or table",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Page with charts to write as well: one file for a browser.",
            show_default="none",
        ),
    ] = None,
    plan: PlanOptions,
) -> None:
    """Margin every account: expected shortfall over the margin period of risk, or by a policy.

    Amounts are in the account's currency; 'verify' reads the JSON. Options and futures that expire
    inside the horizon settle at bars of their own, which are simulated as well; so is the
    volatility of other times, where a policy asks for it. docs/files.md describes the files.

    Example: mcmargin margin model.npz positions.csv -o report.json
    """
    from mcmargin.data.tables import is_parquet

    files = book.with_positions(positions)
    written = () if output is None else _written(output)
    others = [path for path in (charge.policy, charge.previous) if path is not None]
    for path in (*written, *(() if html is None else (html,))):
        files.check_output(path, model, *others)
    if is_page(form, output) or html is not None:
        from mcmargin.reports.page_environment import check_installed

        check_installed()
    if html is not None and html.resolve() in [path.resolve() for path in written]:
        raise DataError(f"{html}: --html and --output name the same file")
    report = margined(model, positions, book, charge, plan, every=False)
    if output is not None and is_parquet(output):
        report.to_parquet(output)
    else:
        deliver(text_of_report(report, form, output), format_of(form, output), output)
    if html is not None:
        report.to_html(html)
        written = (*written, html)
    for path in written:
        say(f"Wrote {path}.")


def _written(output: Path) -> tuple[Path, ...]:
    """The files that are written for one output."""
    from mcmargin.data.tables import is_parquet
    from mcmargin.reports.report_file import parquet_files

    return parquet_files(output) if is_parquet(output) else (output,)


@app.command()
def simulate(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Scenario file to write, .npz.")
    ],
    horizon: Annotated[
        list[int] | None,
        typer.Option(
            metavar="BARS",
            help="Bars ahead; repeat the option for more, in rising order.",
            show_default="2",
        ),
    ] = None,
    paths: Paths = 100_000,
    seed: Seed = 7,
    engine: Engine = "auto",
    precision: Precision = "single",
) -> None:
    """Write simulated returns of every asset, as fractions, and the variance after each horizon.

    Example: mcmargin simulate model.npz -o scenarios.npz --horizon 1 --horizon 5
    """
    from mcmargin.models.model_file import load_model
    from mcmargin.scenarios import simulation
    from mcmargin.scenarios.limited_words import limited_words

    check_destination(output, inputs=(model,))
    fitted = load_model(model)
    with bar("Simulating") as progress:
        scenarios = simulation.simulate(
            fitted,
            horizons=tuple(horizon or [2]),
            paths=paths,
            seed=seed,
            engine=engine,
            precision=precision,
            progress=progress,
        )
    scenarios.save(output)
    say(f"Wrote {output}: {scenarios.returns.shape} returns (horizons, assets, paths).")
    limits = scenarios.floored_paths, scenarios.capped_paths, scenarios.limited
    say(f"{limited_words(*limits)}.")


@app.command()
@grouped
def verify(
    report: Annotated[
        Path,
        typer.Argument(metavar="REPORT", help="JSON that 'margin -o report.json' wrote."),
    ],
    model: Model,
    positions: Positions,
    *,
    # `market` has a help text of its own here, and `instruments` comes before it in help.
    instruments: InstrumentFile = None,
    market: Annotated[
        Path | None,
        typer.Option(
            "--market",
            metavar="FILE",
            help="TOML; needed where the report's had a volatility surface.",
            show_default="the report's prices",
        ),
    ] = None,
    book: BookOptions,
    previous: Annotated[
        Path | None,
        typer.Option(
            "--previous",
            metavar="REPORT",
            help="JSON that 'margin --previous' was given.",
            show_default="none",
        ),
    ] = None,
    engine: Engine = "auto",
) -> None:
    """Recompute a report from its seed: equal, within the engine bound, or different.

    Give the files that 'margin' was given.
    The verdict goes to stdout, its reasons to stderr; the status is 1 where it is different.

    Example: mcmargin verify report.json model.npz positions.csv
    """
    from mcmargin.desk import verification
    from mcmargin.desk.restoring import read_report
    from mcmargin.models.model_file import load_model

    filed = read_report(report, altered=True)
    last = None if previous is None else read_report(previous)
    fitted = load_model(model)
    currency = filed.market.get("currency") if market is None else None
    held, priced = book.with_positions(positions).read(currency=currency, tell=say)
    with bar("Simulating") as progress:
        outcome = verification.verify(
            filed, fitted, held, priced, last, engine=engine, progress=progress
        )
    show(outcome.verdict)
    for reason in outcome.reasons:
        say(reason)
    if outcome.verdict == "different":
        raise typer.Exit(1)

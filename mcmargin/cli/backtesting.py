"""Commands that look back: `backtest init`, `check` and `run`, and `simulate-margin`."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated

import typer

from mcmargin.cli.app import (
    app,
    bar,
    deliver,
    format_of,
    is_page,
    text_of_report,
    write_template,
)
from mcmargin.cli.file_names import FileNamingGroup
from mcmargin.cli.inputs import margin_policy
from mcmargin.cli.options import (
    BookOptions,
    ChargeOptions,
    Dependence,
    FileToStartFrom,
    Innovations,
    OutputFormat,
    PlanOptions,
    Positions,
    Volatility,
    grouped,
)
from mcmargin.cli.printing import say, show
from mcmargin.data.files import write_text
from mcmargin.names import shown

backtests = typer.Typer(
    cls=FileNamingGroup,
    no_args_is_help=True,
    help="Walk through history: would the margins have covered, and which model is better?",
)
app.add_typer(backtests, name="backtest")

WIDTH = 100

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML that 'backtest init' writes.")]


@backtests.command()
def init(output: FileToStartFrom = None) -> None:
    """Write a file to start from, with every field and a word on each.

    Example: mcmargin backtest init -o backtest.toml
    """
    write_template("backtest.toml", output)


@backtests.command()
def check(config: Config) -> None:
    """Say in words what a file will do, without running it, or name the field that is wrong.

    Example: mcmargin backtest check backtest.toml
    """
    from mcmargin.backtests.backtest_file import plan_in_words, read_backtest

    for sentence in plan_in_words(read_backtest(config)):
        show(textwrap.fill(shown(sentence), WIDTH, subsequent_indent="  "))


@backtests.command()
def run(
    config: Config,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="COUNT",
            help="Processes at a time. It changes no figure.",
            show_default="one a processor core",
        ),
    ] = None,
) -> None:
    """Walk, and write forecasts (Parquet), coverage by month (CSV) and a page of all of it.

    What is done is kept window by window: a run that was interrupted, and is started again, goes on
    from there. The page is the last file that is written.

    Example: mcmargin backtest run backtest.toml
    """
    from mcmargin.backtests.backtest import backtest
    from mcmargin.backtests.backtest_file import read_backtest
    from mcmargin.data.price_files import read_prices
    from mcmargin.names import to_csv_text
    from mcmargin.reports.page_environment import check_installed

    plan = read_backtest(config)
    check_installed()
    prices = read_prices(plan.prices)
    with bar("Walking") as progress:
        found = backtest(
            prices,
            plan.holdings(prices.assets),
            plan.models,
            horizons=plan.horizons,
            levels=plan.levels,
            window=plan.window,
            refit_every=plan.refit_every,
            start=plan.start,
            paths=plan.paths,
            seed=plan.seed,
            jobs=jobs,
            folder=plan.output / "work",
            progress=progress,
        )
    table = found.to_parquet(plan.output / "backtest.parquet")
    months = plan.output / "monthly.csv"
    write_text(months, to_csv_text(found.monthly_coverage()))
    page = plan.output / "backtest.html"
    found.to_html(page)
    for row in found.compare().groupby(["horizon", "level"], sort=False).head(1).to_dict("records"):
        show(
            f"{100 * row['level']:.10g} % over {row['horizon']} "
            f"bar{'' if row['horizon'] == 1 else 's'}: best is {shown(str(row['model']))}, "
            f"FZ0 {row['fz0']:.4f}"
        )
    say(f"Wrote {table}, {months} and {page}.")


@app.command()
@grouped
def simulate_margin(
    prices: Annotated[
        Path,
        typer.Argument(
            metavar="PRICES",
            help="CSV or Parquet of closes, as 'calibrate' reads them; later ones are left out.",
        ),
    ],
    positions: Positions,
    date: Annotated[
        str, typer.Option(metavar="DATE", help="Date to margin as of, such as 2008-10-31.")
    ],
    *,
    book: BookOptions,
    charge: ChargeOptions,
    volatility: Volatility = "gjr",
    innovations: Innovations = "skewt",
    dependence: Dependence = "t",
    window: Annotated[
        int | None,
        typer.Option(
            metavar="BARS",
            help="Newest returns to fit the model to.",
            show_default="all up to the date",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write: .json, .csv, .html (a page), or else a table.",
            show_default="print it",
        ),
    ] = None,
    form: OutputFormat = None,
    plan: PlanOptions,
) -> None:
    """Tell what the margin of any book would have been on a past date.

    The model is fitted to the closes up to the date, and knows no later one. The book may be one
    that nobody held: members of a clearing house ask for such simulations before they trade.

    Example: mcmargin simulate-margin prices.csv positions.csv --date 2008-10-31
    """
    from mcmargin.backtests.competing import ModelSpec
    from mcmargin.backtests.margin_at import margin_at
    from mcmargin.data.price_files import read_prices
    from mcmargin.desk.restoring import read_report
    from mcmargin.reports.page_environment import check_installed

    book_files = book.with_positions(positions)
    others = [path for path in (charge.policy, charge.previous) if path is not None]
    if output is not None:
        book_files.check_output(output, prices, *others)
    if is_page(form, output):
        check_installed()
    policy = margin_policy(charge, plan)
    previous = None if charge.previous is None else read_report(charge.previous)
    held, market = book_files.read(tell=say)
    with bar("Margining") as progress:
        report = margin_at(
            date,
            held,
            read_prices(prices),
            ModelSpec(volatility, innovations, dependence, plan.precision, plan.engine),
            policy,
            market=market,
            window=window,
            paths=plan.paths,
            seed=plan.seed,
            previous=previous,
            progress=progress,
        )
    deliver(text_of_report(report, form, output), format_of(form, output), output)
    if output is not None:
        say(f"Wrote {output}.")

"""Commands on backtests: `backtest init` writes a file, `check` explains it, and `run` walks."""

from __future__ import annotations

import textwrap
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from mcmargin.cli.app import app, bar
from mcmargin.cli.file_names import FileNamingGroup
from mcmargin.cli.printing import emit, say, show
from mcmargin.data.files import check_destination, write_text
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
def init(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File to write.", show_default="print it"
        ),
    ] = None,
) -> None:
    """Write a file to start from, with every field and a word on each.

    Example: mcmargin backtest init -o backtest.toml
    """
    text = (files("mcmargin.templates") / "backtest.toml").read_text(encoding="utf-8")
    if output is None:
        emit(text)
        return
    check_destination(output, inputs=(output,))
    write_text(output, text)
    say(f"Wrote {output}.")


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
    """Walk, and write the forecasts as Parquet and a page that says which model is better.

    What is done is kept window by window: a run that was interrupted, and is started again, goes on
    from there. A page that says which model is better is the last file that is written.

    Example: mcmargin backtest run backtest.toml
    """
    from mcmargin.backtests.backtest import backtest
    from mcmargin.backtests.backtest_file import read_backtest
    from mcmargin.data.price_files import read_prices
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
    page = plan.output / "backtest.html"
    found.to_html(page)
    for row in found.compare().groupby(["horizon", "level"], sort=False).head(1).to_dict("records"):
        show(
            f"{100 * row['level']:.10g} % over {row['horizon']} "
            f"bar{'' if row['horizon'] == 1 else 's'}: best is {shown(str(row['model']))}, "
            f"FZ0 {row['fz0']:.4f}"
        )
    say(f"Wrote {table} and {page}.")

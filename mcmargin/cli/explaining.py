"""The command `why`, which says why margins changed between two saved reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcmargin.cli.app import app, bar, deliver, format_of
from mcmargin.cli.options import Engine, Format, OutputFormat
from mcmargin.cli.printing import say
from mcmargin.data.files import check_destination
from mcmargin.errors import DataError

if TYPE_CHECKING:
    from mcmargin.books.files_of_book import BookFiles

PAGES = {".html": "to_html", ".png": "to_png"}
"""Endings of pages and pictures, and the method of the result that writes each."""


def _several(name: str, what: str) -> Any:
    """An option that is given once for both reports, or once for each report."""
    return typer.Option(
        name,
        metavar="FILE",
        help=f"{what} Give it once for both reports, or twice: yesterday's, then today's.",
        show_default="the file beside each report",
    )


@app.command()
def why(
    yesterday: Annotated[
        Path, typer.Argument(metavar="YESTERDAY", help="JSON of the earlier report.")
    ],
    today: Annotated[Path, typer.Argument(metavar="TODAY", help="JSON of the later report.")],
    model: Annotated[list[Path] | None, _several("--model", "Model.")] = None,
    positions: Annotated[list[Path] | None, _several("--positions", "Positions.")] = None,
    instruments: Annotated[list[Path] | None, _several("--instruments", "Instruments.")] = None,
    market: Annotated[
        list[Path] | None,
        _several("--market", "Market, needed for volatility surfaces alone."),
    ] = None,
    accounts: Annotated[list[Path] | None, _several("--accounts", "Accounts.")] = None,
    orders: Annotated[list[Path] | None, _several("--orders", "Open orders.")] = None,
    balances: Annotated[list[Path] | None, _several("--balances", "Balances.")] = None,
    previous: Annotated[
        list[Path] | None,
        _several("--previous", "Report that 'margin --previous' was given."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write: .json, .csv, .html (a page), .png (a chart), or else a table.",
            show_default="print it",
        ),
    ] = None,
    form: OutputFormat = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Page to write as well.", show_default="none"),
    ] = None,
    engine: Engine = "auto",
) -> None:
    """Say why margins changed from one report to the next, account by account.

    The change is taken apart into positions, market, volatility, parameters, data and policy, each
    measured on the same draws. Both reports are margined again on their own seed. What made them is
    recognised by the fingerprints in the reports: files given here, or files beside each report
    (any model, and positions, instruments, accounts, orders, balances and market under these
    names). Where the policy has a buffer or a speed limit, yesterday's report also needs the one
    that it was made with: --previous.

    Example: mcmargin why yesterday/report.json today/report.json --html why.html
    """
    from mcmargin.desk.waterfall import attribute
    from mcmargin.names import to_csv_text

    given = (model, positions, instruments, market, accounts, orders, balances, previous)
    inputs = (yesterday, today, *(path for paths in given for path in paths or ()))
    for path in (output, html):
        if path is not None:
            check_destination(path, inputs=inputs)
    if output is not None and html is not None and output.resolve() == html.resolve():
        raise DataError(f"{html}: --html and --output name the same file")
    drawn = None if form or output is None else PAGES.get(output.suffix.lower())
    if drawn or html is not None:
        from mcmargin.reports.page_environment import check_installed

        check_installed()
    files = _books(positions, instruments, accounts, orders, balances)
    with bar("Simulating") as progress:
        change = attribute(
            yesterday,
            today,
            model=model,
            book=files,
            market=market,
            previous=previous,
            engine=engine,
            progress=progress,
        )
    shape = format_of(form, output)
    if output is not None and drawn:
        getattr(change, drawn)(output)
    else:
        text = f"{change}\n"
        if shape is Format.json:
            text = f"{change.to_json()}\n"
        elif shape is Format.csv:
            text = to_csv_text(change.frame)
        deliver(text, shape, output)
    if html is not None:
        change.to_html(html)
    for path in (output, html):
        if path is not None:
            say(f"Wrote {path}.")


def _books(positions: list[Path] | None, *others: list[Path] | None) -> list[BookFiles]:
    """Files of the books that are given: one book for each report, or one for both."""
    from mcmargin.books.files_of_book import BookFiles

    if not positions:
        if any(others):
            raise DataError("files of a book are given without its positions; give --positions too")
        return []
    for paths in (positions, *others):
        if paths and len(paths) > 2:
            raise DataError(f"{paths[2]}: two reports take at most two files of a kind")
    count = max(len(paths) for paths in (positions, *others) if paths)
    books = []
    for at in range(count):
        own = [paths[min(at, len(paths) - 1)] if paths else None for paths in (positions, *others)]
        first, instruments, accounts, orders, balances = own
        assert first is not None
        books.append(BookFiles(first, instruments, None, accounts, orders, balances))
    return books

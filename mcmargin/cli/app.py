"""The application that commands are added to, with their progress bars, results and exit statuses.

In: a command line. Out: the exit status. `run` turns every error into one line on stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcmargin.cli.file_names import FileNamingGroup
from mcmargin.cli.options import Format
from mcmargin.cli.printing import emit, say, show
from mcmargin.data.files import check_destination, write_text
from mcmargin.errors import McMarginError

if TYPE_CHECKING:
    from mcmargin.progress import Progress
    from mcmargin.reports.margin_report import MarginReport

app = typer.Typer(
    cls=FileNamingGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Compute the margin that each account of a trading book must post: its expected "
    "shortfall over simulated paths of prices, and the add-ons of a policy.",
    epilog="""A typical sequence:

1. mcmargin calibrate prices.csv -o model.npz

2. mcmargin update model.npz newer.csv -o model.npz

3. mcmargin margin model.npz positions.csv -o report.json

4. mcmargin verify report.json model.npz positions.csv

'mcmargin demo' shows it on real prices; 'mcmargin margin --help' explains a step.""",
)


def deliver(text: str, shape: Format, output: Path | None) -> None:
    """Write a result to a file, or print it: a table for people, other formats for machines."""
    if output is not None:
        write_text(output, text)
    elif shape is Format.table:
        show(text.removesuffix("\n"))
    else:
        emit(text)


def write_template(name: str, output: Path | None) -> None:
    """Write a template of the package as a file to start from, or print it."""
    text = (files("mcmargin.templates") / name).read_text(encoding="utf-8")
    if output is None:
        emit(text)
        return
    check_destination(output, inputs=(output,))
    write_text(output, text)
    say(f"Wrote {output}.")


def is_page(asked: Format | None, output: Path | None) -> bool:
    """Whether the output is a page: its name says so, and no other format was asked for."""
    return asked is None and output is not None and output.suffix.lower() == ".html"


def text_of_report(report: MarginReport, asked: Format | None, output: Path | None) -> str:
    """A margin report in the format that was asked for, or that the output's name says."""
    from mcmargin.names import to_csv_text

    if is_page(asked, output):
        return report.to_html()
    shape = format_of(asked, output)
    if shape is Format.json:
        return f"{report.to_json()}\n"
    return to_csv_text(report.to_frame()) if shape is Format.csv else f"{report}\n"


def format_of(asked: Format | None, output: Path | None) -> Format:
    """The format that was asked for, or the ending of the output's name, or else a table.

    Examples
    --------
    >>> format_of(None, Path("report.json")).value, format_of(Format.csv, Path("a.json")).value
    ('json', 'csv')
    """
    ending = "" if output is None else output.suffix.lower().removeprefix(".")
    return asked or Format.__members__.get(ending, Format.table)


@contextmanager
def bar(step: str) -> Iterator[Progress | None]:
    """Show a progress bar if stderr is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(*Bar.get_default_columns(), "left", console=console, transient=True) as shown:
        task = shown.add_task(step, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextmanager
def bars() -> Iterator[Callable[[str], Progress | None]]:
    """Give a function that shows the progress bar of a step in place of the bar before it."""
    with ExitStack() as shown:

        def begin(step: str) -> Progress | None:
            shown.close()
            return shown.enter_context(bar(step))

        yield begin


def _version(asked: bool) -> None:
    if asked:
        from mcmargin.audit import package_version

        show(f"mcmargin {package_version('mcmargin')}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def run() -> int:
    """Do what the command line says; return the exit status."""
    try:
        status = _status_of_command()
        if sys.stdout is not None:
            # At exit the interpreter would report a full disk or a closed pipe in its own words.
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        status = 1
    except Exception as error:
        _discard_output()
        _say_where()
        say(f"mcmargin: {type(error).__name__}: {error} (MCMARGIN_DEBUG=1 shows where)")
        status = 1
    return status


def _status_of_command() -> int:
    try:
        app()
    except McMarginError as error:
        _say_where()
        say(f"mcmargin: {error}")
        return 2
    except MemoryError as error:
        _say_where()
        say(f"mcmargin: out of memory ({error}); fewer paths or horizons take less")
        return 2
    except SystemExit as status:
        return status.code if isinstance(status.code, int) else 0
    return 0


def _say_where() -> None:
    """Print the traceback of the current error if MCMARGIN_DEBUG is set."""
    if os.environ.get("MCMARGIN_DEBUG"):
        import traceback

        say(traceback.format_exc())


def _discard_output() -> None:
    """Discard the text that waits in stdout and cannot be written."""
    with suppress(OSError, AttributeError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, AttributeError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())

"""The command line: files in, margins out.

In: paths and options. Out: machine output alone on stdout, messages and progress on stderr; exit
status 0 for done, 2 for bad input, 1 for anything else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcmargin.checks import Progress, plain_time
from mcmargin.errors import McMarginError, ModelFileError
from mcmargin.files import check_destination, write_atomically

if TYPE_CHECKING:
    from mcmargin.model import MarketModel
    from mcmargin.simulation import Scenarios

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Expected-shortfall margins from GARCH-calibrated Monte Carlo, reproducible to the seed.",
    epilog="""A typical sequence:

1. mcmargin calibrate prices.csv -o model.npz

2. mcmargin update model.npz newer.csv -o model.npz

3. mcmargin margin model.npz positions.csv --format json -o report.json

4. mcmargin verify report.json model.npz positions.csv

'mcmargin demo' shows it on real prices; 'mcmargin margin --help' explains a step.""",
)

INTERRUPTED = 130
"""Status that typer gives Ctrl-C."""

Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Model file that 'calibrate' or 'update' wrote.")
]
Positions = Annotated[
    Path,
    typer.Argument(
        metavar="POSITIONS", help="CSV or Parquet: account,instrument,quantity; negative is short."
    ),
]
Prices = Annotated[
    Path,
    typer.Argument(
        metavar="PRICES", help="CSV or Parquet: ISO dates, then a column of closes an asset."
    ),
]
ModelOutput = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="Model file to write, .npz.")
]
Paths = Annotated[int, typer.Option(metavar="COUNT", help="Simulated paths.")]
Seed = Annotated[
    int, typer.Option(metavar="NUMBER", help="Seed of the stream: the same seed, the same figures.")
]
Engine = Annotated[str, typer.Option(metavar="NAME", help="auto, numpy or cupy.")]
Precision = Annotated[
    str, typer.Option(metavar="NAME", help="single (float32) or double (float64).")
]


class Format(StrEnum):
    """How a report is printed."""

    table = "table"
    json = "json"
    csv = "csv"


@contextmanager
def _bar(step: str) -> Iterator[Progress | None]:
    """Show a progress bar on stderr where a person watches, and none elsewhere."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(*Bar.get_default_columns(), "left", console=console, transient=True) as bar:
        task = bar.add_task(step, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _scenarios(
    model: MarketModel,
    horizons: tuple[int, ...],
    paths: int,
    seed: int,
    engine: str,
    precision: str,
) -> Scenarios:
    """Simulate with a progress bar, for every command that needs scenarios."""
    from mcmargin.simulation import simulate

    with _bar("Simulating") as progress:
        return simulate(
            model,
            horizons=horizons,
            paths=paths,
            seed=seed,
            engine=engine,
            precision=precision,
            progress=progress,
        )


def _say(text: str) -> None:
    # Where stderr is closed, print would turn to stdout, which is the machine's.
    if sys.stderr is not None:
        print(text, file=sys.stderr)


def _version(asked: bool) -> None:
    if asked:
        from mcmargin import __version__

        print(f"mcmargin {__version__}")
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


@app.command()
def calibrate(
    prices: Prices,
    output: ModelOutput,
    volatility: Annotated[
        str, typer.Option(metavar="NAME", help="garch, gjr, egarch, ewma or constant.")
    ] = "gjr",
    innovations: Annotated[
        str, typer.Option(metavar="NAME", help="normal, t, skewt, ged or empirical.")
    ] = "skewt",
    dependence: Annotated[
        str,
        typer.Option(metavar="NAME", help="gaussian, t or historical (with empirical only)."),
    ] = "t",
    own_history: Annotated[
        bool, typer.Option(help="Fit each asset on all of its own closes, not the common ones.")
    ] = False,
    factors: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="Common factors in place of a full correlation, for many assets.",
            show_default="none",
        ),
    ] = None,
    correlation_lookback: Annotated[
        int | None,
        typer.Option(metavar="BARS", help="Newest bars that count.", show_default="all"),
    ] = None,
    correlation_half_life: Annotated[
        float | None,
        typer.Option(
            metavar="BARS",
            help="Bars that halve a date's weight; 'update' then moves the correlation.",
            show_default="equal weights",
        ),
    ] = None,
    warm_start: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="Earlier model whose parameters the fits start from."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="COUNT", help="Fits at a time.", show_default="one a processor core"
        ),
    ] = None,
) -> None:
    """Fit a model to closes.

    At least 101 dates on which every asset has a close. The report of the fits goes to stderr.

    Example: mcmargin calibrate prices.csv -o model.npz
    """
    from mcmargin import calibrate, load_model, read_prices

    check_destination(output, inputs=(prices,))
    history = read_prices(prices)
    earlier = None if warm_start is None else load_model(warm_start)
    with _bar("Fitting") as progress:
        model = calibrate(
            history,
            volatility=volatility,
            innovations=innovations,
            dependence=dependence,
            own_history=own_history,
            factors=factors,
            correlation_lookback=correlation_lookback,
            correlation_half_life=correlation_half_life,
            warm_start=earlier,
            jobs=jobs,
            progress=progress,
        )
    model.save(output)
    _say(f"{model.fit_report()}\nWrote {output}, as of {plain_time(model.as_of)}.")


@app.command()
def update(
    model: Model,
    prices: Prices,
    output: ModelOutput,
    provisional: Annotated[
        bool,
        typer.Option(
            "--provisional", help="The last row is within the running bar and commits nothing."
        ),
    ] = False,
) -> None:
    """Filter a model's variances forward to newer closes, without a refit.

    Rows that the model has seen already are passed over.

    Example: mcmargin update model.npz newer.csv -o model.npz
    """
    from mcmargin import load_model, read_prices

    check_destination(output, inputs=(prices,))
    moved = load_model(model).update(read_prices(prices), provisional=provisional)
    moved.save(output)
    if provisional:
        _say(f"Wrote {output}, as of {plain_time(moved.as_of)} (provisional).")
    else:
        _say(f"{moved.update_report()}\nWrote {output}, as of {plain_time(moved.as_of)}.")


@app.command()
def margin(
    model: Model,
    positions: Positions,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File to write.", show_default="print it"
        ),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How the report reads.")] = Format.table,
    horizon: Annotated[
        int, typer.Option(metavar="BARS", help="Margin period of risk, in bars of the prices.")
    ] = 2,
    level: Annotated[
        float, typer.Option(metavar="SHARE", help="Confidence level: 0.99 is 99 %.")
    ] = 0.99,
    paths: Paths = 100_000,
    seed: Seed = 7,
    engine: Engine = "auto",
    precision: Precision = "single",
) -> None:
    """Margin every account: expected shortfall over the margin period of risk.

    Amounts are in the account's currency; 'verify' reads the json.

    Example: mcmargin margin model.npz positions.csv --format json -o report.json
    """
    from mcmargin import MarginPolicy, load_model, margin, read_positions

    if output is not None:
        check_destination(output, inputs=(model, positions))
    policy = MarginPolicy(level=level, horizon=horizon)
    book, fitted = read_positions(positions), load_model(model)
    scenarios = _scenarios(fitted, (horizon,), paths, seed, engine, precision)
    with _bar("Margining") as progress:
        report = margin(book, scenarios, policy=policy, progress=progress)
    if form is Format.json:
        text = f"{report.to_json()}\n"
    elif form is Format.csv:
        text = report.to_frame().to_csv(index=False)
    else:
        text = f"{report}\n"
    if output is None:
        print(text, end="")
    else:
        write_atomically(output, text.encode())
        _say(f"Wrote {output}.")


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
            help="Bars ahead; give it again for more, increasing.",
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
    from mcmargin import load_model

    check_destination(output, inputs=(model,))
    scenarios = _scenarios(load_model(model), tuple(horizon or [2]), paths, seed, engine, precision)
    scenarios.save(output)
    _say(f"Wrote {output}: {scenarios.returns.shape} returns (horizons, assets, paths).")


@app.command()
def verify(
    report: Annotated[
        Path,
        typer.Argument(metavar="REPORT", help="JSON that 'margin --format json' wrote."),
    ],
    model: Model,
    positions: Positions,
    engine: Engine = "auto",
) -> None:
    """Recompute a report from its seed: equal, within the engine bound, or different.

    The verdict goes to stdout, its reasons to stderr; the status is 1 where it is different.

    Example: mcmargin verify report.json model.npz positions.csv
    """
    from mcmargin import MarginReport, load_model, read_positions, verify

    try:
        text = report.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelFileError(f"{report}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ModelFileError(f"{report}: not a margin report: it is not text") from None
    filed = MarginReport.from_json(text, source=str(report))
    fitted, book = load_model(model), read_positions(positions)
    with _bar("Simulating") as progress:
        outcome = verify(filed, fitted, book, engine=engine, progress=progress)
    print(outcome.verdict)
    for reason in outcome.reasons:
        _say(reason)
    if outcome.verdict == "different":
        raise typer.Exit(1)


@app.command()
def info() -> None:
    """Print versions, the engines found, and the threads used.

    Example: mcmargin info
    """
    from importlib.metadata import PackageNotFoundError, version

    from mcmargin.engines import cupy_engine
    from mcmargin.simulation import choose_engine, thread_count

    chosen, threads = choose_engine("auto"), thread_count(None)
    for name in ("mcmargin", "numpy", "scipy", "pandas", "arch"):
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            print(f"{name} not installed")
    reason = cupy_engine.missing()
    print("engines numpy" if reason else "engines numpy cupy")
    print(f"device none: {reason}" if reason else "device CUDA")
    print(f"engine {chosen}")
    print(f"threads {threads}")


@app.command()
def demo() -> None:
    """Run the main job on real prices that ship with arch: fit, simulate, margin.

    Example: mcmargin demo
    """
    from contextlib import ExitStack

    from mcmargin.demo import run_demo

    with ExitStack() as bars:

        def progress(step: str) -> Progress | None:
            bars.close()
            return bars.enter_context(_bar(step))

        def say(text: str) -> None:
            bars.close()
            _say(text)

        report = run_demo(say, progress)
    print(report)
    print(report.contributions_frame().round(2).to_string(index=False))


def main() -> None:
    """Entry point: errors become one line on stderr and an exit status."""
    try:
        app()
    except McMarginError as error:
        _say(f"mcmargin: {error}")
        sys.exit(2)
    except MemoryError as error:
        _say(f"mcmargin: out of memory ({error}); fewer paths or horizons take less")
        sys.exit(2)
    except SystemExit as status:
        if status.code != INTERRUPTED:
            raise
        _say("mcmargin: interrupted")
        sys.exit(1)
    except Exception as error:
        if os.environ.get("MCMARGIN_DEBUG"):
            raise
        _say(f"mcmargin: {type(error).__name__}: {error} (MCMARGIN_DEBUG=1 shows where)")
        sys.exit(1)


if __name__ == "__main__":
    main()

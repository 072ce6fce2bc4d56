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

from mcmargin.checks import Progress
from mcmargin.errors import McMarginError, ModelFileError

if TYPE_CHECKING:
    from mcmargin.model import MarketModel
    from mcmargin.simulation import Scenarios

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Expected-shortfall margins from GARCH-calibrated Monte Carlo. Start with "
    "'mcmargin demo', or: calibrate prices.csv -o model.npz, then margin model.npz positions.csv.",
)

INTERRUPTED = 130
"""Status that typer gives Ctrl-C."""

Model = Annotated[Path, typer.Argument(help="A model that 'calibrate' or 'update' wrote.")]
Positions = Annotated[Path, typer.Argument(help="CSV or Parquet: account,instrument,quantity.")]
Prices = Annotated[Path, typer.Argument(help="CSV or Parquet: dates, then one column an asset.")]
Paths = Annotated[int, typer.Option(help="Simulated paths.")]
Seed = Annotated[int, typer.Option(help="Seed of the stream; the same seed, the same figures.")]
Engine = Annotated[str, typer.Option(help="auto, numpy or cupy.")]
Precision = Annotated[str, typer.Option(help="single or double.")]


class Format(StrEnum):
    """How a report is printed."""

    table = "table"
    json = "json"
    csv = "csv"


@contextmanager
def _bar(step: str) -> Iterator[Progress | None]:
    """Show a progress bar on stderr where a person watches, and none elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
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
    print(text, file=sys.stderr)


@app.command()
def calibrate(
    prices: Prices,
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")],
    volatility: Annotated[str, typer.Option(help="garch, gjr, egarch, ewma, constant.")] = "gjr",
    innovations: Annotated[str, typer.Option(help="normal, t, skewt, ged, empirical.")] = "skewt",
    dependence: Annotated[str, typer.Option(help="gaussian, t, historical.")] = "t",
    warm_start: Annotated[Path | None, typer.Option(help="Earlier model to start from.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Fits at a time; one a core.")] = None,
) -> None:
    """Fit a model to closes.  Example: mcmargin calibrate prices.csv -o model.npz."""
    import mcmargin as mm

    history = mm.read_prices(prices)
    earlier = None if warm_start is None else mm.load_model(warm_start)
    with _bar("Fitting") as progress:
        model = mm.calibrate(
            history,
            volatility=volatility,
            innovations=innovations,
            dependence=dependence,
            warm_start=earlier,
            jobs=jobs,
            progress=progress,
        )
    model.save(output)
    _say(f"{model.fit_report()}\nWrote {output}, as of {model.as_of}.")


@app.command()
def update(
    model: Model,
    prices: Prices,
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")],
    provisional: Annotated[bool, typer.Option(help="The last row is within a bar.")] = False,
) -> None:
    """Filter a model forward.  Example: mcmargin update model.npz today.csv -o model.npz."""
    import mcmargin as mm

    moved = mm.load_model(model).update(mm.read_prices(prices), provisional=provisional)
    moved.save(output)
    _say(f"Wrote {output}, as of {moved.as_of}{' (provisional)' if provisional else ''}.")


@app.command()
def margin(
    model: Model,
    positions: Positions,
    paths: Paths = 100_000,
    horizon: Annotated[int, typer.Option(help="Margin period of risk, in bars.")] = 2,
    level: Annotated[float, typer.Option(help="Confidence level; 0.99 is 99 %.")] = 0.99,
    seed: Seed = 7,
    engine: Engine = "auto",
    precision: Precision = "single",
    form: Annotated[Format, typer.Option("--format", help="How the report prints.")] = Format.table,
) -> None:
    """Margin every account.  Example: mcmargin margin model.npz positions.csv --format json."""
    import mcmargin as mm

    policy = mm.MarginPolicy(level=level, horizon=horizon)
    book, fitted = mm.read_positions(positions), mm.load_model(model)
    scenarios = _scenarios(fitted, (horizon,), paths, seed, engine, precision)
    with _bar("Margining") as progress:
        report = mm.margin(book, scenarios, policy=policy, progress=progress)
    if form is Format.json:
        print(report.to_json())
    elif form is Format.csv:
        print(report.to_frame().to_csv(index=False), end="")
    else:
        print(report)


@app.command()
def simulate(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Scenario file to write.")],
    paths: Paths = 100_000,
    horizon: Annotated[list[int] | None, typer.Option(help="Bars; may be repeated.")] = None,
    seed: Seed = 7,
    engine: Engine = "auto",
    precision: Precision = "single",
) -> None:
    """Write scenarios.  Example: mcmargin simulate model.npz -o s.npz --horizon 1 --horizon 5."""
    import mcmargin as mm

    scenarios = _scenarios(
        mm.load_model(model), tuple(horizon or [2]), paths, seed, engine, precision
    )
    scenarios.save(output)
    _say(f"Wrote {output}: {scenarios.returns.shape} returns (horizons, assets, paths).")


@app.command()
def verify(
    report: Annotated[Path, typer.Argument(help="JSON that 'margin --format json' printed.")],
    model: Model,
    positions: Positions,
    engine: Engine = "auto",
) -> None:
    """Recompute a report from its seed.  Example: mcmargin verify r.json model.npz pos.csv."""
    import mcmargin as mm

    try:
        text = report.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{report}: cannot be read ({error})") from None
    filed = mm.MarginReport.from_json(text, source=str(report))
    fitted, book = mm.load_model(model), mm.read_positions(positions)
    with _bar("Simulating") as progress:
        outcome = mm.verify(filed, fitted, book, engine=engine, progress=progress)
    print(outcome.verdict)
    for reason in outcome.reasons:
        _say(reason)
    if outcome.verdict == "different":
        raise typer.Exit(1)


@app.command()
def info() -> None:
    """Print versions, engines found, and threads.  Example: mcmargin info."""
    from importlib.metadata import PackageNotFoundError, version

    from mcmargin.simulation import thread_count

    for name in ("mcmargin", "numpy", "scipy", "pandas", "arch"):
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            print(f"{name} not installed")
    print("engines numpy")
    print("device none: the cupy engine is not part of this version")
    print(f"threads {thread_count(None)}")


@app.command()
def demo() -> None:
    """Run the main job on real prices that ship with arch.  Example: mcmargin demo."""
    from contextlib import ExitStack

    from mcmargin.demo import run_demo

    with ExitStack() as bars:

        def progress(step: str) -> Progress | None:
            bars.close()
            return bars.enter_context(_bar(step))

        report = run_demo(_say, progress)
    print(report)
    print(report.contributions_frame().round(2).to_string(index=False))


def main() -> None:
    """Entry point: errors become one line on stderr and an exit status."""
    try:
        app()
    except McMarginError as error:
        _say(f"mcmargin: {error}")
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

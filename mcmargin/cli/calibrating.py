"""Commands that fit a model and update it: `calibrate` and `update`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcmargin.cli.app import app, bar
from mcmargin.cli.options import Dependence, Innovations, Model, Volatility
from mcmargin.cli.printing import say
from mcmargin.data.files import check_destination
from mcmargin.data.locks import locked, require_unchanged, stamp_of

Prices = Annotated[
    Path,
    typer.Argument(
        metavar="PRICES",
        help="CSV or Parquet: ISO dates, then one column of closes for each asset.",
    ),
]
ModelOutput = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="Model file to write, .npz.")
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="LIMIT=NUMBER",
        help="Widen a limit of plausibility by its name, such as price_ratio=2000 or "
        "future_days=400; give it again for more. docs/files.md lists them.",
        show_default="usual limits",
    ),
]
Price = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Of a file of candles (open, high, low, close, volume): the column that is the price, "
        "such as Close. The asset is called as the file is.",
        show_default="every column is an asset",
    ),
]


@app.command()
def calibrate(
    prices: Prices,
    output: ModelOutput,
    volatility: Volatility = "gjr",
    innovations: Innovations = "skewt",
    dependence: Dependence = "t",
    own_history: Annotated[
        bool,
        typer.Option(
            help="Fit each asset to all of its own closes, not to the common dates alone."
        ),
    ] = False,
    factors: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="Number of common factors that replace a full correlation, for many assets.",
            show_default="none",
        ),
    ] = None,
    correlation_lookback: Annotated[
        int | None,
        typer.Option(
            metavar="BARS",
            help="Number of newest bars that the correlation is estimated from.",
            show_default="all",
        ),
    ] = None,
    correlation_half_life: Annotated[
        float | None,
        typer.Option(
            metavar="BARS",
            help="Bars that halve a date's weight in the correlation; 'update' then moves it.",
            show_default="equal weights",
        ),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Zone on whose clock the bars are regular, such as America/New_York.",
            show_default="the one in which they repeat best",
        ),
    ] = None,
    calendar: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="Exchange whose holidays and short days count, such as XNYS.",
            show_default="none",
        ),
    ] = None,
    stamps: Annotated[
        str | None,
        typer.Option(
            metavar="WORD",
            help="What the times of the prices are: dates of the closes, start or end of the bars.",
            show_default="read off the times",
        ),
    ] = None,
    price: Price = None,
    warm_start: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Earlier model, from whose parameters the fits start; EGARCH fits do not.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="COUNT",
            help="Fits at a time, at most; more than one only where that saves time.",
            show_default="one a processor core",
        ),
    ] = None,
    allow: Allow = None,
) -> None:
    """Fit a model to closes.

    It needs at least 101 dates on which every asset has a close. The report of the fits goes to
    stderr.

    Example: mcmargin calibrate prices.csv -o model.npz
    """
    from mcmargin.checks import plain_time
    from mcmargin.data.plausibility import plausibility_of
    from mcmargin.data.price_files import read_prices
    from mcmargin.models.calibration import calibrate
    from mcmargin.models.model_file import load_model

    check_destination(output, inputs=(prices,))
    history = read_prices(prices, zone=zone, calendar=calendar, stamps=stamps, price=price)
    earlier = None if warm_start is None else load_model(warm_start)
    with bar("Fitting") as progress:
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
            plausibility=plausibility_of(allow or []),
        )
    with locked(output):
        model.save(output)
    say(f"{model.fit_report()}\n{model.calendar.summary()}")
    say(f"Wrote {output}, as of {plain_time(model.as_of)}.")


@app.command()
def update(
    model: Model,
    prices: Prices,
    output: ModelOutput,
    provisional: Annotated[
        bool,
        typer.Option(
            "--provisional",
            help="Take the last row as a price within the running bar, which commits nothing; "
            "closes before it are taken in.",
        ),
    ] = False,
    price: Price = None,
    allow: Allow = None,
) -> None:
    """Filter a model's variances forward to newer closes, without a refit.

    Rows that the model has seen already are passed over; with nothing new the model stays as it
    is, and the status is 0. Of several updates of one model file at a time, each waits for the
    one before.

    Example: mcmargin update model.npz newer.csv -o model.npz
    """
    from mcmargin.checks import plain_time
    from mcmargin.data.plausibility import plausibility_from, plausibility_of
    from mcmargin.data.price_files import read_prices
    from mcmargin.models.model_file import load_model

    check_destination(output, inputs=(prices,))
    given = plausibility_of(allow or []).widened()
    with locked(output):
        stamp = stamp_of(output)
        before = load_model(model)
        # The asset has the name of the first file of candles; the newer file may have another.
        asset = before.assets[0] if price is not None and len(before.assets) == 1 else None
        history = read_prices(prices, price=price, asset=asset)
        # The model keeps its own limits, except those that are widened here.
        limits = plausibility_from(before.plausibility.widened() | given, where="--allow")
        moved = before.update(history, provisional=provisional, plausibility=limits)
        in_place = output.exists() and model.samefile(output)
        written = not (moved is before and in_place)
        if written:
            if in_place:
                require_unchanged(output, stamp)
            moved.save(output)
    within = " (provisional)" if moved.provisional else ""
    done = f"Wrote {output}" if written else f"{output} stays as it is"
    say(f"{moved.update_report(since=before)}\n{done}, as of {plain_time(moved.as_of)}{within}.")

"""Backtest files: TOML that says what to walk through, with which portfolios and models.

In: a file. Out: a `BacktestPlan`, checked field by field, or a `DataError` that names the file, the
table and the entry, and says what to do. Paths are relative to the file's folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from mcmargin.backtests.competing import Competitor, ModelSpec
from mcmargin.backtests.peers import (
    EwmaNormal,
    FilteredHistorical,
    HistoricalSimulation,
    LogGarchCopula,
    PriceScan,
    StaticPercentage,
)
from mcmargin.data.validation import Flag, Number, Row, Text, Time, first_fault, read_toml
from mcmargin.errors import DataError, McMarginError

Count = Annotated[int, Field(strict=True, ge=1)]
Share = Annotated[float, Field(strict=True, gt=0.0, lt=1.0)]


class OwnModel(Row):
    """The model of this package."""

    kind: Literal["model"] = Field(description="`model`: this package's model.")
    volatility: Text = Field("gjr", description="garch, gjr, egarch, ewma or constant.")
    innovations: Text = Field("skewt", description="normal, t, skewt, ged or empirical.")
    dependence: Text = Field("t", description="gaussian, t or historical.")
    precision: Text = Field("single", description="single (float32) or double (float64).")
    engine: Text = Field("auto", description="auto, numpy or cupy.")


class StaticPercentageTable(Row):
    """A fixed share of gross exposure."""

    kind: Literal["static_percentage"] = Field(
        description="`static_percentage`: a fixed share of gross exposure."
    )
    share: Share = Field(0.1, description="For one bar; it grows with the root of the horizon.")


class HistoricalSimulationTable(Row):
    """The returns of the last bars."""

    kind: Literal["historical_simulation"] = Field(
        description="`historical_simulation`: past returns as they were."
    )
    bars: Count = Field(500, description="How many of the last bars are taken.")


class EwmaNormalTable(Row):
    """Normal returns of an exponentially weighted covariance."""

    kind: Literal["ewma_normal"] = Field(
        description="`ewma_normal`: normal returns, as RiskMetrics has them."
    )
    decay: Share = Field(0.94, description="Weight of a bar over that of the next one.")


class FilteredHistoricalTable(Row):
    """The last bars' returns, scaled to today's volatility."""

    kind: Literal["filtered_historical"] = Field(
        description="`filtered_historical`: past returns, scaled to today's volatility."
    )
    decay: Share = Field(0.94, description="Of the volatility that they are scaled by.")


class LogGarchCopulaTable(Row):
    """GARCH with t innovations on log returns, and a t copula."""

    kind: Literal["log_garch_copula"] = Field(
        description="`log_garch_copula`: GARCH-t on log returns, t copula."
    )
    degrees_of_freedom: Annotated[Number, Field(gt=2.0)] = Field(
        6.0, description="Of the copula, above 2."
    )


class PriceScanTable(Row):
    """The worst move of each asset alone."""

    kind: Literal["price_scan"] = Field(
        description="`price_scan`: the worst move of each asset alone, without offsets."
    )
    bars: Count = Field(250, description="Last bars that the moves are taken from.")


ModelTable = Annotated[
    OwnModel
    | StaticPercentageTable
    | HistoricalSimulationTable
    | EwmaNormalTable
    | FilteredHistoricalTable
    | LogGarchCopulaTable
    | PriceScanTable,
    Field(discriminator="kind"),
]

PEERS: Mapping[str, type[Any]] = {
    "model": ModelSpec,
    "static_percentage": StaticPercentage,
    "historical_simulation": HistoricalSimulation,
    "ewma_normal": EwmaNormal,
    "filtered_historical": FilteredHistorical,
    "log_garch_copula": LogGarchCopula,
    "price_scan": PriceScan,
}
"""What each kind of model in a file is."""


class BacktestFile(Row):
    """A whole file."""

    prices: Text = Field(
        description="Path of the closes, as `calibrate` reads them, from the file's folder on."
    )
    output: Text = Field(description="Folder of results, from the file's folder on.")
    seed: Annotated[int, Field(strict=True, ge=0)] = Field(description="Of all draws.")
    horizons: Annotated[list[Count], Field(min_length=1)] = Field([1, 2], description="Bars ahead.")
    levels: Annotated[list[Share], Field(min_length=1)] = Field(
        [0.99, 0.975], description="Confidence levels."
    )
    window: Count = Field(1000, description="Returns that a model is fitted to.")
    refit_every: Count = Field(20, description="Dates that a fit serves.")
    start: Time | None = Field(
        None, description="First date to forecast from; none: the first with a whole window."
    )
    paths: Count = Field(10_000, description="Simulated paths a date.")
    each_asset: Flag = Field(
        False, description="Whether each asset alone, long and short, is a portfolio."
    )
    portfolios: dict[Text, dict[Text, Number]] = Field(
        {}, description="Tables [portfolios.NAME] of amounts by asset; negative is short."
    )
    models: Annotated[dict[Text, ModelTable], Field(min_length=1)] = Field(
        description="Tables [models.NAME], at least one, each of a kind below."
    )


@dataclass(frozen=True)
class BacktestPlan:
    """What a file says.

    Attributes
    ----------
    prices, output : Path
        Of the closes, and of the folder of results.
    each_asset : bool
        Whether each asset alone, long and short, is a portfolio too.
    portfolios : mapping of str to mapping of str to float
        Amounts held, by portfolio and asset.
    models : mapping of str to Competitor
    horizons : tuple of int
    levels : tuple of float
    window, refit_every, paths, seed : int
    start : numpy.datetime64, optional
    """

    prices: Path
    output: Path
    each_asset: bool
    portfolios: Mapping[str, Mapping[str, float]]
    models: Mapping[str, Competitor]
    horizons: tuple[int, ...]
    levels: tuple[float, ...]
    window: int
    refit_every: int
    paths: int
    seed: int
    start: np.datetime64 | None

    def holdings(self, assets: tuple[str, ...]) -> dict[str, dict[str, float]]:
        """Every portfolio of the plan, for these assets; those of single assets come first."""
        alone = {}
        if self.each_asset:
            for name in assets:
                alone[f"long {name}"] = {name: 1.0}
                alone[f"short {name}"] = {name: -1.0}
        return alone | {name: dict(held) for name, held in self.portfolios.items()}


def read_backtest(path: str | os.PathLike[str]) -> BacktestPlan:
    """Read a backtest file.

    Raises
    ------
    DataError
        If it cannot be read, or a field is missing, unknown or out of range; naming it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> text = '''
    ... prices = "prices.csv"
    ... output = "results"
    ... seed = 7
    ... each_asset = true
    ... [models.normal]
    ... kind = "ewma_normal"
    ... decay = 0.97
    ... '''
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "backtest.toml"
    ...     _ = path.write_text(text)
    ...     plan = read_backtest(path)
    >>> plan.window, plan.models["normal"]
    (1000, EwmaNormal(decay=0.97))
    """
    try:
        file = BacktestFile.model_validate(read_toml(path))
    except ValidationError as error:
        place, _, words = first_fault(error)
        raise DataError(f"{path}: {_named(place)}: {words}") from None
    if not (file.each_asset or file.portfolios):
        raise DataError(
            f"{path}: there is no portfolio; write each_asset = true, or a table [portfolios.NAME] "
            "of assets with amounts"
        )
    folder = Path(path).parent
    return BacktestPlan(
        prices=folder / file.prices,
        output=folder / file.output,
        each_asset=file.each_asset,
        portfolios=file.portfolios,
        models={name: _model(path, name, table) for name, table in file.models.items()},
        horizons=tuple(file.horizons),
        levels=tuple(file.levels),
        window=file.window,
        refit_every=file.refit_every,
        paths=file.paths,
        seed=file.seed,
        start=file.start,
    )


def _model(path: str | os.PathLike[str], name: str, table: Any) -> Competitor:
    """The model that a table of the file describes."""
    try:
        model: Competitor = PEERS[table.kind](**table.model_dump(exclude={"kind"}))
    except McMarginError as error:
        raise DataError(f"{path}: [models.{name}] {error}") from None
    return model


def _named(place: tuple[int | str, ...]) -> str:
    """A place in the file as TOML writes it: [models.gjr] volatility."""
    section, *entry = (str(step) for step in place if step != "[key]")
    if section not in ("models", "portfolios") or not entry:
        return ".".join([section, *entry])
    # pydantic tells which kind of model it took it for, too.
    name, *rest = entry
    if section == "models":
        rest = [step for step in rest if step not in PEERS]
    return f"[{section}.{name}] {'.'.join(rest)}".rstrip()


def plan_in_words(plan: BacktestPlan) -> list[str]:
    """What a plan will do, a sentence each.

    Examples
    --------
    >>> plan = BacktestPlan(
    ...     Path("p.csv"), Path("out"), True, {}, {"normal": EwmaNormal()}, (1,), (0.99,), 500, 20,
    ...     10_000, 7, None,
    ... )
    >>> plan_in_words(plan)[1]
    'Each asset alone is a portfolio, long and short.'
    """
    levels = " and ".join(f"{100 * level:.10g} %" for level in plan.levels)
    bars = " and ".join(map(str, plan.horizons))
    begin = "the first date that has a whole window" if plan.start is None else str(plan.start)[:10]
    found = [
        f"Every model forecasts at {levels} over {bars} bar"
        f"{'' if plan.horizons == (1,) else 's'}, on every date from {begin} on.",
    ]
    if plan.each_asset:
        found.append("Each asset alone is a portfolio, long and short.")
    for name, held in plan.portfolios.items():
        amounts = ", ".join(f"{amount:+g} {asset}" for asset, amount in held.items())
        found.append(f"Portfolio {name!r} holds {amounts}.")
    found.append(
        f"A model is fitted to the last {plan.window:,} returns, again every {plan.refit_every} "
        "dates, and filtered forward between."
    )
    found += [f"Model {name!r} is {model!r}." for name, model in plan.models.items()]
    found.append(f"Models that simulate take {plan.paths:,} paths a date, from seed {plan.seed}.")
    found.append(
        f"{plan.output} gets backtest.parquet, monthly.csv, backtest.html and, in work, the "
        "windows that are done, so that a run that was interrupted goes on from there."
    )
    return found

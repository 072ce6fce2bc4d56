"""BacktestResult: what models forecast on every date, what happened, and what tests and scores say.

In: the records of a walk. Out: a frozen value with the forecasts as a table, and with coverage,
tests, scores and comparisons computed from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.audit import package_version
from mcmargin.backtests import coverage, e_values, scores, shortfall
from mcmargin.backtests.observations import FAIL, PASS, TestResult, result, tail_share
from mcmargin.backtests.walking import Record, Walk
from mcmargin.checks import few, plain_time
from mcmargin.data.files import write_atomically
from mcmargin.errors import DataError


@dataclass(frozen=True, eq=False, repr=False)
class BacktestResult:
    """What a backtest found.

    Attributes
    ----------
    dates : ndarray of shape (dates,), datetime64[ns]
        Closes that were forecast from.
    models, portfolios, assets : tuple of str
    horizons : tuple of int
    levels : tuple of float
    exposures : ndarray of shape (portfolios, assets), float64
    realised : ndarray of shape (dates, portfolios, horizons), float64
        Profit and loss over the horizon that begins on each date; NaN where it has not ended.
    value_at_risk, expected_shortfall, margin : ndarray, float64
        Of shape (models, dates, portfolios, horizons, levels); losses are positive.
    probability : ndarray of shape (models, dates, portfolios, horizons), float64
        A model's own, of at most what happened; NaN where it gives no distribution.
    ratio_sums, ratio_counts : ndarray
        Of shape (models, portfolios, horizons, levels, histories): sums of X / ES beyond value at
        risk in histories that the model drew, and how many terms each has.
    dates_summed : ndarray of shape (models, horizons), int64
        Dates that these sums are over; 0 where the model gives no distribution.
    settings : dict
        Window, refit_every, paths, seed, fingerprint and version.
    """

    dates: NDArray[np.datetime64]
    models: tuple[str, ...]
    portfolios: tuple[str, ...]
    assets: tuple[str, ...]
    horizons: tuple[int, ...]
    levels: tuple[float, ...]
    exposures: NDArray[np.float64]
    realised: NDArray[np.float64]
    value_at_risk: NDArray[np.float64]
    expected_shortfall: NDArray[np.float64]
    margin: NDArray[np.float64]
    probability: NDArray[np.float64]
    ratio_sums: NDArray[np.float64]
    ratio_counts: NDArray[np.int64]
    dates_summed: NDArray[np.int64]
    settings: dict[str, Any]

    def __repr__(self) -> str:
        return (
            f"<BacktestResult of {few(self.models)}: {len(self.portfolios):,} portfolios, "
            f"{len(self.dates):,} dates from {plain_time(self.dates[0])} to "
            f"{plain_time(self.dates[-1])}>"
        )

    @property
    def frame(self) -> pd.DataFrame:
        """One row a model, date, portfolio, horizon and level.

        Columns model, date, portfolio, horizon, level, profit_and_loss, value_at_risk,
        expected_shortfall, margin, probability and exception.
        """
        shape = self.value_at_risk.shape
        places = np.indices(shape, np.int32).reshape(5, -1)
        realised = np.broadcast_to(self.realised[None, ..., None], shape).ravel()
        var = self.value_at_risk.ravel()
        return pd.DataFrame(
            {
                "model": _category(places[0], self.models),
                "date": self.dates[places[1]],
                "portfolio": _category(places[2], self.portfolios),
                "horizon": np.array(self.horizons)[places[3]],
                "level": np.array(self.levels)[places[4]],
                "profit_and_loss": realised,
                "value_at_risk": var,
                "expected_shortfall": self.expected_shortfall.ravel(),
                "margin": self.margin.ravel(),
                "probability": np.broadcast_to(self.probability[..., None], shape).ravel(),
                "exception": -realised > var,
            }
        )

    def coverage(self) -> pd.DataFrame:
        """One row a model, portfolio, horizon and level: how often losses exceeded value at risk.

        Columns model, portfolio, horizon, level, observations, exceptions, coverage (share of dates
        without an exception), largest and average exception (by how much a loss exceeded value
        at risk; 0 without one), average_margin. Of a horizon of several bars, only dates whose
        horizons do not overlap are taken.
        """
        rows = []
        for key, each in self._cells():
            beyond = -each.gains - each.value_at_risk
            hits = beyond[beyond > 0.0]
            rows.append(
                key
                | {
                    "observations": len(each.gains),
                    "exceptions": len(hits),
                    "coverage": 1.0 - len(hits) / len(each.gains) if len(each.gains) else np.nan,
                    "largest_exception": float(hits.max(initial=0.0)),
                    "average_exception": float(hits.mean()) if len(hits) else 0.0,
                    "average_margin": float(each.margin.mean()) if len(each.margin) else np.nan,
                }
            )
        return pd.DataFrame(rows)

    def tests(self, *, significance: float = 0.05) -> pd.DataFrame:
        """One row a model, portfolio, horizon, level and test, the fields of `TestResult`.

        Of a horizon of several bars, only dates whose horizons do not overlap are taken. Tests that
        need a model's distribution are undecided where it gives none.
        """
        rows = [
            key | {each.name: getattr(found, each.name) for each in fields(TestResult)}
            for key, cell in self._cells()
            for found in _tests(cell, key["level"], self.settings["seed"], significance)
        ]
        return pd.DataFrame(rows)

    def scores(self) -> pd.DataFrame:
        """One row a model, portfolio, horizon and level: mean scores of all dates, lower is better.

        Columns model, portfolio, horizon, level, fz0, quantile_score, average_margin.
        """
        rows = []
        for key, each in self._cells(overlapping=True):
            forecast = each.gains, each.value_at_risk
            fz0 = scores.fz0_score(*forecast, each.expected_shortfall, key["level"])
            rows.append(
                key
                | {
                    "fz0": float(fz0.mean()),
                    "quantile_score": float(scores.quantile_score(*forecast, key["level"]).mean()),
                    "average_margin": float(each.margin.mean()),
                }
            )
        return pd.DataFrame(rows)

    def compare(self, *, size: float = 0.1, resamples: int = 1000) -> pd.DataFrame:
        """One row a horizon, level and model, the best first: which are better, and how surely.

        Each date's FZ0 is averaged over the portfolios. Columns horizon, level, model, fz0,
        difference (from the best), standard_error and p_value of it (Diebold and Mariano), in_set
        (whether the model confidence set of probability 1 - size has it) and set_p_value.
        """
        tables = []
        for column, horizon in enumerate(self.horizons):
            known = np.asarray(~np.isnan(self.realised[:, :, column]).any(axis=1))
            for place, level in enumerate(self.levels):
                by_model = {
                    name: self._mean_fz0(model, column, place, known)
                    for model, name in enumerate(self.models)
                }
                table = _compared(by_model, horizon, self.settings["seed"], size, resamples)
                table.insert(0, "level", level)
                table.insert(0, "horizon", horizon)
                tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write `frame`, with the settings in the file's metadata under `mcmargin`; whole or not.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        import io

        import orjson
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        told = {b"mcmargin": orjson.dumps(self.settings)}
        table = table.replace_schema_metadata((table.schema.metadata or {}) | told)
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        write_atomically(Path(path), buffer.getvalue())
        return Path(path)

    def _mean_fz0(
        self, model: int, column: int, place: int, known: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """FZ0 of each date, averaged over the portfolios."""
        found = [
            scores.fz0_score(
                self.realised[known, portfolio, column],
                self.value_at_risk[model, known, portfolio, column, place],
                self.expected_shortfall[model, known, portfolio, column, place],
                self.levels[place],
            )
            for portfolio in range(len(self.portfolios))
        ]
        return np.asarray(np.mean(found, axis=0))

    def _cells(self, *, overlapping: bool = False) -> Iterator[tuple[dict[str, Any], _Cell]]:
        """Every model, portfolio, horizon and level, with its dates that have ended."""
        shape = (self.models, self.portfolios, self.horizons, self.levels)
        for m, p, h, q in product(*(range(len(each)) for each in shape)):
            step = 1 if overlapping else self.horizons[h]
            taken = np.flatnonzero(~np.isnan(self.realised[::step, p, h])) * step
            key = {
                "model": self.models[m],
                "portfolio": self.portfolios[p],
                "horizon": self.horizons[h],
                "level": self.levels[q],
            }
            yield (
                key,
                _Cell(
                    self.realised[taken, p, h],
                    self.value_at_risk[m, taken, p, h, q],
                    self.expected_shortfall[m, taken, p, h, q],
                    self.margin[m, taken, p, h, q],
                    self.probability[m, taken, p, h],
                    self.ratio_sums[m, p, h, q],
                    self.ratio_counts[m, p, h, q],
                    int(self.dates_summed[m, h]),
                ),
            )


def _category(places: NDArray[Any], names: Sequence[str]) -> pd.Categorical:
    return pd.Categorical(np.array(names, object)[places], categories=list(names))


@dataclass(frozen=True, eq=False)
class _Cell:
    """One model's forecasts of one portfolio, over one horizon, at one level."""

    gains: NDArray[np.float64]
    value_at_risk: NDArray[np.float64]
    expected_shortfall: NDArray[np.float64]
    margin: NDArray[np.float64]
    probability: NDArray[np.float64]
    ratio_sums: NDArray[np.float64]
    ratio_counts: NDArray[np.int64]
    dates_summed: int


def _tests(cell: _Cell, level: float, seed: int, significance: float) -> Iterator[TestResult]:
    given: dict[str, Any] = {"significance": significance}
    hits = -cell.gains > cell.value_at_risk
    forecast = cell.gains, cell.value_at_risk
    both = (*forecast, cell.expected_shortfall)
    for test in (
        coverage.kupiec,
        coverage.christoffersen_independence,
        coverage.conditional_coverage,
        coverage.time_between_failures,
    ):
        yield test(hits, level, **given)
    yield coverage.dynamic_quantile(*forecast, level, **given)
    yield _z1(cell, hits, significance)
    yield _z2(cell, hits, level, significance)
    yield shortfall.mcneil_frey(*both, seed=seed, resamples=2000, **given)
    if np.isnan(cell.probability).any() or not len(cell.probability):
        note = "the model gives no distribution"
        yield result("tail pit", np.nan, np.nan, hits, significance, note)
    else:
        yield shortfall.tail_pit(cell.probability, level, **given)
    for bet in (
        e_values.e_backtest_value_at_risk(*forecast, level, **given),
        e_values.e_backtest_expected_shortfall(*both, level, **given),
    ):
        largest = 1.0 / bet.p_value if bet.p_value else np.inf
        verdict = FAIL if bet.verdict == FAIL else PASS
        yield TestResult(bet.test, largest, bet.p_value, verdict, bet.observations, bet.exceptions)


def _z1(cell: _Cell, hits: NDArray[np.bool_], significance: float) -> TestResult:
    name = "acerbi-szekely z1"
    if cell.dates_summed == 0:
        note = "the model gives no distribution"
        return result(name, np.nan, np.nan, hits, significance, note)
    if not hits.any():
        return result(name, np.nan, np.nan, hits, significance, shortfall.NO_EXCEPTION)
    observed = float((cell.gains[hits] / cell.expected_shortfall[hits]).mean()) + 1.0
    counts = cell.ratio_counts
    drawn = np.where(counts > 0, cell.ratio_sums / np.maximum(counts, 1) + 1.0, 0.0)
    return _ranked(name, observed, drawn, hits, significance)


def _z2(cell: _Cell, hits: NDArray[np.bool_], level: float, significance: float) -> TestResult:
    name, share = "acerbi-szekely z2", tail_share(level)
    if cell.dates_summed == 0:
        note = "the model gives no distribution"
        return result(name, np.nan, np.nan, hits, significance, note)
    ratios = np.where(hits, cell.gains / cell.expected_shortfall, 0.0)
    observed = float(ratios.sum()) / (len(hits) * share) + 1.0
    drawn = cell.ratio_sums / (cell.dates_summed * share) + 1.0
    return _ranked(name, observed, drawn, hits, significance)


def _ranked(
    name: str,
    observed: float,
    drawn: NDArray[np.float64],
    hits: NDArray[np.bool_],
    significance: float,
) -> TestResult:
    """A result whose p-value is the share of drawn statistics that are at most the observed one."""
    # Sums in another order differ in their last digits.
    below = int(np.sum(drawn <= observed + 1e-12 * max(1.0, abs(observed))))
    return result(name, observed, (1 + below) / (1 + len(drawn)), hits, significance)


def _compared(
    by_model: Mapping[str, NDArray[np.float64]],
    horizon: int,
    seed: int,
    size: float,
    resamples: int,
) -> pd.DataFrame:
    """Models by their scores, against the best one."""
    names = sorted(by_model, key=lambda name: float(by_model[name].mean()))
    best = by_model[names[0]]
    dates = len(best)
    lags = max(horizon - 1, int(4.0 * (dates / 100.0) ** (2.0 / 9.0)))
    found = [scores.diebold_mariano(by_model[name], best, lags=lags) for name in names]
    table = pd.DataFrame(
        {
            "model": names,
            "fz0": [float(by_model[name].mean()) for name in names],
            "difference": [each.mean_difference for each in found],
            "standard_error": [each.standard_error for each in found],
            "p_value": [each.p_value for each in found],
        }
    )
    if len(names) == 1:
        return table.assign(in_set=True, set_p_value=1.0)
    chosen = scores.model_confidence_set(by_model, seed=seed, size=size, resamples=resamples)
    chosen = chosen.set_index("model")
    table["in_set"] = chosen["in_set"].reindex(names).to_numpy(bool)
    table["set_p_value"] = chosen["p_value"].reindex(names).to_numpy(float)
    return table


def result_of(
    walk: Walk,
    portfolios: tuple[str, ...],
    records: Mapping[str, Sequence[Record]],
    fingerprint: str,
) -> BacktestResult:
    """Put the records of all windows together, in the order of dates."""
    if not all(len(each) == len(walk.windows) for each in records.values()):
        raise DataError("backtest: some windows have no record")

    def joined(name: str) -> NDArray[Any]:
        return np.stack(
            [np.concatenate([getattr(r, name) for r in own]) for own in records.values()]
        )

    def added(name: str) -> NDArray[Any]:
        return np.stack(
            [np.sum([getattr(r, name) for r in own], axis=0) for own in records.values()]
        )

    own = next(iter(records.values()))
    return BacktestResult(
        dates=walk.closes.times[walk.first : walk.last],
        models=tuple(records),
        portfolios=portfolios,
        assets=walk.closes.assets,
        horizons=walk.horizons,
        levels=walk.levels,
        exposures=walk.exposures,
        realised=np.concatenate([each.realised for each in own]),
        value_at_risk=joined("value_at_risk"),
        expected_shortfall=joined("expected_shortfall"),
        margin=joined("margin"),
        probability=joined("probability"),
        ratio_sums=added("ratio_sums"),
        ratio_counts=added("ratio_counts"),
        dates_summed=added("dates_summed"),
        settings={
            "window": walk.window,
            "refit_every": walk.refit_every,
            "paths": walk.paths,
            "seed": walk.seed,
            "fingerprint": fingerprint,
            "version": package_version("mcmargin"),
        },
    )

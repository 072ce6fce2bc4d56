"""What a backtest found, as values: forecasts on every date, and what happened.

In: the records of a walk. Out: a frozen value that tests, scores, published tables and the page
read; `mcmargin.backtests.backtest_result` adds what one asks of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.checks import few, plain_time


@dataclass(frozen=True, eq=False, repr=False)
class BacktestValues:
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
        Window, refit_every, paths, seed, fingerprint, version, and dates_left_out: the number of
        dates on which an asset that is held has no close.
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
        lost = self.settings.get("dates_left_out", 0)
        return (
            f"<{type(self).__name__} of {few(self.models)}: {len(self.portfolios):,} portfolios, "
            f"{len(self.dates):,} dates from {plain_time(self.dates[0])} to "
            f"{plain_time(self.dates[-1])}"
            f"{f', {lost:,} dates without every close left out' if lost else ''}>"
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

    def cases(self) -> Iterator[tuple[dict[str, Any], tuple[int, int, int, int]]]:
        """Every model, portfolio, horizon and level, by name and by place."""
        names = (self.models, self.portfolios, self.horizons, self.levels)
        for m, p, h, q in product(*(range(len(each)) for each in names)):
            key = {
                "model": self.models[m],
                "portfolio": self.portfolios[p],
                "horizon": self.horizons[h],
                "level": self.levels[q],
            }
            yield key, (m, p, h, q)

    def cells(self, *, overlapping: bool = False) -> Iterator[tuple[dict[str, Any], Cell]]:
        """Every case, with its dates that have ended."""
        for key, (m, p, h, q) in self.cases():
            step = 1 if overlapping else self.horizons[h]
            taken = np.flatnonzero(~np.isnan(self.realised[::step, p, h])) * step
            yield (
                key,
                Cell(
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


@dataclass(frozen=True, eq=False)
class Cell:
    """One model's forecasts of one portfolio, over one horizon, at one level."""

    gains: NDArray[np.float64]
    value_at_risk: NDArray[np.float64]
    expected_shortfall: NDArray[np.float64]
    margin: NDArray[np.float64]
    probability: NDArray[np.float64]
    ratio_sums: NDArray[np.float64]
    ratio_counts: NDArray[np.int64]
    dates_summed: int


def _category(places: NDArray[Any], names: Sequence[str]) -> pd.Categorical:
    return pd.Categorical(np.array(names, object)[places], categories=list(names))

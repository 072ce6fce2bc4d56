"""BacktestResult: what a backtest found, with all that one asks of it.

In: the records of a walk. Out: a frozen value with the forecasts as a table, and with coverage,
tests, scores, comparisons and a page computed from it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.audit import package_version
from mcmargin.backtests import disclosure, judging
from mcmargin.backtests.backtest_page import PageTables, backtest_to_html
from mcmargin.backtests.backtest_values import BacktestValues
from mcmargin.backtests.walking import Gathered, Walk
from mcmargin.data.files import write_atomically, write_text
from mcmargin.scenarios.kept import Kept


@dataclass(frozen=True, eq=False, repr=False)
class BacktestResult(BacktestValues):
    """What a backtest found.

    Its attributes are those of `mcmargin.backtests.backtest_values.BacktestValues`; `backtest`
    makes it.

    Attributes
    ----------
    kept : Kept
        Tables that were asked for, so that each is computed once; each caller gets a copy.
    """

    kept: Kept = field(init=False, default_factory=Kept)

    def coverage(self) -> pd.DataFrame:
        """How often losses exceeded value at risk; see `mcmargin.backtests.judging.coverage_of`."""
        return self._once(judging.coverage_of)

    def tests(self, *, significance: float = 0.05) -> pd.DataFrame:
        """Every test of every case; see `mcmargin.backtests.judging.tests_of`."""
        return self._once(judging.tests_of, significance=significance)

    def scores(self) -> pd.DataFrame:
        """Mean scores, lower is better; see `mcmargin.backtests.judging.scores_of`."""
        return self._once(judging.scores_of)

    def compare(self, *, size: float = 0.1, resamples: int = 1000) -> pd.DataFrame:
        """Which models are better, and how surely; see `mcmargin.backtests.judging.compared`."""
        return self._once(judging.compared, size=size, resamples=resamples)

    def margin_efficiency(self) -> pd.DataFrame:
        """Average margin at equal coverage; see `mcmargin.backtests.judging.margin_efficiency`."""
        return self._once(judging.margin_efficiency)

    def monthly_coverage(self) -> pd.DataFrame:
        """Coverage by month, as clearing houses publish it; see `disclosure.monthly_coverage`."""
        return self._once(disclosure.monthly_coverage)

    def procyclicality(self, *, bars: int = 5) -> pd.DataFrame:
        """How far and how fast margins moved; see `disclosure.procyclicality`."""
        return self._once(disclosure.procyclicality, bars=bars)

    def responsiveness(self, *, bars: Sequence[int] = (1, 5, 20)) -> pd.DataFrame:
        """By how much margins have risen after volatility; see `disclosure.responsiveness`."""
        return self._once(disclosure.responsiveness, bars=tuple(bars))

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write `frame`, with the settings in the file's metadata under `mcmargin`; whole or not.

        Raises
        ------
        DataError
            If it cannot be written.
        """
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

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """One page for a browser, a phone and a printer; written whole where asked.

        It says first which model is better and whether its margins covered. Then it has margin
        against realised loss through time, coverage by year, month and portfolio, traffic
        lights, Murphy diagrams, tests, and how margins moved. Nothing is loaded from elsewhere, and
        no script runs.

        Raises
        ------
        McMarginError
            Where jinja2 or matplotlib is not installed (`pip install 'mcmargin[report]'`).
        DataError
            If the page cannot be written.
        """
        tables = PageTables(
            compare=self.compare(),
            tests=self.tests(),
            coverage=self.coverage(),
            monthly_coverage=self.monthly_coverage(),
            procyclicality=self.procyclicality(),
            responsiveness=self.responsiveness() if 1 in self.horizons else None,
        )
        text = backtest_to_html(self, tables)
        if path is not None:
            write_text(Path(path), text)
        return text

    def _once(self, compute: Callable[..., pd.DataFrame], **given: Any) -> pd.DataFrame:
        """A copy of a table, which is computed on the first call with these arguments."""
        return self.kept.once(
            (compute.__name__, *given.items()), lambda: compute(self, **given)
        ).copy()


def result_of(walk: Walk, gathered: Mapping[str, Gathered], fingerprint: str) -> BacktestResult:
    """Put the records of all windows together, in the order of dates."""

    def joined(name: str) -> NDArray[Any]:
        return np.stack([own.joined(name) for own in gathered.values()])

    def added(name: str) -> NDArray[Any]:
        return np.stack([own.sums[name] for own in gathered.values()])

    first = next(iter(gathered.values()))
    return BacktestResult(
        dates=walk.closes.times[walk.first : walk.last],
        models=tuple(gathered),
        portfolios=walk.portfolios,
        assets=walk.closes.assets,
        horizons=walk.horizons,
        levels=walk.levels,
        exposures=walk.exposures,
        realised=first.joined("realised"),
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
            "dates_left_out": walk.left_out,
            "fingerprint": fingerprint,
            "version": package_version("mcmargin"),
        },
    )

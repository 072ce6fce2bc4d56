"""backtest(): walk forward through history, and record what models forecast and what happened.

In: prices, portfolios, models, and how to walk. Out: a `BacktestResult`. On every date a model
knows the closes up to that date and no later one; it is fitted again every few dates, and filtered
forward between. Several processes work on windows, and the result is the same for any number.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.backtests.backtest_result import BacktestResult, result_of
from mcmargin.backtests.competing import Competitor
from mcmargin.backtests.observations import tail_share
from mcmargin.backtests.peers import HistoricalSimulation, PriceScan
from mcmargin.backtests.resuming import fingerprint_of, folder_of
from mcmargin.backtests.walking import WINDOWS_A_PIECE, Gathered, Piece, Walk, walk_piece
from mcmargin.books.book import Book
from mcmargin.checks import few, require_type, whole_number
from mcmargin.data.prices import PriceHistory
from mcmargin.data.times import utc_time
from mcmargin.errors import DataError, PolicyError
from mcmargin.instruments.instruments import Spot
from mcmargin.progress import Progress
from mcmargin.workers import default_jobs, in_processes

LEAST_WINDOW = 100
"""Returns that a window must have, as a calibration must."""


def backtest(
    prices: PriceHistory,
    portfolios: Book | pd.DataFrame | Mapping[str, Mapping[str, float]],
    models: Mapping[str, Competitor],
    *,
    horizons: Sequence[int] = (1, 2),
    levels: Sequence[float] = (0.99, 0.975),
    window: int = 1000,
    refit_every: int = 20,
    start: Any = None,
    paths: int = 10_000,
    seed: int,
    jobs: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> BacktestResult:
    """Walk forward through history with several models.

    Parameters
    ----------
    prices : PriceHistory
        Assets that no portfolio holds are left out, and then the dates on which an asset has no
        close; `settings` of the result has the number of these dates.
    portfolios : Book, DataFrame or mapping of str to mapping of str to float
        Amounts held of each asset, by portfolio, the same on every date; negative is short. Of a
        DataFrame rows are portfolios and columns are assets. Of a book of spot positions each
        account is a portfolio, and holds what its positions are worth on the first date.
    models : mapping of str to object
        By name: a `ModelSpec`, one of `mcmargin.backtests.peers`, or any object with the methods of
        `mcmargin.backtests.competing.Competitor`.
    horizons : sequence of int
        Bars ahead. At least one date must have a close so far ahead.
    levels : sequence of float
        Confidence levels.
    window : int
        Returns that a model is fitted to.
    refit_every : int
        Dates that a fit serves.
    start : time, optional
        First date to forecast from; the first one that has a whole window by default.
    paths : int
        Scenarios a date, for models that simulate.
    seed : int
        Each date draws from this seed and its own time alone.
    jobs : int, optional
        Processes at a time; one a core by default. Changes no figure. Models that no other process
        can import, such as those of a notebook, are walked in this process.
    folder : path, optional
        Where windows that are done are written. A call with the same arguments goes on from there
        after an interruption; without a folder it begins anew, and all work is lost. The folder
        must be empty, or of such a call. It is of other arguments as soon as the package, numpy,
        scipy, pandas, arch, or the module file of a model's class is another one.
    progress : callable, optional
        Called with dates done and in all, over all models. Dates of windows that are read from the
        folder are reported first, before any work.

    Returns
    -------
    BacktestResult

    Raises
    ------
    DataError
        For a portfolio whose asset has no prices, a window longer than the history or shorter than
        a model needs, a folder of other arguments or in which another process walks, and a model
        that fails, with its name and the date.
    PolicyError
        For a number that is out of range.

    Examples
    --------
    >>> from mcmargin.backtests.peers import EwmaNormal, HistoricalSimulation
    >>> from mcmargin.demo import demo_prices
    >>> found = backtest(
    ...     demo_prices(),
    ...     {"index": {"sp500": 1.0}, "spread": {"sp500": 1.0, "nasdaq": -1.0}},
    ...     {"normal": EwmaNormal(), "historical": HistoricalSimulation(250)},
    ...     horizons=(1,), levels=(0.99,), window=250, start="2018-01-02", seed=7, jobs=1,
    ... )
    >>> found.coverage()[["model", "portfolio", "observations", "exceptions"]]
            model portfolio  observations  exceptions
    0      normal     index           250           8
    1      normal    spread           250           0
    2  historical     index           250           5
    3  historical    spread           250           6
    """
    require_type("prices", prices, PriceHistory)
    walk = _walk(prices, portfolios, horizons, levels, window, refit_every, start, paths, seed)
    if not isinstance(models, Mapping) or not models:
        raise DataError("backtest: give models as a mapping of at least one name to a model")
    for name, model in models.items():
        if not all(callable(getattr(model, method, None)) for method in ("fit", "forecast")):
            raise DataError(
                f"backtest: model {name!r} has no methods fit and forecast; "
                "mcmargin.backtests.competing.Competitor says what they do"
            )
        if isinstance(model, HistoricalSimulation | PriceScan) and model.bars > walk.window:
            raise DataError(
                f"backtest: model {name!r} takes the last {model.bars:,} returns, and the window "
                f"has {walk.window:,}; give a window of at least {model.bars:,}"
            )
    count = default_jobs() if jobs is None else whole_number("jobs", jobs)
    digest = fingerprint_of(walk, models, resumed=folder is not None)
    kept = nullcontext() if folder is None else folder_of(Path(folder), digest)
    with kept as place:
        pieces = _pieces(walk, models, place)
        gathered = {name: Gathered() for name in models}
        read = [piece.dates_done() for piece in pieces]
        total, done = len(models) * (walk.last - walk.first), sum(read)
        if progress is not None:
            progress(done, total)
        with closing(_done(pieces, count)) as results:
            for piece, before, found in zip(pieces, read, results, strict=True):
                for record in found:
                    gathered[piece.name].add(record)
                done += sum(len(dates) for dates in piece.windows) - before
                if progress is not None:
                    progress(done, total)
    return result_of(walk, gathered, digest)


def _done(pieces: list[Piece], jobs: int) -> Any:
    """Records of pieces, in their order."""
    models = {id(piece.model): piece.model for piece in pieces}.values()
    if jobs == 1 or len(pieces) == 1 or not all(map(_can_be_sent, models)):
        return (walk_piece(piece) for piece in pieces)
    return in_processes(walk_piece, pieces, min(jobs, len(pieces)))


def _can_be_sent(model: Competitor) -> bool:
    """Whether another process can import its class: not that of a notebook, script or function."""
    try:
        pickle.dumps(model)
    except Exception:  # a class may raise anything when it is pickled
        return False
    return type(model).__module__ != "__main__"


def _pieces(walk: Walk, models: Mapping[str, Competitor], folder: Path | None) -> list[Piece]:
    windows = walk.windows
    found = []
    for at, (name, model) in enumerate(models.items()):
        own = None if folder is None else folder / f"{at:03d}"
        if own is not None:
            own.mkdir(exist_ok=True)
        for first in range(0, len(windows), WINDOWS_A_PIECE):
            chosen = tuple(windows[first : first + WINDOWS_A_PIECE])
            found.append(Piece(name, model, first, chosen, walk, own))
    return found


def _common(prices: PriceHistory, held: list[bool]) -> PriceHistory:
    """Closes of the assets that are held, on the dates on which each has one."""
    whole = np.isfinite(prices.prices[:, held]).all(axis=1)
    names = tuple(name for name, wanted in zip(prices.assets, held, strict=True) if wanted)
    closes = prices.prices[whole][:, held]
    return replace(prices, assets=names, times=prices.times[whole], prices=closes)


def _walk(
    prices: PriceHistory,
    portfolios: Any,
    horizons: Sequence[int],
    levels: Sequence[float],
    window: int,
    refit_every: int,
    start: Any,
    paths: int,
    seed: int,
) -> Walk:
    """Check how to walk."""
    ahead = tuple(whole_number("horizons", each) for each in _several("horizons", horizons))
    if list(ahead) != sorted(set(ahead)):
        raise PolicyError(f"horizons must increase, not {ahead}")
    sure = tuple(float(each) for each in _several("levels", levels))
    for each in sure:
        tail_share(each)
    if len(set(sure)) < len(sure):
        raise PolicyError(f"levels must differ, not {sure}")
    window = whole_number("window", window, least=LEAST_WINDOW)
    names, amounts = _amounts(prices.assets, portfolios)
    held = (amounts != 0.0).any(axis=0)
    closes = _common(prices, held.tolist())
    times = closes.times
    # The longest horizon, too, ends on some date.
    first, end = window, len(times) - ahead[-1]
    if first >= end:
        raise DataError(
            f"{closes.source}: a window of {window:,} returns and a horizon of {ahead[-1]} need "
            f"{window + ahead[-1] + 1:,} closes, and there are {len(times):,} dates on which every "
            "asset that is held has one; give a shorter window or horizon, or more prices"
        )
    if start is not None:
        try:
            moment = utc_time(start)
        except ValueError as error:
            raise DataError(f"start: {error}") from None
        first = int(np.searchsorted(times, moment))
        if first < window:
            raise DataError(
                f"start {str(moment)[:10]}: the window of {window:,} returns is whole only from "
                f"{str(times[window])[:10]} on"
            )
        if first >= end:
            raise DataError(
                f"start {str(moment)[:10]}: the last date from which a horizon of {ahead[-1]} ends "
                f"within the prices is {str(times[end - 1])[:10]}"
            )
    amounts = amounts[:, held]
    if isinstance(portfolios, Book):
        amounts = amounts * closes.prices[first]
    return Walk(
        closes,
        len(prices.times) - len(times),
        amounts,
        names,
        ahead,
        sure,
        window,
        whole_number("refit_every", refit_every),
        first,
        len(times) - ahead[0],
        whole_number("paths", paths),
        whole_number("seed", seed, least=0),
    )


def _several(name: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or not len(values):
        raise PolicyError(f"{name} must be several numbers, such as (1, 2), not {values!r:.60}")
    return tuple(values)


def _amounts(
    assets: tuple[str, ...], portfolios: Any
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names of portfolios, and what each holds of each asset: an amount, or units of a book."""
    if isinstance(portfolios, Book):
        portfolios = _of_book(portfolios)
    elif isinstance(portfolios, Mapping):
        for name, held in portfolios.items():
            require_type(f"portfolio {name!r}", held, Mapping)
        portfolios = pd.DataFrame(
            {name: dict(held) for name, held in portfolios.items()}, dtype=object
        ).T
    require_type("portfolios", portfolios, pd.DataFrame)
    if portfolios.empty or portfolios.index.has_duplicates or portfolios.columns.has_duplicates:
        raise DataError("backtest: portfolios must be at least one, each of a name of its own")
    unknown = [name for name in portfolios.columns if name not in assets]
    if unknown:
        raise DataError(
            f"backtest: the portfolios hold {few(map(str, unknown))}, and there are no prices of "
            f"that; there are prices of {few(assets)}"
        )
    table = portfolios.reindex(columns=list(assets))
    amounts = table.apply(pd.to_numeric, errors="coerce").where(table.notna(), 0.0)
    values = amounts.to_numpy(np.float64)
    for row, column in np.argwhere(~np.isfinite(values))[:1].tolist():
        raise DataError(
            f"backtest: portfolio {portfolios.index[row]!r}: the amount of "
            f"{assets[column]!r} is no number"
        )
    for row in np.flatnonzero(~(values != 0.0).any(axis=1))[:1].tolist():
        raise DataError(f"backtest: portfolio {portfolios.index[row]!r} holds nothing")
    return tuple(map(str, portfolios.index)), values


def _of_book(book: Book) -> pd.DataFrame:
    """How many units each account's positions hold, by asset."""
    for item in book.instruments:
        if not isinstance(item, Spot):
            raise DataError(
                f"backtest: instrument {item.name!r} is no spot; give the amounts that the "
                "portfolio holds of each asset instead"
            )
    return pd.DataFrame(
        book.quantities.toarray(),
        index=[account.name for account in book.accounts],
        columns=[item.underlying for item in book.instruments],
    )

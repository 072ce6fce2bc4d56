"""Walking forward: pieces of a backtest, each of which can be done alone, on any process.

In: closes, exposures, a model, and the dates of one piece. Out: what the model forecast on each
date and what then happened. A piece is a few windows: the first is fitted from nothing, the others
start from the fit before them, and a fit serves until the next window. Where a folder is given,
each window is written there when it is done, so that an interrupted walk goes on from there.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.backtests.competing import Competitor, Forecast, Question
from mcmargin.backtests.observations import tail_share
from mcmargin.checks import require_type
from mcmargin.data.files import write_atomically
from mcmargin.data.prices import PriceHistory
from mcmargin.errors import DataError, McMarginError
from mcmargin.workers import one_blas_thread

WINDOWS_A_PIECE = 5
"""Windows that are fitted one after the other before a fit begins from nothing again."""

HISTORIES = 1000
"""Simulated histories that the distributions of Z1 and Z2 are taken from."""

OF_HISTORIES = 1
"""Word of the seed that simulated histories draw from; a model draws from the seed alone."""

ROUNDING = 1e-9
"""Relative difference of value at risk and expected shortfall that rounding may leave."""

SUMMED = ("ratio_sums", "ratio_counts", "dates_summed")
"""Fields of a record that are added up over dates."""


@dataclass(frozen=True, eq=False)
class Walk:
    """What all pieces of a walk share.

    Attributes
    ----------
    closes : PriceHistory
        Of the assets that are held, on the dates on which each has a close.
    left_out : int
        Dates on which one of them has none.
    exposures : ndarray of shape (portfolios, assets), float64
    portfolios : tuple of str
    horizons : tuple of int
    levels : tuple of float
    window : int
        Returns that a model is fitted to.
    refit_every : int
        Dates that a fit serves.
    first, last : int
        Places in the closes of the first date that is forecast from, and after the last one.
    paths, seed : int
    """

    closes: PriceHistory
    left_out: int
    exposures: NDArray[np.float64]
    portfolios: tuple[str, ...]
    horizons: tuple[int, ...]
    levels: tuple[float, ...]
    window: int
    refit_every: int
    first: int
    last: int
    paths: int
    seed: int

    @property
    def windows(self) -> list[range]:
        """Dates that each fit serves, as places in the closes."""
        starts = range(self.first, self.last, self.refit_every)
        return [range(at, min(at + self.refit_every, self.last)) for at in starts]


@dataclass(frozen=True, eq=False)
class Piece:
    """Some windows of one model, one after the other.

    Attributes
    ----------
    name : str
    model : Competitor
    first : int
        Place of the first window among all.
    windows : tuple of range
    walk : Walk
    folder : Path, optional
        Where windows that are done are written.
    """

    name: str
    model: Competitor
    first: int
    windows: tuple[range, ...]
    walk: Walk
    folder: Path | None

    def path(self, place: int) -> Path | None:
        """File of one of its windows; None without a folder."""
        return None if self.folder is None else self.folder / f"{self.first + place:06d}.npz"

    def dates_done(self) -> int:
        """Dates of the windows that are already written."""
        paths = [self.path(place) for place in range(len(self.windows))]
        return sum(
            len(dates)
            for dates, path in zip(self.windows, paths, strict=True)
            if path is not None and path.exists()
        )


@dataclass(frozen=True, eq=False)
class Record:
    """What was forecast on some dates, and what then happened.

    Attributes
    ----------
    realised : ndarray of shape (dates, portfolios, horizons), float64
        Profit and loss; NaN where the closes end before the horizon.
    value_at_risk, expected_shortfall, margin : ndarray, float64
        Of shape (dates, portfolios, horizons, levels); losses are positive.
    probability : ndarray of shape (dates, portfolios, horizons), float64
        The model's own, of at most what happened: (rank + 1/2) / (scenarios + 1); NaN where the
        model gives no distribution.
    ratio_sums : ndarray of shape (portfolios, horizons, levels, histories), float64
        Sum over dates of X / ES in simulated histories, where X was beyond value at risk.
    ratio_counts : ndarray of shape (portfolios, horizons, levels, histories), int64
        How many dates that were.
    dates_summed : ndarray of shape (horizons,), int64
        Dates that these sums are over: those of horizons that do not overlap.
    """

    realised: NDArray[np.float64]
    value_at_risk: NDArray[np.float64]
    expected_shortfall: NDArray[np.float64]
    margin: NDArray[np.float64]
    probability: NDArray[np.float64]
    ratio_sums: NDArray[np.float64]
    ratio_counts: NDArray[np.int64]
    dates_summed: NDArray[np.int64]


class Gathered:
    """Records of one model, window after window.

    The sums of simulated histories are added up on arrival, so that they take the memory of one
    window, however many there are.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.sums: dict[str, NDArray[Any]] = {}

    def add(self, record: Record) -> None:
        """Take in the record of the next window."""
        for name in SUMMED:
            own = getattr(record, name)
            self.sums[name] = self.sums[name] + own if name in self.sums else own
        none = {name: np.zeros(0, getattr(record, name).dtype) for name in SUMMED}
        self.records.append(replace(record, **none))

    def joined(self, name: str) -> NDArray[Any]:
        """One array of all dates, in their order."""
        return np.concatenate([getattr(record, name) for record in self.records])


def walk_piece(piece: Piece) -> list[Record]:
    """Do the windows of a piece, or read those that were done; one record a window.

    Raises
    ------
    DataError
        Naming the model and the date, where a fit or a forecast fails.
    """
    found: list[Record] = []
    fitted, fitted_at = None, -1
    with one_blas_thread():
        for place, dates in enumerate(piece.windows):
            path = piece.path(place)
            if path is not None and path.exists():
                found.append(read_record(path))
                continue
            # Fits of windows that were read are made again, since later ones start from them.
            for at in range(fitted_at + 1, place + 1):
                fitted = _fit(piece, piece.windows[at], fitted)
            fitted_at = place
            record = _walk_window(piece, dates, fitted)
            if path is not None:
                write_atomically(path, _bytes_of(record))
            found.append(record)
    return found


def _fit(piece: Piece, dates: range, before: Any) -> Any:
    walk = piece.walk
    window = _closes(walk, dates.start - walk.window, dates.start)
    try:
        return piece.model.fit(window, before)
    except Exception as error:  # a user's model may raise anything
        raise _failed(piece, dates.start, "be fitted to the window that ends", error) from error


def _walk_window(piece: Piece, dates: range, fitted: Any) -> Record:
    walk = piece.walk
    forecasts = [_forecast(piece, dates.start, at, fitted) for at in dates]
    realised = np.stack([realised_from(walk, at) for at in dates])
    sums, counts, summed = _null_sums(walk, dates, forecasts)
    return Record(
        realised,
        np.stack([each.value_at_risk for each in forecasts]),
        np.stack([each.expected_shortfall for each in forecasts]),
        np.stack(
            [each.expected_shortfall if each.margin is None else each.margin for each in forecasts]
        ),
        np.stack([_probability(f.gains, r) for f, r in zip(forecasts, realised, strict=True)]),
        sums,
        counts,
        summed,
    )


def _forecast(piece: Piece, start: int, at: int, fitted: Any) -> Forecast:
    walk = piece.walk
    seed = date_seed(walk.seed, walk.closes.times[at])
    asked = Question(walk.exposures, walk.horizons, walk.levels, walk.paths, seed)
    try:
        found = piece.model.forecast(fitted, _closes(walk, start - walk.window, at), asked)
        require_type("what forecast returns", found, Forecast)
    except Exception as error:  # a user's model may raise anything
        raise _failed(piece, at, "forecast from", error) from error
    shape = (len(walk.exposures), len(walk.horizons), len(walk.levels))
    for name in ("value_at_risk", "expected_shortfall", "margin", "gains"):
        values = getattr(found, name)
        if name == "margin" and values is None:
            continue
        wanted, axes = shape, "portfolios, horizons, levels"
        if name == "gains":
            wanted = (*shape[:2], *np.shape(values)[-1:])
            axes = "portfolios, horizons, scenarios"
        if np.shape(values) != wanted or not np.isfinite(values).all():
            date = str(walk.closes.times[at])[:10]
            raise DataError(
                f"backtest: model {piece.name!r} must forecast {name} from {date} as finite "
                f"numbers of shape {wanted} ({axes}), not {np.shape(values)}"
            )
    return _in_order(piece, at, found)


def _in_order(piece: Piece, at: int, found: Forecast) -> Forecast:
    """The forecast, with expected shortfall at least value at risk whatever rounding left.

    No score and no test is defined for an expected shortfall of 0 or less, or below value at risk,
    so that it is refused at once and not when all dates are done.
    """
    var, shortfall = found.value_at_risk, found.expected_shortfall
    wrong = ~((shortfall > 0.0) & (shortfall >= var - ROUNDING * np.abs(var)))
    for p, h, q in np.argwhere(wrong)[:1].tolist():
        walk = piece.walk
        raise DataError(
            f"backtest: model {piece.name!r} forecasts from {str(walk.closes.times[at])[:10]} for "
            f"portfolio {walk.portfolios[p]!r} an expected shortfall of {shortfall[p, h, q]:g} and "
            f"a value at risk of {var[p, h, q]:g} (horizon {walk.horizons[h]}, level "
            f"{walk.levels[q]:g}); expected shortfall must be above 0 and not below value at risk: "
            "leave out a portfolio that cannot lose, or the model"
        )
    return replace(found, expected_shortfall=np.maximum(shortfall, var))


def _failed(piece: Piece, at: int, what: str, error: Exception) -> DataError:
    date = str(piece.walk.closes.times[at])[:10]
    told = str(error) if isinstance(error, McMarginError) else f"{type(error).__name__}: {error}"
    return DataError(f"backtest: model {piece.name!r} cannot {what} {date}: {told}")


def _closes(walk: Walk, first: int, last: int) -> PriceHistory:
    """Closes from one place to another, both included: nothing after the last is handed over."""
    closes, chosen = walk.closes, slice(first, last + 1)
    return replace(closes, times=closes.times[chosen], prices=closes.prices[chosen])


def date_seed(seed: int, time: np.datetime64) -> int:
    """Seed of one date, whatever the walk began with: of the walk's seed and the date alone.

    Examples
    --------
    >>> date_seed(7, np.datetime64("2021-01-04", "ns")) == date_seed(7, np.datetime64("2021-01-04"))
    True
    """
    moment = int(time.astype("datetime64[ns]").astype(np.int64))
    words = np.random.SeedSequence([seed, moment % 2**63, int(moment < 0)])
    return int(words.generate_state(1, np.uint64)[0] >> np.uint64(1))


def realised_from(walk: Walk, at: int) -> NDArray[np.float64]:
    """Profit and loss of each portfolio from one date over each horizon; [portfolios, horizons]."""
    prices = walk.closes.prices
    found = np.full((len(walk.exposures), len(walk.horizons)), np.nan)
    for column, horizon in enumerate(walk.horizons):
        if at + horizon < len(prices):
            found[:, column] = walk.exposures @ (prices[at + horizon] / prices[at] - 1.0)
    return found


def _probability(gains: NDArray[np.float64], realised: NDArray[np.float64]) -> NDArray[np.float64]:
    scenarios = gains.shape[2]
    if scenarios == 0:
        return np.full(realised.shape, np.nan)
    ranks = (gains < realised[..., None]).sum(axis=2)
    return np.where(np.isnan(realised), np.nan, (ranks + 0.5) / (scenarios + 1.0))


def _null_sums(
    walk: Walk, dates: range, forecasts: list[Forecast]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Sums of X / ES beyond value at risk, in histories that the model itself draws.

    Each history takes one scenario a date at random, because some models hand their scenarios over
    in an order, such as that of the calendar.
    """
    shape = (len(walk.exposures), len(walk.horizons), len(walk.levels), HISTORIES)
    sums, counts = np.zeros(shape), np.zeros(shape, np.int64)
    summed = np.zeros(len(walk.horizons), np.int64)
    for at, forecast in zip(dates, forecasts, strict=True):
        scenarios = forecast.gains.shape[2]
        if scenarios == 0:
            continue
        seed = date_seed(walk.seed, walk.closes.times[at])
        random = np.random.default_rng([seed, OF_HISTORIES])
        drawn, lots = random.integers(scenarios, size=HISTORIES), random.random(HISTORIES)
        for column, horizon in enumerate(walk.horizons):
            if (at - walk.first) % horizon or at + horizon >= len(walk.closes.times):
                continue
            summed[column] += 1
            gains = forecast.gains[:, column]
            for place, level in enumerate(walk.levels):
                var = forecast.value_at_risk[:, column, place]
                shortfall = forecast.expected_shortfall[:, column, place, None]
                beyond = null_exceptions(gains, var, level, drawn, lots)
                sums[:, column, place] += np.where(beyond, gains[:, drawn] / shortfall, 0.0)
                counts[:, column, place] += beyond
    return sums, counts, summed


def null_exceptions(
    gains: NDArray[np.float64],
    value_at_risk: NDArray[np.float64],
    level: float,
    drawn: NDArray[np.int64],
    lots: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether scenarios that were drawn are exceptions, where the model is right.

    A scenario that is itself the value at risk is not beyond it, though it is one of the k =
    scenarios (1 - level) that make expected shortfall. Without it, histories would have too few
    exceptions. So scenarios at value at risk are exceptions with the probability that is left for
    them: k less the scenarios beyond, by the number at value at risk. Over all scenarios, X / ES
    then has the sum -k, whether k is a whole number or not.

    Parameters
    ----------
    gains : ndarray of shape (portfolios, scenarios), float64
    value_at_risk : ndarray of shape (portfolios,), float64
    level : float
    drawn : ndarray of shape (histories,), int64
        Scenario of each history.
    lots : ndarray of shape (histories,), float64
        Uniform numbers from 0 to 1 that decide for scenarios at value at risk.

    Returns
    -------
    ndarray of shape (portfolios, histories), bool

    Examples
    --------
    >>> gains, lots = -np.arange(20.0)[None], np.full(20, 0.4)
    >>> int(null_exceptions(gains, np.array([18.0]), 0.9, np.arange(20), lots).sum())
    2
    """
    losses, var = -gains, value_at_risk[:, None]
    left = gains.shape[1] * tail_share(level) - (losses > var).sum(axis=1)
    chance = left / np.maximum((losses == var).sum(axis=1), 1)
    taken = losses[:, drawn]
    found: NDArray[np.bool_] = (taken > var) | ((taken == var) & (lots < chance[:, None]))
    return found


def _bytes_of(record: Record) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, **{each.name: getattr(record, each.name) for each in fields(Record)}
    )
    return buffer.getvalue()


def read_record(path: Path) -> Record:
    """Read a window that was done.

    Raises
    ------
    DataError
        If the file is no such window.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            return Record(**{each.name: held[each.name] for each in fields(Record)})
    except (
        Exception
    ) as error:  # wrong bytes raise errors of zipfile, zlib, numpy, struct and others
        raise DataError(
            f"{path}: not a window of a backtest ({error}); remove it, and it is done again"
        ) from None

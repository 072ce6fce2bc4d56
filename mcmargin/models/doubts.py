"""Doubts: moves, halts and gaps in a model's prices that may be wrong, but are not refused.

In: a model, with its history and its state. Out: sentences for reports, each with the asset and the
date. They are found in the history itself, so that every model has them, whoever made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import plain_time
from mcmargin.data.bars import DAY, MONDAY, WEEK, BarCalendar
from mcmargin.data.plausibility import Plausibility, changed_places
from mcmargin.data.zones import wall_clock
from mcmargin.models.halts import Halt, halts_of, stands_still
from mcmargin.models.history import History
from mcmargin.models.model_values import ModelValues

ROUGHEST = 3.0
"""Largest conditional standard deviation that counts, as a multiple of that of the asset's
plausible returns: after a misplaced digit the filter expects another large move."""

FEW_BARS = 5
"""Number of bars up to which a count by the mean length of a bar is exact enough."""


@dataclass(frozen=True)
class Doubt:
    """Something that may be wrong in the prices.

    Attributes
    ----------
    time : numpy.datetime64
        Time of the bar's close; for a halt, of the last close at which the price moved.
    text : str
    lasts : bool
        Whether it goes on, as a halt does that has not ended.
    """

    time: np.datetime64
    text: str
    lasts: bool = False


def doubts_of(model: ModelValues) -> tuple[Doubt, ...]:
    """All doubts about a model's prices: halts that last first, then the others, newest first."""
    found = [*_moves(model), *_gaps(model)]
    # Doubts of one time stay in the order of the assets.
    rest = sorted(found, key=lambda doubt: doubt.time, reverse=True)
    return (*_lasting_halts(model), *_tick(model), *rest)


def past_halts(model: ModelValues) -> Iterator[Doubt]:
    """Halts that have ended; fits and dependence leave their bars out."""
    history, limits = model.history, model.plausibility
    for at, asset in enumerate(model.assets):
        for halt in halts_of(history.returns[:, at], limits.still_bars):
            if halt.end < len(history.times):
                first, last = (history.times[bar] for bar in (halt.start - 1, halt.end - 1))
                yield Doubt(
                    last,
                    f"{asset}: price unchanged from {plain_time(first)} to {plain_time(last)} "
                    f"({halt.end - halt.start + 1} closes); fits leave these bars out",
                )


def bars_between(calendar: BarCalendar, first: np.datetime64, last: np.datetime64) -> int:
    """Number of bars of the calendar that a return spans, 1 or more.

    If bars are shorter than a day, the market closes for the night, and the later close is the
    first of its session, sessions are counted instead of bars: a holiday has none of the bars of a
    session, and a half-day lacks the last ones.

    Parameters
    ----------
    calendar : BarCalendar
    first, last : numpy.datetime64
        Closes between which the return is.

    Examples
    --------
    >>> days = np.array(["2021-01-01", "2021-01-31"], "datetime64[ns]")
    >>> bars_between(BarCalendar(), *days)
    30
    >>> week = tuple((86_400 * day + 36_000, 1800, 13) for day in range(5))
    >>> half_hours = BarCalendar(1 / 48, week=week)
    >>> thursday, monday, noon = np.array(
    ...     ["2023-04-06T16:00", "2023-04-10T10:00", "2023-04-10T12:00"], "datetime64[ns]"
    ... )
    >>> bars_between(half_hours, thursday, monday), bars_between(half_hours, thursday, noon)
    (2, 18)
    """
    guess = round(float((last - first) / DAY) / _usual_days(calendar))
    if guess <= FEW_BARS:
        return max(1, guess)
    # Nights and weekends of hourly bars are not missing bars, so that closes are counted.
    closes = calendar.closes_after(first, guess + 5)
    # The time of a close may be recorded some seconds early.
    near = np.timedelta64(round(0.1 * min(calendar.days, 1.0) * DAY.astype(np.int64)), "ns")
    bars = max(1, int(np.sum(closes <= last + near)))
    if calendar.days >= 0.9 or bars < 3 or closes[bars - 1] < last - near:
        return bars
    starts = np.diff(closes[:bars], prepend=first) > 1.5 * calendar.days * DAY
    session = np.cumsum(starts)
    # A market that closes only for the weekend has no daily sessions.
    if not starts[-1] or np.bincount(session).max() * calendar.days > 1.0:
        return bars
    # After a pause at noon the session of the same day goes on.
    dates = np.unique(closes[:bars][starts].astype("datetime64[D]"))
    return len(dates) + int(not starts[0])


def _lasting_halts(model: ModelValues) -> Iterator[Doubt]:
    history, state = model.history, model.state
    if len(history.times) == 0:
        return
    still_now = stands_still(state.prices / model.committed.prices - 1.0)
    for at in np.flatnonzero(stands_still(history.returns[-1])).tolist():
        if model.provisional and not still_now[at]:
            continue
        halt = _last_halt(history.returns[:, at], model.plausibility)
        if halt is None:
            continue
        since = history.times[halt.start - 1]
        held = np.isclose(state.variance[at], history.variances[halt.start, at], rtol=1e-9)
        what = (
            "its variance is held at that of its last move"
            if held
            else "and its variance has fallen meanwhile; calibrate the model again"
        )
        closes = halt.end - halt.start + 1
        yield Doubt(
            since,
            f"{model.assets[at]}: price unchanged since {plain_time(since)} ({closes} closes); "
            f"{what}",
            lasts=True,
        )


def _last_halt(returns: NDArray[np.float64], limits: Plausibility) -> Halt | None:
    """The halt that lasts to the end, if there is one."""
    halts = halts_of(returns, limits.still_bars)
    return halts[-1] if halts and halts[-1].end == len(returns) else None


def _moves(model: ModelValues) -> Iterator[Doubt]:
    history, limits = model.history, model.plausibility
    if len(history.times) == 0:
        return
    large = np.abs(history.returns) > min(limits.move, 1.0) / 2
    if not large.any():
        return
    deviations = _deviations(history, limits)
    told = limits.is_told(history.returns, deviations)
    rows = np.flatnonzero(told.any(axis=1))
    closes = model.past_closes() if (told.sum(axis=1) > 1).any() else None
    for row in rows.tolist():
        time, places = history.times[row], np.flatnonzero(told[row]).tolist()
        groups = [] if closes is None else changed_places(closes[row + 1], closes[row], told[row])
        for group in groups:
            names = " and ".join(model.assets[at] for at in group)
            yield Doubt(time, f"the columns {names} look swapped on {plain_time(time)}")
        for at in places:
            if all(at not in group for group in groups):
                move = history.returns[row, at]
                yield Doubt(time, _move_text(model.assets[at], time, move, deviations[row, at]))


def _move_text(asset: str, time: np.datetime64, move: float, deviation: float) -> str:
    return (
        f"{asset}: a move of {move:+,.1%} to {plain_time(time)}, {abs(move) / deviation:,.0f} "
        "standard deviations: a split, a misplaced digit or another unit?"
    )


def _deviations(history: History, limits: Plausibility) -> NDArray[np.float64]:
    """Conditional standard deviations, at most `ROUGHEST` times the usual; [bars, assets]."""
    usual = np.abs(history.returns) <= limits.move
    count = np.maximum(usual.sum(axis=0), 1)
    plain = np.sqrt((np.where(usual, history.returns, 0.0) ** 2).sum(axis=0) / count)
    return np.asarray(np.minimum(np.sqrt(history.variances), ROUGHEST * plain))


def _tick(model: ModelValues) -> Iterator[Doubt]:
    """Prices within the running bar that are far from the last closes."""
    if not model.provisional:
        return
    committed, state = model.committed, model.state
    moves, deviations = state.prices / committed.prices - 1.0, np.sqrt(committed.variance)
    for at in np.flatnonzero(model.plausibility.is_told(moves, deviations)).tolist():
        yield Doubt(
            state.as_of,
            _move_text(model.assets[at], state.as_of, moves[at], deviations[at]),
            lasts=True,
        )


def _gaps(model: ModelValues) -> Iterator[Doubt]:
    """Returns before the first update that span many bars; the record of updates has the others."""
    times, calendar = model.history.times, model.calendar
    if "update" in model.facts:
        times = times[times <= np.datetime64(model.facts["update"]["from"])]
    most = model.plausibility.gap_bars
    days = np.diff(times) / DAY
    places = np.flatnonzero(days > most * _usual_days(calendar))
    firsts, lasts = times[places], times[places + 1]
    # Bars within a day have a gap every night. Nights of the same clock times span the same bars,
    # so that each kind of night is counted once.
    clocks = [wall_clock(each, calendar.zone) for each in (firsts, lasts)]
    spans: dict[tuple[np.datetime64, ...], int] = {}
    for first, last, start, end in zip(firsts, lasts, *clocks, strict=True):
        key = (first, last) if calendar.exchange else ((start - MONDAY) % WEEK, end - start)
        if key not in spans:
            spans[key] = bars_between(calendar, first, last)
        if spans[key] > most:
            yield Doubt(
                last,
                f"one return spans {spans[key]} bars of the calendar, from {plain_time(first)} to "
                f"{plain_time(last)}: were prices left out?",
            )


def _usual_days(calendar: BarCalendar) -> float:
    """Days from one close to the next; for bars within a day, without nights and weekends."""
    return calendar.mean_days if calendar.days >= 0.9 else calendar.days

"""Updates: a model moved to newer closes by its own recursions, or to a tick within the bar.

In: a model, and prices. Out: another model, whose record says which bars were taken in, which dates
were lost, and which closes were revised. A row that cannot be a close is refused, and the model
stays as it was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import plain_time, require_type
from mcmargin.data.bar_patterns import renewed
from mcmargin.data.bars import DAY, INSTANT
from mcmargin.data.plausibility import Plausibility
from mcmargin.data.prices import PriceHistory
from mcmargin.data.returns import joint_returns
from mcmargin.errors import DataError
from mcmargin.models.closing_times import require_closes, within_bar
from mcmargin.models.dependence import Dependence
from mcmargin.models.halts import halted_bars, known_since, stands_still
from mcmargin.models.model_values import FilterState, ModelValues
from mcmargin.models.possible import require_finite, require_own_columns, require_possible
from mcmargin.models.repeats import refuse_repeats
from mcmargin.models.update_records import record_revisions, record_update

Model = TypeVar("Model", bound=ModelValues)

REVISED = 1e-3
"""Relative difference from which a close of the same date is a revised one; smaller ones are
rounding."""


def updated(
    model: Model,
    prices: PriceHistory,
    *,
    provisional: bool,
    plausibility: Plausibility | None,
    now: np.datetime64,
) -> Model:
    """Filter a model forward over newer closes; see `MarketModel.update`."""
    limits = model.plausibility if plausibility is None else plausibility
    require_type("plausibility", limits, Plausibility)
    ordered = _of_assets(model, prices)
    _refuse_future(ordered, limits, now)
    if not provisional:
        _refuse_running(model, ordered, now)
    _refuse_revised(model, ordered)
    model = _with_revisions(model, ordered)
    if provisional:
        return _with_tick(model, ordered, limits)
    taken = (ordered.times > model.committed.as_of) & np.isfinite(ordered.prices).all(axis=1)
    if not taken.any():
        return model
    require_closes(
        _close_times(model),
        model.calendar.unscheduled(ordered.times[taken]),
        model.calendar.days,
        limits,
        source=ordered.source,
        way="Leave the row out, or take the last row as a tick (provisional=True, --provisional); "
        "or, if it is a close, widen the limit: --allow close_hours=24, or in Python "
        "plausibility=mm.Plausibility(close_hours=24).",
    )
    refuse_repeats(model, ordered.times[taken], ordered.prices[taken], source=ordered.source)
    return _with_closes(model, ordered, limits)


def _of_assets(model: ModelValues, prices: PriceHistory) -> PriceHistory:
    """The prices of the model's assets, in its order."""
    places = {asset: at for at, asset in enumerate(prices.assets)}
    lacking = [asset for asset in model.assets if asset not in places]
    if lacking:
        raise DataError(f"{prices.source}: no column for asset {lacking[0]!r} of the model")
    columns = [places[asset] for asset in model.assets]
    return replace(prices, assets=model.assets, prices=prices.prices[:, columns])


def _close_times(model: ModelValues) -> NDArray[np.datetime64]:
    times, close = model.history.times, model.committed.as_of
    # A model made by hand has no history.
    return times if len(times) else np.array([close], "datetime64[ns]")


def _refuse_future(prices: PriceHistory, limits: Plausibility, now: np.datetime64) -> None:
    """Refuse dates in the future: after one of them a model would ignore all dates before it."""
    ahead = (prices.times - now) / DAY
    for at in np.flatnonzero(ahead > limits.future_days)[:1].tolist():
        raise DataError(
            f"{prices.source}: the row of {plain_time(prices.times[at])} is {ahead[at]:,.1f} days "
            f"after now, {plain_time(now)} UTC, and no price can be known then. Correct the date; "
            "or, if it is meant, widen the limit future_days (--allow future_days=NUMBER, or in "
            "Python plausibility=)"
        )


def _refuse_running(model: ModelValues, prices: PriceHistory, now: np.datetime64) -> None:
    """Refuse a bar that is stamped at its start and has not ended by now."""
    if model.calendar.stamps != "start":
        return
    for time in prices.times[prices.times > now][:1]:
        raise DataError(
            f"{prices.source}: the bar that closes at {plain_time(time)} is running: now is "
            f"{plain_time(now)} UTC. Leave its row out, or take it as a tick (provisional=True, "
            "--provisional)"
        )


def _refuse_revised(model: ModelValues, prices: PriceHistory) -> None:
    """Refuse prices whose row at the time of the model's last close has other closes."""
    last = model.committed
    for row in prices.prices[prices.times == last.as_of]:
        off = np.abs(row / last.prices - 1.0) > REVISED
        for at in np.flatnonzero(off)[:1].tolist():
            raise DataError(
                f"{prices.source}: {model.assets[at]!r} closed at {row[at]:.6g} on "
                f"{plain_time(last.as_of)}, and the model has {last.prices[at]:.6g}; prices "
                "that were revised, adjusted as for a split, or taken in before their bar had "
                "ended need a new calibration. Give the row of a bar that is running as a tick "
                "(provisional=True, --provisional)"
            )


def _with_revisions(model: Model, prices: PriceHistory) -> Model:
    """The model with a record of older closes that differ from the prices."""
    history = model.history
    older = np.flatnonzero(prices.times < model.committed.as_of)
    if len(older) == 0 or len(history.times) == 0:
        return model
    both, own, theirs = np.intersect1d(history.times, prices.times[older], return_indices=True)
    if len(both) == 0:
        return model
    rows, known = prices.prices[older[theirs]], model.past_closes()[own + 1]
    found = [
        {
            "asset": model.assets[at],
            "at": str(both[row]),
            "model": float(known[row, at]),
            "prices": float(rows[row, at]),
        }
        for row, at in np.argwhere(np.abs(rows / known - 1.0) > REVISED).tolist()
    ]
    facts = record_revisions(model.facts, found)
    return model if facts == model.facts else replace(model, facts=facts)


def _with_tick(model: Model, prices: PriceHistory, limits: Plausibility) -> Model:
    """The model within the running bar: at the last row, after the closes before it."""
    newer = np.flatnonzero(prices.times > model.committed.as_of)
    if len(newer) == 0:
        return model
    *earlier, last = newer.tolist()
    model = replace(model, state=model.committed)
    if earlier:
        rows = prices.prices[earlier]
        whole = np.array(earlier)[np.isfinite(rows).all(axis=1)]
        times = prices.times[whole]
        # Earlier rows of the running bar are ticks, which the last one replaces.
        inside = within_bar(_close_times(model), times, model.calendar.days, limits)
        closes = whole[~inside]
        if len(closes):
            kept = np.append(np.flatnonzero(prices.times <= model.committed.as_of), closes)
            until = replace(prices, times=prices.times[kept], prices=prices.prices[kept])
            model = _with_closes(model, until, limits)
    state = _tick(model, prices, last, limits)
    return replace(model, state=state)


def _tick(model: ModelValues, prices: PriceHistory, row: int, limits: Plausibility) -> FilterState:
    last, time, new = model.committed, prices.times[row], prices.prices[row]
    if model.calendar.stamps == "start":
        # Times of bars that are stamped at the start have been moved to the end of the bar, and a
        # tick lies before the end.
        time = time - INSTANT
    traded = np.isfinite(new)
    closes = np.where(traded, new, last.prices)
    returns = closes / last.prices - 1.0
    check = {"source": prices.source}
    pair = np.array([last.prices, closes])
    require_own_columns(pair, last.variance, time, model.assets, limits, **check)
    require_possible(prices.times[[row]], returns[None], model.assets, limits, **check)
    moved = model.volatility.next_variance(last.variance, returns)
    held = _held(model, returns[None])[0]
    of_halt = [
        model.history.variances[start, at] if 0 <= start < len(model.history.times) else moved[at]
        for at, start in enumerate(held.tolist())
    ]
    variance = np.where(traded, of_halt, last.variance)
    residuals = np.where(traded, returns / np.sqrt(last.variance), last.residuals)
    require_finite(closes, variance, model.assets, time, **check)
    return FilterState(time, closes, variance, residuals)


def _with_closes(model: Model, prices: PriceHistory, limits: Plausibility) -> Model:
    """The model after the closes that are newer than its own."""
    last, source = model.committed, prices.source
    joint = joint_returns(prices, before=(last.as_of, last.prices))
    taken = (prices.times > last.as_of) & np.isfinite(prices.prices).all(axis=1)
    closes = np.vstack([last.prices, prices.prices[taken]])
    variance, held = last.variance, _held(model, joint.returns)
    before = len(model.history.times) if (held >= 0).any() else 0
    variances, residuals = np.empty((2, *joint.returns.shape))
    for at, bar in enumerate(joint.returns):
        time, pair = joint.times[at], closes[at : at + 2]
        require_own_columns(pair, variance, time, model.assets, limits, source=source)
        now = slice(at, at + 1)
        require_possible(joint.times[now], joint.returns[now], model.assets, limits, source=source)
        variances[at] = variance
        residuals[at] = bar / np.sqrt(variance)
        variance = model.volatility.next_variance(variance, bar)
        for asset in np.flatnonzero(held[at] >= 0).tolist():
            start = int(held[at, asset])
            variance[asset] = (
                model.history.variances[start, asset]
                if start < before
                else variances[start - before, asset]
            )
        require_finite(pair[1], variance, model.assets, time, source=source)
    state = FilterState(joint.times[-1], joint.last_prices, variance, residuals[-1])
    history = model.history.extended(joint.times, joint.returns, variances)
    calendar = renewed(model.calendar, last.as_of, joint.times, lambda: history.times)
    record = record_update(
        model.facts.get("update"),
        model.assets,
        last.as_of,
        prices.times,
        np.isfinite(prices.prices),
        calendar,
    )
    moved = replace(
        model,
        committed=state,
        state=state,
        calendar=calendar,
        history=history,
        facts=model.facts | {"update": record},
    )
    return replace(moved, dependence=_dependence(model, moved, residuals))


def _held(model: ModelValues, returns: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bar whose variance an asset keeps, since it is known to be halted; -1 if it is not.

    Bars are counted through the history and the new returns. The history is only read if an asset
    stands still, since reading it costs as much as it is long.

    Returns
    -------
    ndarray of shape (new bars, assets), int64
    """
    if not stands_still(returns).any():
        return np.full(returns.shape, -1)
    both = np.vstack([model.history.returns, returns])
    return known_since(both, model.plausibility.still_bars)[-len(returns) :]


def _dependence(
    model: ModelValues, moved: ModelValues, residuals: NDArray[np.float64]
) -> Dependence:
    """The dependence after new residuals, without those of dates on which an asset is halted."""
    law = model.dependence
    if law.kind != "historical" and np.isinf(law.half_life):
        return law
    history, still_bars = moved.history, model.plausibility.still_bars
    clean = np.asarray(~halted_bars(history.returns, still_bars).any(axis=1))
    if law.kind != "historical":
        return law.moved(history.residuals[clean])
    since = known_since(history.returns, still_bars)
    earlier = len(since) - len(residuals)
    begun = np.asarray((since[1:] >= 0) & (since[1:] != since[:-1]))
    if not begun[max(earlier - 1, 0) :].any():
        return law.with_dates(_standardised(model, residuals[clean[earlier:]]))
    # A halt is known only now, and its first bars are among the dates as if they were calm.
    dates = _standardised(model, history.residuals[clean])
    return replace(law, residuals=dates[-law.lookback :])


def _standardised(model: ModelValues, residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Residuals [bars, assets], moved and scaled as calibration did with those of its dates."""
    try:
        fits = [model.facts["fits"][asset] for asset in model.assets]
        mean = np.array([fit["residual_mean"] for fit in fits])
        std = np.array([fit["residual_std"] for fit in fits])
    except KeyError:
        raise DataError(
            "the model does not say how its dates were standardised, so none can be added; "
            "calibrate it again"
        ) from None
    return np.asarray((residuals - mean) / std)

"""Whether a market belongs to the model and to the instruments that it is used with.

In: instruments, a model, a market and a policy. Out: nothing, or a `DataError` that names the two
dates or the two figures that disagree, and the limit of `Plausibility` to widen if both are right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from mcmargin.checks import plain_time
from mcmargin.data.bars import DAY
from mcmargin.data.plausibility import changed_places, way_to_widen
from mcmargin.errors import DataError
from mcmargin.instruments.instruments import Instrument
from mcmargin.markets.market import Market, is_inverse
from mcmargin.markets.surface import VolatilitySurface
from mcmargin.models.model import MarketModel
from mcmargin.policies.policy import MarginPolicy

LEAST_INVERSE = 0.05
"""Least difference between a rate and its inverse for the rate to be called quoted inversely. Near
par the two are the same."""

CLOCKS = 1.0 / 1440.0
"""Days by which a market may always be older than the model, but not by more than a tenth of a bar.
A close at 23:59:59.999 is often written without its fraction, and clocks of two sources differ."""


def require_market_of_model(model: MarketModel, market: Market, policy: MarginPolicy) -> None:
    """Refuse a market whose time or prices do not fit the model.

    Raises
    ------
    DataError
        If the market or a volatility surface is older than the model's state or too much newer, and
        if a price is farther from the model's last close than the market's limits allow.
    """
    _require_time(model, market, policy)
    _require_surface_times(market, policy)
    _require_prices(model, market)


def require_plausible_terms(instruments: Iterable[Instrument], market: Market) -> None:
    """Refuse instruments whose terms seem to be in percent, or whose own price seems wrong.

    Raises
    ------
    DataError
        It names the instrument and the figure.
    """
    limits = market.plausibility
    for item in instruments:
        for name, limit in _TERMS.items():
            figure = getattr(item, name, None)
            if figure is not None and abs(figure) > getattr(limits, limit):
                raise DataError(
                    f"instrument {item.name!r}: {name} is {figure:g}, which is "
                    f"{100 * figure:,.6g} %; is it in percent? {way_to_widen(limit, figure)}"
                )
        own = getattr(item, "price_asset", None)
        if own is not None and own in market.spot and item.underlying in (*market.spot, *market.fx):
            price = market.price(own, market.quoted.get(item.underlying, market.currency))
            index = market.price(item.underlying)
            difference = max(price / index, index / price) - 1.0
            if difference > limits.forward_difference:
                raise DataError(
                    f"instrument {item.name!r}: its own price {own!r} is {price:g}, and its "
                    f"underlying {item.underlying!r} costs {index:g}: one of them is wrong. "
                    f"{way_to_widen('forward_difference', difference)}"
                )


_TERMS = {
    "basis_volatility": "volatility",
    "carry": "rate",
}
"""Terms of instruments, and the name of the limit of each."""


def _require_time(model: MarketModel, market: Market, policy: MarginPolicy) -> None:
    limits, close = market.plausibility, model.as_of
    age = float((market.as_of - close) / DAY)
    dates = f"the model's state of {plain_time(close)}"
    # A date without an hour means the whole day, and the model may have closed on that day.
    dated = model.calendar.days >= 0.9 and _is_date_of(market.as_of, close)
    room = max(limits.market_before_days, min(CLOCKS, model.calendar.days / 10.0))
    if -age > room and not dated:
        raise DataError(
            f"{dates} is {_length(-age)} newer than the market of {plain_time(market.as_of)}, and "
            "so it knows what came after the market; give prices of the same time or later, or the "
            f"model of that day. {way_to_widen('market_before_days', age)}"
        )
    if policy.max_age_days is None:
        long_bars = 2.0 * model.calendar.days if model.calendar.days > 3.0 else 0.0
        most, who = max(limits.market_after_days, long_bars), "without max_age_days, a policy"
    else:
        most, who = policy.max_age_days, "the policy"
    if age > most:
        raise DataError(
            f"{dates} is {age:.1f} days older than the market of {plain_time(market.as_of)}; "
            f"{who} allows {most:g}; update the model with the closes since, or set max_age_days "
            "of the policy if you mean to use this state"
        )


def _length(days: float) -> str:
    """A length of time, in days or minutes.

    Examples
    --------
    >>> _length(2.25), _length(0.0625)
    ('2.2 days', '90 minutes')
    """
    return f"{days:.1f} days" if days >= 0.1 else f"{1440.0 * days:.3g} minutes"


def _is_date_of(stamp: np.datetime64, close: np.datetime64) -> bool:
    """Whether a time is the midnight at which the date of a close begins."""
    day = close.astype("datetime64[D]")
    return bool(stamp == day and close > day)


def _require_surface_times(market: Market, policy: MarginPolicy) -> None:
    most = policy.max_age_days
    who = "the policy"
    if most is None:
        most, who = market.plausibility.market_after_days, "without max_age_days, a policy"
    for name, level in market.volatility.items():
        if not isinstance(level, VolatilitySurface):
            continue
        age = float((market.as_of - level.as_of) / DAY)
        if abs(age) > most:
            raise DataError(
                f"the volatility surface of {name!r}, of {plain_time(level.as_of)}, is "
                f"{abs(age):.1f} days from the market of {plain_time(market.as_of)}; {who} allows "
                f"{most:g}; give quotes of today"
            )


def _require_prices(model: MarketModel, market: Market) -> None:
    """Compare each price with the model's last close of the same asset."""
    limits, state = market.plausibility, model.state
    bars = max(1.0, float((market.as_of - model.as_of) / DAY) / model.calendar.mean_days)
    prices, deviations = state.prices.copy(), np.sqrt(state.variance * bars)
    places = {asset: at for at, asset in enumerate(model.assets)}
    for asset, price in _prices(market):
        if asset in places:
            prices[places[asset]] = price
    moves = prices / state.prices - 1.0
    doubtful = limits.is_doubtful(moves, deviations)
    since = f"the model's of {plain_time(model.as_of)}"
    for group in changed_places(prices, state.prices, doubtful):
        names, now, before = (
            " and ".join(texts)
            for texts in (
                [repr(model.assets[at]) for at in group],
                [f"{prices[at]:g}" for at in group],
                [f"{state.prices[at]:g}" for at in group],
            )
        )
        raise DataError(
            f"market: the prices of {names} look swapped: they are {now}, and {since} {before}. "
            f"{way_to_widen('move', moves[list(group)].max())}"
        )
    for code, asset in _rates(market):
        at = places.get(asset)
        if at is None:
            continue
        rate, close = float(market.fx[code]), float(state.prices[at])
        large = abs(rate / close - 1.0) > limits.move_deviations * deviations[at]
        if large and is_inverse(rate, close, max(LEAST_INVERSE, limits.fx_difference)):
            raise DataError(
                f"market: the rate of {code!r} is {rate:g} in fx, and {since} {asset!r} is "
                f"{close:g}: is one of them quoted inversely? Both are the value of one {code} in "
                f"{market.currency}. {way_to_widen('fx_difference', abs(rate / close - 1.0))}"
            )
    for at in np.flatnonzero(doubtful)[:1].tolist():
        raise DataError(
            f"market: the price of {model.assets[at]!r} is {prices[at]:.10g}, and {since} "
            f"{state.prices[at]:.10g}: a move of {moves[at]:+.1%}, "
            f"{abs(moves[at]) / deviations[at]:.3g} standard deviations. Is it a split, a "
            "misplaced digit, or in another unit? If the market did move like this, update or "
            "calibrate the model. "
            f"{way_to_widen('move', moves[at])}"
        )


def _prices(market: Market) -> Iterator[tuple[str, float]]:
    """Prices of spot, and rates of currencies that the model may know by their own name.

    Assets of `fx_asset` are left out: such an asset moves as the rate does, but may have another
    price, as a fund of euros has.
    """
    yield from ((code, float(rate)) for code, rate in market.fx.items())
    yield from ((asset, float(price)) for asset, price in market.spot.items())


def _rates(market: Market) -> Iterator[tuple[str, Any]]:
    """Currencies of `fx`, each with the name of the asset whose price would be its rate."""
    for code in market.fx:
        yield code, market.fx_asset.get(code, code)

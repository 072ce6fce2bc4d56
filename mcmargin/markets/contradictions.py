"""What a market says that cannot be, or that contradicts itself.

In: a market whose numbers are in their ranges. Out: nothing, or a `DataError` that names both
figures, and the limit of `Plausibility` that lets them pass where they are right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mcmargin.checks import plain_time
from mcmargin.data.plausibility import way_to_widen
from mcmargin.errors import DataError
from mcmargin.markets.surface import VolatilitySurface

if TYPE_CHECKING:
    from mcmargin.markets.market import Market


def require_plausible(market: Market) -> None:
    """Refuse a market that is not plausible by its own limits.

    Raises
    ------
    DataError
        For a volatility or rate that looks as if it were in percent, a currency's rate that is not
        the price of the asset that is this rate, and a surface whose forwards are not those of
        the spot price.
    """
    limits = market.plausibility
    for what, volatility in _volatilities(market):
        if volatility > limits.volatility:
            raise DataError(
                f"market: {what} is {volatility:g}, which is {100 * volatility:,.6g} % a year; is "
                f"it in percent? Then give {volatility / 100:g}. "
                f"{way_to_widen('volatility', volatility)}"
            )
    for what, rates in (("rate", market.rates), ("carry", market.carry)):
        for name, rate in rates.items():
            if abs(rate) > limits.rate:
                raise DataError(
                    f"market: the {what} of {name!r} is {rate:g}, which is {100 * rate:,.6g} % a "
                    f"year; is it in percent? Then give {rate / 100:g}. "
                    f"{way_to_widen('rate', rate)}"
                )
    for code, asset in market.fx_asset.items():
        if asset in market.spot and code in market.fx:
            _require_same_rate(market, code, asset)
    for name, level in market.volatility.items():
        if isinstance(level, VolatilitySurface) and name in (*market.spot, *market.fx):
            _require_forwards(market, name, level)


def is_inverse(rate: float, price: float, difference: float) -> bool:
    """Whether a price is one over a rate, and not the rate itself.

    Examples
    --------
    >>> is_inverse(1 / 150, 150.3, 0.05), is_inverse(1.01, 1.0, 0.05)
    (True, False)
    """
    return abs(rate * price - 1.0) <= difference < abs(rate / price - 1.0)


def _volatilities(market: Market) -> Iterator[tuple[str, float]]:
    """Each volatility with its name; of a surface the highest at the money."""
    for name, level in market.volatility.items():
        if isinstance(level, VolatilitySurface):
            level = float(np.max(level.volatility(level.times, 0.0)))
        yield f"the volatility of {name!r}", level
    for what, given in (("vol_of_vol", market.vol_of_vol), ("fx_volatility", market.fx_volatility)):
        for name, volatility in given.items():
            yield f"the {what} of {name!r}", volatility


def _require_same_rate(market: Market, code: str, asset: str) -> None:
    rate, price = float(market.fx[code]), float(market.spot[asset])
    difference, limit = abs(price / rate - 1.0), market.plausibility.fx_difference
    if difference <= limit:
        return
    inverse = is_inverse(rate, price, max(limit, 0.05))
    question = (
        f"is one of them quoted inversely? Both must be the value of one {code} in "
        f"{market.currency}, and so must the closes that the model was calibrated on"
        if inverse
        else f"one of them is wrong, or {asset!r} is not the rate"
    )
    raise DataError(
        f"market: the rate of {code!r} is {rate:g} in fx, and the price of its asset {asset!r} is "
        f"{price:g} in spot: {question}. {way_to_widen('fx_difference', difference)}"
    )


def _require_forwards(market: Market, name: str, level: VolatilitySurface) -> None:
    """Forwards lie around spot by the limit, and by the largest carry over their time."""
    spot, limits = market.price(name), market.plausibility
    room = math.log1p(limits.forward_difference) + limits.rate * level.times
    apart = np.abs(np.log(level.forwards / spot))
    # A forward that is not known is NaN, and in no comparison.
    for at in np.flatnonzero(apart > room)[:1].tolist():
        difference = math.expm1(apart[at])
        raise DataError(
            f"market: the volatility surface of {name!r} has a forward of {level.forwards[at]:g} "
            f"at {plain_time(level.expiries[at])}, and the spot price is {spot:g}: are these "
            f"quotes of another asset? {way_to_widen('forward_difference', difference)}"
        )

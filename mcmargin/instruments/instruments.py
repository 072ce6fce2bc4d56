"""Instruments: what one unit of each instrument is worth today, and what it gains in scenarios.

In: the market of today, and the market in scenarios (`Paths`). Out: amounts in the instrument's
own currency, float64; a gain is positive. Every instrument is a small frozen value with the same
four functions:

value(market)            what the holder of one unit owns; 0 if gains are paid out as they come
gain(paths)              change of that value in every scenario, with the cash that was received
notional(market)         price today of the amount of underlying that one unit stands for
exposure(market)         gain of one unit for each relative move of the underlying
"""

from __future__ import annotations

from typing import TypeAlias

from mcmargin.instruments.linear import Balance, Future, Perpetual, Spot
from mcmargin.instruments.option import Option

__all__ = ["Balance", "Future", "Instrument", "Option", "Perpetual", "Spot", "assets_of"]

Instrument: TypeAlias = Spot | Perpetual | Future | Option


def assets_of(instrument: Instrument) -> tuple[str, ...]:
    """Names of all prices that the value of an instrument depends on.

    Examples
    --------
    >>> assets_of(Perpetual("BTC-PERP", "btc", price_asset="btc perpetual"))
    ('btc', 'btc perpetual')
    """
    own = getattr(instrument, "price_asset", None)
    future = getattr(instrument, "future", None)
    names = [instrument.underlying, own, getattr(future, "price_asset", None)]
    return tuple(dict.fromkeys(name for name in names if name is not None))

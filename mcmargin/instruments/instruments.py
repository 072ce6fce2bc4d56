"""Instruments: what one unit of each is worth today and gains on every path.

In: the market of today, and that of each path at a horizon. Out: amounts in the instrument's own
currency, float64, a gain positive. Each instrument is a small value with the same four functions:

value(market)            what a holder owns: 0 for what is settled by variation margin
gain(paths)              value change of one unit on every path, cash received included
notional(market)         the amount of underlying that one unit stands for, at today's price
exposure(market)         the same times its sensitivity: what one unit moves like
"""

from __future__ import annotations

from typing import TypeAlias

from mcmargin.instruments.linear import Balance, Future, Perpetual, Spot
from mcmargin.instruments.option import Option

__all__ = ["Balance", "Future", "Instrument", "Option", "Perpetual", "Spot", "assets_of"]

Instrument: TypeAlias = Spot | Perpetual | Future | Option


def assets_of(instrument: Instrument) -> tuple[str, ...]:
    """Names of all prices that an instrument's value hangs on."""
    own = getattr(instrument, "price_asset", None)
    future = getattr(instrument, "future", None)
    names = [instrument.underlying, own, getattr(future, "price_asset", None)]
    return tuple(dict.fromkeys(name for name in names if name is not None))

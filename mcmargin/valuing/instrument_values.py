"""What one unit of each instrument is worth today, and how much it gains in scenarios.

In: instruments, today's market, and the market in scenarios. Out: amounts of one unit in the
market's currency, float64; a gain is positive. Amounts go into another currency by `converted`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.instruments.instruments import Instrument
from mcmargin.instruments.paths import Paths
from mcmargin.markets.market import Market


@dataclass(frozen=True, eq=False)
class InstrumentValues:
    """What one unit of each instrument is worth today, in the market's currency.

    Attributes
    ----------
    value : ndarray of shape (instruments,), float64
        What the holder of one unit owns.
    notional : ndarray of shape (instruments,), float64
        Price of the amount of underlying that one unit stands for.
    exposure : ndarray of shape (instruments,), float64
        Gain for each relative move of the underlying.
    """

    value: NDArray[np.float64]
    notional: NDArray[np.float64]
    exposure: NDArray[np.float64]


def instrument_values_of(instruments: Sequence[Instrument], market: Market) -> InstrumentValues:
    """Values, notionals and exposures today of one unit of each instrument.

    Examples
    --------
    >>> from mcmargin.instruments.instruments import Perpetual, Spot
    >>> market = Market(as_of=np.datetime64("2021-01-04"), spot={"btc": 40_000.0})
    >>> items = [Spot("S", "btc"), Perpetual("P", "btc", contract_size=0.1)]
    >>> values = instrument_values_of(items, market)
    >>> values.value.tolist(), values.notional.tolist()
    ([40000.0, 0.0], [40000.0, 4000.0])
    """
    rates = [market.worth(item.currency) for item in instruments]
    rows = [
        (item.value(market), item.notional(market), item.exposure(market)) for item in instruments
    ]
    columns = np.array(rows, np.float64).reshape(-1, 3).T * np.array(rates)
    return InstrumentValues(*np.ascontiguousarray(columns))


def value_change(item: Instrument, paths: Paths) -> Any:
    """Value change of one unit in every scenario, in the market's currency; float64 [scenarios].

    What is owned moves with its currency, too: the change is (v + gain) c' - v c, where v is the
    value today, and c and c' are the values of the instrument's currency.
    """
    gain, market = item.gain(paths), paths.market
    if item.currency == market.currency:
        return gain
    start = item.value(market)
    return (start + gain) * paths.currency(item.currency) - start * market.worth(item.currency)


def converted(gains: Any, start: Any, moved: Any, worth: float) -> Any:
    """Gains in another currency than the market's: (v + gain) / c' - v / c.

    Parameters
    ----------
    gains : ndarray, float64
        In the market's currency.
    start : ndarray or float
        v, the value today of what gains, in the market's currency.
    moved : ndarray or float
        c', the value of the other currency in each scenario.
    worth : float
        c, its value today.

    Examples
    --------
    >>> converted(np.array([0.0, 20.0]), 100.0, np.array([1.25, 1.2]), 1.25).tolist()
    [0.0, 20.0]
    """
    return (start + gains) / moved - start / worth

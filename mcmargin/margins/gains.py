"""Gains of margin units and positions on simulated paths, each in its unit's currency.

In: quantities, and value changes of instruments on a block of paths, in the market's currency. Out:
gains of units, of one unit of an instrument, or of positions on the tail of their unit, on the
device of the scenarios. A gain is positive. Each is the same to the last bit, whatever the block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.numerics.arrays import device_matrix
from mcmargin.valuing.instrument_values import converted
from mcmargin.valuing.scenario_market import PathBlock
from mcmargin.valuing.valuation import Valuation


def gains_of(quantities: Any, codes: tuple[str, ...], valuation: Valuation) -> Any:
    """Gains of some units on all paths, each in its currency; float64 [units, paths].

    Parameters
    ----------
    quantities : scipy.sparse.csr_array of shape (units, instruments)
    codes : tuple of str
        Currencies, one a unit.
    valuation : Valuation
    """
    paths = valuation.scenarios.plan.paths
    gains: Any = None
    for block, changes in valuation.blocks():
        part = block_gains(quantities, changes, codes, block, valuation)
        if part.shape[1] == paths:
            return part
        if gains is None:
            gains = block.xp.empty((quantities.shape[0], paths))
        gains[:, block.paths] = part
    return gains


def block_gains(
    quantities: Any, changes: Any, codes: tuple[str, ...], block: PathBlock, valuation: Valuation
) -> Any:
    """Gains of some units on a block of paths, each in its currency; float64 [units, paths]."""
    matrix = quantities if block.xp is np else device_matrix(quantities)
    gains = block.xp.ascontiguousarray(matrix @ changes)
    for code in dict.fromkeys(codes):
        if code == valuation.market.currency:
            continue
        rows = [row for row, own in enumerate(codes) if own == code]
        if code in valuation.market.coins:
            gains[rows] /= valuation.market.worth(code)
        else:
            gains[rows] = _converted_sums(quantities[rows], changes, code, block, valuation)
    return gains


def _converted_sums(
    quantities: Any, changes: Any, code: str, block: PathBlock, valuation: Valuation
) -> Any:
    """Gains of some units in a currency; instruments of each horizon are converted at its rate."""
    total: Any = 0.0
    for horizon in sorted(set(valuation.item_horizons.tolist())):
        chosen = np.flatnonzero(valuation.item_horizons == horizon)
        part = quantities[:, chosen]
        matrix = part if block.xp is np else device_matrix(part)
        gains = matrix @ (changes if len(chosen) == changes.shape[0] else changes[chosen])
        start = block.xp.asarray(part @ valuation.instrument_values.value[chosen])[:, None]
        moved = block.at(horizon).currency(code)
        total = total + converted(gains, start, moved, valuation.market.worth(code))
    return total


def instrument_gains(
    columns: NDArray[np.int64],
    changes: Any,
    code: str,
    block: PathBlock,
    valuation: Valuation,
    paths: slice = slice(None),
) -> Any:
    """Gains of one unit of some instruments, in a currency; float64 [instruments, paths].

    Parameters
    ----------
    columns : ndarray of shape (instruments,), int64
        Their places among the valuation's instruments.
    changes : ndarray of shape (instruments, paths), float64
        Their value changes, in the market's currency.
    code : str
    block : PathBlock
    valuation : Valuation
    paths : slice, optional
        The paths of the block that `changes` is for; all of them by default.
    """
    market = valuation.market
    if code == market.currency:
        return changes
    if code in market.coins:
        return changes / market.worth(code)
    rates = {
        horizon: block.at(horizon).currency(code)
        for horizon in set(valuation.item_horizons[columns].tolist())
    }
    moved = {
        horizon: rate[paths] if getattr(rate, "ndim", 0) else rate
        for horizon, rate in rates.items()
    }
    return block.xp.stack(
        [
            converted(gain, value, moved[horizon], market.worth(code))
            for gain, value, horizon in zip(
                changes,
                valuation.instrument_values.value[columns],
                valuation.item_horizons[columns].tolist(),
                strict=True,
            )
        ]
    )


def tail_gains(
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
    codes: tuple[str, ...],
    paths: Any,
    changes: Any,
    block: PathBlock,
    valuation: Valuation,
) -> Any:
    """Gains of one unit of each position, on the tail of its holder; float64 [positions, paths]."""
    xp, market = block.xp, valuation.market
    gained = changes[xp.asarray(columns)[:, None], paths]
    for code in dict.fromkeys(codes):
        if code == market.currency:
            continue
        mine = np.array([codes[row] == code for row in rows], bool)
        if code in market.coins:
            gained[xp.asarray(np.flatnonzero(mine))] /= market.worth(code)
            continue
        horizons = valuation.item_horizons[columns]
        for horizon in sorted(set(horizons[mine].tolist())):
            here = np.flatnonzero(mine & (horizons == horizon))
            at = xp.asarray(here)
            moved = block.at(horizon).currency(code)
            moved = moved[paths[at]] if getattr(moved, "ndim", 0) else moved
            start = xp.asarray(valuation.instrument_values.value[columns[here]])[:, None]
            gained[at] = converted(gained[at], start, moved, market.worth(code))
    return gained

"""Liquidity: what closing a position costs, and what it risks by taking longer.

In: units, their valuation, and what the market says of each instrument's order book and volume.
Out: amounts by unit, in the unit's currency: half the spread, the walk down the order book, impact
by the square-root law beyond it, and the longer close-out of positions large for their market.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.engines.arrays import to_host
from mcmargin.margins.components_context import Amounts, UnitContext
from mcmargin.margins.tail import estimate_tails
from mcmargin.markets.market import InstrumentLiquidity
from mcmargin.valuing.instruments import Balance
from mcmargin.valuing.valuation import Valuation


def liquidity(context: UnitContext) -> Amounts:
    """Cost of closing out each netted position, and of closing out large ones for longer."""
    if context.policy.liquidity is None:
        return np.zeros(len(context.units.currencies))
    return np.asarray(liquidity_costs(context).sum(axis=1) / context.rates)


def liquidity_costs(context: UnitContext) -> sparse.csr_array:
    """The same by position, in the market's currency; [units, instruments].

    References
    ----------
    Almgren, Thum, Hauptmann and Li (2005), Direct estimation of equity market impact: impact grows
    with the root of the size. A longer close-out scales a position's own expected shortfall by the
    root of time.
    """
    part = context.policy.liquidity
    if part is None:
        return sparse.csr_array(context.units.quantities.shape)
    valuation, quantities = context.valuation, context.units.quantities
    columns, units = quantities.indices, quantities.data
    notional = np.abs(units) * valuation.units.notional[columns]
    costs = np.zeros(len(units))
    order = np.argsort(columns, kind="stable")
    ends = np.searchsorted(columns[order], np.arange(len(valuation.instruments) + 1))
    for at, item in enumerate(valuation.instruments):
        here = order[ends[at] : ends[at + 1]]
        if isinstance(item, Balance) or len(here) == 0:
            continue
        known = valuation.market.liquidity.get(item.name, InstrumentLiquidity())
        spread = part.spread if known.spread is None else known.spread
        costs[here] += 0.5 * spread * notional[here]
        left = notional[here]
        if known.bids or known.asks:
            unit = valuation.units.notional[at]
            walked, left = _walk(known, units[here], unit)
            costs[here] += walked
        if known.daily_volume is not None:
            volume = known.daily_volume * valuation.units.notional[at]
            costs[here] += (
                part.impact
                * _daily_volatility(valuation, item.underlying)
                * (left * np.sqrt(left / volume))
            )
            days = notional[here] / (part.participation * volume)
            costs[here] += _longer(valuation, at, units[here], days, context.level)
    charged = quantities.copy()
    charged.data = costs
    return charged


def _walk(
    known: InstrumentLiquidity, units: NDArray[np.float64], notional: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cost of walking the book with each position, and the notional that it does not take.

    A long position is sold to the bids, a short one bought from the asks; cost is against mid.
    """
    costs, left = np.zeros(len(units)), np.abs(units)
    middle = known.middle
    for side, levels in ((1.0, known.bids), (-1.0, known.asks)):
        own = np.sign(units) == side
        for price, size in levels:
            taken = np.minimum(left[own], size)
            costs[own] += taken * notional * abs(price / middle - 1.0)
            left[own] -= taken
    return costs, left * notional


def _daily_volatility(valuation: Valuation, underlying: str) -> float:
    """Volatility of a day at the model's present variance; 0 for what the model does not have."""
    model = valuation.scenarios.model
    if underlying not in model.assets:
        return 0.0
    variance = model.state.variance[model.assets.index(underlying)]
    return float(np.sqrt(variance / model.calendar.mean_days))


def _longer(
    valuation: Valuation,
    at: int,
    units: NDArray[np.float64],
    days: NDArray[np.float64],
    level: float,
) -> NDArray[np.float64]:
    """What a position risks alone beyond the horizon that it is margined for."""
    item = valuation.instruments[at]
    own = valuation.horizons[item.product] * valuation.scenarios.model.calendar.mean_days
    scale = np.sqrt(np.maximum(days / own, 1.0)) - 1.0
    if not scale.any():
        return scale
    parts = [to_host(changes[0]) for _, changes in valuation.blocks_of(np.array([at]))]
    gains = np.concatenate(parts)
    long, short = estimate_tails(np.stack([-gains, gains]), level=level).expected_shortfall
    alone = np.where(units > 0, max(long, 0.0), max(short, 0.0))
    return np.asarray(np.abs(units) * alone * scale)

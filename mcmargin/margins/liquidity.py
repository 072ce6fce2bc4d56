"""Liquidity: what it costs to close a position, and the risk of taking longer to close it.

In: units, their valuation, and what the market says about each instrument's order book and volume.
Out: amounts by unit, in the unit's currency. They add up the prices of the order book, or half the
spread where there is no book; the impact by the square-root law for what the book does not take;
and the longer close-out of positions that are large for their market. The spread and the order book
of an option are shares of its own price, and its impact goes by its delta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.instruments.instruments import Balance
from mcmargin.margins.estimates import Estimate, fixed
from mcmargin.margins.lone import lone_estimates
from mcmargin.margins.unit_context import UnitContext
from mcmargin.markets.market_parts import InstrumentLiquidity
from mcmargin.valuing.valuation import Valuation

UNKNOWN = InstrumentLiquidity()


def liquidity(context: UnitContext) -> Estimate:
    """Cost of closing out each position, and of closing out large ones for longer."""
    count, quantities = len(context.units.currencies), context.units.quantities
    costs, longer = _costs(context)
    amounts = np.asarray(costs.sum(axis=1) / context.rates)
    if longer is None or not len(longer.places):
        return fixed(amounts)
    # The expected shortfall of one unit moves alike for everybody who holds the instrument.
    row = np.repeat(np.arange(count), np.diff(quantities.indptr))[longer.places]
    weights = longer.weights * (longer.alone.amounts > 0.0)[longer.kind] / context.rates[row]
    shape = (count, len(longer.alone.amounts))
    share = sparse.csr_array((weights, (row, longer.kind)), shape=shape)
    moves, rest = (np.asarray(share @ each) for each in (longer.alone.moves, longer.alone.rest))
    return Estimate(amounts, moves, rest)


def liquidity_costs(context: UnitContext) -> sparse.csr_array:
    """The same by position, in the market's currency; [units, instruments].

    References
    ----------
    Almgren, Thum, Hauptmann and Li (2005), Direct estimation of equity market impact: impact grows
    with the root of the size. A longer close-out scales a position's own expected shortfall by the
    root of time.
    """
    return _costs(context)[0]


def _costs(context: UnitContext) -> tuple[sparse.csr_array, _Longer | None]:
    """Costs by position, and which positions take longer; none without the policy's part."""
    part, quantities = context.policy.liquidity, context.units.quantities
    if part is None:
        return sparse.csr_array(quantities.shape), None
    terms = _terms(context.valuation, part.spread)
    columns, units = quantities.indices, quantities.data
    costs, left = _quoted_costs(columns, units, terms)
    volume = terms.volume[columns]
    traded = np.flatnonzero(np.isfinite(volume))
    rest = left[traded]
    costs[traded] += (
        part.impact * terms.daily_move[columns[traded]] * rest * np.sqrt(rest / volume[traded])
    )
    longer = _longer(context, terms.volume, part.participation)
    costs[longer.places] += longer.weights * np.maximum(longer.alone.amounts, 0.0)[longer.kind]
    charged = quantities.copy()
    charged.data = costs
    return charged, longer


def _quoted_costs(
    columns: NDArray[np.int32], units: NDArray[np.float64], terms: _Terms
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What order books and spreads cost by position, and the units that no order book takes."""
    left, costs = np.abs(units), np.zeros(len(units))
    order = np.argsort(columns, kind="stable")
    ends = np.searchsorted(columns[order], np.arange(len(terms.quoted) + 1))
    half = 0.5 * terms.spread[columns]
    for at, known in terms.books.items():
        here = order[ends[at] : ends[at + 1]]
        for sign, quotes in ((1.0, known.bids), (-1.0, known.asks)):
            own = here[np.sign(units[here]) == sign]
            if quotes:
                costs[own], left[own] = _walked(left[own], quotes, known.middle)
                # The prices of the order book have the spread in them.
                half[own] = 0.0
    return (costs + np.abs(units) * half) * terms.quoted[columns], left


@dataclass(frozen=True, eq=False)
class _Terms:
    """What the market says about each instrument; float64 [instruments].

    Attributes
    ----------
    quoted : ndarray
        What shares of the price are taken of: the value of an option, else the notional.
    spread : ndarray
        Share of the price; 0 for balances.
    volume : ndarray
        Units that are traded in a day; NaN where that is not known.
    daily_move : ndarray
        How far a unit moves if its underlying moves by one standard deviation of a day.
    books : dict of int to InstrumentLiquidity
        By the place of the instrument, where the market has an order book.
    """

    quoted: NDArray[np.float64]
    spread: NDArray[np.float64]
    volume: NDArray[np.float64]
    daily_move: NDArray[np.float64]
    books: dict[int, InstrumentLiquidity]


def _terms(valuation: Valuation, spread: float) -> _Terms:
    market, values = valuation.market, valuation.instrument_values
    options = np.array([item.product == "option" for item in valuation.instruments], bool)
    moved = np.where(options, np.abs(values.exposure), values.notional)
    spreads, volumes = np.zeros(len(options)), np.full(len(options), np.nan)
    books = {}
    for at, item in enumerate(valuation.instruments):
        if isinstance(item, Balance):
            continue
        known = market.liquidity.get(item.name, UNKNOWN)
        spreads[at] = spread if known.spread is None else known.spread
        if known.daily_volume is not None:
            volumes[at] = known.daily_volume
            moved[at] *= _daily_volatility(valuation, item.underlying)
        if known.bids or known.asks:
            books[at] = known
    quoted = np.where(options, values.value, values.notional)
    return _Terms(quoted, spreads, volumes, moved, books)


def _walked(
    units: NDArray[np.float64], quotes: Sequence[tuple[float, float]], middle: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cost of trading against one side of an order book, and the units that it does not take.

    The cost is a share of the price, measured from the middle. Units that the book does not take
    are charged as far from the middle as its last quote, and the impact comes on top: no unit costs
    less than the unit before it.

    Examples
    --------
    >>> _walked(np.array([12.0, 20.0]), ((99.0, 10.0), (97.0, 5.0)), 100.0)
    (array([0.16, 0.4 ]), array([0., 5.]))
    """
    costs, left, away = np.zeros(len(units)), units.copy(), 0.0
    for price, size in quotes:
        away = abs(price / middle - 1.0)
        taken = np.minimum(left, size)
        costs += taken * away
        left -= taken
    return costs + left * away, left


def _daily_volatility(valuation: Valuation, underlying: str) -> float:
    """Volatility of a day at the model's present variance; 0 for an asset that it does not have."""
    model = valuation.scenarios.model
    if underlying not in model.assets:
        return 0.0
    variance = model.state.variance[model.assets.index(underlying)]
    return float(np.sqrt(variance / model.calendar.mean_days))


@dataclass(frozen=True, eq=False)
class _Longer:
    """Positions that take longer to close out than the horizon that they are margined for.

    Attributes
    ----------
    places : ndarray of shape (n,), int64
        Their places among all positions.
    weights : ndarray of shape (n,), float64
        Units, times the share by which a longer close-out adds to the risk of one unit.
    kind : ndarray of shape (n,), int64
        The row of `alone` for the instrument and the side, long or short.
    alone : Estimate
        Expected shortfall of a single unit, held alone, in the market's currency.
    """

    places: NDArray[np.int64]
    weights: NDArray[np.float64]
    kind: NDArray[np.int64]
    alone: Estimate


def _longer(context: UnitContext, volume: NDArray[np.float64], participation: float) -> _Longer:
    """Positions that take longer than the horizon: their risk grows with the root of time."""
    valuation, quantities = context.valuation, context.units.quantities
    columns, units = quantities.indices.astype(np.int64), quantities.data
    days = valuation.item_horizons * valuation.scenarios.model.calendar.mean_days
    needed = np.abs(units) / (participation * volume[columns])
    scale = np.sqrt(np.fmax(needed / days[columns], 1.0)) - 1.0
    places = np.flatnonzero(scale > 0.0)
    keys, kind = np.unique(columns[places] * 2 + (units[places] < 0), return_inverse=True)
    codes = [valuation.market.currency] * len(keys)
    alone = lone_estimates(context, keys // 2, keys % 2 == 1, codes)
    return _Longer(places, np.abs(units[places]) * scale[places], kind, alone)

"""Liquidity: what closing a position costs, and what it risks by taking longer.

In: units, their valuation, and what the market says of each instrument's order book and volume.
Out: amounts by unit, in the unit's currency: the walk down the order book or else half the spread,
impact by the square-root law beyond it, and the longer close-out of positions large for their
market. An option's spread and book are shares of its own price, and its impact is by its delta.
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
    """Cost of closing out each netted position, and of closing out large ones for longer."""
    part, count = context.policy.liquidity, len(context.units.currencies)
    if part is None:
        return fixed(np.zeros(count))
    amounts = np.asarray(liquidity_costs(context).sum(axis=1) / context.rates)
    terms = _terms(context.valuation, part.spread)
    longer = _longer(context, terms.volume, part.participation)
    if not len(longer.places):
        return fixed(amounts)
    # What is known of a single unit moves for all who hold it.
    held = context.units.quantities
    row = np.repeat(np.arange(count), np.diff(held.indptr))[longer.places]
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
    part = context.policy.liquidity
    if part is None:
        return sparse.csr_array(context.units.quantities.shape)
    valuation, quantities = context.valuation, context.units.quantities
    terms = _terms(valuation, part.spread)
    columns, units = quantities.indices, quantities.data
    left, costs = np.abs(units), np.zeros(len(units))
    order = np.argsort(columns, kind="stable")
    ends = np.searchsorted(columns[order], np.arange(len(valuation.instruments) + 1))
    # Where there is a side to walk, its levels say what the spread is.
    half = 0.5 * terms.spread[columns]
    for at, known in terms.books.items():
        here = order[ends[at] : ends[at + 1]]
        for sign, levels in ((1.0, known.bids), (-1.0, known.asks)):
            own = here[np.sign(units[here]) == sign]
            if levels:
                costs[own], left[own] = _walked(left[own], levels, known.middle)
                half[own] = 0.0
    costs = (costs + np.abs(units) * half) * terms.quoted[columns]
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
    return charged


@dataclass(frozen=True, eq=False)
class _Terms:
    """What the market says of each instrument; float64 [instruments].

    Attributes
    ----------
    quoted : ndarray
        What the price of one unit stands for: of an option its value, else the notional.
    spread : ndarray
        Share of price; 0 of balances.
    volume : ndarray
        Units a day; NaN where it is not known.
    daily_move : ndarray
        What a unit moves by in a day of one standard deviation of its underlying.
    books : dict of int to InstrumentLiquidity
        Where there are levels.
    """

    quoted: NDArray[np.float64]
    spread: NDArray[np.float64]
    volume: NDArray[np.float64]
    daily_move: NDArray[np.float64]
    books: dict[int, InstrumentLiquidity]


def _terms(valuation: Valuation, spread: float) -> _Terms:
    market, values = valuation.market, valuation.units
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
    units: NDArray[np.float64], levels: Sequence[tuple[float, float]], middle: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cost against mid of walking one side of a book, as a share of price, and what it leaves.

    What the levels do not take is charged as far from mid as the last of them: impact comes on
    top, so that no unit costs less than the one before it.

    Examples
    --------
    >>> _walked(np.array([12.0, 20.0]), ((99.0, 10.0), (97.0, 5.0)), 100.0)
    (array([0.16, 0.4 ]), array([0., 5.]))
    """
    costs, left, away = np.zeros(len(units)), units.copy(), 0.0
    for price, size in levels:
        away = abs(price / middle - 1.0)
        taken = np.minimum(left, size)
        costs += taken * away
        left -= taken
    return costs + left * away, left


def _daily_volatility(valuation: Valuation, underlying: str) -> float:
    """Volatility of a day at the model's present variance; 0 for what the model does not have."""
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
        Where they are among all positions.
    weights : ndarray of shape (n,), float64
        Units, times what a longer close-out adds to the risk of one.
    kind : ndarray of shape (n,), int64
        Row of `alone`: of the instrument, long or short.
    alone : Estimate
        Expected shortfall of single units, in the market's currency.
    """

    places: NDArray[np.int64]
    weights: NDArray[np.float64]
    kind: NDArray[np.int64]
    alone: Estimate


def _longer(context: UnitContext, volume: NDArray[np.float64], participation: float) -> _Longer:
    """What is closed out for longer: risk grows with the root of time."""
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

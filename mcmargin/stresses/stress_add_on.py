"""The stress add-on: what stress costs beyond base, in part.

In: units with their expected shortfall, and their worst loss in the policy's scenarios. Out:
amounts by unit, in the unit's currency. Two excesses over base are charged, each at its weight:

worst scenario       the largest loss of all stress scenarios
worse of two tests   concentration: the two underlyings of largest expected shortfall alone;
                     perfect dependence: the sum of the expected shortfalls of all underlyings,
                     which is the figure that comonotone underlyings would have

The tests are of positions; open orders are in base alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.units import Units
from mcmargin.checks import Progress
from mcmargin.margins.components_context import Amounts, UnitContext
from mcmargin.margins.figures import unit_shortfalls

LARGEST = 2
"""Underlyings of the concentration test."""


def add_on(context: UnitContext, base: Amounts) -> Amounts:
    """What the worst scenario and the worse of two tests exceed base by, each at its weight.

    References
    ----------
    OCC, STANS: a fraction of what the worse of a concentration test (the two largest risk
    factors) and a perfect-dependence test exceeds the base expected shortfall by.
    """
    part = context.policy.stress
    added = np.zeros(len(context.units.currencies))
    if part is None:
        return added
    if part.scenario_weight and context.stress is not None:
        added += part.scenario_weight * np.maximum(context.stress.worst - base, 0.0)
    if part.dependence_weight:
        concentrated, dependent = dependence_tests(context)
        worse = np.maximum(concentrated, dependent)
        added += part.dependence_weight * np.maximum(worse - base, 0.0)
    return added


def dependence_tests(context: UnitContext) -> tuple[Amounts, Amounts]:
    """Concentration and perfect-dependence test of every unit.

    The sum of expected shortfalls is that of comonotone underlyings, where each underlying's
    profit and loss rises in its factor; elsewhere it is an upper bound of what any dependence
    gives.
    """
    shortfalls = underlying_shortfalls(context)
    dependent = np.asarray(shortfalls.sum(axis=1), np.float64)
    rows = np.repeat(np.arange(shortfalls.shape[0]), np.diff(shortfalls.indptr))
    largest = np.maximum(shortfalls.data, 0.0)
    order = np.lexsort((-largest, rows))
    rank = np.arange(len(rows)) - shortfalls.indptr[rows]
    chosen = order[rank < LARGEST]
    concentrated = np.zeros(shortfalls.shape[0])
    np.add.at(concentrated, rows[chosen], largest[chosen])
    return concentrated, dependent


def underlying_shortfalls(context: UnitContext) -> sparse.csr_array:
    """Expected shortfall of each unit's positions in one underlying alone.

    Returns
    -------
    scipy.sparse.csr_array of shape (units, underlyings), float64
        Underlyings in the order of their names, and zeros kept where a unit has positions.
    """
    units, valuation = context.units, context.valuation
    # A currency whose rate is an asset of the model is that asset.
    same = valuation.market.fx_asset
    factors = [same.get(item.underlying, item.underlying) for item in valuation.instruments]
    names = sorted(set(factors))
    group = np.array([names.index(factor) for factor in factors], np.int64)
    held = units.quantities
    unit = np.repeat(np.arange(held.shape[0]), np.diff(held.indptr))
    # A part is a unit's positions in one underlying; parts are in the order of the result.
    keys, part = np.unique(unit * len(names) + group[held.indices], return_inverse=True)
    owner, underlying = np.divmod(keys, max(1, len(names)))
    positions = np.bincount(part, minlength=len(keys))
    parts = np.bincount(owner, minlength=held.shape[0])
    shortfall = np.zeros(len(keys))
    # A unit in one underlying has been looked at as a whole.
    whole = parts[owner] == 1
    shortfall[whole] = context.figures.expected_shortfall[owner[whole]]
    lone = (~whole & (positions == 1))[part]
    shortfall[part[lone]] = _lone_shortfalls(
        context, unit[lone], held.indices[lone], held.data[lone]
    )
    several = ~whole & (positions > 1)
    own = several[part]
    place = (np.cumsum(several) - 1)[part[own]]
    shape = int(several.sum()), held.shape[1]
    rows = sparse.csr_array((held.data[own], (place, held.indices[own])), shape=shape)
    shortfall[several] = _shortfalls(context, rows, owner[several], context.next_pass())
    indptr = np.concatenate([[0], np.cumsum(parts)])
    return sparse.csr_array((shortfall, underlying, indptr), shape=(held.shape[0], len(names)))


def _lone_shortfalls(
    context: UnitContext,
    unit: NDArray[np.int64],
    column: NDArray[np.int64],
    quantity: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Expected shortfalls of single positions: of one unit, long or short, times the size."""
    codes = sorted(set(context.units.currencies))
    code = np.array([codes.index(each) for each in context.units.currencies], np.int64)[unit]
    kind = (column * 2 + (quantity < 0)) * len(codes) + code
    _, first, which = np.unique(kind, return_index=True, return_inverse=True)
    signs = np.sign(quantity[first])
    shape = (len(first), len(context.valuation.instruments))
    one = sparse.csr_array((signs, (np.arange(len(first)), column[first])), shape=shape)
    return np.abs(quantity) * _shortfalls(context, one, unit[first])[which]


def _shortfalls(
    context: UnitContext,
    quantities: sparse.csr_array,
    unit: NDArray[np.int64],
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Expected shortfalls of some rows, each in the currency of a unit."""
    if quantities.shape[0] == 0:
        return np.zeros(0)
    none = sparse.csr_array(quantities.shape)
    currencies = tuple(context.units.currencies[at] for at in unit)
    units = Units(quantities, none, none, currencies, unit, ())
    return unit_shortfalls(units, context.valuation, context.level, progress=progress)

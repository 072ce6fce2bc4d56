"""Lone positions: the expected shortfall of one unit of an instrument, held or owed alone.

In: instruments, sides and currencies. Out: an estimate for each, in its currency; what was taken
once is kept, since many accounts hold the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.units import Units
from mcmargin.margins.estimates import Estimate, fixed, joined
from mcmargin.margins.figures import unit_shortfalls
from mcmargin.margins.unit_context import UnitContext
from mcmargin.progress import Progress


def lone_estimates(
    context: UnitContext, columns: NDArray[np.int64], short: NDArray[np.bool_], codes: list[str]
) -> Estimate:
    """Expected shortfall of single units, one row each.

    Parameters
    ----------
    context : UnitContext
        At whose valuation and level they are taken, and where they are kept.
    columns : ndarray of shape (n,), int64
        Instruments.
    short : ndarray of shape (n,), bool
        Whether the unit is owed.
    codes : list of str
        Currencies, one each.
    """
    keys = list(zip(columns.tolist(), short.tolist(), codes, strict=True))
    missing = [key for key in dict.fromkeys(keys) if key not in context.lone]
    if missing:
        found = shortfalls_of(
            context,
            sparse.csr_array(
                (
                    [-1.0 if each[1] else 1.0 for each in missing],
                    (np.arange(len(missing)), [each[0] for each in missing]),
                ),
                shape=(len(missing), len(context.valuation.instruments)),
            ),
            tuple(each[2] for each in missing),
        )
        for at, key in enumerate(missing):
            context.lone[key] = Estimate(found.amounts[[at]], found.moves[[at]], found.rest[[at]])
    return joined([context.lone[key] for key in keys]) if keys else fixed(np.zeros(0))


def shortfalls_of(
    context: UnitContext,
    quantities: sparse.csr_array,
    codes: tuple[str, ...],
    progress: Progress | None = None,
) -> Estimate:
    """Expected shortfall of some rows of positions, each in a currency.

    Parameters
    ----------
    context : UnitContext
    quantities : scipy.sparse.csr_array of shape (n, instruments), float64
    codes : tuple of str
        One a row.
    progress : callable, optional
        Called with rows done and in all.
    """
    if quantities.shape[0] == 0:
        return fixed(np.zeros(0))
    none = sparse.csr_array(quantities.shape)
    units = Units(quantities, none, none, codes, np.arange(quantities.shape[0]), ())
    return unit_shortfalls(
        units, context.valuation, context.level, together=context.together, progress=progress
    )

"""Shares of open orders: what each ordered instrument adds to the expected shortfall of a unit.

In: a unit of a report's session. Out: the fills that cost the unit most, with their gains on every
path; and the share of each ordered instrument in what these fills add. The shares add up to all of
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.units import Units
from mcmargin.margins.gains import gains_of
from mcmargin.margins.worst_fills import worst_fills
from mcmargin.numerics.arrays import array_module, to_host
from mcmargin.numerics.tail import estimate_tails
from mcmargin.valuing.valuation import Valuation

STEPS = 16
"""Number of points on the way from no fill to all fills, at which losses are shared out."""


@dataclass(frozen=True, eq=False)
class Fills:
    """Open orders of one unit that count as filled.

    Attributes
    ----------
    columns : ndarray of shape (instruments,), int64
        Places of the ordered instruments among the valuation's instruments.
    units : ndarray of shape (instruments,), float64
        Units filled; negative if they are sold, and 0 if the order is not filled.
    alone, changes : ndarray of shapes (paths,) and (instruments, paths), float64
        Gains of the positions alone, and of one unit of each ordered instrument, on the device of
        the scenarios.
    """

    columns: NDArray[np.int64]
    units: NDArray[np.float64]
    alone: Any
    changes: Any

    @property
    def gains(self) -> Any:
        """Gains of the positions with the fills; float64 [paths]."""
        return self.alone + array_module(self.changes).asarray(self.units) @ self.changes


def fills_of(units: Units, unit: int, valuation: Valuation, level: float) -> Fills:
    """Fills that cost a unit most; they have no instruments if the unit has no orders."""
    codes = units.currencies[unit : unit + 1]
    alone = gains_of(units.quantities[[unit]], codes, valuation)[0]
    bought, sold = (matrix[[unit]].toarray()[0] for matrix in (units.buys, units.sells))
    asked = np.flatnonzero((bought != 0.0) | (sold != 0.0))
    if len(asked) == 0:
        return Fills(asked, np.zeros(0), alone, array_module(alone).zeros((0, len(alone))))
    # One row for each ordered instrument: the gains of one unit of it.
    ones = (np.ones(len(asked)), (np.arange(len(asked)), asked))
    single = sparse.csr_array(ones, shape=(len(asked), len(valuation.instruments)))
    changes = gains_of(single, codes * len(asked), valuation)
    _, filled = worst_fills(alone, changes, sold[asked], bought[asked], level=level)
    return Fills(asked, filled, alone, changes)


def order_shares(fills: Fills, added: float, level: float) -> NDArray[np.float64]:
    """What the fills of each instrument add to the expected shortfall; the shares add up to all.

    All fills grow together from nothing to their full size. At each point of the way, an instrument
    is charged with its own loss in the tail (Aumann and Shapley).

    Parameters
    ----------
    fills : Fills
    added : float
        What all fills add to the expected shortfall.
    level : float

    Returns
    -------
    ndarray of shape (instruments,), float64

    References
    ----------
    Aumann and Shapley, Values of Non-Atomic Games (1974); for risk capital, Denault, Coherent
    allocation of risk capital, Journal of Risk 4 (2001).

    Examples
    --------
    >>> changes = np.stack([np.linspace(-1.0, 1.0, 1000), np.linspace(1.0, -1.0, 1000)])
    >>> alone = np.linspace(-1.0, 1.0, 1000)
    >>> fills = Fills(np.arange(2), np.array([3.0, -1.0]), alone, changes)
    >>> order_shares(fills, 3.6, 0.9).round(2).tolist()
    [2.7, 0.9]
    """
    xp = array_module(fills.changes)
    shares = np.zeros(len(fills.units))
    for step in range(STEPS):
        part = (step + 0.5) / STEPS
        losses = -fills.alone - part * (xp.asarray(fills.units) @ fills.changes)
        tails = estimate_tails(losses[None], level=level)
        gained = (fills.changes[:, tails.paths[0]] * xp.asarray(tails.weights)).sum(axis=1)
        shares -= fills.units * to_host(gained) / STEPS
    # The tail may change its paths between two points: the difference is shared out by size.
    rest, sizes = added - shares.sum(), np.abs(shares)
    if sizes.sum() == 0.0:
        return np.full(len(shares), added / len(shares)) if len(shares) else shares
    return np.asarray(shares + rest * sizes / sizes.sum())

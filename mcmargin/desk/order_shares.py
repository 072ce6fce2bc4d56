"""Open orders: which ones are taken as filled, and what each of them adds to expected shortfall.

In: a unit of a report's session. Out: the fills that cost it most, with what they gain on every
path; and the share of each ordered instrument in what they add, which together are all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.units import Units
from mcmargin.margins.gains import gains_of
from mcmargin.margins.orders import worst_fills
from mcmargin.numerics.arrays import array_module, to_host
from mcmargin.numerics.tail import estimate_tails
from mcmargin.valuing.valuation import Valuation

STEPS = 16
"""Parts of the way from no fill to all fills at which a loss's share is taken."""


@dataclass(frozen=True, eq=False)
class Fills:
    """Open orders of one unit that are taken as filled.

    Attributes
    ----------
    columns : ndarray of shape (instruments,), int64
        Places of the ordered instruments among the valuation's.
    units : ndarray of shape (instruments,), float64
        Filled; negative is sold, and 0 not filled.
    held, changes : ndarray of shapes (paths,) and (instruments, paths), float64
        Gains of the positions alone, and of one unit of each ordered instrument; on the device
        where the scenarios lie there.
    """

    columns: NDArray[np.int64]
    units: NDArray[np.float64]
    held: Any
    changes: Any

    @property
    def gains(self) -> Any:
        """Of the positions with the fills; float64 [paths]."""
        return self.held + array_module(self.changes).asarray(self.units) @ self.changes


def fills_of(units: Units, unit: int, valuation: Valuation, level: float) -> Fills:
    """Fills that cost a unit most; without orders, fills of no instrument."""
    codes = units.currencies[unit : unit + 1]
    held = gains_of(units.quantities[[unit]], codes, valuation)[0]
    bought, sold = (matrix[[unit]].toarray()[0] for matrix in (units.buys, units.sells))
    asked = np.flatnonzero((bought != 0.0) | (sold != 0.0))
    if len(asked) == 0:
        return Fills(asked, np.zeros(0), held, array_module(held).zeros((0, len(held))))
    # A row for each instrument that has orders: what one unit of it gains.
    ones = (np.ones(len(asked)), (np.arange(len(asked)), asked))
    single = sparse.csr_array(ones, shape=(len(asked), len(valuation.instruments)))
    changes = gains_of(single, codes * len(asked), valuation)
    _, filled = worst_fills(held, changes, sold[asked], bought[asked], level=level)
    return Fills(asked, filled, held, changes)


def order_shares(fills: Fills, added: float, level: float) -> NDArray[np.float64]:
    """What each instrument's fills add to the expected shortfall; they add up to all of it.

    Fills are taken to grow from nothing to all of them at one pace. At each point of the way, an
    instrument is charged with its own loss in the tail.

    Parameters
    ----------
    fills : Fills
    added : float
        What all fills add.
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
    >>> held = np.linspace(-1.0, 1.0, 1000)
    >>> fills = Fills(np.arange(2), np.array([3.0, -1.0]), held, changes)
    >>> order_shares(fills, 3.6, 0.9).round(2).tolist()
    [2.7, 0.9]
    """
    xp = array_module(fills.changes)
    shares = np.zeros(len(fills.units))
    for step in range(STEPS):
        part = (step + 0.5) / STEPS
        losses = -fills.held - part * (xp.asarray(fills.units) @ fills.changes)
        tails = estimate_tails(losses[None], level=level)
        gained = (fills.changes[:, tails.paths[0]] * xp.asarray(tails.weights)).sum(axis=1)
        shares -= fills.units * to_host(gained) / STEPS
    # The tail changes its paths on the way, here and there between two steps.
    rest, sizes = added - shares.sum(), np.abs(shares)
    if sizes.sum() == 0.0:
        return np.full(len(shares), added / len(shares)) if len(shares) else shares
    return np.asarray(shares + rest * sizes / sizes.sum())

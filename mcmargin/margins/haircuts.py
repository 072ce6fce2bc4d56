"""Haircuts: what collateral is counted at less, from the same simulation as the margins.

In: a book's balances and the valuation of initial margin. Out: a haircut for each asset, currency
of account and side that occurs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.book import Book
from mcmargin.books.collateral import Kind, balance_of, is_own_cash, kinds_of, unit_value
from mcmargin.books.units import Units
from mcmargin.margins.figures import unit_shortfalls
from mcmargin.policies.policy import MarginPolicy
from mcmargin.valuing.valuation import Valuation


@dataclass(frozen=True)
class Haircut:
    """What balances of a kind are counted at less, as a share of their value.

    It is the expected shortfall of holding (or, of a debit, owing) one unit, over its value, in
    [0, 1]; both are in the account's currency. A debit counts at more by it.
    """

    asset: str
    currency: str
    debit: bool
    value: float
    expected_shortfall: float
    haircut: float


def haircuts_of(book: Book, valuation: Valuation, policy: MarginPolicy) -> list[Haircut]:
    """Haircuts of all kinds of balances that a book has; none but in haircut mode.

    Parameters
    ----------
    book : Book
    valuation : Valuation
        Of initial margin, whose scenarios and spot horizon they are taken over.
    policy : MarginPolicy

    Raises
    ------
    PolicyError
        If the haircuts' level needs more paths.
    """
    part = policy.collateral
    kinds, _ = kinds_of(book)
    if part is None or part.mode != "haircut" or not kinds:
        return []
    market = valuation.market
    moving = [kind for kind in kinds if not is_own_cash(kind, market)]
    lost = dict(zip(moving, _unit_losses(moving, valuation, part.level).tolist(), strict=True))
    found = []
    for kind in kinds:
        value = unit_value(kind, market)
        loss = lost.get(kind, 0.0)
        share = min(max(loss / value, 0.0), 1.0)
        found.append(Haircut(kind.asset, kind.currency, kind.debit, value, loss, share))
    return found


def _unit_losses(kinds: list[Kind], valuation: Valuation, level: float) -> NDArray[np.float64]:
    """Expected shortfall of one unit of each kind, in its account's currency."""
    if not kinds:
        return np.zeros(0)
    names = list(dict.fromkeys(kind.asset for kind in kinds))
    items = tuple(balance_of(name, valuation.market) for name in names)
    sides = [-1.0 if kind.debit else 1.0 for kind in kinds]
    places = np.arange(len(kinds)), [names.index(kind.asset) for kind in kinds]
    held = sparse.csr_array((sides, places), shape=(len(kinds), len(names)))
    none = sparse.csr_array(held.shape)
    codes = tuple(kind.currency for kind in kinds)
    units = Units(held, none, none, codes, np.arange(len(kinds)), ())
    return unit_shortfalls(units, replace(valuation, instruments=items), level)

"""Haircuts: how much less than its value collateral counts. The margins' own simulation gives them.

In: the balances of a book and the valuation of initial margin. Out: a haircut for each kind of
balance that the book has: for each asset, currency of account, and side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from mcmargin.books.collateral import BalanceKind, PostedBalances, balance_of
from mcmargin.books.units import Units
from mcmargin.margins.estimates import Estimate, fixed, larger, smaller, times, with_rows
from mcmargin.margins.figures import unit_shortfalls
from mcmargin.policies.policy import MarginPolicy
from mcmargin.valuing.valuation import Valuation


@dataclass(frozen=True)
class Haircut:
    """The haircut of a kind of balance, as a share of the balance's value.

    It is the expected shortfall of holding one unit, or of owing one unit if the balance is a
    debit, divided by the value of one unit, and limited to [0, 1]. Both amounts are in the
    account's currency. A credit counts at less than its value, and a debit at more. Errors are
    standard errors of Monte Carlo.
    """

    asset: str
    currency: str
    debit: bool
    value: float
    expected_shortfall: float
    haircut: float
    expected_shortfall_error: float
    haircut_error: float


def haircuts_of(
    posted: PostedBalances, valuation: Valuation, policy: MarginPolicy
) -> tuple[list[Haircut], Estimate]:
    """Haircuts of all kinds of balances in a book; none unless the policy asks for haircuts.

    Parameters
    ----------
    posted : PostedBalances
    valuation : Valuation
        Valuation of initial margin. It gives the scenarios, and the horizon of spot.
    policy : MarginPolicy

    Returns
    -------
    list of Haircut
    Estimate
        The same haircuts, one row for each, with how they move with the paths.

    Raises
    ------
    PolicyError
        If the haircuts' level needs more paths.
    """
    part, kinds, market = policy.collateral, posted.kinds, valuation.market
    if part is None or part.mode != "haircut" or not kinds:
        return [], fixed(np.zeros(0))
    moving = [at for at, kind in enumerate(kinds) if not kind.is_own_cash(market)]
    values = posted.unit_values(market)
    none, whole = fixed(np.zeros(len(kinds))), fixed(np.ones(len(kinds)))
    lost = none
    if moving:
        own = _unit_losses([kinds[at] for at in moving], valuation, part.level)
        lost = with_rows(none, np.array(moving), own)
    shares = smaller(larger(times(1.0 / values, lost), none, 0), whole, 1)
    # A quotient of the two amounts is exact where a product with 1 / value would be rounded twice.
    shares = replace(shares, amounts=np.clip(lost.amounts / values, 0.0, 1.0))
    columns = (values, lost.amounts, shares.amounts, lost.error, shares.error)
    found = [
        Haircut(kind.asset, kind.currency, kind.debit, *numbers)
        for kind, *numbers in zip(kinds, *(each.tolist() for each in columns), strict=True)
    ]
    return found, shares


def _unit_losses(kinds: Sequence[BalanceKind], valuation: Valuation, level: float) -> Estimate:
    """Expected shortfall of one unit of each kind, in its account's currency."""
    names = list(dict.fromkeys(kind.asset for kind in kinds))
    items = tuple(balance_of(name, valuation.market) for name in names)
    sides = [-1.0 if kind.debit else 1.0 for kind in kinds]
    places = np.arange(len(kinds)), [names.index(kind.asset) for kind in kinds]
    quantities = sparse.csr_array((sides, places), shape=(len(kinds), len(names)))
    none = sparse.csr_array(quantities.shape)
    codes = tuple(kind.currency for kind in kinds)
    units = Units(quantities, none, none, codes, np.arange(len(kinds)), ())
    return unit_shortfalls(units, replace(valuation, instruments=items), level, together=True)

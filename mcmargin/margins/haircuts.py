"""Haircuts: what collateral is counted at less, from the same simulation as the margins.

In: a book's balances and the valuation of initial margin. Out: a haircut for each asset, currency
of account and side that occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from mcmargin.books.collateral import BalanceKind, balance_of
from mcmargin.books.resolved import ResolvedBook
from mcmargin.books.units import Units
from mcmargin.margins.estimates import Estimate, fixed, larger, smaller, times, with_rows
from mcmargin.margins.figures import unit_shortfalls
from mcmargin.policies.policy import MarginPolicy
from mcmargin.valuing.valuation import Valuation


@dataclass(frozen=True)
class Haircut:
    """What balances of a kind are counted at less, as a share of their value.

    It is the expected shortfall of holding (or, of a debit, owing) one unit, over its value, in
    [0, 1]; both are in the account's currency. A debit counts at more by it. Errors are standard
    errors of Monte Carlo.
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
    resolved: ResolvedBook, valuation: Valuation, policy: MarginPolicy
) -> tuple[list[Haircut], Estimate]:
    """Haircuts of all kinds of balances that a book has; none but in haircut mode.

    Parameters
    ----------
    resolved : ResolvedBook
    valuation : Valuation
        Of initial margin, whose scenarios and spot horizon they are taken over.
    policy : MarginPolicy

    Returns
    -------
    list of Haircut
    Estimate
        The same shares, a row a haircut, with how they move with the paths.

    Raises
    ------
    PolicyError
        If the haircuts' level needs more paths.
    """
    part, kinds, market = policy.collateral, resolved.posted.kinds, resolved.market
    if part is None or part.mode != "haircut" or not kinds:
        return [], fixed(np.zeros(0))
    moving = [at for at, kind in enumerate(kinds) if not kind.is_own_cash(market)]
    values = resolved.posted.unit_values(market)
    none, whole = fixed(np.zeros(len(kinds))), fixed(np.ones(len(kinds)))
    lost = none
    if moving:
        own = _unit_losses([kinds[at] for at in moving], valuation, part.level)
        lost = with_rows(none, np.array(moving), own)
    shares = smaller(larger(times(1.0 / values, lost), none, 0), whole, 1)
    # Of a loss and a value, not of one over the other times it.
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
    held = sparse.csr_array((sides, places), shape=(len(kinds), len(names)))
    none = sparse.csr_array(held.shape)
    codes = tuple(kind.currency for kind in kinds)
    units = Units(held, none, none, codes, np.arange(len(kinds)), ())
    return unit_shortfalls(units, replace(valuation, instruments=items), level, together=True)

"""Equity: what accounts own, that a margin is held against.

In: a book, its instruments' values today, and the haircuts of its balances. Out: amounts by
account, in the account's currency.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.resolved import ResolvedBook
from mcmargin.books.unrealised import without_entry_price
from mcmargin.margins.estimates import Estimate, fixed
from mcmargin.valuing.valuation import Valuation


@dataclass(frozen=True, eq=False)
class Equity:
    """What accounts own; float64 [accounts], in each one's currency, but for the last.

    Attributes
    ----------
    collateral : ndarray
        Balances as they count: at spot, less haircuts.
    collateral_error : ndarray
        Its standard error, and that of equity: haircuts are taken from the paths.
    position_value : ndarray
        Of spot and options.
    unrealised : ndarray
        Profit and loss of perpetuals and futures since their entry prices, where these were given.
    equity : ndarray
        The sum; NaN where the book was given no balances.
    without_entry_price : ndarray of int64
        Positions in perpetuals and futures whose profit and loss is not in `unrealised`, because
        they have no entry price.
    """

    collateral: NDArray[np.float64]
    collateral_error: NDArray[np.float64]
    position_value: NDArray[np.float64]
    unrealised: NDArray[np.float64]
    equity: NDArray[np.float64]
    without_entry_price: NDArray[np.int64]


def equity_of(resolved: ResolvedBook, valuation: Valuation, haircuts: Estimate) -> Equity:
    """Equity of all accounts, with the haircut of each kind of balance, or with none."""
    book, market = resolved.book, resolved.market
    rates = np.array([market.worth(each.currency) for each in book.accounts])
    values = valuation.units.value[: len(book.instruments)]
    position_value = np.asarray(book.quantities @ values / rates)
    collateral = collateral_estimate(resolved, haircuts)
    equity = collateral.amounts + position_value + resolved.unrealised
    if book.balances is None:
        equity = np.full(len(book.accounts), np.nan)
    return Equity(
        collateral.amounts,
        collateral.error,
        position_value,
        resolved.unrealised,
        equity,
        without_entry_price(book),
    )


def collateral_estimate(resolved: ResolvedBook, haircuts: Estimate) -> Estimate:
    """Balances of each account as they count, and how haircuts move that with the paths."""
    posted, accounts = resolved.posted, len(resolved.book.accounts)
    if not posted.kinds:
        return fixed(np.zeros(accounts))
    less = haircuts if len(haircuts.amounts) else fixed(np.zeros(len(posted.kinds)))
    values = posted.unit_values(resolved.market)
    signs = np.array([1.0 if kind.debit else -1.0 for kind in posted.kinds], float)
    amounts = posted.amounts * (values * (1.0 + signs * less.amounts))[posted.kind]
    shares = posted.amounts * (values * signs)[posted.kind]
    places = (posted.account, posted.kind)
    by_kind = sparse.csr_array((shares, places), shape=(accounts, len(posted.kinds)))
    return Estimate(
        np.bincount(posted.account, amounts, accounts).astype(np.float64),
        np.asarray(by_kind @ less.moves),
        np.asarray(by_kind @ less.rest),
    )

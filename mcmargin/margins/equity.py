"""Equity: what each account owns. A margin is compared with it.

In: a resolved book, the values of its instruments today, and the haircuts of its balances. Out:
amounts by account, in the currency of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.collateral import PostedBalances
from mcmargin.books.resolved import ResolvedBook
from mcmargin.books.unrealised import without_entry_price
from mcmargin.margins.estimates import Estimate, fixed
from mcmargin.markets.market import Market
from mcmargin.valuing.valuation import Valuation


@dataclass(frozen=True, eq=False)
class Equity:
    """What each account owns.

    All arrays have shape (accounts,). Amounts are float64, in the currency of each account.

    Attributes
    ----------
    collateral : ndarray
        Value of the balances at spot prices, less haircuts.
    collateral_error : ndarray
        Standard error of Monte Carlo of `collateral`, and of `equity`: haircuts come from the
        simulated paths.
    position_value : ndarray
        Value of spot and options.
    unrealised : ndarray
        Profit and loss of perpetuals and futures since their entry prices, if these were given.
    equity : ndarray
        Sum of collateral, position value and unrealised profit and loss; NaN if no balances were
        given.
    without_entry_price : ndarray of int64
        Number of positions in perpetuals and futures that have no entry price. Their profit and
        loss is not in `unrealised`.
    """

    collateral: NDArray[np.float64]
    collateral_error: NDArray[np.float64]
    position_value: NDArray[np.float64]
    unrealised: NDArray[np.float64]
    equity: NDArray[np.float64]
    without_entry_price: NDArray[np.int64]


def equity_of(resolved: ResolvedBook, valuation: Valuation, haircuts: Estimate) -> Equity:
    """Equity of all accounts.

    Parameters
    ----------
    resolved : ResolvedBook
    valuation : Valuation
        It has the value of one unit of each instrument today.
    haircuts : Estimate
        A row for each kind of balance; no rows if nothing is subtracted.
    """
    book, market = resolved.book, resolved.market
    rates = np.array([market.worth(each.currency) for each in book.accounts])
    values = valuation.instrument_values.value[: len(book.instruments)]
    position_value = np.asarray(book.quantities @ values / rates)
    collateral = collateral_estimate(resolved.posted, market, haircuts)
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


def collateral_estimate(posted: PostedBalances, market: Market, haircuts: Estimate) -> Estimate:
    """Value of each account's balances less haircuts, and how it moves with the paths.

    Haircuts are as in `equity_of`.
    """
    accounts = posted.account_count
    if not posted.kinds:
        return fixed(np.zeros(accounts))
    less = haircuts if len(haircuts.amounts) else fixed(np.zeros(len(posted.kinds)))
    values = posted.unit_values(market)
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

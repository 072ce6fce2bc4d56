"""Equity: what accounts own, that a margin is held against.

In: a book, its instruments' values today, and the haircuts of its balances. Out: amounts by
account, in the account's currency.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.book import Book
from mcmargin.books.collateral import kinds_of, unit_value
from mcmargin.books.unrealised import unrealised_of, without_entry_price
from mcmargin.margins.estimates import Estimate, fixed
from mcmargin.markets.market import Market
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


def equity_of(book: Book, valuation: Valuation, haircuts: Estimate) -> Equity:
    """Equity of all accounts, with these haircuts, a row a kind of balance, or none."""
    market = valuation.market
    accounts = len(book.accounts)
    rates = np.array([market.worth(each.currency) for each in book.accounts])
    values = valuation.units.value[: len(book.instruments)]
    position_value = np.asarray(book.quantities @ values / rates)
    unrealised = unrealised_of(book, market).by_account(accounts, market) / rates
    lacking = without_entry_price(book)
    if book.balances is None:
        nothing, unknown = np.zeros(accounts), np.full(accounts, np.nan)
        return Equity(nothing, nothing, position_value, unrealised, unknown, lacking)
    collateral = collateral_estimate(book, market, haircuts)
    equity = collateral.amounts + position_value + unrealised
    return Equity(collateral.amounts, collateral.error, position_value, unrealised, equity, lacking)


def collateral_estimate(book: Book, market: Market, haircuts: Estimate) -> Estimate:
    """Balances of each account as they count, and how haircuts move that with the paths."""
    accounts = len(book.accounts)
    if book.balances is None:
        return fixed(np.zeros(accounts))
    kinds, kind = kinds_of(book)
    less = haircuts if len(haircuts.amounts) else fixed(np.zeros(len(kinds)))
    values = np.array([unit_value(each, market) for each in kinds], float)
    signs = np.array([1.0 if each.debit else -1.0 for each in kinds], float)
    rows = np.repeat(np.arange(accounts), np.diff(book.balances.indptr))
    amounts = book.balances.data * (values * (1.0 + signs * less.amounts))[kind]
    shares = book.balances.data * (values * signs)[kind]
    held = sparse.csr_array((shares, (rows, kind)), shape=(accounts, len(kinds)))
    return Estimate(
        np.bincount(rows, amounts, accounts).astype(np.float64),
        np.asarray(held @ less.moves),
        np.asarray(held @ less.rest),
    )

"""Equity: what accounts own, that a margin is held against.

In: a book, its instruments' values today, and the haircuts of its balances. Out: amounts by
account, in the account's currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcmargin.books.book import Book
from mcmargin.books.collateral import Kind, kinds_of, unit_value
from mcmargin.books.unrealised import unrealised_of, without_entry_price
from mcmargin.margins.haircuts import Haircut
from mcmargin.valuing.valuation import Valuation


@dataclass(frozen=True, eq=False)
class Equity:
    """What accounts own; float64 [accounts], in each one's currency, but for the last.

    Attributes
    ----------
    collateral : ndarray
        Balances as they count: at spot, less haircuts.
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
    position_value: NDArray[np.float64]
    unrealised: NDArray[np.float64]
    equity: NDArray[np.float64]
    without_entry_price: NDArray[np.int64]


def equity_of(book: Book, valuation: Valuation, haircuts: Sequence[Haircut]) -> Equity:
    """Equity of all accounts, with these haircuts; see `haircuts_of`."""
    market = valuation.market
    accounts = len(book.accounts)
    rates = np.array([market.worth(each.currency) for each in book.accounts])
    values = valuation.units.value[: len(book.instruments)]
    position_value = np.asarray(book.quantities @ values / rates)
    unrealised = unrealised_of(book, market).by_account(accounts, market) / rates
    lacking = without_entry_price(book)
    if book.balances is None:
        nothing, unknown = np.zeros(accounts), np.full(accounts, np.nan)
        return Equity(nothing, position_value, unrealised, unknown, lacking)
    kinds, kind = kinds_of(book)
    less = {Kind(each.asset, each.currency, each.debit): each.haircut for each in haircuts}
    counts = [
        unit_value(each, market) * (1.0 + (1.0 if each.debit else -1.0) * less.get(each, 0.0))
        for each in kinds
    ]
    rows = np.repeat(np.arange(accounts), np.diff(book.balances.indptr))
    amounts = book.balances.data * np.array(counts, float)[kind]
    collateral = np.bincount(rows, amounts, accounts).astype(np.float64)
    equity = collateral + position_value + unrealised
    return Equity(collateral, position_value, unrealised, equity, lacking)

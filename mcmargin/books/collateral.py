"""Collateral: the balances of a book, their kinds, and which of them move with the positions.

In: a book, a market, and what its positions have gained since they were entered. Out: the kind of
each balance, what one unit of a kind is worth, and the balances that move with the positions, as
units of an instrument.

A policy counts balances in one of two ways. `joint`: the expected shortfall of an account is that
of its positions and balances together, and balances count at full value. A coin that falls where
the positions lose is thus charged once. What an inverse contract has gained and not settled is
coins, and moves as they do. `haircut`: balances count at less than their value, unrealised profit
and loss counts in full, and neither moves.

Cash in the account's own currency neither moves nor takes a haircut. A coin does both, even where
it is the account's currency, because gains are counted in quote currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.accounts import Account
from mcmargin.books.book import Book
from mcmargin.books.unrealised import Unrealised
from mcmargin.instruments.instruments import Balance
from mcmargin.markets.market import Market


@dataclass(frozen=True)
class BalanceKind:
    """Balances that count alike: of one asset, in accounts of one currency, on one side."""

    asset: str
    currency: str
    debit: bool

    def is_own_cash(self, market: Market) -> bool:
        """Whether it is cash in the account's own currency, and not a coin."""
        return self.asset == self.currency and self.asset not in market.coins

    def unit_value(self, market: Market) -> float:
        """Value of one unit, in the account's currency."""
        if self.asset == self.currency:
            return 1.0
        return market.worth(self.asset) / market.worth(self.currency)


@dataclass(frozen=True, eq=False)
class PostedBalances:
    """All balances of a book, one after another, and their kinds.

    Attributes
    ----------
    account_count : int
        Number of accounts in the book.
    kinds : tuple of BalanceKind
    account, kind : ndarray of shape (balances,), int64
        Place of each balance's account in the book, and of its kind in `kinds`.
    amounts : ndarray of shape (balances,), float64
        Units of the asset; negative is a debit.
    """

    account_count: int
    kinds: tuple[BalanceKind, ...]
    account: NDArray[np.int64]
    kind: NDArray[np.int64]
    amounts: NDArray[np.float64]

    def of(self, row: int) -> PostedBalances:
        """The balances of one account; its place is 0 in the result."""
        own = slice(*np.searchsorted(self.account, [row, row + 1]))
        account = np.zeros_like(self.account[own])
        return PostedBalances(1, self.kinds, account, self.kind[own], self.amounts[own])

    def unit_values(self, market: Market) -> NDArray[np.float64]:
        """Value of one unit of each kind, in its accounts' currency; float64 [kinds]."""
        return np.array([kind.unit_value(market) for kind in self.kinds], float)

    def gross_values(self, market: Market) -> NDArray[np.float64]:
        """Sum of the sizes of each account's balances, without haircuts; float64 [accounts]."""
        values = np.abs(self.amounts) * self.unit_values(market)[self.kind]
        return np.bincount(self.account, values, self.account_count).astype(float)


def posted_balances(book: Book) -> PostedBalances:
    """Balances of a book with their kinds, in the order of `book.balances.data`.

    Examples
    --------
    >>> import pandas as pd
    >>> book = Book.from_frame(
    ...     pd.DataFrame({"account": ["a", "b"], "instrument": ["btc"] * 2, "quantity": [1, 2]}),
    ...     balances=pd.DataFrame({"account": ["a", "b"], "asset": ["USD"] * 2, "amount": [5, -3]}),
    ... )
    >>> found = posted_balances(book)
    >>> found.kinds[found.kind[1]], found.amounts.tolist()
    (BalanceKind(asset='USD', currency='USD', debit=True), [5.0, -3.0])
    """
    accounts = len(book.accounts)
    if book.balances is None:
        nothing = np.zeros(0, np.int64)
        return PostedBalances(accounts, (), nothing, nothing, np.zeros(0))
    codes, own = np.unique([account.currency for account in book.accounts], return_inverse=True)
    rows = np.repeat(np.arange(accounts), np.diff(book.balances.indptr))
    debit = book.balances.data < 0
    keys = (book.balances.indices.astype(np.int64) * len(codes) + own[rows]) * 2 + debit
    found, kind = np.unique(keys, return_inverse=True)
    kinds = tuple(
        BalanceKind(
            book.assets[key // 2 // len(codes)], str(codes[key // 2 % len(codes)]), key % 2 == 1
        )
        for key in found.tolist()
    )
    return PostedBalances(accounts, kinds, rows, kind.astype(np.int64), book.balances.data)


def balance_of(asset: str, market: Market) -> Balance:
    """One unit of an asset, in the currency of its price."""
    return Balance(asset, asset, market.quoted.get(asset, market.currency))


def moving_balances(
    accounts: Sequence[Account], posted: PostedBalances, gained: Unrealised, market: Market
) -> tuple[tuple[Balance, ...], sparse.csr_array]:
    """Balances that move with the positions, if they count jointly.

    They are what was posted, and what contracts have gained since their entry prices and have not
    settled yet: coins of inverse contracts, money of others. Cash in an account's own currency does
    not move.

    Returns
    -------
    tuple of Balance
        One unit of each asset that moves.
    scipy.sparse.csr_array of shape (accounts, assets that move), float64
    """
    names = sorted({*(kind.asset for kind in posted.kinds), *gained.assets})
    places = {name: at for at, name in enumerate(names)}
    of_kinds, of_gained = (
        np.array([places[name] for name in assets], np.int64)
        for assets in ([kind.asset for kind in posted.kinds], gained.assets)
    )
    row = np.concatenate([posted.account, gained.rows])
    asset = np.concatenate([of_kinds[posted.kind], of_gained[gained.asset]])
    amounts = np.concatenate([posted.amounts, gained.amounts])
    own = {name: at for name, at in places.items() if name not in market.coins}
    cash = np.array([own.get(account.currency, -1) for account in accounts], np.int64)
    moving = asset != cash[row]
    used, column = np.unique(asset[moving], return_inverse=True)
    shape = len(accounts), len(used)
    matrix = sparse.csr_array((amounts[moving], (row[moving], column)), shape=shape)
    matrix.sum_duplicates()
    matrix.sort_indices()
    return tuple(balance_of(names[at], market) for at in used), matrix

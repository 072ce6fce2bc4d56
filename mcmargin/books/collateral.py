"""Collateral: which balances of a book move with its positions.

In: a book, a market, and how the policy counts balances. Out: balances as units of spot, in columns
of their own beside the positions.

Jointly, an account's expected shortfall is that of positions and balances together, and balances
count at full value: a coin that falls where the position loses is charged once. Coins that inverse
contracts have gained and not settled are coins, too. With haircuts, balances count at less, what
is unrealised counts in full, and neither moves. Cash in the account's own currency neither moves
nor takes a haircut; a coin does, even as an account's currency, since gains are counted in quote
currency.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.book import Book
from mcmargin.books.unrealised import unrealised_of
from mcmargin.instruments.instruments import Balance
from mcmargin.markets.market import Market
from mcmargin.policies.policy import MarginPolicy


@dataclass(frozen=True)
class Kind:
    """Balances that count alike: of one asset, in accounts of one currency, on one side."""

    asset: str
    currency: str
    debit: bool


@dataclass(frozen=True, eq=False)
class Held:
    """Balances that move in the accounts' profit and loss.

    Attributes
    ----------
    items : tuple of Balance
    amounts : scipy.sparse.csr_array of shape (accounts, items), float64
    """

    items: tuple[Balance, ...]
    amounts: sparse.csr_array

    def of(self, row: int) -> Held:
        """One account's."""
        return Held(self.items, self.amounts[[row]])

    def plus(self, item: Balance, amount: float) -> Held:
        """One account's, with so much more of an item."""
        if amount == 0.0:
            return self
        items = self.items if item in self.items else (*self.items, item)
        amounts = np.zeros((1, len(items)))
        amounts[:, : len(self.items)] = self.amounts.toarray()
        amounts[0, items.index(item)] += amount
        return Held(items, sparse.csr_array(amounts))

    def beside(self, positions: sparse.csr_array) -> sparse.csr_array:
        """Positions, and these balances in columns after them."""
        if not self.items:
            return positions
        joined = sparse.csr_array(sparse.hstack([positions, self.amounts], format="csr"))
        joined.sort_indices()
        return joined

    def room_beside(self, orders: sparse.csr_array) -> sparse.csr_array:
        """Orders, with empty columns after them."""
        shape = (orders.shape[0], orders.shape[1] + len(self.items))
        return sparse.csr_array((orders.data, orders.indices, orders.indptr), shape=shape)


def collateral_mode(policy: MarginPolicy) -> str:
    """How a policy counts balances: `haircut` where it says so, else `joint`."""
    return "joint" if policy.collateral is None else policy.collateral.mode


def kinds_of(book: Book) -> tuple[list[Kind], NDArray[np.int64]]:
    """Kinds of balances that a book has, and the kind of each, in the order of `balances.data`."""
    if book.balances is None:
        return [], np.zeros(0, np.int64)
    codes, own = np.unique([account.currency for account in book.accounts], return_inverse=True)
    rows = np.repeat(own, np.diff(book.balances.indptr))
    debit = book.balances.data < 0
    keys = (book.balances.indices.astype(np.int64) * len(codes) + rows) * 2 + debit
    found, kind = np.unique(keys, return_inverse=True)
    kinds = [
        Kind(book.assets[key // 2 // len(codes)], str(codes[key // 2 % len(codes)]), key % 2 == 1)
        for key in found.tolist()
    ]
    return kinds, kind.astype(np.int64)


def is_own_cash(kind: Kind, market: Market) -> bool:
    """Whether it is cash in the account's own currency, and that no coin."""
    return kind.asset == kind.currency and kind.asset not in market.coins


def balance_of(asset: str, market: Market) -> Balance:
    """One unit of an asset, in the currency of its price."""
    return Balance(asset, asset, market.quoted.get(asset, market.currency))


def held_of(book: Book, market: Market, policy: MarginPolicy) -> Held:
    """What moves with the positions: nothing but in joint mode, and of a book with balances.

    Balances, and what contracts have gained since their entry prices and is not settled yet: coins
    of inverse ones, and money of others; all but cash in the account's own currency.
    """
    accounts = len(book.accounts)
    if book.balances is None or collateral_mode(policy) != "joint":
        return Held((), sparse.csr_array((accounts, 0)))
    gained = unrealised_of(book, market)
    names = sorted({*book.assets, *gained.assets})
    posted, won = (
        np.array([names.index(name) for name in assets], np.int64)
        for assets in (book.assets, gained.assets)
    )
    rows = np.repeat(np.arange(accounts), np.diff(book.balances.indptr))
    row = np.concatenate([rows, gained.rows])
    asset = np.concatenate([posted[book.balances.indices], won[gained.asset]])
    amounts = np.concatenate([book.balances.data, gained.amounts])
    own = {name: at for at, name in enumerate(names) if name not in market.coins}
    cash = np.array([own.get(account.currency, -1) for account in book.accounts], np.int64)
    moving = asset != cash[row]
    used, column = np.unique(asset[moving], return_inverse=True)
    held = sparse.csr_array((amounts[moving], (row[moving], column)), shape=(accounts, len(used)))
    held.sum_duplicates()
    held.sort_indices()
    return Held(tuple(balance_of(names[at], market) for at in used), held)


def posted_values(book: Book, market: Market) -> NDArray[np.float64]:
    """Balances of each account by their sizes, without haircuts, in its currency."""
    accounts = len(book.accounts)
    if book.balances is None:
        return np.zeros(accounts)
    kinds, kind = kinds_of(book)
    values = np.array([unit_value(each, market) for each in kinds], float)
    rows = np.repeat(np.arange(accounts), np.diff(book.balances.indptr))
    return np.bincount(rows, np.abs(book.balances.data) * values[kind], accounts).astype(float)


def unit_value(kind: Kind, market: Market) -> float:
    """What one unit is worth, in the account's currency."""
    if kind.asset == kind.currency:
        return 1.0
    return market.worth(kind.asset) / market.worth(kind.currency)

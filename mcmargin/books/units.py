"""Margin units: what is margined as one, a whole account, a lone position, or an owner.

In: a book. Out: the units' positions and orders as sparse matrices, and to which account or owner
each unit belongs. A cross account is one unit; an isolated one has a unit a position; an owner
whose accounts are netted has one unit of all of them besides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.book import Book
from mcmargin.books.collateral import Held


@dataclass(frozen=True, eq=False)
class Units:
    """What is margined as one.

    Attributes
    ----------
    quantities, buys, sells : scipy.sparse.csr_array of shape (units, instruments), float64
    currencies : tuple of str
        One a unit.
    account : ndarray of shape (units,), int64
        Position of the account in the book; -1 for an owner's unit.
    owner : tuple of str
        Owners of the units whose account is -1, in their order.
    """

    quantities: sparse.csr_array
    buys: sparse.csr_array
    sells: sparse.csr_array
    currencies: tuple[str, ...]
    account: NDArray[np.int64]
    owner: tuple[str, ...]

    @property
    def bought(self) -> sparse.csr_array:
        """What is held once every order to buy is filled; [units, instruments]."""
        return self.quantities + self.buys if self.buys.nnz else self.quantities

    @property
    def sold(self) -> sparse.csr_array:
        """What is held once every order to sell is filled; [units, instruments]."""
        return self.quantities + self.sells if self.sells.nnz else self.quantities


def units_of(book: Book, held: Held | None = None) -> Units:
    """Cut a book into units, in the order of accounts, then of owners.

    Balances that move with the positions stand in columns after the instruments'.

    Examples
    --------
    >>> import pandas as pd
    >>> from mcmargin.books.book import Account
    >>> rows = {"account": ["a", "a"], "instrument": ["btc", "eth"], "quantity": [1, -10]}
    >>> accounts = [Account("a", mode="isolated")]
    >>> units_of(Book.from_frame(pd.DataFrame(rows), accounts=accounts)).quantities.toarray()
    array([[  1.,   0.],
           [  0., -10.]])
    """
    matrices = (book.quantities, book.buys, book.sells)
    if held is not None and held.items:
        orders = [held.room_beside(each) for each in matrices[1:]]
        matrices = (held.beside(book.quantities), orders[0], orders[1])
    accounts = range(len(book.accounts))
    isolated = np.array([account.mode == "isolated" for account in book.accounts], bool)
    netted = _netted_owners(book)
    if not isolated.any() and not netted:
        currencies = tuple(account.currency for account in book.accounts)
        return Units(*matrices, currencies, np.array(accounts, np.int64), ())
    # Which instruments each account touches, so that an isolated one has a unit for each.
    touched = abs(matrices[0]) + abs(matrices[1]) + abs(matrices[2])
    touched.sort_indices()
    # One that touches none has a unit all the same.
    counts = np.where(isolated, np.maximum(np.diff(touched.indptr), 1), 1)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    keys = np.repeat(accounts, np.diff(touched.indptr)) * touched.shape[1] + touched.indices
    members = _members(netted, len(accounts))

    def cut(matrix: sparse.csr_array) -> sparse.csr_array:
        entries = sparse.coo_array(matrix)
        rows, columns = (axis.astype(np.int64) for axis in entries.coords)
        place = np.searchsorted(keys, rows * touched.shape[1] + columns) - touched.indptr[rows]
        unit = first[rows] + np.where(isolated[rows], place, 0)
        shape = (int(first[-1]), matrix.shape[1])
        alone = sparse.csr_array((entries.data, (unit, columns)), shape=shape)
        stacked = sparse.csr_array(sparse.vstack([alone, members @ matrix], format="csr"))
        stacked.eliminate_zeros()
        stacked.sort_indices()
        return stacked

    account = np.concatenate([np.repeat(accounts, counts), np.full(len(netted), -1)])
    heads = [*account[account >= 0], *(rows[0] for rows in netted.values())]
    quantities, buys, sells = map(cut, matrices)
    return Units(
        quantities,
        buys,
        sells,
        currencies=tuple(book.accounts[row].currency for row in heads),
        account=account.astype(np.int64),
        owner=tuple(netted),
    )


def _netted_owners(book: Book) -> dict[str, list[int]]:
    """Accounts of each owner that nets several."""
    rows: dict[str, list[int]] = {}
    for row, account in enumerate(book.accounts):
        if account.netting == "net":
            rows.setdefault(account.owner, []).append(row)
    return {owner: own for owner, own in rows.items() if len(own) > 1}


def _members(netted: dict[str, list[int]], accounts: int) -> sparse.csr_array:
    """Matrix of ones [owners, accounts] that adds up an owner's accounts."""
    places = [(owner, row) for owner, rows in enumerate(netted.values()) for row in rows]
    owners, rows = np.array(places, np.int64).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(places)), (owners, rows)), shape=(len(netted), accounts))

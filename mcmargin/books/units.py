"""Margin units: what is margined as one, a whole account, a lone position, or an owner.

In: accounts, their positions and orders. Out: the units' positions and orders as sparse matrices,
and the account or owner that each unit belongs to. A cross account is one unit. An isolated account
has one unit for each instrument. An owner whose accounts are netted has one unit more, of all of
them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.accounts import Account


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


def units_of(
    accounts: Sequence[Account],
    quantities: sparse.csr_array,
    buys: sparse.csr_array,
    sells: sparse.csr_array,
) -> Units:
    """Cut accounts into units, in the order of accounts, then of the owners that net.

    Parameters
    ----------
    accounts : sequence of Account
    quantities, buys, sells : scipy.sparse.csr_array of shape (accounts, instruments), float64

    Examples
    --------
    >>> from mcmargin.books.accounts import Account
    >>> held, none = sparse.csr_array([[1.0, -10.0]]), sparse.csr_array((1, 2))
    >>> units_of([Account("a", mode="isolated")], held, none, none).quantities.toarray()
    array([[  1.,   0.],
           [  0., -10.]])
    """
    rows = np.arange(len(accounts))
    isolated = np.array([account.mode == "isolated" for account in accounts], bool)
    netted = _netted_owners(accounts)
    if not isolated.any() and not netted:
        currencies = tuple(account.currency for account in accounts)
        return Units(quantities, buys, sells, currencies, rows, ())
    # Which instruments each account touches, so that an isolated one has a unit for each.
    touched = abs(quantities) + abs(buys) + abs(sells)
    touched.sort_indices()
    # An account that touches none has a unit all the same.
    counts = np.where(isolated, np.maximum(np.diff(touched.indptr), 1), 1)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    keys = np.repeat(rows, np.diff(touched.indptr)) * touched.shape[1] + touched.indices
    members = _members(netted, len(accounts))

    def cut(matrix: sparse.csr_array) -> sparse.csr_array:
        entries = sparse.coo_array(matrix)
        row, column = (axis.astype(np.int64) for axis in entries.coords)
        place = np.searchsorted(keys, row * touched.shape[1] + column) - touched.indptr[row]
        unit = first[row] + np.where(isolated[row], place, 0)
        shape = (int(first[-1]), matrix.shape[1])
        alone = sparse.csr_array((entries.data, (unit, column)), shape=shape)
        stacked = sparse.csr_array(sparse.vstack([alone, members @ matrix], format="csr"))
        stacked.eliminate_zeros()
        stacked.sort_indices()
        return stacked

    account = np.concatenate([np.repeat(rows, counts), np.full(len(netted), -1)])
    heads = [*account[account >= 0], *(own[0] for own in netted.values())]
    return Units(
        cut(quantities),
        cut(buys),
        cut(sells),
        currencies=tuple(accounts[row].currency for row in heads),
        account=account.astype(np.int64),
        owner=tuple(netted),
    )


def _netted_owners(accounts: Sequence[Account]) -> dict[str, list[int]]:
    """Accounts of each owner that nets several."""
    rows: dict[str, list[int]] = {}
    for row, account in enumerate(accounts):
        if account.netting == "net":
            rows.setdefault(account.owner, []).append(row)
    return {owner: own for owner, own in rows.items() if len(own) > 1}


def _members(netted: dict[str, list[int]], accounts: int) -> sparse.csr_array:
    """Matrix of ones [owners, accounts] that adds up an owner's accounts."""
    places = [(owner, row) for owner, rows in enumerate(netted.values()) for row in rows]
    owners, rows = np.array(places, np.int64).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(places)), (owners, rows)), shape=(len(netted), accounts))

"""Common book: what was held on a first date, and is still held on a second one.

In: two books. Out: a book with the quantities, orders and balances of the first one, for each
account and instrument, or account and asset, that the second one has too. Its accounts are declared
as those of the first book.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.book import Book


def common_book(first: Book, second: Book) -> Book:
    """What two books have in common, at the first one's quantities.

    An instrument is the same if its terms are. If nothing is left out, the first book is returned.

    Examples
    --------
    >>> rows = {"account": ["a", "a"], "instrument": ["btc", "eth"], "quantity": [1, 2]}
    >>> now = {"account": ["a", "b"], "instrument": ["btc", "eth"], "quantity": [3, 4]}
    >>> books = [Book.from_frame(pd.DataFrame(each)) for each in (rows, now)]
    >>> common_book(*books).to_frame()
      account instrument  quantity
    0       a        btc       1.0
    """
    accounts = pd.Index([account.name for account in first.accounts])
    rows = accounts.get_indexer(pd.Index([account.name for account in second.accounts]))
    own = {item.name: (at, item) for at, item in enumerate(first.instruments)}
    found = [(own.get(item.name, (-1, None)), item) for item in second.instruments]
    columns = np.array([at if known == item else -1 for (at, known), item in found], np.int64)
    pairs = [
        (getattr(first, name), _kept(getattr(first, name), getattr(second, name), rows, columns))
        for name in ("quantities", "buys", "sells")
    ]
    balances = first.balances
    if balances is not None:
        places = {asset: at for at, asset in enumerate(first.assets)}
        assets = np.array([places.get(asset, -1) for asset in second.assets], np.int64)
        kept = _kept(balances, second.balances, rows, assets)
        pairs.append((balances, kept))
        balances = kept
    if all(whole.nnz == kept.nnz for whole, kept in pairs):
        return first
    held = [kept for _, kept in pairs[:3]]
    used = np.flatnonzero(sum(np.bincount(each.indices, minlength=each.shape[1]) for each in held))
    entry_prices = first.entry_prices
    if entry_prices is not None:
        entry_prices = entry_prices[np.isin(_places(first.quantities), _places(held[0]))]
    quantities, buys, sells = (sparse.csr_array(each[:, used]) for each in held)
    return Book(
        # The margin of each account on its own is asked for, so that owners do not matter.
        accounts=tuple(replace(account, netting="gross") for account in first.accounts),
        instruments=tuple(first.instruments[at] for at in used),
        quantities=quantities,
        buys=buys,
        sells=sells,
        known=first.known,
        assets=first.assets,
        balances=balances,
        entry_prices=entry_prices,
    )


def _places(matrix: sparse.csr_array) -> NDArray[np.int64]:
    """The place of each entry as one number."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return np.asarray(rows * matrix.shape[1] + matrix.indices)


def _kept(
    matrix: sparse.csr_array,
    other: sparse.csr_array | None,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> sparse.csr_array:
    """Entries of a matrix that another one has too.

    `rows` and `columns` are the places in the first matrix of the other's rows and columns, and -1
    for those that the first matrix does not have.
    """
    if other is None:
        return sparse.csr_array(matrix.shape)
    entries = sparse.coo_array(other)
    row, column = rows[entries.coords[0]], columns[entries.coords[1]]
    both = (row >= 0) & (column >= 0)
    ones = (np.ones(int(both.sum())), (row[both], column[both]))
    kept = sparse.csr_array(matrix.multiply(sparse.csr_array(ones, shape=matrix.shape)))
    kept.eliminate_zeros()
    kept.sort_indices()
    return kept

"""Unrealised profit and loss: what positions have gained since they were entered.

In: a book with entry prices, and a market. Out: amounts by account and asset. A linear contract
gains an amount of its currency. An inverse contract gains an amount of a coin, and this amount
moves with the coin until it is settled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcmargin.books.book import Book
from mcmargin.instruments.instruments import Future, Perpetual
from mcmargin.markets.market import Market


@dataclass(frozen=True, eq=False)
class Unrealised:
    """Amounts gained since entry, one for each position that has an entry price.

    Attributes
    ----------
    rows : ndarray of shape (positions,), int64
        Place of each position's account in the book.
    assets : tuple of str
        Currencies and coins, sorted.
    asset : ndarray of shape (positions,), int64
        Place of each amount's asset in `assets`.
    amounts : ndarray of shape (positions,), float64
        Units of the asset; a gain is positive.
    """

    rows: NDArray[np.int64]
    assets: tuple[str, ...]
    asset: NDArray[np.int64]
    amounts: NDArray[np.float64]

    def by_account(self, accounts: int, market: Market) -> NDArray[np.float64]:
        """Sum of each account, in the market's currency; float64 [accounts]."""
        prices = np.array([market.worth(name) for name in self.assets], float)
        return np.bincount(self.rows, self.amounts * prices[self.asset], accounts).astype(float)


def without_entry_price(book: Book) -> NDArray[np.int64]:
    """Number of positions in perpetuals and futures without an entry price; int64 [accounts].

    Equity does not contain the profit or loss of these positions.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = {"account": ["x", "x"], "instrument": ["P", "Q"], "quantity": [2.0, 1.0]}
    >>> items = [Perpetual("P", "btc"), Perpetual("Q", "btc")]
    >>> frame = pd.DataFrame(rows).assign(entry_price=[80.0, np.nan])
    >>> without_entry_price(Book.from_frame(frame, instruments=items)).tolist()
    [1]
    """
    contracts = np.array([isinstance(item, (Perpetual, Future)) for item in book.instruments], bool)
    lacking = contracts[book.quantities.indices] & (book.quantities.data != 0.0)
    if book.entry_prices is not None:
        lacking &= ~np.isfinite(book.entry_prices)
    rows = np.repeat(np.arange(len(book.accounts)), np.diff(book.quantities.indptr))
    return np.bincount(rows[lacking], minlength=len(book.accounts)).astype(np.int64)


def unrealised_of(book: Book, market: Market) -> Unrealised:
    """Gains of perpetuals and futures since their entry prices.

    With a contract of size c, entered at a price E and now at P, a linear contract has gained
    c (P - E) of its currency, and an inverse contract c (1/E - 1/P) coins.

    Raises
    ------
    DataError
        If the market has no price for a perpetual or a future.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = {"account": ["x"], "instrument": ["P"], "quantity": [2.0], "entry_price": [80.0]}
    >>> inverse = Perpetual("P", "btc", inverse=True, contract_size=1000.0)
    >>> book = Book.from_frame(pd.DataFrame(rows), instruments=[inverse])
    >>> market = Market(as_of=np.datetime64("2021-01-04"), spot={"btc": 100.0})
    >>> gained = unrealised_of(book, market)
    >>> gained.assets, gained.amounts.tolist(), gained.by_account(1, market).tolist()
    (('btc',), [5.0], [500.0])
    """
    contracts = [isinstance(item, (Perpetual, Future)) for item in book.instruments]
    if book.entry_prices is None or not any(contracts):
        nothing = np.zeros(0, np.int64)
        return Unrealised(nothing, (), nothing, np.zeros(0))
    paid, size, price = [], np.zeros(len(contracts)), np.ones(len(contracts))
    inverse = np.zeros(len(contracts), bool)
    for at, item in enumerate(book.instruments):
        if isinstance(item, (Perpetual, Future)):
            size[at], price[at], inverse[at] = item.contract_size, item.price(market), item.inverse
            paid.append(item.underlying if item.inverse else item.currency)
        else:
            paid.append("")
    assets = tuple(sorted({name for name in paid if name}))
    place = np.array([assets.index(name) if name else -1 for name in paid], np.int64)
    columns, entry = book.quantities.indices, book.entry_prices
    known = np.isfinite(entry) & (place[columns] >= 0)
    column, entry = columns[known], entry[known]
    moved = price[column] - entry
    moved = np.where(inverse[column], moved / (entry * price[column]), moved)
    rows = np.repeat(np.arange(len(book.accounts)), np.diff(book.quantities.indptr))[known]
    amounts = book.quantities.data[known] * size[column] * moved
    return Unrealised(rows, assets, place[column], amounts)

"""A book resolved: checked against a model and a market, and brought into what all stages use.

In: a book, a model, a market and a policy. Out: a `ResolvedBook`. It is made once, where a book
enters; what values, margins or stresses a book takes it, and asks nothing of the book again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.admission import check_balances, check_book, check_market
from mcmargin.books.book import Book
from mcmargin.books.collateral import (
    PostedBalances,
    balance_of,
    moving_balances,
    posted_balances,
)
from mcmargin.books.units import Units, units_of
from mcmargin.books.unrealised import unrealised_of
from mcmargin.instruments.instruments import Balance, Instrument
from mcmargin.markets.market import Market
from mcmargin.models.model import MarketModel
from mcmargin.policies.policy import MarginPolicy

Matrices: TypeAlias = tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]
"""Quantities, buys and sells; each [accounts, instruments]."""


@dataclass(frozen=True, eq=False)
class ResolvedBook:
    """What is valued, and how much of it each account and margin unit has.

    Attributes
    ----------
    book : Book
    market : Market
    collateral_mode : str
        How balances count: `joint` or `haircut`; see `mcmargin.books.collateral`.
    instruments : tuple of Instrument
        Those of the book, then one `Balance` for each asset whose balances move with the positions.
    quantities, buys, sells : scipy.sparse.csr_array of shape (accounts, instruments), float64
        Positions and moving balances, and open orders; as those of the book, in more columns.
    units : Units
        What is margined as one.
    posted : PostedBalances
        Every balance, whether it moves or not.
    unrealised : ndarray of shape (accounts,), float64
        Profit and loss of perpetuals and futures since their entry prices, in the currency of each
        account.
    """

    book: Book
    market: Market
    collateral_mode: str
    instruments: tuple[Instrument, ...]
    quantities: sparse.csr_array
    buys: sparse.csr_array
    sells: sparse.csr_array
    units: Units
    posted: PostedBalances
    unrealised: NDArray[np.float64]

    def after_trades(self, row: int, trades: Mapping[str, float]) -> ResolvedBook:
        """One account after trades, alone: without other accounts, and without netting.

        An account whose currency is a coin, and whose balances count jointly, pays for what it buys
        in that coin. Where the instruments of this book suffice, the result has the same tuple of
        instruments. Else it has those that the account touches after the trades, which must be
        checked and valued.

        Parameters
        ----------
        row : int
            Place of the account in the book.
        trades : mapping of str to float
            Units of instruments by name, all of them known to the book; negative is a sale.

        Returns
        -------
        ResolvedBook
            Its balances and unrealised profit and loss are those from before the trades. Its book
            has neither balances nor entry prices.
        """
        book, instruments = self.book, self.instruments
        account = replace(book.accounts[row], netting="gross")
        lines = [_line(matrix, row) for matrix in (self.quantities, self.buys, self.sells)]
        paid = self._paid_in_coin(row, trades)
        places = {item.name: at for at, item in enumerate(book.instruments)}
        moving = instruments[len(places) :]
        coins = tuple(coin for coin in paid if coin not in moving)
        if coins or not places.keys() >= trades.keys():
            touched = np.flatnonzero(np.any(lines, axis=0)[: len(places)])
            names = sorted({*trades, *(instruments[at].name for at in touched)})
            # The last place is that of a zero, for what the account does not have yet.
            columns = [places.get(name, -1) for name in names]
            columns += [*range(len(places), len(instruments)), *(-1 for _ in coins)]
            lines = [np.append(line, 0.0)[columns] for line in lines]
            places = {name: at for at, name in enumerate(names)}
            moving += coins
            instruments = (*(book.known[name] for name in names), *moving)
        for name, size in trades.items():
            lines[0][places[name]] += size
        for coin, amount in paid.items():
            lines[0][len(places) + moving.index(coin)] -= amount
        matrices = _matrices(lines)
        positions = _matrices([line[: len(places)] for line in lines]) if moving else matrices
        return ResolvedBook(
            Book((account,), instruments[: len(places)], *positions, book.known),
            self.market,
            self.collateral_mode,
            instruments,
            *matrices,
            units=units_of((account,), *matrices),
            posted=self.posted.of(row),
            unrealised=self.unrealised[[row]],
        )

    def cost(self, row: int, trades: Mapping[str, float]) -> float:
        """Value today of what an account buys, in its currency; negative of what it sells."""
        market, known = self.market, self.book.known
        worth = sum(
            size * known[name].value(market) * market.worth(known[name].currency)
            for name, size in trades.items()
        )
        return worth / market.worth(self.book.accounts[row].currency)

    def _paid_in_coin(self, row: int, trades: Mapping[str, float]) -> dict[Balance, float]:
        """The coin that an account pays for trades with, and how much of it; empty for none."""
        code = self.book.accounts[row].currency
        given = self.book.balances is not None
        if code not in self.market.coins or not given or self.collateral_mode != "joint":
            return {}
        cost = self.cost(row, trades)
        return {balance_of(code, self.market): cost} if cost else {}


def resolve(book: Book, model: MarketModel, market: Market, policy: MarginPolicy) -> ResolvedBook:
    """Check a book, and bring it into the form that every later stage takes.

    Raises
    ------
    DataError
        For a book or balances that the model or the market cannot value, and for a market that does
        not belong to the model; see `mcmargin.books.admission`.

    Examples
    --------
    >>> from mcmargin.demo import demo_book, demo_model
    >>> model = demo_model()
    >>> prices = dict(zip(model.assets, model.state.prices.tolist(), strict=True))
    >>> market = Market(as_of=model.as_of, spot=prices)
    >>> resolved = resolve(demo_book(), model, market, MarginPolicy())
    >>> [item.name for item in resolved.instruments], resolved.units.quantities.shape
    (['nasdaq', 'sp500', 'wti'], (4, 3))
    """
    check_book(book, model, market)
    posted = posted_balances(book)
    check_balances(posted, book.accounts, model, market)
    check_market(book, model, market, policy)
    gained = unrealised_of(book, market)
    mode = "joint" if policy.collateral is None else policy.collateral.mode
    moving: tuple[Balance, ...] = ()
    matrices = (book.quantities, book.buys, book.sells)
    if mode == "joint":
        moving, amounts = moving_balances(book, posted, gained, market)
        if moving:
            matrices = _with_balances(book, amounts)
    rates = np.array([market.worth(account.currency) for account in book.accounts])
    return ResolvedBook(
        book,
        market,
        mode,
        (*book.instruments, *moving),
        *matrices,
        units=units_of(book.accounts, *matrices),
        posted=posted,
        unrealised=gained.by_account(len(book.accounts), market) / rates,
    )


def _with_balances(book: Book, amounts: sparse.csr_array) -> Matrices:
    """Positions with balances in columns after them, and orders with empty ones."""
    quantities = sparse.csr_array(sparse.hstack([book.quantities, amounts], format="csr"))
    quantities.sort_indices()
    buys, sells = (
        sparse.csr_array((each.data, each.indices, each.indptr), shape=quantities.shape)
        for each in (book.buys, book.sells)
    )
    return quantities, buys, sells


def _line(matrix: sparse.csr_array, row: int) -> NDArray[np.float64]:
    """A row of a matrix, with its zeros."""
    line = np.zeros(matrix.shape[1])
    entries = slice(matrix.indptr[row], matrix.indptr[row + 1])
    line[matrix.indices[entries]] = matrix.data[entries]
    return line


def _matrices(lines: Sequence[NDArray[np.float64]]) -> Matrices:
    """Quantities, buys and sells of one account as matrices of one row, without their zeros."""
    columns = [np.flatnonzero(line) for line in lines]
    quantities, buys, sells = (
        sparse.csr_array((line[used], used, np.array([0, len(used)])), shape=(1, len(line)))
        for line, used in zip(lines, columns, strict=True)
    )
    return quantities, buys, sells

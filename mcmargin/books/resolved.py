"""A resolved book: a book that was checked, in the form that all stages use.

In: a book, a model, a market and a policy. Out: a `ResolvedBook`. `margin` and `stress` make it
once, where a book enters. Whatever values the book, margins it or stresses it takes this form, and
works nothing of it out again.
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
    """What is to be valued, and how much of it each account and each margin unit has.

    Attributes
    ----------
    book : Book
    market : Market
    collateral_mode : str
        How balances count: `joint` or `haircut`; see `mcmargin.books.collateral`.
    instruments : tuple of Instrument
        The instruments of the book, and then a `Balance` for each asset whose balances move with
        the positions.
    quantities : scipy.sparse.csr_array of shape (accounts, instruments), float64
        Positions, and balances that move.
    buys, sells : scipy.sparse.csr_array of shape (accounts, instruments), float64
        Open orders, with empty columns for the balances; sells are negative.
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
        """A book of one account after trades. The account is not netted with others.

        If the currency of the account is a coin, and balances count jointly, the account pays for
        what it buys in that coin. If the instruments of this book suffice, the result has the same
        tuple of instruments. If not, it has those of the account after the trades, and the caller
        must check and value them.

        Parameters
        ----------
        row : int
            Place of the account in the book.
        trades : mapping of str to float
            Units of instruments by name, all of them known to the book; negative is a sale.

        Returns
        -------
        ResolvedBook
            Posted balances and unrealised profit and loss are those before the trades. Its book has
            no balances and no entry prices.
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
            # Column -1 is a zero that is appended, for what the account does not have yet.
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
        """Value today of what trades buy, in the account's currency; negative if they sell."""
        market, known = self.market, self.book.known
        worth = sum(
            size * known[name].value(market) * market.worth(known[name].currency)
            for name, size in trades.items()
        )
        return worth / market.worth(self.book.accounts[row].currency)

    def _paid_in_coin(self, row: int, trades: Mapping[str, float]) -> dict[Balance, float]:
        """The coin that an account pays with, and how much of it; empty if no coin is paid."""
        code = self.book.accounts[row].currency
        given = self.book.balances is not None
        if code not in self.market.coins or not given or self.collateral_mode != "joint":
            return {}
        cost = self.cost(row, trades)
        return {balance_of(code, self.market): cost} if cost else {}


def resolve(book: Book, model: MarketModel, market: Market, policy: MarginPolicy) -> ResolvedBook:
    """Check a book, and bring it into the form that every later stage takes.

    Parameters
    ----------
    book : Book
    model : MarketModel
    market : Market
    policy : MarginPolicy
        It says how balances count, and how old the state of the model may be.

    Returns
    -------
    ResolvedBook

    Raises
    ------
    DataError
        If the model or the market cannot value a position, an order or a balance, and if the market
        does not belong to the model; see `mcmargin.books.admission`.

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
    if mode == "joint" and book.balances is not None:
        moving, amounts = moving_balances(book.accounts, posted, gained, market)
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

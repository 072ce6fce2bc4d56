"""Book: the positions, open orders and balances of all accounts.

In: files or frames with a row for each position, order and balance; the instruments; and the
accounts, where they have owners or are margined in a way of their own. Out: a `Book`, which holds
sparse matrices of accounts and instruments. Accounts and instruments are sorted by name, so that
the order of the rows changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.audit import fingerprint as digest
from mcmargin.books.accounts import Account, check_owners
from mcmargin.books.rows import BalanceRow, OrderRow, PositionRow, Rows
from mcmargin.checks import few, require_type
from mcmargin.data.tables import read_table
from mcmargin.errors import DataError
from mcmargin.instruments.instruments import Future, Instrument, Option, Perpetual, Spot

Named = TypeVar("Named", Account, Instrument)
"""An account or an instrument."""


@dataclass(frozen=True, eq=False, repr=False)
class Book:
    """Positions and open orders of all accounts.

    Attributes
    ----------
    accounts : tuple of Account
        Sorted by name.
    instruments : tuple of Instrument
        Instruments that some account holds or has ordered, sorted by name.
    quantities : scipy.sparse.csr_array of shape (accounts, instruments), float64
        Units of the instrument; negative is short.
    buys, sells : scipy.sparse.csr_array of shape (accounts, instruments), float64
        Units in open orders, added up by side; sells are negative.
    known : mapping of str to Instrument
        All instruments that were given, by name. A what-if may trade any of them.
    assets : tuple of str
        Currencies and assets of the balances, sorted.
    balances : scipy.sparse.csr_array of shape (accounts, assets), float64, optional
        Collateral in units of each asset; negative is a debit. None if no balances were given.
    entry_prices : ndarray of shape (positions,), float64, optional
        One for each position, in the order of `quantities.data`; NaN for a position without one.
        None if no entry prices were given.
    """

    accounts: tuple[Account, ...]
    instruments: tuple[Instrument, ...]
    quantities: sparse.csr_array
    buys: sparse.csr_array
    sells: sparse.csr_array
    known: Mapping[str, Instrument]
    assets: tuple[str, ...] = ()
    balances: sparse.csr_array | None = None
    entry_prices: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        balances = 0 if self.balances is None else self.balances.nnz
        return (
            f"<Book of {few(account.name for account in self.accounts)}: "
            f"{len(self.instruments):,} instruments, {self.quantities.nnz:,} positions, "
            f"{self.buys.nnz + self.sells.nnz:,} open orders, {balances:,} balances>"
        )

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        instruments: Sequence[Instrument] | None = None,
        accounts: Sequence[Account] | None = None,
        orders: pd.DataFrame | None = None,
        balances: pd.DataFrame | None = None,
        currency: str = "USD",
        source: str = "frame",
    ) -> Book:
        """Make a book from frames, and check every row.

        Parameters
        ----------
        frame : DataFrame
            Positions, in the columns account, instrument and quantity. A column entry_price may
            follow: the price at which a perpetual or a future was entered, in its quote currency,
            above 0, and empty if it is not known.
        instruments : sequence of Instrument, optional
            If they are not given, each name in the frame is the spot of the asset of that name.
        accounts : sequence of Account, optional
            If they are given, every account in the frames must be one of them. If not, each is a
            cross account that is its own owner.
        orders : DataFrame, optional
            Open orders, in the columns account, instrument and quantity. An account may have
            several orders in one instrument.
        balances : DataFrame, optional
            Collateral, in the columns account, asset and amount. An asset is a currency or an asset
            of the model. A debit in cash is negative. A borrowed asset is a short position.
        currency : str
            Currency of accounts and instruments, if these are not given.
        source : str
            What errors call the frame.

        Raises
        ------
        DataError
            If a column is missing or unknown; if there are no rows; if an instrument or account is
            unknown; if a quantity is not finite or beyond 1e15; if an entry price is not above 0;
            and if an account has two positions in one instrument, or two balances of one asset.

        Examples
        --------
        >>> rows = {"account": ["a", "a"], "instrument": ["btc", "eth"], "quantity": [1, -10]}
        >>> Book.from_frame(pd.DataFrame(rows)).quantities.toarray()
        array([[  1., -10.]])
        """
        for name, rows_of in ((source, frame), ("orders", orders), ("balances", balances)):
            if rows_of is not None:
                require_type(name, rows_of, pd.DataFrame)
        return cls._of(
            frame,
            orders,
            balances,
            instruments=instruments,
            accounts=accounts,
            currency=currency,
            sources=(source, f"{source}, orders", f"{source}, balances"),
        )

    @classmethod
    def _of(
        cls,
        frame: pd.DataFrame,
        orders: pd.DataFrame | None,
        balances: pd.DataFrame | None,
        *,
        instruments: Sequence[Instrument] | None,
        accounts: Sequence[Account] | None,
        currency: str,
        sources: tuple[str, str, str],
    ) -> Book:
        """Make a book; errors name the source of positions, orders or balances."""
        source = sources[0]
        instruments = _several(
            "instruments", instruments, "an instrument", Spot, Perpetual, Future, Option
        )
        accounts = _several("accounts", accounts, "an account", Account)
        positions = Rows.of(frame, source, PositionRow)
        ordered = Rows.of(orders, sources[1], OrderRow)
        posted = Rows.of(balances, sources[2], BalanceRow)
        if not any(len(rows.names) for rows in (positions, ordered, posted)):
            raise DataError(f"{source}: no positions")
        for rows in (positions, posted):
            rows.refuse_repeats()
        known = None
        if instruments is not None:
            known = _by_name(instruments, f"{source}: an instrument's name")
            for rows in (positions, ordered):
                rows.refuse_unknown_names(known)
        owned = _accounts(positions, ordered, posted, accounts, currency)
        names = [account.name for account in owned]
        # Who has a position of 0 has an account, and does not hold the instrument.
        held, given = positions.quantities != 0, posted.quantities != 0
        used = sorted({*positions.names[held], *ordered.names})
        assets = sorted({*posted.names[given]})
        items = {name: Spot(name, name, currency) for name in used} if known is None else known
        prices, amounts = positions.entry_prices, None
        if balances is not None:
            amounts = posted.matrix(posted.quantities, given, names, assets)
        if prices is not None:
            prices = positions.matrix(prices, held, names, used).data
        return cls(
            accounts=owned,
            instruments=tuple(items[name] for name in used),
            quantities=positions.matrix(positions.quantities, held, names, used),
            buys=ordered.matrix(ordered.quantities, ordered.quantities > 0, names, used),
            sells=ordered.matrix(ordered.quantities, ordered.quantities < 0, names, used),
            known=items,
            assets=tuple(assets),
            balances=amounts,
            entry_prices=prices,
        )

    def to_frame(self) -> pd.DataFrame:
        """Return positions as rows of account, instrument and quantity, sorted.

        If entry prices were given, they are a column, too.
        """
        positions = sparse.coo_array(self.quantities)
        rows, columns = positions.coords
        frame = pd.DataFrame(
            {
                "account": [self.accounts[row].name for row in rows],
                "instrument": [self.instruments[column].name for column in columns],
                "quantity": positions.data,
            }
        )
        return frame if self.entry_prices is None else frame.assign(entry_price=self.entry_prices)

    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of accounts, instruments, positions, orders and balances."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        matrices = [self.quantities, *(m for m in (self.buys, self.sells) if m.nnz)]
        # A book without balances or entry prices keeps the fingerprint it had before these existed.
        more: list[Any] = []
        if self.balances is not None:
            more += ["balances", self.assets, *_arrays(self.balances)]
        if self.entry_prices is not None:
            more += ["entry prices", self.entry_prices]
        return digest(
            tuple(astuple(account) for account in self.accounts),
            tuple(_plain(instrument) for instrument in self.instruments),
            *(part for matrix in matrices for part in _arrays(matrix)),
            *more,
        )


def _arrays(matrix: sparse.csr_array) -> tuple[NDArray[Any], ...]:
    """Arrays of a sparse matrix, with the same types on every machine."""
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data


def _plain(instrument: Any) -> tuple[Any, ...]:
    """Fields of an instrument, in types that can be fingerprinted."""
    content: list[Any] = [type(instrument).__name__]
    for value in vars(instrument).values():
        if isinstance(value, np.datetime64):
            value = str(value)
        content.append(_plain(value) if hasattr(value, "underlying") else value)
    return tuple(content)


def read_positions(
    path: str | os.PathLike[str],
    *,
    instruments: Sequence[Instrument] | None = None,
    accounts: Sequence[Account] | None = None,
    orders: str | os.PathLike[str] | None = None,
    balances: str | os.PathLike[str] | None = None,
    currency: str = "USD",
) -> Book:
    r"""Read positions, open orders and balances from CSV or Parquet.

    docs/files.md describes the columns. `Book.from_frame` describes the other arguments, and what
    is refused.

    Parameters
    ----------
    path : path
        File of positions.
    instruments : sequence of Instrument, optional
    accounts : sequence of Account, optional
    orders, balances : path, optional
    currency : str

    Returns
    -------
    Book

    Raises
    ------
    DataError
        If a file cannot be read, or a row is refused. The error names the file and the row.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "positions.csv"
    ...     _ = path.write_text("account,instrument,quantity\ndesk,btc,1\ndesk,eth,-10\n")
    ...     read_positions(path).to_frame()
      account instrument  quantity
    0    desk        btc       1.0
    1    desk        eth     -10.0
    """
    return Book._of(
        read_table(path),
        None if orders is None else read_table(orders),
        None if balances is None else read_table(balances),
        instruments=instruments,
        accounts=accounts,
        currency=currency,
        sources=(str(path), str(orders), str(balances)),
    )


def _several(name: str, given: Any, one: str, *kinds: type) -> tuple[Any, ...] | None:
    """Several values of some types, from any iterable; None where none were given."""
    if given is None:
        return None
    try:
        several = tuple(given)
    except TypeError:
        raise DataError(f"{name} must be several, in a list, not {type(given).__name__}") from None
    for each in several:
        require_type(one, each, *kinds)
    return several


def _by_name(items: Sequence[Named], what: str) -> dict[str, Named]:
    """Accounts or instruments by their names, which must differ."""
    found = {item.name: item for item in items}
    if len(found) < len(items):
        raise DataError(f"{what} is given twice; give each once")
    return found


def _accounts(
    positions: Rows,
    orders: Rows,
    balances: Rows,
    accounts: Sequence[Account] | None,
    currency: str,
) -> tuple[Account, ...]:
    """Accounts that have a position, an order or a balance, sorted by name."""
    traders = {*positions.accounts, *orders.accounts}
    names = sorted({*traders, *balances.accounts})
    if accounts is None:
        # If the name is misspelt, the balance would not count for the account that it belongs to.
        hint = "it has no position or order: add it to the accounts, or correct the name"
        balances.refuse_unknown_accounts(traders, hint)
        found = tuple(Account(name, currency) for name in names)
    else:
        given = _by_name(accounts, f"{positions.source}: an account")
        for rows in (positions, orders, balances):
            rows.refuse_unknown_accounts(given)
        found = tuple(given[name] for name in names)
    check_owners(found)
    return found

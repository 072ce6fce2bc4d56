"""Book: accounts, instruments, and the sparse matrices of positions and open orders between them.

In: rows of account, instrument and quantity, the instruments, and, where there is more to say of
them, the accounts and their balances. Out: a `Book` in a canonical order, so that the order of the
rows changes nothing.
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
        Those held or ordered, sorted by name.
    quantities : scipy.sparse.csr_array of shape (accounts, instruments), float64
        Units of the instrument; negative is short.
    buys, sells : scipy.sparse.csr_array of shape (accounts, instruments), float64
        Open orders, added up by side; sells are negative.
    known : mapping of str to Instrument
        All instruments that were given, by name, for what-ifs.
    assets : tuple of str
        Currencies and assets that accounts have balances of, sorted.
    balances : scipy.sparse.csr_array of shape (accounts, assets), float64, optional
        Collateral in units of each asset; negative is a debit. None where none were given.
    entry_prices : ndarray, float64, optional
        Of each position, in the order of `quantities.data`; NaN where none was given, None where
        none were.
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
        """Check and order positions.

        Parameters
        ----------
        frame : DataFrame
            Columns account, instrument, quantity, and entry_price where that is known: of a
            perpetual or a future, in its quote currency, above 0, empty for none. Nothing else.
        instruments : sequence of Instrument, optional
            Without them each name is the spot of the asset of that name.
        accounts : sequence of Account, optional
            Every account of the positions; without them each is a cross account of its own.
        orders : DataFrame, optional
            Open orders, in the columns account, instrument, quantity; a pair may have several.
        balances : DataFrame, optional
            Collateral, in columns account, asset, amount; an asset is a currency or one of the
            model's. A debit in cash is negative; a borrowed asset is a short position.
        currency : str
            Of accounts and instruments that are not given.
        source : str
            Named in errors.

        Raises
        ------
        DataError
            For columns missing or unknown, no row, an instrument or account that is unknown, a
            quantity that is not finite or beyond 1e15, a pair of account and instrument, or of
            account and asset, given twice, and an entry price that is not above 0.

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
        """Check and order rows, whose errors name the source of positions, orders or balances."""
        source = sources[0]
        instruments = _several(
            "instruments", instruments, "an instrument", Spot, Perpetual, Future, Option
        )
        accounts = _several("accounts", accounts, "an account", Account)
        positions = Rows.of(frame, source, PositionRow)
        positions.refuse_repeats()
        none = pd.DataFrame(columns=["account", "instrument", "quantity"])
        ordered = Rows.of(none if orders is None else orders, sources[1], OrderRow)
        posted = None
        if balances is not None:
            posted = Rows.of(balances, sources[2], BalanceRow)
            posted.refuse_repeats()
        if not any(rows is not None and len(rows.names) for rows in (positions, ordered, posted)):
            raise DataError(f"{source}: no positions")
        known = None
        if instruments is not None:
            known = _by_name(instruments, f"{source}: an instrument's name")
            for rows in (positions, ordered):
                rows.refuse_unknown_names(known)
        owned = _accounts(positions, ordered, posted, accounts, currency)
        names = [account.name for account in owned]
        # A position of 0 is none: the account stays, the instrument is not held.
        held = positions.quantities != 0
        used = sorted({*positions.names[held], *ordered.names})
        items = {name: Spot(name, name, currency) for name in used} if known is None else known
        prices, assets, amounts = positions.entry_prices, (), None
        if posted is not None:
            given = posted.quantities != 0
            assets = tuple(sorted({*posted.names[given]}))
            amounts = posted.matrix(posted.quantities, given, names, assets)
        return cls(
            accounts=owned,
            instruments=tuple(items[name] for name in used),
            quantities=positions.matrix(positions.quantities, held, names, used),
            buys=ordered.matrix(ordered.quantities, ordered.quantities > 0, names, used),
            sells=ordered.matrix(ordered.quantities, ordered.quantities < 0, names, used),
            known=items,
            assets=assets,
            balances=amounts,
            entry_prices=None
            if prices is None
            else positions.matrix(prices, held, names, used).data,
        )

    def to_frame(self) -> pd.DataFrame:
        """Return positions as rows of account, instrument and quantity, sorted.

        With a column of entry prices where they were given.
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
        # What is not given leaves no trace.
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
    """Arrays of a sparse matrix, of the same types on every machine."""
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data


def _plain(instrument: Any) -> tuple[Any, ...]:
    """Fields of an instrument in types that a fingerprint takes."""
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
    r"""Read positions, open orders and balances from CSV or Parquet; see `Book.from_frame`.

    The columns are in docs/files.md.

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
    balances: Rows | None,
    accounts: Sequence[Account] | None,
    currency: str,
) -> tuple[Account, ...]:
    """Accounts that have a position, an order or a balance, sorted by name."""
    all_rows = [rows for rows in (positions, orders, balances) if rows is not None]
    names = sorted(set().union(*(rows.accounts for rows in all_rows)))
    if accounts is None:
        if balances is not None:
            # A misspelt account would have the balance, and the right one none.
            hint = "it has no position or order: add it to the accounts, or correct the name"
            balances.refuse_unknown_accounts({*positions.accounts, *orders.accounts}, hint)
        found = tuple(Account(name, currency) for name in names)
    else:
        given = _by_name(accounts, f"{positions.source}: an account")
        for rows in all_rows:
            rows.refuse_unknown_accounts(given)
        found = tuple(given[name] for name in names)
    check_owners(found)
    return found

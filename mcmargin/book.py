"""Book: accounts, instruments, and the sparse matrices of positions and open orders between them.

In: rows of account, instrument and quantity, the instruments, and, where there is more to say of
them, the accounts. Out: a `Book` in a canonical order, so that the order of the rows changes
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.audit import fingerprint as digest
from mcmargin.errors import DataError
from mcmargin.instruments import Instrument, Spot
from mcmargin.tables import parse_number

COLUMNS = ("account", "instrument", "quantity")
MODES = ("cross", "isolated")
NETTINGS = ("gross", "net")

LARGEST_QUANTITY = 1e15
"""Beyond it the cents of a position are lost in float64."""


@dataclass(frozen=True)
class Account:
    """An account, and how it is margined.

    Attributes
    ----------
    name : str
    currency : str
        That its margin is asked in.
    owner : str
        Of several sub-accounts; the account itself where none is given.
    mode : str
        `cross`: its positions cover one another; `isolated`: each is margined alone.
    netting : str
        Of the owner: `gross` adds up its accounts' margins, `net` margins all of their positions
        as one.
    """

    name: str
    currency: str = "USD"
    owner: str = ""
    mode: str = "cross"
    netting: str = "gross"

    def __post_init__(self) -> None:
        for name, allowed in (("mode", MODES), ("netting", NETTINGS)):
            if getattr(self, name) not in allowed:
                raise DataError(
                    f"account {self.name!r}: {name} {getattr(self, name)!r} is unknown; give one "
                    f"of {allowed}"
                )
        object.__setattr__(self, "owner", self.owner or self.name)
        if self.mode == "isolated" and self.netting == "net":
            raise DataError(
                f"account {self.name!r}: isolated positions cannot be netted with the owner's "
                "others; make it cross, or its owner's netting gross"
            )


@dataclass(frozen=True, eq=False)
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
    """

    accounts: tuple[Account, ...]
    instruments: tuple[Instrument, ...]
    quantities: sparse.csr_array
    buys: sparse.csr_array
    sells: sparse.csr_array
    known: Mapping[str, Instrument]

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        instruments: Sequence[Instrument] | None = None,
        accounts: Sequence[Account] | None = None,
        orders: pd.DataFrame | None = None,
        currency: str = "USD",
        source: str = "frame",
    ) -> Book:
        """Check and order positions.

        Parameters
        ----------
        frame : DataFrame
            Columns account, instrument, quantity; nothing else.
        instruments : sequence of Instrument, optional
            Without them each name is the spot of the asset of that name.
        accounts : sequence of Account, optional
            Every account of the positions; without them each is a cross account of its own.
        orders : DataFrame, optional
            Open orders, in the positions' columns; a pair may have several.
        currency : str
            Of accounts and instruments that are not given.
        source : str
            Named in errors.

        Raises
        ------
        DataError
            For columns missing or unknown, no row, an instrument or account that is unknown, a
            quantity that is not finite or beyond 1e15, and a pair of account and instrument
            given twice.

        Examples
        --------
        >>> rows = {"account": ["a", "a"], "instrument": ["btc", "eth"], "quantity": [1, -10]}
        >>> Book.from_frame(pd.DataFrame(rows)).quantities.toarray()
        array([[  1., -10.]])
        """
        if len(frame) == 0 and (orders is None or len(orders) == 0):
            raise DataError(f"{source}: no positions")
        held = _Rows.of(frame, source)
        ordered = _Rows.of(frame.iloc[:0] if orders is None else orders, f"{source}, orders")
        held.refuse_repeats()
        known = None if instruments is None else {item.name: item for item in instruments}
        if known is not None:
            if len(known) < len(instruments or ()):
                raise DataError(f"{source}: an instrument's name is given twice; give each once")
            for rows in (held, ordered):
                rows.refuse_unknown("instrument", known)
        names = sorted({*held.account, *ordered.account})
        if accounts is not None:
            given = {account.name: account for account in accounts}
            if len(given) < len(accounts):
                raise DataError(f"{source}: an account is given twice; give each once")
            for rows in (held, ordered):
                rows.refuse_unknown("account", given)
            owned = tuple(given[name] for name in names)
        else:
            owned = tuple(Account(name, currency) for name in names)
        _check_owners(owned)
        # A position of 0 is none: the account stays, the instrument is not held.
        used = sorted({*held.instrument[held.quantity != 0], *ordered.instrument})
        shape = pd.Index(names), pd.Index(used)
        items = {name: Spot(name, name, currency) for name in used} if known is None else known
        return cls(
            accounts=owned,
            instruments=tuple(items[name] for name in used),
            quantities=held.matrix(*shape),
            buys=ordered.matrix(*shape, chosen=ordered.quantity > 0),
            sells=ordered.matrix(*shape, chosen=ordered.quantity < 0),
            known=items,
        )

    def to_frame(self) -> pd.DataFrame:
        """Return positions as rows of account, instrument and quantity, sorted."""
        held = sparse.coo_array(self.quantities)
        rows, columns = held.coords
        return pd.DataFrame(
            {
                "account": [self.accounts[row].name for row in rows],
                "instrument": [self.instruments[column].name for column in columns],
                "quantity": held.data,
            }
        )

    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of accounts, instruments, quantities and open orders."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        matrices = [self.quantities, *(m for m in (self.buys, self.sells) if m.nnz)]
        return digest(
            tuple(astuple(account) for account in self.accounts),
            tuple(_plain(instrument) for instrument in self.instruments),
            *(
                part
                for matrix in matrices
                for part in (
                    matrix.indptr.astype(np.int64),
                    matrix.indices.astype(np.int64),
                    matrix.data,
                )
            ),
        )


@dataclass(frozen=True, eq=False)
class _Rows:
    """Checked columns of a frame of positions or orders."""

    source: str
    account: NDArray[Any]
    instrument: NDArray[Any]
    quantity: NDArray[np.float64]

    @classmethod
    def of(cls, frame: pd.DataFrame, source: str) -> _Rows:
        if sorted(map(str, frame.columns)) != sorted(COLUMNS):
            raise DataError(
                f"{source}: columns {', '.join(map(str, frame.columns))}; "
                f"exactly {', '.join(COLUMNS)} are needed"
            )
        quantity = pd.to_numeric(frame["quantity"], errors="coerce").to_numpy(float, copy=True)
        # What pandas reads, and what a person would, differ for a few: those are read one by one.
        text = np.array([isinstance(cell, str) for cell in frame["quantity"]], bool)
        doubtful = ~np.isfinite(quantity) | text
        for row in np.flatnonzero(doubtful):
            cell = frame["quantity"].iloc[row]
            where = f"{source}: row {row + 2}, column 'quantity'"
            quantity[row] = parse_number(str(cell), where=where)
            if not np.isfinite(quantity[row]):
                empty = pd.isna(cell) or not str(cell).strip()
                what = "empty; give a number" if empty else f"{cell!r} is not finite"
                raise DataError(f"{where}: {what}")
        for row in np.flatnonzero(np.abs(quantity) > LARGEST_QUANTITY)[:1]:
            raise DataError(
                f"{source}: row {row + 2}, column 'quantity': {quantity[row]:g} is beyond "
                f"{LARGEST_QUANTITY:g} units; mend it"
            )
        names = {name: _names(frame[name], name, source) for name in ("account", "instrument")}
        return cls(source, names["account"], names["instrument"], quantity)

    def refuse_repeats(self) -> None:
        pairs = pd.DataFrame({"account": self.account, "instrument": self.instrument})
        for row in np.flatnonzero(pairs.duplicated().to_numpy())[:1]:
            account, name = self.account[row], self.instrument[row]
            first = int(np.argmax((self.account == account) & (self.instrument == name)))
            raise DataError(
                f"{self.source}: row {row + 2} repeats account {account!r} and instrument "
                f"{name!r} of row {first + 2}; give each pair once"
            )

    def refuse_unknown(self, column: str, known: Mapping[str, Any]) -> None:
        names = getattr(self, column)
        for row in np.flatnonzero(~pd.Series(names).isin(list(known)).to_numpy(bool))[:1]:
            raise DataError(
                f"{self.source}: row {row + 2}: {column} {names[row]!r} is unknown; add it or "
                "mend it"
            )

    def matrix(
        self, accounts: pd.Index, instruments: pd.Index, chosen: NDArray[np.bool_] | None = None
    ) -> sparse.csr_array:
        """Quantities that are not 0, added up by account and instrument."""
        chosen = self.quantity != 0 if chosen is None else chosen
        rows = accounts.get_indexer(pd.Index(self.account[chosen]))
        columns = instruments.get_indexer(pd.Index(self.instrument[chosen]))
        matrix = sparse.csr_array(
            (self.quantity[chosen], (rows, columns)), shape=(len(accounts), len(instruments))
        )
        matrix.sum_duplicates()
        matrix.sort_indices()
        return matrix


def _names(column: pd.Series, name: str, source: str) -> NDArray[Any]:
    cells = column.astype(object).to_numpy()
    text = np.array(["" if cell is None or cell != cell else str(cell).strip() for cell in cells])
    for row in np.flatnonzero(text == "")[:1]:
        raise DataError(f"{source}: row {row + 2}, column {name!r}: empty")
    return text.astype(object)


def _check_owners(accounts: tuple[Account, ...]) -> None:
    """An owner's accounts agree on how they are netted, and net ones on their currency."""
    first: dict[str, Account] = {}
    for account in accounts:
        other = first.setdefault(account.owner, account)
        if account.netting != other.netting:
            raise DataError(
                f"owner {account.owner!r}: account {other.name!r} is netted {other.netting!r} and "
                f"{account.name!r} {account.netting!r}; give one way"
            )
        if account.netting == "net" and account.currency != other.currency:
            raise DataError(
                f"owner {account.owner!r}: netted accounts are in one currency, and "
                f"{other.name!r} is in {other.currency}, {account.name!r} in {account.currency}"
            )


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
    currency: str = "USD",
) -> Book:
    """Read positions, and open orders, from CSV or Parquet; see `Book.from_frame`.

    The columns are in docs/files.md.
    """
    from mcmargin.book_files import position_frame

    return Book.from_frame(
        position_frame(path),
        instruments=instruments,
        accounts=accounts,
        orders=None if orders is None else position_frame(orders),
        currency=currency,
        source=str(path),
    )

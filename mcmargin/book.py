"""Book: accounts, instruments and the sparse matrix of positions between them.

In: rows of account, instrument and quantity, and the instruments. Out: a `Book` in a canonical
order, so that the order of the rows changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from mcmargin.audit import fingerprint as digest
from mcmargin.errors import DataError
from mcmargin.instruments import Instrument, Spot
from mcmargin.tables import is_parquet, parse_number, read_cells, read_frame

COLUMNS = ("account", "instrument", "quantity")


@dataclass(frozen=True)
class Account:
    """An account and the currency that its margin is asked in."""

    name: str
    currency: str = "USD"


@dataclass(frozen=True, eq=False)
class Book:
    """Positions of all accounts.

    Attributes
    ----------
    accounts : tuple of Account
        Sorted by name.
    instruments : tuple of Instrument
        Those held, sorted by name.
    quantities : scipy.sparse.csr_array of shape (accounts, instruments), float64
        Units of the instrument; negative is short.
    """

    accounts: tuple[Account, ...]
    instruments: tuple[Instrument, ...]
    quantities: sparse.csr_array

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        instruments: Sequence[Instrument] | None = None,
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
        currency : str
            Of every account.
        source : str
            Named in errors.

        Raises
        ------
        DataError
            For columns missing or unknown, no row, an instrument that is unknown, a quantity
            that is not finite, and a pair of account and instrument given twice.

        Examples
        --------
        >>> rows = {"account": ["a", "a"], "instrument": ["btc", "eth"], "quantity": [1, -10]}
        >>> Book.from_frame(pd.DataFrame(rows)).quantities.toarray()
        array([[  1., -10.]])
        """
        if sorted(map(str, frame.columns)) != sorted(COLUMNS):
            raise DataError(
                f"{source}: columns {', '.join(map(str, frame.columns))}; "
                f"exactly {', '.join(COLUMNS)} are needed"
            )
        if len(frame) == 0:
            raise DataError(f"{source}: no positions")
        known = None if instruments is None else {item.name: item for item in instruments}
        if known is not None and len(known) < len(instruments or ()):
            raise DataError(f"{source}: an instrument's name is given twice; give each once")
        seen: dict[tuple[str, str], tuple[int, float]] = {}
        rows = zip(*(frame[column].tolist() for column in COLUMNS), strict=True)
        for number, (account, name, quantity) in enumerate(rows, 2):
            where = f"{source}: row {number}"
            units = parse_number(str(quantity), where=f"{where}, column 'quantity'")
            if not np.isfinite(units):
                raise DataError(f"{where}, column 'quantity': {quantity!r} is not finite")
            pair = (_name(account, "account", where), _name(name, "instrument", where))
            if pair in seen:
                raise DataError(
                    f"{where} repeats account {pair[0]!r} and instrument {pair[1]!r} of row "
                    f"{seen[pair][0]}; give each pair once"
                )
            if known is not None and pair[1] not in known:
                raise DataError(f"{where}: instrument {pair[1]!r} is unknown; add it or mend it")
            seen[pair] = (number, units)
        accounts = sorted({account for account, _ in seen})
        # A position of 0 is none: the account stays, the instrument is not held.
        held_units = {pair: units for pair, (_, units) in seen.items() if units != 0}
        names = sorted({name for _, name in held_units})
        row_of = {name: row for row, name in enumerate(accounts)}
        column_of = {name: column for column, name in enumerate(names)}
        rows_held = [row_of[account] for account, _ in held_units]
        columns_held = [column_of[name] for _, name in held_units]
        quantities = sparse.csr_array(
            (np.array(list(held_units.values()), float), (rows_held, columns_held)),
            shape=(len(accounts), len(names)),
        )
        quantities.sort_indices()
        held = tuple(Spot(name, name, currency) if known is None else known[name] for name in names)
        return cls(tuple(Account(name, currency) for name in accounts), held, quantities)

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
        """SHA-256, hexadecimal, of accounts, instruments and quantities."""
        return digest(
            tuple((account.name, account.currency) for account in self.accounts),
            tuple(repr(instrument) for instrument in self.instruments),
            self.quantities.indptr.astype(np.int64),
            self.quantities.indices.astype(np.int64),
            self.quantities.data,
        )


def _name(cell: object, column: str, where: str) -> str:
    if cell is None or cell != cell or not str(cell).strip():
        raise DataError(f"{where}, column {column!r}: empty")
    return str(cell).strip()


def read_positions(
    path: str | os.PathLike[str],
    *,
    instruments: Sequence[Instrument] | None = None,
    currency: str = "USD",
) -> Book:
    """Read positions from CSV or Parquet; see `Book.from_frame`."""
    if is_parquet(path):
        frame = read_frame(path)
    else:
        header, rows = read_cells(path)
        frame = pd.DataFrame(rows, columns=header, dtype=object)
    return Book.from_frame(frame, instruments=instruments, currency=currency, source=str(path))

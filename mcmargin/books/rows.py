"""Checked rows of a frame: positions, open orders or balances, by account.

In: a frame with a column of accounts, one of names, and one of numbers. Out: their columns, typed,
or a `DataError` that names the row as an editor counts it, the column, and what to do.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.data.ranges import PRICE, QUANTITY
from mcmargin.data.tables import names_of, numbers_of
from mcmargin.errors import DataError

POSITION_COLUMNS = ("account", "instrument", "quantity")
BALANCE_COLUMNS = ("account", "asset", "amount")
ENTRY_PRICE = "entry_price"


@dataclass(frozen=True, eq=False)
class Rows:
    """Checked columns of a frame.

    Attributes
    ----------
    source : str
        Named in errors.
    named : str
        What the names are: `instrument` or `asset`.
    account, name : ndarray of shape (rows,), of str
    number : ndarray of shape (rows,), float64
        Quantities or amounts.
    entry_price : ndarray of shape (rows,), float64, optional
        NaN for none; None where the frame has no such column.
    """

    source: str
    named: str
    account: NDArray[Any]
    name: NDArray[Any]
    number: NDArray[np.float64]
    entry_price: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls, frame: pd.DataFrame, source: str, columns: tuple[str, str, str], *, entries: bool
    ) -> Rows:
        """Check the columns of a frame; `entries` says whether it may have entry prices."""
        check_columns(list(map(str, frame.columns)), source, columns, entries=entries)
        owner, named, counted = columns
        number = _numbers(frame[counted], counted, source)
        for row in np.flatnonzero(~np.isfinite(number))[:1]:
            cell = frame[counted].iloc[row]
            empty = pd.isna(cell) or not str(cell).strip()
            what = "empty; give a finite number" if empty else f"{cell} is not finite"
            raise DataError(f"{source}: row {row + 2}, column {counted!r}: {what}")
        for row in np.flatnonzero(np.abs(number) > QUANTITY.most)[:1]:
            raise DataError(
                f"{source}: row {row + 2}, column {counted!r}: {number[row]:g} is beyond "
                f"{QUANTITY.most:g} units; correct it"
            )
        prices = None
        if ENTRY_PRICE in frame.columns:
            prices = _numbers(frame[ENTRY_PRICE], ENTRY_PRICE, source)
            bad = (prices < PRICE.least) | (prices > PRICE.most)
            for row in np.flatnonzero(bad)[:1]:
                raise DataError(
                    f"{source}: row {row + 2}, column {ENTRY_PRICE!r}: {prices[row]:g} is no price "
                    f"above 0 {PRICE.words}; leave it empty where none is known"
                )
        accounts, names = (_names(frame[name], name, source) for name in (owner, named))
        return cls(source, named, accounts, names, number, prices)

    def refuse_repeats(self) -> None:
        """Refuse a pair of account and name that is given twice."""
        pairs = pd.DataFrame({"account": self.account, "name": self.name})
        for row in np.flatnonzero(pairs.duplicated().to_numpy())[:1]:
            account, name = self.account[row], self.name[row]
            first = int(np.argmax((self.account == account) & (self.name == name)))
            raise DataError(
                f"{self.source}: row {row + 2} repeats account {account!r} and {self.named} "
                f"{name!r} of row {first + 2}; give each pair once"
            )

    def refuse_unknown_names(self, known: Container[str]) -> None:
        """Refuse an instrument or asset that is not known."""
        self._refuse_unknown(self.named, self.name, known, "add it, or correct the name")

    def refuse_unknown_accounts(
        self, known: Container[str], hint: str = "add it, or correct the name"
    ) -> None:
        """Refuse an account that is not known."""
        self._refuse_unknown("account", self.account, known, hint)

    def _refuse_unknown(
        self, what: str, names: NDArray[Any], known: Container[str], hint: str
    ) -> None:
        # Names are few, and rows many.
        for name in pd.unique(names):
            if name not in known:
                row = int(np.argmax(names == name))
                raise DataError(f"{self.source}: row {row + 2}: {what} {name!r} is unknown; {hint}")

    def matrix(
        self,
        accounts: Sequence[str],
        names: Sequence[str],
        *,
        chosen: NDArray[np.bool_] | None = None,
        numbers: NDArray[np.float64] | None = None,
    ) -> sparse.csr_array:
        """Numbers, or others in their place, that are chosen, or not 0; [accounts, names].

        Several of one account and name are added up.
        """
        chosen = self.number != 0 if chosen is None else chosen
        rows = pd.Index(list(accounts)).get_indexer(pd.Index(self.account[chosen]))
        columns = pd.Index(list(names)).get_indexer(pd.Index(self.name[chosen]))
        data = (self.number if numbers is None else numbers)[chosen]
        matrix = sparse.csr_array((data, (rows, columns)), shape=(len(accounts), len(names)))
        matrix.sum_duplicates()
        matrix.sort_indices()
        return matrix


def check_columns(
    given: Sequence[str], source: str, columns: Sequence[str], *, entries: bool
) -> None:
    """Refuse other columns than those that are needed; an entry price may come with positions."""
    known = {*columns, ENTRY_PRICE} if entries else {*columns}
    if len(set(given)) < len(given) or not set(columns) <= set(given) <= known:
        more = f", and {ENTRY_PRICE} may be given" if entries else ""
        raise DataError(
            f"{source}: columns {', '.join(given)}; exactly {', '.join(columns)} are needed{more}"
        )


def _numbers(column: pd.Series, name: str, source: str) -> NDArray[np.float64]:
    """Numbers of a column; NaN for an empty cell."""
    return numbers_of(column, f"{source}: row {{row}}, column {name!r}")


def _names(column: pd.Series, name: str, source: str) -> NDArray[Any]:
    """Names of a column, of any type of text; whole numbers are names, too."""
    return names_of(column, f"{source}: row {{row}}, column {name!r}")

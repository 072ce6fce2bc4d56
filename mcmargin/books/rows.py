"""Rows of positions, open orders or balances, checked.

In: a frame as a file or a caller gives it: a column of accounts, one of names, one of quantities.
Out: the same columns with their types, or a `DataError` that names the row, as an editor counts it,
the column, and what to do. This is the only check of a book's data. Positions come by the million,
so that whole columns are checked, and no row becomes an object.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.data.ranges import PRICE, QUANTITY
from mcmargin.data.tables import names_of, numbers_of
from mcmargin.errors import DataError


@dataclass(frozen=True)
class OrderRow:
    """An open order; it has the fields of a position, without an entry price."""

    account: str
    instrument: str
    quantity: Annotated[float, QUANTITY]


@dataclass(frozen=True)
class PositionRow(OrderRow):
    """A position.

    Attributes
    ----------
    account : str
        Name of the account.
    instrument : str
        Name of the instrument; without a file of instruments, an asset.
    quantity : float
        Units (contracts). A negative number is a short position, or in orders a sale.
    entry_price : float, optional
        Price at which a perpetual or future was entered, in its currency. It gives the unrealised
        profit and loss in equity; if the cell is empty, none is counted.
    """

    entry_price: Annotated[float, PRICE] | None = None


@dataclass(frozen=True)
class BalanceRow:
    """A balance.

    Attributes
    ----------
    account : str
        Name of the account.
    asset : str
        Currency of the market, or asset of the model.
    amount : float
        Units. A negative number is a debit in cash.
    """

    account: str
    asset: str
    amount: Annotated[float, QUANTITY]


@dataclass(frozen=True, eq=False)
class Rows:
    """Checked columns of a frame.

    Attributes
    ----------
    source : str
        The file or frame, for errors.
    named : str
        What the names are: `instrument` or `asset`.
    accounts, names : ndarray of shape (rows,), of str
    quantities : ndarray of shape (rows,), float64
        Units of the instrument or asset.
    entry_prices : ndarray of shape (rows,), float64, optional
        NaN where a position has none; None where the frame has no such column.
    """

    source: str
    named: str
    accounts: NDArray[Any]
    names: NDArray[Any]
    quantities: NDArray[np.float64]
    entry_prices: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame | None,
        source: str,
        kind: type[OrderRow | PositionRow | BalanceRow],
    ) -> Rows:
        """Check the columns of a frame, whose rows are of a kind; None is a frame without rows."""
        needed = [field.name for field in fields(kind) if field.default is MISSING]
        if frame is None:
            frame = pd.DataFrame(columns=needed)
        _check_columns(list(map(str, frame.columns)), source, kind)
        account, named, quantity = needed
        accounts, names = (
            names_of(frame[name], _place(source, name), empty="empty; give a name")
            for name in (account, named)
        )
        quantities = _quantities(frame[quantity], source)
        prices = _entry_prices(frame["entry_price"], source) if "entry_price" in frame else None
        return cls(source, named, accounts, names, quantities, prices)

    def refuse_repeats(self) -> None:
        """Refuse a pair of account and name that is given twice."""
        pairs = pd.DataFrame({"account": self.accounts, "name": self.names})
        for row in np.flatnonzero(pairs.duplicated().to_numpy())[:1]:
            account, name = self.accounts[row], self.names[row]
            first = int(np.argmax((self.accounts == account) & (self.names == name)))
            raise DataError(
                f"{self.source}: row {row + 2} repeats account {account!r} and {self.named} "
                f"{name!r} of row {first + 2}; give each pair once"
            )

    def refuse_unknown_names(self, known: Container[str]) -> None:
        """Refuse an instrument or asset that is not known."""
        self._refuse_unknown(self.named, self.names, known, "add it, or correct the name")

    def refuse_unknown_accounts(
        self, known: Container[str], hint: str = "add it, or correct the name"
    ) -> None:
        """Refuse an account that is not known."""
        self._refuse_unknown("account", self.accounts, known, hint)

    def _refuse_unknown(
        self, what: str, names: NDArray[Any], known: Container[str], hint: str
    ) -> None:
        # There are few names and many rows.
        for name in pd.unique(names):
            if name not in known:
                row = int(np.argmax(names == name))
                raise DataError(f"{self.source}: row {row + 2}: {what} {name!r} is unknown; {hint}")

    def matrix(
        self,
        values: NDArray[np.float64],
        chosen: NDArray[np.bool_],
        accounts: Sequence[str],
        names: Sequence[str],
    ) -> sparse.csr_array:
        """Values of the chosen rows; [accounts, names].

        Values of one account and name are added up.
        """
        rows = pd.Index(list(accounts)).get_indexer(pd.Index(self.accounts[chosen]))
        columns = pd.Index(list(names)).get_indexer(pd.Index(self.names[chosen]))
        shape = (len(accounts), len(names))
        matrix = sparse.csr_array((values[chosen], (rows, columns)), shape=shape)
        matrix.sum_duplicates()
        matrix.sort_indices()
        return matrix


def _check_columns(
    given: Sequence[str], source: str, kind: type[OrderRow | PositionRow | BalanceRow]
) -> None:
    """Refuse a column that is missing, unknown, or given twice."""
    needed = [field.name for field in fields(kind) if field.default is MISSING]
    others = [field.name for field in fields(kind) if field.default is not MISSING]
    if len(set(given)) < len(given) or not {*needed} <= {*given} <= {*needed, *others}:
        more = "".join(f", and {name} may be given" for name in others)
        raise DataError(
            f"{source}: columns {', '.join(given)}; exactly {', '.join(needed)} are needed{more}"
        )


def _quantities(column: pd.Series, source: str) -> NDArray[np.float64]:
    """Numbers of a column that are all finite and within `QUANTITY`."""
    name = str(column.name)
    quantities = numbers_of(column, _place(source, name))
    for row in np.flatnonzero(~np.isfinite(quantities))[:1]:
        cell = column.iloc[row]
        what = "empty; give a finite number" if _is_empty(cell) else f"{cell} is not finite"
        raise DataError(f"{_place(source, name, row + 2)}: {what}")
    for row in np.flatnonzero(np.abs(quantities) > QUANTITY.most)[:1]:
        raise DataError(
            f"{_place(source, name, row + 2)}: {quantities[row]:g} is beyond {QUANTITY.most:g} "
            "units; correct it"
        )
    return quantities


def _entry_prices(column: pd.Series, source: str) -> NDArray[np.float64]:
    """Prices within `PRICE`, and NaN for an empty cell."""
    name = str(column.name)
    prices = numbers_of(column, _place(source, name))
    missing = np.isnan(prices)
    if missing.any() and column.dtype.kind not in "iuf":
        # Only an empty cell means that there is no price: a text such as `nan` is a fault.
        missing[missing] = [_is_empty(cell) for cell in column[missing]]
    for row in np.flatnonzero(~missing & ~((prices >= PRICE.least) & (prices <= PRICE.most)))[:1]:
        raise DataError(
            f"{_place(source, name, row + 2)}: {prices[row]:g} is not a price {PRICE.words}; leave "
            "the cell empty where no price is known"
        )
    return prices


def _is_empty(cell: Any) -> bool:
    return not cell.strip() if isinstance(cell, str) else bool(pd.isna(cell))


def _place(source: str, column: str, row: int | str = "{row}") -> str:
    """Where a cell stands, for errors; without a row, the reader of the column fills it in."""
    return f"{source}: row {row}, column {column!r}"

"""Files of a book: accounts by row; positions, open orders and balances by column.

In: CSV or Parquet. Out: accounts, or a typed frame that `Book.from_frame` takes; or a `DataError`
that names file, row and column. Positions come by the million, and are validated as columns.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, TypeAlias

import pandas as pd
from pydantic import Field, StringConstraints, ValidationError

from mcmargin.books.accounts import Account, check_owners
from mcmargin.books.rows import (
    BALANCE_COLUMNS,
    ENTRY_PRICE,
    POSITION_COLUMNS,
    check_columns,
)
from mcmargin.data.ranges import PRICE, QUANTITY
from mcmargin.data.tables import names_of, read_records, read_table
from mcmargin.data.validation import CELLS, Number, Row, Text, first_fault
from mcmargin.errors import DataError


class AccountRow(Row):
    """An account."""

    account: Text = Field(description="Name of the account. Each has one row.")
    owner: Text | None = Field(
        None,
        description="Name of the owner, who may have several accounts. If none is given, the "
        "account is its own owner.",
    )
    currency: Text = Field(
        Account.currency, description="Currency in which the account's margin is computed."
    )
    mode: Literal["cross", "isolated"] = Field(
        "cross",
        description='"cross": its positions cover one another; "isolated": each is margined alone.',
    )
    netting: Literal["gross", "net"] = Field(
        "gross",
        description="How the owner's accounts are margined, the same in all of them: "
        '"gross" adds up their margins, "net" margins all of their positions as one.',
    )


Names: TypeAlias = list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]]
Quantities: TypeAlias = list[Annotated[Number, QUANTITY]]


class OrderTable(Row):
    """Open orders, by column."""

    account: Names = Field(description="Name of the account.")
    instrument: Names = Field(
        description="Name of the instrument; without a file of instruments, an asset."
    )
    quantity: Quantities = Field(
        description="Units (contracts). A negative number is a short position, or in orders a sale."
    )


class PositionTable(OrderTable):
    """Positions, by column."""

    entry_price: list[Annotated[Number, PRICE] | None] | None = Field(
        None,
        description="Price at which a perpetual or future was entered, in its currency. It gives "
        "the unrealised profit and loss in equity; if the cell is empty, none is "
        "counted.",
    )


class BalanceTable(Row):
    """Balances, by column."""

    account: Names = Field(description="Name of the account.")
    asset: Names = Field(description="Currency of the market, or asset of the model.")
    amount: Quantities = Field(description="Units. A negative number is a debit in cash.")


def read_accounts(path: str | os.PathLike[str]) -> tuple[Account, ...]:
    r"""Read accounts from CSV or Parquet; the columns are in docs/files.md.

    Parameters
    ----------
    path : path

    Returns
    -------
    tuple of Account
        In the file's order.

    Raises
    ------
    DataError
        For a column or value that is unknown or missing, an account given twice, and accounts of
        an owner that are netted in two ways.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "accounts.csv"
    ...     _ = path.write_text("account,owner,currency\nhedge,fund,EUR\n")
    ...     read_accounts(path)
    (Account(name='hedge', currency='EUR', owner='fund', mode='cross', netting='gross'),)
    """
    columns, records = read_records(path)
    known = list(AccountRow.model_fields)
    for name in columns:
        if name not in known:
            raise DataError(
                f"{path}: row 1: column {name!r} is unknown; known are {', '.join(known)}"
            )
    accounts: dict[str, tuple[int, Account]] = {}
    for number, record in enumerate(records, 2):
        try:
            row = AccountRow.model_validate(record, context=CELLS)
        except ValidationError as error:
            place, _, words = first_fault(error)
            raise DataError(f"{path}: row {number}, column {place[0]!r}: {words}") from None
        if row.account in accounts:
            raise DataError(
                f"{path}: row {number}, column 'account': {row.account!r} repeats row "
                f"{accounts[row.account][0]}; give each account once"
            )
        fields = row.model_dump(exclude_unset=True, exclude={"account"})
        try:
            accounts[row.account] = number, Account(row.account, **fields)
        except DataError as error:
            raise DataError(f"{path}: row {number}: {error}") from None
    if not accounts:
        raise DataError(f"{path}: no accounts; give at least one")
    found = tuple(account for _, account in accounts.values())
    try:
        check_owners(found)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return found


def position_frame(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read positions from CSV or Parquet, typed: text, text, float64, and float64 entry prices.

    Raises
    ------
    DataError
        For columns other than account, instrument, quantity and entry_price, and a cell that is
        empty or no number of at most 1e15 either way; an entry price may be empty.
    """
    return _frame(path, PositionTable, POSITION_COLUMNS)


def order_frame(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read open orders as `position_frame` reads positions, without entry prices."""
    return _frame(path, OrderTable, POSITION_COLUMNS)


def balance_frame(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read balances as `position_frame` reads positions; columns account, asset, amount."""
    return _frame(path, BalanceTable, BALANCE_COLUMNS)


def _frame(
    path: str | os.PathLike[str],
    table: type[OrderTable] | type[BalanceTable],
    needed: tuple[str, str, str],
) -> pd.DataFrame:
    frame = read_table(path)
    given = list(map(str, frame.columns))
    check_columns(given, str(path), needed, entries=table is PositionTable)
    columns: dict[str, list[Any]] = {}
    for name in given:
        where = f"{path}: row {{row}}, column {name!r}"
        columns[name] = _cells(frame[name], where, text=name in needed[:2])
    if ENTRY_PRICE in columns:
        columns[ENTRY_PRICE] = [None if _empty(cell) else cell for cell in columns[ENTRY_PRICE]]
    try:
        checked = table.model_validate(columns, context=CELLS)
    except ValidationError as error:
        (column, row, *_), _, words = first_fault(error)
        raise DataError(f"{path}: row {int(row) + 2}, column {column!r}: {words}") from None
    out = pd.DataFrame({name: getattr(checked, name) for name in given})
    return out.astype({ENTRY_PRICE: float}) if ENTRY_PRICE in given else out


def _empty(cell: Any) -> bool:
    return not cell.strip() if isinstance(cell, str) else bool(pd.isna(cell))


def _cells(column: pd.Series, where: str, *, text: bool) -> list[Any]:
    """Plain values; a missing name is an empty one, and a whole number may be a name."""
    cells: list[Any] = column.tolist()
    if text:
        cells = names_of(column, where, empty="is empty; give a name").tolist()
    return cells

"""Files of a book: accounts by row, positions and open orders by column.

In: CSV or Parquet. Out: accounts, or a typed frame that `Book.from_frame` takes; or a `DataError`
that names file, row and column. Positions come by the million, and are validated as three columns.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, StringConstraints, ValidationError

from mcmargin.book import COLUMNS, LARGEST_QUANTITY, Account
from mcmargin.errors import DataError
from mcmargin.tables import read_records, read_table
from mcmargin.validation import CELLS, Number, Row, Text, first_fault


class AccountRow(Row):
    """An account."""

    account: Text = Field(description="Its name; each once.")
    owner: Text | None = Field(None, description="Of several accounts; none: the account itself.")
    currency: Text = Field(Account.currency, description="That its margin is asked in.")
    mode: Literal["cross", "isolated"] = Field(
        "cross",
        description='"cross": its positions cover one another; "isolated": each is margined alone.',
    )
    netting: Literal["gross", "net"] = Field(
        "gross",
        description="Of the owner, alike in all of its accounts: "
        '"gross" adds up their margins, "net" margins all of their positions as one.',
    )


class PositionTable(Row):
    """Positions or open orders, by column."""

    account: list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]] = Field(
        description="Name of the account."
    )
    instrument: list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]] = (
        Field(description="Name of the instrument; without a file of instruments, an asset.")
    )
    quantity: list[Annotated[Number, Field(ge=-LARGEST_QUANTITY, le=LARGEST_QUANTITY)]] = Field(
        description="Units (contracts); negative is short, or in orders a sale. At most 1e15."
    )


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
        For a column or value that is unknown or missing, and an account given twice.

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
                f"{path}: row 1: column {name!r} is unknown; give of {', '.join(known)}"
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
    return tuple(account for _, account in accounts.values())


def position_frame(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read positions or orders from CSV or Parquet, typed: text, text and float64.

    Raises
    ------
    DataError
        For columns other than account, instrument and quantity, and a cell that is empty or no
        number of at most 1e15 either way.
    """
    frame = read_table(path)
    if sorted(map(str, frame.columns)) != sorted(COLUMNS):
        raise DataError(
            f"{path}: columns {', '.join(map(str, frame.columns))}; exactly "
            f"{', '.join(COLUMNS)} are needed"
        )
    columns = {name: _cells(frame[name], text=name != "quantity") for name in COLUMNS}
    try:
        table = PositionTable.model_validate(columns, context=CELLS)
    except ValidationError as error:
        (column, row, *_), _, words = first_fault(error)
        raise DataError(f"{path}: row {int(row) + 2}, column {column!r}: {words}") from None
    return pd.DataFrame(dict(table))


def _cells(column: pd.Series, *, text: bool) -> list[Any]:
    """Plain values; a missing name is an empty one, and a number may be a name."""
    if not text:
        return column.tolist()
    if pd.api.types.is_integer_dtype(column):
        column = column.astype(str)
    return column.astype(object).where(column.notna(), "").tolist()

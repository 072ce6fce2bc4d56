"""Files of accounts.

In: CSV or Parquet. Out: accounts, or a `DataError` that names file, row and column. Files of
positions, open orders and balances are read in `mcmargin.books.book`.
"""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field, ValidationError

from mcmargin.books.accounts import Account, check_owners
from mcmargin.data.tables import read_records
from mcmargin.data.validation import CELLS, Row, Text, first_fault
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


def read_accounts(path: str | os.PathLike[str]) -> tuple[Account, ...]:
    r"""Read accounts from CSV or Parquet. docs/files.md describes the columns.

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
        If a column or value is unknown or missing, if an account is given twice, and if accounts of
        one owner have different netting.

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

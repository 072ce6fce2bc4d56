"""Files of accounts: every form reads alike, and every fault has its place."""

import re
from dataclasses import MISSING, fields

import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.books.account_files import AccountRow
from tests.helpers.files import write

ACCOUNTS = """account,owner,currency,mode,netting
desk,fund,EUR,cross,net
hedge,fund,EUR,,net
retail,,,isolated,
"""
EXPECTED = (
    mm.Account("desk", "EUR", "fund", "cross", "net"),
    mm.Account("hedge", "EUR", "fund", "cross", "net"),
    mm.Account("retail", "USD", "retail", "isolated", "gross"),
)


def test_accounts_of_csv_and_parquet(tmp_path):
    path = write(tmp_path, ACCOUNTS, "accounts.csv")
    assert mm.read_accounts(path) == EXPECTED
    pd.read_csv(path).to_parquet(tmp_path / "accounts.parquet")
    assert mm.read_accounts(tmp_path / "accounts.parquet") == EXPECTED
    assert mm.read_accounts(write(tmp_path, "account\n7\n", "accounts.csv")) == (mm.Account("7"),)


def test_a_file_says_all_that_an_account_has_with_its_defaults():
    names = {
        each.name: "account" if each.name == "name" else each.name for each in fields(EXPECTED[0])
    }
    assert set(AccountRow.model_fields) == set(names.values())
    for each in fields(EXPECTED[0]):
        declared = AccountRow.model_fields[names[each.name]]
        assert declared.is_required() == (each.default is MISSING)
        assert declared.is_required() or (declared.default or "") == each.default


BAD_ACCOUNTS = {
    "unknown column": ("account,ccy\na,EUR\n", "row 1: column 'ccy' is unknown; known are account"),
    "column twice": ("account,account\na,b\n", "row 1: column 'account' is given twice"),
    "no account": ("account,owner\n,x\n", "row 2, column 'account': is missing; give it"),
    "no column": ("owner\nx\n", "row 2, column 'account': is missing; give it"),
    "unknown mode": ("account,mode\na,crossed\n", "row 2, column 'mode': 'crossed' is unknown;"),
    "unknown netting": ("account,netting\na,\nb,Net\n", "row 3, column 'netting': 'Net' is unkno"),
    "twice": ("account\na\nb\na\n", "row 4, column 'account': 'a' repeats row 2; give each"),
    "isolated and net": (
        "account,mode,netting\na,isolated,net\n",
        "row 2: account 'a': isolated positions cannot be netted",
    ),
    "none": ("account\n", "no accounts; give at least one"),
    "ragged": ("account,owner\na\n", "row 2 has 1 cells and the header has 2"),
}


@pytest.mark.parametrize("case", list(BAD_ACCOUNTS))
def test_bad_accounts_are_refused_by_row_and_column(case, tmp_path):
    text, message = BAD_ACCOUNTS[case]
    path = write(tmp_path, text, "accounts.csv")
    with pytest.raises(mm.DataError, match=f"^{re.escape(str(path))}: ") as error:
        mm.read_accounts(path)
    assert message in str(error.value)


def test_an_account_in_no_file_of_accounts(tmp_path):
    positions = write(tmp_path, "account,instrument,quantity\ndesk,x,1\nnew,x,1\n", "p.csv")
    with pytest.raises(mm.DataError, match=r"p\.csv: row 3: account 'new' is unknown; add it"):
        mm.read_positions(positions, accounts=EXPECTED)


OWNED = (("desk", "EUR"), ("hedge", "USD"))


def test_owners_accounts_agree(tmp_path):
    text = ACCOUNTS.replace("hedge,fund,EUR", "hedge,fund,USD")
    positions = write(tmp_path, "account,instrument,quantity\ndesk,x,1\nhedge,x,1\n", "p.csv")
    with pytest.raises(
        mm.DataError, match=r"accounts\.csv: owner 'fund': netted accounts are in on"
    ):
        mm.read_accounts(write(tmp_path, text, "accounts.csv"))
    accounts = [mm.Account(name, code, "fund", netting="net") for name, code in OWNED]
    with pytest.raises(mm.DataError, match=r"^owner 'fund': netted accounts are in one currency"):
        mm.read_positions(positions, accounts=accounts)

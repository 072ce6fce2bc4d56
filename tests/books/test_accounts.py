"""Accounts that do not fit their book are refused."""

import pytest

import mcmargin as mm
from tests.helpers.books import book_of
from tests.helpers.euro_market import ITEMS, ROWS

# Owners and modes


@pytest.mark.parametrize(
    ("accounts", "message"),
    [
        ([mm.Account("a")], "account 'b' is unknown"),
        ([mm.Account("a"), mm.Account("a")], "given twice"),
        (
            [mm.Account("a", owner="o"), mm.Account("b", owner="o", netting="net")],
            "owner 'o': account 'a' is netted 'gross' and 'b' 'net'",
        ),
        (
            [
                mm.Account("a", owner="o", netting="net"),
                mm.Account("b", "EUR", owner="o", netting="net"),
            ],
            "netted accounts are in one currency",
        ),
    ],
)
def test_accounts_that_do_not_fit(accounts, message):
    with pytest.raises(mm.DataError, match=message):
        book_of(ROWS[:4], ITEMS, accounts=accounts)
    with pytest.raises(mm.DataError, match="mode 'both' is unknown"):
        mm.Account("a", mode="both")

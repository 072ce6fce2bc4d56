"""Equity: collateral, values of positions and what contracts have gained."""

import numpy as np
import pytest

import mcmargin as mm
from tests.helpers.books import book_of
from tests.helpers.coin_book import ACCOUNTS, ITEMS, market_of
from tests.helpers.models import scenarios_of_three


def one(report, name="x"):
    return report.account(name)


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three()


def test_equity_of_a_mixed_account_in_euro(scenarios):
    """At 1.25 dollars a euro and 100 a coin: 1.5 coins are 120 euro, 40 dollars 32, and 30 euro are
    owed: 122. One coin of spot is 80. 3 perpetuals entered at 90 gained 30 dollars, 24 euro; 20
    inverse contracts of 10 dollars entered at 80 gained 200 (1/80 - 1/100) = 0.5 coins, 40 euro.
    4 puts are worth what they are; their entry price changes nothing."""
    rows = [("x", "PERP", 3, 90), ("x", "INV", 20, 80), ("x", "S", 1, None), ("x", "PUT", 4, 7.5)]
    posted = [("x", "a0", 1.5), ("x", "USD", 40), ("x", "EUR", -30)]
    book = book_of(rows, ITEMS, posted, accounts=ACCOUNTS)
    account = one(mm.margin(book, scenarios, market_of()))
    put = 4 * ITEMS[4].value(market_of()) / 1.25
    assert account.collateral == pytest.approx(122.0)
    assert account.position_value == pytest.approx(80.0 + put)
    assert account.unrealised == pytest.approx(24.0 + 40.0)
    assert account.equity == pytest.approx(122.0 + 80.0 + put + 64.0)


def test_unrealised_gains_of_futures_and_of_contracts_in_other_currencies(scenarios):
    """The future stands at 50 exp(0.05 x 366/365); short 2 from 60. A coin is 80 euro:
    1 contract of 3 coins from 70 gained 30 euro, which are 37.5 dollars."""
    items = [*ITEMS, mm.Perpetual("E", "a0", "EUR", contract_size=3.0)]
    book = book_of([("x", "FUT", -2, 60.0), ("x", "E", 1, 70.0)], items)
    price = 50 * np.exp(0.05 * 366 / 365)
    account = one(mm.margin(book, scenarios, market_of()))
    assert account.unrealised == pytest.approx(-2 * (price - 60) + 37.5)
    assert account.equity is None
    again = book_of(book.to_frame(), items)
    assert again.fingerprint() == book.fingerprint()
    assert again.fingerprint() != book_of([("x", "FUT", -2), ("x", "E", 1)], items).fingerprint()

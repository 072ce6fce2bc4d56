"""Books: canonical order, zero positions, and instruments given twice."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from tests.helpers.books import BALANCES, book_of, positions_of
from tests.helpers.euro_market import ITEMS


def test_order_is_canonical_and_the_frame_comes_back():
    rows = [("b", "z", 1.5), ("a", "y", -2.0), ("b", "x", 3.0)]
    book = book_of(rows)
    assert [account.name for account in book.accounts] == ["a", "b"]
    assert [instrument.name for instrument in book.instruments] == ["x", "y", "z"]
    np.testing.assert_array_equal(book.quantities.toarray(), [[0, -2, 0], [3, 0, 1.5]])
    assert book_of(book.to_frame()).fingerprint() == book.fingerprint()
    assert book_of(rows[::-1]).fingerprint() == book.fingerprint()


def test_a_position_of_zero_is_none_and_its_account_stays():
    book = book_of([("a", "x", 1.0), ("b", "gone", 0.0)])
    assert [account.name for account in book.accounts] == ["a", "b"]
    assert [instrument.name for instrument in book.instruments] == ["x"]
    assert book.quantities.shape == (2, 1)


def test_an_instrument_given_twice():
    twice = [mm.Spot("x", "btc"), mm.Spot("x", "eth")]
    with pytest.raises(mm.DataError, match="twice"):
        book_of([("a", "x", 1.0)], instruments=twice)


def test_columns_are_exactly_three():
    with pytest.raises(mm.DataError, match="exactly account, instrument, quantity"):
        book_of(pd.DataFrame({"account": ["a"], "instrument": ["x"]}))


def test_files_of_positions_read_alike(tmp_path):
    book = book_of([("é", "x", 1.5), ("b", "y", -2.0)])
    book.to_frame().to_parquet(tmp_path / "p.PARQUET")
    book.to_frame().to_csv(tmp_path / "p.csv", index=False, encoding="utf-8-sig")
    text = book.to_frame().to_csv(index=False, lineterminator="\r\n")
    (tmp_path / "crlf.csv").write_bytes(text.encode())
    for path in tmp_path.iterdir():
        assert mm.read_positions(path).fingerprint() == book.fingerprint()


def test_quantities_beyond_any_use():
    with pytest.raises(mm.DataError, match=r"row 2, column 'quantity': 1e\+300 is beyond"):
        book_of([("x", "S", 1e300)], ITEMS)


def test_known_instruments_alone():
    with pytest.raises(mm.DataError, match="instrument 'Z' is unknown"):
        book_of([("x", "Z", 1.0)], ITEMS)
    with pytest.raises(mm.DataError, match=r"orders: row 2: instrument 'Z' is unknown"):
        book_of([("x", "S", 1.0)], ITEMS, orders=positions_of([("x", "Z", 1.0)]))


def test_the_fingerprint_knows_instruments_accounts_and_orders():
    base = book_of([("x", "P", 1.0)], ITEMS)
    others = [
        book_of([("x", "P", 1.0)], [replace(ITEMS[1], funding_rate=1e-4)]),
        book_of([("x", "P", 1.0)], ITEMS, accounts=[mm.Account("x", "EUR")]),
        book_of([("x", "P", 1.0)], ITEMS, orders=positions_of([("x", "P", 1.0)])),
    ]
    prints = {book.fingerprint() for book in (base, *others)}
    assert len(prints) == 4
    assert book_of([("x", "P", 1.0)], ITEMS).fingerprint() == base.fingerprint()


BAD_BALANCES = {
    "columns": ([("x", "USD")], "columns .*; exactly account, asset, amount are needed"),
    "not finite": (
        [("x", "USD", 1), ("x", "a0", np.inf)],
        "row 3, column 'amount': inf is not fin",
    ),
    "text": ([("x", "USD", "many")], "row 2, column 'amount': 'many' is not a number"),
    "empty": ([("x", "USD", None)], "row 2, column 'amount': empty; give a finite number"),
    "too large": ([("x", "USD", 2e15)], "row 2, column 'amount': 2e\\+15 is beyond 1e\\+15 units"),
    "no asset": ([("x", "", 1)], "row 2, column 'asset': empty"),
    "repeated": (
        [("x", "USD", 1), ("x", "a0", 1), ("x", "USD", 2)],
        "row 4 repeats account 'x' and asset 'USD' of row 2; give each pair once",
    ),
    "unknown account": (
        [("x", "USD", 1), ("z", "USD", 1)],
        "row 3: account 'z' is unknown; it has no position or order: add it to the accounts",
    ),
}


@pytest.mark.parametrize("case", list(BAD_BALANCES))
def test_bad_balances_are_refused_by_row_and_column(case):
    rows, message = BAD_BALANCES[case]
    columns = BALANCES[: len(rows[0])]
    with pytest.raises(mm.DataError, match=f"^frame, balances: {message}"):
        book_of([("x", "a0", 1)], balances=pd.DataFrame(rows, columns=columns))


@pytest.mark.parametrize(
    ("price", "message"),
    [
        (0.0, "row 2, column 'entry_price': 0 is not a price from 1e-15 to"),
        (-1.0, "row 2, column 'entry_price': -1 is not a price from"),
        (np.inf, "row 2, column 'entry_price': inf is not a price from"),
        ("dear", "row 2, column 'entry_price': 'dear' is not a number"),
    ],
)
def test_bad_entry_prices_are_refused(price, message):
    items = [mm.Perpetual("PERP", "a0")]
    rows = positions_of([("x", "PERP", 1, price)])
    with pytest.raises(mm.DataError, match=message):
        book_of(rows, items)
    with pytest.raises(mm.DataError, match=r"orders: columns .* exactly account"):
        book_of(rows.iloc[:, :3], items, orders=rows)

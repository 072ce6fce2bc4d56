"""Rows of tables of a book: read from CSV and Parquet alike, and what is refused."""

import re
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.books.rows import PositionRow
from tests.helpers.books import book_of
from tests.helpers.coin_book import ITEMS
from tests.helpers.files import write

HEADER = "account,instrument,quantity"
BAD_POSITIONS = {
    "no account": ("a,x,1\n ,x,1", "row 3, column 'account': empty; give a name"),
    "no instrument": ("a,,1", "row 2, column 'instrument': empty; give a name"),
    "no quantity": ("a,x,1\nb,x,", "row 3, column 'quantity': empty; give a finite number"),
    "quantity as text": ("a,x,one", "row 2, column 'quantity': 'one' is not a number"),
    "decimal comma": ('a,x,"1,5"', "write decimals with a point"),
    "underscore": ("a,x,1_000", "'1_000' is not a number"),
    "infinite": ("a,x,-inf", "row 2, column 'quantity': -inf is not finite"),
    "too large": ("a,x,1e16", "row 2, column 'quantity': 1e+16 is beyond 1e+15 units; correct it"),
    "too small": (
        "a,x,-2e15",
        "row 2, column 'quantity': -2e+15 is beyond 1e+15 units; correct it",
    ),
    "twice": ("a,x,1\nb,x,1\na,x,2", "row 4 repeats account 'a' and instrument 'x' of row 2"),
}


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("case", list(BAD_POSITIONS))
def test_bad_positions_are_refused_by_row_and_column(case, form, tmp_path):
    rows, message = BAD_POSITIONS[case]
    path = write(tmp_path, f"{HEADER}\n{rows}\n", "p.csv")
    if form == "parquet":
        frame = pd.read_csv(path, dtype=str)
        path = tmp_path / "p.parquet"
        frame.to_parquet(path)
    with pytest.raises(mm.DataError, match=f"^{re.escape(str(path))}: ") as error:
        mm.read_positions(path)
    assert message in str(error.value)


def test_columns_of_positions_and_orders(tmp_path):
    good = write(tmp_path, f"{HEADER}\na,x,1\n", "p.csv")
    for header in ("account,instrument", "account,instrument,qty", f"{HEADER},price"):
        bad = write(tmp_path, f"{header}\n", "bad.csv")
        with pytest.raises(mm.DataError, match=r"bad\.csv: columns .* exactly account"):
            mm.read_positions(bad)
        with pytest.raises(mm.DataError, match=r"bad\.csv: columns .* exactly account"):
            mm.read_positions(good, orders=bad)
    assert [each.name for each in fields(PositionRow)] == [*HEADER.split(","), "entry_price"]
    bad = write(tmp_path, f"{HEADER},entry_price\na,x,1,2\n", "bad.csv")
    with pytest.raises(mm.DataError, match=r"bad\.csv: columns .* exactly account"):
        mm.read_positions(good, orders=bad)


def test_orders_are_read_as_positions_are(tmp_path):
    """A pair may have several; they add up by side."""
    positions = write(tmp_path, f"{HEADER}\na,x,1\n", "p.csv")
    orders = write(tmp_path, f"{HEADER}\na,x,2\na,x,3.5\na,y,-4\nb,x,-1\n", "o.csv")
    book = mm.read_positions(positions, orders=orders)
    assert [account.name for account in book.accounts] == ["a", "b"]
    np.testing.assert_array_equal(book.buys.toarray(), [[5.5, 0], [0, 0]])
    np.testing.assert_array_equal(book.sells.toarray(), [[0, -4], [-1, 0]])


def test_quantities_of_parquet_are_numbers_or_text(tmp_path):
    frame = pd.DataFrame({"account": [1, 2], "instrument": ["x", "x"], "quantity": ["1e3", "-2"]})
    frame.to_parquet(tmp_path / "p.parquet")
    book = mm.read_positions(tmp_path / "p.parquet")
    assert [account.name for account in book.accounts] == ["1", "2"]
    np.testing.assert_array_equal(book.quantities.toarray(), [[1000.0], [-2.0]])
    frame["quantity"] = np.array([1, 2], np.int8)
    frame.to_parquet(tmp_path / "p.parquet")
    assert mm.read_positions(tmp_path / "p.parquet").quantities.sum() == 3.0


GOOD = {
    "positions": f"{HEADER}\na,x,1\nb,x,2\n",
    "orders": f"{HEADER}\na,x,3\nb,x,4\n",
    "balances": "account,asset,amount\na,USD,5\nb,USD,6\n",
}
KNOWN = {"instruments": [mm.Spot("x", "x")], "accounts": [mm.Account("a"), mm.Account("b")]}
BAD_CELLS = {
    "positions, number": ("positions", "b,x,2", "b,x,two", "row 3, column 'quantity': 'two' is no"),
    "positions, instrument": ("positions", "b,x", "b,z", "row 3: instrument 'z' is unknown; add"),
    "positions, account": ("positions", "b,x", "z,x", "row 3: account 'z' is unknown; add it, or"),
    "positions, twice": ("positions", "b,x", "a,x", "row 3 repeats account 'a' and instrument 'x'"),
    "orders, number": ("orders", "b,x,4", "b,x,inf", "row 3, column 'quantity': inf is not finite"),
    "orders, instrument": ("orders", "b,x", "b,z", "row 3: instrument 'z' is unknown; add it, or"),
    "orders, account": (
        "orders",
        "b,x",
        "z,x",
        "row 3: account 'z' is unknown; add it, or correct the name",
    ),
    "balances, number": ("balances", "USD,6", "USD,", "row 3, column 'amount': empty; give a"),
    "balances, account": (
        "balances",
        "b,USD",
        "z,USD",
        "row 3: account 'z' is unknown; add it, or",
    ),
    "balances, twice": (
        "balances",
        "b,USD",
        "a,USD",
        "row 3 repeats account 'a' and asset 'USD' o",
    ),
}


@pytest.mark.parametrize("case", list(BAD_CELLS))
def test_the_file_with_a_bad_cell_is_the_one_named(case, tmp_path):
    name, good, bad, message = BAD_CELLS[case]
    paths = {each: write(tmp_path, text, f"{each}.csv") for each, text in GOOD.items()}
    positions, orders, balances = paths.values()
    mm.read_positions(positions, orders=orders, balances=balances, **KNOWN)
    write(tmp_path, GOOD[name].replace(good, bad), f"{name}.csv")
    with pytest.raises(mm.DataError, match=f"^{re.escape(str(paths[name]))}: {message}"):
        mm.read_positions(positions, orders=orders, balances=balances, **KNOWN)


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("word", ["nan", "n/a", "none"])
def test_a_word_is_no_empty_entry_price(word, form, tmp_path):
    path = write(tmp_path, f"{HEADER},entry_price\na,x,1,\nb,x,1,{word}\n", "p.csv")
    if form == "parquet":
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        path = tmp_path / "p.parquet"
        frame.to_parquet(path)
    with pytest.raises(mm.DataError, match="row 3, column 'entry_price': nan is not a price"):
        mm.read_positions(path, instruments=[mm.Perpetual("x", "btc")])


def test_files_of_balances_and_entry_prices(tmp_path):
    (tmp_path / "p.csv").write_text(
        "account,instrument,quantity,entry_price\nx,PERP,1,90\ny,PERP,-2,\n"
    )
    (tmp_path / "b.csv").write_text("account,asset,amount\nx,a0,1.5\nx,USD,-3\n")
    paths = [tmp_path / "p.csv", tmp_path / "b.csv"]
    for path in paths:
        pd.read_csv(path).to_parquet(path.with_suffix(".parquet"))
    expected = book_of(pd.read_csv(paths[0]), ITEMS, pd.read_csv(paths[1]))
    for end in (".csv", ".parquet"):
        positions, balances = (path.with_suffix(end) for path in paths)
        book = mm.read_positions(positions, instruments=ITEMS, balances=balances)
        assert book.fingerprint() == expected.fingerprint()
    np.testing.assert_array_equal(book.entry_prices, [90.0, np.nan])
    np.testing.assert_array_equal(book.balances.toarray(), [[-3.0, 1.5], [0.0, 0.0]])
    for bad, message in (
        ("x,PERP,1,0\n", r"p\.csv: row 2, column 'entry_price': 0 is not a price from"),
        ("x,PERP,1,nan\n", r"p\.csv: row 2, column 'entry_price': nan is not a price from"),
    ):
        paths[0].write_text(f"account,instrument,quantity,entry_price\n{bad}")
        with pytest.raises(mm.DataError, match=message):
            mm.read_positions(paths[0], instruments=ITEMS)
    paths[1].write_text("account,asset,amount\nx,a0,inf\n")
    with pytest.raises(mm.DataError, match=r"b\.csv: row 2, column 'amount': inf is not finite"):
        mm.read_positions(tmp_path / "p.parquet", instruments=ITEMS, balances=paths[1])

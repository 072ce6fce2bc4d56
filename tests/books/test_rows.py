"""Rows of tables of a book: read from CSV and Parquet alike, and what is refused."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from tests.helpers.books import book_of
from tests.helpers.coin_book import ITEMS


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

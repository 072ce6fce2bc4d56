"""Books: canonical order, zero positions, and instruments given twice."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from tests.helpers.books import book_of


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

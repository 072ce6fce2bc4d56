"""The files of a book: which lie beside its positions, what they are read to, what is refused."""

import pytest

import mcmargin as mm
from mcmargin.books.files_of_book import BookFiles

POSITIONS = "account,instrument,quantity\nx,a0,2\n"


def test_sets_beside_positions_begin_with_the_fullest(tmp_path):
    for name in ("positions.csv", "accounts.csv", "orders.parquet", "orders.txt"):
        (tmp_path / name).touch()
    positions, accounts, orders = (
        tmp_path / name for name in ("positions.csv", "accounts.csv", "orders.parquet")
    )
    assert list(BookFiles.beside(positions)) == [
        BookFiles(positions, accounts=accounts, orders=orders),
        BookFiles(positions, accounts=accounts),
        BookFiles(positions, orders=orders),
        BookFiles(positions),
    ]


def test_currency_is_the_markets_unless_it_is_given(tmp_path):
    positions, market = tmp_path / "positions.csv", tmp_path / "market.toml"
    positions.write_text(POSITIONS)
    market.write_text('as_of = 2020-01-01\ncurrency = "EUR"\nspot = { a0 = 100 }\n')
    for files, currency, expected in (
        (BookFiles(positions), None, "USD"),
        (BookFiles(positions, market=market), None, "EUR"),
        (BookFiles(positions, market=market), "GBP", "GBP"),
    ):
        book, read = files.read(currency=currency)
        assert {each.currency for each in (*book.accounts, *book.instruments)} == {expected}
        assert (read is None) is (files.market is None)


def test_an_output_that_is_one_of_the_files_or_of_those_that_the_market_names(tmp_path):
    market = tmp_path / "market.toml"
    market.write_text(
        'as_of = 2020-01-01\nspot = { a0 = 1 }\nvolatility = { a0 = { quotes = "quotes.csv" } }\n'
    )
    for name in ("positions.csv", "quotes.csv", "model.npz"):
        (tmp_path / name).touch()
    files = BookFiles(tmp_path / "positions.csv", market=market)
    for name in ("positions.csv", "market.toml", "quotes.csv", "model.npz"):
        with pytest.raises(mm.DataError, match="would be overwritten"):
            files.check_output(tmp_path / name, tmp_path / "model.npz")
    files.check_output(tmp_path / "report.json", tmp_path / "model.npz")

"""What two books have in common, pair by pair, by hand."""

import numpy as np

import mcmargin as mm
from mcmargin.desk.common_book import common_book
from tests.helpers.books import book_of

ITEMS = [mm.Perpetual("P", "a0"), mm.Future("F", "a0", "2020-03-01"), mm.Spot("S", "a1")]
FIRST = book_of(
    [("x", "P", 5.0, 90.0), ("x", "F", -2.0, 80.0), ("y", "S", 7.0, np.nan), ("z", "P", 1.0, 70.0)],
    ITEMS,
    [("x", "USD", 10.0), ("x", "a1", 3.0), ("y", "USD", 4.0)],
    [("y", "P", 6.0), ("x", "S", -1.0)],
)


def rows_of(book):
    return sorted(book.to_frame().itertuples(index=False, name=None))


def matrix_of(matrix, accounts, names):
    entries = matrix.tocoo()
    places = zip(*(each.tolist() for each in entries.coords), strict=True)
    return {
        (accounts[row], names[column]): amount
        for (row, column), amount in zip(places, entries.data.tolist(), strict=True)
    }


def test_pairs_of_both_books_stay_at_the_first_quantities():
    other = book_of(
        [("z", "P", -9.0), ("y", "F", 1.0), ("x", "P", 1.0)],
        ITEMS,
        [("y", "USD", 1.0), ("x", "a1", -5.0)],
        [("y", "P", 2.0)],
    )
    found = common_book(FIRST, other)
    names = [each.name for each in found.accounts]
    items = [each.name for each in found.instruments]
    assert matrix_of(found.quantities, names, items) == {("x", "P"): 5.0, ("z", "P"): 1.0}
    assert matrix_of(found.buys, names, items) == {("y", "P"): 6.0}
    assert found.sells.nnz == 0
    assert matrix_of(found.balances, names, list(found.assets)) == {
        ("x", "a1"): 3.0,
        ("y", "USD"): 4.0,
    }
    # One entry price for each position that is left, in their order.
    prices = dict(zip(rows_of(found), found.entry_prices.tolist(), strict=True))
    assert {row[:2]: price for row, price in prices.items()} == {("x", "P"): 90.0, ("z", "P"): 70.0}


def test_an_instrument_of_other_terms_is_another():
    later = [ITEMS[0], mm.Future("F", "a0", "2020-06-01"), ITEMS[2]]
    found = common_book(FIRST, book_of([("x", "P", 1.0), ("x", "F", 1.0)], later))
    assert rows_of(found) == [("x", "P", 5.0, 90.0)]


def test_a_book_that_loses_nothing_is_the_first_itself():
    assert common_book(FIRST, FIRST) is FIRST


def test_books_without_a_pair_in_common_leave_accounts_alone():
    found = common_book(FIRST, book_of([("new", "P", 1.0)], ITEMS))
    assert (len(found.accounts), len(found.instruments), found.quantities.nnz) == (3, 0, 0)

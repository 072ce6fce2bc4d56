"""Books from plain rows of numbers and names, as tests write them."""

import numpy as np
import pandas as pd

import mcmargin as mm

POSITIONS = ["account", "instrument", "quantity"]
ENTRIES = [*POSITIONS, "entry_price"]
BALANCES = ["account", "asset", "amount"]


def table_of(rows, *columns):
    """Table of the rows given: the first set of columns that is as long as the first row.

    Parameters
    ----------
    rows : iterable of tuple or DataFrame or None
        A table is returned as it is, and so is None.
    columns : sequence of str, one or more
    """
    if rows is None or isinstance(rows, pd.DataFrame):
        return rows
    rows = list(rows)
    fitting = [names for names in columns if rows and len(rows[0]) == len(names)]
    return pd.DataFrame(rows, columns=(fitting or columns)[0])


def positions_of(rows):
    """Table of positions or orders: (account, instrument, quantity), then perhaps entry_price."""
    return table_of(rows, POSITIONS, ENTRIES)


def balances_of(rows):
    """Table of balances: (account, asset, amount)."""
    return table_of(rows, BALANCES)


def book_of(positions, instruments=None, balances=None, orders=None, **options):
    """Book of the rows, or tables, given.

    Parameters
    ----------
    positions, orders : sequence of tuple or DataFrame
        As `positions_of` takes them.
    instruments : sequence of Instrument, optional
        Without them each name is the spot of that asset.
    balances : sequence of tuple or DataFrame, optional
        As `balances_of` takes them. None is a book without collateral.
    **options
        Further options of `Book.from_frame`: accounts, currency, source.
    """
    return mm.Book.from_frame(
        positions_of(positions),
        instruments=instruments,
        balances=balances_of(balances),
        orders=positions_of(orders),
        **options,
    )


def seven_accounts(assets):
    """Book of seven accounts, each with random quantities of the first five assets."""
    rng = np.random.default_rng(59)
    return book_of(
        [
            (f"account {a}", asset, quantity)
            for a in range(7)
            for asset, quantity in zip(assets, rng.normal(0, 100, 5), strict=False)
        ]
    )

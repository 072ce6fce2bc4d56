"""Greeks: what an instrument, a position and an account gain from small moves of the market, today.

In: instruments or a book, and a market. Out: sensitivities in closed form. They belong to the same
values as the margins do, and so foretell what a small move in the scenarios gains. The price of a
perpetual or future moves in proportion to the spot price.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from mcmargin.books.book import Book
from mcmargin.checks import require_type
from mcmargin.instruments.instruments import Future, Instrument, Option, Perpetual
from mcmargin.markets.market import Market

GREEKS = ("delta", "gamma", "vega", "theta")
DAY = 1 / 365
"""In years."""


def greeks_of(instrument: Instrument, market: Market) -> dict[str, float]:
    """Value, delta, gamma, vega and theta of one unit, in the instrument's currency.

    delta and gamma are derivatives by the spot price, and vega is per 1.00 of volatility. theta is
    per calendar day, with the spot price unchanged: of a perpetual it is the expected funding, of a
    future its carry.

    An inverse contract of size c at the price P gains c (1/P - 1/P') coins, and each coin is worth
    S'. In quote currency this gain is linear in S', with slope c/P, so that gamma is 0.

    Raises
    ------
    DataError
        If the market lacks a price or volatility, and if the instrument has expired.

    Examples
    --------
    >>> market = Market(as_of=np.datetime64("2021-01-04"), spot={"btc": 40_000.0})
    >>> perpetual = Perpetual("P", "btc", inverse=True, contract_size=100.0, funding_rate=1e-4)
    >>> greeks_of(perpetual, market)["delta"]
    0.0025
    """
    if isinstance(instrument, Option):
        return instrument.greeks(market)
    spot = market.price(instrument.underlying, instrument.currency)
    slope, theta = 1.0, 0.0
    if isinstance(instrument, (Perpetual, Future)):
        price = instrument.price(market)
        slope = instrument.contract_size * (1 / price if instrument.inverse else price / spot)
        if isinstance(instrument, Perpetual):
            theta = -instrument.funding(market, DAY)
        elif instrument.price_asset is None:
            # The futures price moves to the spot price as time passes.
            theta = -slope * spot * instrument.carry_rate(market) * DAY
    value = instrument.value(market)
    return {"value": value, "delta": slope, "gamma": 0.0, "vega": 0.0, "theta": theta}


def instrument_greeks(instruments: Sequence[Instrument], market: Market) -> pd.DataFrame:
    """Greeks of one unit of each instrument, in its currency.

    Returns
    -------
    DataFrame
        Columns instrument, product, underlying, currency, value, delta, gamma, vega, theta.
        `greeks_of` gives the last five.

    Raises
    ------
    DataError
        As `greeks_of`.
    """
    rows = [
        {
            "instrument": item.name,
            "product": item.product,
            "underlying": item.underlying,
            "currency": item.currency,
        }
        | greeks_of(item, market)
        for item in instruments
    ]
    columns = ["instrument", "product", "underlying", "currency", "value", *GREEKS]
    return pd.DataFrame(rows, columns=columns)


def greeks_frame(book: Book, market: Market) -> pd.DataFrame:
    """Greeks of every position, and of every account, in the account's currency.

    Greeks are by relative moves, so that they add up over underlyings. If every spot price moves by
    a small share x (0.01 is 1 %), every volatility by v (0.01 is one point), and t calendar days
    pass, an account gains delta x + gamma x^2 / 2 + vega v + theta t, at today's exchange rates.

    Parameters
    ----------
    book : Book
    market : Market

    Returns
    -------
    DataFrame
        Columns account, currency, instrument, quantity, delta, gamma, vega, theta. Rows are sorted
        by account and instrument. The total of an account comes after its positions; its instrument
        is empty, and its quantity is NaN.

    Raises
    ------
    DataError
        As `greeks_of`, and if the market has no rate of a currency.

    Examples
    --------
    >>> from mcmargin.instruments.instruments import Spot
    >>> market = Market(as_of=np.datetime64("2021-01-04"), spot={"btc": 40_000.0})
    >>> rows = pd.DataFrame({"account": ["a"], "instrument": ["BTC"], "quantity": [0.5]})
    >>> greeks_frame(Book.from_frame(rows, instruments=[Spot("BTC", "btc")]), market)
      account currency instrument  quantity    delta  gamma  vega  theta
    0       a      USD        BTC       0.5  20000.0    0.0   0.0    0.0
    1       a      USD                  NaN  20000.0    0.0   0.0    0.0
    """
    require_type("book", book, Book)
    require_type("market", market, Market)
    units = np.array([_relative(item, market) for item in book.instruments]).reshape(-1, 4)
    quantities = sparse.coo_array(book.quantities)
    rows, columns = quantities.coords
    rates = np.array([market.worth(account.currency) for account in book.accounts])
    positions = pd.DataFrame(
        quantities.data[:, None] * units[columns] / rates[rows, None], columns=list(GREEKS)
    )
    names = np.array([item.name for item in book.instruments], object)
    positions.insert(0, "instrument", names[columns])
    positions.insert(1, "quantity", quantities.data)
    positions["row"] = rows
    totals = positions.groupby("row")[list(GREEKS)].sum()
    totals = totals.reindex(range(len(book.accounts)), fill_value=0.0).reset_index()
    frame = pd.concat([positions, totals.assign(instrument="", quantity=np.nan)])
    # A stable sort keeps the positions of an account in order, and its total last.
    frame = frame.sort_values("row", kind="stable", ignore_index=True)
    accounts = [book.accounts[row] for row in frame.pop("row")]
    frame.insert(0, "account", [account.name for account in accounts])
    frame.insert(1, "currency", [account.currency for account in accounts])
    return frame


def _relative(instrument: Instrument, market: Market) -> list[float]:
    """Greeks of one unit for relative moves of the spot price, in the market's currency."""
    greeks = greeks_of(instrument, market)
    spot = market.price(instrument.underlying, instrument.currency)
    rate = market.worth(instrument.currency)
    own = (greeks["delta"] * spot, greeks["gamma"] * spot**2, greeks["vega"], greeks["theta"])
    return [rate * greek for greek in own]

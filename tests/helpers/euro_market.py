"""A market of a coin, an index and the euro's rate, for tests of instruments and currencies.

a0 stands at 100 dollars, a1 at 50, and a2 at 1.2, which may be the rate of the euro.
"""

import numpy as np

import mcmargin as mm
from tests.helpers.books import book_of

AS_OF = np.datetime64("2020-01-01", "ns")
SPOT = {"a0": 100.0, "a1": 50.0, "a2": 1.2}
ITEMS = [
    mm.Spot("S", "a0"),
    mm.Perpetual("P", "a1"),
    mm.Perpetual("Q", "a0", basis_volatility=0.0),
    mm.Option("C", "a0", "call", 105.0, "2020-02-01"),
    mm.Spot("E", "a1", "EUR"),
]
ROWS = [("a", "S", 10.0), ("a", "P", -7.0), ("b", "S", -8.0), ("b", "C", 4.0), ("c", "P", 1.0)]
WIDE = mm.Plausibility(move=1)
"""It lets a1 stand at 50 and a2 at 1.2, where every asset of the model closed at 100."""


def market_of(as_of=AS_OF, **terms):
    """Market of the three prices.

    Parameters
    ----------
    as_of : datetime64
    **terms
        Arguments of `Market` in place of these, or beside them.
    """
    terms = {"volatility": {"a0": 0.4}, "plausibility": WIDE} | terms
    return mm.Market(as_of=as_of, spot=SPOT, **terms)


MARKET = market_of()


def margins_by_account(report):
    """Margin of each account, by its name."""
    return dict(zip(report.figures["account"], report.figures["margin"], strict=True))


def report_in_euro(scenarios):
    """Margins of an account in euro, an isolated one and one in dollars."""
    accounts = [mm.Account("a", "EUR"), mm.Account("b", mode="isolated"), mm.Account("c")]
    market = market_of(fx={"EUR": 1.2}, fx_asset={"EUR": "a2"})
    return mm.margin(book_of(ROWS, ITEMS, accounts=accounts), scenarios, market)

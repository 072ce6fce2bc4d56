"""A market of two prices, a0 at 100 and a1 at 50, for parts of a margin that are worked by hand."""

import numpy as np

import mcmargin as mm
from tests.helpers.books import book_of
from tests.helpers.models import make_model

AS_OF = np.datetime64("2020-01-01", "ns")
ITEMS = [mm.Perpetual("P", "a0", basis_volatility=0.0), mm.Spot("S", "a0"), mm.Spot("T", "a1")]


def scenarios_of_two():
    """10,000 paths of one bar: two assets with heavy tails, which stand at 2 % a bar."""
    model = make_model(("garch", "garch"), "t", "t", variance=4e-4)
    return mm.simulate(model, horizon=1, paths=10_000, seed=11)


def margin_of(scenarios, rows, policy, items=ITEMS, orders=None, **terms):
    """Report on positions and orders in this market.

    Parameters
    ----------
    scenarios : Scenarios
    rows, orders : sequence of tuple
        (account, instrument, quantity).
    policy : MarginPolicy
    items : sequence of Instrument
    **terms
        Further arguments of `Market`.
    """
    market = mm.Market(as_of=AS_OF, spot={"a0": 100.0, "a1": 50.0}, **terms)
    return mm.margin(book_of(rows, items, orders=orders), scenarios, market, policy)

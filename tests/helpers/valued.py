"""Instruments valued on simulated paths of two assets: a0 stands at 100, a1 at 50."""

import numpy as np

import mcmargin as mm
from mcmargin.valuing.scenario_market import PathBlock
from tests.helpers.books import book_of

AS_OF = np.datetime64("2020-01-01", "ns")  # a Wednesday; every model here trades all week
SPOT = {"a0": 100.0, "a1": 50.0}


def market_of(**terms):
    """Market of the two prices, with arguments of `Market` in place of these or beside them."""
    return mm.Market(as_of=AS_OF, spot=SPOT, **({"volatility": {"a0": 0.4, "a1": 0.3}} | terms))


MARKET = market_of()


def paths_of(scenarios, horizon, market=MARKET):
    """The market on all paths at a horizon, in bars."""
    return PathBlock(scenarios, market, scenarios.plan.tiles).at(horizon)


def margin_of(rows, scenarios, instruments, market=MARKET, accounts=None, **policy):
    """Report on positions (account, instrument, quantity), by a policy of the terms given."""
    book = book_of(rows, instruments, accounts=accounts)
    return mm.margin(book, scenarios, market, mm.MarginPolicy(**policy))

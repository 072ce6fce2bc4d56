"""A book, a market and a history with calm and wild bars, for tests of stress."""

import numpy as np

import mcmargin as mm
from mcmargin.policies.stress_parts import Stress, StressWindow
from tests.helpers.books import book_of
from tests.helpers.models import make_model, with_history

AS_OF = np.datetime64("2020-01-01", "ns")
BARS = 300
"""Bars of the history."""

ITEMS = [
    mm.Spot("S", "a0"),
    mm.Perpetual("P", "a1"),
    mm.Future("F", "a1", "2020-03-01", carry=0.1),
    mm.Option("C", "a0", "call", 105.0, "2020-02-01"),
    mm.Spot("E", "a1", "EUR"),
    mm.Spot("U", "USDT"),
]
MARKET = mm.Market(
    as_of=AS_OF,
    spot={"a0": 100.0, "a1": 50.0},
    volatility={"a0": 0.4},
    fx={"EUR": 1.2, "USDT": 1.0},
    fx_volatility={"EUR": 0.1},
    depeg={"USDT": mm.Depeg(0.01, 0.3)},
    coins=("a0",),
)


def scenarios_with_a_history():
    """Scenarios whose first asset has seen calmer bars than it stands in, the other wilder ones."""
    rng = np.random.default_rng(17)
    variances = np.exp(rng.normal([np.log(4e-4), np.log(2e-4)], 0.5, (BARS, 2)))
    returns = rng.standard_t(4, (BARS, 2)) * np.sqrt(variances / 2)
    model = with_history(make_model(("garch", "gjr"), variance=9e-4), returns, variances)
    return mm.simulate(model, horizon=1, paths=1000, seed=1, variance_cap=np.inf)


def stressed(rows, scenarios, market=MARKET, accounts=None, **terms):
    """Stress report on positions (account, instrument, quantity), by a policy of such stress."""
    book = book_of(rows, ITEMS, accounts=accounts)
    return mm.stress(book, scenarios, market, mm.MarginPolicy(stress=Stress(**terms)))


def window(replay="raw", worst=1, first="2019-06-01", last="2019-12-31"):
    """A window of the history that is lived again."""
    return StressWindow("then", first, last, worst, replay)


def within(scenarios, first="2019-06-01", last="2019-12-31"):
    """Which bars of the history lie within two dates: bool [bars]."""
    days = scenarios.model.history.times.astype("datetime64[D]")
    return (days >= np.datetime64(first)) & (days <= np.datetime64(last))

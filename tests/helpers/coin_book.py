"""A small book with collateral in coins, its market and its scenarios, which many tests share.

The coin a0 stands at 100 dollars and a1 at 50; a2 is the asset whose returns are the euro's.
"""

import numpy as np

import mcmargin as mm
from mcmargin.draws.plan import SimulationPlan
from mcmargin.scenarios.scenarios import Scenarios
from tests.helpers.models import make_model

AS_OF = np.datetime64("2020-01-01", "ns")
ITEMS = [
    mm.Perpetual("PERP", "a0", basis_volatility=0.0),
    mm.Spot("S", "a0"),
    mm.Perpetual("INV", "a0", inverse=True, contract_size=10.0, basis_volatility=0.0),
    mm.Future("FUT", "a1", "2021-01-01", carry=0.05, basis_volatility=0.0),
    mm.Option("PUT", "a0", "put", 95.0, "2020-02-01"),
]
ROWS = [("x", "PERP", 3), ("x", "PUT", 4), ("x", "S", 1), ("y", "PERP", -5), ("y", "FUT", 2)]
POSTED = [("x", "a0", 1.5), ("x", "USD", 40), ("x", "EUR", -30), ("y", "USDT", 200), ("y", "a0", 2)]
ACCOUNTS = [mm.Account("x", "EUR"), mm.Account("y")]
FIVE_WORST = mm.MarginPolicy(level=0.95)
"""The mean of the five worst of 100 paths."""


def even_scenarios():
    """100 paths of one bar: a0 returns -0.50, -0.49 … 0.49, and a1 nothing."""
    model = make_model(("constant", "constant"))
    returns = np.zeros((1, 2, 100))
    returns[0, 0] = np.arange(-50, 50) / 100
    plan = SimulationPlan(1, 100, (1,), "double")
    return Scenarios(model, plan, returns, np.full_like(returns, 1e-4), "numpy", 0, 0)


EVEN = even_scenarios()


def market_of(**terms):
    """Market with the euro at 1.25 dollars and a dollar coin that may break its peg.

    Parameters
    ----------
    **terms
        Arguments of `Market` in place of these, or beside them.
    """
    fx = {"fx": {"EUR": 1.25, "USDT": 1.0}, "fx_asset": {"EUR": "a2"}}
    depeg = {"depeg": {"USDT": mm.Depeg(0.01, 0.3)}}
    spot = {"a0": 100.0, "a1": 50.0}
    return mm.Market(as_of=AS_OF, spot=spot, volatility={"a0": 0.5}, **(fx | depeg | terms))

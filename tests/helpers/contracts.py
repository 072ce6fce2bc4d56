"""Option contracts on which formulas are compared."""

import numpy as np


def contracts_of_all_kinds():
    """10,000 contracts on a forward of 100, an array each: strike, volatility, years, is a call.

    Moneyness runs from 0.1 to 10, volatility from 1 % to 300 %, time from an hour to 5 years.
    """
    axes = (
        np.geomspace(0.1, 10, 25),
        np.geomspace(0.01, 3, 20),
        np.geomspace(1 / 8760, 5, 10),
        np.array([False, True]),
    )
    strike, volatility, time, call = (a.ravel() for a in np.meshgrid(*axes, indexing="ij"))
    return 100 * strike, volatility, time, call

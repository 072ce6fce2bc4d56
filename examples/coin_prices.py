"""Write made-up closes of two coins: python coin_prices.py FILE.

No prices of coins ship with the packages that mcmargin needs, and so these are drawn from a fixed
seed, with the volatilities and the correlation below: 1,500 days of moves with five degrees of
freedom, which end at the prices below. Put your own closes in their place.
"""

import sys

import numpy as np
import pandas as pd

LAST_DAY, DAYS = "2021-06-30", 1500
LAST_PRICES = {"btc": 35_000.0, "eth": 2_200.0}
VOLATILITIES = (0.65, 0.85)
CORRELATION = 0.8
FREEDOM = 5

if __name__ == "__main__":
    draws = np.random.default_rng(2021)
    normals = draws.standard_normal((DAYS - 1, 2))
    normals[:, 1] = CORRELATION * normals[:, 0] + np.sqrt(1 - CORRELATION**2) * normals[:, 1]
    tails = np.sqrt((FREEDOM - 2) / draws.chisquare(FREEDOM, (DAYS - 1, 1)))
    moves = normals * tails * np.array(VOLATILITIES) / np.sqrt(365)
    paths = np.vstack([np.zeros(2), np.cumsum(moves, axis=0)])
    prices = np.array(list(LAST_PRICES.values())) * np.exp(paths - paths[-1])
    dates = pd.date_range(end=LAST_DAY, periods=DAYS, name="date")
    pd.DataFrame(prices.round(2), dates, list(LAST_PRICES)).to_csv(sys.argv[1])

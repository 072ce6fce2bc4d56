"""Write closes that ship with arch: python listed_prices.py FILE ASSET...; 2014 to 2018."""

import sys

import pandas as pd
from arch.data import nasdaq, sp500, vix, wti

CLOSES = {
    "sp500": lambda: sp500.load()["Adj Close"],
    "nasdaq": lambda: nasdaq.load()["Adj Close"],
    "wti": lambda: wti.load()["DCOILWTICO"],
    "vix": lambda: vix.load()["vix"],
}

if __name__ == "__main__":
    path, *assets = sys.argv[1:]
    closes = pd.concat({asset: CLOSES[asset]() for asset in assets}, axis=1, sort=True)
    closes.sort_index().loc["2014":"2018"].to_csv(path, index_label="date")

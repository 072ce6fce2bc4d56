"""Closes of two coins, and those that follow them in an update."""

import numpy as np
import pandas as pd

import mcmargin as mm

NOW = "2023-01-01"
"""After every close of these."""


def walk(bars=300, start="2021-01-01", deviation=0.02):
    """Closes of a coin at some 40,000 and of one at some 2,500, dated by the days."""
    rng = np.random.default_rng(1)
    steps = np.exp(np.cumsum(deviation * rng.standard_normal((bars, 2)), axis=0))
    index = pd.date_range(start, periods=bars)
    return pd.DataFrame(steps * [40_000.0, 2_500.0], index=index, columns=["btc", "eth"])


def history(frame):
    """Price history of a table of closes."""
    return mm.PriceHistory.from_frame(frame)


def after(*rows, start="2021-10-28"):
    """Closes after those of the model."""
    index = pd.date_range(start, periods=len(rows))
    return history(pd.DataFrame(list(rows), index=index, columns=["btc", "eth"]))

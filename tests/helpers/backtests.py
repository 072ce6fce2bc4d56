"""A small backtest whose page has everything: exceptions, two horizons, two levels, a rise."""

import numpy as np
import pandas as pd

import mcmargin as mm
from mcmargin.backtests.backtest import backtest
from mcmargin.backtests.peers import EwmaNormal, HistoricalSimulation, StaticPercentage


def judged_backtest():
    """Three models over 420 days; the name of one is a trap for a page that does not escape."""
    random = np.random.default_rng(3)
    scale = np.where(np.arange(420) < 300, 0.006, 0.02)[:, None]
    moves = scale * random.standard_t(5, (420, 2))
    closes = pd.DataFrame(
        100.0 * np.cumprod(1.0 + moves, axis=0),
        pd.date_range("2015-01-01", periods=420),
        ["a", "b"],
    )
    return backtest(
        mm.PriceHistory.from_frame(closes),
        {"long": {"a": 100.0}, "<script>alert(1)</script>": {"a": 50.0, "b": -50.0}},
        {"normal": EwmaNormal(), "past": HistoricalSimulation(150), "static": StaticPercentage()},
        window=150,
        paths=200,
        seed=7,
        jobs=1,
    )

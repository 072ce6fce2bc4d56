"""Short walks through made-up prices, for the tests of backtests."""

import numpy as np
import pandas as pd

import mcmargin as mm
from mcmargin.backtests.backtest import backtest
from mcmargin.backtests.competing import ModelSpec

PORTFOLIOS = {"long": {"a": 100.0}, "pair": {"a": 50.0, "b": -50.0}}


QUICK = ModelSpec("ewma", "normal", "gaussian")


def history(returns, assets=("a", "b")):
    dates = pd.date_range("2015-01-01", periods=len(returns) + 1)
    prices = 100.0 * np.cumprod(np.vstack([np.ones(len(assets)), 1.0 + returns]), axis=0)
    return mm.PriceHistory.from_frame(pd.DataFrame(prices, dates, list(assets)))


def walked(prices, models, **settings):
    return backtest(
        prices,
        PORTFOLIOS,
        models,
        **({"window": 200, "refit_every": 15, "paths": 2000, "seed": 7, "jobs": 1} | settings),
    )


def assert_same(one, other):
    pd.testing.assert_frame_equal(one.frame, other.frame, check_exact=True)
    assert np.array_equal(one.ratio_sums, other.ratio_sums)
    assert np.array_equal(one.ratio_counts, other.ratio_counts)
    assert one.settings == other.settings

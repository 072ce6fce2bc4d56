"""An update of 1,000 assets by one bar, beside arch's filter with fixed parameters.

arch keeps no state, and so it filters the whole history of an asset (2,000 bars) to get the
variance of the next bar. Our update moves the state of all assets by one bar. Both give the same
variances.
"""

import numpy as np
import pandas as pd
import pytest

from benchmarks.size import size
from mcmargin.data.prices import PriceHistory
from mcmargin.models.arch_fits import arch_model_of
from mcmargin.scenarios.simulation import simulate
from tests.helpers.models import RECURSIONS, make_model

ASSETS, BARS, PATHS = size(1000, 20), 2001, size(100, 10)
GROUP = "GJR, 1,000 assets x 1 bar after 2,000"


def arch_variances(returns):
    """Next variances [assets] by arch, from all returns [bars, assets]."""
    omega, alpha, gamma, beta = RECURSIONS["gjr"]
    out = []
    for column in returns.T:
        fixed = arch_model_of(column, "gjr", "normal").fix([omega, alpha, gamma, beta])
        out.append(fixed.forecast(horizon=1, reindex=False).variance.to_numpy()[0, 0])
    return np.array(out)


@pytest.fixture(scope="module")
def returns():
    """One hundred independent paths of 10 assets, side by side: [bars, assets]."""
    model, horizons = make_model(("gjr",) * (ASSETS // PATHS)), tuple(range(1, BARS + 1))
    drawn = simulate(model, horizons=horizons, paths=PATHS, seed=5, precision="double")
    growth = 1 + drawn.returns.reshape(BARS, ASSETS)
    return np.vstack([growth[:1], growth[1:] / growth[:-1]]) - 1


@pytest.fixture(scope="module")
def before(returns):
    """The model after all bars except the last; these bars are its history."""
    model = make_model(("gjr",) * ASSETS)
    closes = 100 * np.cumprod(1 + returns[:-1], axis=0)
    times = pd.DatetimeIndex(model.as_of + np.arange(1, BARS) * np.timedelta64(1, "D"))
    return model.update(PriceHistory.from_frame(pd.DataFrame(closes, times, list(model.assets))))


@pytest.fixture(scope="module")
def last_bar(before, returns):
    closes = before.state.prices * (1 + returns[-1])
    times = pd.DatetimeIndex([before.as_of, before.as_of + np.timedelta64(1, "D")])
    frame = pd.DataFrame([before.state.prices, closes], times, list(before.assets))
    return PriceHistory.from_frame(frame)


def test_ours(benchmark, before, last_bar):
    benchmark.group = GROUP
    benchmark.extra_info["who"] = "mcmargin"
    kept = []  # if it were freed, the next model would reuse its memory and seem faster
    benchmark.pedantic(lambda: kept.append(before.update(last_bar)), rounds=50, warmup_rounds=5)


def test_arch(benchmark, before, last_bar, returns):
    benchmark.group = GROUP
    benchmark.extra_info["who"] = "arch"
    theirs = benchmark.pedantic(arch_variances, args=(returns,), rounds=5, warmup_rounds=1)
    # arch starts its filter from a mean of first squares, which has no effect 2,000 bars later.
    np.testing.assert_allclose(before.update(last_bar).state.variance, theirs, rtol=1e-9)

"""calibrate(): 200 assets of 2,000 days, cold and warm, on one process and on two, beside arch.

The returns are simulated from known GJR models with t innovations. arch runs its own fits of the
same models, one after another, without dependence or fallbacks. `extra_info` holds the seconds for
each asset; the cores that were busy (processor time of this process and its workers over wall
time); and, on one process, the share of time outside arch's fit. With two jobs, the time includes
starting the processes and their imports. They are not started for a few seconds of fits, for which
they would not pay.
"""

import os
import time

import numpy as np
import pandas as pd
import pytest
from arch.univariate.base import ARCHModel

from benchmarks.size import size
from mcmargin.data.prices import PriceHistory
from mcmargin.data.returns import joint_returns
from mcmargin.models.arch_fits import arch_model_of
from mcmargin.models.calibration import calibrate
from mcmargin.scenarios.simulation import simulate
from tests.helpers.models import make_model

ASSETS, DAYS, PATHS = size(200, 2), size(2000, 500), size(10, 2)
ROUNDS = size(3, 1)
CHOICE = {"volatility": "gjr", "innovations": "t", "dependence": "t"}


@pytest.fixture(scope="module")
def closes():
    """Ten independent paths of 20 dependent assets side by side, with 2,000 returns of each."""
    model = make_model(("gjr",) * (ASSETS // PATHS), innovations="t", dependence="t")
    horizons = tuple(range(1, DAYS + 1))
    drawn = simulate(model, horizons=horizons, paths=PATHS, seed=8, precision="double")
    growth = 1 + drawn.returns.transpose(0, 2, 1).reshape(DAYS, ASSETS)
    frame = pd.DataFrame(
        100 * np.vstack([np.ones(ASSETS), growth]),
        index=pd.date_range("2015-01-01", periods=DAYS + 1),
        columns=[f"a{at}" for at in range(ASSETS)],
    )
    return PriceHistory.from_frame(frame)


@pytest.fixture(scope="module")
def earlier(closes):
    """The model of the day before, at which a warm start begins."""
    return calibrate(
        PriceHistory.from_frame(closes.to_frame().iloc[:-1]), **CHOICE, jobs=size(2, 1)
    )


def processor_seconds():
    """Processor time of this process and of its workers; the workers end with each call."""
    return sum(os.times()[:4])


def run(benchmark, function, *arguments, **options):
    """Measure three rounds; `extra_info` gets the seconds for each asset and the busy cores."""
    before = processor_seconds()
    result = benchmark.pedantic(function, args=arguments, kwargs=options, rounds=ROUNDS)
    busy = (processor_seconds() - before) / benchmark.stats.stats.total
    benchmark.extra_info["seconds an asset"] = round(benchmark.stats.stats.median / ASSETS, 5)
    benchmark.extra_info["cores busy"] = round(busy, 2)
    return result


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("start", ["cold", "warm"])
def test_ours(benchmark, closes, earlier, start, jobs):
    benchmark.group = f"200 assets x 2,000 days, {start}, jobs={jobs}"
    benchmark.extra_info["who"] = "mcmargin"
    options = CHOICE | {"jobs": jobs, "warm_start": earlier if start == "warm" else None}
    calibrate(closes, **options)
    model = run(benchmark, calibrate, closes, **options)
    assert sum(kind == "gjr" for kind in model.volatility.kinds) > 0.9 * ASSETS


def arch_fits(returns):
    """arch's own fits, each on returns scaled to unit variance."""
    return [
        arch_model_of(column / column.std(), "gjr", "t").fit(disp="off", show_warning=False)
        for column in returns.T
    ]


def test_arch(benchmark, closes):
    benchmark.group = "200 assets x 2,000 days, cold, jobs=1"
    benchmark.extra_info["who"] = "arch"
    run(benchmark, arch_fits, joint_returns(closes).returns)


@pytest.mark.parametrize("count", [ASSETS // 10 or 1, ASSETS])
@pytest.mark.parametrize("start", ["cold", "warm"])
def test_share_outside_archs_fit(benchmark, closes, earlier, start, count, monkeypatch):
    benchmark.group = f"{count} assets x 2,000 days, {start}, jobs=1, arch's fit timed within"
    benchmark.extra_info["who"] = "mcmargin"
    inside, real = [], ARCHModel.fit

    def timed(self, *arguments, **options):
        began = time.perf_counter()
        try:
            return real(self, *arguments, **options)
        finally:
            inside.append(time.perf_counter() - began)

    monkeypatch.setattr(ARCHModel, "fit", timed)
    few = PriceHistory.from_frame(closes.to_frame().iloc[:, :count])
    options = CHOICE | {"jobs": 1, "warm_start": earlier if start == "warm" else None}
    benchmark.pedantic(calibrate, args=(few,), kwargs=options, rounds=ROUNDS)
    share = 1 - sum(inside) / benchmark.stats.stats.total
    benchmark.extra_info["seconds an asset"] = round(benchmark.stats.stats.median / count, 5)
    benchmark.extra_info["share outside arch's fit"] = round(share, 3)

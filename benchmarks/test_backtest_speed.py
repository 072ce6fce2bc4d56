"""backtest(): 20 assets, 50 portfolios, beside a plain loop of arch fits and forecasts.

The workload asked about is 2,500 dates, with fits to 1,000 returns every 20 dates, 10,000 paths and
horizons of 1 and 2 bars. 100 of its dates are walked, and the times are scaled by 25, since every
piece of 100 dates does the same work; `extra_info` says so. On one process the split says where the
time goes. The plain loop forecasts every asset two bars ahead on every date, as a user of arch
would write it first; it knows neither dependence nor portfolios. It is run on a few dates, and
scaled, on two schedules: a fit of every asset on every date, and one every 20 dates, as ours, with
arch's own forecasts from these parameters between. The peak of memory is taken of 100 and of 200
dates: but for the result itself it must not grow with them.
"""

import time

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from benchmarks import memory
from benchmarks.size import SMALL, size
from mcmargin.backtests import competing
from mcmargin.models.arch_fits import arch_model_of
from mcmargin.models.model import MarketModel

ASSETS, PORTFOLIOS, WINDOW = size(20, 2), size(50, 3), size(1000, 300)
DATES, WHOLE, PATHS = size(100, 20), size(2500, 20), size(10_000, 500)
LOOPED = {1: size(2, 1), 20: size(20, 2)}
"""Dates of the plain loop, by how many of them a fit serves."""

BESIDES = 8.0
"""MB that a peak may differ by from one call to the next, for all else than what is held."""

GROUP = "20 assets x 2,500 dates x 50 portfolios"
SPEC = mm.ModelSpec("gjr", "t", "t")


def history(dates):
    """Closes of assets with a common factor and a volatility that moves."""
    random = np.random.default_rng(1)
    bars = WINDOW + dates + 1
    moves = 0.6 * random.standard_normal((bars, 1)) + 0.8 * random.standard_normal((bars, ASSETS))
    scale = 0.01 * np.exp(0.05 * np.cumsum(random.standard_normal((bars, 1)), axis=0) * 0.3)
    frame = pd.DataFrame(
        100.0 * np.cumprod(1.0 + scale * moves, axis=0),
        pd.date_range("2005-01-01", periods=bars),
        [f"a{at}" for at in range(ASSETS)],
    )
    return mm.PriceHistory.from_frame(frame)


def walked(prices, jobs=1):
    weights = np.random.default_rng(2).standard_normal((PORTFOLIOS, ASSETS))
    names = [f"p{at}" for at in range(PORTFOLIOS)]
    return mm.backtest(
        prices,
        pd.DataFrame(weights, names, prices.assets),
        {"own": SPEC},
        window=WINDOW,
        refit_every=20,
        paths=PATHS,
        seed=7,
        jobs=jobs,
    )


@pytest.mark.parametrize("jobs", [1, 2])
def test_ours(benchmark, jobs):
    benchmark.group = f"{GROUP}, jobs={jobs}"
    benchmark.extra_info |= {"who": "mcmargin", "scaled_by": WHOLE / DATES}
    # Two pieces of 100 dates are needed to keep two processes busy.
    prices = history(DATES * jobs)
    if jobs > 1:
        benchmark.extra_info["scaled_by"] = WHOLE / DATES / jobs
    benchmark.pedantic(walked, args=(prices, jobs), rounds=size(2, 1))


def test_split(benchmark, monkeypatch):
    """Where the time goes, on one process."""
    benchmark.group = f"{GROUP}, jobs=1, with its split"
    benchmark.extra_info |= {"who": "mcmargin", "scaled_by": WHOLE / DATES}
    spent = {}

    def timed(owner, name, what):
        real = getattr(owner, name)

        def run(*arguments, **options):
            began = time.perf_counter()
            try:
                return real(*arguments, **options)
            finally:
                spent[what] = spent.get(what, 0.0) + time.perf_counter() - began

        monkeypatch.setattr(owner, name, run)

    timed(competing, "calibrate", "fit")
    timed(MarketModel, "update", "filter")
    timed(competing, "simulate", "simulate")
    timed(competing, "forecast_of_returns", "gains and tails")
    benchmark.pedantic(walked, args=(history(DATES),), rounds=1)
    total = benchmark.stats.stats.total
    for what, seconds in spent.items():
        benchmark.extra_info[f"share {what}"] = round(seconds / total, 3)


def looped(prices, refit_every):
    """Fit every asset anew when a fit has served its dates, and forecast two bars on every date."""
    returns = np.diff(np.log(prices.prices), axis=0)
    found = []
    for column in returns.T:
        for at in range(LOOPED[refit_every]):
            window = column[at : at + WINDOW]
            if at % refit_every == 0:
                scale = window.std()
            model = arch_model_of(window / scale, "gjr", "t")
            if at % refit_every == 0:
                fit = model.fit(disp="off", show_warning=False)
            else:
                fit = model.fix(fit.params)
            found.append(scale**2 * fit.forecast(horizon=2, reindex=False).variance.to_numpy())
    return found


@pytest.mark.parametrize("refit_every", [1, 20])
def test_plain_loop(benchmark, refit_every):
    benchmark.group = f"{GROUP}, jobs=1"
    benchmark.extra_info |= {
        "who": f"plain loop of arch, fits every {refit_every} dates",
        "scaled_by": WHOLE / LOOPED[refit_every],
    }
    benchmark.pedantic(looped, args=(history(DATES), refit_every), rounds=size(2, 1))


def held(result):
    """MB of a result's own arrays."""
    arrays = [each for each in vars(result).values() if isinstance(each, np.ndarray)]
    return sum(each.nbytes for each in arrays) / 2**20


def test_memory(benchmark):
    """Twice the dates take the same peak: at most 1.2 times, besides the result itself."""
    benchmark.group = f"{2 * DATES} dates, peak"
    short, long = history(DATES), history(2 * DATES)
    walked(short)
    _, once = memory.growth(walked, short)
    result, twice = benchmark.pedantic(memory.growth, args=(walked, long), rounds=1)
    benchmark.extra_info |= {
        "who": "mcmargin",
        "peak MB": round(twice, 1),
        f"peak MB of {DATES} dates": round(once, 1),
        "result MB": round(held(result), 1),
    }
    # A small workload takes a few MB, of which the allocator's own habits are most.
    assert SMALL or 0.0 < twice <= 1.2 * once + held(result) + BESIDES

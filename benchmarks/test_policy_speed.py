"""The full policy: every component charged, beside base expected shortfall alone.

P1: 100,000 accounts x 2,000 instruments (as B1 of test_book_speed.py), 10,000 scenarios of 2 bars:
asked is at most five times the time of base alone, on 2 cores. P2: one account of 10 positions
under the same policy on cached scenarios, its instruments valued anew: 20 ms; of 200 positions
beside it, and what-ifs of either, whose instruments are valued already.
"""

import numpy as np
import pytest

import mcmargin as mm
from benchmarks.books import PATHS, UNDERLYINGS, instruments_of, market_of, positions_of
from benchmarks.memory import peak, reset_peak
from benchmarks.size import size
from mcmargin.markets.market import InstrumentLiquidity
from mcmargin.policies.policy_parts import (
    Concentration,
    Gap,
    Leverage,
    LeverageTier,
    Liquidity,
    Maintenance,
    Procyclicality,
    Stress,
    StressWindow,
)
from tests.models import make_model, with_history

BARS = 1500
ACCOUNTS, INSTRUMENTS = size(100_000, 400), size(2000, 40)
POSITIONS = size(200, 20)
POLICY = mm.MarginPolicy(
    short_option_minimum=0.01,
    maintenance=Maintenance(level=0.975),
    stress=Stress(
        windows=(StressWindow("two months", "2019-10-01", "2019-11-30"),),
        grids={"a0": "okx-major", "*": "okx-other"},
        gaps=tuple(Gap(f"a{at}", -0.3) for at in range(UNDERLYINGS)),
        scenario_weight=0.25,
    ),
    procyclicality=Procyclicality(buffer=0.25, stressed_weight=0.25, floor_years=10.0),
    liquidity=Liquidity(spread=0.001),
    concentration=Concentration(free_notional=1e5, rate=0.02),
    leverage=Leverage((LeverageTier(1e5, 20.0), LeverageTier(float("inf"), 10.0))),
    tick=0.01,
)


@pytest.fixture(scope="module")
def scenarios():
    """The same 50 assets, with 1,500 bars behind them, and the policy's floor and stressed bars."""
    rng = np.random.default_rng(3)
    returns = 0.02 * rng.standard_t(5, (BARS, UNDERLYINGS)) * np.sqrt(3 / 5)
    model = make_model(("gjr",) * UNDERLYINGS, "t", "t", variance=4e-4)
    model = with_history(model, returns, np.full(returns.shape, 4e-4))
    return mm.simulate(model, horizon=2, paths=PATHS, seed=7, policy=POLICY, engine="numpy")


def market_with_volumes(items, level=1.0):
    """Of every instrument, what trades a day."""
    plain = market_of(level)
    volumes = {item.name: InstrumentLiquidity(daily_volume=1e4, spread=0.001) for item in items}
    return mm.Market(plain.as_of, plain.spot, plain.volatility, liquidity=volumes)


@pytest.mark.parametrize("policy", [POLICY, None], ids=["full", "base"])
def test_all_accounts(benchmark, scenarios, policy):
    items = instruments_of(INSTRUMENTS)
    positions, market = positions_of(ACCOUNTS, items), market_with_volumes(items)

    def run():
        book = mm.Book.from_frame(positions, instruments=items)
        return mm.margin(book, scenarios, market, policy, threads=2)

    benchmark.group = f"P1, all components of {ACCOUNTS:,} accounts"
    benchmark.extra_info["who"] = "mcmargin" if policy else "mcmargin, base alone"
    reset_peak()
    report = benchmark.pedantic(run, rounds=2)
    benchmark.extra_info["peak MB of the process"] = round(peak())
    assert len(report.figures) == ACCOUNTS


@pytest.fixture(params=[10, POSITIONS])
def one_account(request):
    items = instruments_of(POSITIONS)[:: POSITIONS // request.param]
    rng = np.random.default_rng(6)
    rows = positions_of(1, items).iloc[:0]
    for item in items:
        rows.loc[len(rows)] = ("x", item.name, rng.normal(0, 10))
    return mm.Book.from_frame(rows, instruments=items)


def test_one_account(benchmark, scenarios, one_account):
    items, levels = one_account.instruments, iter(1.0 + 0.001 * np.arange(1000))
    markets = iter([market_with_volumes(items, next(levels)) for _ in range(40)])
    benchmark.group = f"P2, one account of {len(items)} positions, full policy"
    benchmark.extra_info["who"] = "mcmargin"
    benchmark.pedantic(
        lambda: mm.margin(one_account, scenarios, next(markets), POLICY),
        rounds=20,
        warmup_rounds=3,
    )


def test_a_what_if(benchmark, scenarios, one_account):
    items = one_account.instruments
    report = mm.margin(one_account, scenarios, market_with_volumes(items), POLICY)
    name = items[-1].name
    benchmark.group = f"P2, one account of {len(items)} positions, full policy"
    benchmark.extra_info["who"] = "mcmargin, a what-if"
    benchmark.pedantic(report.what_if, args=("x", {name: 3.0}), rounds=50, warmup_rounds=5)

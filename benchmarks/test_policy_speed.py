"""The full policy, which charges every component, beside base expected shortfall alone.

The policy has all components of a margin: floor and stressed bars, stress scenarios and dependence
tests, buffer and speed limit after a previous report, spreads, order books, impact and longer
close-outs, stressed funding, concentration, leverage, and maintenance at a horizon of its own. P1:
100,000 accounts x 2,000 instruments (as B1 of test_book_speed.py), 10,000 scenarios of 2 bars; the
target is at most five times the time of base alone, on 2 cores. P2: one account of 10 positions
under the same policy on cached scenarios, whose instruments are valued anew; the target is 20 ms.
An account of 200 positions is beside it, and so are what-ifs of both, whose instruments are valued
already. If there is a GPU, each benchmark also runs on it.
"""

import functools
from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from benchmarks.books import (
    AS_OF,
    ENGINES,
    PATHS,
    UNDERLYINGS,
    instruments_of,
    market_of,
    positions_of,
    skip_without,
    who,
)
from benchmarks.memory import peak, reset_peak
from benchmarks.size import size
from mcmargin.markets.market_parts import InstrumentLiquidity
from mcmargin.policies.policy_parts import (
    Concentration,
    Leverage,
    LeverageTier,
    Liquidity,
    Maintenance,
    Procyclicality,
)
from mcmargin.policies.stress_parts import Gap, Stress, StressWindow
from tests.helpers.models import make_model, with_history

BARS = 1500
ACCOUNTS, INSTRUMENTS = size(100_000, 400), size(2000, 40)
POSITIONS = size(200, 20)
CHARGED = [
    *("floor", "stress_add_on", "short_option_minimum", "liquidity", "concentration"),
    *("stressed_funding", "leverage_minimum", "maintenance"),
]
POLICY = mm.MarginPolicy(
    short_option_minimum=0.01,
    maintenance=Maintenance(level=0.975, horizon=1),
    stress=Stress(
        windows=(StressWindow("two months", "2019-10-01", "2019-11-30"),),
        grids={"a0": "okx-major", "*": "okx-other"},
        gaps=tuple(Gap(f"a{at}", -0.3) for at in range(UNDERLYINGS)),
        scenario_weight=0.25,
        dependence_weight=0.25,
    ),
    procyclicality=Procyclicality(
        buffer=0.25, stressed_weight=0.25, floor_years=10.0, speed_limit=0.1
    ),
    liquidity=Liquidity(spread=0.001),
    concentration=Concentration(free_notional=1e3, rate=0.02),
    leverage=Leverage((LeverageTier(1e3, 20.0), LeverageTier(float("inf"), 10.0))),
    tick=0.01,
)


@functools.cache
def scenarios_of(engine):
    """The same 50 assets with a history of 1,500 bars, and the policy's floor and stressed bars."""
    rng = np.random.default_rng(3)
    returns = 0.02 * rng.standard_t(5, (BARS, UNDERLYINGS)) * np.sqrt(3 / 5)
    model = make_model(("gjr",) * UNDERLYINGS, "t", "t", variance=4e-4)
    model = with_history(model, returns, np.full(returns.shape, 4e-4))
    options = {"horizons": (1, 2), "paths": PATHS, "seed": 7, "policy": POLICY}
    return mm.simulate(model, engine=engine, **options)


@pytest.fixture(scope="module", params=ENGINES)
def scenarios(request):
    skip_without(request.param)
    return scenarios_of(request.param)


def funded_instruments_of(count):
    """Instruments whose perpetuals may cost stressed funding."""
    return [
        replace(item, stressed_funding_rate=0.001) if item.product == "perpetual" else item
        for item in instruments_of(count)
    ]


def market_with_volumes(items, level=1.0):
    """Daily volumes of all instruments; a fifth trade little, and a fifth have order books.

    A position has 10 units. At a tenth of a daily volume of 20, it takes days to close.
    """
    plain, known = market_of(level), {}
    for at, item in enumerate(items):
        volume = 20.0 if at % 5 == 0 else 1e4
        known[item.name] = InstrumentLiquidity(daily_volume=volume, spread=0.001)
        if at % 5 == 1:
            known[item.name] = replace(
                known[item.name],
                bids=((99.9, 3.0), (99.5, 5.0), (99.0, 8.0)),
                asks=((100.1, 3.0), (100.5, 5.0), (101.0, 8.0)),
            )
    return mm.Market(plain.as_of, plain.spot, plain.volatility, liquidity=known)


def a_bar_before(book, scenarios, policy):
    """The report from which buffer and speed limit start; None for base alone.

    It is of the bar before, at prices so much lower that the speed limit holds some accounts.
    """
    if policy is None:
        return None
    market = market_with_volumes(book.instruments, 0.6)
    report = mm.margin(book, scenarios, market, policy, threads=2)
    return replace(report, as_of=str(AS_OF - np.timedelta64(1, "D")), session=None)


@pytest.mark.parametrize("policy", [POLICY, None], ids=["full", "base"])
def test_all_accounts(benchmark, scenarios, policy):
    items = funded_instruments_of(INSTRUMENTS)
    positions, market = positions_of(ACCOUNTS, items), market_with_volumes(items)
    book = mm.Book.from_frame(positions, instruments=items)
    previous = a_bar_before(book, scenarios, policy)

    def run():
        book = mm.Book.from_frame(positions, instruments=items)
        return mm.margin(book, scenarios, market, policy, previous=previous, threads=2)

    benchmark.group = f"P1, all components of {ACCOUNTS:,} accounts"
    benchmark.extra_info["who"] = who(scenarios, "" if policy else "base alone")
    reset_peak()
    report = benchmark.pedantic(run, rounds=2)
    benchmark.extra_info["peak MB of the process"] = round(peak())
    assert len(report.figures) == ACCOUNTS
    if policy:
        assert (report.figures[CHARGED].max() > 0).all()
        assert (report.figures["calm"] < report.figures["stressed"]).any()


@pytest.fixture(params=[10, POSITIONS])
def one_account(request):
    items = funded_instruments_of(POSITIONS)[:: POSITIONS // request.param]
    rng = np.random.default_rng(6)
    rows = positions_of(1, items).iloc[:0]
    for item in items:
        rows.loc[len(rows)] = ("x", item.name, rng.normal(0, 10))
    return mm.Book.from_frame(rows, instruments=items)


def test_one_account(benchmark, scenarios, one_account):
    items, levels = one_account.instruments, iter(1.0 + 0.001 * np.arange(1000))
    markets = iter([market_with_volumes(items, next(levels)) for _ in range(40)])
    benchmark.group = f"P2, one account of {len(items)} positions, full policy"
    benchmark.extra_info["who"] = who(scenarios)
    previous = a_bar_before(one_account, scenarios, POLICY)
    benchmark.pedantic(
        lambda: mm.margin(one_account, scenarios, next(markets), POLICY, previous=previous),
        rounds=20,
        warmup_rounds=3,
    )


def test_a_what_if(benchmark, scenarios, one_account):
    items = one_account.instruments
    previous = a_bar_before(one_account, scenarios, POLICY)
    report = mm.margin(
        one_account, scenarios, market_with_volumes(items), POLICY, previous=previous
    )
    name = items[-1].name
    benchmark.group = f"P2, one account of {len(items)} positions, full policy"
    benchmark.extra_info["who"] = who(scenarios, "a what-if")
    benchmark.pedantic(report.what_if, args=("x", {name: 3.0}), rounds=50, warmup_rounds=5)

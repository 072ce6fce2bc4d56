"""Books at the scale of an exchange, beside a numpy loop over accounts and a QuantLib loop.

B1: 100,000 accounts x 2,000 instruments (half options, 50 underlyings), 10 positions for each
account, 10,000 scenarios of 2 bars. The targets are 60 s on 2 cores, of which tails take 20 s, and
4 GiB. The same with a tenth of the accounts is beside it. B2: one account of 200 positions, half of
them options, after a price move; the target is 80 ms. B3: a what-if of one trade on cached
scenarios; the target is 5 ms. If a loop takes too long, it runs on a sample and its time is scaled,
and the results say so. If there is a GPU, each benchmark also runs on it, with the scenarios there.
(B4, Black-76 itself, is in test_black76_speed.py.)
"""

import time

import numpy as np
import pytest
from scipy.special import ndtr

import mcmargin as mm
from benchmarks.books import (
    AS_OF,
    ENGINES,
    PATHS,
    balances_of,
    instruments_of,
    market_of,
    positions_of,
    scenarios_of,
    skip_without,
    who,
)
from benchmarks.memory import peak, reset_peak
from benchmarks.size import size
from mcmargin.margins import figures
from mcmargin.policies.policy_parts import Collateral

ACCOUNTS, INSTRUMENTS = size(100_000, 400), size(2000, 40)


@pytest.fixture(scope="module", params=ENGINES)
def scenarios(request):
    skip_without(request.param)
    return scenarios_of(request.param)


@pytest.fixture(scope="module")
def on_the_host():
    return scenarios_of("numpy")


@pytest.mark.parametrize("accounts", [ACCOUNTS, ACCOUNTS // 10])
def test_all_accounts(benchmark, scenarios, accounts, monkeypatch):
    items = instruments_of(INSTRUMENTS)
    positions = positions_of(accounts, items)
    tails = []

    def timed(*args, **options):
        start = time.perf_counter()
        result = estimate_tails(*args, **options)
        tails.append(time.perf_counter() - start)
        return result

    estimate_tails = figures.estimate_tails
    monkeypatch.setattr(figures, "estimate_tails", timed)

    def run():
        tails.clear()
        book = mm.Book.from_frame(positions, instruments=items)
        return mm.margin(book, scenarios, market_of(), threads=2)

    benchmark.group = f"B1, {accounts:,} accounts"
    benchmark.extra_info["who"] = who(scenarios)
    reset_peak()
    report = benchmark.pedantic(run, rounds=2 if accounts > 50_000 else 4)
    if scenarios.engine == "numpy":
        # A device goes on working after its calls return.
        benchmark.extra_info["tails, s of two threads"] = round(sum(tails), 2)
    benchmark.extra_info["peak MB of the process"] = round(peak())
    assert len(report.figures) == accounts


@pytest.mark.parametrize("balances", ["none", "dollars", "two coins", "two coins, haircuts"])
def test_all_accounts_with_balances(benchmark, scenarios, balances):
    """20,000 accounts whose coins move with the positions, or get a haircut."""
    items = instruments_of(INSTRUMENTS)
    positions = positions_of(ACCOUNTS // 5, items)
    posted = None
    if balances != "none":
        posted = balances_of(positions, 0 if balances == "dollars" else 2)
    part = Collateral("haircut") if "haircuts" in balances else None

    def run():
        book = mm.Book.from_frame(positions, instruments=items, balances=posted)
        return mm.margin(book, scenarios, market_of(), mm.MarginPolicy(collateral=part), threads=2)

    benchmark.group = f"B1 with balances, {ACCOUNTS // 5:,} accounts"
    benchmark.extra_info["who"] = who(scenarios, "" if posted is None else balances)
    report = benchmark.pedantic(run, rounds=3)
    assert report.figures["equity"].notna().all() == (posted is not None)


def plain_account(items, quantities, moves, ratios):
    """One account in plain numpy: value each instrument on every path, then sort the losses."""
    gains = np.zeros(PATHS)
    for item, quantity in zip(items, quantities, strict=True):
        at = int(item.underlying[1:])
        spot = 100.0 * (1.0 + moves[at])
        if item.product == "option":
            years = float((item.expiry - AS_OF) / np.timedelta64(1, "D") - 2) / 365
            deviation = 0.4 * ratios[at] * years**0.5
            d1 = np.log(spot / item.strike) / deviation + deviation / 2
            call = spot * ndtr(d1) - item.strike * ndtr(d1 - deviation)
            spot = call if item.kind == "call" else call - spot + item.strike
        gains += quantity * spot
    return np.sort(gains)[: PATHS // 100].mean()


def test_a_loop_over_accounts(benchmark, on_the_host):
    """500 accounts; the time is scaled to 100,000."""
    items = {item.name: item for item in instruments_of(INSTRUMENTS)}
    rows = positions_of(ACCOUNTS // 200, list(items.values())).groupby("account")
    moves = on_the_host.returns[0].astype(float)
    ratios = np.sqrt(on_the_host.next_variance[0].astype(float) / 4e-4)

    def run():
        for _, held in rows:
            plain_account([items[n] for n in held["instrument"]], held["quantity"], moves, ratios)

    benchmark.group = f"B1, {ACCOUNTS:,} accounts"
    benchmark.extra_info.update(who="numpy, account by account", scaled_by=200)
    benchmark.pedantic(run, rounds=2)


def test_a_loop_over_quantlib(benchmark, on_the_host):
    """10,000 of the 10 million option values that B1 needs, one after another."""
    quantlib = pytest.importorskip("QuantLib")
    forwards = (100.0 * (1.0 + on_the_host.returns[0, 0].astype(float))).tolist()

    def run():
        return [quantlib.blackFormula(1, 100.0, forward, 0.1, 1.0) for forward in forwards]

    benchmark.group = f"B1, {ACCOUNTS:,} accounts"
    benchmark.extra_info.update(who="QuantLib, option values alone", scaled_by=1000)
    benchmark.pedantic(run, rounds=5)


@pytest.fixture(scope="module")
def one_account():
    items = instruments_of(200)
    frame = positions_of(1, items).iloc[:0]
    rng = np.random.default_rng(6)
    for item in items:
        frame.loc[len(frame)] = ("x", item.name, rng.normal(0, 10))
    return mm.Book.from_frame(frame, instruments=items)


def test_one_account_after_a_price_move(benchmark, scenarios, one_account):
    levels = iter(1.0 + 0.001 * np.arange(1000))
    benchmark.group = "B2, one account of 200 positions"
    benchmark.extra_info["who"] = who(scenarios)
    benchmark.pedantic(
        lambda: mm.margin(one_account, scenarios, market_of(next(levels))),
        rounds=20,
        warmup_rounds=3,
    )


def test_one_account_in_plain_numpy(benchmark, on_the_host, one_account):
    moves = on_the_host.returns[0].astype(float)
    ratios = np.sqrt(on_the_host.next_variance[0].astype(float) / 4e-4)
    quantities = one_account.quantities.toarray()[0]
    benchmark.group = "B2, one account of 200 positions"
    benchmark.extra_info["who"] = "numpy, account by account"
    benchmark.pedantic(
        plain_account,
        args=(one_account.instruments, quantities, moves, ratios),
        rounds=10,
        warmup_rounds=1,
    )


def test_a_what_if(benchmark, scenarios, one_account):
    report = mm.margin(one_account, scenarios, market_of())
    benchmark.group = "B3, a what-if of one trade"
    benchmark.extra_info["who"] = who(scenarios)
    benchmark.pedantic(report.what_if, args=("x", {"p120": 3.0}), rounds=50, warmup_rounds=5)

"""What memory_limit bounds: bytes at the peak, and how often an instrument is valued."""

import tracemalloc
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.errors import MemoryLimitWarning
from mcmargin.markets.market_parts import InstrumentLiquidity
from mcmargin.policies.policy_parts import Liquidity, Maintenance, Procyclicality
from mcmargin.valuing import valuation
from tests.helpers.books import book_of
from tests.helpers.models import make_model, with_history

AS_OF = np.datetime64("2020-01-01", "ns")
PATHS, BARS, COUNT = 8192, 10, 100
MB = 10**6
CHANGES = 8 * COUNT * PATHS
"""Value changes of all instruments: 6.6 MB."""

TILE = 8 * 2048 * (COUNT + BARS + valuation.WORK_ROWS)
"""What is held whatever the limit: one tile of all instruments, 2.1 MB."""

pytestmark = pytest.mark.filterwarnings("ignore::mcmargin.errors.MemoryLimitWarning")

OVERHEAD = 2 * MB
"""Tables and Python's own objects."""


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(1)
    returns = rng.normal(0, 0.02, (300, 1))
    return with_history(make_model(("garch",), "t", "t", variance=4e-4), returns, returns**2)


@pytest.fixture(scope="module")
def policy():
    part = Procyclicality(floor_years=0.5)
    return mm.MarginPolicy(maintenance=Maintenance(level=0.95, horizon=5), procyclicality=part)


def drawn(model, policy=None):
    """New ones for every measurement: scenarios keep draws."""
    return mm.simulate(
        model, horizons=(5, BARS), paths=PATHS, seed=1, engine="numpy", policy=policy
    )


def perpetuals(account="x"):
    items = [mm.Perpetual(f"P{i}", "a0") for i in range(COUNT)]
    rows = [(account, item.name, 1.0 + at) for at, item in enumerate(items)]
    return book_of(rows, items)


def peak_of(book, scenarios, policy, limit):
    market = mm.Market(AS_OF, {"a0": 100.0})
    tracemalloc.start()
    report = mm.margin(book, scenarios, market, policy, memory_limit=limit, threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return report, peak


@pytest.mark.parametrize("limit", [1, 4 * MB, 12 * MB, 20 * MB])
def test_the_limit_bounds_the_peak(model, limit):
    """Valuations, a tile at least, and as much again for profit and loss.

    The draws of these perpetuals at all bars would take 66 MB, and their walks as much again.
    """
    report, peak = peak_of(perpetuals(), drawn(model), None, limit)
    assert peak <= 2 * max(limit, TILE) + OVERHEAD
    whole, most = peak_of(perpetuals(), drawn(model), None, 10**9)
    assert most > CHANGES
    pd.testing.assert_frame_equal(report.figures, whole.figures, check_exact=True)
    pd.testing.assert_frame_equal(report.positions, whole.positions, check_exact=True)


@pytest.mark.parametrize("limit", [4 * MB, 20 * MB, 50 * MB])
def test_all_valuations_of_a_policy_share_the_limit(model, policy, limit):
    """Four of them: initial and maintenance margin, each with a floor."""
    report, peak = peak_of(perpetuals(), drawn(model, policy), policy, limit)
    assert peak <= 2 * max(limit, TILE) + OVERHEAD
    whole, _ = peak_of(perpetuals(), drawn(model, policy), policy, 10**9)
    pd.testing.assert_frame_equal(report.figures, whole.figures, check_exact=True)


def test_walks_are_kept_at_horizons_alone_and_come_again_alike(model):
    scenarios = drawn(model)
    market, tiles = mm.Market(AS_OF, {"a0": 100.0}), scenarios.plan.tiles
    block = valuation.PathBlock(scenarios, market, tiles, most=0)
    steps = scenarios.named.normals("P", tiles) * np.sqrt(block.bar_years)[:, None]
    walk = np.add.accumulate(steps, axis=0)
    for bar in (BARS, 3, 5):
        np.testing.assert_array_equal(block.walk("P", bar), walk[bar - 1])
    block.forget("P")
    np.testing.assert_array_equal(block.walk("P", 5), walk[4])
    jumped = scenarios.named.jumps("P", tiles, 0.1).cumsum(axis=0) > 0
    for bar in (1, BARS):
        np.testing.assert_array_equal(block.jumped("P", 0.1, bar), jumped[bar - 1])


def test_collateral_that_is_kept_has_its_part_of_the_limit(model):
    """What is kept beside the blocks, and what they take, are the limit together."""
    items = (*perpetuals().instruments, valuation.Balance("a0", "a0"))
    horizons = {"perpetual": BARS, "spot": BARS}
    market = mm.Market(AS_OF, {"a0": 100.0})
    for limit, kept in ((8 * MB, False), (20 * MB, True)):
        whole = valuation.Valuation(items, drawn(model), market, horizons, limit, 1)
        assert whole.fits == kept
        assert whole.collateral.fits
        alone = whole.collateral
        assert alone.collateral is alone
        (_, changes), *_ = whole.blocks()
        (_, own), *_ = alone.blocks()
        np.testing.assert_array_equal(changes[-1], own[0, : changes.shape[1]])


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_what_is_not_kept_is_valued_by_need_and_not_once_a_unit(model, monkeypatch, share):
    """Gains and contributions value everything once for all units; liquidity and open orders what
    they need, once more each."""
    count, units = 40, 10
    items = [mm.Option(f"o{i}", "a0", "call", 80.0 + i, "2020-03-01") for i in range(count)]
    names = [item.name for item in items]
    rows = [(f"x{a}", names[(7 * a + i) % count], 50.0) for a in range(units) for i in range(5)]
    orders = [(f"x{a}", names[at], 1.0) for a in range(units) for at in (0, a)]
    book = book_of(rows, items, orders=orders)
    thin = {name: InstrumentLiquidity(daily_volume=100.0) for name in names}
    market = mm.Market(AS_OF, {"a0": 100.0}, volatility={"a0": 0.5}, liquidity=thin)
    policy = mm.MarginPolicy(liquidity=Liquidity(participation=0.1))
    scenarios, paths = drawn(model), Counter()
    plain = valuation.value_change

    def counted(item, at):
        gain = plain(item, at)
        paths[item.name] += len(gain)
        return gain

    monkeypatch.setattr(valuation, "value_change", counted)
    whole = mm.margin(book, scenarios, market, policy, threads=1)
    assert max(paths.values()) == PATHS
    assert whole.figures["open_orders"].sum() > 0
    paths.clear()
    limit = int(share * 8 * PATHS * (2 * count + 32))
    parts = mm.margin(book, scenarios, market, policy, memory_limit=limit, threads=1)
    assert max(paths.values()) > PATHS
    held, ordered = {row[1] for row in rows}, {row[1] for row in orders}
    for name in names:
        # Two groups of units at the smaller limit.
        groups = -(-units * 8 * PATHS // (limit // 2))
        most = 2 * groups + (name in held) + groups * (name in ordered)
        assert paths[name] <= most * PATHS, name
    pd.testing.assert_frame_equal(parts.figures, whole.figures, check_exact=True)
    pd.testing.assert_frame_equal(parts.positions, whole.positions, check_exact=True)


ROWS = st.lists(
    st.tuples(
        st.integers(0, 11),
        st.sampled_from(["S", "P0", "P1", "P2", "C", "E"]),
        st.floats(-9, 9).map(lambda size: round(size, 3)).filter(bool),
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda row: row[:2],
)


@given(ROWS, ROWS, st.integers(1, 4 * 10**6), st.integers(1, 3))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_no_limit_changes_a_bit(model, held, ordered, limit, threads):
    """Of accounts in several currencies, isolated and netted, with orders and collateral."""
    items = [mm.Spot("S", "a0"), mm.Spot("E", "a0", "EUR")]
    items += [mm.Perpetual(f"P{at}", "a0") for at in range(3)]
    items += [mm.Option("C", "a0", "call", 100.0, "2020-03-01")]
    accounts = [
        mm.Account(
            f"x{at}",
            owner=f"o{at // 2}",
            currency=("USD", "EUR", "a0")[at // 2 % 3],
            mode="isolated" if at % 4 > 1 and at % 3 == 0 else "cross",
            netting="net" if at % 4 < 2 else "gross",
        )
        for at in range(12)
    ]
    balances = [(f"x{at}", asset, 10.0) for at in range(0, 12, 2) for asset in ("a0", "USD")]
    book = book_of(
        [(f"x{row[0]}", *row[1:]) for row in held],
        items,
        balances,
        orders=[(f"x{row[0]}", *row[1:]) for row in ordered],
        accounts=accounts,
    )
    market = mm.Market(
        AS_OF,
        {"a0": 100.0},
        fx={"EUR": 1.1},
        fx_volatility={"EUR": 0.1},
        coins=("a0",),
        volatility={"a0": 0.5},
    )
    policy = mm.MarginPolicy(horizons={"spot": 5}, maintenance=Maintenance(level=0.9, horizon=5))
    scenarios = drawn(model)
    whole = mm.margin(book, scenarios, market, policy, memory_limit=10**9, threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MemoryLimitWarning)
        parts = mm.margin(book, scenarios, market, policy, memory_limit=limit, threads=threads)
    for name in ("figures", "positions", "owners"):
        pd.testing.assert_frame_equal(
            getattr(parts, name), getattr(whole, name), check_exact=True, obj=name
        )


@pytest.mark.parametrize("limit", [2 * MB])
def test_many_accounts_and_their_orders_keep_to_the_limit(model, limit):
    """300 accounts: their gains would take 20 MB, and those of 40 with orders alone 2.6 MB."""
    items = perpetuals().instruments
    rng = np.random.default_rng(2)
    names = [item.name for item in items]
    rows = [
        (f"x{at:03d}", name, float(rng.normal()))
        for at in range(300)
        for name in rng.choice(names, 4, replace=False)
    ]
    orders = [(f"x{at:03d}", names[(at + i) % COUNT], 1.0) for at in range(40) for i in range(3)]
    book = book_of(rows, items, orders=orders)
    with pytest.warns(MemoryLimitWarning, match=r"values of 100 instruments on 8,192 paths.*more"):
        report, peak = peak_of(book, drawn(model), None, limit)
    assert peak <= 2 * max(limit, TILE) + OVERHEAD
    whole, most = peak_of(book, drawn(model), None, 10**9)
    assert most > 2 * CHANGES
    pd.testing.assert_frame_equal(report.figures, whole.figures, check_exact=True)
    pd.testing.assert_frame_equal(report.positions, whole.positions, check_exact=True)


def test_orders_in_all_instruments_of_one_account_keep_to_the_limit(model):
    """Their values would take 6.6 MB twice, and those of corners as much again."""
    items = perpetuals().instruments
    orders = [("x", item.name, 1.0 if at % 2 else -1.0) for at, item in enumerate(items)]
    book = book_of([("x", "P0", 1.0)], items, orders=orders)
    with pytest.warns(MemoryLimitWarning, match="once more for open orders"):
        report, peak = peak_of(book, drawn(model), None, 3 * MB)
    batch = 8 * 64 * 2048
    assert peak <= 2 * max(3 * MB, TILE) + OVERHEAD + 4 * batch
    whole, _ = peak_of(book, drawn(model), None, 10**9)
    pd.testing.assert_frame_equal(report.figures, whole.figures, check_exact=True)


def test_values_are_made_once_for_all_accounts_however_many(model, monkeypatch):
    """And once more for the contributions: neither grows with the accounts."""
    items = perpetuals().instruments
    plain, paths = valuation.value_change, Counter()

    def counted(item, at):
        gain = plain(item, at)
        paths[item.name] += len(gain)
        return gain

    monkeypatch.setattr(valuation, "value_change", counted)
    times = {}
    for accounts in (10, 400):
        rows = [
            (f"x{at}", items[(7 * at + i) % COUNT].name, 1.0)
            for at in range(accounts)
            for i in (0, 1)
        ]
        book = book_of(rows, items)
        paths.clear()
        with pytest.warns(MemoryLimitWarning, match="at least 2 times instead of once"):
            mm.margin(book, drawn(model), mm.Market(AS_OF, {"a0": 100.0}), memory_limit=2 * MB)
        times[accounts] = max(paths.values()) / PATHS
    assert times == {10: 2.0, 400: 2.0}

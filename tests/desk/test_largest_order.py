"""Largest orders and leverage where margins are not convex in the size: against scans of sizes.

Under a buffer the charge stands while the requirement falls, and liquidity rises; beside a floor,
or at weights above 1 in all, stress exceeds base by more as base falls; and beyond an order book a
unit costs less. A size may then be refused that lies below a permitted one.
"""

from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.desk.largest_order import _first_permitted, _first_refused
from mcmargin.markets.market_parts import InstrumentLiquidity
from mcmargin.policies.policy_parts import Liquidity, Procyclicality
from mcmargin.policies.stress_parts import Stress
from tests.helpers.books import book_of
from tests.helpers.coin_book import EVEN, FIVE_WORST
from tests.helpers.coin_book import ITEMS as COIN_ITEMS
from tests.helpers.euro_market import market_of, report_in_euro
from tests.helpers.models import make_model, scenarios_of_three, with_history

ITEMS = [
    mm.Perpetual("P", "a0", basis_volatility=0.0),
    mm.Perpetual("Q", "a0", basis_volatility=0.0),
    mm.Perpetual("R", "a1"),
]
BOOK = {
    "Q": InstrumentLiquidity(bids=((99.0, 5.0), (50.0, 5.0)), asks=((101.0, 5.0), (150.0, 5.0)))
}
BUFFER = mm.MarginPolicy(
    procyclicality=Procyclicality(buffer=0.25), liquidity=Liquidity(spread=0.02)
)
FLOOR = mm.MarginPolicy(
    procyclicality=Procyclicality(floor_years=1.0), stress=Stress(dependence_weight=1.0)
)
POLICIES = {
    "buffer": BUFFER,
    "floor": FLOOR,
    "weights": mm.MarginPolicy(
        stress=Stress(grids={"*": "okx-other"}, scenario_weight=0.9, dependence_weight=0.9)
    ),
    "order book": mm.MarginPolicy(liquidity=Liquidity()),
}


@pytest.fixture(scope="module")
def scenarios():
    model = make_model(("garch", "garch"), "t", "t", variance=4e-4)
    returns = np.random.default_rng(3).normal(0, 0.03, (100, 2))
    model = with_history(model, returns, np.full(returns.shape, 9e-4))
    return mm.simulate(model, horizon=1, paths=1000, seed=11, policy=FLOOR, engine="numpy")


def report_of(scenarios, rows, policy, *, previous=None, liquidity=None, cash=None):
    market = mm.Market(
        as_of=scenarios.as_of, spot={"a0": 100.0, "a1": 50.0}, liquidity=liquidity or {}
    )
    posted = None if cash is None else [("x", "USD", cash)]
    book = book_of([("x", *row) for row in rows], ITEMS, posted)
    return mm.margin(book, scenarios, market, policy, previous=previous)


def first_refused(report, name, sign, bound, sizes):
    """The first of some sizes that leaves too large a margin."""
    for size in sizes:
        if report.what_if("x", {name: sign * size}).margin > bound:
            return size
    return np.inf


@pytest.fixture(scope="module")
def held_by_its_buffer(scenarios):
    """Short 100, after a report of 90: buying is charged its spread alone, until the buffer is
    whole; then the margin falls by what each unit hedges."""
    before = report_of(scenarios, [("P", -90.0)], BUFFER)
    return report_of(scenarios, [("P", -100.0)], BUFFER, previous=before)


@pytest.mark.parametrize("lot", [None, 0.5])
def test_the_first_refused_size_is_the_end(held_by_its_buffer, lot):
    """A unit costs 1, half of 2 % of 100: 8 more of equity end at 8, however much less 150 cost."""
    report = held_by_its_buffer
    start = report.account("x").margin
    assert report.what_if("x", {"Q": 150.0}).margin < start
    assert report.what_if("x", {"Q": 9.0}).margin == pytest.approx(start + 9.0)
    found = report.max_order("x", "Q", side="buy", equity=start + 8.0, lot=lot)
    assert found == pytest.approx(8.0, rel=1e-6)


def test_the_largest_leverage_is_the_first_end():
    """2 coins of 100 under a short of f: base is 48 (2 - f), the last charge 54, of f = 1.1. It
    stands up to there while the spread costs f, so that 55.05 of equity end at f = 1.05; 1.2, of
    a charge of 48, would be permitted again."""
    policy = replace(FIVE_WORST, procyclicality=BUFFER.procyclicality, liquidity=BUFFER.liquidity)
    posted = [("x", "a0", 2), ("x", "USD", -144.95)]
    before = mm.margin(book_of([("x", "PERP", -1.1)], COIN_ITEMS, posted), EVEN, policy=policy)
    book = book_of([("x", "PERP", -1)], COIN_ITEMS, posted)
    report = mm.margin(book, EVEN, policy=policy, previous=before)
    assert report.account("x").margin == pytest.approx(55.0)
    assert report.what_if("x", {"PERP": -0.2}).margin == pytest.approx(49.2)
    assert report.max_leverage("x").max_leverage == pytest.approx(105 / 55.05, rel=1e-6)
    # What is not permitted at present ends at the first factor that is not: there is none below.
    short = book_of([("x", "PERP", -1)], COIN_ITEMS, [("x", "a0", 2), ("x", "USD", -151.5)])
    report = mm.margin(short, EVEN, policy=policy, previous=before)
    found = report.max_leverage("x")
    factor = found.max_leverage * found.equity / found.gross_exposure
    # 48.5 of equity: 60 (2 - f) + f comes down to it at 71.5 / 59, and 48 rises past it later.
    assert factor > 71.5 / 59
    sizes = np.linspace(71.6 / 59, factor * (1 - 1e-9), 50)
    assert first_refused(report, "PERP", -1.0, 48.5 * (1 + 1e-9), sizes - 1.0) == np.inf
    assert first_refused(report, "PERP", -1.0, 48.5, [factor * (1 + 1e-6) - 1.0]) < np.inf


def test_what_is_scanned():
    """Each halving in 32, and without an end up to far beyond any position; whole lots once."""
    assert _first_refused(lambda size: not 8 < size < 10, 0.0, 256.0) == (8.0, 8.25)
    low, high = _first_refused(lambda size: not 8 < size < 10, 0.0, np.inf)
    assert 8.0 == low < high <= 8.25
    assert _first_refused(lambda size: True, 0.0, np.inf)[1] == np.inf
    assert _first_refused(lambda size: size < 7, 0.0, 16.0, lot=1.0) == (6.0, 7.0)
    assert _first_permitted(lambda factor: 2 < factor < 2.1) == pytest.approx(2.0625)
    assert _first_permitted(lambda factor: False) == 256.0


@pytest.mark.parametrize("name", list(POLICIES))
@pytest.mark.parametrize("seed", range(3))
def test_random_books_against_a_fine_scan(scenarios, name, seed):
    """No size of 150 up to the largest is refused, and one right beyond it is. The equity is a
    little below the first peak of the margin, where it has one, as under buffers."""
    rng, policy = np.random.default_rng(seed), POLICIES[name]
    sign = float(rng.choice([-1.0, 1.0]))
    rows = [("P", -sign * rng.uniform(20, 60)), ("R", rng.normal(0, 60))]
    options = {"liquidity": BOOK if name == "order book" else None}
    if name == "buffer":
        last = [(item, 0.9 * size) for item, size in rows]
        options["previous"] = report_of(scenarios, last, policy)
    report = report_of(scenarios, rows, policy, **options)
    sizes = np.linspace(0, 4 * abs(rows[0][1]), 81)
    margins = [report.what_if("x", {"Q": sign * size}).margin for size in sizes]
    peaks = [b for a, b, c in zip(margins, margins[1:], margins[2:], strict=False) if a < b > c]
    start = margins[0]
    equity = max(start, peaks[0] - 0.1 * (peaks[0] - start)) if peaks else 1.5 * start
    side = "buy" if sign > 0 else "sell"
    found = report.max_order("x", "Q", side=side, equity=equity)
    bound = max(start, equity) * (1 + 1e-9)
    fine = found * np.linspace(0, 1, 150) * (1 - 1e-9)
    assert first_refused(report, "Q", sign, bound, fine) == np.inf
    assert first_refused(report, "Q", sign, bound, [found * (1 + 1e-6) + 1e-6]) < np.inf


def test_the_largest_order_of_an_account_without_money_is_none():
    scenarios = scenarios_of_three()
    items = [mm.Spot("S", "a0"), mm.Spot("T", "a1")]
    report = mm.margin(book_of([("x", "S", 0.0), ("y", "T", 1.0)], items), scenarios, market_of())
    for equity in (0.0, -5.0):
        for lot in (None, 1.0):
            size = report.max_order("x", "S", side="buy", equity=equity, lot=lot)
            assert size == pytest.approx(0.0, abs=1e-15)


@pytest.fixture(scope="module")
def report():
    return report_in_euro(scenarios_of_three(horizons=(1, 2, 5)))


@pytest.mark.parametrize("account", ["a", "c"])
@pytest.mark.parametrize("name", ["S", "P", "C"])
@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("share", [0.5, 1.0, 3.0])
def test_the_largest_order_is_the_end_of_the_feasible_sizes(report, account, name, side, share):
    """Against a scan of 60 sizes: feasible up to it, and not beyond."""
    start = report.account(account).margin
    equity = share * start
    found = report.max_order(account, name, side=side, equity=equity)
    sign = 1.0 if side == "buy" else -1.0
    bound = max(equity, start) * (1 + 1e-9)
    sizes = np.linspace(0.0, 2 * found + 0.01, 60)
    feasible = [report.what_if(account, {name: sign * q}).margin <= bound for q in sizes]
    end = int(np.argmin(feasible)) if not all(feasible) else len(sizes)
    assert sizes[end - 1] <= found * (1 + 1e-6) + 1e-9
    assert end == len(sizes) or found <= sizes[end] * (1 + 1e-6)


def test_a_hedge_is_always_allowed_up_to_where_it_stops_to_help(report):
    """No equity at all: selling the short's excess is refused, buying it back is not."""
    assert report.max_order("c", "P", side="buy", equity=0.0) == pytest.approx(0.0, abs=1e-6)
    closing = report.max_order("c", "P", side="sell", equity=0.0)
    assert 1.0 <= closing <= 2.5
    assert report.max_order("c", "P", side="sell", equity=0.0, lot=1.0) == float(int(closing))
    with pytest.raises(mm.DataError, match="side 'hold'"):
        report.max_order("c", "P", side="hold", equity=0.0)

"""Worst fills of open orders: against every combination, a long search, any blocks, and by cost."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.draws.random_stream import TILE_PATHS
from mcmargin.errors import DataError
from mcmargin.margins.worst_fills import (
    BATCH,
    EXACT_INSTRUMENTS,
    mean_gains,
    piece_paths,
    tails_of_corners,
    worst_fills,
)
from mcmargin.numerics.tail import estimate_tails, expected_shortfall
from tests.helpers.books import book_of, positions_of
from tests.helpers.euro_market import ITEMS, MARKET, market_of
from tests.helpers.models import scenarios_of_three


def plain_shortfalls(losses, level):
    """Mean of the worst k, k whole: by a full sort."""
    k = round(losses.shape[-1] * (1 - level))
    return np.sort(losses, axis=-1)[..., -k:].mean(axis=-1)


def account(count, paths, seed, common=0.5):
    """Gains of an account and of what it ordered, with a common factor of each sign."""
    rng = np.random.default_rng(seed)
    changes = rng.standard_normal((count, paths))
    changes += common * rng.standard_normal(paths) * rng.normal(size=(count, 1))
    gains = 0.5 * rng.normal(size=count) @ changes
    return gains, changes, -rng.uniform(0, 3, count), rng.uniform(0, 3, count)


def best_of_all(gains, changes, sells, buys, level):
    corners = np.array(list(product(*np.stack([sells, buys]).T)))
    parts = (corners[low : low + 256] for low in range(0, len(corners), 256))
    return max(plain_shortfalls(-(gains + part @ changes), level).max() for part in parts)


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 7),
    seed=st.integers(0, 10**6),
    level=st.sampled_from([0.9, 0.95, 0.99]),
    one_sided=st.booleans(),
)
def test_few_orders_are_the_worst_of_all_combinations(count, seed, level, one_sided):
    gains, changes, sells, buys = account(count, 1000, seed)
    if one_sided:
        buys[::2] = 0.0
    found, fills = worst_fills(gains, changes, sells, buys, level=level)
    assert found == pytest.approx(best_of_all(gains, changes, sells, buys, level), rel=1e-12)
    assert ((fills == sells) | (fills == buys)).all()
    assert found == pytest.approx(plain_shortfalls(-(gains + fills @ changes), level), rel=1e-12)


@pytest.mark.parametrize("common", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_of_more_the_search_finds_what_enumeration_does(common, seed):
    """2,048 corners. Of 90 such accounts none was missed; the bound promises a local worst."""
    given_ = account(EXACT_INSTRUMENTS + 1, 1000, seed, common)
    found, fills = worst_fills(*given_, level=0.95)
    best = best_of_all(*given_, 0.95)
    assert found == pytest.approx(best, rel=1e-12)
    gains, changes, *_ = given_
    assert found == pytest.approx(plain_shortfalls(-(gains + fills @ changes), 0.95), rel=1e-12)


@pytest.mark.parametrize(("count", "common"), [(25, 0.0), (25, 0.3), (40, 1.0)])
def test_of_many_a_long_search_finds_nothing_worse(count, common):
    """One side at a time from 12 random corners, by plain sorting: at most a thousandth worse."""
    gains, changes, sells, buys = account(count, 500, 5, common)
    found, fills = worst_fills(gains, changes, sells, buys, level=0.95)
    rng = np.random.default_rng(6)
    longest = -np.inf
    for _ in range(12):
        corner = np.where(rng.random(count) < 0.5, sells, buys)
        worst = plain_shortfalls(-(gains + corner @ changes), 0.95)
        while True:
            others = np.tile(corner, (count, 1))
            np.fill_diagonal(others, sells + buys - corner)
            each = plain_shortfalls(-(gains + others @ changes), 0.95)
            if not each.max() > worst * (1 + 1e-12):
                break
            corner, worst = others[int(each.argmax())], each.max()
        longest = max(longest, worst)
    assert found >= 0.999 * longest
    # No change of one side makes it worse.
    others = np.tile(fills, (count, 1))
    np.fill_diagonal(others, sells + buys - fills)
    assert plain_shortfalls(-(gains + others @ changes), 0.95).max() <= found * (1 + 1e-12)


def in_blocks(changes, tiles, looks=None):
    size = tiles * TILE_PATHS

    def blocks():
        if looks is not None:
            looks.append(1)
        for first in range(0, changes.shape[1], size):
            yield first, changes[:, first : first + size].copy()

    return blocks


@pytest.mark.parametrize("count", [3, 25])
@pytest.mark.parametrize(("tiles", "memory"), [(1, 1), (2, 10**5), (5, 10**9)])
def test_blocks_and_memory_change_no_bit(count, tiles, memory):
    gains, changes, sells, buys = account(count, 3 * TILE_PATHS + 77, 3)
    whole, fills = worst_fills(gains, changes, sells, buys, level=0.97)
    found = worst_fills(gains, in_blocks(changes, tiles), sells, buys, level=0.97, memory=memory)
    assert found[0] == whole
    np.testing.assert_array_equal(found[1], fills)


def test_tails_of_corners_are_those_of_their_losses():
    gains, changes, sells, buys = account(4, 2 * TILE_PATHS + 5, 4)
    corners = np.array(list(product(*np.stack([sells, buys]).T)))
    tails = tails_of_corners(gains, in_blocks(changes, 1), corners, 0.975)
    losses = -(gains + corners @ changes)
    expected = estimate_tails(losses, level=0.975)
    np.testing.assert_array_equal(tails.paths, expected.paths)
    np.testing.assert_allclose(tails.expected_shortfall, expected.expected_shortfall, rtol=1e-12)
    means = mean_gains(in_blocks(changes, 1), tails)
    for at, paths in enumerate(expected.paths):
        np.testing.assert_allclose(means[at], changes[:, paths] @ tails.weights, rtol=1e-9)
    np.testing.assert_array_equal(means, mean_gains(in_blocks(changes, 2), tails))


def test_looks_at_the_paths_do_not_grow_with_the_orders():
    """So that the cost grows as the number of instruments does; it was their cube."""
    looks = {}
    for count in (20, 80, 320):
        gains, changes, sells, buys = account(count, TILE_PATHS, 8)
        counted = []
        worst_fills(gains, in_blocks(changes, 1, counted), sells, buys, level=0.99)
        looks[count] = len(counted)
    assert looks[320] <= 2 * looks[20]
    assert max(looks.values()) < 150


def test_what_is_held_is_a_block_and_tails():
    """150 instruments on 10 tiles: their values would take 25 MB."""
    count, tiles = 150, 10
    paths = tiles * TILE_PATHS
    rng = np.random.default_rng(9)
    loads, factors = rng.normal(size=(count, 3)), rng.standard_normal((3, paths))

    def blocks():
        for first in range(0, paths, TILE_PATHS):
            here = factors[:, first : first + TILE_PATHS]
            yield first, sum(np.multiply.outer(loads[:, at], here[at]) for at in range(3))

    gains = np.zeros(paths)
    sells, buys = -np.ones(count), np.ones(count)
    limit = 4 * 2**20
    tracemalloc.start()
    worst_fills(gains, blocks, sells, buys, level=0.99, memory=limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Two blocks, tails, and while a batch of corners is looked at a few copies of it.
    batch = 8 * BATCH * TILE_PATHS
    assert peak < 2 * 8 * count * TILE_PATHS + limit + 6 * batch


def test_pieces_are_whole_tiles():
    for count in (1, 5, 64, 1000, 10**6):
        assert piece_paths(count) % TILE_PATHS == 0
        assert piece_paths(count) > 0


@pytest.mark.parametrize("count", [3, 20])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gain_that_is_not_finite_is_refused(count, value):
    """NaN compares as no larger than any loss, and would be left out without a word."""
    gains, changes, sells, buys = account(count, TILE_PATHS, 2)
    changes[1, 7] = value
    with pytest.raises(DataError, match="not finite"):
        worst_fills(gains, changes, sells, buys, level=0.99)


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three(horizons=(1, 2, 5))


def enumerated(scenarios, positions, orders):
    """Largest shortfall over every subset of single orders, each filled or not."""
    worst = -np.inf
    for filled in product((False, True), repeat=len(orders)):
        rows = [*positions, *(order for order, yes in zip(orders, filled, strict=True) if yes)]
        total = positions_of(rows).groupby(["account", "instrument"], as_index=False).sum()
        book = book_of(total, ITEMS)
        worst = max(worst, mm.margin(book, scenarios, MARKET).accounts[0].expected_shortfall)
    return worst


@pytest.mark.parametrize("code", ["a0", "EUR"])
def test_the_worst_fills_of_an_account_in_another_currency(scenarios, code):
    """By the margins themselves with and without the orders, in a coin and in a currency."""
    market = market_of(fx={"EUR": 1.2}, fx_asset={"EUR": "a2"}, coins=("a0",))
    accounts = [mm.Account("x", code)]
    positions, orders = [("x", "P", 4.0)], [("x", "S", 2.0), ("x", "S", -5.0), ("x", "C", -3.0)]
    found = mm.margin(
        book_of(positions, ITEMS, orders=positions_of(orders), accounts=accounts), scenarios, market
    ).accounts[0]
    filled = []
    for size, options in product((0.0, 2.0, -5.0, -3.0), (0.0, -3.0)):
        rows = [*positions, ("x", "S", size), ("x", "C", options)]
        held = [row for row in rows if row[2]]
        report = mm.margin(book_of(held, ITEMS, accounts=accounts), scenarios, market)
        filled.append(report.accounts[0].expected_shortfall)
    assert found.open_orders > 0
    assert found.expected_shortfall + found.open_orders == pytest.approx(max(filled), rel=1e-11)


@pytest.mark.parametrize("seed", range(4))
def test_the_worst_fills_of_open_orders(scenarios, seed):
    rng = np.random.default_rng(seed)
    positions = [("x", name, float(q)) for name, q in zip("SPQC", rng.normal(0, 5, 4), strict=True)]
    orders = [("x", str(rng.choice(list("SPQC"))), float(q)) for q in rng.normal(0, 5, 5)]
    book = book_of(positions, ITEMS, orders=positions_of(orders))
    account = mm.margin(book, scenarios, MARKET).accounts[0]
    expected = enumerated(scenarios, positions, orders)
    assert account.expected_shortfall + account.open_orders == pytest.approx(expected, rel=1e-12)
    assert account.margin == pytest.approx(max(expected, 0.0))


def test_orders_alone_and_of_an_isolated_account(scenarios):
    orders = positions_of([("x", "S", 2.0), ("x", "S", -5.0), ("x", "P", 1.0)])
    report = mm.margin(book_of([], ITEMS, orders=orders), scenarios, MARKET)
    account = report.accounts[0]
    assert account.expected_shortfall == 0.0
    assert account.margin == pytest.approx(account.open_orders)
    isolated = book_of([], ITEMS, orders=orders, accounts=[mm.Account("x", mode="isolated")])
    short, long = (
        mm.margin(book_of([("x", name, q)], ITEMS), scenarios, MARKET).accounts[0].margin
        for name, q in (("S", -5.0), ("P", 1.0))
    )
    other = mm.margin(book_of([("x", "S", 2.0)], ITEMS), scenarios, MARKET).accounts[0].margin
    assert short > other
    report = mm.margin(isolated, scenarios, MARKET)
    assert report.accounts[0].margin == pytest.approx(short + long, rel=1e-12)


def test_many_orders_are_climbed_to_what_enumeration_finds():
    """12 instruments, 4,096 corners: the climb's best corner is the best of all, or within 1 %."""
    rng = np.random.default_rng(71)
    count = EXACT_INSTRUMENTS + 2
    changes = rng.standard_normal((count, 2000)) + 0.5 * rng.standard_normal(2000)
    sells, buys = -rng.uniform(0, 3, count), rng.uniform(0, 3, count)
    gains = changes[0] * 2
    found, fills = worst_fills(gains, changes, sells, buys, level=0.95)
    corners = np.array(list(product(*np.stack([sells, buys]).T)))
    best = max(
        expected_shortfall(-(gains + corners[i : i + 64] @ changes), level=0.95).max()
        for i in range(0, len(corners), 64)
    )
    assert 0.99 * best <= found <= best * (1 + 1e-12)
    again = expected_shortfall(-(gains + fills @ changes), level=0.95)
    assert found == pytest.approx(again, rel=1e-12)

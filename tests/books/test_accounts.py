"""Accounts: currencies, owners, isolated positions, open orders, horizons by product, what-ifs."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.margins.orders import EXACT_INSTRUMENTS, worst_fills
from mcmargin.numerics.tail import expected_shortfall
from tests.helpers.books import book_of, positions_of
from tests.helpers.models import make_model

AS_OF = np.datetime64("2020-01-01", "ns")
SPOT = {"a0": 100.0, "a1": 50.0, "a2": 1.2}
COLUMNS = ["account", "instrument", "quantity"]
ITEMS = [
    mm.Spot("S", "a0"),
    mm.Perpetual("P", "a1"),
    mm.Perpetual("Q", "a0", basis_volatility=0.0),
    mm.Option("C", "a0", "call", 105.0, "2020-02-01"),
    mm.Spot("E", "a1", "EUR"),
]


@pytest.fixture(scope="module")
def scenarios():
    model = make_model(("gjr", "garch", "garch"), "t", "t", variance=4e-4)
    return mm.simulate(model, horizons=(1, 2, 5), paths=10_000, seed=11, precision="double")


WIDE = mm.Plausibility(move=1)
"""Prices of the euro and of half a hundred, where every asset of the model closed at 100."""


def market_of(**terms):
    terms = {"volatility": {"a0": 0.4}, "plausibility": WIDE} | terms
    return mm.Market(as_of=AS_OF, spot=SPOT, **terms)


MARKET = market_of()


def margins(report):
    return dict(zip(report.figures["account"], report.figures["margin"], strict=True))


def move(scenarios, horizon, asset):
    return scenarios.returns[scenarios.horizon_index(horizon), asset]


# Currencies


def test_an_account_in_another_currency_has_its_rates_risk(scenarios):
    """A dollar asset in euro: (100 (1 + x)) / (1.2 (1 + y)) - 100 / 1.2, y the rate's own asset."""
    market = market_of(fx={"EUR": 1.2}, fx_asset={"EUR": "a2"})
    book = book_of([("x", "S", 3.0)], ITEMS, accounts=[mm.Account("x", "EUR")])
    report = mm.margin(book, scenarios, market)
    x, y = (move(scenarios, 5, a).astype(float) for a in (0, 2))
    gains = 3 * (100 * (1 + x) / (1.2 * (1 + y)) - 100 / 1.2)
    np.testing.assert_allclose(report.profit_and_loss("x"), gains, atol=1e-10)
    assert report.accounts[0].margin == pytest.approx(expected_shortfall(-gains, level=0.99))
    assert report.accounts[0].gross_exposure == pytest.approx(300 / 1.2)


def test_what_is_settled_by_variation_margin_has_no_rate_risk_on_its_notional(scenarios):
    """A perpetual's dollars of gain turn into euro at the path's rate; its notional does not."""
    market = market_of(fx={"EUR": 1.2}, fx_asset={"EUR": "a2"})
    book = book_of([("x", "Q", 3.0)], ITEMS, accounts=[mm.Account("x", "EUR")])
    x, y = (move(scenarios, 5, a).astype(float) for a in (0, 2))
    found = mm.margin(book, scenarios, market).profit_and_loss("x")
    np.testing.assert_allclose(found, 300 * x / (1.2 * (1 + y)), atol=1e-10)


def test_an_instrument_in_another_currency_moves_with_it(scenarios):
    """Declared: 10 % a year; lognormal of mean 1, and the euro asset's gain on top."""
    market = market_of(fx={"EUR": 1.2}, fx_volatility={"EUR": 0.1}, quoted={"a1": "EUR"})
    report = mm.margin(book_of([("x", "E", 2.0)], ITEMS), scenarios, market)
    moved = 1 + move(scenarios, 5, 1).astype(float)
    rate = (report.profit_and_loss("x") + 2 * 50 * 1.2) / (2 * 50 * moved) / 1.2
    spread = 0.1 * np.sqrt(5 / 365)
    assert abs(np.log(rate).std() / spread - 1) < 4 / np.sqrt(2 * 10_000)
    assert abs(rate.mean() - 1) < 4 * spread / np.sqrt(10_000)


def test_a_stablecoin_breaks_its_peg(scenarios):
    """1 % a bar: over 5 bars 1 - 0.99**5 of the paths, once and for good; 30 % of the value."""
    items = [mm.Spot("usdt", "USDT")]
    market = market_of(fx={"USDT": 1.0}, depeg={"USDT": mm.Depeg(0.01, 0.3)})
    for horizon in (1, 5):
        policy = mm.MarginPolicy(horizon=horizon)
        report = mm.margin(book_of([("x", "usdt", 1000.0)], items), scenarios, market, policy)
        gains = report.profit_and_loss("x")
        assert set(np.round(gains, 9)) == {0.0, -300.0}
        share, expected = (gains < 0).mean(), 1 - 0.99**horizon
        assert abs(share - expected) < 4.5 * np.sqrt(expected / 10_000)


def test_euro_in_a_euro_book_needs_no_rate_risk(scenarios):
    market = market_of(fx={"EUR": 1.2}, quoted={"a1": "EUR"})
    book = book_of([("x", "E", 2.0)], ITEMS, accounts=[mm.Account("x", "EUR")])
    gains = 2 * 50 * move(scenarios, 5, 1).astype(float)
    np.testing.assert_allclose(
        mm.margin(book, scenarios, market).profit_and_loss("x"), gains, atol=1e-10
    )


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({}, r"'x', instrument 'E': the market has no rate of currency 'EUR' in USD"),
        ({"fx": {"EUR": 1.2}}, r"the rate of 'EUR' has no risk.*fx_volatility"),
        ({"fx": {"EUR": 1.2}, "fx_asset": {"EUR": "eurusd"}}, r"the rate of 'EUR' has no risk"),
    ],
)
def test_a_currency_without_rate_or_risk(scenarios, terms, message):
    with pytest.raises(mm.DataError, match=message):
        mm.margin(book_of([("x", "E", 2.0)], ITEMS), scenarios, market_of(**terms))


# Owners and modes

ROWS = [("a", "S", 10.0), ("a", "P", -7.0), ("b", "S", -8.0), ("b", "C", 4.0), ("c", "P", 1.0)]


def test_owners_net_or_gross(scenarios):
    def accounts(netting):
        return [mm.Account(n, owner="fund", netting=netting) for n in "ab"] + [mm.Account("c")]

    gross = mm.margin(book_of(ROWS, ITEMS, accounts=accounts("gross")), scenarios, MARKET)
    net = mm.margin(book_of(ROWS, ITEMS, accounts=accounts("net")), scenarios, MARKET)
    pd.testing.assert_frame_equal(gross.figures, net.figures)
    pd.testing.assert_frame_equal(gross.positions, net.positions)
    owners = {r: dict(zip(o.owners["owner"], o.owners["margin"], strict=True)) for r, o in
              (("gross", gross), ("net", net))}  # fmt: skip
    alone = margins(gross)
    assert owners["gross"] == {"c": alone["c"], "fund": pytest.approx(alone["a"] + alone["b"])}
    merged = [("x", "S", 2.0), ("x", "P", -7.0), ("x", "C", 4.0)]
    whole = mm.margin(book_of(merged, ITEMS), scenarios, MARKET).accounts[0]
    assert owners["net"]["fund"] == pytest.approx(whole.margin, rel=1e-12)
    assert owners["net"]["fund"] < owners["gross"]["fund"]
    assert list(net.owners["accounts"]) == [1, 2]


def test_an_isolated_account_margins_each_position_alone(scenarios):
    accounts = [mm.Account("a", mode="isolated"), mm.Account("b"), mm.Account("c")]
    report = mm.margin(book_of(ROWS, ITEMS, accounts=accounts), scenarios, MARKET)
    cross = mm.margin(book_of(ROWS, ITEMS), scenarios, MARKET)
    alone = [
        mm.margin(book_of([row], ITEMS), scenarios, MARKET).accounts[0]
        for row in ROWS
        if row[0] == "a"
    ]
    account = report.account("a")
    assert account.margin == pytest.approx(sum(each.margin for each in alone), rel=1e-12)
    assert account.margin > cross.account("a").margin
    assert [p.instrument for p in account.contributions] == ["P", "S"]
    by_name = {each.contributions[0].instrument: each.expected_shortfall for each in alone}
    assert {p.instrument: p.contribution for p in account.contributions} == pytest.approx(by_name)
    assert margins(report)["b"] == margins(cross)["b"]


@pytest.mark.parametrize(
    ("accounts", "message"),
    [
        ([mm.Account("a")], "account 'b' is unknown"),
        ([mm.Account("a"), mm.Account("a")], "given twice"),
        (
            [mm.Account("a", owner="o"), mm.Account("b", owner="o", netting="net")],
            "owner 'o': account 'a' is netted 'gross' and 'b' 'net'",
        ),
        (
            [
                mm.Account("a", owner="o", netting="net"),
                mm.Account("b", "EUR", owner="o", netting="net"),
            ],
            "netted accounts are in one currency",
        ),
    ],
)
def test_accounts_that_do_not_fit(accounts, message):
    with pytest.raises(mm.DataError, match=message):
        book_of(ROWS[:4], ITEMS, accounts=accounts)
    with pytest.raises(mm.DataError, match="mode 'both' is unknown"):
        mm.Account("a", mode="both")


# Open orders


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


# Short options and horizons


def test_the_least_margin_of_short_options(scenarios):
    far = mm.Option("far", "a0", "call", 400.0, "2020-02-01", contract_size=2.0)
    rows = [("long", "far", 3.0), ("short", "far", -3.0)]
    policy = mm.MarginPolicy(short_option_minimum=0.05)
    report = mm.margin(book_of(rows, [far]), scenarios, MARKET, policy)
    assert margins(report)["short"] == pytest.approx(0.05 * 3 * 2 * 100.0)
    assert report.account("long").short_option_minimum == 0.0


def test_each_product_has_its_own_horizon(scenarios):
    rows = [("x", "S", 10.0), ("x", "Q", -10.0)]
    policy = mm.MarginPolicy(horizons={"spot": 5, "perpetual": 1})
    report = mm.margin(book_of(rows, ITEMS), scenarios, MARKET, policy)
    gains = 1000 * (move(scenarios, 5, 0) - move(scenarios, 1, 0))
    np.testing.assert_allclose(report.profit_and_loss("x"), gains, atol=1e-9)
    assert report.horizons == {"spot": 5, "perpetual": 1, "future": 5, "option": 5}
    with pytest.raises(mm.PolicyError, match="horizon 3 was not simulated"):
        mm.margin(book_of(rows, ITEMS), scenarios, MARKET, mm.MarginPolicy(horizons={"spot": 3}))
    with pytest.raises(mm.PolicyError, match="product class 'swap' is unknown"):
        mm.MarginPolicy(horizons={"swap": 3})


# What-ifs


@pytest.fixture(scope="module")
def report(scenarios):
    accounts = [mm.Account("a", "EUR"), mm.Account("b", mode="isolated"), mm.Account("c")]
    market = market_of(fx={"EUR": 1.2}, fx_asset={"EUR": "a2"})
    return mm.margin(book_of(ROWS, ITEMS, accounts=accounts), scenarios, market)


@pytest.mark.parametrize("account", ["a", "b", "c"])
@pytest.mark.parametrize("trades", [{"P": 3.0}, {"S": -10.0, "C": 2.0}, {"Q": -4.0}, {}])
def test_a_what_if_is_the_margin_of_the_book_after_it(report, scenarios, account, trades):
    before = report.session.book
    rows = [row for row in before.to_frame().itertuples(index=False) if row.account == account]
    after = positions_of([*rows, *((account, name, q) for name, q in trades.items())])
    after = after.groupby(["account", "instrument"], as_index=False).sum()
    accounts = [each for each in before.accounts if each.name == account]
    book = book_of(after, ITEMS, accounts=accounts)
    market = report.session.market
    expected = mm.margin(book, scenarios, market).accounts[0]
    found = report.what_if(account, trades)
    assert found.margin == pytest.approx(expected.margin, rel=1e-12)
    assert found.value_at_risk == pytest.approx(expected.value_at_risk, rel=1e-12)
    assert [p.instrument for p in found.contributions] == [
        p.instrument for p in expected.contributions
    ]


def test_what_ifs_that_cannot_be(report):
    with pytest.raises(mm.DataError, match="no account 'z'"):
        report.what_if("z", {"S": 1.0})
    with pytest.raises(mm.DataError, match="instrument 'Z' is unknown"):
        report.what_if("a", {"Z": 1.0})
    with pytest.raises(mm.DataError, match="not a finite number"):
        report.what_if("a", {"S": np.inf})
    again = mm.MarginReport.from_json(report.to_json())
    with pytest.raises(mm.DataError, match="needs the scenarios"):
        again.what_if("a", {"S": 1.0})


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


# Books


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("SPQC"), st.floats(-9, 9)),
                min_size=1, max_size=8, unique_by=lambda row: row[:2]))  # fmt: skip
@settings(max_examples=30, deadline=None, derandomize=True)
def test_owners_and_units_change_no_account(scenarios, rows):
    plain = mm.margin(book_of(rows, ITEMS), scenarios, MARKET)
    names = sorted({row[0] for row in rows})
    owned = [mm.Account(name, owner="o", netting="net") for name in names]
    netted = mm.margin(book_of(rows, ITEMS, accounts=owned), scenarios, MARKET)
    np.testing.assert_array_equal(plain.figures["margin"], netted.figures["margin"])
    np.testing.assert_array_equal(plain.positions["contribution"], netted.positions["contribution"])
    assert netted.owners["margin"].iloc[0] <= plain.figures["margin"].sum() + 1e-9


def test_quantities_beyond_any_use():
    with pytest.raises(mm.DataError, match=r"row 2, column 'quantity': 1e\+300 is beyond"):
        book_of([("x", "S", 1e300)], ITEMS)


def test_known_instruments_alone():
    with pytest.raises(mm.DataError, match="instrument 'Z' is unknown"):
        book_of([("x", "Z", 1.0)], ITEMS)
    with pytest.raises(mm.DataError, match=r"orders: row 2: instrument 'Z' is unknown"):
        book_of([("x", "S", 1.0)], ITEMS, orders=positions_of([("x", "Z", 1.0)]))


def test_the_fingerprint_knows_instruments_accounts_and_orders():
    base = book_of([("x", "P", 1.0)], ITEMS)
    others = [
        book_of([("x", "P", 1.0)], [replace(ITEMS[1], funding_rate=1e-4)]),
        book_of([("x", "P", 1.0)], ITEMS, accounts=[mm.Account("x", "EUR")]),
        book_of([("x", "P", 1.0)], ITEMS, orders=positions_of([("x", "P", 1.0)])),
    ]
    prints = {book.fingerprint() for book in (base, *others)}
    assert len(prints) == 4
    assert book_of([("x", "P", 1.0)], ITEMS).fingerprint() == base.fingerprint()

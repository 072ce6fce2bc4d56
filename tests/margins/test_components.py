"""Liquidity, concentration and leverage: hand-worked examples, and what always holds."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.margins.leverage import initial_fraction
from mcmargin.markets.market_parts import InstrumentLiquidity
from mcmargin.policies.policy_parts import Concentration, Leverage, LeverageTier, Liquidity
from tests.helpers.books import book_of
from tests.helpers.models import make_model

AS_OF = np.datetime64("2020-01-01", "ns")
ITEMS = [mm.Perpetual("P", "a0", basis_volatility=0.0), mm.Spot("S", "a0"), mm.Spot("T", "a1")]


@pytest.fixture(scope="module")
def scenarios():
    model = make_model(("garch", "garch"), "t", "t", variance=4e-4)
    return mm.simulate(model, horizon=1, paths=10_000, seed=11)


def margin_of(scenarios, rows, policy, items=ITEMS, orders=None, **terms):
    market = mm.Market(as_of=AS_OF, spot={"a0": 100.0, "a1": 50.0}, **terms)
    book = book_of(rows, items, orders=orders)
    return mm.margin(book, scenarios, market, policy)


def test_what_the_model_does_not_have_has_no_impact(scenarios):
    """A stablecoin that is sold for dollars: half of its spread, and no volatility of a day."""
    policy = mm.MarginPolicy(liquidity=Liquidity(impact=1.0, participation=0.5, spread=0.01))
    market = mm.Market(
        as_of=AS_OF,
        spot={"a0": 100.0, "a1": 50.0},
        fx={"USDT": 0.8},
        fx_volatility={"USDT": 0.01},
        liquidity={"U": InstrumentLiquidity(daily_volume=1000.0, spread=0.002)},
    )
    book = book_of([("x", "U", 250.0)], [mm.Spot("U", "USDT")])
    account = mm.margin(book, scenarios, market, policy).account("x")
    assert account.liquidity == pytest.approx(0.5 * 0.002 * 250 * 0.8)


def test_spread_and_square_root_impact_by_hand(scenarios):
    """250 units of 100: 25,000. Half of 0.2 % is 25. Daily volatility is sqrt(4e-4) = 2 %, a day's
    volume 1,000 units = 100,000, so that impact is 1.0 x 2 % x sqrt(0.25) x 25,000 = 250. At 50 %
    of volume the position closes in half a day, within the horizon."""
    policy = mm.MarginPolicy(liquidity=Liquidity(impact=1.0, participation=0.5, spread=0.01))
    known = {"P": InstrumentLiquidity(daily_volume=1000.0, spread=0.002)}
    for side in (1.0, -1.0):
        report = margin_of(scenarios, [("x", "P", side * 250.0)], policy, liquidity=known)
        assert report.account("x").liquidity == pytest.approx(25.0 + 250.0)
    assert report.account("x").total == pytest.approx(report.account("x").calm + 275.0)
    unknown = margin_of(scenarios, [("x", "P", 250.0)], policy)
    assert unknown.account("x").liquidity == pytest.approx(0.5 * 0.01 * 25_000.0)


def test_a_large_position_takes_longer(scenarios):
    """400 units at a tenth of 1,000 a day: 4 days, so twice the one-day shortfall: once more."""
    policy = mm.MarginPolicy(liquidity=Liquidity(impact=0.0, participation=0.1))
    known = {"P": InstrumentLiquidity(daily_volume=1000.0)}
    report = margin_of(scenarios, [("x", "P", 400.0)], policy, liquidity=known)
    account = report.account("x")
    assert account.liquidity == pytest.approx(account.expected_shortfall, rel=1e-9)
    small = margin_of(scenarios, [("x", "P", 100.0)], policy, liquidity=known)
    assert small.account("x").liquidity == 0.0


def test_the_order_book_is_walked(scenarios):
    """Mid 100. A long 12 sells 10 at 99 (1 % of 1,000 = 10) and 2 of the 5 at 97 (3 % of 200 = 6).
    A short 3 buys at 101: 3. A long 20 leaves 5 units unsold, 3 % away as the last level is, 15,
    and with impact of 500 x 2 % x sqrt(500 / 100,000) = 0.7071, beside 10 + 15. The spread is the
    book's own: one that is declared as well is not charged on top."""
    book = InstrumentLiquidity(
        daily_volume=1000.0,
        spread=0.02,
        bids=((99.0, 10.0), (97.0, 5.0)),
        asks=((101.0, 10.0),),
    )
    policy = mm.MarginPolicy(liquidity=Liquidity(impact=1.0, participation=1.0))
    for quantity, cost in ((12.0, 16.0), (-3.0, 3.0), (20.0, 40.0 + 500 * 0.02 * 0.005**0.5)):
        report = margin_of(scenarios, [("x", "P", quantity)], policy, liquidity={"P": book})
        assert report.account("x").liquidity == pytest.approx(cost)


def test_netted_positions_alone_cost(scenarios):
    policy = mm.MarginPolicy(liquidity=Liquidity(spread=0.01))
    report = margin_of(scenarios, [("x", "S", 5.0), ("y", "S", 5.0), ("y", "P", -5.0)], policy)
    assert report.account("x").liquidity == pytest.approx(2.5)
    # Two instruments are two trades, though they hedge one another.
    assert report.account("y").liquidity == pytest.approx(5.0)


@pytest.mark.parametrize("volume", [1000.0, None])
@pytest.mark.parametrize(
    "known",
    [
        InstrumentLiquidity(spread=0.001),
        InstrumentLiquidity(bids=((99.9, 20.0), (99.0, 100.0)), asks=((100.1, 20.0),)),
    ],
    ids=["spread", "book"],
)
def test_margin_rises_at_least_linearly_once_liquidity_bites(scenarios, known, volume):
    policy = mm.MarginPolicy(liquidity=Liquidity())
    liquidity = {"P": replace(known, daily_volume=volume)}
    margins = [
        margin_of(scenarios, [("x", "P", q)], policy, liquidity=liquidity).account("x").margin / q
        for q in (10.0, 50.0, 200.0, 1000.0, 5000.0)
    ]
    # Beyond the book of one without a volume, each unit costs as the last.
    assert (np.diff(margins) > (0 if volume else -1e-12)).all()


def test_an_options_spread_and_book_are_shares_of_its_own_price(scenarios):
    """10 far calls: half of 2 % of what they are worth, by spread or by book; impact by delta."""
    call = mm.Option("C", "a0", "call", 150.0, "2020-03-01")
    rows = [("x", "C", 10.0)]
    levels = {"bids": ((0.198, 100.0),), "asks": ((0.202, 100.0),)}
    market = {"volatility": {"a0": 0.5}}
    worth = 10 * call.value(mm.Market(as_of=AS_OF, spot={"a0": 100.0}, volatility={"a0": 0.5}))
    policy = mm.MarginPolicy(liquidity=Liquidity(impact=1.0, participation=1.0))
    for known in (InstrumentLiquidity(spread=0.02), InstrumentLiquidity(**levels)):
        report = margin_of(scenarios, rows, policy, items=[call], liquidity={"C": known}, **market)
        assert report.account("x").liquidity == pytest.approx(0.01 * worth)
    known = InstrumentLiquidity(daily_volume=1000.0)
    report = margin_of(scenarios, rows, policy, items=[call], liquidity={"C": known}, **market)
    account = report.account("x")
    impact = abs(account.net_exposure) * 0.02 * (10 / 1000) ** 0.5
    assert account.liquidity == pytest.approx(impact)


def test_concentration_by_hand(scenarios):
    """a0: 30 + 10 units of 100, 4,000, beyond 1,000 free at 10 %: 300; a1: 20 of 50, all free."""
    policy = mm.MarginPolicy(concentration=Concentration(free_notional=1000.0, rate=0.1))
    rows = [("x", "S", 30.0), ("x", "P", 10.0), ("x", "T", 20.0)]
    assert margin_of(scenarios, rows, policy).account("x").concentration == pytest.approx(300.0)
    hedged = [("x", "S", 30.0), ("x", "P", -30.0)]
    assert margin_of(scenarios, hedged, policy).account("x").concentration == 0.0


TIERS = (LeverageTier(1000.0, 20.0), LeverageTier(5000.0, 10.0), LeverageTier(math.inf, 4.0))


def test_leverage_by_brackets_by_hand(scenarios):
    """8,000 of a0: 1,000/20 + 4,000/10 + 3,000/4 = 50 + 400 + 750; 500 of a1: 25. The larger side
    counts: a short 2,000 beside a long 8,000 adds nothing."""
    policy = mm.MarginPolicy(leverage=Leverage(TIERS))
    rows = [("x", "S", 80.0), ("x", "P", -20.0), ("x", "T", 10.0)]
    account = margin_of(scenarios, rows, policy).account("x")
    assert account.leverage_minimum == pytest.approx(1225.0)
    assert account.margin == max(account.total, account.leverage_minimum)


def test_open_interest_tightens_leverage_as_dydx_publishes_it(scenarios):
    """base 0.1, L 1e6, U 2e6: at 1.5e6 0.1 + 0.5 x 0.9 = 0.55; at 2e6 and beyond 1; below L 0.1."""
    part = Leverage(
        (LeverageTier(math.inf, 10.0),), open_interest_lower=1e6, open_interest_upper=2e6
    )
    fractions = [initial_fraction(0.1, part, interest) for interest in (0, 1e6, 1.5e6, 2e6, 9e6)]
    assert fractions == pytest.approx([0.1, 0.1, 0.55, 1.0, 1.0])
    policy = mm.MarginPolicy(leverage=part)
    report = margin_of(scenarios, [("x", "S", 10.0)], policy, open_interest={"a0": 1.5e6})
    assert report.account("x").leverage_minimum == pytest.approx(550.0)


def test_a_tick_and_every_column_add_up(scenarios):
    policy = mm.MarginPolicy(
        liquidity=Liquidity(spread=0.01),
        concentration=Concentration(free_notional=0.0, rate=0.01),
        leverage=Leverage(TIERS),
        tick=0.5,
    )
    figures = margin_of(scenarios, [("x", "S", 3.0), ("y", "T", -7.0)], policy).figures
    extras = figures["liquidity"] + figures["concentration"] + figures["stressed_funding"]
    np.testing.assert_allclose(figures["total"], figures["calm"] + extras)
    np.testing.assert_allclose(figures["calm"], figures["base"])
    least = np.maximum(figures["total"], figures["leverage_minimum"])
    np.testing.assert_allclose(figures["margin"], np.ceil(least / 0.5) * 0.5)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"bids": ((99.0, 1.0), (99.5, 1.0))}, "bids must run from the best price on"),
        ({"asks": ((101.0, 1.0), (101.0, 1.0))}, "asks must run from the best price on"),
        ({"bids": ((101.0, 1.0),), "asks": ((100.0, 1.0),)}, "the order book is crossed"),
        ({"bids": ((99.0, -1.0),)}, "a size of the bids must be a number above 0"),
        ({"asks": ((-1.0, 1.0),)}, "a price of the asks must be a number above 0"),
        ({"daily_volume": 0.0}, "daily_volume must be a number above 0"),
        ({"spread": -0.1}, "spread must be a number of 0 or more"),
    ],
)
def test_bad_order_books(levels, message):
    with pytest.raises(mm.DataError, match=message):
        InstrumentLiquidity(**levels)


def test_limits_survive_the_file_and_verify(scenarios):
    known = {"P": InstrumentLiquidity(1000.0, 0.001, ((99.0, 10.0),), ((101.0, 5.0),))}
    policy = mm.MarginPolicy(liquidity=Liquidity(), leverage=Leverage(TIERS))
    report = margin_of(scenarios, [("x", "P", 30.0)], policy, liquidity=known,
                       open_interest={"a0": 5.0})  # fmt: skip
    again = mm.MarginReport.from_json(report.to_json())
    assert mm.verify(again, scenarios.model, report.session.book).verdict == "equal"
    more = report.what_if("x", {"P": 20.0})
    peer = margin_of(scenarios, [("x", "P", 50.0)], policy, liquidity=known,
                     open_interest={"a0": 5.0})  # fmt: skip
    assert more.margin == pytest.approx(peer.account("x").margin, rel=1e-12)


def test_orders_are_charged_by_size_as_their_worst_fills_are(scenarios):
    """Long 5 at 100 with orders to buy 15 and to sell 30: 20 long or 25 short, at 10 times 250."""
    rows = [("x", "P", 5.0)]
    orders = pd.DataFrame(
        [("x", "P", 15.0), ("x", "P", -30.0)], columns=["account", "instrument", "quantity"]
    )
    policy = mm.MarginPolicy(
        leverage=Leverage((LeverageTier(math.inf, 10.0),)),
        concentration=Concentration(free_notional=1000.0, rate=0.1),
    )
    account = margin_of(scenarios, rows, policy, orders=orders).account("x")
    assert account.leverage_minimum == pytest.approx(250.0)
    assert account.concentration == pytest.approx(0.1 * 1500.0)
    filled = margin_of(scenarios, [("x", "P", -25.0)], policy).account("x")
    assert account.leverage_minimum == pytest.approx(filled.leverage_minimum)
    assert account.concentration == pytest.approx(filled.concentration)


def test_puts_that_are_bought_add_to_what_is_short(scenarios):
    """Of two orders, one that is filled hedges the other: the larger of what may come counts."""
    put = mm.Option("put", "a0", "put", 100.0, "2020-03-01")
    terms = {"items": [*ITEMS, put], "volatility": {"a0": 0.5}}
    orders = pd.DataFrame(
        [("x", "put", 40.0), ("x", "P", 10.0)], columns=["account", "instrument", "quantity"]
    )
    policy = mm.MarginPolicy(concentration=Concentration(free_notional=0.0, rate=1.0))
    account = margin_of(scenarios, [("x", "P", 1.0)], policy, orders=orders, **terms).account("x")
    amounts = [
        abs(margin_of(scenarios, rows, policy, **terms).account("x").net_exposure)
        for rows in (
            [("x", "P", 1.0 + more), ("x", "put", puts)]
            for more in (0.0, 10.0)
            for puts in (0.0, 40.0)
        )
    ]
    assert account.concentration == pytest.approx(max(amounts))


@settings(deadline=None, max_examples=25)
@given(
    quantities=st.lists(st.floats(0.1, 100.0), min_size=3, max_size=3),
    levels=st.tuples(st.floats(0.9, 0.99), st.floats(0.9, 0.99)),
)
def test_margin_rises_with_the_level(scenarios, quantities, levels):
    """Whatever is held, short or long: a smaller tail is a worse one."""
    signs = np.where(np.array(quantities) > 50, -1.0, 1.0)
    rows = [("x", item.name, s * q) for item, s, q in zip(ITEMS, signs, quantities, strict=True)]
    low, high = (
        margin_of(scenarios, rows, mm.MarginPolicy(level=level)).account("x").margin
        for level in sorted(levels)
    )
    assert high >= low * (1 - 1e-12)


@settings(deadline=None, max_examples=15)
@given(
    quantities=st.lists(st.floats(0.1, 100.0), min_size=3, max_size=3),
    factor=st.floats(1.05, 9.0),
)
def test_margins_of_long_linear_books_rise_with_volatility(scenarios, quantities, factor):
    """Of all assets alike, on the same draws."""
    state = scenarios.model.state
    wilder = replace(scenarios.model, state=replace(state, variance=factor * state.variance))
    wild = mm.simulate(wilder, horizon=1, paths=10_000, seed=11)
    rows = [("x", item.name, q) for item, q in zip(ITEMS, quantities, strict=True)]
    calm, more = (
        margin_of(each, rows, mm.MarginPolicy()).account("x") for each in (scenarios, wild)
    )
    assert more.margin > calm.margin


def test_liquidity_of_a_name_that_no_instrument_has(scenarios):
    """A name of the underlying, or one with a misplaced letter, would charge nothing."""
    terms = InstrumentLiquidity(daily_volume=1000.0)
    rows = [("x", "P", 1.0)]
    policy = mm.MarginPolicy(liquidity=Liquidity())
    for name in ("a0", "p", "P "):
        said = f"liquidity of {name!r}: no instrument has this name; there are .*correct the name"
        with pytest.raises(mm.DataError, match=said):
            margin_of(scenarios, rows, policy, liquidity={name: terms})
    assert margin_of(scenarios, rows, policy, liquidity={"P": terms})
    book = book_of([("x", "a0", 1.0)])
    for name in scenarios.assets:  # of spot, whether it is held or not
        market = mm.Market(
            as_of=scenarios.as_of,
            spot=dict.fromkeys(scenarios.assets, 100.0),
            liquidity={name: terms},
        )
        assert len(mm.margin(book, scenarios, market, policy).figures) == 1
    with pytest.raises(mm.DataError, match="liquidity of 'gold': no instrument"):
        mm.margin(book, scenarios, replace(market, liquidity={"gold": terms}), policy)

"""Liquidity: spread, impact and order books, by hand."""

from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.markets.market_parts import InstrumentLiquidity
from mcmargin.policies.policy_parts import Liquidity
from tests.helpers.books import book_of
from tests.helpers.plain_market import AS_OF, margin_of, scenarios_of_two


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_two()


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

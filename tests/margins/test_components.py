"""Components of a margin beside its base: how they add up, and what orders are charged."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.markets.market_parts import InstrumentLiquidity
from mcmargin.policies.policy_parts import Concentration, Leverage, LeverageTier, Liquidity
from tests.helpers.plain_market import ITEMS, margin_of, scenarios_of_two


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_two()


def test_concentration_by_hand(scenarios):
    """a0: 30 + 10 units of 100, 4,000, beyond 1,000 free at 10 %: 300; a1: 20 of 50, all free."""
    policy = mm.MarginPolicy(concentration=Concentration(free_notional=1000.0, rate=0.1))
    rows = [("x", "S", 30.0), ("x", "P", 10.0), ("x", "T", 20.0)]
    assert margin_of(scenarios, rows, policy).account("x").concentration == pytest.approx(300.0)
    hedged = [("x", "S", 30.0), ("x", "P", -30.0)]
    assert margin_of(scenarios, hedged, policy).account("x").concentration == 0.0


TIERS = (LeverageTier(1000.0, 20.0), LeverageTier(5000.0, 10.0), LeverageTier(math.inf, 4.0))


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

"""Leverage: brackets of notional, and what open interest does to them, by hand."""

import math

import pytest

import mcmargin as mm
from mcmargin.margins.leverage import initial_fraction
from mcmargin.policies.policy_parts import Leverage, LeverageTier
from tests.helpers.plain_market import margin_of, scenarios_of_two


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_two()


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

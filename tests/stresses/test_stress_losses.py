"""Losses in stressed scenarios, of positions and collateral together."""

from dataclasses import replace

import pytest

import mcmargin as mm
from mcmargin.policies.policy_parts import Collateral
from mcmargin.policies.stress_parts import Gap, Stress
from tests.helpers.books import book_of
from tests.helpers.coin_book import EVEN, FIVE_WORST, ITEMS, market_of
from tests.helpers.models import scenarios_of_three


def one(report, name="x"):
    return report.account(name)


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three()


def test_stress_is_of_positions_and_collateral_together(scenarios):
    """A coin falls 30 %: 30 for long 1, 60 with a coin, nothing for short 1 with a coin, of which
    half is added beyond base. A grid of all others moves coins, and leaves posted cash alone."""
    rows = [("l", "PERP", 1), ("s", "PERP", -1)]
    part = Stress(gaps=(Gap("a0", -0.3),), scenario_weight=0.5, dependence_weight=0.0)
    policy = replace(FIVE_WORST, level=0.9, stress=part)
    coins = [("l", "a0", 1), ("s", "a0", 1)]
    book = book_of(rows, ITEMS, coins)
    report = mm.stress(book, EVEN, policy=policy)
    assert report.accounts["loss"].tolist() == pytest.approx([60.0, 0.0])
    assert report.owners["loss"].tolist() == pytest.approx([60.0, 0.0])
    assert report.scenarios_of("l")["loss"].tolist() == pytest.approx([60.0])
    margin = mm.margin(book, EVEN, policy=policy)
    assert margin.figures["stress_add_on"].tolist() == pytest.approx([0.0, 0.0])
    assert one(margin, "s").margin == pytest.approx(0.0, abs=1e-12)
    deep = replace(policy, stress=replace(part, gaps=(Gap("a0", -0.9),)))
    added = mm.margin(book, EVEN, policy=deep).figures["stress_add_on"]
    assert added.tolist() == pytest.approx([0.5 * (180 - 91.0), 0.0])
    haircut = replace(policy, collateral=Collateral("haircut"))
    assert mm.stress(book, EVEN, policy=haircut).accounts["loss"].tolist() == [30.0, -30.0]
    grid = mm.MarginPolicy(stress=Stress(grids={"*": "okx-major"}))
    cash = [("l", "EUR", 500), ("l", "USD", 500)]
    losses = [
        mm.stress(book_of(rows, ITEMS, [*coins, *more]), scenarios, market_of(), grid).accounts[
            "loss"
        ]
        for more in ([], cash)
    ]
    assert losses[0].tolist() == losses[1].tolist()

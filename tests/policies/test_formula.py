"""The table of the formula: what is written elsewhere agrees with it, and everybody reads it."""

import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.desk.attribution import BY_POSITION, BY_UNDERLYING
from mcmargin.margins.components import COMPONENTS
from mcmargin.margins.operations import added_by_steps
from mcmargin.policies import policy
from mcmargin.policies.formula import FORMULA, Operation, Step, policy_in_words
from mcmargin.policies.policy_parts import (
    Concentration,
    Leverage,
    LeverageTier,
    Liquidity,
    Maintenance,
    Procyclicality,
)
from mcmargin.policies.policy_words import LIQUIDITY
from mcmargin.policies.stress_parts import Gap, Stress
from mcmargin.reports.account_figures import AccountMargin
from mcmargin.reports.margin_parts import parts_of
from tests.helpers.models import make_model, with_history

NAMES = [step.name for step in FORMULA]
PAGES = Path(__file__).parents[2] / "docs"
FULL = mm.MarginPolicy(
    short_option_minimum=0.01,
    maintenance=Maintenance(level=0.975, horizon=1),
    stress=Stress(gaps=(Gap("a0", -0.3),), scenario_weight=0.25, dependence_weight=0.25),
    procyclicality=Procyclicality(buffer=0.25, floor_years=1.0, speed_limit=0.1),
    liquidity=Liquidity(spread=0.02),
    concentration=Concentration(free_notional=100.0, rate=0.05),
    leverage=Leverage((LeverageTier(float("inf"), 2.0),)),
    tick=0.5,
)


def report_of(policy):
    """Three accounts, of which the first is charged by every step but the last."""
    rng = np.random.default_rng(5)
    model = make_model(("garch", "garch"), "t", "t", variance=1e-4)
    model = with_history(model, 0.02 * rng.standard_normal((300, 2)), np.full((300, 2), 4e-4))
    scenarios = mm.simulate(model, horizons=(1, 2), paths=5_000, seed=3, policy=policy)
    items = [
        mm.Perpetual("P", "a0", basis_volatility=0.0, stressed_funding_rate=0.05),
        mm.Spot("S", "a1"),
    ]
    rows = [("x", "P", 9.0), ("x", "S", -3.0), ("y", "S", 4.0), ("z", "P", 1.0)]
    frame = pd.DataFrame(rows, columns=["account", "instrument", "quantity"])
    return mm.margin(mm.Book.from_frame(frame, instruments=items), scenarios, policy=policy)


@pytest.fixture(scope="module")
def report():
    return report_of(FULL)


@pytest.mark.parametrize("text", [policy.__doc__, (PAGES / "files.md").read_text("utf-8")])
def test_the_formula_is_written_as_the_table_has_it(text):
    for line in policy_in_words(mm.MarginPolicy()):
        assert f"    {line.name:<11} = {line.formula}\n" in text


def test_each_step_has_its_part_of_the_policy_its_component_and_its_column():
    parts = {each.name for each in fields(mm.MarginPolicy)}
    columns = {each.name for each in fields(AccountMargin)}
    assert {step.part for step in FORMULA} <= parts | {""}
    assert [step.component for step in FORMULA if step.component] == list(COMPONENTS)
    assert {step.line for step in FORMULA} | set(COMPONENTS) | {"unrounded"} <= columns
    # A page has room for one step's words, and tells steps apart.
    assert len({step.words.label for step in FORMULA}) == len(set(NAMES)) == len(FORMULA)


def test_a_step_is_on_where_the_policy_has_its_part():
    assert all(step.is_on(FULL) for step in FORMULA)
    on = [step.name for step in FORMULA if step.is_on(mm.MarginPolicy())]
    assert on == ["base", "stressed_funding"]


def test_every_reader_has_the_steps_of_the_table(report):
    """The margin's parts by step, the page's picture, and the attribution."""
    row = report.figures.to_dict("records")[0]
    added = added_by_steps(row, FULL.tick)
    assert list(added) == NAMES
    assert sum(added.values()) == pytest.approx(row["margin"])
    shown = [part.name for part in parts_of(row, FULL)]
    first, orders, *others = shown
    assert [first, *others] == [step.words.label for step in FORMULA]
    assert orders == "open orders, minimum"
    attributed = report.attribution()
    own = attributed[attributed["account"] == "x"]
    beside = {"expected_shortfall", "minimum", "open_orders", "collateral"}
    charged = {name for name, amount in added.items() if amount} - {"base", "tick"}
    assert set(own["component"]) - beside == charged >= {*BY_POSITION, *BY_UNDERLYING}
    assert set(attributed["component"]) - beside <= set(NAMES)


def test_a_step_more_in_the_table_is_seen_by_all(report, monkeypatch):
    """Liquidity once more, after the other charges: margins, words, page, shares, what-ifs."""
    at = NAMES.index("leverage_minimum")
    twice = "liquidity", "liquidity", "total", "{} + liquidity again", LIQUIDITY
    again = Step("again", Operation.PLUS, *twice)
    longer = (*FORMULA[:at], again, *FORMULA[at:])
    readers = [each for each in sys.modules.values() if getattr(each, "FORMULA", 0) is FORMULA]
    for module in readers:
        monkeypatch.setattr(module, "FORMULA", longer)
    found = report_of(FULL)
    before, after = (each.figures.set_index("account").loc["y"] for each in (report, found))
    assert before["liquidity"] > 0
    assert after["total"] == pytest.approx(before["total"] + before["liquidity"])
    lines = {line.name: line.formula for line in policy_in_words(FULL)}
    assert lines["total"] == ("calm + liquidity + concentration + funding + liquidity again")
    parts = parts_of(after.to_dict(), FULL)
    assert sum(part.amount for part in parts) == pytest.approx(after["margin"])
    own = found.attribution().query("account == 'y'").set_index("component")["amount"]
    assert own["again"] == pytest.approx(after["liquidity"])
    assert own.sum() == pytest.approx(after["unrounded"])
    assert found.what_if("y", {}).total == after["total"]

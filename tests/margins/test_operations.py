"""The operations of the formula, against margins that are worked out by hand."""

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.margins.estimates import fixed
from mcmargin.margins.operations import added_by_steps, margin_of, with_maintenance
from mcmargin.policies.policy_parts import Procyclicality

POLICY = mm.MarginPolicy(procyclicality=Procyclicality(buffer=0.25, speed_limit=0.01), tick=0.5)
COMPONENTS = {
    "base": 100.0,
    "floor": 110.0,
    "stress_add_on": 15.0,
    "liquidity": 8.0,
    "concentration": 3.0,
    "stressed_funding": 2.5,
    "leverage_minimum": 137.3,
}
LAST, BARS = 120.0, 2


def applied(components, policy=POLICY, last=LAST):
    kinks = {}
    return margin_of(
        {name: fixed(np.array([amount])) for name, amount in components.items()},
        policy,
        None if last is None else np.array([last]),
        BARS,
        lambda name: kinks.setdefault(name, len(kinks)),
    )


def amounts(estimates):
    return {name: float(each.amounts[0]) for name, each in estimates.items()}


def test_a_margin_with_every_component_by_hand():
    """The floor lifts 100 to 110, and stress adds 15: 125. A buffer of a quarter would make 156.25;
    the last charge of 120 does not cover 125, so that 125 is asked for; but in two bars a charge of
    120 rises at most to 120 x 1.01 x 1.01 = 122.412, which covers base. 8, 3 and 2.5 more make
    135.912. Leverage asks for 137.3, and ticks of a half make 137.5 of it."""
    found = amounts(applied(COMPONENTS))
    expected = {
        "base": 100.0,
        "stressed": 125.0,
        "calm": 122.412,
        "total": 135.912,
        "unrounded": 137.3,
        "margin": 137.5,
    }
    assert found == pytest.approx(expected, rel=1e-12)


def test_maintenance_margin_by_hand():
    """Of 130 in all, which its last charge of 160 would cover as it is: the buffer of 1.25 x 120 =
    150 is charged whole, and 9 more make 159. That is above the initial margin of 137.5."""
    own = dict.fromkeys(COMPONENTS, 0.0) | {"base": 120.0, "liquidity": 9.2}
    initial, maintenance = applied(COMPONENTS), applied(own, last=160.0)
    assert amounts(maintenance)["unrounded"] == pytest.approx(159.2)
    found = amounts(with_maintenance(initial, maintenance, lambda name: 0))
    assert found["maintenance_calm"] == 150.0
    assert (found["maintenance"], found["margin"]) == (159.5, 159.5)
    assert found["unrounded"] == pytest.approx(159.2)
    without = amounts(with_maintenance(initial, None, lambda name: 0))
    assert (without["maintenance"], without["margin"]) == (0.0, 137.5)


@pytest.mark.parametrize("tick", [0.5, 0.0])
def test_what_each_step_adds_by_hand(tick):
    """As above, with a maintenance margin of 139, which was 138.7 before its tick."""
    columns = COMPONENTS | {"stressed": 125.0, "calm": 122.412, "total": 135.912}
    columns |= {"unrounded": 138.7, "margin": 139.0, "maintenance": 139.0}
    expected = {
        "base": 100.0,
        "floor": 10.0,
        "stress": 15.0,
        "procyclicality": -2.588,
        "liquidity": 8.0,
        "concentration": 3.0,
        "stressed_funding": 2.5,
        "leverage_minimum": 1.388,
        "tick": 0.2 if tick else 0.0,
        "maintenance": 1.5 if tick else 1.4,
    }
    added = added_by_steps(columns, tick)
    assert added == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert sum(added.values()) == pytest.approx(139.0 if tick else 138.7)
    arrays = {name: np.array([amount, amount]) for name, amount in columns.items()}
    for name, amount in added_by_steps(arrays, tick).items():
        assert amount.tolist() == [added[name]] * 2

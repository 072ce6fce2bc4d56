"""Horizons that settlements need: with them margin() runs, and without any one it does not."""

from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.data.bars import BarCalendar
from mcmargin.margins.horizons import horizons_needed
from mcmargin.policies.policy_parts import Maintenance
from tests.helpers.books import book_of
from tests.helpers.models import make_model

# As of Wednesday, 2020-01-01; the third bar of a five-day week closes on the Monday after.
WORKDAYS = replace(make_model(("gjr",)), calendar=BarCalendar(1.0, (0, 1, 2, 3, 4)))
MARKET = mm.Market(as_of=np.datetime64("2020-01-01"), spot={"a0": 100.0}, volatility={"a0": 0.4})
POLICY = mm.MarginPolicy(horizon=2, horizons={"option": 5, "future": 4})


def option(expiry, **options):
    return mm.Option("C", "a0", "call", 100.0, expiry, **options)


CASES = {
    "after the horizon": (option("2020-01-08T00:01"), None),
    "at the horizon": (option("2020-01-08"), 5),
    "at a close": (option("2020-01-02"), 1),
    "within a bar": (option("2020-01-02T08:00"), 2),
    "within the first bar": (option("2020-01-01T08:00"), 1),
    "on a weekend": (option("2020-01-04T12:00"), 3),
    "a future inside": (mm.Future("C", "a0", "2020-01-06"), 3),
    "a future beyond its own horizon": (mm.Future("C", "a0", "2020-01-07T08:00"), None),
    "an option on a future": (option("2020-01-02", future=mm.Future("F", "a0", "2020-01-02")), 1),
    "an option whose future expires later in its last bar": (
        option("2020-01-04", future=mm.Future("F", "a0", "2020-01-05")),
        3,
    ),
    "a perpetual": (mm.Perpetual("C", "a0"), None),
}


@pytest.mark.parametrize("case", list(CASES))
def test_the_close_at_which_a_contract_settles_is_simulated(case):
    item, settles = CASES[case]
    needed = horizons_needed([item], WORKDAYS, POLICY)
    assert needed == tuple(sorted({2, 4, 5, *(() if settles is None else (settles,))}))
    book = book_of([("x", "C", -1.0)], [item])

    def margin(horizons):
        scenarios = mm.simulate(WORKDAYS, horizons=horizons, paths=2000, seed=1)
        return mm.margin(book, scenarios, MARKET, POLICY).accounts[0].margin

    assert margin(needed) > 0
    if settles in (1, 3):
        with pytest.raises(mm.PolicyError, match=f"settles at the close of bar {settles}"):
            margin((2, 4, 5))


def test_what_has_expired_settles_nowhere():
    assert horizons_needed([option("2019-12-31")], WORKDAYS, POLICY) == (2, 4, 5)


def test_a_policy_without_a_horizon_has_one_bar():
    assert horizons_needed([option("2020-06-26")], WORKDAYS, mm.MarginPolicy()) == (1,)


LONGEST = {
    "of the product classes": (mm.MarginPolicy(horizons={"option": 5}), (5,)),
    "of maintenance": (mm.MarginPolicy(maintenance=Maintenance(horizon=3)), (3,)),
    "beside a shorter one of maintenance": (
        mm.MarginPolicy(horizons={"option": 4}, maintenance=Maintenance(horizon=1)),
        (1, 4),
    ),
    "its own": (
        mm.MarginPolicy(horizon=2, maintenance=Maintenance(horizons={"option": 5})),
        (2, 5),
    ),
}


@pytest.mark.parametrize("case", list(LONGEST))
def test_every_horizon_of_a_policy_is_simulated_and_no_other(case):
    """margin() takes the longest simulated for what a policy leaves open, and so does this."""
    policy, expected = LONGEST[case]
    item = option("2020-06-26")
    assert horizons_needed([item], WORKDAYS, policy) == expected
    book = book_of([("x", "C", -1.0)], [item])
    scenarios = mm.simulate(WORKDAYS, horizons=expected, paths=2000, seed=1)
    assert mm.margin(book, scenarios, MARKET, policy).accounts[0].margin > 0


def test_settlements_inside_the_longer_horizon_of_maintenance():
    policy = mm.MarginPolicy(horizon=1, maintenance=Maintenance(horizon=5))
    assert horizons_needed([option("2020-01-04T12:00")], WORKDAYS, policy) == (1, 3, 5)

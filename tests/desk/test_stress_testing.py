"""Stress of a book: losses in each account's currency, of owners, and what cannot be stressed."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.desk.stress_testing import stress_of_model
from mcmargin.policies.stress_parts import Gap, Stress
from tests.helpers.books import book_of
from tests.helpers.stressed import ITEMS, MARKET, scenarios_with_a_history, stressed, window

IN_EURO = replace(MARKET, quoted={"a1": "EUR"})


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_with_a_history()


def test_losses_are_in_the_accounts_currency(scenarios):
    """A euro account of dollars: 3 x 100 dollars are worth less when the dollar falls, as here.

    A depeg of EUR by 10 % makes 300 / 1.2 euro 300 / 1.08: a gain of 27.78; a gap of -20 % in the
    asset costs 60 / 1.2. Coin accounts are counted at today's spot.
    """
    rows = [("e", "S", 3.0), ("c", "S", 3.0)]
    accounts = [mm.Account("e", "EUR"), mm.Account("c", "a0")]
    report = stressed(
        rows, scenarios, accounts=accounts, gaps=(Gap("a0", -0.2),), depegs={"EUR": 0.1}
    )
    expected = {"e": [50.0, 300 / 1.2 - 300 / 1.08], "c": [0.6, 0.0]}
    for account, losses in expected.items():
        np.testing.assert_allclose(report.scenarios_of(account)["loss"], losses, atol=1e-12)


def test_an_owner_loses_with_all_accounts_in_one_scenario(scenarios):
    """Long 2 and short 3 in two accounts of one owner: 1 short; alone they lose on either side."""
    accounts = [mm.Account(name, owner="fund") for name in "ab"] + [mm.Account("c", "EUR")]
    report = stressed(
        [("a", "S", 2.0), ("b", "S", -3.0), ("c", "E", 1.0)],
        scenarios,
        IN_EURO,
        accounts=accounts,
        gaps=(Gap("a0", -0.5), Gap("a0", 0.5), Gap("a1", -0.1)),
    )
    assert report.accounts["loss"].tolist() == pytest.approx([100.0, 150.0, 5.0])
    owners = report.owners.set_index("owner")
    assert owners.loc["fund", ["currency", "scenario"]].tolist() == ["USD", "gap a0 +50 %"]
    assert owners["loss"].to_dict() == pytest.approx({"fund": 50.0, "c": 5.0})
    assert owners["rate"].to_dict() == {"fund": 1.0, "c": 1.2}


def test_blocks_of_units_change_nothing(scenarios, monkeypatch):
    rows = [(f"{at}", name, at - 3.0) for at in range(7) for name in "SPC"]
    terms = {"windows": (window(worst=2),), "grids": {"*": "deribit"}}
    one = stressed(rows, scenarios, **terms)
    monkeypatch.setattr("mcmargin.stresses.stress_losses.BLOCK_BYTES", 1)
    other = stressed(rows, scenarios, **terms)
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame())


def test_a_model_alone_gives_the_losses_that_its_scenarios_give(scenarios):
    """No path is looked at: options under windows, grids and gaps lose the same without any."""
    rows = [("x", name, 2.0) for name in "SPC"]
    terms = {"windows": (window(worst=2),), "grids": {"*": "deribit"}, "gaps": (Gap("a0", -0.3),)}
    given = stressed(rows, scenarios, **terms)
    policy = mm.MarginPolicy(stress=Stress(**terms))
    book = book_of(rows, ITEMS)
    alone = stress_of_model(book, scenarios.model, MARKET, policy, variance_cap=np.inf)
    pd.testing.assert_frame_equal(alone.to_frame(), given.to_frame(), check_exact=True)
    pd.testing.assert_frame_equal(alone.owners, given.owners, check_exact=True)
    assert alone.fingerprints == given.fingerprints
    for each in (alone, pickle.loads(pickle.dumps(alone))):
        pd.testing.assert_frame_equal(each.scenarios_of("x"), given.scenarios_of("x"))


def test_a_policy_without_stress(scenarios):
    for policy in (None, mm.MarginPolicy()):
        with pytest.raises(mm.PolicyError, match="declares no stress"):
            mm.stress(book_of([("x", "S", 1.0)], ITEMS), scenarios, MARKET, policy)


def test_a_book_that_the_market_cannot_value(scenarios):
    book = book_of([("x", "S", 1.0)], [mm.Spot("S", "doge")])
    with pytest.raises(mm.DataError, match="the model has no asset 'doge'"):
        mm.stress(book, scenarios, MARKET, mm.MarginPolicy(stress=Stress(gaps=(Gap("a0", 0.1),))))

"""Haircuts: what collateral may lose, and what is left of it as equity."""

from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.draws.plan import SimulationPlan
from mcmargin.numerics.tail import expected_shortfall
from mcmargin.policies.policy_parts import Collateral
from mcmargin.scenarios.scenarios import Scenarios
from tests.helpers.books import book_of
from tests.helpers.coin_book import ACCOUNTS, AS_OF, EVEN, FIVE_WORST, ITEMS, market_of
from tests.helpers.models import make_model, scenarios_of_three


def one(report, name="x"):
    return report.account(name)


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three()


def test_haircuts_by_hand():
    """At 95 % a coin loses 48 % and owing it 47 %; a dollar nothing. 2 coins count 2 x 100 x 0.52,
    and the margin is that of the position alone."""
    policy = replace(FIVE_WORST, collateral=Collateral("haircut", level=0.95))
    book = book_of([("x", "PERP", 1)], ITEMS, [("x", "a0", 2), ("x", "USD", 10)])
    report = mm.margin(book, EVEN, policy=policy)
    shares = report.haircuts.drop(columns=["expected_shortfall_error", "haircut_error"])
    assert shares.to_dict("records") == [
        {"asset": "USD", "currency": "USD", "debit": False, "value": 1.0,
         "expected_shortfall": 0.0, "haircut": 0.0},
        {"asset": "a0", "currency": "USD", "debit": False, "value": 100.0,
         "expected_shortfall": pytest.approx(48.0), "haircut": pytest.approx(0.48)},
    ]  # fmt: skip
    account = one(report)
    assert account.collateral == account.equity == pytest.approx(104.0 + 10.0)
    assert account.margin == pytest.approx(48.0)
    assert account.wrong_way == 0.0


def test_haircuts_have_a_level_of_their_own(scenarios):
    """Of a euro in dollars, and of a dollar in euro, owed and owned: from the same two bars."""
    policy = mm.MarginPolicy(collateral=Collateral("haircut", level=0.975))
    rows = [("x", "PERP", 1), ("y", "PERP", 1)]
    posted = [("x", "USD", 5), ("x", "EUR", -9), ("y", "EUR", -5), ("y", "USDT", 1), ("y", "a0", 1)]
    report = mm.margin(
        book_of(rows, ITEMS, posted, accounts=ACCOUNTS), scenarios, market_of(), policy
    )
    euro, coin = (scenarios.returns[1, at] for at in (2, 0))
    found = {(h.asset, h.currency, h.debit): h.haircut for h in report.haircuts.itertuples()}
    assert found == {
        ("EUR", "EUR", True): 0.0,
        ("EUR", "USD", True): pytest.approx(expected_shortfall(euro, level=0.975)),
        ("USD", "EUR", False): pytest.approx(expected_shortfall(1 - 1 / (1 + euro), level=0.975)),
        # 1 % a bar breaks 2 % of the paths, of the 2.5 % worst: 30 % x 0.0199 / 0.025 about.
        ("USDT", "USD", False): pytest.approx(0.24, abs=0.03),
        ("a0", "USD", False): pytest.approx(expected_shortfall(-coin, level=0.975)),
    }
    short = found["EUR", "USD", True]
    assert one(report, "y").collateral == pytest.approx(
        -5 * 1.25 * (1 + short) + (1 - found["USDT", "USD", False])
        + 100 * (1 - found["a0", "USD", False])
    )  # fmt: skip


def test_dollars_alone_have_no_haircut(scenarios):
    """Nothing that is posted moves: margins are those of an account that posts nothing."""
    policy = mm.MarginPolicy(collateral=Collateral("haircut", level=0.975))
    posted, bare = (
        mm.margin(book_of([("x", "PERP", 1.0)], ITEMS, balances), scenarios, policy=policy)
        for balances in ([("x", "USD", 500.0)], None)
    )
    assert posted.haircuts["haircut"].tolist() == [0.0]
    assert posted.account("x").margin == bare.account("x").margin
    assert (posted.account("x").equity, bare.account("x").equity) == (500.0, None)


def test_a_haircut_takes_no_more_than_all():
    """A debit in a currency that quadruples in 5 % of the scenarios loses 300 % of its value: at
    most 100 % more is counted."""
    model = make_model(("constant",))
    returns = np.zeros((1, 1, 100))
    returns[0, 0, :5] = 3.0  # four times the rate
    plan = SimulationPlan(1, 100, (1,), "double")
    scenarios = Scenarios(model, plan, returns, np.full_like(returns, 1e-4), "numpy", 0, 0)
    market = mm.Market(as_of=AS_OF, spot={}, fx={"a0": 2.0}, plausibility=mm.Plausibility(move=1))
    policy = replace(FIVE_WORST, collateral=Collateral("haircut", level=0.95))
    book = book_of([], ITEMS, [("x", "a0", -1)], accounts=[mm.Account("x")])
    report = mm.margin(book, scenarios, market, policy)
    (row,) = report.haircuts.itertuples()
    assert (row.value, row.expected_shortfall, row.haircut) == (2.0, pytest.approx(6.0), 1.0)
    assert one(report).equity == pytest.approx(-4.0)


def test_a_level_of_haircuts_beyond_the_paths():
    policy = replace(FIVE_WORST, collateral=Collateral("haircut", level=0.999))
    with pytest.raises(mm.PolicyError, match="100 paths leave less than one in the tail"):
        mm.margin(book_of([("x", "PERP", 1)], ITEMS, [("x", "a0", 1)]), EVEN, policy=policy)

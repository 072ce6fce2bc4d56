"""What-ifs: the margin of an account after trades, on the scenarios of its report.

Those scenarios may be a mixture, where a share of the paths is of a stressed period.
"""

from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.policies.policy_parts import Collateral, Procyclicality
from tests.helpers.books import book_of, positions_of
from tests.helpers.coin_book import AS_OF, EVEN, FIVE_WORST
from tests.helpers.coin_book import ITEMS as COIN_ITEMS
from tests.helpers.euro_market import ITEMS as EURO_ITEMS
from tests.helpers.euro_market import report_in_euro
from tests.helpers.models import make_model, scenarios_of_three, with_history

POLICY = mm.MarginPolicy(procyclicality=Procyclicality(stressed_weight=0.25))
ITEMS = [mm.Spot("a0", "a0"), mm.Spot("a1", "a1"), mm.Perpetual("P", "a1")]
ROWS = [("x", "a0", 3.0), ("x", "a1", -2.0), ("y", "a0", -1.0)]


@pytest.fixture(scope="module")
def mixed():
    """Scenarios of quiet days, and of a stressed period of nine times their variance."""
    model = make_model(("garch", "garch"), variance=1e-4)
    returns = np.random.default_rng(5).normal(0, 0.03, (300, 2))
    model = with_history(model, returns, np.full(returns.shape, 9e-4))
    return mm.simulate(model, horizon=1, paths=4000, seed=3, policy=POLICY, engine="numpy")


@pytest.fixture(scope="module")
def mixed_report(mixed):
    return mm.margin(book_of(ROWS, ITEMS), mixed, policy=POLICY)


# P is held by nobody, so that the account's instruments are valued anew for it.
@pytest.mark.parametrize("trades", [{}, {"a0": 0.0}, {"P": 0.0}, {"a1": 0.0, "P": 0.0}])
@pytest.mark.parametrize("account", ["x", "y"])
def test_no_trade_leaves_the_margin_of_a_stressed_mixture(mixed_report, account, trades):
    before, after = mixed_report.account(account), mixed_report.what_if(account, trades)
    for name in ("margin", "margin_error", "expected_shortfall", "value_at_risk", "gross_exposure"):
        assert getattr(after, name) == getattr(before, name), name


def test_a_trade_is_margined_as_the_book_after_it(mixed_report, mixed):
    """Once among the instruments held, and once with one that nobody held."""
    for name in ("a0", "P"):
        rows = [*ROWS[:2], ("x", name, 4.0)]
        if name == "a0":
            rows = [("x", "a0", 7.0), ROWS[1]]
        expected = mm.margin(book_of(rows, ITEMS), mixed, policy=POLICY)
        found = mixed_report.what_if("x", {name: 4.0})
        assert found.margin == pytest.approx(expected.account("x").margin, rel=1e-12)


def test_the_session_has_the_scenarios_that_were_simulated(mixed_report, mixed):
    """And the mixture is another: a second margin on the session's own gives the same."""
    assert mixed_report.session.scenarios is mixed
    quiet = mm.margin(mixed_report.session.book, mixed, mixed_report.session.market)
    assert (mixed_report.figures["margin"] > 1.2 * quiet.figures["margin"]).all()
    again = mm.margin(mixed_report.session.book, mixed_report.session.scenarios, policy=POLICY)
    assert again.figures.equals(mixed_report.figures)


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three(horizons=(1, 2, 5))


@pytest.fixture(scope="module")
def report(scenarios):
    return report_in_euro(scenarios)


@pytest.mark.parametrize("account", ["a", "b", "c"])
@pytest.mark.parametrize("trades", [{"P": 3.0}, {"S": -10.0, "C": 2.0}, {"Q": -4.0}, {}])
def test_a_what_if_is_the_margin_of_the_book_after_it(report, scenarios, account, trades):
    before = report.session.book
    rows = [row for row in before.to_frame().itertuples(index=False) if row.account == account]
    after = positions_of([*rows, *((account, name, q) for name, q in trades.items())])
    after = after.groupby(["account", "instrument"], as_index=False).sum()
    accounts = [each for each in before.accounts if each.name == account]
    book = book_of(after, EURO_ITEMS, accounts=accounts)
    market = report.session.market
    expected = mm.margin(book, scenarios, market).accounts[0]
    found = report.what_if(account, trades)
    assert found.margin == pytest.approx(expected.margin, rel=1e-12)
    assert found.value_at_risk == pytest.approx(expected.value_at_risk, rel=1e-12)
    assert [p.instrument for p in found.contributions] == [
        p.instrument for p in expected.contributions
    ]


def test_what_ifs_that_cannot_be(report):
    with pytest.raises(mm.DataError, match="no account 'z'"):
        report.what_if("z", {"S": 1.0})
    with pytest.raises(mm.DataError, match="instrument 'Z' is unknown"):
        report.what_if("a", {"Z": 1.0})
    with pytest.raises(mm.DataError, match="not a finite number"):
        report.what_if("a", {"S": np.inf})
    again = mm.MarginReport.from_json(report.to_json())
    with pytest.raises(mm.DataError, match="needs the scenarios"):
        again.what_if("a", {"S": 1.0})


def one(report, name="x"):
    return report.account(name)


COIN = mm.Market(as_of=AS_OF, spot={"a0": 100.0, "a1": 100.0}, coins=("a0",))


@pytest.mark.parametrize("mode", ["joint", "haircut"])
@pytest.mark.parametrize("trade", [{"S": 1.0}, {"PUT": 10.0}, {"PERP": -2.0}, {"S": -0.5}])
def test_a_what_if_of_an_account_that_counts_in_coin_pays_in_coin(mode, trade):
    """As a full run of the book after it, that has so many coins fewer, or more."""
    policy = replace(FIVE_WORST, collateral=Collateral(mode, level=0.95))
    accounts = [mm.Account("x", "a0")]
    market = replace(COIN, volatility={"a0": 0.5}, vol_of_vol={"a0": 0.0})
    rows = {"PERP": 1.0, "S": 1.0}
    before = mm.margin(
        book_of(
            [("x", *row) for row in rows.items()], COIN_ITEMS, [("x", "a0", 2)], accounts=accounts
        ),
        EVEN,
        market,
        policy,
    )
    found = before.what_if("x", trade)
    ((name, size),) = trade.items()
    item = next(each for each in COIN_ITEMS if each.name == name)
    after = rows | {name: rows.get(name, 0.0) + size}
    book = book_of(
        [("x", *row) for row in after.items()],
        COIN_ITEMS,
        [("x", "a0", 2 - size * item.value(market) / 100)],
        accounts=accounts,
    )
    full = one(mm.margin(book, EVEN, market, policy))
    for figure in ("margin", "collateral", "position_value", "equity", "wrong_way"):
        assert getattr(found, figure) == pytest.approx(getattr(full, figure), abs=1e-12), figure


def test_an_account_without_coins_that_buys_some_on_credit_owes_coins():
    """Nothing is gained or lost by it, and any size is permitted; a coin's haircut is freed."""
    accounts = [mm.Account("x", "a0")]
    book = book_of([("x", "PERP", 1)], COIN_ITEMS, [("x", "USD", 300)], accounts=accounts)
    market = replace(COIN, fx={"USD": 1.0})
    report = mm.margin(book, EVEN, market, FIVE_WORST)
    before = one(report)
    after = report.what_if("x", {"S": 2.0})
    assert after.margin == pytest.approx(before.margin, abs=1e-12)
    assert after.equity == before.equity
    assert report.max_order("x", "S", side="buy") == float("inf")
    policy = replace(FIVE_WORST, collateral=Collateral("haircut", level=0.95))
    report = mm.margin(
        book_of([("x", "PERP", 1)], COIN_ITEMS, [("x", "a0", 2)], accounts=accounts),
        EVEN,
        COIN,
        policy,
    )
    # Spot of 1 takes 0.48 of a coin more, as much as its coin counts for more.
    assert report.what_if("x", {"S": 1.0}).equity == pytest.approx(1.04 + 0.48)
    size = report.max_order("x", "PERP", side="buy")
    assert size == pytest.approx((1.04 - 0.48) / 0.48)


def test_a_what_if_without_balances_has_no_collateral():
    account = mm.margin(book_of([("x", "PERP", 1)], COIN_ITEMS), EVEN).what_if("x", {"S": 1.0})
    assert (account.collateral, account.equity, account.position_value) == (0.0, None, 100.0)

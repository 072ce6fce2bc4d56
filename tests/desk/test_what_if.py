"""What-ifs: the margin of an account after trades, on the scenarios of its report.

Those scenarios may be a mixture, where a share of the paths is of a stressed period.
"""

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.policies.policy_parts import Procyclicality
from tests.helpers.books import book_of, positions_of
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
    """And the mixture is another: a second margin on the session's mixed gives the same."""
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

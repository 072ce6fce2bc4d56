"""What-ifs where a share of the paths is of a stressed period: on the report's own mixture."""

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.policies.policy_parts import Procyclicality
from tests.helpers.books import book_of
from tests.helpers.models import make_model, with_history

POLICY = mm.MarginPolicy(procyclicality=Procyclicality(stressed_weight=0.25))
ITEMS = [mm.Spot("a0", "a0"), mm.Spot("a1", "a1"), mm.Perpetual("P", "a1")]
ROWS = [("x", "a0", 3.0), ("x", "a1", -2.0), ("y", "a0", -1.0)]


@pytest.fixture(scope="module")
def scenarios():
    """Scenarios of quiet days, and of a stressed period of nine times their variance."""
    model = make_model(("garch", "garch"), variance=1e-4)
    returns = np.random.default_rng(5).normal(0, 0.03, (300, 2))
    model = with_history(model, returns, np.full(returns.shape, 9e-4))
    return mm.simulate(model, horizon=1, paths=4000, seed=3, policy=POLICY, engine="numpy")


@pytest.fixture(scope="module")
def report(scenarios):
    return mm.margin(book_of(ROWS, instruments=ITEMS), scenarios, policy=POLICY)


# P is held by nobody, so that the account's instruments are valued anew for it.
@pytest.mark.parametrize("trades", [{}, {"a0": 0.0}, {"P": 0.0}, {"a1": 0.0, "P": 0.0}])
@pytest.mark.parametrize("account", ["x", "y"])
def test_no_trade_leaves_the_margin_of_a_stressed_mixture(report, account, trades):
    before, after = report.account(account), report.what_if(account, trades)
    for name in ("margin", "margin_error", "expected_shortfall", "value_at_risk", "gross_exposure"):
        assert getattr(after, name) == getattr(before, name), name


def test_a_trade_is_margined_as_the_book_after_it(report, scenarios):
    """Once among the instruments held, and once with one that nobody held."""
    for name in ("a0", "P"):
        rows = [*ROWS[:2], ("x", name, 4.0)]
        if name == "a0":
            rows = [("x", "a0", 7.0), ROWS[1]]
        expected = mm.margin(book_of(rows, instruments=ITEMS), scenarios, policy=POLICY)
        found = report.what_if("x", {name: 4.0})
        assert found.margin == pytest.approx(expected.account("x").margin, rel=1e-12)


def test_the_session_has_the_scenarios_that_were_simulated(report, scenarios):
    """And the mixture is another: a second margin on the session's scenarios gives the same."""
    assert report.session.scenarios is scenarios
    quiet = mm.margin(report.session.book, scenarios, report.session.market)
    assert (report.figures["margin"] > 1.2 * quiet.figures["margin"]).all()
    again = mm.margin(report.session.book, report.session.scenarios, policy=POLICY)
    assert again.figures.equals(report.figures)

"""What-ifs: the margin of an account after trades, without a new run."""

import numpy as np
import pytest

import mcmargin as mm
from tests.helpers.books import book_of, positions_of
from tests.helpers.euro_market import ITEMS, report_in_euro
from tests.helpers.models import scenarios_of_three


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
    book = book_of(after, ITEMS, accounts=accounts)
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

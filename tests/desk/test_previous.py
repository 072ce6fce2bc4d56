"""What a previous report says of rows, by hand: charges at today's rates, and bars since then."""

from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.desk.previous import previous_of
from mcmargin.models.history import History
from tests.helpers.books import book_of
from tests.helpers.models import make_model

DAY = np.timedelta64(1, "D")
MODEL = make_model(("garch",))
MODEL = replace(
    MODEL,
    history=History(
        MODEL.as_of - np.arange(9, -1, -1) * DAY, np.full((10, 1), 0.02), np.full((10, 1), 4e-4)
    ),
)
ACCOUNTS = [
    mm.Account("a", "USD"),
    mm.Account("b", "USD", owner="o", netting="net"),
    mm.Account("c", "USD", owner="o", netting="net"),
]
EURO = mm.Market(
    as_of=MODEL.as_of, spot={"a0": 100.0}, fx={"EUR": 1.25}, fx_volatility={"EUR": 0.0}
)


@pytest.fixture(scope="module")
def scenarios():
    return mm.simulate(MODEL, horizon=1, paths=2000, seed=7, engine="numpy")


@pytest.fixture(scope="module")
def report(scenarios):
    """Charges of 10, 20 and 30 for the accounts, and of 40 for the owner who nets."""
    book = book_of([(name, "a0", 1.0) for name in "abc"], accounts=ACCOUNTS)
    made = mm.margin(book, scenarios, EURO)
    owners = made.owners.assign(calm=[10.0, 40.0], maintenance_calm=[1.0, 4.0])
    figures = made.figures.assign(calm=[10.0, 20.0, 30.0], maintenance_calm=[1.0, 2.0, 3.0])
    return replace(made, figures=figures, owners=owners)


def test_rows_are_accounts_then_owners_that_net(report, scenarios):
    found = previous_of(ACCOUNTS, ("o",), report, scenarios, EURO)
    assert found.calm.tolist() == [10.0, 20.0, 30.0, 40.0]
    assert found.maintenance_calm.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert previous_of(ACCOUNTS, ("o",), None, scenarios, EURO) is None


def test_a_new_account_has_no_charge_and_a_new_currency_todays_rate(report, scenarios):
    accounts = [mm.Account("new"), mm.Account("c", "EUR"), mm.Account("a")]
    found = previous_of(accounts, (), report, scenarios, EURO)
    # 30 dollars are 24 euros of 1.25.
    np.testing.assert_array_equal(found.calm, [np.nan, 24.0, 10.0])


@pytest.mark.parametrize(("back", "bars"), [(0, 0), (1, 1), (3.5, 4), (9, 9), (30, 30)])
def test_bars_are_counted_by_the_history_or_by_the_calendar(report, scenarios, back, bars):
    """The history has ten daily closes; a report of before is counted by bars of a day."""
    earlier = replace(report, as_of=str(MODEL.as_of - int(24 * back) * np.timedelta64(1, "h")))
    assert previous_of(ACCOUNTS, (), earlier, scenarios, EURO).bars == bars


def test_a_report_of_later_scenarios_is_refused(report, scenarios):
    later = replace(report, as_of=str(MODEL.as_of + DAY))
    with pytest.raises(mm.DataError, match="after these scenarios'"):
        previous_of(ACCOUNTS, (), later, scenarios, EURO)


def test_an_altered_report_is_refused(report, scenarios):
    altered = replace(report, checksum="0" * 64)
    with pytest.raises(mm.DataError, match="previous report was altered"):
        previous_of(ACCOUNTS, (), altered, scenarios, EURO)

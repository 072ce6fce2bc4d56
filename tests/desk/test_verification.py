"""What `verify` tells of a report that another machine might have made, and of one altered by hand.

A report whose every figure is off by a billionth stands for another engine's: it is within the
bound, so that only a comparison of the altered part itself can tell.
"""

from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.policies.policy_parts import Collateral
from tests.helpers.books import book_of
from tests.helpers.euro_market import market_of
from tests.helpers.models import make_model, three_assets

ROWS = [("x", "a0", 1.0), ("x", "a1", -2.0), ("y", "a2", 3.0), ("z", "a1", 1.0)]
BALANCES = [("x", "a0", 2.0), ("y", "USD", 100.0), ("z", "a2", 1.0)]
ACCOUNTS = [mm.Account("x", owner="fund"), mm.Account("y", owner="fund"), mm.Account("z")]
POLICY = mm.MarginPolicy(collateral=Collateral("haircut"))


@pytest.fixture(scope="module")
def model():
    return make_model(("garch", "gjr", "ewma"), innovations="t", dependence="t")


@pytest.fixture(scope="module")
def book():
    return book_of(ROWS, balances=BALANCES, accounts=ACCOUNTS)


@pytest.fixture(scope="module")
def report(model, book):
    return mm.margin(book, mm.simulate(model, horizon=2, paths=5000, seed=1), policy=POLICY)


def nudged(report):
    """Every figure off by a billionth."""
    tables = {}
    for name in ("figures", "positions", "owners", "haircuts"):
        table = getattr(report, name).copy()
        for column in table.select_dtypes("float").columns.difference(["quantity"]):
            table[column] *= 1 + 1e-9
        tables[name] = table
    return replace(report, **tables)


def test_a_billionth_is_within_the_bound(model, book, report):
    assert mm.verify(report, model, book).verdict == "equal"
    found = mm.verify(nudged(report), model, book)
    assert (found.verdict, found.reasons) == ("within the engine bound", ())
    assert 0 < found.largest_difference < 2e-9


SAYS = "the report says {!r}, and the recomputation {!r}"
POSITION = "the positions differ: quantity of 'a0' of account 'x' differs: "
FIRST = "the haircut of 'USD' in USD"
ALTERED = [
    ("figures", "account", "w", "the accounts differ"),
    ("figures", "owner", "w", "the owners differ"),
    ("figures", "currency", "EUR", "the currencies differ"),
    ("positions", "quantity", 7.0, POSITION + SAYS.format(7.0, 1.0)),
    ("figures", "margin", 1e6, "margin of account 'x' differs"),
    ("positions", "contribution", 1e6, "contribution of 'a0' of account 'x' differs"),
    ("positions", "exposure", 1e6, "exposure of 'a0' of account 'x' differs"),
    ("owners", "netting", "net", "netting of owner 'fund' differs: " + SAYS.format("net", "gross")),
    ("owners", "accounts", 3, "accounts of owner 'fund' differs: " + SAYS.format(3, 2)),
    ("owners", "margin", 1e6, "margin of owner 'fund' differs"),
    ("owners", "maintenance", 1e6, "maintenance of owner 'fund' differs"),
    ("haircuts", "debit", True, f"debit of {FIRST} differs: " + SAYS.format(True, False)),
    ("haircuts", "value", 2.0, f"value of {FIRST} differs"),
    ("haircuts", "expected_shortfall", 99.0, f"expected_shortfall of {FIRST} differs"),
    ("haircuts", "haircut", 0.999, f"haircut of {FIRST} differs"),
]


@pytest.mark.parametrize(("table", "column", "value", "reason"), ALTERED)
def test_what_was_altered_is_told(model, book, report, table, column, value, reason):
    other = nudged(report)
    frame = getattr(other, table)
    assert frame[column].iloc[0] != value
    frame[column] = [value, *frame[column].iloc[1:]]
    found = mm.verify(other, model, book)
    assert (found.verdict, found.reasons) == ("different", (reason,))


def test_a_figure_alone_that_differs_by_little_is_no_rounding(model, book, report):
    """A machine that computes as the report's did gives every figure as it was."""
    figures = report.figures.copy()
    figures.loc[1, "expected_shortfall"] *= 1 + 1e-12
    found = mm.verify(replace(report, figures=figures), model, book)
    assert (found.verdict, found.reasons) == (
        "different",
        ("expected_shortfall of account 'y' differs, alone of all figures",),
    )
    owners = report.owners.copy()
    owners["margin"] *= 1 + 1e-12
    found = mm.verify(replace(report, owners=owners), model, book)
    assert found.reasons == ("margin of owner 'fund' differs, alone of all figures",)


def test_collateral_that_moves_counts_in_the_bound(model, book, report):
    """An account of 100 of exposure and 200 of coin: 300, of which 2e-5 may differ."""
    joint = mm.margin(book, mm.simulate(model, horizon=2, paths=5000, seed=1))
    other = nudged(joint)
    x = other.figures["account"] == "x"
    assert float(joint.figures.loc[x, "gross_exposure"].iloc[0]) == pytest.approx(300.0)
    for share, verdict in ((0.9, "within the engine bound"), (1.1, "different")):
        figures = other.figures.copy()
        figures.loc[x, "margin"] = joint.figures.loc[x, "margin"] + share * 2e-5 * 500.0
        assert mm.verify(replace(other, figures=figures), model, book).verdict == verdict
    assert np.isfinite(other.figures["margin"]).all()


def test_a_hedged_accounts_forged_figure_is_no_rounding():
    """Its gross exposure is a million times its loss: the bound alone would let ten times pass."""
    model = three_assets()
    scenarios = mm.simulate(model, horizon=1, paths=5000, seed=1)
    items = [mm.Spot("S", "a0"), mm.Perpetual("P", "a0", basis_volatility=0.0)]
    rows = [("h", "S", 1e6), ("h", "P", -1e6 + 1), *((f"o{n}", "S", n) for n in (1.0, 2.0, 3.0))]
    book = book_of(rows, items)
    report = mm.margin(book, scenarios, market_of())
    figures = report.figures.copy()
    at = figures.index[figures["account"] == "h"]
    assert figures.loc[at, "expected_shortfall"].item() < 2e-5 * 2e8 / 10
    figures.loc[at, "expected_shortfall"] *= 10
    forged = replace(report, figures=figures)
    outcome = mm.verify(forged, model, book, market_of())
    assert outcome.verdict == "different"
    assert outcome.reasons == ("expected_shortfall of account 'h' differs, alone of all figures",)
    assert mm.verify(report, model, book, market_of()).verdict == "equal"

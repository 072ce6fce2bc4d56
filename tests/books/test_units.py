"""Units: what is margined as one, by owner and by isolated position."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from tests.helpers.books import book_of
from tests.helpers.euro_market import ITEMS, MARKET, ROWS, margins_by_account
from tests.helpers.models import scenarios_of_three


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three(horizons=(1, 2, 5))


def test_owners_net_or_gross(scenarios):
    def accounts(netting):
        return [mm.Account(n, owner="fund", netting=netting) for n in "ab"] + [mm.Account("c")]

    gross = mm.margin(book_of(ROWS, ITEMS, accounts=accounts("gross")), scenarios, MARKET)
    net = mm.margin(book_of(ROWS, ITEMS, accounts=accounts("net")), scenarios, MARKET)
    pd.testing.assert_frame_equal(gross.figures, net.figures)
    pd.testing.assert_frame_equal(gross.positions, net.positions)
    owners = {r: dict(zip(o.owners["owner"], o.owners["margin"], strict=True)) for r, o in
              (("gross", gross), ("net", net))}  # fmt: skip
    alone = margins_by_account(gross)
    assert owners["gross"] == {"c": alone["c"], "fund": pytest.approx(alone["a"] + alone["b"])}
    merged = [("x", "S", 2.0), ("x", "P", -7.0), ("x", "C", 4.0)]
    whole = mm.margin(book_of(merged, ITEMS), scenarios, MARKET).accounts[0]
    assert owners["net"]["fund"] == pytest.approx(whole.margin, rel=1e-12)
    assert owners["net"]["fund"] < owners["gross"]["fund"]
    assert list(net.owners["accounts"]) == [1, 2]


def test_an_isolated_account_margins_each_position_alone(scenarios):
    accounts = [mm.Account("a", mode="isolated"), mm.Account("b"), mm.Account("c")]
    report = mm.margin(book_of(ROWS, ITEMS, accounts=accounts), scenarios, MARKET)
    cross = mm.margin(book_of(ROWS, ITEMS), scenarios, MARKET)
    alone = [
        mm.margin(book_of([row], ITEMS), scenarios, MARKET).accounts[0]
        for row in ROWS
        if row[0] == "a"
    ]
    account = report.account("a")
    assert account.margin == pytest.approx(sum(each.margin for each in alone), rel=1e-12)
    assert account.margin > cross.account("a").margin
    assert [p.instrument for p in account.contributions] == ["P", "S"]
    by_name = {each.contributions[0].instrument: each.expected_shortfall for each in alone}
    assert {p.instrument: p.contribution for p in account.contributions} == pytest.approx(by_name)
    assert margins_by_account(report)["b"] == margins_by_account(cross)["b"]


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("SPQC"), st.floats(-9, 9)),
                min_size=1, max_size=8, unique_by=lambda row: row[:2]))  # fmt: skip
@settings(max_examples=30, deadline=None, derandomize=True)
def test_owners_and_units_change_no_account(scenarios, rows):
    plain = mm.margin(book_of(rows, ITEMS), scenarios, MARKET)
    names = sorted({row[0] for row in rows})
    owned = [mm.Account(name, owner="o", netting="net") for name in names]
    netted = mm.margin(book_of(rows, ITEMS, accounts=owned), scenarios, MARKET)
    np.testing.assert_array_equal(plain.figures["margin"], netted.figures["margin"])
    np.testing.assert_array_equal(plain.positions["contribution"], netted.positions["contribution"])
    assert netted.owners["margin"].iloc[0] <= plain.figures["margin"].sum() + 1e-9

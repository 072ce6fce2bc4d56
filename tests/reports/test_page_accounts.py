"""Accounts on a page: the largest are listed, those that net stand as one, others are counted."""

import re

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.reports import html_report
from tests.helpers.books import book_of
from tests.helpers.models import make_model
from tests.helpers.pages import CASH, Page, called_report, many, number


def test_a_page_lists_the_largest_and_tells_of_the_others(monkeypatch):
    monkeypatch.setattr(html_report, "LISTED", 30)
    names, report = many(50)
    text = report.to_html()
    lines = Page(text).accounts()
    assert [line["account"] for line in lines] == names[:19:-1]
    assert "These are the first 30 of 50" in text
    assert "Margin at 99 % over 1 bar." in text
    assert 'name="show"' not in text


def test_a_page_of_a_thousand_accounts_is_light():
    """A thousand lines with a picture each, charts of the first eight: below a megabyte."""
    cash = pd.DataFrame({"account": [f"client {at:03d}" for at in range(1000)], "asset": "USD"})
    amounts = np.where(np.arange(1000) % 3, 1.0, -98.0) * np.arange(1, 1001)
    names, report = many(1000, balances=cash.assign(amount=amounts))
    text = report.to_html()
    assert len(text.encode()) < 1_000_000
    assert text.count("<svg") == 1 + 8
    assert "The first 8 have a chart" in text
    lines = Page(text).accounts()
    assert {line["account"] for line in lines} == set(names)
    order = {"liquidation": 0, "margin call": 1, "healthy": 2}
    states = report.statuses().set_index("account")
    keys = [(order[line["state"]], states.loc[line["account"], "over_initial"]) for line in lines]
    assert keys == sorted(keys)
    assert len({state for state, _ in keys}) > 1


def test_who_nets_stands_as_one_with_its_accounts_under_it():
    """Two accounts, one in debt and one that covers it: their owner is healthy."""
    accounts = [
        *(mm.Account(name, owner="fund", netting="net") for name in ("owing", "rich")),
        *(mm.Account(name) for name in ("called", "gone")),
    ]
    report = called_report(CASH, accounts=accounts)
    text = report.to_html()
    lines = Page(text).accounts()
    assert [(line["account"], line["state"]) for line in lines] == [
        *(("gone", "liquidation"), ("called", "margin call"), ("fund", "healthy")),
        *(("owing", "netted"), ("rich", "netted")),
    ]
    fund = report.owners.set_index("owner").loc["fund"]
    assert number(lines[2]["margin"]) == pytest.approx(fund["margin"], abs=0.5)
    assert number(lines[2]["equity"]) == pytest.approx(500.0)
    assert f"margin {fund['margin']:.6f} of 2 accounts together" in lines[2]["under"]
    # What netting saves is a part of the picture of all margins.
    picture = text[text.index('id="parts"') : text.index('id="policy"')]
    alone = report.figures["margin"].sum()
    assert alone > report.owners["margin"].sum() or "netting" not in picture


def test_accounts_without_risk_and_with_many_positions():
    """No margin, no positions left, and more positions than a chart has room for."""
    items = [mm.Spot(f"S{at}", "a0") for at in range(40)]
    rows = [("many", item.name, float(at - 3)) for at, item in enumerate(items) if at != 3]
    rows.append(("flat", "S0", 0.0))
    book = book_of(rows, items)
    scenarios = mm.simulate(make_model(), horizon=1, paths=2000, seed=7)
    report = mm.margin(book, scenarios)
    assert report.account("flat").margin == 0.0
    text = report.to_html()
    assert "34 others" in text
    assert text.count("<svg") == 1 + 2
    assert not re.search(r"\b(nan|inf)\b", text, flags=re.IGNORECASE)

"""Reports as pages: what stands on them is what the report says, and nothing runs."""

import json
import re
import sys
from html import escape
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.reports.account_figures import ADDED
from tests.helpers.books import book_of
from tests.helpers.models import make_model
from tests.helpers.pages import (
    CASH,
    COLUMNS,
    ITEMS,
    ODD,
    POLICY,
    Page,
    called_report,
    is_rounded_to,
    name_of,
    number,
    report_of,
)


def test_the_page_says_what_the_report_says(report, text):
    """Figures to the digits that their error leaves a meaning to, and the exact ones under them."""
    ordered = sorted(
        report.accounts, key=lambda a: -a.margin * (1.25 if a.currency == "EUR" else 1.0)
    )
    page = Page(text)
    for line, account in zip(page.accounts(), ordered, strict=True):
        assert line["account"] == f"{account.account} {account.currency}"
        for heading, column in COLUMNS.items():
            if heading not in line:
                continue
            amount = getattr(account, column)
            error = getattr(account, f"{column}_error", 0.0)
            # What does not move with the paths is exact.
            if error == 0.0:
                assert number(line[heading]) == pytest.approx(amount, abs=0.5, rel=1e-6)
            else:
                assert is_rounded_to(line[heading], amount, error), (heading, amount, error)
        error = re.findall(r"± ([\d,.]+)$", line["margin"])
        told = [pytest.approx(account.margin_error, rel=0.05)] if account.margin_error else []
        assert list(map(number, error)) == told
        assert f"margin {account.margin:,.2f}" in line["under"] or account.margin < 100
        # One picture: what the margin is made of, which ends with the margin.
        total = line["margin"].split()[0]
        assert f" margin {total} Exactly" in line["under"]
    owner = next(row for row in page.rows["owners"] if row[0] == "fund USD")
    margin, maintenance = report.owners.set_index("owner").loc["fund", ["margin", "maintenance"]]
    assert list(map(number, owner[3:])) == [
        pytest.approx(amount, abs=0.5) for amount in (margin, maintenance)
    ]


def test_stressed_losses_and_the_fund_stand_beside_margins(report, text):
    session = report.session
    found = mm.stress(session.book, session.scenarios, session.market, report.policy)
    losses = found.accounts.set_index("account")
    (_, *rows) = Page(text).rows["stress"]
    beyond = []
    for name, scenario, loss, margin, share in rows:
        account = report.account(name_of(name))
        worst = losses.loc[account.account]
        assert scenario == worst["scenario"]
        assert number(loss) == pytest.approx(worst["loss"], abs=0.5, rel=1e-3)
        assert number(margin) == pytest.approx(account.margin, abs=0.5, rel=1e-3)
        assert share == f"{worst['loss'] / account.margin:.1%}"
        rate = 1.25 if account.currency == "EUR" else 1.0
        beyond.append((worst["loss"] - account.margin) * rate)
    assert len(rows) == len(report.accounts)
    assert beyond == sorted(beyond, reverse=True)
    fund = mm.resources(report, found)
    assert f"A default fund of {fund.fund:.2f} USD covers the 2 largest" in text
    assert f"{fund.ratio:.4f} times the stressed loss; the target of 1.1 is not met." in text


def test_nothing_runs_and_nothing_is_loaded(text):
    page = Page(text)
    tags = {tag for tag, _ in page.elements}
    assert tags.isdisjoint({"script", "img", "iframe", "object", "b1", "i"})
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("href", "src", "xlink:href"):
            if name in attributes:
                assert attributes[name].startswith(("#", "data:,")), (tag, attributes)
        if tag == "li" and "style" in attributes:
            assert re.fullmatch(r"--a:[\d.e-]+;--w:[\d.e-]+", attributes["style"])
    assert "<!--" not in text
    (rules,) = [a["content"] for t, a in page.elements if a.get("http-equiv")]
    assert rules.startswith("default-src 'none';")
    # References within the page are to what is on it, once.
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    wanted = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
    assert {one or other for one, other in wanted} <= set(names)


def test_a_reader_who_does_not_see_finds_the_way(text):
    """Headings one below another, columns and rows that say what they head, names set apart."""
    page = Page(text)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(a.get("scope") in ("row", "col") for tag, a in page.elements if tag == "th")
    assert ("html", {"lang": "en"}) in page.elements
    for name in ODD:
        assert f"<bdi>{escape(name, quote=False)}</bdi>" in text.replace("&#34;", '"').replace(
            "&#39;", "'"
        )


def test_what_nobody_sees_in_a_name_is_shown():
    """A mark that turns the order of letters, and a bell, in tables and charts."""
    name, instrument = "fund \u202etfos", "a\x070"
    items = [mm.Spot(instrument, "a0")]
    book = book_of([(name, instrument, 1.0)], items, accounts=[mm.Account(name, mode="isolated")])
    report = mm.margin(book, mm.simulate(make_model(), horizon=1, paths=2000, seed=7))
    text = report.to_html()
    assert not {"\u202e", "\x07"} & set(text)
    assert "<bdi>fund \\u202etfos</bdi>" in text
    assert "Profit and loss of a\\x070" in text


def test_the_same_report_is_the_same_page(report, text, tmp_path):
    path = tmp_path / "report.html"
    assert report.to_html(path) == text
    assert path.read_text(encoding="utf-8") == text


def test_a_report_that_was_read_has_all_but_what_needs_its_scenarios(report, text, filed_text):
    # Margins and change, and gains by account; of the isolated one by position.
    assert text.count("<svg") == 2 + len(report.accounts) + 1
    assert filed_text.count("<svg") == 1
    rows, filed = Page(text).rows, Page(filed_text).rows
    del rows["stress"]
    for under in rows["accounts"][2::2]:
        under[0] = under[0][: under[0].index("Profit and loss")]
    assert [[" ".join(cell.split()) for cell in row] for row in filed["accounts"]] == [
        [" ".join(cell.split()) for cell in row] for row in rows["accounts"]
    ]
    assert {**filed, "accounts": []} == {**rows, "accounts": []}


@pytest.mark.parametrize("make", [lambda: called_report(CASH), lambda: report_of(4e-4)])
def test_a_report_of_an_older_version_has_a_page(make):
    """What its file does not hold is left out, and no figure is none."""
    fields = json.loads(make().to_json())
    fields["schema"] = "mcmargin.report/1"
    del fields["checksum"]
    for table, names in ADDED.items():
        for row in fields[table]:
            for name in names:
                row.pop(name, None)
    text = mm.MarginReport.from_json(json.dumps(fields)).to_html()
    assert not re.search(r"\b(nan|inf)\b", text, flags=re.IGNORECASE)
    assert text.count("<tbody class=") == len(fields["accounts"])


@pytest.mark.parametrize("seed", range(4))
def test_any_book_has_a_page(seed):
    """Products, currencies, modes, orders, balances and policies at random: no figure is none, and
    the page of the filed report has the same accounts."""
    draw = np.random.default_rng(seed)
    accounts = [
        mm.Account(f"x{at}", currency=str(draw.choice(["USD", "EUR", "a0"])),
                   mode=str(draw.choice(["cross", "isolated"])))
        for at in range(5)
    ]  # fmt: skip
    pairs = [(account.name, item.name) for account in accounts for item in ITEMS]
    chosen = [pairs[at] for at in draw.choice(len(pairs), 9, replace=False)]
    sizes = draw.choice([0.0, 1.0, -3.0, 1e-9, 1e9, 0.37], len(chosen))
    columns = ["account", "instrument", "quantity"]
    frame = pd.DataFrame([(*pair, size) for pair, size in zip(chosen, sizes, strict=True)])
    orders = pd.DataFrame([(*chosen[at], size) for at, size in ((0, 2.0), (3, -5.0))])
    posted = [(name, str(draw.choice(["USD", "a0", "EUR"])), 1e4) for name in frame[0].unique()]
    market = mm.Market(
        as_of=np.datetime64("2020-01-01"), spot={"a0": 100.0, "a1": 90.0}, coins=("a0",),
        volatility={"a0": 0.4}, fx={"EUR": 1.25}, fx_volatility={"EUR": 0.1},
        liquidity={"P": mm.InstrumentLiquidity(bids=((99.0, 5.0),))},
    )  # fmt: skip
    book = book_of(
        frame.set_axis(columns, axis=1),
        ITEMS,
        posted if seed % 3 else None,
        orders=orders.set_axis(columns, axis=1) if seed % 2 else None,
        accounts=accounts,
    )
    policy = (POLICY, mm.MarginPolicy(horizon=2))[seed % 2]
    model = make_model(("gjr", "garch"), "t", "t", variance=4e-4)
    report = mm.margin(book, mm.simulate(model, horizons=(1, 2), paths=500, seed=7), market, policy)
    text = report.to_html()
    assert not re.search(r"\b(nan|inf)\b", text, flags=re.IGNORECASE)
    names = {line["account"].split()[0] for line in Page(text).accounts()}
    assert names == set(report.figures["account"])
    filed = mm.MarginReport.from_json(report.to_json()).to_html()
    assert {line["account"].split()[0] for line in Page(filed).accounts()} == names


def test_a_coin_that_is_quoted_in_another_currency_is_worth_that_much():
    """1 of a0 is 100 euro, and 125 dollars: the page adds accounts up in dollars."""
    model = make_model(("garch", "garch"))
    market = mm.Market(
        as_of=model.as_of, spot={"a0": 100.0, "a1": 50.0}, quoted={"a0": "EUR"}, coins=("a0",),
        fx={"EUR": 1.25}, fx_volatility={"EUR": 0.0},
    )  # fmt: skip
    book = book_of([("x", "S", 2.0)], [mm.Spot("S", "a0", "EUR")], accounts=[mm.Account("x", "a0")])
    report = mm.margin(book, mm.simulate(model, horizon=1, paths=2000, seed=7), market)
    assert report.account("x").gross_exposure == pytest.approx(2.0)
    (gross,) = re.findall(r"Gross exposure in USD</dt><dd>(.*?)</dd>", report.to_html())
    assert float(gross) == pytest.approx(250.0)


@pytest.mark.parametrize("name", ["jinja2", "matplotlib"])
def test_what_is_not_installed_is_named(report, name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(mm.McMarginError, match=rf"{name} is not installed: pip install 'mcmargin"):
        report.to_html()

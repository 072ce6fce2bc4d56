"""Reports as pages: what is on them, in the text and in a browser, on a phone and on a desk."""

import io
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mcmargin as mm
from mcmargin.policies.policy_parts import (
    Concentration,
    Gap,
    Leverage,
    LeverageTier,
    Liquidity,
    Maintenance,
    Procyclicality,
    Resources,
    Stress,
)
from mcmargin.reports.html_report import parts_of
from mcmargin.reports.report_charts import CHARGE
from tests.browser import Browser, chromium
from tests.models import make_model

POLICY = mm.MarginPolicy(
    level=0.98,
    horizon=2,
    name="Policy <b>1</b>",
    short_option_minimum=0.3,
    maintenance=Maintenance(level=0.95, horizon=1),
    procyclicality=Procyclicality(buffer=0.25, speed_limit=0.02),
    liquidity=Liquidity(spread=0.01),
    concentration=Concentration(free_notional=5000.0, rate=0.05),
    leverage=Leverage((LeverageTier(1000.0, 10.0), LeverageTier(math.inf, 4.0))),
    stress=Stress(grids={"*": "okx-other"}, gaps=(Gap("a0", 0.4),), scenario_weight=0.5),
    resources=Resources(cover=2, target_ratio=1.1),
    tick=0.5,
)
SCRIPT = "<script>document.title = 'taken'</script>"
ODD = [SCRIPT, '$\\frac$ & "sons" --> ]]> id="x"', "&amp; 交易 😀", "<img src=x onerror=alert(1)>"]
ITEMS = [
    mm.Spot("A", "a0"),
    mm.Perpetual("P", "a0", stressed_funding_rate=0.001),
    mm.Option("<i>C</i>", "a0", "call", 105.0, "2020-03-27"),
    mm.Spot("B", "a1"),
]
ROWS = [
    (SCRIPT, "<i>C</i>", -10.0),
    (SCRIPT, "A", 4.0),
    (ODD[1], "P", 300.0),
    (ODD[1], "B", -20.0),
    (ODD[2], "B", 9.0),
    (ODD[3], "A", 0.001),
    ("alone", "A", 50.0),
    ("alone", "B", -50.0),
    ("euro", "A", 70.0),
]
ACCOUNTS = [
    *(mm.Account(name) for name in ODD),
    mm.Account("alone", mode="isolated", owner="fund"),
    mm.Account("euro", currency="EUR", owner="fund"),
]
ORDERS = pd.DataFrame([("euro", "P", 40.0)], columns=["account", "instrument", "quantity"])
COLUMNS = (
    *("margin", "maintenance", "expected_shortfall", "expected_shortfall_error"),
    *("value_at_risk", "gross_exposure", "net_exposure"),
)


def report_of(variance, previous=None, policy=POLICY):
    model = make_model(("gjr", "garch"), "t", "t", variance=variance)
    frame = pd.DataFrame(ROWS, columns=["account", "instrument", "quantity"])
    book = mm.Book.from_frame(frame, instruments=ITEMS, accounts=ACCOUNTS, orders=ORDERS)
    market = mm.Market(
        as_of=np.datetime64("2020-01-01"),
        spot={"a0": 100.0, "a1": 90.0},
        volatility={"a0": 0.4},
        fx={"EUR": 1.25},
        fx_volatility={"EUR": 0.1},
    )
    scenarios = mm.simulate(model, horizons=(1, 2), paths=4000, seed=7)
    return mm.margin(book, scenarios, market, policy, previous=previous)


@pytest.fixture(scope="module")
def report():
    """Margins after a rise of volatility, which buffer and speed limit hold back."""
    return report_of(4e-4, report_of(3e-4))


@pytest.fixture(scope="module")
def text(report):
    return report.to_html()


@pytest.fixture(scope="module")
def filed(report):
    """The same from a file, without its scenarios."""
    return mm.MarginReport.from_json(report.to_json())


@pytest.fixture(scope="module")
def filed_text(filed):
    return filed.to_html()


@pytest.fixture(scope="module")
def path(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


class Page(HTMLParser):
    """Elements with their attributes, and the values and text of the tables' rows."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.rows, self._within = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._within.append(tag)
        if tag == "section":
            self._section = dict(attributes).get("id")
        if tag == "tr":
            self._row = ["", []]
            self.rows.setdefault(self._section, []).append(self._row)
        if tag == "data" and "tr" in self._within:
            self._row[1].append(float(dict(attributes)["value"]))

    def handle_endtag(self, tag):
        if tag in self._within:
            while self._within.pop() != tag:
                pass

    def handle_data(self, text):
        if "tr" in self._within and self._within[-1] == "th":
            self._row[0] += text.strip()


def test_parts_add_up_to_the_margin(report):
    for each in (report, report_of(4e-4), report_of(4e-4, policy=mm.MarginPolicy(horizon=2))):
        for row in each.figures.to_dict("records"):
            parts = parts_of(row, each)
            total = sum(part.amount for part in parts)
            assert total == pytest.approx(row["margin"], rel=1e-12, abs=1e-9)
            assert all(part.reason for part in parts)
    named = {p.name for row in report.figures.to_dict("records") for p in parts_of(row, report)
             if abs(p.amount) > 1e-9}  # fmt: skip
    # Every step but the floor, which this policy has not, is taken by some account.
    everything = {part.name for part in parts_of(row, report)}
    assert everything - named == {"floor", "maintenance"}


def test_the_page_says_what_the_report_says(report, text):
    page = Page(text)
    ordered = sorted(
        report.accounts, key=lambda a: -a.margin * (1.25 if a.currency == "EUR" else 1.0)
    )
    (_, *rows) = page.rows["accounts"][: len(ordered) + 1]
    for (name, values), account in zip(rows, ordered, strict=True):
        assert name == account.account
        assert values == [getattr(account, column) for column in COLUMNS]
    (_, *rows) = page.rows["parts"]
    for (name, values), account in zip(rows, ordered, strict=True):
        assert name == account.account
        assert sum(values[:-1]) == pytest.approx(values[-1], rel=1e-12, abs=1e-9)
    owner = next(values for name, values in page.rows["accounts"] if name == "fund")
    assert owner == report.owners.set_index("owner").loc["fund", ["margin", "maintenance"]].tolist()


def test_stressed_losses_and_the_fund_stand_beside_margins(report, text):
    session = report.session
    found = mm.stress(session.book, session.scenarios, session.valuation.market, report.policy)
    losses = found.accounts.set_index("account")
    (_, *rows) = Page(text).rows["stress"]
    for name, values in rows:
        assert values == [losses.loc[name, "loss"], report.account(name).margin]
        assert f">{losses.loc[name, 'scenario']}</td>" in text
    assert len(rows) == len(report.accounts)
    fund = mm.resources(report, found)
    assert f'fund of <data value="{fund.fund}">' in text
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
    assert "<!--" not in text
    (rules,) = [a["content"] for t, a in page.elements if a.get("http-equiv")]
    assert rules.startswith("default-src 'none';")
    # References within the page are to what is on it, once.
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    wanted = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
    assert {one or other for one, other in wanted} <= set(names)


def test_the_same_report_is_the_same_page(report, text, tmp_path):
    path = tmp_path / "report.html"
    assert report.to_html(path) == text
    assert path.read_text(encoding="utf-8") == text


def test_a_matplotlib_that_is_set_up_otherwise_makes_no_other_page(filed, filed_text, tmp_path):
    code = (
        "import sys, matplotlib, mcmargin as mm\n"
        "matplotlib.rcParams.update({'font.size': 30, 'svg.fonttype': 'path'})\n"
        "mm.MarginReport.from_json(open(sys.argv[1]).read()).to_html(sys.argv[2])"
    )
    filed.to_json(tmp_path / "report.json")
    arguments = [tmp_path / "report.json", tmp_path / "other.html"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    assert (tmp_path / "other.html").read_text(encoding="utf-8") == filed_text


def test_a_report_that_was_read_has_all_but_what_needs_its_scenarios(report, text, filed_text):
    accounts = len(report.accounts)
    # Margins, stress and change, and by account parts, contributions and gains.
    assert text.count("<svg") == 3 + 3 * accounts
    assert filed_text.count("<svg") == 1 + 2 * accounts
    rows = Page(text).rows
    del rows["stress"]
    assert Page(filed_text).rows == rows


def test_a_page_lists_the_largest_and_tells_of_the_others():
    count = 320
    names = [f"client {at:03d}" for at in range(count)]
    frame = pd.DataFrame(
        {"account": names, "instrument": "a0", "quantity": np.arange(1.0, count + 1)}
    )
    scenarios = mm.simulate(make_model(), horizon=1, paths=2000, seed=7)
    report = mm.margin(mm.Book.from_frame(frame), scenarios)
    text = report.to_html()
    rows = Page(text).rows["accounts"]
    assert [name for name, _ in rows[1:]] == names[: count - 301 : -1]
    assert "The 300 largest margins of 320 accounts" in text
    assert "Margin at 99 % over 1 bar." in text


def test_a_coin_that_is_quoted_in_another_currency_is_worth_that_much():
    """1 of a0 is 100 euro, and 125 dollars: the page adds accounts up in dollars."""
    model = make_model(("garch", "garch"))
    market = mm.Market(
        as_of=model.as_of, spot={"a0": 100.0, "a1": 50.0}, quoted={"a0": "EUR"}, coins=("a0",),
        fx={"EUR": 1.25}, fx_volatility={"EUR": 0.0},
    )  # fmt: skip
    frame = pd.DataFrame({"account": ["x"], "instrument": ["S"], "quantity": [2.0]})
    book = mm.Book.from_frame(
        frame, instruments=[mm.Spot("S", "a0", "EUR")], accounts=[mm.Account("x", "a0")]
    )
    report = mm.margin(book, mm.simulate(model, horizon=1, paths=2000, seed=7), market)
    assert report.account("x").gross_exposure == pytest.approx(2.0)
    (gross,) = re.findall(r'Gross exposure, USD</dt><dd><data value="(.*?)"', report.to_html())
    assert float(gross) == pytest.approx(250.0)


def test_who_is_called_and_who_is_healthy():
    """Long 1 at 100 of 5 % a day: margins of some 13 dollars, the shortest of equity first."""
    cash = {"rich": 1000.0, "called": 10.0, "gone": -5.0}
    frame = pd.DataFrame({"account": list(cash), "instrument": "a0", "quantity": 1.0})
    posted = pd.DataFrame({"account": list(cash), "asset": "USD", "amount": list(cash.values())})
    items = [mm.Perpetual("a0", "a0")]
    book = mm.Book.from_frame(frame, instruments=items, balances=posted)
    scenarios = mm.simulate(make_model(variance=2.5e-3), horizons=(1, 2), paths=4000, seed=7)
    policy = mm.MarginPolicy(horizon=2, maintenance=mm.Maintenance(level=0.75, horizon=1))
    text = mm.margin(book, scenarios, policy=policy).to_html()
    rows = Page(text).rows["health"][1:]
    assert [(name, figures[0]) for name, figures in rows] == [
        (name, cash[name]) for name in ("gone", "called", "rich")
    ]
    states = re.findall(r'data-label="state">(?:<b>)?([a-z ]+)<', text)
    assert states == ["liquidation", "margin call", "healthy"]
    assert "2 of 3 accounts are below initial margin, 1 of them below maintenance" in text
    assert 'id="health"' not in mm.margin(replace(book, balances=None), scenarios).to_html()


def test_accounts_without_risk_and_with_many_positions():
    """No margin, no positions left, and more positions than a chart has room for."""
    items = [mm.Spot(f"S{at}", "a0") for at in range(40)]
    rows = [("many", item.name, float(at - 3)) for at, item in enumerate(items) if at != 3]
    rows.append(("flat", "S0", 0.0))
    book = mm.Book.from_frame(
        pd.DataFrame(rows, columns=["account", "instrument", "quantity"]), instruments=items
    )
    scenarios = mm.simulate(make_model(), horizon=1, paths=2000, seed=7)
    report = mm.margin(book, scenarios)
    assert report.account("flat").margin == 0.0
    text = report.to_html()
    assert "20 others" in text
    assert text.count("<svg") == 1 + 3
    assert not re.search(r"\b(nan|inf)\b", text, flags=re.IGNORECASE)


@pytest.mark.parametrize("name", ["jinja2", "matplotlib"])
def test_what_is_not_installed_is_named(report, name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(mm.McMarginError, match=rf"{name} is not installed: pip install 'mcmargin"):
        report.to_html()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if chromium() is None:
        pytest.skip("chromium is not installed: the page is opened in no browser")
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


NUMBERS = """[...document.querySelectorAll('#accounts tbody tr')].map(row => [
    row.querySelector('th').firstChild.textContent.trim(),
    ...[...row.querySelectorAll('data')].map(each => [Number(each.value), each.innerText])])"""
SIZES = """[...document.querySelectorAll('svg')].map(each => {
    const box = each.getBoundingClientRect(); return [box.left, box.right, box.height]})"""
CUT = """[...document.querySelectorAll('svg')].flatMap(svg => {
    const box = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('text')].filter(text => {
        const own = text.getBoundingClientRect();
        return own.left < box.left - 1 || own.right > box.right + 1}).map(t => t.textContent)})"""


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(report, path, browser, width):
    browser.open(path, width)
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]
    assert browser.value("document.title") == "Policy <b>1</b>, 2020-01-01"
    assert browser.value("document.scripts.length + document.images.length") == 0
    # Nothing reaches beyond the screen, and no chart or letter in it is cut off.
    assert browser.value("document.documentElement.scrollWidth") <= width
    sizes = browser.value(SIZES)
    assert len(sizes) == 3 + 3 * len(report.accounts)
    assert all(0 <= left < right <= width and height > 50 for left, right, height in sizes)
    assert browser.value(CUT) == []
    for name, *numbers in browser.value(NUMBERS):
        if name == "fund":
            continue
        account = report.account(name)
        for column, (value, shown) in zip(COLUMNS, numbers, strict=True):
            assert value == getattr(account, column)
            decimals = len(shown.partition(".")[2])
            assert float(shown.replace(",", "")) == pytest.approx(value, abs=0.51 * 10**-decimals)
    names = browser.value("[...document.querySelectorAll('svg text')].map(t => t.textContent)")
    assert "<script>document.titl…" in names
    assert "<i>C</i>" in names
    # The bars are drawn: their colour covers more than a twentieth of the charts' width.
    picture = np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB"))
    bars = (picture == [int(CHARGE[at : at + 2], 16) for at in (1, 3, 5)]).all(axis=2)
    assert bars.sum() > 5000
    phone = browser.value("getComputedStyle(document.querySelector('thead')).display") == "none"
    assert phone is (width == 390)


def test_the_page_in_print(path, browser):
    browser.open(path, 1280)
    pages = browser.pdf()
    assert pages.startswith(b"%PDF")
    # A4, upright.
    sizes = {tuple(map(float, box)) for box in re.findall(
        rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pages)}  # fmt: skip
    assert sizes
    for width, height in sizes:
        assert width == pytest.approx(595.3, abs=1)
        assert height == pytest.approx(841.9, abs=1)

"""Reports as pages: what is on them, in the text and in a browser, on a phone and on a desk."""

import io
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mcmargin as mm
from mcmargin.desk.margined_gains import margined_gains
from mcmargin.policies.policy_parts import (
    Concentration,
    Leverage,
    LeverageTier,
    Liquidity,
    Maintenance,
    Procyclicality,
    Resources,
)
from mcmargin.policies.stress_parts import Gap, Stress
from mcmargin.reports import html_report
from mcmargin.reports.account_figures import ADDED
from mcmargin.reports.margin_parts import parts_of
from mcmargin.reports.report_charts import CHARGE
from tests.helpers.books import book_of
from tests.helpers.browser import Browser, chromium
from tests.helpers.models import make_model

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
COLUMNS = {
    "margin": "margin",
    "maintenance": "maintenance",
    "expected shortfall": "expected_shortfall",
    "VaR": "value_at_risk",
    "gross notional": "gross_exposure",
    "net delta": "net_exposure",
    "equity": "equity",
}
"""Headings of a page, and the figures that they stand over."""


def report_of(variance, previous=None, policy=POLICY):
    model = make_model(("gjr", "garch"), "t", "t", variance=variance)
    book = book_of(ROWS, ITEMS, orders=ORDERS, accounts=ACCOUNTS)
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
    """Elements with their attributes, and the tables: rows of cells' texts by their section."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.rows, self.words, self._within = [], {}, [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "input", "use"):
            self._within.append(tag)
        if tag == "section":
            self._section = dict(attributes).get("id")
        if tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        if tag in ("th", "td"):
            self.rows[self._section][-1].append("")

    def handle_endtag(self, tag):
        if tag in self._within:
            while self._within.pop() != tag:
                pass

    def handle_data(self, text):
        if "style" in self._within:
            return
        self.words.append(text)
        if {"th", "td"} & set(self._within):
            self.rows[self._section][-1][-1] += text

    def accounts(self):
        """Cells of each account by their heading, and what is under it, in the page's order."""
        head, *rows = self.rows["accounts"]
        return [
            dict(zip(head, line, strict=True)) | {"under": " ".join(under.split())}
            for line, (under,) in zip(rows[::2], rows[1::2], strict=True)
        ]


def number(text):
    return float(text.replace(",", "").split()[0])


def name_of(cell):
    """A name without the currency that stands after it."""
    return re.sub(r" (USD|EUR)$", "", cell)


def is_rounded_to(text, amount, error):
    """Whether a figure has the digits that its error leaves a meaning to, or two of its own.

    Of the error, two digits where it begins with 10 to 35, and one where with 36 to 99 (Particle
    Data Group).
    """
    power = next(at for at in range(-12, 20) if 3.55 <= error / 10.0**at < 35.5)
    if amount and abs(amount) < 10.0 ** (power + 1):
        power = math.floor(math.log10(abs(amount))) - 1
    value = number(text)
    whole = value / 10.0**power
    return abs(whole - round(whole)) < 1e-6 and abs(value - amount) <= 0.5001 * 10.0**power


def test_parts_add_up_to_the_margin(report):
    for each in (report, report_of(4e-4), report_of(4e-4, policy=mm.MarginPolicy(horizon=2))):
        for row in each.figures.to_dict("records"):
            parts = parts_of(row, each.policy)
            total = sum(part.amount for part in parts)
            assert total == pytest.approx(row["margin"], rel=1e-12, abs=1e-9)
            assert all(part.reason for part in parts)
    named = {p.name for row in report.figures.to_dict("records")
             for p in parts_of(row, report.policy) if abs(p.amount) > 1e-9}  # fmt: skip
    # Every step but the floor, which this policy has not, is taken by some account.
    everything = {part.name for part in parts_of(row, report.policy)}
    assert everything - named == {"floor", "maintenance"}


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


def test_the_picture_of_a_margin_adds_up(report, text):
    """Bars in per cent of the widest reach: each begins where the last one ended."""
    pictures = re.findall(r'<ol class="steps.*?</ol>', text, flags=re.DOTALL)
    assert len(pictures) == 1 + len(report.accounts)
    for picture in pictures:
        bars = re.findall(r'<li(?: class="(\w)")? style="--a:([\d.e-]+);--w:([\d.e-]+)"', picture)
        *steps, (kind, start, width) = [(k, float(a), float(w)) for k, a, w in bars]
        assert kind == "t"
        end = start
        for kind, low, wide in steps:
            begins, ends = (low + wide, low) if kind == "n" else (low, low + wide)
            assert begins == pytest.approx(end, abs=1.1)
            end = ends
        assert end == pytest.approx(start + width, abs=1.1)
        assert max(low + wide for _, low, wide in steps) <= 100.1


def test_charts_are_of_what_was_margined(report):
    """An isolated account's positions each, and the fills of open orders that cost most."""
    assert [name for name in report.figures["account"] if name == "alone"]
    for account in report.accounts:
        units = margined_gains(report.session, account.account)
        assert len(units) == (2 if account.account == "alone" else 1)
        shortfall = sum(unit.expected_shortfall for unit in units)
        expected = account.expected_shortfall + account.open_orders
        assert shortfall == pytest.approx(expected, rel=1e-9)
        assert sum(unit.gains for unit in units).shape == (4000,)
    apart = margined_gains(report.session, "alone")
    assert sorted(unit.instrument for unit in apart) == ["A", "B"]
    (euro,) = margined_gains(report.session, "euro")
    assert euro.fills == (("P", 40.0),)
    # The same as a book that holds what was ordered.
    book = book_of([("euro", "A", 70.0), ("euro", "P", 40.0)], ITEMS, accounts=ACCOUNTS[-1:])
    session = report.session
    filled = mm.margin(book, session.scenarios, session.market, report.policy)
    assert euro.expected_shortfall == pytest.approx(filled.account("euro").expected_shortfall)
    assert euro.gains == pytest.approx(filled.profit_and_loss("euro"))


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


def many(count, **options):
    names = [f"client {at:03d}" for at in range(count)]
    frame = pd.DataFrame(
        {"account": names, "instrument": "a0", "quantity": np.arange(1.0, count + 1)}
    )
    scenarios = mm.simulate(make_model(), horizon=1, paths=2000, seed=7)
    return names, mm.margin(book_of(frame, **options), scenarios)


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


def called_report(cash, **options):
    """Long 1 at 100 of 5 % a day each: margins of some 13 dollars, maintenance of some 6."""
    frame = pd.DataFrame({"account": list(cash), "instrument": "a0", "quantity": 1.0})
    posted = pd.DataFrame({"account": list(cash), "asset": "USD", "amount": list(cash.values())})
    items = [mm.Perpetual("a0", "a0")]
    book = book_of(frame, items, posted, **options)
    scenarios = mm.simulate(make_model(variance=2.5e-3), horizons=(1, 2), paths=4000, seed=7)
    policy = mm.MarginPolicy(horizon=2, maintenance=mm.Maintenance(level=0.75, horizon=1))
    return mm.margin(book, scenarios, policy=policy)


CASH = {"rich": 1000.0, "called": 10.0, "owing": -500.0, "gone": -5.0}


def test_the_page_answers_first_who_must_act():
    """Those in liquidation first, then those that are called, each by what it is short of."""
    report = called_report(CASH)
    text = report.to_html()
    answer = text[text.index('id="answer"') : text.index('id="accounts"')]
    assert text.index("Who must act") < text.index("<table") < text.index('id="policy"')
    tiles = re.findall(r"<b>(\d+)</b> <span>([a-z ]+)</span>", answer)
    assert tiles == [("2", "in liquidation"), ("1", "called"), ("1", "healthy")]
    said = re.findall(
        r'<a href="#(a\d)"><bdi>(\w+)</bdi></a> <b>short by ([\d,.]+) <small>± ([\d.]+)', answer
    )
    assert [name for _, name, _, _ in said] == ["owing", "gone", "called"]
    for key, name, short, error in said:
        account = report.account(name)
        lacking = account.margin - account.equity
        assert is_rounded_to(short, lacking, account.expected_shortfall_error)
        assert float(error) == pytest.approx(account.expected_shortfall_error, rel=0.05)
        assert f'<div id="{key}">' in text
    lines = Page(text).accounts()
    assert [(line["account"], line["state"]) for line in lines] == [
        *(("owing", "liquidation"), ("gone", "liquidation")),
        *(("called", "margin call"), ("rich", "healthy")),
    ]
    for line in lines:
        account = report.account(line["account"])
        over = account.equity - account.margin
        assert is_rounded_to(line["over or under"], over, account.expected_shortfall_error)
        assert number(line["equity"]) == pytest.approx(account.equity)
    assert "4 perpetual or future positions of 4 accounts that have no entry_price." in answer
    # The sum of what is lacking, to the errors' digits.
    statuses = report.statuses().set_index("account")
    lacking = -statuses["over_initial"][["owing", "gone"]].sum()
    (told, *_) = re.findall(r"short of initial margin by ([\d,.]+) USD", answer)
    errors = report.figures.set_index("account")["expected_shortfall_error"]
    assert is_rounded_to(told, lacking, errors["owing"] + errors["gone"])


@pytest.mark.parametrize(
    ("horizons", "said"),
    [((1,), "a horizon of 1 bar"), ((2,), "a horizon of 2 bars"),
     ((1, 2, 5), "horizons of 1, 2 and 5 bars")],
)  # fmt: skip
def test_horizons_are_said_in_words(horizons, said):
    model = make_model(("garch", "gjr"), "t", "t", variance=4e-4)
    scenarios = mm.simulate(model, horizons=horizons, paths=500, seed=7)
    book = book_of([["desk", "a0", 1.0]])
    text = mm.margin(book, scenarios).to_html()
    assert f"500 at {said}, single precision" in text


def test_a_doubt_that_is_a_question_ends_with_one_mark(report):
    notes = replace(report.calibration, doubts=("a0: a move of +300%: another unit?",))
    doubtful = replace(report, calibration=notes)
    assert "<li>a0: a move of +300%: another unit?</li>" in doubtful.to_html()
    assert "another unit?." not in " ".join(str(doubtful).split())


def test_nobody_is_called_where_nobody_is():
    answer = called_report({"rich": 1000.0}).to_html()
    assert "Nobody is called: the equity of all 1 is at or above" in answer
    assert "short by" not in answer


def test_without_balances_the_page_says_what_is_to_be_posted(report, text):
    assert "What to post" in text
    assert "not who is called" in text
    assert 'name="show"' not in text
    assert "state" not in Page(text).rows["accounts"][0]


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


SIZES = """[...document.querySelectorAll('svg')].filter(each => each.checkVisibility()).map(
    each => each.getBoundingClientRect()).map(box => [box.left, box.right, box.height])"""
CUT = """[...document.querySelectorAll('svg')].flatMap(svg => {
    const box = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('text')].filter(text => {
        const own = text.getBoundingClientRect();
        return own.left < box.left - 1 || own.right > box.right + 1}).map(t => t.textContent)})"""
OPEN = "document.querySelectorAll('details').forEach(each => each.open = true)"
SHOWN = """[...document.querySelectorAll('#accounts tbody')].filter(
    each => each.checkVisibility()).map(each => each.querySelector('bdi').textContent)"""
LINES = """[...document.querySelectorAll('#accounts tbody tr:first-child')].map(row =>
    [...row.children].filter(each => each.checkVisibility()).map(each => each.innerText.trim()))"""
HEIGHTS = """[...document.querySelectorAll('#accounts tbody')].map(
    each => each.getBoundingClientRect().height)"""
# Of every text that is seen, the ratio of WCAG 2 between its colour and what is behind it.
CONTRASTS = """(() => {
    const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map(
        c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b};
    const behind = e => { for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor;
        if (!c.endsWith(', 0)')) return c }
        return 'rgb(255, 255, 255)'};
    return [...document.querySelectorAll('body *:not(svg *)')].filter(e => e.checkVisibility()
        && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())).map(e => {
        const ends = [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => b - a);
        return [(ends[0] + 0.05) / (ends[1] + 0.05), e.textContent.trim().slice(0, 40)]})})()"""


ERRORS = """[...document.querySelectorAll('tbody:has([open]) tr:first-child td')].map(cell => {
    const words = document.createRange(); words.selectNodeContents(cell);
    const [inner, outer] = [words.getBoundingClientRect(), cell.getBoundingClientRect()];
    return Math.min(inner.left - outer.left, outer.right - inner.right) + 0.5})"""

ROOM = """[...document.querySelectorAll('td.s')].map(cell => {
    const words = document.createRange(); words.selectNodeContents(cell);
    return cell.getBoundingClientRect().right - words.getBoundingClientRect().right})"""


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(report, path, browser, width):
    browser.open(path, width)
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]
    assert browser.value("document.title") == "Policy <b>1</b>, 2020-01-01"
    assert browser.value("document.scripts.length + document.images.length") == 0
    phone = width == 390
    for line in browser.value(LINES):
        # On a phone what matters most; all else is one tap away.
        assert len(line) == (2 if phone else 8), line
    browser.value(OPEN)
    assert all(len(line) == 8 for line in browser.value(LINES))
    # Nothing reaches beyond the screen, and no chart or letter in it is cut off.
    assert browser.value("document.documentElement.scrollWidth") <= width
    sizes = browser.value(SIZES)
    assert len(sizes) == 2 + len(report.accounts) + 1
    assert all(0 <= left < right <= width and height > 50 for left, right, height in sizes)
    assert browser.value(CUT) == []
    names = browser.value("[...document.querySelectorAll('svg text')].map(t => t.textContent)")
    assert "<script>document.titl…" in names
    # The bars are drawn: their colour covers more than a twentieth of the charts' width.
    picture = np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB"))
    bars = (picture == [int(CHARGE[at : at + 2], 16) for at in (1, 3, 5)]).all(axis=2)
    assert bars.sum() > 5000


@pytest.fixture(scope="module")
def called_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("called") / "report.html"
    called_report(CASH).to_html(path)
    return path


def test_a_phone_shows_one_line_an_account_and_the_rest_on_a_tap(called_path, browser):
    browser.open(called_path, 390)
    assert [line[:2] for line in browser.value(LINES)] == [
        *(["owing", "liquidation"], ["gone", "liquidation"]),
        *(["called", "margin call"], ["rich", "healthy"]),
    ]
    assert {len(line) for line in browser.value(LINES)} == {4}
    assert max(browser.value(HEIGHTS)) < 40
    # The words of a state end at least 4 pixels before their cell does.
    assert min(browser.value(ROOM)) >= 4
    assert browser.value("document.documentElement.scrollWidth") <= 390
    browser.value("document.querySelector('summary').click()")
    lines = browser.value(LINES)
    assert len(lines[0]) == 11
    # The error that a tap shows stays in the cell of its margin.
    assert min(browser.value(ERRORS)) >= 0
    assert {len(line) for line in lines[1:]} == {4}


@pytest.mark.parametrize("width", [390, 1280])
def test_states_are_filtered_without_a_script(called_path, browser, width):
    browser.open(called_path, width)
    assert browser.value(SHOWN) == ["owing", "gone", "called", "rich"]
    for state, names in (
        ("liquidation", ["owing", "gone"]),
        ("margin-call", ["called"]),
        ("healthy", ["rich"]),
        ("all", ["owing", "gone", "called", "rich"]),
    ):
        browser.value(f"document.getElementById('show-{state}').click()")
        assert browser.value(SHOWN) == names


def test_a_name_leads_to_what_its_margin_is_made_of(called_path, browser):
    browser.open(called_path, 1280)
    assert browser.value("document.querySelectorAll('details[open]').length") == 0
    browser.value("document.querySelector('.who a').click()")
    opened = "document.querySelector('details[open]').closest('tbody').querySelector('bdi')"
    assert browser.value(f"{opened}.textContent") == "owing"


@pytest.mark.parametrize("width", [390, 1280])
def test_every_text_can_be_read(called_path, path, browser, width):
    """Contrasts of 4.5 or more, which WCAG 2 asks for at level AA."""
    for page in (called_path, path):
        browser.open(page, width)
        browser.value(OPEN)
        found = browser.value(CONTRASTS)
        assert len(found) > 100
        assert [each for each in found if each[0] < 4.5] == []


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

"""Reports as pages: how they are made, and what stands on them."""

import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd

import mcmargin as mm
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
from tests.helpers.books import book_of
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
    """Report on the book of this file, of assets that stand at a variance a bar."""
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


def report_after_a_rise():
    """Margins after a rise of volatility, which buffer and speed limit hold back."""
    return report_of(4e-4, report_of(3e-4))


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
    """The number with which a cell begins."""
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


def many(count, **options):
    """Names of many accounts and their report: each holds one unit more than the one before."""
    names = [f"client {at:03d}" for at in range(count)]
    frame = pd.DataFrame(
        {"account": names, "instrument": "a0", "quantity": np.arange(1.0, count + 1)}
    )
    scenarios = mm.simulate(make_model(), horizon=1, paths=2000, seed=7)
    return names, mm.margin(book_of(frame, **options), scenarios)


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
"""Accounts of `called_report`, and their cash: healthy, called, and twice liquidated."""

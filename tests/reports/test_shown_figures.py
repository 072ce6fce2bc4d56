"""Values as a console or a notebook shows them: one line each, and a report's tables."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from tests.helpers.books import book_of
from tests.helpers.models import make_model

AS_OF = np.datetime64("2020-01-01")
NAMES = ("<b>one</b> & 'co'", "two")


@pytest.fixture(scope="module")
def scenarios():
    model = make_model(("garch",) * 7)
    return mm.simulate(model, horizons=(1, 3), paths=20_000, seed=5, engine="numpy")


def two_accounts(**terms):
    rows = [(NAMES[0], "a0", 10.0), (NAMES[1], "a1", -4.0), (NAMES[1], "a2", 2.0)]
    return book_of(rows, **terms)


def test_prices_show_their_assets_and_dates():
    times = pd.to_datetime(["2020-01-01T20:00", "2020-01-02T00:00"])
    prices = mm.PriceHistory.from_frame(pd.DataFrame({"a": [1.0, 2.0], "b": 3.0}, index=times))
    expected = "<PriceHistory of a, b: 2 bars, 2020-01-01T20:00:00 to 2020-01-02>"
    assert repr(prices) == expected


def test_models_show_their_assets_and_whether_they_are_provisional(scenarios):
    model = scenarios.model
    shown = (
        "<MarketModel of a0, a1, a2, a3, a4 and 2 more: as of 2020-01-01{}, gaussian dependence, "
        "0 bars of history>"
    )
    assert repr(model) == shown.format("")
    moved = replace(model.state, prices=1.01 * model.state.prices)
    assert repr(replace(model, state=moved)) == shown.format(", provisional")


def test_scenarios_show_their_assets_horizons_and_paths(scenarios):
    assert repr(scenarios) == (
        "<Scenarios of a0, a1, a2, a3, a4 and 2 more: as of 2020-01-01, horizons 1, 3, "
        "20,000 paths, seed 5, numpy engine>"
    )


def test_books_show_their_accounts_and_counts():
    shown = (
        "<Book of <b>one</b> & 'co', two: 3 instruments, 3 positions, {} open orders, {} balances>"
    )
    assert repr(two_accounts()) == shown.format(0, 0)
    orders = pd.DataFrame({"account": ["two"] * 2, "instrument": ["a0"] * 2, "quantity": [1, -1]})
    posted = pd.DataFrame({"account": ["two"], "asset": ["USD"], "amount": [9.0]})
    assert repr(two_accounts(orders=orders, balances=posted)) == shown.format(2, 1)


def test_surfaces_show_their_expiries_and_repairs():
    rows = [("2020-03-27", -0.1, 0.9), ("2020-03-27", 0.1, 0.8), ("2020-06-26", 0.0, 0.8)]
    frame = pd.DataFrame(rows, columns=["expiry", "log_moneyness", "volatility"])
    surface = mm.VolatilitySurface.from_quotes(frame, as_of=AS_OF)
    assert repr(surface) == (
        "<VolatilitySurface as of 2020-01-01: 2 expiries, 2020-03-27 to 2020-06-26, "
        "0 quotes repaired>"
    )


def test_reports_show_their_accounts_level_and_seed(scenarios):
    report = mm.margin(two_accounts(), scenarios, policy=mm.MarginPolicy(level=0.975))
    shown = (
        "<MarginReport of <b>one</b> & 'co', two: 97.5 %, prices of 2020-01-01, 20,000 paths, "
        "seed 5>"
    )
    assert repr(report) == shown
    assert repr(mm.MarginReport.from_json(report.to_json())) == shown


class Tables(HTMLParser):
    """Tags, and the text of each row's cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.words = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *attrs))
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data):
        if data.strip():
            cell = self.tags[-1][0] in ("th", "td")
            (self.rows[-1] if cell else self.words).append(data)


@pytest.mark.parametrize("owned", [False, True])
def test_a_notebook_shows_the_tables_that_are_printed(scenarios, owned):
    accounts = [mm.Account(name, owner="<i>fund</i>" if owned else "") for name in NAMES]
    report = mm.margin(two_accounts(accounts=accounts), scenarios)
    printed = str(report)
    page = Tables(report._repr_html_())
    lines = [re.split(r" *[┃│] *", line)[1:-1] for line in printed.splitlines()]
    assert page.rows == [cells for cells in lines if cells]
    assert len(page.rows) == (5 if owned else 3)
    title, *notes = page.words
    assert title in printed
    assert " ".join(notes[owned:]) == " ".join(printed.rpartition("┘")[2].split())


def test_a_notebooks_tables_can_be_read_aloud_and_names_are_text(scenarios):
    page = Tables(mm.margin(two_accounts(), scenarios)._repr_html_())
    assert {tag for tag, *_ in page.tags} == {
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "p")
    }
    heads = [attributes for tag, *attributes in page.tags if tag == "th"]
    assert heads == [[("scope", "col")]] * len(page.rows[0]) + [[("scope", "row")]] * 2
    assert page.rows[1][0] == f"{NAMES[0]} (USD)"

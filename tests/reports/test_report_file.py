"""Reports as JSON and pickled: exact, of any names, in files of before, in little time."""

import copy
import json
import multiprocessing
import pickle
import re
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.data.json_text import ROWS_AT_ONCE, json_text, json_value, plain_columns, records
from mcmargin.data.typed_columns import read_columns
from mcmargin.reports.account_figures import ADDED, AccountMargin, Contribution, OwnerMargin
from tests.helpers.books import book_of
from tests.helpers.models import make_model

TABLES = ("figures", "positions", "owners", "haircuts")
BEFORE = Path(__file__).parents[1] / "saved" / "report_1.json"
"""Written with the standard library's encoder, by the version before orjson's."""


@pytest.fixture(scope="module")
def scenarios():
    return mm.simulate(make_model(("garch", "gjr")), horizon=2, paths=2000, seed=1)


def report_of(scenarios, accounts, positions=4):
    rng = np.random.default_rng(1)
    names = [name for name in accounts for _ in range(positions)]
    items = [mm.Perpetual(f"P{at}", f"a{at % 2}") for at in range(positions)]
    frame = pd.DataFrame(
        {
            "account": names,
            "instrument": [item.name for item in items] * len(accounts),
            "quantity": rng.normal(0, 10, len(names)),
        }
    )
    return mm.margin(book_of(frame, items), scenarios)


def assert_same(one, other):
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), check_exact=True)
    assert one.to_json() == other.to_json()
    assert (one.policy, one.plan, one.market) == (other.policy, other.plan, other.market)


def test_rows_keep_their_fields_and_their_order(scenarios):
    """More rows than are plain objects at a time; the accounts come last, each as declared."""
    report = report_of(scenarios, [f"account {at}" for at in range(ROWS_AT_ONCE + 3)], 1)
    content = json.loads(report.to_json())
    assert list(content)[-1] == "accounts"
    assert [row["account"] for row in content["accounts"]] == report.figures["account"].tolist()
    first = content["accounts"][0]
    assert list(first) == [each.name for each in fields(AccountMargin)]
    assert list(first["contributions"][0]) == [each.name for each in fields(Contribution)]
    assert list(content["owners"][0]) == [each.name for each in fields(OwnerMargin)]
    assert_same(mm.MarginReport.from_json(json.dumps(content)), report)


def test_it_is_laid_out_as_the_standard_library_does(scenarios):
    """But for the shortest form of a number, which orjson chooses between two of one value."""
    text = report_of(scenarios, ["x", "y"]).to_json()
    plain = json.dumps(json.loads(text), indent=2)
    assert [line.partition(": ")[0] for line in text.splitlines()] == [
        line.partition(": ")[0] for line in plain.splitlines()
    ]


def test_a_file_of_the_version_before_is_read():
    """Every number and name of it, as the standard library reads them."""
    text = BEFORE.read_text(encoding="utf-8")
    report, content = mm.MarginReport.from_json(text), json.loads(text)
    again = json.loads(report.to_json())
    for row in again["accounts"]:
        assert {*row} >= {*content["accounts"][0]}
    assert set(ADDED) < set(content)
    for name, value in content.items():
        if name in ADDED:
            for row, before in zip(again[name], value, strict=True):
                assert {field: row[field] for field in before} == before
                assert {row[field] for field in set(row) - set(before)} <= {None}
        elif name == "calibration":
            # Doubts are new since, and not known.
            assert {field: again[name][field] for field in value} == value
        elif name != "schema":
            assert again[name] == value, name
    assert report.figures["account"].tolist()[2] == 'größer \u2028"quote"\\'


def test_a_file_of_the_version_before_verifies():
    """What it does not hold is not compared; what it holds is."""
    text = BEFORE.read_text(encoding="utf-8")
    report = mm.MarginReport.from_json(text)
    assert report.accounts[0].without_entry_price is None
    assert "entry price" not in str(report) + str(report.status("b"))
    model = make_model(("garch", "gjr"))
    book = book_of(
        report.positions.query("kind == 'position'")[["account", "instrument", "quantity"]],
        balances=[("a [1]", "USD", 1000.0), ("b", "a0", 1.5), ("idle", "USD", -20.0)],
        accounts=[mm.Account(row.account, owner=row.owner) for row in report.accounts],
    )
    found = mm.verify(report, model, book)
    assert (found.verdict, found.reasons) in (("equal", ()), ("within the engine bound", ()))
    forged = json.loads(text)
    forged["accounts"][0]["margin"] *= 2
    forged = mm.MarginReport.from_json(json.dumps(forged))
    assert mm.verify(forged, model, book).verdict == "different"
    forged = json.loads(text) | {"schema": "mcmargin.report/2"}
    with pytest.raises(mm.ModelFileError, match=r"accounts\[0\]\.\w+ is missing"):
        mm.MarginReport.from_json(json.dumps(forged))
    unknown = dict.fromkeys(ADDED["accounts"])
    forged["accounts"] = [row | unknown for row in forged["accounts"]]
    with pytest.raises(mm.ModelFileError, match=r"accounts\[0\]\.without_entry_price is None"):
        mm.MarginReport.from_json(json.dumps(forged))
    assert not re.search(r"\bnan\b", str(report) + report.to_html())


def test_odd_rows_are_read_and_refused_as_one_by_one():
    """Whole numbers for floats, null where it may be, and faults by their place."""
    rows = [{"up_to": 1.0, "max_leverage": 5.0}, {"up_to": None, "max_leverage": 2}]
    found = read_columns(mm.LeverageTier, rows, mm.DataError, where="tiers")
    assert found == {"up_to": [1.0, np.inf], "max_leverage": [5.0, 2.0]}
    for odd, fault in (
        ({"up_to": 1.0}, r"tiers\[1\]\.max_leverage is missing"),
        ({"up_to": 1.0, "max_leverage": True}, r"tiers\[1\]\.max_leverage is True; a number"),
        ({"up_to": 1.0, "max_leverage": 10**400}, r"tiers\[1\]\.max_leverage is 1000"),
        ({"up_to": 1.0, "most": 2.0}, r"tiers\[1\]\.most is unknown"),
        (7, r"tiers\[1\] is 7; an object"),
    ):
        with pytest.raises(mm.DataError, match=fault):
            read_columns(mm.LeverageTier, [rows[0], odd], mm.DataError, where="tiers")
    assert read_columns(mm.LeverageTier, [], mm.DataError, where="tiers") == {
        "up_to": [],
        "max_leverage": [],
    }


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(
        st.text(st.characters(), min_size=1).filter(lambda name: name.strip() == name),
        min_size=1,
        max_size=6,
        unique=True,
    ),
    numbers=st.lists(
        st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=6, max_size=6
    ),
    seed=st.integers(0, 2**130),
)
def test_any_name_number_and_seed_come_back_exactly(names, numbers, seed):
    """Lone surrogates, quotes, control characters, the largest and the smallest floats."""
    column = pd.Series(names, dtype=object)
    frame = pd.DataFrame({"account": column, "margin": numbers[: len(names)]})
    rows = [*records(plain_columns(frame))]
    text = json_text({"seed": seed, "name": names[0]}, {"rows": rows, "none": []})
    assert text.isascii()
    for read in (json.loads(text), json_value(text, tables=("rows", "none"))):
        assert read == {"seed": seed, "name": names[0], "rows": rows, "none": []}
        assert type(read["seed"]) is int
        assert repr([row["margin"] for row in read["rows"]]) == repr(frame["margin"].tolist())


@pytest.mark.parametrize("seed", [2**64, 2**64 - 1, 2**80 + 1])
def test_a_seed_of_more_than_64_bits_is_filed_exactly(seed):
    model = make_model(("garch",))
    drawn = mm.simulate(model, horizon=1, paths=2000, seed=seed)
    again = mm.MarginReport.from_json(report_of(drawn, ["x"], 1).to_json())
    assert again.plan.seed == seed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("table", "column"), [("figures", "margin"), ("positions", "exposure")])
def test_what_is_not_finite_is_refused_by_name(scenarios, table, column, value):
    """orjson alone would write null."""
    report = report_of(scenarios, ["x", "y"])
    frame = getattr(report, table).copy()
    frame.loc[1, column] = value
    with pytest.raises(mm.DataError, match=rf"account '[xy]': {column} is {value}"):
        replace(report, **{table: frame}).to_json()


def test_equity_that_is_not_known_is_null_and_comes_back(scenarios):
    report = report_of(scenarios, ["x"])
    assert np.isnan(report.figures["equity"][0])
    assert json.loads(report.to_json())["accounts"][0]["equity"] is None
    again = mm.MarginReport.from_json(report.to_json())
    assert np.isnan(again.figures["equity"][0])
    assert again.account("x").equity is None


def test_writing_and_reading_take_less_than_the_margins(scenarios):
    """Of 2,000 accounts, where the standard library took ten times as long as the margins.

    Each is measured three times in turn, and its shortest time counts: what else the machine does
    in the meantime lengthens one of them, and seldom all three.
    """
    names = [f"{at:06d}" for at in range(2000)]
    times = []
    for _ in range(3):
        clock = [time.process_time()]
        report = report_of(scenarios, names)
        clock.append(time.process_time())
        text = report.to_json()
        clock.append(time.process_time())
        again = mm.MarginReport.from_json(text)
        clock.append(time.process_time())
        times.append(np.diff(clock))
    assert_same(again, report)
    margins, written, read = np.min(times, axis=0)
    # Measured are a third and a half; the library that is guarded against took ten times as long.
    assert written < 2 * margins
    assert read < 2 * margins


def made_there():
    return report_of(mm.simulate(make_model(("garch", "gjr")), horizon=1, paths=2000, seed=1), "xy")


def test_a_report_comes_back_from_a_worker():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert_same(pool.submit(made_there).result(timeout=120), made_there())


def test_a_pickled_report_says_what_needs_scenarios(scenarios):
    report = report_of(scenarios, ["x"])
    assert report.accounts[0].account == "x"
    again = pickle.loads(pickle.dumps(report))
    assert_same(again, report)
    assert again.accounts == report.accounts
    assert report.session is not None
    assert again.session is None
    asked = {
        "what_if": lambda: again.what_if("x", {"P0": 1.0}),
        "max_order": lambda: again.max_order("x", "P0", side="buy", equity=1.0),
        "profit_and_loss": lambda: again.profit_and_loss("x"),
        "attribution": lambda: again.attribution(),
    }
    for verb, call in asked.items():
        with pytest.raises(mm.DataError, match=f"^{verb} needs the scenarios.*another process"):
            call()
    with pytest.raises(mm.DataError, match=r"its model \(give model=.*its book \(give book="):
        mm.attribute(again, again)


def test_copies_keep_what_what_ifs_are_taken_on(scenarios):
    report = report_of(scenarios, ["x"])
    for again in (copy.copy(report), copy.deepcopy(report)):
        assert_same(again, report)
        assert again.session is report.session
        assert again.what_if("x", {"P0": 1.0}) == report.what_if("x", {"P0": 1.0})
    again.figures.loc[0, "margin"] = 0.0
    assert report.figures["margin"][0] > 0.0


def test_what_else_is_made_pickles_too(scenarios):
    """After a margin, which keeps values and draws beside the scenarios."""
    report = report_of(scenarios, ["x"])
    stressed = mm.MarginPolicy(stress=mm.Stress(gaps=(mm.Gap("a0", -0.3),)))
    losses = mm.stress(report.session.book, scenarios, policy=stressed)
    for each in (scenarios, scenarios.model, report.session.book, report.policy, losses):
        again = pickle.loads(pickle.dumps(each))
        assert type(again) is type(each)
        assert type(copy.deepcopy(each)) is type(each)
    assert pickle.loads(pickle.dumps(losses)).to_json() == losses.to_json()


def test_the_document_names_every_field_of_the_file(scenarios):
    document = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")
    part = document[document.index("## Report\n") :]
    content = json.loads(report_of(scenarios, ["x"]).to_json())
    rows = (*content["accounts"], *content["accounts"][0]["contributions"], *content["owners"])
    for name in {*content}.union(*rows):
        assert f"`{name}`" in part, name


@pytest.mark.parametrize("name", ['a":b', ":", "\\", '\\":', '" :', "é"])
def test_names_that_look_like_fields_are_names(name):
    value = {"rows": [{name: name, "b": [{name: 1.0}]}], name: {"c": name}}
    for text in (json.dumps(value), json.dumps(value, indent=1, separators=(",", " : "))):
        assert json_value(text) == value
    twice = json.dumps(value).replace('"b":', f'{json.dumps(name)} : 2, "b":', 1)
    with pytest.raises(ValueError, match="is given twice"):
        json_value(twice)

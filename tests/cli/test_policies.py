"""Commands with a policy: its charges, the last report, pages, and errors."""

import json
import re
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.demo import demo_prices
from mcmargin.policies.policy_parts import Maintenance, Procyclicality
from tests.helpers.commands import run

POLICY = """version = 1
name = "tools"
horizon = 2
horizons = { option = 3 }
tick = 0.01

[maintenance]
level = 0.95
horizon = 1

[procyclicality]
buffer = 0.25
stressed_weight = 0.25
floor_years = 2
"""
POSITIONS = "account,instrument,quantity\nlong,sp500,10\nlong,wti,-100\nshort,wti,-50\n"
PLAN = ("--paths", "3000", "--seed", "5")
BOOK = ("model.npz", "positions.csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with models before and in the crash of 2008, and the margins before it."""
    folder = tmp_path_factory.mktemp("policy")
    closes = demo_prices().to_frame()[["sp500", "wti"]].loc["2004":"2008-10-10"].dropna()
    before = mm.calibrate(
        mm.PriceHistory.from_frame(closes.loc[:"2008-09-12"]),
        volatility="ewma",
        innovations="t",
        jobs=1,
    )
    before.save(folder / "before.npz")
    before.update(mm.PriceHistory.from_frame(closes)).save(folder / "model.npz")
    (folder / "positions.csv").write_text(POSITIONS)
    (folder / "policy.toml").write_text(POLICY)
    report_of(folder, "before.npz").to_json(folder / "before.json")
    return folder


def report_of(folder, model="model.npz", previous=None):
    """The same report through the library, with a policy of values and given horizons."""
    policy = mm.MarginPolicy(
        name="tools",
        horizon=2,
        horizons={"option": 3},
        tick=0.01,
        maintenance=Maintenance(level=0.95, horizon=1),
        procyclicality=Procyclicality(buffer=0.25, stressed_weight=0.25, floor_years=2.0),
    )
    scenarios = mm.simulate(
        mm.load_model(folder / model), horizons=(1, 2, 3), paths=3000, seed=5, policy=policy
    )
    book = mm.read_positions(folder / "positions.csv")
    return mm.margin(book, scenarios, policy=policy, previous=previous)


TOOLS = ("--policy", "policy.toml", "--previous", "before.json")


def test_margins_by_a_policy_after_a_report(folder):
    done = run(
        *("margin", *BOOK, *TOOLS, *PLAN, "--format", "json", "-o", "now.json"),
        *("--html", "now.html"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.endswith("Wrote now.json.\nWrote now.html.\n")
    report = mm.MarginReport.from_json((folder / "now.json").read_text())
    before = mm.MarginReport.from_json((folder / "before.json").read_text())
    expected = report_of(folder, previous=before)
    pd.testing.assert_frame_equal(report.figures, expected.figures, rtol=0, atol=0)
    assert report.fingerprints == expected.fingerprints
    assert report.previous_as_of == before.as_of
    # In October the buffer of September is used up, and so less than a quarter is charged on top.
    assert (report.figures["calm"] < 1.25 * report.figures["stressed"]).any()
    page = (folder / "now.html").read_text(encoding="utf-8")
    assert page == expected.to_html()
    HTMLParser().feed(page)


def test_verify_takes_the_previous_report(folder, call):
    command = ("margin", *BOOK, *TOOLS, *PLAN, "--format", "json", "-o", "verified.json")
    assert call(*command)[0] == 0
    verify = ("verify", "verified.json", *BOOK)
    assert call(*verify, "--previous", "before.json")[:2] == (0, "equal\n")
    status, verdict, reasons = call(*verify)
    assert (status, verdict) == (1, "different\n")
    assert "took one of 2008-09-12" in reasons
    status, verdict, reasons = call(*verify, "--previous", "positions.csv")
    assert (status, verdict) == (2, "")
    assert "positions.csv: not a margin report" in reasons


def test_questions_go_by_the_policy(folder, call):
    before = mm.MarginReport.from_json((folder / "before.json").read_text())
    expected = report_of(folder, previous=before)
    options = (*BOOK, *TOOLS, *PLAN, "--account", "short")
    status, text, _ = call("what-if", *options, "--trade", "wti=-10", "--format", "json")
    assert status == 0
    assert json.loads(text)["after"]["margin"] == expected.what_if("short", {"wti": -10}).margin
    equity = 1.2 * expected.account("short").margin
    order = ("--instrument", "wti", "--side", "sell", "--equity", str(equity))
    status, text, _ = call("max-order", *options, *order)
    assert status == 0
    assert float(text) == expected.max_order("short", "wti", side="sell", equity=equity)


def test_check_says_what_a_policy_does(folder, call):
    status, text, _ = call("policy", "check", "policy.toml")
    assert status == 0
    policy = mm.MarginPolicy.from_toml(folder / "policy.toml")
    assert text.startswith(f"tools, fingerprint {policy.fingerprint()}\n")
    steps = re.findall(r"^(\w+)(?: = .*)?$", text, flags=re.MULTILINE)
    assert steps == ["base", "stressed", "calm", "total", "margin", "maintenance"]
    for words in (
        "Expected shortfall at 99 % over 2 bars (option 3), with the worst fills of open orders.",
        "25 % of the paths start from the volatility of the worst 250 bars in a row",
        "never below what it would be at the volatility of the last 2 years.",
        "In calm times a buffer of 25 % is charged on top; it is used up first while requirements",
        "It starts from the margins of the previous report.",
        "Leverage is not limited.",
        "The margin is rounded up to a multiple of 0.01.",
        "The same formula at 95 % over 1 bar, on the same paths.",
    ):
        assert words in " ".join(text.split())


def test_init_writes_a_policy_that_check_reads(call, tmp_path):
    status, text, _ = call("policy", "init")
    assert status == 0
    path = tmp_path / "policy.toml"
    status, printed, message = call("policy", "init", "-o", path)
    assert (status, printed, message) == (0, "", f"Wrote {path}.\n")
    assert path.read_text() == text
    status, words, _ = call("policy", "check", path)
    assert status == 0
    assert "Largest leverage by notional in one underlying: 50 up to 1,000,000, 20 up to" in words
    status, _, message = call("policy", "init", "-o", path)
    assert status == 2
    assert "would be overwritten" in message


BAD = {
    'version = 1\n[liquidity]\nimpact = "high"\n': "field liquidity.impact is 'high'; a number",
    "version = 1\nhorizon = 2\n[procyclicality]\nbufer = 1\n": "field procyclicality.bufer is unkn",
    "level = 0.99\n": "no version is given; the first line must be: version = 1",
    "version = 1\n[maintenance]\nlevel = 99\n": "maintenance: level must lie between 0.5 and 1",
}


@pytest.mark.parametrize("text", list(BAD))
def test_a_bad_policy_is_named_by_its_field_and_nothing_is_written(folder, call, text, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    outputs = ("-o", tmp_path / "out.json", "--html", tmp_path / "out.html")
    for command in (
        ("policy", "check", path),
        ("margin", *BOOK, "--policy", path, *PLAN, *outputs),
    ):
        status, printed, message = call(*command)
        assert (status, printed) == (2, "")
        assert message.startswith(f"mcmargin: {path}: {BAD[text]}")
    assert list(tmp_path.iterdir()) == [path]


MARGIN = ("margin", *BOOK, "--policy", "policy.toml")
WRONG = {
    (*MARGIN, "--level", "0.99"): "--level and --policy: give one of them, or set it in policy.to",
    (*MARGIN, "--horizon", "2"): "--horizon and --policy: give one of them",
    (*MARGIN, "--product-horizon", "option=5"): "--product-horizon and --policy: give one of them",
    (*MARGIN, "-o", "policy.toml"): "policy.toml: is read, too, and would be overwritten",
    (*MARGIN, "--html", "policy.toml"): "policy.toml: is read, too, and would be overwritten",
    (*MARGIN, "--html", "model.npz"): "model.npz: is read, too, and would be overwritten",
    (*TOOLS, "--html", "before.json"): "before.json: is read, too, and would be overwritten",
    (*MARGIN, "--html", "none/x.html"): "no folder none; make it first",
    (*MARGIN, "-o", "x.html", "--html", "./x.html"): "--html and --output name the same file",
    (*MARGIN, "--previous", "none.json"): "none.json: cannot be read",
    ("margin", *BOOK, "--policy", "open.toml"): "open.toml: horizon is missing; give it in bars",
    ("margin", *BOOK, "--policy", "old.toml"): "no bar of 1950-01-01 to 1951-01-01",
    ("margin", "before.npz", "positions.csv", *PLAN, "--previous", "later.json"): "after these",
    ("what-if", *BOOK, "--policy", "policy.toml", "--account", "long", "--trade", "wti=1",
     "--level", "0.9"): "--level and --policy",
    ("policy", "check", "none.toml"): "none.toml: cannot be read",
    ("policy", "check", "model.npz"): "model.npz: not a TOML file",
}  # fmt: skip


@pytest.mark.parametrize("arguments", list(WRONG), ids=lambda given: " ".join(given[-4:]))
def test_wrong_input_is_status_2(folder, call, arguments):
    if arguments[0].startswith("--"):
        arguments, message = ("margin", *BOOK, *arguments), WRONG[arguments]
    else:
        message = WRONG[arguments]
    (folder / "open.toml").write_text("version = 1\nlevel = 0.99\n")
    (folder / "old.toml").write_text(
        "version = 1\nhorizon = 1\n[procyclicality]\nstressed_weight = 0.25\n"
        'stressed_first = "1950-01-01"\nstressed_last = "1951-01-01"\n'
    )
    if "later.json" in arguments:
        report_of(folder).to_json(folder / "later.json")
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    status, output, said = call(*arguments)
    assert (status, output) == (2, ""), said
    assert message in said
    assert {path: path.read_bytes() for path in folder.iterdir()} == kept


def test_a_page_needs_its_libraries_before_the_work(folder, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    status, output, message = call(*MARGIN, "--html", "page.html")
    assert (status, output) == (2, "")
    assert "jinja2 is not installed: pip install 'mcmargin[report]'" in message
    assert not (folder / "page.html").exists()

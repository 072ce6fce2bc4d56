"""The command line on books of derivatives: every file that it takes, and what it answers."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

import mcmargin as mm
from tests.helpers.commands import called, run
from tests.helpers.models import make_model

INSTRUMENTS = """
[[instrument]]
name = "A"
product = "spot"
underlying = "a0"

[[instrument]]
name = "A-PERP"
product = "perpetual"
underlying = "a0"
funding_rate = 1e-4

[[instrument]]
name = "A-W1"  # settles inside a horizon of 2
product = "option"
underlying = "a0"
kind = "call"
strike = 101
expiry = 2020-01-01T20:00:00Z

[[instrument]]
name = "A-C"
product = "option"
underlying = "a0"
kind = "call"
strike = 105
expiry = 2020-03-27

[[instrument]]
name = "A-W0"  # known, and held by nobody
product = "option"
underlying = "a0"
kind = "put"
strike = 99
expiry = 2020-01-01T12:00:00Z
"""
MARKET = """
as_of = 2020-01-01
spot = { a0 = 100, a1 = 99 }
fx = { EUR = 1.25 }
fx_volatility = { EUR = 0.08 }

[volatility]
a0 = { quotes = "quotes.csv", repair = true }
"""
# The last but one quote lies below its neighbours, and is repaired.
QUOTES = """expiry,strike,volatility
2020-01-31,90,0.42
2020-01-31,100,0.4
2020-01-31,110,0.41
2020-06-26,80,0.44
2020-06-26,90,0.42
2020-06-26,100,0.4
2020-06-26,110,0.2
2020-06-26,120,0.41
"""
POSITIONS = """account,instrument,quantity
desk,A-C,-10
desk,A,5
desk,A-W1,-2
euro,A-PERP,3
"""
ACCOUNTS = "account,owner,currency\ndesk,fund,USD\neuro,fund,EUR\n"
ORDERS = "account,instrument,quantity\neuro,A-PERP,2\neuro,A-PERP,-9\n"
FILES = (
    *("--instruments", "instruments.toml", "--market", "market.toml"),
    *("--accounts", "accounts.csv", "--orders", "orders.csv"),
)
BOOK = ("model.npz", "positions.csv", *FILES)
PLAN = ("--paths", "3000", "--seed", "5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("derivatives")
    make_model(("gjr", "garch"), "t", "t", variance=4e-4).save(folder / "model.npz")
    for name, text in {
        "instruments.toml": INSTRUMENTS,
        "market.toml": MARKET,
        "quotes.csv": QUOTES,
        "positions.csv": POSITIONS,
        "accounts.csv": ACCOUNTS,
        "orders.csv": ORDERS,
    }.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def call(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    return lambda *arguments: called(arguments, monkeypatch, capsys)


def report_of(folder, horizons=(1, 2), policy=None):
    """The same through the library, horizons given by hand."""
    model = mm.load_model(folder / "model.npz")
    book = mm.read_positions(
        folder / "positions.csv",
        instruments=mm.read_instruments(folder / "instruments.toml"),
        accounts=mm.read_accounts(folder / "accounts.csv"),
        orders=folder / "orders.csv",
    )
    scenarios = mm.simulate(model, horizons=horizons, paths=3000, seed=5)
    policy = mm.MarginPolicy(horizon=2) if policy is None else policy
    return mm.margin(book, scenarios, mm.read_market(folder / "market.toml"), policy)


def test_margin_takes_every_file_and_verify_finds_it_equal(folder, call):
    done = run("margin", *BOOK, *PLAN, "--format", "json", "-o", "r.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    note = "market.toml: volatility of 'a0': quote of 2020-06-26, strike 110, repaired from 0.2 to"
    assert note in done.stderr
    report = mm.MarginReport.from_json((folder / "r.json").read_text())
    # The week's option settles at the first close, which nobody asked for.
    assert report.plan.horizons == (1, 2)
    expected = report_of(folder)
    pd.testing.assert_frame_equal(report.figures, expected.figures, rtol=0, atol=0)
    assert report.fingerprints == expected.fingerprints
    assert report.figures["currency"].tolist() == ["USD", "EUR"]
    assert report.figures["open_orders"].iloc[1] > 0
    assert call("verify", "r.json", *BOOK)[:2] == (0, "equal\n")
    # Another market of the same surface is another one; and a surface cannot be left out.
    (folder / "other.toml").write_text(MARKET.replace("a0 = 100,", "a0 = 101,"))
    other = [name.replace("market.toml", "other.toml") for name in BOOK]
    status, verdict, reasons = call("verify", "r.json", *other)
    assert (status, verdict) == (1, "different\n")
    assert "the market's fingerprint differs" in reasons
    without = [name for name in BOOK if name not in ("--market", "market.toml")]
    status, verdict, message = call("verify", "r.json", *without)
    assert (status, verdict) == (2, "")
    assert "is a surface, of which only the fingerprint is filed" in message


def test_horizons_by_product(folder, call):
    longer = ("--horizon", "1", "--product-horizon", "option=5", "--product-horizon", "spot=3")
    status, text, _ = call("margin", *BOOK, *PLAN, *longer, "--format", "json")
    assert status == 0
    report = mm.MarginReport.from_json(text)
    assert report.plan.horizons == (1, 3, 5)
    policy = mm.MarginPolicy(horizon=1, horizons={"option": 5, "spot": 3})
    assert report.horizons == policy.horizons_from(1)
    expected = report_of(folder, (1, 3, 5), policy)
    np.testing.assert_array_equal(report.figures["margin"], expected.figures["margin"])


def test_parquet_writes_accounts_and_positions(folder, call, tmp_path):
    path = tmp_path / "margins.parquet"
    status, text, message = call("margin", *BOOK, *PLAN, "-o", path)
    assert (status, text) == (0, "")
    positions, owners = (tmp_path / f"margins.{name}.parquet" for name in ("positions", "owners"))
    assert message.endswith(f"Wrote {path}.\nWrote {positions}.\nWrote {owners}.\n")
    assert sorted(tmp_path.iterdir()) == [owners, path, positions]
    report = report_of(folder)
    expected = {path: report.figures, positions: report.positions, owners: report.owners}
    for place, frame in expected.items():
        pd.testing.assert_frame_equal(pd.read_parquet(place), frame, check_dtype=False)
        header = json.loads(pyarrow.parquet.read_schema(place).metadata[b"mcmargin"])
        assert header["fingerprints"] == report.fingerprints


@pytest.mark.parametrize("name", [*FILES[1::2], "positions.csv", "model.npz", "quotes.csv"])
def test_no_input_is_overwritten(folder, call, name):
    before = (folder / name).read_bytes()
    status, _, message = call("margin", *BOOK, *PLAN, "-o", name)
    assert status == 2
    assert f"{name}: is read, too, and would be overwritten" in message
    assert (folder / name).read_bytes() == before


def test_the_positions_beside_a_parquet_report_overwrite_no_input(folder, call):
    mm.read_positions(folder / "positions.csv", orders=folder / "orders.csv").to_frame().to_parquet(
        folder / "x.positions.parquet"
    )
    status, _, message = call("margin", "model.npz", "x.positions.parquet", "-o", "x.parquet")
    assert status == 2
    assert "x.positions.parquet: is read, too" in message
    assert not (folder / "x.parquet").exists()


def test_what_if_on_the_same_scenarios(folder, call):
    trades = {"A-C": 4.0, "A-W0": 1.5}
    options = [text for name, size in trades.items() for text in ("--trade", f"{name}={size:+}")]
    command = ("what-if", *BOOK, *PLAN, "--account", "desk", *options)
    status, text, _ = call(*command, "--format", "json")
    assert status == 0
    found, expected = json.loads(text), report_of(folder)
    assert found["trades"] == trades
    for when, account in (
        ("before", expected.account("desk")),
        ("after", expected.what_if("desk", trades)),
    ):
        assert found[when]["margin"] == account.margin
        assert found[when]["account"] == "desk"
        held = {each["instrument"]: each["quantity"] for each in found[when]["contributions"]}
        assert held == {each.instrument: each.quantity for each in account.contributions}
    _, text, _ = call(*command, "--format", "csv")
    lines = text.splitlines()
    assert lines[0] == "figure,before,before_error,after,after_error,change"
    figure, before, before_error, after, after_error, change = lines[1].split(",")
    assert figure == "margin"
    errors = tuple(found[when]["margin_error"] for when in ("before", "after"))
    assert (float(before_error), float(after_error)) == errors
    assert min(errors) > 0
    assert (float(before), float(after)) == tuple(found[w]["margin"] for w in ("before", "after"))
    assert float(change) == float(after) - float(before)
    _, text, _ = call(*command)
    assert text.splitlines()[0].split() == lines[0].split(",")


def test_max_order_by_the_margin_that_it_leaves(folder, call):
    expected = report_of(folder)
    equity = 1.5 * expected.account("euro").margin
    order = ("--account", "euro", "--instrument", "A-PERP", "--side", "sell")
    status, text, _ = call("max-order", *BOOK, *PLAN, *order, "--equity", str(equity))
    assert status == 0
    size = float(text)
    assert size > 0
    for more, within in ((0.999, True), (1.001, False)):
        after = expected.what_if("euro", {"A-PERP": -more * size}).margin
        assert (after <= equity) is within
    # Its worst fill is short by 6: a purchase reduces risk whatever the equity, and no sale does.
    for side, permitted in (("buy", True), ("sell", False)):
        order = ("--account", "euro", "--instrument", "A-PERP", "--side", side, "--equity", "0")
        status, text, _ = call("max-order", *BOOK, *PLAN, *order)
        assert (status, float(text) > 0) == (0, permitted)


def test_greeks_of_units_and_of_positions(folder, call):
    files = ("--instruments", "instruments.toml", "--market", "market.toml")
    status, text, message = call("greeks", *files, "--format", "csv")
    assert status == 0
    assert "repaired from 0.2" in message
    lines = text.splitlines()
    assert lines[0] == "instrument,product,underlying,currency,value,delta,gamma,vega,theta"
    assert [line.split(",")[0] for line in lines[1:]] == ["A", "A-PERP", "A-W1", "A-C", "A-W0"]
    assert lines[1] == "A,spot,a0,USD,100.0,1.0,0.0,0.0,0.0"
    accounts = ("--accounts", "accounts.csv")
    status, text, _ = call("greeks", *files, "positions.csv", *accounts, "--format", "json")
    assert status == 0
    rows = json.loads(text)
    book = mm.read_positions(
        folder / "positions.csv",
        instruments=mm.read_instruments(folder / "instruments.toml"),
        accounts=mm.read_accounts(folder / "accounts.csv"),
    )
    expected = mm.greeks_frame(book, mm.read_market(folder / "market.toml"))
    pd.testing.assert_frame_equal(pd.DataFrame(rows), expected)
    assert rows[-1]["account"] == "euro"
    assert rows[-1]["quantity"] is None
    assert rows[-1]["delta"] == pytest.approx(3 * 100 / 1.25)
    status, text, _ = call("greeks", *files, "positions.csv")
    assert (status, "desk" in text) == (0, True)


def test_a_market_in_another_currency_is_that_of_accounts_too(folder, call):
    """Spot of the model's assets, without a file of instruments, in pounds."""
    (folder / "pounds.toml").write_text('as_of = 2020-01-01\ncurrency = "GBP"\nspot = {a0 = 50}\n')
    (folder / "spot.csv").write_text("account,instrument,quantity\nx,a0,2\n")
    book = ("model.npz", "spot.csv")
    command = ("margin", *book, "--market", "pounds.toml", *PLAN, "--format", "json")
    assert call(*command, "-o", "gbp.json")[0] == 0
    report = mm.MarginReport.from_json((folder / "gbp.json").read_text())
    assert report.accounts[0].currency == "GBP"
    assert report.accounts[0].gross_exposure == 100.0
    assert call("verify", "gbp.json", *book)[:2] == (0, "equal\n")


WHAT_IF = ("what-if", *BOOK, *PLAN, "--account", "desk")
ORDER = ("max-order", *BOOK, *PLAN, "--account", "desk")
WRONG = {
    (*WHAT_IF, "--trade", "A"): "--trade 'A': a name and a value are needed, such as BTC-PERP=+3",
    (*WHAT_IF, "--trade", "A=two"): "--trade A: 'two' is not a number",
    (*WHAT_IF, "--trade", "A=nan"): "what_if: nan units of 'A' are not a finite number",
    (*WHAT_IF, "--trade", "A=1", "--trade", "A=1"): "--trade: 'A' is given twice; give it once",
    (*WHAT_IF, "--trade", "B=1"): "instrument 'B' is unknown; add it, or correct the name",
    (*WHAT_IF,): "Missing option '--trade'",
    (
        "what-if",
        *BOOK,
        *PLAN,
        "--account",
        "nobody",
        "--trade",
        "A=1",
    ): "account 'nobody' is unknown; the book has desk, euro",
    (*ORDER, "--instrument", "A", "--side", "long", "--equity", "1"): "side 'long' is unknown",
    (
        *ORDER,
        "--instrument",
        "A",
        "--side",
        "buy",
        "--equity",
        "nan",
    ): "equity must be a finite number",
    ("margin", *BOOK, "--product-horizon", "option"): "such as option=5",
    ("margin", *BOOK, "--product-horizon", "option=2.5"): "'2.5' is no whole number of bars",
    ("margin", *BOOK, "--product-horizon", "option=0"): "horizons of 'option' must be an integer",
    (
        "margin",
        *BOOK,
        "--product-horizon",
        "swap=5",
    ): "--product-horizon swap: unknown; it is one of spot",
    ("margin", "model.npz", "positions.csv"): "the model has no asset 'A'; it has a0, a1",
    ("margin", *BOOK, "--instruments", "none.toml"): "none.toml: cannot be read",
    ("margin", *BOOK, "--market", "positions.csv"): "positions.csv: not TOML",
    ("margin", *BOOK, "--accounts", "orders.csv"): "row 1: column 'instrument' is unknown",
    ("margin", *BOOK, "--orders", "accounts.csv"): "exactly account, instrument, quantity are",
    ("margin", *BOOK, "-o", "none/x.parquet"): "no folder none; make it first",
    ("verify", "none.json", *BOOK): "none.json: cannot be read",
    ("greeks", "positions.csv"): "Missing option '--instruments'",
}


@pytest.mark.parametrize("arguments", list(WRONG), ids=lambda given: " ".join(given[-4:]))
def test_wrong_input_is_status_2(call, arguments):
    status, output, message = call(*arguments)
    assert (status, output) == (2, ""), message
    assert WRONG[arguments] in message


BAD_CELLS = {
    "positions.csv": ("desk,A,5", "desk,A,five", "row 3, column 'quantity': 'five' is not a num"),
    "orders.csv": ("A-PERP,-9", "A-PERK,-9", "row 3: instrument 'A-PERK' is unknown; add it, or"),
    "accounts.csv": (
        "euro,fund",
        "desk,fund",
        "row 3, column 'account': 'desk' repeats row 2; give each",
    ),
    "instruments.toml": ("strike = 101", "strike = -1", "instrument 3 ('A-W1'), field 'strike': "),
    "market.toml": ("a0 = 100", 'a0 = "x"', "[spot] a0: 'x' is not a number"),
}


@pytest.mark.parametrize("name", list(BAD_CELLS))
def test_the_file_with_a_bad_cell_is_the_one_named(name, folder, call):
    good, bad, message = BAD_CELLS[name]
    text = (folder / name).read_text()
    assert text.count(good) == 1
    (folder / f"bad-{name}").write_text(text.replace(good, bad))
    files = [f"bad-{name}" if each == name else each for each in BOOK]
    status, output, said = call("margin", *files, *PLAN)
    assert (status, output) == (2, "")
    assert f"mcmargin: bad-{name}: {message}" in said

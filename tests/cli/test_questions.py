"""`what-if`, `max-order`, `status` and `greeks` give the answers of the library."""

import json

import pandas as pd
import pytest

import mcmargin as mm
from tests.helpers import derivatives as book
from tests.helpers.models import make_model

POSITIONS = "account,instrument,quantity\nlong,a0,10\nshort,a1,-5\n"
BALANCES = "account,asset,amount\nlong,USD,-900\nshort,USD,600\nshort,a1,2\n"
POLICY = """version = 1
level = 0.99
horizon = 2

[maintenance]
level = 0.975
horizon = 1
"""
MARKET = "as_of = 2020-01-01\nspot = { a0 = 100, a1 = 100 }\n"
BOOK = ("model.npz", "positions.csv", "--market", "market.toml", "--balances", "balances.csv")
PLAN = ("--paths", "3000", "--seed", "5")
FILES = {
    "positions.csv": POSITIONS,
    "balances.csv": BALANCES,
    "policy.toml": POLICY,
    "market.toml": MARKET,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("balances")
    make_model(("garch", "gjr"), "t", "t", variance=4e-4).save(folder / "model.npz")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def ask(derivatives, call_in):
    """Run a command in the folder of the book of derivatives."""
    return call_in(derivatives)


@pytest.fixture(scope="module")
def expected(folder):
    scenarios = mm.simulate(
        mm.load_model(folder / "model.npz"), horizons=(1, 2), paths=3000, seed=5
    )
    book = mm.read_positions(folder / "positions.csv", balances=folder / "balances.csv")
    market = mm.read_market(folder / "market.toml")
    return mm.margin(book, scenarios, market, mm.MarginPolicy.from_toml(folder / "policy.toml"))


def test_status_of_every_account(call, expected):
    """Equity is cash and spot at its price: -900 + 10 x 100, and 600 + (2 - 5) x 100."""
    status, text, message = call(
        "status", *BOOK, *PLAN, "--policy", "policy.toml", "--format", "json"
    )
    assert (status, message) == (0, "")
    rows = json.loads(text)
    assert [row["equity"] for row in rows] == [100.0, 300.0]
    assert rows == expected.statuses().to_dict("records")


@pytest.mark.parametrize(
    ("cash", "state", "failing"),
    [
        (900.0, "healthy", set()),
        (-930.0, "margin call", {"call"}),
        (-999.0, "liquidation", {"call", "liquidation"}),
    ],
)
def test_status_fails_on_what_it_is_asked_to(folder, call, cash, state, failing):
    """The account holds 10 at 100: its equity is 1,000 plus cash, its margins are 84 and 54."""
    (folder / "cash.csv").write_text(f"account,asset,amount\nlong,USD,{cash}\nshort,USD,5000\n")
    command = ("status", *BOOK[:4], "--balances", "cash.csv", *PLAN, "--policy", "policy.toml")
    plain = call(*command)
    assert plain[0] == 0
    assert plain[2] == ""
    assert f" {state} " in plain[1].splitlines()[1]
    for asked in ("call", "liquidation"):
        status, text, message = call(*command, "--fail-on", asked)
        assert text == plain[1]
        assert status == (1 if asked in failing else 0)
        assert message == (f"{state} (1): 'long'\n" if asked in failing else "")
    assert call(*command, "--fail-on", "healthy")[0] == 2


def test_who_nets_is_judged_as_one(folder, call):
    """One account has too little equity, and both together have enough."""
    (folder / "accounts.csv").write_text("account,owner,netting\nlong,fund,net\nshort,fund,net\n")
    (folder / "cash.csv").write_text("account,asset,amount\nlong,USD,-999\nshort,USD,5000\n")
    command = ("status", *BOOK[:4], "--balances", "cash.csv", *PLAN, "--policy", "policy.toml")
    assert call(*command, "--fail-on", "liquidation")[0] == 1
    status, text, message = call(*command, "--accounts", "accounts.csv", "--fail-on", "call")
    assert (status, message) == (0, "")
    assert "liquidation" in text.splitlines()[1]
    assert text.splitlines()[-1].split()[:2] == ["fund", "2"]
    assert "healthy" in text.splitlines()[-1]


def test_status_names_the_file_whose_positions_have_no_entry_price(folder, call):
    (folder / "instruments.csv").write_text(
        "name,product,underlying\na0,perpetual,a0\na1,spot,a1\n"
    )
    status, text, message = call("status", *BOOK, *PLAN, "--instruments", "instruments.csv")
    assert status == 0
    assert "without_entry_price" in text
    assert message == (
        "positions.csv: Equity leaves out the profit or loss of 1 perpetual or future position "
        "that has no entry_price.\n"
    )


def test_without_a_maintenance_margin_no_ratio_is_infinite_in_json(call):
    status, text, _ = call("status", *BOOK, *PLAN, "--format", "json")
    assert (status, [row["margin_ratio"] for row in json.loads(text)]) == (0, [None, None])


def test_the_margin_report_has_equity_and_is_verified_with_the_balances(folder, call, expected):
    command = ("margin", *BOOK, *PLAN, "--policy", "policy.toml", "--format", "json")
    status, text, _ = call(*command)
    assert status == 0
    assert [account["equity"] for account in json.loads(text)["accounts"]] == [100.0, 300.0]
    assert json.loads(text)["accounts"][1]["margin"] == expected.account("short").margin
    (folder / "report.json").write_text(text)
    assert call("verify", "report.json", *BOOK)[:2] == (0, "equal\n")
    status, text, message = call("verify", "report.json", *BOOK[:4])
    assert (status, text) == (1, "different\n")
    assert "the book's fingerprint differs" in message


def test_max_order_takes_the_accounts_own_equity(call, expected):
    order = ("--account", "short", "--instrument", "a0", "--side", "buy", "--policy", "policy.toml")
    status, text, _ = call("max-order", *BOOK, *PLAN, *order)
    assert (status, float(text)) == (0, expected.max_order("short", "a0", side="buy"))
    status, _, message = call("max-order", *BOOK[:4], *PLAN, *order)
    assert status == 2
    assert "give the book balances" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("account,asset\nlong,USD\n", "balances.csv"),
        ("account,asset,amount\nlong,USD,much\n", "row 2, column 'amount': 'much' is not a number"),
        ("account,asset,amount\nlong,EUR,1\n", "EUR"),
        ("account,asset,amount\nnobody,USD,1\n", "nobody"),
    ],
)
def test_wrong_balances_are_status_2(folder, call, text, message):
    (folder / "wrong.csv").write_text(text)
    status, output, told = call("status", *BOOK[:4], "--balances", "wrong.csv", *PLAN)
    assert (status, output) == (2, "")
    assert message.replace("balances.csv", "wrong.csv") in told


def test_what_if_on_the_same_scenarios(derivatives, ask):
    trades = {"A-C": 4.0, "A-W0": 1.5}
    options = [text for name, size in trades.items() for text in ("--trade", f"{name}={size:+}")]
    command = ("what-if", *book.BOOK, *book.PLAN, "--account", "desk", *options)
    status, text, _ = ask(*command, "--format", "json")
    assert status == 0
    found, expected = json.loads(text), book.report_of(derivatives)
    assert found["trades"] == trades
    for when, account in (
        ("before", expected.account("desk")),
        ("after", expected.what_if("desk", trades)),
    ):
        assert found[when]["margin"] == account.margin
        assert found[when]["account"] == "desk"
        held = {each["instrument"]: each["quantity"] for each in found[when]["contributions"]}
        assert held == {each.instrument: each.quantity for each in account.contributions}
    _, text, _ = ask(*command, "--format", "csv")
    lines = text.splitlines()
    assert lines[0] == "figure,before,before_error,after,after_error,change"
    figure, before, before_error, after, after_error, change = lines[1].split(",")
    assert figure == "margin"
    errors = tuple(found[when]["margin_error"] for when in ("before", "after"))
    assert (float(before_error), float(after_error)) == errors
    assert min(errors) > 0
    assert (float(before), float(after)) == tuple(found[w]["margin"] for w in ("before", "after"))
    assert float(change) == float(after) - float(before)
    _, text, _ = ask(*command)
    assert text.splitlines()[0].split() == lines[0].split(",")


def test_max_order_by_the_margin_that_it_leaves(derivatives, ask):
    expected = book.report_of(derivatives)
    equity = 1.5 * expected.account("euro").margin
    order = ("--account", "euro", "--instrument", "A-PERP", "--side", "sell")
    status, text, _ = ask("max-order", *book.BOOK, *book.PLAN, *order, "--equity", str(equity))
    assert status == 0
    size = float(text)
    assert size > 0
    for more, within in ((0.999, True), (1.001, False)):
        after = expected.what_if("euro", {"A-PERP": -more * size}).margin
        assert (after <= equity) is within
    # The worst fill is short by 6: a purchase reduces risk for any equity, and no sale does.
    for side, permitted in (("buy", True), ("sell", False)):
        order = ("--account", "euro", "--instrument", "A-PERP", "--side", side, "--equity", "0")
        status, text, _ = ask("max-order", *book.BOOK, *book.PLAN, *order)
        assert (status, float(text) > 0) == (0, permitted)


def test_greeks_of_units_and_of_positions(derivatives, ask):
    files = ("--instruments", "instruments.toml", "--market", "market.toml")
    status, text, message = ask("greeks", *files, "--format", "csv")
    assert status == 0
    assert "repaired from 0.2" in message
    lines = text.splitlines()
    assert lines[0] == "instrument,product,underlying,currency,value,delta,gamma,vega,theta"
    assert [line.split(",")[0] for line in lines[1:]] == ["A", "A-PERP", "A-W1", "A-C", "A-W0"]
    assert lines[1] == "A,spot,a0,USD,100.0,1.0,0.0,0.0,0.0"
    accounts = ("--accounts", "accounts.csv")
    status, text, _ = ask("greeks", *files, "positions.csv", *accounts, "--format", "json")
    assert status == 0
    rows = json.loads(text)
    book = mm.read_positions(
        derivatives / "positions.csv",
        instruments=mm.read_instruments(derivatives / "instruments.toml"),
        accounts=mm.read_accounts(derivatives / "accounts.csv"),
    )
    expected = mm.greeks_frame(book, mm.read_market(derivatives / "market.toml"))
    pd.testing.assert_frame_equal(pd.DataFrame(rows), expected)
    assert rows[-1]["account"] == "euro"
    assert rows[-1]["quantity"] is None
    assert rows[-1]["delta"] == pytest.approx(3 * 100 / 1.25)
    status, text, _ = ask("greeks", *files, "positions.csv")
    assert (status, "desk" in text) == (0, True)


WHAT_IF = ("what-if", *book.BOOK, *book.PLAN, "--account", "desk")
ORDER = ("max-order", *book.BOOK, *book.PLAN, "--account", "desk")
WRONG = {
    (*WHAT_IF, "--trade", "A"): "--trade 'A': a name and a value are needed, such as BTC-PERP=+3",
    (*WHAT_IF, "--trade", "A=two"): "--trade A: 'two' is not a number",
    (*WHAT_IF, "--trade", "A=nan"): "what_if: nan units of 'A' are not a finite number",
    (*WHAT_IF, "--trade", "A=1", "--trade", "A=1"): "--trade: 'A' is given twice; give it once",
    (*WHAT_IF, "--trade", "B=1"): "instrument 'B' is unknown; add it, or correct the name",
    (*WHAT_IF,): "Missing option '--trade'",
    (
        "what-if",
        *book.BOOK,
        *book.PLAN,
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
    ("greeks", "positions.csv"): "Missing option '--instruments'",
}


@pytest.mark.parametrize("arguments", list(WRONG), ids=lambda given: " ".join(given[-4:]))
def test_wrong_input_is_status_2(ask, arguments):
    status, output, message = ask(*arguments)
    assert (status, output) == (2, ""), message
    assert WRONG[arguments] in message

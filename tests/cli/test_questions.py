"""The command line on books with balances: equity, health, and orders that equity permits."""

import json

import pytest

import mcmargin as mm
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


@pytest.fixture(scope="module")
def expected(folder):
    scenarios = mm.simulate(
        mm.load_model(folder / "model.npz"), horizons=(1, 2), paths=3000, seed=5
    )
    book = mm.read_positions(folder / "positions.csv", balances=folder / "balances.csv")
    market = mm.read_market(folder / "market.toml")
    return mm.margin(book, scenarios, market, mm.MarginPolicy.from_toml(folder / "policy.toml"))


def test_status_of_every_account(call, expected):
    """Cash, and spot at its price: -900 + 10 x 100, and 600 + (2 - 5) x 100."""
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
    """Ten at 100 and cash: equity of 1,000 and the cash; margins of 84 and 54."""
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
    """One account is short of what the other has: together they have enough."""
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

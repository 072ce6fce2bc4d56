"""Messages name the files that they are about; outputs are refused by their names."""

import json
from pathlib import Path

import pytest

import mcmargin as mm
from mcmargin.cli.file_names import PROMISES, WRITTEN, check_endings, with_files
from tests.helpers.models import make_model

FILES = {
    "positions.csv": "account,instrument,quantity\nlong,S,10\nshort,P,-5\n",
    "instruments.csv": "name,product,underlying,currency,kind,strike,expiry\nS,spot,a1,USD,,,\n"
    "P,perpetual,a0,USD,,,\nC,option,a0,USD,call,105,2020-03-27\n",
    "market.toml": "as_of = 2020-01-01\nspot = { a0 = 100, a1 = 100 }\n",
    "balances.csv": "account,asset,amount\nlong,USD,900\nshort,a1,20\n",
    "policy.toml": "version = 1\nhorizon = 2\n",
    "priceless.toml": "as_of = 2020-01-01\nspot = { a0 = 100 }\n",
    "older.toml": "as_of = 2019-01-01\nspot = { a0 = 100, a1 = 100 }\n",
    "option.csv": "account,instrument,quantity\nlong,C,1\n",
    "foreign.csv": "account,currency\nlong,JPY\nshort,USD\n",
    "doge.csv": "account,asset,amount\nlong,doge,1\n",
    "unlike.csv": "name,product,underlying\nS,spot,doge\nP,perpetual,a0\n",
    "past.toml": "version = 1\nhorizon = 1\n[procyclicality]\nfloor_years = 4\n"
    "stressed_weight = 0.2\nstressed_first = '1990-01-01'\nstressed_last = '1990-05-05'\n",
}
BOOK = ("positions.csv", "--instruments", "instruments.csv", "--market", "market.toml")
PLAN = ("--paths", "500")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    make_model(("garch", "gjr"), "t", "t", variance=4e-4).save(folder / "model.npz")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def book(**files):
    """Arguments of the book, in which some files are replaced."""
    given = {"positions": "positions.csv", "instruments": "instruments.csv",
             "market": "market.toml"} | files  # fmt: skip
    options = [each for name in list(given)[1:] for each in (f"--{name}", given[name])]
    return given["positions"], *options


WRONG = {
    ("margin", book(market="priceless.toml")): (
        "positions.csv, instruments.csv, priceless.toml", "the market has no price of 'a1'",
    ),
    ("margin", book(positions="option.csv")): (
        "instruments.csv, market.toml", "the market has no volatility of 'a0'",
    ),
    ("margin", book(instruments="unlike.csv")): (
        "model.npz, positions.csv, unlike.csv", "the model has no asset 'doge'",
    ),
    ("margin", book(balances="doge.csv")): (
        "model.npz, positions.csv, doge.csv", "the model has no asset 'doge'",
    ),
    ("margin", book(accounts="foreign.csv")): ("foreign.csv", "JPY"),
    ("margin", book(market="older.toml")): ("model.npz, older.toml", "newer than the market"),
    ("margin", book(policy="past.toml")): ("model.npz, past.toml", "model's history has no bar"),
    ("stress", book(policy="policy.toml")): ("policy.toml", "stress"),
    ("what-if", (*book(), "--account", "nobody", "--trade", "S=1")): (
        "positions.csv", "account 'nobody' is unknown; the book has long, short",
    ),
    ("what-if", (*book(), "--account", "long", "--trade", "NOPE=1")): (
        "instruments.csv", "instrument 'NOPE' is unknown; add it, or correct the name; there are S",
    ),
    ("max-order", (*book(), "--account", "nobody", "--instrument", "S", "--side", "buy")): (
        "positions.csv", "account 'nobody' is unknown; the book has long, short",
    ),
    ("max-order", (*book(), "--account", "long", "--instrument", "S", "--side", "buy")): (
        "positions.csv", "its equity is not known; give the book balances (account, asset, amount),"
        " or give max_order the equity (equity=, or --equity",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("command", "arguments"), list(WRONG))
def test_every_message_names_its_files(call, command, arguments):
    plan = () if command == "stress" else PLAN
    status, text, message = call(command, "model.npz", *arguments, *plan)
    files, words = WRONG[command, arguments]
    assert (status, text) == (2, "")
    assert len(message.splitlines()) == 1
    named = message.removeprefix("mcmargin: ").partition(": ")[0].split(", ")
    assert set(files.split(", ")) <= set(named), message
    assert words in message


def test_what_is_about_no_file_names_none(call):
    assert call("margin", "model.npz", *BOOK, "--level", "5")[2].startswith("mcmargin: level must")
    error = mm.EngineError("engine 'abacus' is unknown; the model stays")
    assert with_files(error, {"model": Path("model.npz")}) is error
    error = mm.DataError("market.toml: the market has no table")
    assert with_files(error, {"market": Path("market.toml"), "model": Path("m.npz")}) is error


def test_who_is_unknown_is_told_before_anything_is_simulated(call, monkeypatch):
    monkeypatch.setattr(
        "mcmargin.jobs.margin_job.simulate", lambda *_, **__: pytest.fail("simulated")
    )
    ordered = ("--account", "x", "--instrument", "S", "--side", "buy")
    assert call("what-if", "model.npz", *BOOK, "--account", "x", "--trade", "S=1")[0] == 2
    assert call("max-order", "model.npz", *BOOK, *ordered)[0] == 2


def test_the_report_says_which_accounts_it_has(folder):
    scenarios = mm.simulate(mm.load_model(folder / "model.npz"), horizon=1, paths=500, seed=1)
    items = mm.read_instruments(folder / "instruments.csv")
    held = mm.read_positions(folder / "positions.csv", instruments=items)
    report = mm.margin(held, scenarios)
    for ask in (
        lambda: report.what_if("nobody", {"S": 1.0}),
        lambda: report.max_order("nobody", "S", side="buy", equity=1.0),
        lambda: report.max_leverage("nobody", equity=1.0),
        lambda: report.account("nobody"),
        lambda: report.status("nobody"),
    ):
        with pytest.raises(mm.DataError, match="no account 'nobody'; it has long, short"):
            ask()
    for ask, name in (
        (lambda: report.max_order("long", "S", side="buy"), "max_order"),
        (lambda: report.max_leverage("long"), "max_leverage"),
    ):
        with pytest.raises(mm.DataError, match=rf"or give {name} the equity \(equity="):
            ask()
    # With equity=, the largest leverage is that of an account which has this equity.
    margin = report.account("long").margin
    found = report.max_leverage("long", equity=2.0 * margin)
    assert found.equity == 2.0 * margin
    assert found.max_leverage == pytest.approx(2.0 * found.leverage, rel=1e-6)
    with pytest.raises(mm.DataError, match="equity must be a finite number, not nan"):
        report.max_leverage("long", equity=float("nan"))


def test_the_largest_order_as_json_and_csv(call):
    asked = ("max-order", "model.npz", *BOOK, *PLAN, "--account", "long", "--instrument", "S")
    plain = float(call(*asked, "--side", "buy", "--equity", "500")[1])
    for form in ("json", "csv"):
        status, text, message = call(*asked, "--side", "buy", "--equity", "500", "--format", form)
        assert (status, message) == (0, "")
        if form == "json":
            assert json.loads(text) == {
                "account": "long", "instrument": "S", "side": "buy", "equity": 500.0,
                "units": plain, "unlimited": False,
            }  # fmt: skip
        else:
            head, row = text.splitlines()
            assert head == "account,instrument,side,equity,units,unlimited"
            assert row == f"long,S,buy,500.0,{plain!r},False"
    balanced = (*asked, "--balances", "balances.csv", "--side", "buy", "--format", "json")
    assert json.loads(call(*balanced)[1])["equity"] == pytest.approx(900.0 + 10 * 100.0)


@pytest.mark.parametrize(
    "ending", [".xlsx", ".XLS", ".ods", ".pdf", ".pkl", ".h5", ".png", ".toml"]
)
def test_outputs_that_are_not_written_are_refused_by_name(folder, call, ending):
    before = sorted(folder.iterdir())
    name = f"report{ending}"
    for command in (
        ("margin", "model.npz", *BOOK, "-o", name),
        ("margin", "model.npz", *BOOK, "--format", "csv", "-o", name),
        ("margin", "model.npz", *BOOK, "--html", name),
        ("stress", "model.npz", "positions.csv", "--policy", "policy.toml", "-o", name),
        ("simulate", "model.npz", "-o", name),
        ("calibrate", "prices.csv", "-o", name),
    ):
        status, text, message = call(*command)
        assert (status, text) == (2, ""), command
        assert f"{name}: {command[0]} writes no {ending.lower()} file; give a name" in message
    assert sorted(folder.iterdir()) == before


def test_what_is_written_is_not_refused():
    for command, endings in WRITTEN.items():
        assert set(endings) <= PROMISES
        for ending in (*endings, "", ".txt", ".log", ".04", endings[0].upper()):
            check_endings(command, {"output": Path(f"report{ending}")})


def test_a_policy_is_started_as_toml_alone(call):
    status, _, message = call("policy", "init", "-o", "policy.json")
    assert status == 2
    assert "policy.json: policy init writes no .json file" in message

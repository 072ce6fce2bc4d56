"""`margin`, `simulate` and `verify`: every file that they take, and every form that they write."""

import json
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

import mcmargin as mm
from tests.helpers.commands import called, run
from tests.helpers.derivatives import BOOK, FILES, MARKET, PLAN, report_of

M, B, R = "model.npz", "positions.csv", "r.json"


@pytest.fixture
def folder(derivatives):
    """Most tests take the book of derivatives."""
    return derivatives


def test_margin_and_verify(everything):
    done = run(
        "margin", "model.npz", "positions.csv", "--paths", 5000, "--format", "json", cwd=everything
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["accounts"][0]["margin"] > 0
    notes = report["calibration"]
    assert (notes["assets"], notes["refused"]) == (3, {})
    assert "dates lost" in notes["dates"]
    (everything / "report.json").write_text(done.stdout)
    again = run("verify", "report.json", "model.npz", "positions.csv", cwd=everything)
    assert (again.returncode, again.stdout) == (0, "equal\n")
    report["accounts"][0]["expected_shortfall"] *= 1.01
    (everything / "forged.json").write_text(json.dumps(report))
    forged = run("verify", "forged.json", "model.npz", "positions.csv", cwd=everything)
    assert (forged.returncode, forged.stdout) == (1, "different\n")
    assert "expected_shortfall of account" in forged.stderr


def test_csv_and_table(everything):
    csv = run(
        "margin", "model.npz", "positions.csv", "--paths", 5000, "--format", "csv", cwd=everything
    )
    assert csv.stdout.startswith("account,owner,currency,margin,")
    table = run("margin", "model.npz", "positions.csv", "--paths", 5000, cwd=everything)
    assert "x (USD)" in table.stdout
    assert "dates lost" in " ".join(table.stdout.split())


def test_output_is_of_the_form_that_its_name_ends_in(everything, monkeypatch, capsys):
    """`--format` comes before the ending of the name."""
    monkeypatch.chdir(everything)
    command = ("margin", M, B, "--paths", 5000)

    def written(name, *options):
        status, output, said = called((*command, *options, "-o", name), monkeypatch, capsys)
        assert (status, output, said) == (0, "", f"Wrote {name}.\n")
        return (everything / name).read_text(encoding="utf-8")

    text = written("as.json")
    report = mm.MarginReport.from_json(text)
    csv = report.to_frame().to_csv(index=False)
    assert written("as.CSV") == csv
    assert written("as.html").startswith("<!doctype html>")
    assert written("as.txt") == written("as") == f"{report}\n"
    assert written("csv.json", "--format", "csv") == csv
    assert written("csv.html", "--format", "csv") == csv
    assert written("table.json", "--format", "table") == f"{report}\n"


def test_a_page_needs_jinja2_before_the_work(everything, monkeypatch, capsys):
    monkeypatch.chdir(everything)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    status, _, said = called(("margin", "no.npz", B, "-o", "needs.html"), monkeypatch, capsys)
    assert (status, "jinja2" in said) == (2, True)


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_margin_writes_what_it_would_print(everything, form, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(everything)
    command = ("margin", M, B, "--paths", "3000", "--format", form)
    path = tmp_path / "report"
    path.write_text("an older one")
    _, printed, _ = called(command, monkeypatch, capsys)
    written = called((*command, "--output", str(path)), monkeypatch, capsys)
    assert written == (0, "", f"Wrote {path}.\n")
    assert path.read_text() == printed
    assert list(tmp_path.iterdir()) == [path]


def test_verify_of_another_book_is_different_and_says_why(everything, tmp_path):
    (tmp_path / "other.csv").write_text("account,instrument,quantity\nx,gold,1\n")
    done = run("verify", R, M, tmp_path / "other.csv", cwd=everything)
    assert (done.returncode, done.stdout) == (1, "different\n")
    assert "the book's fingerprint differs" in done.stderr
    assert "the model has no asset 'gold'" in done.stderr


def test_simulate_writes_every_horizon(everything):
    done = run(
        *("simulate", "model.npz", "-o", "s.npz", "--paths", 3000),
        *("--horizon", 1, "--horizon", 5),
        cwd=everything,
    )
    assert done.returncode == 0, done.stderr
    with np.load(everything / "s.npz") as scenarios:
        assert scenarios["returns"].shape == (2, 3, 3000)


def test_margin_takes_every_file_and_verify_finds_it_equal(folder, call):
    done = run("margin", *BOOK, *PLAN, "--format", "json", "-o", "r.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    note = "market.toml: volatility of 'a0': quote of 2020-06-26, strike 110, repaired from 0.2 to"
    assert note in done.stderr
    report = mm.MarginReport.from_json((folder / "r.json").read_text())
    # The option of a week settles at the first close, which no option of the command names.
    assert report.plan.horizons == (1, 2)
    expected = report_of(folder)
    pd.testing.assert_frame_equal(report.figures, expected.figures, rtol=0, atol=0)
    assert report.fingerprints == expected.fingerprints
    assert report.figures["currency"].tolist() == ["USD", "EUR"]
    assert report.figures["open_orders"].iloc[1] > 0
    assert call("verify", "r.json", *BOOK)[:2] == (0, "equal\n")
    # A market with the same surface and another price is different; a surface cannot be left out.
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


def test_a_market_in_another_currency_is_that_of_accounts_too(folder, call):
    """The book is spot in pounds, without a file of instruments."""
    (folder / "pounds.toml").write_text('as_of = 2020-01-01\ncurrency = "GBP"\nspot = {a0 = 50}\n')
    (folder / "spot.csv").write_text("account,instrument,quantity\nx,a0,2\n")
    book = ("model.npz", "spot.csv")
    command = ("margin", *book, "--market", "pounds.toml", *PLAN, "--format", "json")
    assert call(*command, "-o", "gbp.json")[0] == 0
    report = mm.MarginReport.from_json((folder / "gbp.json").read_text())
    assert report.accounts[0].currency == "GBP"
    assert report.accounts[0].gross_exposure == 100.0
    assert call("verify", "gbp.json", *book)[:2] == (0, "equal\n")


WRONG = {
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

"""Why margins changed between saved reports: what made them is found, given, or asked for."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mcmargin as mm
from mcmargin.reports.margin_change import CHANGE_PARTS
from tests.helpers.commands import called
from tests.helpers.models import make_model

POSITIONS = "account,instrument,quantity\nlong,P,10\nlong,C,-2\nshort,S,-5\n"
LATER = "account,instrument,quantity\nlong,P,14\nlong,C,-2\nshort,S,-5\nnew,P,1\n"
FILES = {
    "positions.csv": POSITIONS,
    "instruments.csv": "name,product,underlying,kind,strike,expiry\nP,perpetual,a0,,,\n"
    "S,spot,a1,,,\nC,option,a0,call,105,2020-03-27\n",
    "accounts.csv": "account,mode\nlong,isolated\nshort,cross\nnew,cross\n",
    "orders.csv": "account,instrument,quantity\nshort,S,9\n",
    "balances.csv": "account,asset,amount\nlong,USD,900\nshort,a1,20\n",
    "market.toml": "as_of = 2020-01-01\nspot = { a0 = 100, a1 = 100 }\nvolatility = { a0 = 0.5 }\n",
    "policy.toml": "version = 1\nhorizon = 2\n[procyclicality]\nbuffer = 0.25\n",
}
BOOK = (
    *("model.npz", "positions.csv", "--instruments", "instruments.csv", "--market", "market.toml"),
    *("--accounts", "accounts.csv", "--orders", "orders.csv", "--balances", "balances.csv"),
    *("--policy", "policy.toml", "--paths", "2000", "--seed", "5"),
)


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Two folders with all files of a day's report, whose second follows the first."""
    root = tmp_path_factory.mktemp("days")
    model = make_model(("gjr", "garch"), "t", "t", variance=4e-4)
    later = replace(
        model.state, as_of=np.datetime64("2020-01-02", "ns"), variance=np.array([6e-4, 3e-4])
    )
    models = {"first": model, "second": replace(model, committed=later, state=later)}
    with pytest.MonkeyPatch.context() as patch:
        for name, fitted in models.items():
            folder = root / name
            folder.mkdir()
            texts = dict(FILES)
            if name == "second":
                market = FILES["market.toml"].replace("01-01", "01-02").replace("100", "104", 1)
                texts |= {"positions.csv": LATER, "market.toml": market}
            for file, text in texts.items():
                (folder / file).write_text(text)
            fitted.save(folder / "model.npz")
            patch.chdir(folder)
            previous = () if name == "first" else ("--previous", "../first/report.json")
            assert status_of("margin", *BOOK, *previous, "-o", "report.json", patch=patch) == 0
    return root


def status_of(*arguments, patch):
    from mcmargin.cli import main

    patch.setattr("sys.argv", ["mcmargin", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def reports_here(root):
    """The same reports, made in this process from the same files."""
    found, previous = [], None
    for folder in (root / "first", root / "second"):
        model = mm.load_model(folder / "model.npz")
        policy = mm.MarginPolicy.from_toml(folder / "policy.toml")
        scenarios = mm.simulate(model, horizons=(2,), paths=2000, seed=5, policy=policy)
        book = book_in(folder)
        market = mm.read_market(folder / "market.toml")
        previous = mm.margin(book, scenarios, market, policy, previous=previous)
        found.append(previous)
    return found


def book_in(folder):
    return mm.read_positions(
        folder / "positions.csv",
        instruments=mm.read_instruments(folder / "instruments.csv"),
        accounts=mm.read_accounts(folder / "accounts.csv"),
        orders=folder / "orders.csv",
        balances=folder / "balances.csv",
    )


@pytest.fixture(scope="module")
def expected(days):
    """What the same two reports give where they never left this process."""
    return mm.attribute(*reports_here(days))


def same(change, expected):
    pd.testing.assert_frame_equal(change.frame, expected.frame, check_exact=True)
    assert (change.previous_as_of, change.as_of) == (expected.previous_as_of, expected.as_of)


def test_what_lies_beside_is_found(days, expected):
    same(mm.attribute(days / "first/report.json", str(days / "second/report.json")), expected)
    moved = [name for name in CHANGE_PARTS if expected.frame[name].abs().sum() > 1e-9]
    assert {"positions", "market", "volatility"} <= set(moved)


def test_what_is_given_is_recognised(days, expected):
    """Objects or paths, one or several, in any order."""
    files = [days / name / "report.json" for name in ("first", "second")]
    read = [mm.MarginReport.from_json(path.read_text()) for path in files]
    folders = (days / "second", days / "first")
    models = [folder / "model.npz" for folder in folders]
    books = [book_in(folder) for folder in folders]
    same(mm.attribute(*read, model=models, book=books), expected)
    loaded = [mm.load_model(path) for path in models]
    positions = [folder / "positions.csv" for folder in folders]
    same(mm.attribute(*read, model=loaded, book=positions), expected)


def test_what_lacks_is_asked_for_in_one_line(days, tmp_path, monkeypatch, capsys):
    for name in ("first", "second"):
        shutil.copy(days / name / "report.json", tmp_path / f"{name}.json")
    first, second = (tmp_path / f"{name}.json" for name in ("first", "second"))
    with pytest.raises(mm.DataError) as told:
        mm.attribute(first, second)
    message = str(told.value)
    assert "\n" not in message
    for path in (first, second):
        lacks = "its model (give model=, or --model) and its book (give book="
        assert f"{path} cannot be computed again without {lacks}" in message
    # The second follows the first, which is at hand.
    assert "previous" not in message
    status, text, message = called(["why", first, second], monkeypatch, capsys)
    assert (status, text) == (2, "")
    assert len(message.splitlines()) == 1
    # A model of another day is not taken.
    shutil.copy(days / "second/model.npz", tmp_path / "model.npz")
    with pytest.raises(
        mm.DataError, match=r"first.json cannot .* its model.*second.json cannot .* its bo"
    ):
        mm.attribute(first, second)
    first.unlink()
    with pytest.raises(
        mm.DataError, match=r"cannot .* without .* its own previous report, of 2020-01-01T"
    ):
        mm.attribute(second, second)


def test_an_altered_report_is_refused(days, tmp_path):
    folder = tmp_path / "second"
    shutil.copytree(days / "second", folder)
    shutil.copytree(days / "first", tmp_path / "first")
    fields = json.loads((folder / "report.json").read_text())
    fields["accounts"][0]["unrounded"] += 1.0
    (folder / "report.json").write_text(json.dumps(fields))
    with pytest.raises(mm.McMarginError, match=r"second.report.json: .*"):
        mm.attribute(tmp_path / "first/report.json", folder / "report.json")


@pytest.fixture
def why(days, monkeypatch, capsys):
    monkeypatch.chdir(days)
    return lambda *arguments: called(
        ["why", "first/report.json", "second/report.json", *arguments], monkeypatch, capsys
    )


def test_why_prints_a_table_and_a_chart(why, expected):
    status, text, message = why()
    assert (status, message) == (0, "")
    assert "Why margins changed, 2020-01-01 to 2020-01-02" in text
    frame = expected.frame.set_index("account")
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split("[│┃]", line)]
        if len(cells) > 3 and cells[1].endswith("(USD)"):
            row = frame.loc[cells[1].removesuffix(" (USD)")]
            amounts = [float(cell.replace(",", "")) for cell in cells[2:-1]]
            parts = [row[name] for name in CHANGE_PARTS if frame[name].any()]
            told = [row["before"], *parts, row["after"], row["after"] - row["before"]]
            assert amounts == pytest.approx(told, abs=0.00501)
    total = expected.total()
    assert f"from {total['before']:,.2f} to {total['after']:,.2f} USD" in text
    chart = text[text.index("All accounts together") :].splitlines()[1:]
    assert [line.split()[0] for line in chart] == [*parts_of(expected), "change"]
    assert all("━" in line for line in chart)


def parts_of(change):
    return [name for name in CHANGE_PARTS if change.frame[name].any()]


def test_why_writes_what_its_output_is_named(why, expected, tmp_path):
    for ending in ("json", "csv", "html", "png", "txt"):
        path = tmp_path / f"why.{ending}"
        status, text, message = why("-o", path)
        assert (status, text, message) == (0, "", f"Wrote {path}.\n")
    fields = json.loads((tmp_path / "why.json").read_text())
    assert fields["schema"] == "mcmargin.change/1"
    assert fields["accounts"] == expected.frame.to_dict("records")
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "why.csv"), expected.frame, check_exact=True
    )
    with Image.open(tmp_path / "why.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 200
    page = (tmp_path / "why.html").read_text(encoding="utf-8")
    assert page.count('<ol class="steps') == 1 + len(expected.frame)
    assert "<script" not in page
    assert "default-src 'none'" in page
    status, _, message = why("-o", "first/report.json")
    assert status == 2
    assert "is read, too, and would be overwritten" in message


def test_files_that_are_given(days, why, expected, tmp_path, monkeypatch, capsys):
    """Each once for both reports, or twice; those of a book go with its positions."""
    options = [
        *("--model", "first/model.npz", "--model", "second/model.npz"),
        *("--positions", "first/positions.csv", "--positions", "second/positions.csv"),
    ]
    for name in ("instruments", "accounts", "orders", "balances"):
        options += [f"--{name}", f"first/{name}.csv"]
    for day in ("first", "second"):
        shutil.copy(days / day / "report.json", tmp_path / f"{day}.json")
    reports = [tmp_path / "first.json", tmp_path / "second.json"]
    status, text, message = called(
        ["why", *reports, *options, "--format", "csv"], monkeypatch, capsys
    )
    assert (status, message) == (0, "")
    (tmp_path / "given.csv").write_text(text)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "given.csv"), expected.frame, check_exact=True
    )
    status, _, message = why("--accounts", "first/accounts.csv")
    assert status == 2
    assert "give --positions too" in message
    status, _, message = why("--positions", *["first/positions.csv", "--positions"] * 2,
                             "first/positions.csv")  # fmt: skip
    assert status == 2
    assert "two reports take at most two files of a kind" in message


def test_a_previous_report_is_needed_only_where_margins_go_by_it(days, tmp_path, monkeypatch):
    """Three evenings of a job without a buffer: the first report is not there any more."""
    for name in FILES:
        shutil.copy(days / "second" / name, tmp_path)
    (tmp_path / "policy.toml").write_text("version = 1\nhorizon = 2\n")
    for name in ("first", "second"):
        shutil.copy(days / name / "model.npz", tmp_path / f"{name}.npz")
    monkeypatch.chdir(tmp_path)
    for at, model in enumerate(("first", "second", "second")):
        followed = ["--previous", f"{at - 1}.json"] if at else []
        given = ("margin", f"{model}.npz", *BOOK[1:], *followed, "-o", f"{at}.json")
        assert status_of(*given, patch=monkeypatch) == 0
    (tmp_path / "0.json").unlink()
    change = mm.attribute("1.json", "2.json").frame
    assert change["after"].tolist() == pytest.approx(change["before"].tolist())


def test_a_book_that_is_given_is_in_the_currency_of_the_reports_market(
    tmp_path, monkeypatch, capsys
):
    """Accounts without a file of them were read in USD, whatever the market was in."""
    for name in ("files", "reports"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "files")
    make_model(("garch", "garch"), "normal", "gaussian").save("model.npz")
    market = 'as_of = 2020-01-01\ncurrency = "EUR"\nspot = { a0 = 100, a1 = 100 }\n'
    (tmp_path / "files" / "market.toml").write_text(market)
    options = ["--model", "model.npz"]
    for name, quantity in (("first", 2), ("second", 4)):
        positions = f"{name}.csv"
        (tmp_path / "files" / positions).write_text(
            f"account,instrument,quantity\nx,a0,{quantity}\n"
        )
        made = ["margin", "model.npz", positions, "--market", "market.toml", "--paths", "2000"]
        assert status_of(*made, "-o", f"../reports/{name}.json", patch=monkeypatch) == 0
        options += ["--positions", positions]
    capsys.readouterr()
    reports = [f"../reports/{name}.json" for name in ("first", "second")]
    status, text, message = called(["why", *reports, *options], monkeypatch, capsys)
    assert (status, message) == (0, "")
    assert "EUR" in text

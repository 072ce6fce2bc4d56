"""The command line's backtests: written, explained, run, interrupted, and given wrong input."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import mcmargin as mm
from mcmargin.backtests.competing import ModelSpec
from mcmargin.backtests.margin_at import margin_at
from tests.helpers.commands import called

PLAN = """
prices = "prices.csv"
output = "results"
seed = 7
horizons = [1]
levels = [0.99]
window = 150
refit_every = 25
paths = 500
each_asset = true
[models.normal]
kind = "ewma_normal"
[models.past]
kind = "historical_simulation"
bars = 120
"""


@pytest.fixture
def folder(tmp_path):
    moves = 0.01 * np.random.default_rng(3).standard_normal((250, 2))
    closes = pd.DataFrame(
        100.0 * np.cumprod(1.0 + moves, axis=0),
        pd.date_range("2020-01-01", periods=250, name="date"),
        ["a", "b"],
    )
    closes.to_csv(tmp_path / "prices.csv")
    (tmp_path / "backtest.toml").write_text(PLAN)
    return tmp_path


@pytest.fixture
def command(monkeypatch, capsys):
    return lambda *arguments: called(("backtest", *arguments), monkeypatch, capsys)


def test_a_backtest_is_run_from_a_file_and_again_from_what_is_done(command, folder):
    status, out, err = command("run", folder / "backtest.toml", "--jobs", "1")
    assert status == 0, err
    assert "99 % over 1 bar: best is" in out
    table = pq.read_table(folder / "results" / "backtest.parquet").to_pandas()
    assert len(table) == 2 * 4 * 99
    months = pd.read_csv(folder / "results" / "monthly.csv", parse_dates=["month"])
    assert months["observations"].sum() == 2 * 4 * 99
    beyond = -table["profit_and_loss"] > table["margin"]
    by_month = beyond.groupby(table["date"].dt.strftime("%Y-%m")).sum()
    counted = months.groupby(months["month"].dt.strftime("%Y-%m"))["exceptions"].sum()
    assert counted.to_dict() == by_month.to_dict()
    page = (folder / "results" / "backtest.html").read_text()
    assert "<script" not in page
    assert "Did the margins cover?" in page
    before = (folder / "results" / "backtest.parquet").read_bytes()
    done = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")}
    assert command("run", folder / "backtest.toml", "--jobs", "1")[0] == 0
    assert (folder / "results" / "backtest.parquet").read_bytes() == before
    assert (folder / "results" / "backtest.html").read_text() == page
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")} == done


def test_a_changed_file_does_not_take_the_windows_of_another(command, folder):
    assert command("run", folder / "backtest.toml", "--jobs", "1")[0] == 0
    (folder / "backtest.toml").write_text(PLAN.replace("seed = 7", "seed = 8"))
    status, _, err = command("run", folder / "backtest.toml")
    assert status == 2
    assert "other arguments" in err


def test_a_file_to_start_from_is_written_and_explained(command, tmp_path):
    path = tmp_path / "backtest.toml"
    assert command("init", "-o", path)[0] == 0
    status, out, _ = command("check", path)
    assert status == 0
    assert "Each asset alone is a portfolio" in out
    assert command("init")[1] == path.read_text()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("window = 150", "window = 400", "a window of 400 returns"),
        ("refit_every = 25", "refit_every = 0", "refit_every: must be 1 or more"),
        ('prices = "prices.csv"', 'prices = "none.csv"', "none.csv"),
        ("each_asset = true", "[portfolios.x]\nc = 1.0", "no prices of that"),
        ("window = 150", "window = 50", "window must be an integer of 100"),
    ],
)
def test_wrong_input_is_one_clear_line(command, folder, before, after, words):
    (folder / "backtest.toml").write_text(PLAN.replace(before, after))
    status, _, err = command("run", folder / "backtest.toml")
    assert status == 2
    assert words in err
    assert len(err.strip().split("\n")) == 1
    assert not (folder / "results" / "backtest.parquet").exists()


def test_a_folder_that_cannot_be_written_is_told_before_any_work(command, folder):
    (folder / "results").write_text("mine")
    status, _, err = command("run", folder / "backtest.toml")
    assert status == 2
    assert "cannot be written" in err
    assert (folder / "results").read_text() == "mine"


def test_the_margin_of_a_past_date(folder, monkeypatch, capsys):
    (folder / "positions.csv").write_text("account,instrument,quantity\nx,a,2\n")

    def margin(*options):
        given = ("simulate-margin", folder / "prices.csv", folder / "positions.csv")
        quick = ("--volatility", "ewma", "--innovations", "normal", "--dependence", "gaussian")
        return called((*given, "--paths", "3000", *quick, *options), monkeypatch, capsys)

    status, _, err = margin("--date", "2020-07-01", "-o", folder / "then.json")
    assert status == 0, err
    report = mm.MarginReport.from_json((folder / "then.json").read_text())
    assert report.as_of[:10] == "2020-07-01"
    frame = pd.read_csv(folder / "prices.csv", index_col=0, parse_dates=True)
    wanted = margin_at(
        "2020-07-01",
        mm.read_positions(folder / "positions.csv"),
        mm.PriceHistory.from_frame(frame),
        ModelSpec("ewma", "normal", "gaussian"),
        mm.MarginPolicy(horizon=2),
        paths=3000,
        seed=7,
    )
    assert report.account("x").margin == wanted.account("x").margin
    status, _, err = margin("--date", "2019-07-01")
    assert status == 2
    assert "no close is known by 2019-07-01" in err
    status, out, _ = margin("--date", "2020-07-01", "--format", "csv")
    assert status == 0
    assert out.startswith("account,")

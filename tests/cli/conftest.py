"""Folders and calls of the command line that several modules share."""

import pytest

from mcmargin.demo import demo_prices
from tests.helpers.commands import B, M, R, S, called, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Prices, newer prices, positions, and a model that the command calibrated from the first."""
    folder = tmp_path_factory.mktemp("cli")
    frame = demo_prices().to_frame().loc["2014":]
    frame.iloc[:-5].to_csv(folder / "prices.csv")
    frame.to_csv(folder / "newer.csv")
    (folder / "positions.csv").write_text("account,instrument,quantity\nx,sp500,2\nx,wti,-30\n")
    done = run(
        *("calibrate", "prices.csv", "-o", "model.npz", "--volatility", "ewma"),
        *("--innovations", "t", "--jobs", 1),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "dates lost" in done.stderr
    return folder


@pytest.fixture(scope="module")
def everything(folder):
    """A folder with a file of every kind."""
    (folder / "dir").mkdir()
    (folder / "dir.csv").mkdir()
    for arguments in (
        ("margin", M, B, "--paths", 3000, "--format", "json", "-o", R),
        ("simulate", M, "-o", S, "--paths", 2048),
    ):
        done = run(*arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def call(folder, monkeypatch, capsys):
    """Run a command in the module's folder: its status, stdout and stderr."""
    monkeypatch.chdir(folder)
    return lambda *arguments: called(arguments, monkeypatch, capsys)

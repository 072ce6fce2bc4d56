"""What the tests of several commands share: folders with files, and calls of commands in them."""

import pytest

from tests.helpers.commands import called, run
from tests.helpers.derivatives import write_derivatives


@pytest.fixture(scope="session")
def everything(tmp_path_factory):
    """A folder with a file of every kind, which commands have made."""
    from mcmargin.demo import demo_prices

    folder = tmp_path_factory.mktemp("cli")
    frame = demo_prices().to_frame().loc["2014":]
    frame.iloc[:-5].to_csv(folder / "prices.csv")
    frame.to_csv(folder / "newer.csv")
    (folder / "positions.csv").write_text("account,instrument,quantity\nx,sp500,2\nx,wti,-30\n")
    (folder / "dir").mkdir()
    (folder / "dir.csv").mkdir()
    calibrate = ("calibrate", "prices.csv", "-o", "model.npz", "--volatility", "ewma")
    margin = ("margin", "model.npz", "positions.csv", "--paths", 3000, "-o", "r.json")
    simulate = ("simulate", "model.npz", "-o", "scenarios.npz", "--paths", 2048)
    for arguments in ((*calibrate, "--innovations", "t", "--jobs", 1), margin, simulate):
        done = run(*arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        if arguments[0] == "calibrate":
            assert "dates lost" in done.stderr
    return folder


@pytest.fixture(scope="session")
def derivatives(tmp_path_factory):
    """A folder with the files of a book of derivatives."""
    folder = tmp_path_factory.mktemp("derivatives")
    write_derivatives(folder)
    return folder


@pytest.fixture
def call_in(monkeypatch, capsys):
    """Go to a folder; the function that is returned runs a command there."""

    def call_in(folder):
        monkeypatch.chdir(folder)
        return lambda *arguments: called(arguments, monkeypatch, capsys)

    return call_in


@pytest.fixture
def call(folder, call_in):
    """Run a command in the module's own folder."""
    return call_in(folder)

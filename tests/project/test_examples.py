"""The commands in the READMEs of the examples run, and their results make sense."""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from tests.helpers.commands import called, run

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


def commands_of(folder):
    """The commands of a README: its indented lines; a backslash at the end continues one."""
    text = (folder / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^ {4}(\S.*)$", text, flags=re.MULTILINE)]


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the examples, without the files that an earlier run may have left."""
    target = tmp_path_factory.mktemp("examples") / "examples"
    left = shutil.ignore_patterns("prices.csv", "model.npz", "report.json", "*.parquet")
    shutil.copytree(EXAMPLES, target, ignore=left)
    return target


@pytest.fixture
def outputs(copied, monkeypatch, capsys):
    """Run an example; return the text that each mcmargin command printed, by its name."""

    def outputs(name):
        monkeypatch.chdir(copied / name)
        printed = {}
        for program, *arguments in commands_of(copied / name):
            if program == "python":
                subprocess.run([sys.executable, *arguments], check=True)
                continue
            assert program == "mcmargin"
            if "report.json" in arguments and arguments[0] == "margin":
                arguments += ["--html", "page.html"]
            status, text, message = called(arguments, monkeypatch, capsys)
            assert status == 0, message
            printed.setdefault(arguments[0], text)
        assert printed["verify"] == "equal\n"
        report = mm.MarginReport.from_json(Path("report.json").read_text())
        pages = Path("page.html").read_text(encoding="utf-8"), report.to_html()
        for account in report.accounts:
            # One page is of the process that margined, and one of the report that was read.
            assert all(f">{account.account}" in page for page in pages)
            assert account.margin > 0
            assert account.account in printed["margin"]
            shares = sum(each.contribution for each in account.contributions)
            assert shares == pytest.approx(account.expected_shortfall, rel=1e-9, abs=1e-6)
        margins = dict(zip(report.figures["account"], report.figures["margin"], strict=True))
        return printed, report, margins

    return outputs


def test_every_folder_is_listed_and_has_a_test():
    listed = re.findall(r"^- \[(\w+)\]", (EXAMPLES / "README.md").read_text(), flags=re.MULTILINE)
    assert sorted(listed) == FOLDERS
    assert set(FOLDERS) == {"multi_currency", "options", "perpetual", "spot"}


def test_spot_shows_that_hedges_and_diversification_lower_margins(outputs):
    _, report, margins = outputs("spot")
    assert margins["index spread"] < 0.25 * margins["long equities"]
    parts = margins["long equities"] + margins["short oil"]
    assert margins["long equities"] < margins["diversified"] < parts
    # Over two days at 99 %, shares and oil lose between 2 and 30 % of their value.
    ratio = report.figures["margin"] / report.figures["gross_exposure"]
    assert ratio.between(0.01, 0.3).all()


def test_perpetual_shows_what_hedges_leave(outputs):
    printed, report, margins = outputs("perpetual")
    for hedged, less_than in (("basis", 0.2), ("carry", 0.2), ("pair", 0.95)):
        assert margins[hedged] < less_than * margins["long"]
    # Positions are margined alone: more than the long one, and more than the pair.
    assert margins["isolated"] > margins["long"] + 0.9 * margins["pair"]
    maker = report.account("maker")
    assert maker.open_orders > 5 * maker.expected_shortfall
    # Stressed funding is 5 bp and expected funding 1 bp, three times a day, on 350,000.
    assert report.account("long").stressed_funding == pytest.approx(3 * 4e-4 * 350_000)
    first = printed["what-if"].splitlines()[1].split()
    assert first[0] == "margin"
    before, after = (float(cell.replace(",", "")) for cell in first[1:3])
    assert before == pytest.approx(margins["long"], abs=0.005)
    assert after < 0.2 * before
    # Equity of 100,000 carries two to three times the 10 that are held.
    assert 10 < float(printed["max-order"]) < 20
    # Isolated positions cannot cover one another; the pair's margin is about 31,000 dollars.
    states = {"pair": "margin call", "isolated": "liquidation"}
    for line in printed["status"].splitlines()[1:]:
        assert states.get(line.split()[0], "healthy") in line


def test_options_shows_what_hedges_leave(outputs):
    printed, report, margins = outputs("options")
    for hedged, naked in (
        *(("condor", "straddle"), ("covered", "naked"), ("insured", "futures")),
        ("calendar", "naked"),
    ):
        assert margins[hedged] < 0.75 * margins[naked]
    # The condor's wings are 200 points wide, with 100 units in each of 10 contracts.
    assert margins["condor"] < 200_000
    # Options settle after two bars, a horizon that is among 2 and 3 already.
    assert report.plan.horizons == (2, 3)
    assert report.horizons == {"spot": 2, "perpetual": 2, "future": 2, "option": 3}
    assert "SPX-JUN-C2600" in printed["greeks"]


def test_options_move_with_vix(outputs, copied):
    """Without the line that names VIX, the index's own variance moves the surface, and by more.

    In a fit with few degrees of freedom, variance stays high after a crash for longer than VIX
    does. The margin of a short straddle is then at least half as large again.
    """
    outputs("options")
    folder = copied / "options"
    market = mm.read_market(folder / "market.toml")
    book = mm.read_positions(
        folder / "positions.csv", instruments=mm.read_instruments(folder / "instruments.csv")
    )
    scenarios = mm.simulate(mm.load_model(folder / "model.npz"), horizon=2, paths=20_000, seed=7)
    policy = mm.MarginPolicy(horizon=2)
    driven, own = (
        mm.margin(book, scenarios, each, policy).account("straddle")
        for each in (market, replace(market, volatility_asset={}))
    )
    error = np.hypot(own.expected_shortfall_error, 1.5 * driven.expected_shortfall_error)
    assert own.margin - 1.5 * driven.margin > 3 * error


def test_multi_currency_shows_what_netting_saves(outputs):
    _, report, margins = outputs("multi_currency")
    owners = dict(zip(report.owners["owner"], report.owners["margin"], strict=True))
    assert owners["netted fund"] < 0.25 * owners["gross fund"]
    assert owners["gross fund"] == pytest.approx(margins["north"] + margins["south"])
    currencies = dict(zip(report.figures["account"], report.figures["currency"], strict=True))
    own = [currencies[name] for name in ("treasury", "miner", "trader")]
    assert own == ["EUR", "btc", "USDT"]
    # The miner has 10 coins; contracts of 300,000 dollars hedge all of them except 1.43.
    assert report.account("miner").net_exposure == pytest.approx(10 - 3000 * 100 / 35_000)
    # Jumps of 30 % are in 0.2 % of all paths, a fifth of the tail: 6 % of 300,000 dollars.
    jump = 0.2 * 0.3 * 300_000 / 1.186
    assert jump < margins["treasury"] < 2 * jump
    pd.testing.assert_series_equal(
        pd.read_parquet("margins.parquet")["margin"], report.figures["margin"]
    )


def test_an_example_in_processes_of_its_own(copied, outputs):
    outputs("spot")
    done = run(*commands_of(copied / "spot")[2][1:], cwd=copied / "spot")
    assert (done.returncode, done.stderr) == (0, "")
    assert "diversified (USD)" in done.stdout


def test_what_examples_write_is_ignored_by_git():
    ignored = (EXAMPLES.parent / ".gitignore").read_text().split()
    for name in ("prices.csv", "model.npz", "report.json", "margins.parquet"):
        assert any(Path(f"examples/x/{name}").match(pattern) for pattern in ignored), name

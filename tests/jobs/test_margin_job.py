"""The margin job: the same report as its steps give one by one, and no screen."""

import json
import subprocess
import sys

import pytest

import mcmargin as mm
from mcmargin.books.files_of_book import BookFiles
from mcmargin.jobs.margin_job import margin_from_files
from tests.helpers.models import make_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    make_model(("garch", "garch"), "normal", "gaussian").save(folder / "model.npz")
    (folder / "positions.csv").write_text("account,instrument,quantity\nx,P,2\ny,S,-3\n")
    (folder / "instruments.csv").write_text(
        "name,product,underlying,expiry\nP,perpetual,a0,\nS,spot,a1,\nF,future,a0,2020-01-03\n"
    )
    (folder / "market.toml").write_text("as_of = 2020-01-01\nspot = { a0 = 100, a1 = 100 }\n")
    return folder


@pytest.fixture
def files(folder):
    names = ("positions.csv", "instruments.csv", "market.toml")
    return BookFiles(*(folder / name for name in names))


def figures(report):
    fields = json.loads(report.to_json())
    return {name: fields[name] for name in ("accounts", "owners", "plan", "fingerprints")}


def test_the_report_is_that_of_the_steps_one_by_one(folder, files):
    policy = mm.MarginPolicy(horizon=2, procyclicality=mm.Procyclicality(buffer=0.25))
    model, market = mm.load_model(folder / "model.npz"), mm.read_market(files.market)
    book = mm.read_positions(files.positions, instruments=mm.read_instruments(files.instruments))
    scenarios = mm.simulate(model, horizons=(2,), paths=2000, seed=3, policy=policy)
    first = mm.margin(book, scenarios, market, policy)
    second = mm.margin(book, scenarios, market, policy, previous=first)
    (folder / "first.json").write_text(first.to_json())
    for expected, previous in ((first, None), (second, folder / "first.json")):
        report = margin_from_files(
            files, folder / "model.npz", policy, previous, paths=2000, seed=3
        )
        assert figures(report) == figures(expected)


def test_horizons_are_those_of_what_is_held_or_of_all_that_is_known(folder, files):
    model, policy = folder / "model.npz", mm.MarginPolicy(horizon=5)
    plans = [
        margin_from_files(files, model, policy, paths=2000, every=every).plan
        for every in (False, True)
    ]
    # The future, which nobody holds, settles before the horizon ends.
    assert [plan.horizons for plan in plans] == [(5,), (2, 5)]


def test_steps_are_told_in_their_order(folder, files):
    steps = []

    def progress(step):
        return lambda done, total: steps.append((step, done == total))

    margin_from_files(files, folder / "model.npz", mm.MarginPolicy(), paths=2000, progress=progress)
    assert list(dict.fromkeys(step for step, _ in steps)) == ["Simulating", "Margining"]
    assert steps[-1] == ("Margining", True)


def test_it_needs_no_screen():
    code = (
        "import sys, mcmargin.jobs.margin_job\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('typer', 'rich', 'click')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

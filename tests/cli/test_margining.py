"""The command `margin`, and `verify` of what it wrote."""

import json
import sys

import numpy as np
import pytest

import mcmargin as mm
from tests.helpers.commands import B, M, R, called, run


def test_margin_and_verify(folder):
    done = run(
        "margin", "model.npz", "positions.csv", "--paths", 5000, "--format", "json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["accounts"][0]["margin"] > 0
    notes = report["calibration"]
    assert (notes["assets"], notes["refused"]) == (3, {})
    assert "dates lost" in notes["dates"]
    (folder / "report.json").write_text(done.stdout)
    again = run("verify", "report.json", "model.npz", "positions.csv", cwd=folder)
    assert (again.returncode, again.stdout) == (0, "equal\n")
    report["accounts"][0]["expected_shortfall"] *= 1.01
    (folder / "forged.json").write_text(json.dumps(report))
    forged = run("verify", "forged.json", "model.npz", "positions.csv", cwd=folder)
    assert (forged.returncode, forged.stdout) == (1, "different\n")
    assert "expected_shortfall of account" in forged.stderr


def test_csv_and_table(folder):
    csv = run(
        "margin", "model.npz", "positions.csv", "--paths", 5000, "--format", "csv", cwd=folder
    )
    assert csv.stdout.startswith("account,owner,currency,margin,")
    table = run("margin", "model.npz", "positions.csv", "--paths", 5000, cwd=folder)
    assert "x (USD)" in table.stdout
    assert "dates lost" in " ".join(table.stdout.split())


def test_output_is_of_the_form_that_its_name_ends_in(folder, monkeypatch, capsys):
    """Unless a format is asked for."""
    monkeypatch.chdir(folder)
    command = ("margin", M, B, "--paths", 5000)

    def written(name, *options):
        status, output, said = called((*command, *options, "-o", name), monkeypatch, capsys)
        assert (status, output, said) == (0, "", f"Wrote {name}.\n")
        return (folder / name).read_text(encoding="utf-8")

    text = written("as.json")
    report = mm.MarginReport.from_json(text)
    csv = report.to_frame().to_csv(index=False)
    assert written("as.CSV") == csv
    assert written("as.html").startswith("<!doctype html>")
    assert written("as.txt") == written("as") == f"{report}\n"
    assert written("csv.json", "--format", "csv") == csv
    assert written("csv.html", "--format", "csv") == csv
    assert written("table.json", "--format", "table") == f"{report}\n"


def test_a_page_needs_jinja2_before_the_work(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    status, _, said = called(("margin", "no.npz", B, "-o", "needs.html"), monkeypatch, capsys)
    assert (status, "jinja2" in said) == (2, True)


def test_simulate_writes_every_horizon(folder):
    done = run(
        *("simulate", "model.npz", "-o", "s.npz", "--paths", 3000),
        *("--horizon", 1, "--horizon", 5),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "s.npz") as scenarios:
        assert scenarios["returns"].shape == (2, 3, 3000)


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

"""The application: statuses, messages, settings and progress of every command."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys

import pytest

import mcmargin as mm
from mcmargin.engines import cupy_devices
from tests.helpers.commands import called

M, P, B, R, S = "model.npz", "newer.csv", "positions.csv", "r.json", "scenarios.npz"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "mcmargin", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"mcmargin {mm.__version__}\n"


def test_version(monkeypatch, capsys):
    assert called(("--version",), monkeypatch, capsys) == (0, f"mcmargin {mm.__version__}\n", "")


WRONG = {
    # The output is checked before anything is read or fitted.
    ("calibrate", "none.csv", "-o", "none/m.npz"): "none/m.npz: cannot be written (no folder none",
    ("calibrate", "none.csv", "-o", "dir"): "dir: cannot be written (it exists and is not a file)",
    ("update", "none.npz", P, "-o", "none/m.npz"): "no folder none; make it first",
    ("simulate", "none.npz", "-o", "none/s.npz"): "no folder none; make it first",
    ("margin", "none.npz", B, "-o", "none/r.json"): "no folder none; make it first",
    ("calibrate", P, "-o", P): "newer.csv: is read, too, and would be overwritten",
    ("calibrate", P, "-o", f"dir/../{P}"): "is read, too, and would be overwritten",
    ("update", M, P, "-o", P): "newer.csv: is read, too",
    ("simulate", M, "-o", M): "model.npz: is read, too",
    ("margin", M, B, "-o", B): "positions.csv: is read, too",
    ("margin", M, B, "-o", M): "model.npz: is read, too",
    ("margin", M, B, "-o", "-"): "leave the option out, or name /dev/stdout",
    ("simulate", M, "-o", "-"): "'-' is not taken for standard output; name /dev/stdout",
    # Files that are missing, or of another kind.
    ("margin", "none.npz", B): "none.npz: cannot be read (No such file or directory)",
    ("margin", M, "none.csv"): "none.csv: cannot be read (No such file or directory)",
    ("calibrate", B, "-o", "n.npz"): "positions.csv: row 2, column 'instrument'",
    ("verify", P, M, B): "newer.csv: not a margin report",
    ("calibrate", "dir", "-o", "n.npz"): "dir: cannot be read (Is a directory)",
    ("calibrate", "dir.csv", "-o", "n.npz"): "dir.csv: cannot be read (Is a directory)",
    ("calibrate", M, "-o", "n.npz"): "model.npz: a binary file; give CSV text",
    ("calibrate", R, "-o", "n.npz"): "r.json: JSON, such as a report; give CSV text",
    ("calibrate", P, "-o", "n.npz", "--warm-start", P): "newer.csv: not a model file that",
    ("calibrate", P, "-o", "n.npz", "--warm-start", "dir"): "dir: cannot be read (Is a directory)",
    ("update", P, M, "-o", "n.npz"): "newer.csv: not a model file that 'calibrate' wrote",
    ("update", M, B, "-o", "n.npz"): "positions.csv: row 2, column 'instrument'",
    ("update", S, P, "-o", "n.npz"): "scenarios.npz: not a model file (it has no 'checksum')",
    ("margin", B, M): "model.npz: a binary file; give CSV text",
    ("margin", M, P): "exactly account, instrument, quantity are needed",
    ("margin", M, "dir"): "dir: cannot be read (Is a directory)",
    ("margin", "dir", B): "dir: cannot be read (Is a directory)",
    ("margin", R, B): "r.json: not a model file that 'calibrate' wrote",
    ("verify", "none.json", M, B): "none.json: cannot be read (No such file or directory)",
    ("verify", "dir", M, B): "dir: cannot be read (Is a directory)",
    ("verify", M, R, B): "model.npz: not a margin report",
    ("verify", R, B, M): "positions.csv: not a model file that 'calibrate' wrote",
    # Numbers and names out of their range.
    ("margin",): "Missing argument",
    ("calibrate", P, "-o", "n.npz", "--jobs", "0"): "--jobs",
    ("margin", M, B, "--paths", "0"): "paths must be an integer of 1 or more, not 0",
    ("margin", M, B, "--horizon", "0"): "horizon must be an integer of 1 or more, not 0",
    ("margin", M, B, "--product-horizon", "options=5"): "mcmargin: --product-horizon options: unkn",
    ("margin", M, B, "--level", "99"): "level must lie between 0.5 and 1 (0.99 is 99 %)",
    ("margin", M, B, "--format", "xml"): "xml",
    ("margin", M, B, "--paths", "-5"): "paths must be an integer of 1 or more, not -5",
    ("margin", M, B, "--paths", "1e5"): "--paths",
    ("margin", M, B, "--paths", "10"): "give at least 100",
    ("margin", M, B, "--paths", "4000000000000"): "out of memory",
    ("margin", M, B, "--horizon", "1.5"): "--horizon",
    ("margin", M, B, "--level", "high"): "--level",
    ("margin", M, B, "--seed", "-1"): "seed must be an integer of 0 or more",
    ("margin", M, B, "--engine", "abacus"): "engine 'abacus' is unknown; choose one of",
    ("margin", M, B, "--precision", "half"): "precision must be 'single' or 'double'",
    ("verify", R, M, B, "--engine", "abacus"): "engine 'abacus' is unknown; choose one of",
    ("simulate", M, "-o", "n.npz", "--horizon", "5", "--horizon", "1"): "horizons must increase",
    ("calibrate", P, "-o", "n.npz", "--volatility", "arma"): "'arma' is unknown; choose one of",
    (
        "calibrate",
        P,
        "-o",
        "n.npz",
        "--innovations",
        "cauchy",
    ): "'cauchy' are unknown; choose one of",
    ("calibrate", P, "-o", "n.npz", "--dependence", "vine"): "'vine' is unknown; choose one of",
    ("calibrate", P, "-o", "n.npz", "--dependence", "historical"): "innovations in ('empirical',)",
    ("marginn",): "Did you mean 'margin'?",
    ("margin", M, B, "--nope"): "No such option",
    ("info", "more"): "unexpected extra argument",
}


@pytest.mark.parametrize("arguments", list(WRONG), ids=" ".join)
def test_wrong_input_is_status_2_and_changes_no_file(everything, arguments, monkeypatch, capsys):
    monkeypatch.chdir(everything)
    before = contents(everything)
    status, output, message = called(arguments, monkeypatch, capsys)
    assert (status, output) == (2, ""), message
    assert WRONG[arguments] in message
    assert contents(everything) == before


@pytest.mark.parametrize("arguments", [("margin", M, B, "--paths", "0"), ("margin", B, M)])
def test_debug_shows_where_any_error_came_from(everything, arguments, monkeypatch, capsys):
    monkeypatch.chdir(everything)
    plain = called(arguments, monkeypatch, capsys)
    monkeypatch.setenv("MCMARGIN_DEBUG", "1")
    status, output, message = called(arguments, monkeypatch, capsys)
    assert (status, output) == (2, "") == plain[:2]
    assert message.startswith("Traceback (most recent call last):\n")
    # The last line is the one that is printed without the setting.
    assert message.endswith(f"\n{plain[2]}")
    assert "Traceback" not in plain[2]


@pytest.mark.skipif(cupy_devices.missing() is None, reason="there is a CUDA device")
def test_an_engine_that_is_not_here_is_never_replaced_in_silence(everything, monkeypatch, capsys):
    monkeypatch.chdir(everything)
    status, output, message = called(("margin", M, B, "--engine", "cupy"), monkeypatch, capsys)
    assert (status, output) == (2, "")
    assert "engine 'cupy' cannot run here" in message
    assert "device none: " in called(("info",), monkeypatch, capsys)[1]


@pytest.mark.parametrize("command", [("margin", M, B), ("info",), ("verify", R, M, B)])
@pytest.mark.parametrize(
    ("variable", "value"), [("MCMARGIN_THREADS", "abc"), ("MCMARGIN_ENGINE", "abacus")]
)
def test_bad_settings_are_status_2(everything, command, variable, value, monkeypatch, capsys):
    monkeypatch.chdir(everything)
    monkeypatch.setenv(variable, value)
    status, output, message = called(command, monkeypatch, capsys)
    assert (status, output) == (2, ""), message
    assert value in message


def on_terminal(*arguments, cwd):
    """Run a command with a terminal as stderr; return its status, stdout and stderr."""
    screen, end = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "mcmargin.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=end,
        text=True,
        cwd=cwd,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(end)
        sent = b""
        # When the command has ended, reading from its terminal is an error.
        with contextlib.suppress(OSError):
            while piece := os.read(screen, 65536):
                sent += piece
        output = process.stdout.read()
    os.close(screen)
    return process.returncode, output, sent.decode()


def test_progress_is_one_line_that_goes_when_done(everything):
    command = ("margin", M, B, "--paths", 400_000, "--horizon", 10, "--format", "json")
    status, output, sent = on_terminal(*command, cwd=everything)
    assert status == 0
    assert json.loads(output)["plan"]["paths"] == 400_000
    plain = re.sub(r"\x1b\[[0-9;]*m", "", sent)
    assert re.search(r"Simulating \S+ +100% \d:\d\d:\d\d left", plain)
    assert "Margining" in plain
    # Every frame is drawn over the one before; the last is wiped, and the cursor is shown again.
    assert plain.count("\n") == 2
    assert plain.rpartition("\x1b[2K")[2] == ""
    assert plain.count("\x1b[?25l") == plain.count("\x1b[?25h") == 2


def test_the_demo_tells_its_fits_between_the_bars():
    status, output, sent = on_terminal("demo", cwd=None)
    assert status == 0
    assert "Margin at" in output
    assert (
        "Fits that were replaced: sp500: garch, t, as gjr with skewt innovations is not" in output
    )
    # The text is longer than the terminal's 100 columns, and is still sent as one line.
    told = r"5012 common dates .{60,} \(missing closes: sp500 185, nasdaq 185, wti 195\)\r\n"
    line = re.search(told, sent)
    assert line
    assert sent[: line.start()].endswith("\x1b[2K")
    assert sent[line.end() :].startswith("sp500: ")

"""The command line as a person or a job runs it: real processes, real files."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

import mcmargin as mm
from mcmargin.cli.app import app
from mcmargin.engines import cupy_devices
from tests.helpers.commands import B, M, P, R, S, called
from tests.helpers.terminal import on_terminal


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "mcmargin", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"mcmargin {mm.__version__}\n"


WRONG = {
    # Where the result should go is looked at before anything is read or fitted.
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
    # Files that are not there, or of another kind.
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
    # The one line is the same, and still the last.
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


def test_a_folder_that_takes_no_files(everything, tmp_path):
    """A disk mounted read-only for the command alone, or, for other users than root, a mode."""
    target = tmp_path / "sealed"
    target.mkdir(mode=0o555)
    command = ("mcmargin.cli", "calibrate", "none.csv", "-o", target / "n.npz")
    before = ()
    if os.geteuid() == 0:
        if not shutil.which("unshare"):
            pytest.skip("root writes anywhere, and unshare is not here to mount a sealed disk")
        mount = 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"'
        before = ("unshare", "--mount", "sh", "-c", mount, target)
    done = subprocess.run(
        [*map(str, before), sys.executable, "-m", *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
    )
    if before and "mount" in done.stderr:
        pytest.skip(f"no sealed disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 2
    assert done.stderr == (
        f"mcmargin: {target / 'n.npz'}: cannot be written (no permission in {target})\n"
    )


def test_progress_is_one_line_that_goes_when_done(everything):
    command = ("margin", M, B, "--paths", 400_000, "--horizon", 10, "--format", "json")
    status, output, sent = on_terminal(*command, cwd=everything)
    assert status == 0
    assert json.loads(output)["plan"]["paths"] == 400_000
    plain = re.sub(r"\x1b\[[0-9;]*m", "", sent)
    assert re.search(r"Simulating \S+ +100% \d:\d\d:\d\d left", plain)
    assert "Margining" in plain
    # Every frame is drawn over the last one, and the last is wiped, with the cursor back.
    assert plain.count("\n") == 2
    assert plain.rpartition("\x1b[2K")[2] == ""
    assert plain.count("\x1b[?25l") == plain.count("\x1b[?25h") == 2


def test_help_teaches_by_example(monkeypatch, capsys):
    _, text, _ = called(("--help",), monkeypatch, capsys)
    steps = ("calibrate prices.csv", "update model.npz", "margin model.npz", "verify report.json")
    places = [text.index(f"mcmargin {step}") for step in steps]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("command", "texts"),
    [
        ("calibrate", ("--jobs", "one a processor core", "default: gjr")),
        ("update", ("--provisional", "running bar")),
        ("margin", ("BARS", "0.99 is 99 %", "default: 100000", "account,instrument,quantity")),
        ("margin", ("--instruments", "--market", "--accounts", "--orders", "option=5")),
        ("simulate", ("BARS", "default: (2)", "default: 7")),
        ("verify", ("REPORT", "default: auto", "the report's prices")),
        ("what-if", ("BTC-PERP=+3", "--account", "required")),
        ("max-order", ("buy or sell", "--equity", "required")),
        ("greeks", ("--instruments", "required", "one unit of each instrument")),
        ("info", ()),
        ("demo", ()),
    ],
)
def test_help_of_a_command_has_an_example_and_defaults(command, texts, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    status, output, _ = called((command, "--help"), monkeypatch, capsys)
    assert status == 0
    assert f"Example: mcmargin {command}" in output
    for text in texts:
        assert text in output


def test_version(monkeypatch, capsys):
    assert called(("--version",), monkeypatch, capsys) == (0, f"mcmargin {mm.__version__}\n", "")


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
    ],
)
def test_a_signal_is_128_and_its_number_and_one_line(folder, sent, status, words):
    with contextlib.suppress(FileExistsError):
        os.mkfifo(folder / "pipe")
    with subprocess.Popen(
        [sys.executable, "-m", "mcmargin.cli", "verify", "pipe", "model.npz", "positions.csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        # A job in the background inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),
    ) as process:
        pipe = None
        # The pipe opens for writing once the command reads it: it is then inside its work.
        while pipe is None and process.poll() is None:
            try:
                pipe = os.open(folder / "pipe", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                time.sleep(0.01)
        process.send_signal(sent)
        try:
            output, message = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            # It came between Python's last look for signals and the read, which this ends.
            os.close(pipe)
            pipe = None
            output, message = process.communicate(timeout=60)
        if pipe is not None:
            os.close(pipe)
    assert (process.returncode, output, message) == (status, "", f"mcmargin: {words}\n")


def test_importing_the_package_loads_no_library():
    heavy = ("numpy", "scipy", "pandas", "arch", "cupy", "typer", "rich", "sklearn", "joblib")
    code = f"import sys, mcmargin; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


ROOT = typer.main.get_command(app)
WIDE = {"COLUMNS": "400", "TERMINAL_WIDTH": "400"}


def commands(group, path=()):
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


COMMANDS = dict(commands(ROOT))


def bare(text):
    """Letters and signs alone: no blanks, and none of the frames of the help."""
    return re.sub(r"[\s│╭╮╰╯─]", "", text)


@pytest.fixture(params=COMMANDS, ids=lambda path: " ".join(path) or "mcmargin")
def helped(request):
    done = CliRunner().invoke(app, [*request.param, "--help"], env=WIDE)
    assert done.exit_code == 0
    return COMMANDS[request.param], done.output


def test_every_word_is_shown(helped):
    """Words in brackets were taken for styles, and swallowed."""
    command, shown = helped
    assert bare(command.help) in bare(shown)
    for parameter in command.params:
        if text := getattr(parameter, "help", None):
            assert bare(text) in bare(shown), parameter.name


def test_paragraphs_flow(helped):
    """A sentence breaks where the screen ends, and not where the source's line did."""
    command, shown = helped
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    for paragraph in command.help.split("\n\n"):
        flowing = " ".join(paragraph.split())
        if len(flowing) < 380:
            assert flowing in lines

"""The command line as a person or a job runs it: real processes, real files."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.engines import cupy_devices
from tests.helpers.commands import called, run

M, P, B, R, S = "model.npz", "newer.csv", "positions.csv", "r.json", "scenarios.npz"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from mcmargin.demo import demo_prices

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


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "mcmargin", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"mcmargin {mm.__version__}\n"


def test_update_moves_the_model(folder):
    done = run("update", "model.npz", "newer.csv", "-o", "moved.npz", cwd=folder)
    assert done.returncode == 0, done.stderr
    old, new = (mm.load_model(folder / name) for name in ("model.npz", "moved.npz"))
    assert new.as_of > old.as_of


def test_simulate_writes_every_horizon(folder):
    done = run(
        *("simulate", "model.npz", "-o", "s.npz", "--paths", 3000),
        *("--horizon", 1, "--horizon", 5),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "s.npz") as scenarios:
        assert scenarios["returns"].shape == (2, 3, 3000)


@pytest.fixture(scope="module")
def everything(folder):
    """A folder with a file of every kind."""
    (folder / "dir").mkdir()
    (folder / "dir.csv").mkdir()
    for arguments in (
        (
            "margin",
            "model.npz",
            "positions.csv",
            "--paths",
            3000,
            "--format",
            "json",
            "-o",
            "r.json",
        ),
        ("simulate", "model.npz", "-o", "scenarios.npz", "--paths", 2048),
    ):
        done = run(*arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


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
    ("update", S, P, "-o", "n.npz"): "scenarios.npz: not a model file of mcmargin.model/2",
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


def test_info_names_each_device(machine, monkeypatch, capsys):
    status, output, _ = called(("info",), monkeypatch, capsys)
    assert status == 0
    assert "device 0 Pretended GPU\ndevice 1 Pretended GPU\nengine cupy\ndevices 0\n" in output
    monkeypatch.setenv("MCMARGIN_DEVICES", "1,0")
    assert "engine cupy\ndevices 1,0\n" in called(("info",), monkeypatch, capsys)[1]


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


@pytest.mark.parametrize(
    "command", [("margin", M, B, "--paths", 3000, "--format", "json"), ("info",)]
)
def test_a_reader_that_leaves_ends_it_quietly(everything, command):
    """As `| head -1` does: the pipe's other end is shut before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "mcmargin.cli", *map(str, command)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        cwd=everything,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_messages_never_go_to_stdout_not_even_where_stderr_is_closed(everything):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "mcmargin.cli", "margin", M, M],
        stdout=subprocess.PIPE,
        cwd=everything,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_full_disk_behind_stdout_is_status_1_and_one_line(everything):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mcmargin.cli", "info"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("mcmargin: OSError: [Errno 28] No space left on device")
    assert done.stderr.count("\n") == 1


def on_terminal(*arguments, cwd):
    """Status, stdout, and what a terminal behind stderr was sent."""
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
        # A terminal whose last user has gone reads as an error.
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
    # Every frame is drawn over the last one, and the last is wiped, with the cursor back.
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
    # Longer than the terminal's 100 columns, and sent as one line all the same.
    told = r"5012 common dates .{60,} \(missing closes: sp500 185, nasdaq 185, wti 195\)\r\n"
    line = re.search(told, sent)
    assert line
    assert sent[: line.start()].endswith("\x1b[2K")
    assert sent[line.end() :].startswith("sp500: ")


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


def test_info_names_versions():
    done = run("info")
    assert done.returncode == 0
    assert "numpy" in done.stdout


def test_importing_the_package_loads_no_library():
    heavy = ("numpy", "scipy", "pandas", "arch", "cupy", "typer", "rich", "sklearn", "joblib")
    code = f"import sys, mcmargin; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

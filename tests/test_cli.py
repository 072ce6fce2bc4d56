"""The command line as a person or a job runs it: real processes, real files."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import mcmargin as mm


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "mcmargin.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


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
    (folder / "report.json").write_text(done.stdout)
    again = run("verify", "report.json", "model.npz", "positions.csv", cwd=folder)
    assert (again.returncode, again.stdout) == (0, "equal\n")
    report["accounts"][0]["expected_shortfall"] *= 1.01
    (folder / "forged.json").write_text(json.dumps(report))
    forged = run("verify", "forged.json", "model.npz", "positions.csv", cwd=folder)
    assert (forged.returncode, forged.stdout) == (1, "different\n")
    assert "expected shortfall differs" in forged.stderr


def test_csv_and_table(folder):
    csv = run(
        "margin", "model.npz", "positions.csv", "--paths", 5000, "--format", "csv", cwd=folder
    )
    assert csv.stdout.startswith("account,currency,margin,")
    table = run("margin", "model.npz", "positions.csv", "--paths", 5000, cwd=folder)
    assert "x (USD)" in table.stdout


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("margin", "none.npz", "positions.csv"), "no such file"),
        (("margin", "model.npz", "none.csv"), "cannot be read"),
        (("margin", "positions.csv", "positions.csv"), "not a model file"),
        (("margin", "model.npz", "positions.csv", "--paths", "0"), "paths"),
        (("margin", "model.npz", "positions.csv", "--horizon", "0"), "horizon"),
        (("margin", "model.npz", "positions.csv", "--level", "99"), "level"),
        (("margin", "model.npz", "positions.csv", "--engine", "cupy"), "cupy"),
        (("margin", "model.npz", "positions.csv", "--format", "xml"), "xml"),
        (("calibrate", "positions.csv", "-o", "new.npz"), "positions.csv"),
        (("update", "model.npz", "prices.csv", "-o", "new.npz"), "newer"),
        (("verify", "prices.csv", "model.npz", "positions.csv"), "not a margin report"),
        (("calibrate", "prices.csv", "-o", "new.npz", "--jobs", "0"), "--jobs"),
        (("margin",), "Missing argument"),
    ],
)
def test_bad_input_is_status_2_without_a_traceback(folder, arguments, message):
    done = run(*arguments, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (folder / "new.npz").exists()


def test_an_interrupt_is_status_1_and_one_line(folder):
    os.mkfifo(folder / "pipe")
    with subprocess.Popen(
        [sys.executable, "-m", "mcmargin.cli", "verify", "pipe", "model.npz", "positions.csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        # A job in the background inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        pipe = None
        # The pipe opens for writing once the command reads it: it is then inside its work.
        while pipe is None and process.poll() is None:
            try:
                pipe = os.open(folder / "pipe", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, message = process.communicate(timeout=60)
        if pipe is not None:
            os.close(pipe)
    assert (process.returncode, output, message) == (1, "", "mcmargin: interrupted\n")


def test_info_names_versions():
    done = run("info")
    assert done.returncode == 0
    assert "numpy" in done.stdout


def test_importing_the_package_loads_no_library():
    heavy = ("numpy", "scipy", "pandas", "arch", "cupy", "typer", "rich", "sklearn", "joblib")
    code = f"import sys, mcmargin; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Commands that are killed outright: no file is torn, and the next run removes what was left.

MCMARGIN_KILLS: kills of each command, half of them at moments spread over its whole run, half as
soon as the output is being written; `make kills` sets 40 and prints a row of a table. Without it
one is made, of the second sort.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

import mcmargin as mm
from mcmargin.data.prices import PriceHistory
from mcmargin.demo import demo_prices

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills as Unix does")

KILLS = int(os.environ.get("MCMARGIN_KILLS", "0"))
COMMANDS = {
    "simulate": ("simulate", "m.npz", "-o", "out", "--paths", "60000"),
    "margin": ("margin", "m.npz", "book.csv", "-o", "out", "--format", "json", "--paths", "20000"),
    "update": ("update", "m.npz", "newer.csv", "-o", "out"),
    "calibrate": ("calibrate", "prices.csv", "-o", "out", "--volatility", "ewma"),
}
SHORT = {name: COMMANDS[name] for name in ("simulate", "update")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    closes = demo_prices().to_frame().loc["2017":]
    closes.iloc[:-5].to_csv(folder / "prices.csv")
    closes.to_csv(folder / "newer.csv")
    choices = {"volatility": "ewma", "innovations": "normal", "dependence": "gaussian"}
    model = mm.calibrate(PriceHistory.from_frame(closes.iloc[:-5]), jobs=1, **choices)
    model.save(folder / "m.npz")
    (folder / "book.csv").write_text("account,instrument,quantity\ndesk,sp500,1\n")
    return folder


def started(arguments, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "mcmargin", *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def done(arguments, folder):
    """Seconds that a run takes that nobody disturbs, and its output."""
    began = time.monotonic()
    with started(arguments, folder) as process:
        _, message = process.communicate(timeout=120)
    assert process.returncode == 0, message
    return time.monotonic() - began, (folder / "out").read_bytes()


def beside(folder, before):
    return sorted(set(os.listdir(folder)) - before - {"out"})


@pytest.mark.parametrize("command", COMMANDS if KILLS else SHORT)
def test_a_kill_tears_no_file_and_the_next_run_removes_what_it_left(folder, command, capsys):
    arguments, before = COMMANDS[command], set(os.listdir(folder))
    shared = set(os.listdir("/dev/shm")) if os.path.exists("/dev/shm") else set()
    seconds, whole = done(arguments, folder)
    old = b"the file of the day before"
    left = torn = killed = 0
    for kill in range(KILLS or 1):
        (folder / "out").write_bytes(old)
        with started(arguments, folder) as process:
            if kill % 2:
                time.sleep(seconds * 1.05 * kill / KILLS)
            else:
                while not beside(folder, before) and process.poll() is None:
                    time.sleep(0.0005)
            process.send_signal(signal.SIGKILL)
            process.wait()
        killed += process.returncode == -signal.SIGKILL
        left += bool(beside(folder, before))
        torn += (folder / "out").read_bytes() not in (old, whole)
    assert torn == 0
    assert done(arguments, folder)[1] == whole
    assert beside(folder, before) == []
    if os.path.exists("/dev/shm"):
        assert set(os.listdir("/dev/shm")) <= shared
    if KILLS:
        with capsys.disabled():
            print(f"\n| {command} | {killed} | {torn} | {left} | 0 |")
    else:
        assert killed

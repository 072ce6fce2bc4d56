"""`calibrate` and `update`: models that are written, and folders that take no files."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from tests.helpers.commands import called, run
from tests.helpers.models import QUICK
from tests.helpers.updates import NOW, history, walk


def test_update_moves_the_model(everything):
    done = run("update", "model.npz", "newer.csv", "-o", "moved.npz", cwd=everything)
    assert done.returncode == 0, done.stderr
    old, new = (mm.load_model(everything / name) for name in ("model.npz", "moved.npz"))
    assert new.as_of > old.as_of


def test_a_folder_that_takes_no_files(tmp_path):
    """For root, a disk is mounted read-only for the command; other users need only a mode."""
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


@pytest.fixture(scope="module")
def model():
    return mm.calibrate(history(walk()), **QUICK)


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "model.npz")
    walk().to_csv(tmp_path / "old.csv", index_label="date")
    walk(bars=302).to_csv(tmp_path / "new.csv", index_label="date")
    return tmp_path


def test_the_command_says_what_this_update_did(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    command = ("update", "model.npz", "new.csv", "-o", "model.npz")
    status, _, told = called(command, monkeypatch, capsys)
    assert status == 0, told
    assert "updated by 2 bars, from 2021-10-27 to 2021-10-29" in told
    content = (folder / "model.npz").read_bytes()
    status, _, told = called(command, monkeypatch, capsys)
    assert status == 0, told
    assert "nothing new: no row after 2021-10-29" in told
    assert "model.npz stays as it is" in told
    assert (folder / "model.npz").read_bytes() == content
    assert sorted(os.listdir(folder)) == ["model.npz", "new.csv", "old.csv"]
    # Another file is written, since a job asked for it.
    other = ("update", "model.npz", "new.csv", "-o", "other.npz")
    assert called(other, monkeypatch, capsys)[0] == 0
    assert (
        mm.load_model(folder / "other.npz").fingerprint()
        == mm.load_model(folder / "model.npz").fingerprint()
    )


def test_the_command_refuses_and_allows_by_name(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    frame = walk(bars=301)
    frame.index = frame.index[:-1].append(pd.DatetimeIndex(["2121-10-28"]))
    frame.to_csv(folder / "typo.csv", index_label="date")
    content = (folder / "model.npz").read_bytes()
    command = ("update", "model.npz", "typo.csv", "-o", "model.npz")
    status, _, told = called(command, monkeypatch, capsys)
    assert status == 2
    assert "typo.csv: the row of 2121-10-28 is" in told
    assert (folder / "model.npz").read_bytes() == content
    allowed = (*command, "--allow", "future_days=40000")
    assert called(allowed, monkeypatch, capsys)[0] == 0
    status, _, told = called((*command, "--allow", "futur_days=1"), monkeypatch, capsys)
    assert status == 2
    assert "'futur_days' is not a limit; it is one of volatility" in told


def test_updates_at_once_take_turns(folder):
    """Processes with ever more closes, started together, in any order: the newest wins."""
    bars = range(301, 304)
    for count in bars:
        walk(bars=count).to_csv(folder / f"{count}.csv", index_label="date")
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "mcmargin", "update", "model.npz", f"{count}.csv", "-o",
             "model.npz"],
            cwd=folder, stderr=subprocess.PIPE, text=True,
        )
        for count in reversed(bars)
    ]  # fmt: skip
    told = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * len(bars), told
    whole = mm.load_model(folder / "model.npz")
    assert whole.as_of == np.datetime64(walk(bars=303).index[-1])
    assert whole.fingerprint() == mm.load_model(folder / "model.npz").fingerprint()
    direct = mm.calibrate(history(walk()), **QUICK).update(history(walk(bars=303)), now=NOW)
    np.testing.assert_allclose(whole.state.variance, direct.state.variance, rtol=1e-12)


def test_a_file_that_another_program_wrote_is_not_written_over(folder, monkeypatch, capsys):
    """A notebook saves between the reading and the writing of an update."""
    monkeypatch.chdir(folder)
    update = mm.MarketModel.update

    def meanwhile(self, *arguments, **options):
        moved = update(self, *arguments, **options)
        self.save(folder / "model.npz")
        return moved

    monkeypatch.setattr(mm.MarketModel, "update", meanwhile)
    status, _, told = called(
        ["update", "model.npz", "new.csv", "-o", "model.npz"], monkeypatch, capsys
    )
    assert status == 2
    assert "another program changed it meanwhile" in told
    assert mm.load_model(folder / "model.npz").as_of == np.datetime64("2021-10-27")

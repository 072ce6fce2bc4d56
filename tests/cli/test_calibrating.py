"""`calibrate` and `update`: models that are written, and folders that take no files."""

import os
import shutil
import subprocess
import sys

import pytest

import mcmargin as mm
from tests.helpers.commands import run


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

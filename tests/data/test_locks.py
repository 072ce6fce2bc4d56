"""Locks on files that a command reads and writes: who waits, and for how long."""

import os
import subprocess
import sys
import time

import pytest

import mcmargin as mm
from mcmargin.data import locks


def test_a_lock_outlasts_the_file_that_it_was_on(tmp_path):
    """Whoever waits for a file that is replaced meanwhile reads the new one."""
    path, seen = tmp_path / "model.npz", []
    path.write_text("0")
    script = (
        "import os, sys, time\n"
        "from mcmargin.data.locks import locked\n"
        "for _ in range(40):\n"
        "    with locked(sys.argv[1]):\n"
        "        value = int(open(sys.argv[1]).read())\n"
        "        name = f'{sys.argv[1]}.{os.getpid()}'\n"
        "        open(name, 'w').write(str(value + 1))\n"
        "        os.replace(name, sys.argv[1])\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(3)]
    seen = [worker.wait(timeout=120) for worker in workers]
    assert seen == [0, 0, 0]
    assert path.read_text() == "120"


def test_who_waits_too_long_is_told(tmp_path):
    path = tmp_path / "model.npz"
    path.write_text("x")
    link = tmp_path / "link.npz"
    link.symlink_to(path)
    began = time.monotonic()
    held = locks.locked(link, patience=0.1)
    with (
        locks.locked(path),
        pytest.raises(mm.DataError, match="another process has held it"),
        held,
    ):
        pass
    assert time.monotonic() - began < 5
    with locks.locked(link, patience=0.1):
        assert sorted(os.listdir(tmp_path)) == ["link.npz", "model.npz"]

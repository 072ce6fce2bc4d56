"""What the command line prints: where it goes, and how it ends where nobody reads it."""

import os
import subprocess
import sys

import pytest

from tests.helpers.commands import B, M


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

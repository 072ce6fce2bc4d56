"""Printing to a closed pipe, a full disk or a closed stream, and commands that a signal ends."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

M, B = "model.npz", "positions.csv"


@pytest.mark.parametrize(
    "command", [("margin", M, B, "--paths", 3000, "--format", "json"), ("info",)]
)
def test_a_reader_that_leaves_ends_it_quietly(everything, command):
    """The other end of the pipe is closed before anything is written, as `| head -1` does."""
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


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
    ],
)
def test_a_signal_is_128_and_its_number_and_one_line(everything, sent, status, words):
    with contextlib.suppress(FileExistsError):
        os.mkfifo(everything / "pipe")
    with subprocess.Popen(
        [sys.executable, "-m", "mcmargin.cli", "verify", "pipe", "model.npz", "positions.csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=everything,
        # A job in the background inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),
    ) as process:
        pipe = None
        # The pipe opens for writing once the command reads it, and is then inside its work.
        while pipe is None and process.poll() is None:
            try:
                pipe = os.open(everything / "pipe", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                time.sleep(0.01)
        process.send_signal(sent)
        try:
            output, message = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            # The signal came after Python's last look for signals, before the read; this ends it.
            os.close(pipe)
            pipe = None
            output, message = process.communicate(timeout=60)
        if pipe is not None:
            os.close(pipe)
    assert (process.returncode, output, message) == (status, "", f"mcmargin: {words}\n")

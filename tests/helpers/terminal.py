"""The command line where a terminal shows its messages. It needs pty, which Windows has not."""

import contextlib
import os
import pty
import subprocess
import sys


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

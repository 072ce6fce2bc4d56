"""The command line, in a process of its own or in this one."""

import subprocess
import sys

import pytest

from mcmargin.cli import main


def run(*arguments, cwd=None):
    """As a person or a job runs it."""
    return subprocess.run(
        [sys.executable, "-m", "mcmargin.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def called(arguments, monkeypatch, capsys):
    """Status, stdout and stderr of the command, in this process: it starts in no time."""
    monkeypatch.setattr(sys, "argv", ["mcmargin", *map(str, arguments)])
    try:
        main()
    except SystemExit as status:
        return status.code, *capsys.readouterr()
    pytest.fail("the command line ended without a status")

"""The command line: files in, margins out.

In: paths and options. Out: machine output alone on stdout, messages and progress on stderr; exit
status 0 for done, 2 for bad input, 1 for anything else. A module a subject; `app` holds what they
share, and `inputs` what several commands read.
"""

# Help lists the commands in the order in which these modules add them.
# isort: off
from mcmargin.cli import calibrating, margining, explaining, stressing, questions  # noqa: F401
from mcmargin.cli import policies, showing  # noqa: F401

# isort: on
from mcmargin.cli.app import app, main

__all__ = ["app", "main"]

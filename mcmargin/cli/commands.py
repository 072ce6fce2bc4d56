"""All commands: importing this module adds them to the application.

In: nothing. Out: `run`, which does what the command line says.
"""

# Help lists the commands in the order in which these modules add them.
# isort: off
from mcmargin.cli import calibrating, margining, explaining, stressing, questions  # noqa: F401
from mcmargin.cli import policies, showing  # noqa: F401

# isort: on
from mcmargin.cli.app import app, run

__all__ = ["app", "run"]

"""The command line: it reads files and options, and prints or writes results.

In: paths and options. Out: results on stdout or in files, messages and progress on stderr. The exit
status is 0 if the work is done, 2 if an input cannot be used, 128 plus the number of a signal that
ended the command, and 1 for anything else.

`commands` loads the modules that hold the commands, one module for each subject. `app` is the
application that they are added to, `options` holds the options that several commands share,
`inputs` makes a policy and margins of these options, `file_names` checks and names files, and
`printing` writes to the screen. No calculation is done here: the margin job itself is in `jobs`.
"""

import sys

from mcmargin.cli.printing import Ended, ending_in_order, on_any_console, say_how_ended

__all__ = ["main"]


def main() -> None:
    """Entry point: errors become one line on stderr and an exit status."""
    with on_any_console():
        try:
            with ending_in_order():
                # The import stands here, so that signals are handled while libraries are loaded.
                from mcmargin.cli.commands import run

                status = run()
        except Ended as ended:
            status = say_how_ended(ended)
    sys.exit(status)

"""The command line: files in, margins out.

In: paths and options. Out: machine output alone on stdout, messages and progress on stderr; exit
status 0 for done, 2 for bad input, 128 and a signal's number where one ended it, 1 for anything
else. A module a subject; `app` holds what they share, and `inputs` what several commands read.
"""

import sys

from mcmargin.cli.printing import Ended, ending_in_order, on_any_console, say_how_ended

__all__ = ["main"]


def main() -> None:
    """Entry point: errors become one line on stderr and an exit status."""
    with on_any_console():
        try:
            with ending_in_order():
                # Only here, so that a signal finds its handler while libraries are loaded, too.
                from mcmargin.cli.commands import run

                status = run()
        except Ended as ended:
            status = say_how_ended(ended)
    sys.exit(status)

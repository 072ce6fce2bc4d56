"""Printing to the screen, and ending when a signal says so.

In: text. Out: on stdout, text for people in the characters that the console can show, or text for
machines in UTF-8; on stderr, messages. When a signal ends a command, the command first removes the
files that it has begun to write.
"""

from __future__ import annotations

import codecs
import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from mcmargin.errors import DataError
from mcmargin.names import plain_sign, shown_lines


class Ended(BaseException):
    """A signal asked this process to end.

    Parameters
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def show(text: str) -> None:
    """Print lines for people."""
    _check_open()
    print(shown_lines(text))


def emit(text: str) -> None:
    """Print text for machines in UTF-8, exactly as it would be written to a file.

    If stdout is a terminal, a person reads it, and hidden characters are shown as their codes.
    """
    _check_open()
    bytes_of = getattr(sys.stdout, "buffer", None)
    if bytes_of is None or sys.stdout.isatty():
        print(shown_lines(text), end="")
        return
    sys.stdout.flush()
    bytes_of.write(text.encode("utf-8", "backslashreplace"))


def say(text: str) -> None:
    """Print a message to stderr."""
    # If stderr is closed, print would write to stdout, where only results may stand.
    if sys.stderr is not None:
        print(shown_lines(text), file=sys.stderr)


@contextmanager
def on_any_console() -> Iterator[None]:
    """Let stdout and stderr replace characters that their encodings lack.

    Without this, printing such a character raises an error. Help and usage errors, which typer
    prints, are covered as well.
    """
    changed = []
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            changed.append((stream, stream.errors))
            stream.reconfigure(errors=ON_CONSOLES)
    try:
        yield
    finally:
        for stream, errors in changed:
            # This flushes the stream. An error of a closed pipe has been handled before.
            with suppress(OSError, ValueError):
                stream.reconfigure(errors=errors)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    return plain_sign(character) or character.encode("ascii", "backslashreplace").decode("ascii")


ON_CONSOLES = "mcmargin.console"
codecs.register_error(ON_CONSOLES, _replaced)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP raise `Ended`, so that unfinished files are removed first.

    A signal stays ignored if the process was started with that signal ignored, as `nohup` does.
    """
    before = {}
    # Windows has no SIGHUP, and a thread other than the main one sets no handlers.
    with suppress(ValueError):
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is None:
                continue
            handler = signal.getsignal(number)
            if handler in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, _end)
                before[number] = handler
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(number)


def say_how_ended(ended: Ended) -> int:
    """Say which signal ended the command; return the exit status that shells use for it."""
    name = signal.Signals(ended.number).name
    say("mcmargin: interrupted" if name == "SIGINT" else f"mcmargin: ended by {name}")
    return 128 + ended.number


def _check_open() -> None:
    # If stdout is closed, print does nothing, and the command would seem to have succeeded.
    if sys.stdout is None:
        raise DataError("stdout is closed, and what was asked for cannot be printed")

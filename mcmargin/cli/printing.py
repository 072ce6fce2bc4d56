"""What commands print, and how they end.

In: text. Out: on stdout, text for people in whatever the console can show, or text for machines in
UTF-8; on stderr, messages. A signal that asks a command to end lets it remove what it began.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from mcmargin.errors import DataError
from mcmargin.names import shown_lines

PLAIN = {"─": "-", "━": "=", "│": "|", "┃": "|", "±": "+/-", "…": "..."}
"""What stands for a sign that a console cannot show; any other border is a +, and of other signs
the code is shown."""


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
    """Print lines for people: borders and names in what the console can show."""
    _check_open()
    text = shown_lines(text)
    print(plain(text, sys.stdout.encoding or "utf-8"))


def emit(text: str) -> None:
    """Print text for machines, which ends as it ends: in UTF-8, as the same file would be.

    A terminal that cannot show it is sent what it can show.
    """
    _check_open()
    encoding = sys.stdout.encoding or "utf-8"
    bytes_of = getattr(sys.stdout, "buffer", None)
    if bytes_of is None or sys.stdout.isatty():
        print(plain(shown_lines(text), encoding), end="")
        return
    sys.stdout.flush()
    bytes_of.write(text.encode("utf-8", "backslashreplace"))


def say(text: str) -> None:
    """Print a message to stderr."""
    # Where stderr is closed, print would turn to stdout, which is the machine's.
    if sys.stderr is not None:
        print(plain(shown_lines(text), sys.stderr.encoding or "utf-8"), file=sys.stderr)


def plain(text: str, encoding: str) -> str:
    r"""Text with whatever an encoding lacks replaced.

    Examples
    --------
    >>> plain("┃ ± 日本 é ┃", "cp1252")
    '| ± \\u65e5\\u672c é |'
    >>> plain("━┳━", "ascii")
    '=+='
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate({ord(each): _plain(each, encoding) for each in set(text)})
    return text


def _plain(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        border = "+" if "\u2500" <= character < "\u2580" else None
        escaped = character.encode("ascii", "backslashreplace").decode("ascii")
        return PLAIN.get(character, border or escaped)
    return character


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP raise `Ended`, so that what was begun is removed first.

    A signal that whoever started this process wants ignored, as `nohup` does, stays ignored.
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
    if number != signal.SIGINT:
        # A second one would stop the removal, which a person at the keyboard may want to.
        signal.signal(number, signal.SIG_IGN)
    raise Ended(number)


def _check_open() -> None:
    # Where stdout is closed, print would print nothing, and all would seem well.
    if sys.stdout is None:
        raise DataError("stdout is closed, and what was asked for cannot be printed")

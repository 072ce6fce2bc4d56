"""Names in a form that is safe to show to people and to open in a spreadsheet.

In: a name that somebody else chose. Out: for a terminal, a text in which no character is invisible,
moves the cursor, changes colours or turns the order of letters; for a CSV file, a cell that no
spreadsheet takes for a formula, and that `from_csv_cell` turns back into exactly the same name.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.text import Text

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""Beginning of a cell that a spreadsheet takes for a formula; some spreadsheets do so for the wide
forms of the signs, too. A name that begins with apostrophes and then a sign gets one more
apostrophe, so that it comes back exactly."""

_MARKED = re.compile(f"'(?={_FORMULA.pattern})")


def shown(text: str) -> str:
    r"""Return a text in which control characters and other invisible characters are escaped.

    Examples
    --------
    >>> print(shown("desk \x1b[31m one"), shown("a\u202eb"))
    desk \x1b[31m one a\u202eb
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def shown_lines(text: str) -> str:
    r"""Return lines, each as `shown` returns it; the line ends stay.

    Examples
    --------
    >>> shown_lines("one\ntw\ao")
    'one\ntw\\x07o'
    """
    return "\n".join(map(shown, text.split("\n")))


PLAIN = {"─": "-", "━": "=", "│": "|", "┃": "|", "±": "+/-", "…": "..."}
"""What replaces a sign that a console cannot show; any other sign of a border becomes a +."""


def plain_sign(character: str) -> str | None:
    """Return the ASCII sign that replaces a table's sign, or None for any other character."""
    return PLAIN.get(character) or ("+" if "\u2500" <= character < "\u2580" else None)


def with_borders_of_console(table: str) -> str:
    """Return a table with borders that stdout can print; names stay as they are.

    Examples
    --------
    >>> with_borders_of_console("desk") == "desk"
    True
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"

    def here(character: str) -> str:
        sign = plain_sign(character)
        try:
            character.encode(encoding)
        except UnicodeEncodeError:
            return sign or character
        return character

    return table.translate({ord(each): here(each) for each in set(table) if not each.isascii()})


def table_cell(text: str) -> Text:
    """Return a cell for a table of rich, in which rich does not look for markup or emojis."""
    from rich.text import Text

    return Text(shown(text))


def to_csv_text(frame: pd.DataFrame) -> str:
    """Return a frame as CSV text; a text that looks like a formula gets an apostrophe before it.

    Numbers stay as they are. `from_csv_cell` takes the apostrophe away again; all functions of this
    package that read CSV files use it.

    Examples
    --------
    >>> import pandas as pd
    >>> print(to_csv_text(pd.DataFrame({"account": ["=1+1", "desk"], "margin": [-1.5, 2.0]})))
    account,margin
    '=1+1,-1.5
    desk,2.0
    <BLANKLINE>
    """
    safe = _with_texts(frame, _guarded)
    # For most readers a carriage return inside a name ends the row, and the csv module does not
    # quote it by itself.
    returns = any("\r" in str(name) for name in safe.columns) or any(
        isinstance(cell, str) and "\r" in cell for name in _texts(safe) for cell in safe[name]
    )
    if returns:
        return safe.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return safe.to_csv(index=False, lineterminator="\n")


def shown_frame(frame: pd.DataFrame) -> pd.DataFrame:
    r"""Return a frame whose texts and column names are as `shown` returns them.

    Examples
    --------
    >>> import pandas as pd
    >>> shown_frame(pd.DataFrame({"account": [chr(7)], "margin": [1.5]}))["account"].tolist()
    ['\\x07']
    """
    return _with_texts(frame, shown)


def from_csv_cell(cell: str) -> str:
    """Return the text that `to_csv_text` wrote as this cell.

    Examples
    --------
    >>> from_csv_cell("'=1+1"), from_csv_cell("'quoted'"), from_csv_cell("-1.5")
    ('=1+1', "'quoted'", '-1.5')
    """
    # A table may have millions of cells, and few of them begin with an apostrophe.
    return cell[1:] if cell[:1] == "'" and _MARKED.match(cell) else cell


def _guarded(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _with_texts(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Return a frame with its texts and column names changed; other cells stay as they are."""

    def changed(cell: Any) -> Any:
        return change(cell) if isinstance(cell, str) else cell

    columns = {name: frame[name].map(changed) for name in _texts(frame)}
    return frame.assign(**columns).rename(columns=changed)


def _texts(frame: pd.DataFrame) -> list[Any]:
    """Return the columns that may hold texts."""
    return list(frame.select_dtypes(exclude=["number", "bool", "datetime", "timedelta"]).columns)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

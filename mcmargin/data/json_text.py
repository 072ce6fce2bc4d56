"""JSON of many rows, written and read with orjson, and exact in all cases.

In: a head of plain values, and tables whose rows come one after another; or a text. Out: a text in
ASCII, which is the same for the same values; or the values that a text holds.

orjson is about twenty times as fast as the standard library. It cannot hold a whole number of more
than 64 bits, or a text that is not Unicode (a lone surrogate, as in the name of a file that is not
UTF-8). The standard library writes and reads values with one of them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from mcmargin.errors import DataError

ROWS_AT_ONCE = 1024
"""Number of rows that are objects at one time; a whole table of objects would take gigabytes."""

_SPACED_NAME = re.compile(r'"\s+:')
"""End of the name of a field, if there is space before the colon."""

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")

Row = dict[str, Any]


def json_text(head: Mapping[str, Any], tables: Mapping[str, Iterable[Row]]) -> str:
    r"""Write an object as JSON: the fields of a head in the order of their names, then tables.

    Parameters
    ----------
    head : mapping of str to plain values
        Fields, none of which is infinite or NaN.
    tables : mapping of str to iterable of dict
        Rows, whose fields keep their order. No number may be infinite or NaN; `plain_columns`
        checks that.

    Examples
    --------
    >>> print(json_text({"seed": 7}, {"rows": [{"name": "é", "loss": 0.1}]}))
    {
      "seed": 7,
      "rows": [
        {
          "name": "\u00e9",
          "loss": 0.1
        }
      ]
    }
    """
    text = json.dumps(head, indent=2, sort_keys=True, allow_nan=False)
    parts = [text.removesuffix("\n}") if head else "{"]
    for at, (name, rows) in enumerate(tables.items()):
        begun = "," if head or at else ""
        lines = ",\n".join(_parts(iter(rows)))
        parts.append(f"{begun}\n  {json.dumps(name)}: " + (f"[\n{lines}\n  ]" if lines else "[]"))
    return "".join([*parts, "\n}"])


def _parts(rows: Iterator[Row]) -> Iterator[str]:
    """Texts of `ROWS_AT_ONCE` rows each, indented as in their table."""
    while part := list(islice(rows, ROWS_AT_ONCE)):
        # They are written as a table in an object, so that the lines are indented.
        whole = _written({"": part})
        yield whole.removeprefix('{\n  "": [\n').removesuffix("\n  ]\n}")


def _written(value: Any) -> str:
    import orjson

    try:
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError:
        return json.dumps(value, indent=2, allow_nan=False)
    # A console may show ASCII alone, and with other letters two names may look alike.
    return text if text.isascii() else _BEYOND_ASCII.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def json_value(text: str, *, tables: Collection[str] = ()) -> Any:
    """Read a text as `json.loads` does, but refuse an object with a field that is given twice.

    For a field that is given twice, one reader takes the first value and another one the last. A
    check of the one would then vouch for the other.

    Parameters
    ----------
    text : str
    tables : collection of str
        Fields of the outermost object that have no whole numbers of more than 64 bits.

    Raises
    ------
    ValueError
        If the text is not JSON, or an object has a field twice.

    Examples
    --------
    >>> json_value('{"seed": 18446744073709551616, "rows": [{"loss": 0.1}]}', tables=["rows"])
    {'seed': 18446744073709551616, 'rows': [{'loss': 0.1}]}
    """
    import orjson

    try:
        value = orjson.loads(text)
    except ValueError:
        # The standard library says what is wrong. It also reads NaN, which is refused later, by
        # its place.
        return _exact_value(text)
    head = value
    if isinstance(value, dict):
        head = {name: entry for name, entry in value.items() if name not in tables}
    if _may_be_whole(head) or _names_in(text) != _fields_of(value):
        return _exact_value(text)
    return value


def _exact_value(text: str) -> Any:
    """Read a text by the standard library, which shows all fields of each object."""
    return json.loads(text, object_pairs_hook=_fields_once)


def _fields_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its fields, unless a field is given twice."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"field {twice!r:.60} is given twice; give it once")
    return fields


def _names_in(text: str) -> int:
    """Number of fields in a text; it may be too large if a value looks like a name."""
    return text.count('":') + sum(1 for _ in _SPACED_NAME.finditer(text))


def _fields_of(value: Any) -> int:
    """Number of fields of all objects in a value."""
    if isinstance(value, dict):
        inner = [entry for entry in value.values() if type(entry) in (dict, list)]
        return len(value) + sum(map(_fields_of, inner))
    if isinstance(value, list):
        return sum(_fields_of(entry) for entry in value if type(entry) in (dict, list))
    return 0


def _may_be_whole(value: Any) -> bool:
    """Whether a value has a float that may be a whole number of more than 64 bits in the text."""
    if isinstance(value, dict):
        return any(map(_may_be_whole, value.values()))
    if isinstance(value, list):
        return any(map(_may_be_whole, value))
    return isinstance(value, float) and abs(value) >= 2.0**63


def plain_columns(frame: pd.DataFrame, *, unknown: Collection[str] = ()) -> dict[str, list[Any]]:
    """Columns of a table as lists of plain values that JSON can hold.

    Parameters
    ----------
    frame : DataFrame
        Its first column names the rows.
    unknown : collection of str
        Columns in which NaN stands for an unknown value and becomes None.

    Raises
    ------
    DataError
        If a number is infinite, or NaN in another column; it names the row.

    Examples
    --------
    >>> frame = pd.DataFrame({"account": ["x"], "margin": [2.5], "equity": [float("nan")]})
    >>> plain_columns(frame, unknown=["equity"])
    {'account': ['x'], 'margin': [2.5], 'equity': [None]}
    """
    columns = {}
    for name in frame.columns:
        values = frame[name].tolist()
        for at in _not_finite(frame[name]):
            if name not in unknown or math.isinf(values[at]):
                key = frame.columns[0]
                raise DataError(
                    f"{key} {frame[key].iloc[at]!r}: {name} is {values[at]}, and JSON holds "
                    "finite numbers alone"
                )
            values[at] = None
        columns[str(name)] = values
    return columns


def _not_finite(column: pd.Series[Any]) -> list[int]:
    """Places of NaN and infinity in a column of floats."""
    if column.dtype.kind != "f":
        return []
    return np.flatnonzero(~np.isfinite(column.to_numpy())).tolist()


def records(columns: Mapping[str, Sequence[Any]]) -> Iterator[Row]:
    """Rows of columns, one by one.

    Examples
    --------
    >>> list(records({"account": ["x", "y"], "margin": [2.5, 1.0]}))
    [{'account': 'x', 'margin': 2.5}, {'account': 'y', 'margin': 1.0}]
    """
    names = tuple(columns)
    return (dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True))

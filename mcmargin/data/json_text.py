"""JSON of many rows: written and read with orjson, and exact where orjson is not.

In: a head of plain values, and tables whose rows come one after another; or a text. Out: a text in
ASCII, in the same bytes whenever the values are the same, or the values that a text holds.

orjson is some twenty times as fast as the standard library. It knows no whole number beyond 64
bits, and no text that is not Unicode (a lone surrogate, as in the name of a file that is not
UTF-8). The standard library writes and reads what holds one of them.
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
"""Rows that are plain objects at a time: a whole table of them would take gigabytes."""

_SPACED_NAME = re.compile(r'"\s+:')
"""End of a field's name, where space stands between it and the colon."""

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")

Row = dict[str, Any]


def json_text(head: Mapping[str, Any], tables: Mapping[str, Iterable[Row]]) -> str:
    r"""JSON of an object: the fields of a head in the order of their names, then tables.

    Parameters
    ----------
    head : mapping of str to plain values
        No field is infinite or NaN.
    tables : mapping of str to iterable of dict
        Rows keep the order of their fields. Whoever makes them sees to it that no number is
        infinite or NaN; see `plain_columns`.

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
    """Texts of so many rows each, as they stand within their table."""
    while part := list(islice(rows, ROWS_AT_ONCE)):
        # As a table of its own in an object, so that the lines are as far in as they must be.
        whole = _written({"": part})
        yield whole.removeprefix('{\n  "": [\n').removesuffix("\n  ]\n}")


def _written(value: Any) -> str:
    import orjson

    try:
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError:
        return json.dumps(value, indent=2, allow_nan=False)
    # A console may know no more than ASCII, and beyond it a name may look like another.
    return text if text.isascii() else _BEYOND_ASCII.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def json_value(text: str, *, tables: Collection[str] = ()) -> Any:
    """Value of a text, as `json.loads` reads it, unless an object names a field twice.

    Of a field that is named twice one reader takes the first value and another the last, so that
    a check of the one would vouch for the other.

    Parameters
    ----------
    text : str
    tables : collection of str
        Fields of the outermost object in which no whole number beyond 64 bits is looked for.

    Raises
    ------
    ValueError
        If the text is not JSON, or an object names a field twice.

    Examples
    --------
    >>> json_value('{"seed": 18446744073709551616, "rows": [{"loss": 0.1}]}', tables=["rows"])
    {'seed': 18446744073709551616, 'rows': [{'loss': 0.1}]}
    """
    import orjson

    try:
        value = orjson.loads(text)
    except ValueError:
        # It says what is wrong, and knows NaN, which a reader then refuses by its place.
        return _exact_value(text)
    head = value
    if isinstance(value, dict):
        head = {name: entry for name, entry in value.items() if name not in tables}
    if _may_be_whole(head) or _names_in(text) != _fields_of(value):
        return _exact_value(text)
    return value


def _exact_value(text: str) -> Any:
    """Value of a text by the standard library, which shows the fields of each object as written."""
    return json.loads(text, object_pairs_hook=_fields_once)


def _fields_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of its fields, unless one is named twice."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"field {twice!r:.60} is given twice; give it once")
    return fields


def _names_in(text: str) -> int:
    """How many fields a text names, or more where a text in it looks like a name; never fewer."""
    return text.count('":') + sum(1 for _ in _SPACED_NAME.finditer(text))


def _fields_of(value: Any) -> int:
    """How many fields the objects of a value have in all."""
    if isinstance(value, dict):
        inner = [entry for entry in value.values() if type(entry) in (dict, list)]
        return len(value) + sum(map(_fields_of, inner))
    if isinstance(value, list):
        return sum(_fields_of(entry) for entry in value if type(entry) in (dict, list))
    return 0


def _may_be_whole(value: Any) -> bool:
    """Whether a number may be a whole one of more than 64 bits, which orjson reads as a float."""
    if isinstance(value, dict):
        return any(map(_may_be_whole, value.values()))
    if isinstance(value, list):
        return any(map(_may_be_whole, value))
    return isinstance(value, float) and abs(value) >= 2.0**63


def plain_columns(frame: pd.DataFrame, *, unknown: Collection[str] = ()) -> dict[str, list[Any]]:
    """Columns of a table as lists of plain values that JSON can say.

    Parameters
    ----------
    frame : DataFrame
        Its first column names the rows.
    unknown : collection of str
        Columns in which NaN stands for a value that is not known, and becomes None.

    Raises
    ------
    DataError
        For an infinite number, or NaN in another column, naming the row.

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

"""Typed columns: many plain rows read at once, by the types of a dataclass.

In: a list of objects from JSON. Out: one column for each field. The rules and the errors are those
of `mcmargin.data.typed_fields`, which reads row by row if anything is unusual.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, fields
from itertools import chain
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from mcmargin.data.typed_fields import read_dataclass, type_hints
from mcmargin.errors import McMarginError

Columns = dict[str, Any]
"""Lists by field; `Parts` for a field whose values are rows."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows that are values of a field of other rows.

    Attributes
    ----------
    counts : list of int
        Number of inner rows of each outer row.
    columns : dict
        Columns of all inner rows, one after another.
    """

    counts: list[int]
    columns: Columns


def read_columns(
    kind: Any,
    items: Any,
    error: type[McMarginError],
    *,
    where: str,
    absent: Collection[str] = (),
) -> Columns:
    """Read a list of objects.

    Parameters
    ----------
    kind : type
        The dataclass of each object.
    items : list
    error : type
        Type of the errors.
    where : str
        Name of the list, for messages.
    absent : collection of str
        Fields that an object may lack; they become None.

    Examples
    --------
    >>> from mcmargin.errors import PolicyError
    >>> from mcmargin.markets.market_parts import Depeg
    >>> rows = [{"probability": 0.01, "loss": 0.5}, {"probability": 0, "loss": 1.0}]
    >>> read_columns(Depeg, rows, PolicyError, where="depeg")
    {'probability': [0.01, 0.0], 'loss': [0.5, 1.0]}
    """
    if not isinstance(items, list):
        raise error(f"field {where} is {items!r:.60}; a list is needed")
    columns = _columns(kind, items, absent)
    if columns is not None:
        return columns
    read = []
    for at, item in enumerate(items):
        place = f"{where}[{at}]"
        if not isinstance(item, dict):
            raise error(f"field {place} is {item!r:.60}; an object is needed")
        row = read_dataclass(kind, dict.fromkeys(absent) | item, error, where=f"{place}.")
        for each in fields(kind):
            if _too_large(getattr(row, each.name)):
                raise error(f"field {place}.{each.name} has a whole number of more than 64 bits")
        read.append(row)
    return _of_objects(kind, read)


def _of_objects(kind: Any, rows: list[Any]) -> Columns:
    columns: Columns = {each.name: [getattr(r, each.name) for r in rows] for each in fields(kind)}
    for name, inner in _inner_rows(kind).items():
        parts = columns[name]
        columns[name] = Parts([*map(len, parts)], _of_objects(inner, [*chain(*parts)]))
    return columns


def _inner_rows(kind: Any) -> dict[str, Any]:
    """Fields whose values are rows, and the dataclass of each."""
    found = {}
    for name, declared in type_hints(kind).items():
        inner = get_args(declared)
        if get_origin(declared) is tuple and inner[-1] is Ellipsis and _is_row(inner[0]):
            found[name] = inner[0]
    return found


def _is_row(kind: Any) -> bool:
    return hasattr(kind, "__dataclass_fields__")


def _columns(kind: Any, items: list[Any], absent: Collection[str] = ()) -> Columns | None:
    """Columns of plain rows; None if anything is unusual."""
    if not items:
        return _of_objects(kind, [])
    if not all(type(item) is dict for item in items):
        return None
    hints, columns = type_hints(kind), {}
    own = [each.name for each in fields(kind)]
    names = [name for name in own if name in items[0] or name not in absent]
    if any(len(item) != len(names) for item in items):
        return None
    try:
        for name in names:
            columns[name] = _column(hints[name], [item[name] for item in items])
            if columns[name] is None:
                return None
    except (KeyError, OverflowError):
        return None
    return {name: columns[name] if name in columns else [None] * len(items) for name in own}


def _column(kind: Any, values: list[Any]) -> Any:
    """One field of all rows; None if some value does not have exactly the declared type."""
    found = set(map(type, values))
    inner = get_args(kind)
    if kind in (str, int, bool):
        return None if found - {kind} or (kind is int and _too_large(values)) else values
    if kind is float:
        return _floats(values, found)
    if get_origin(kind) is UnionType and inner[1] is NoneType:
        if NoneType not in found:
            return _column(inner[0], values)
        known = _column(inner[0], [value for value in values if value is not None])
        if known is None or isinstance(known, Parts):
            return None
        rest = iter(known)
        return [None if value is None else next(rest) for value in values]
    if get_origin(kind) is not tuple or not found <= {list}:
        return None
    if inner[-1] is Ellipsis:
        columns = _columns(inner[0], [*chain(*values)]) if _is_row(inner[0]) else None
        return None if columns is None else Parts([*map(len, values)], columns)
    if any(len(value) != len(inner) for value in values):
        return None
    ends = [_column(each, [value[at] for value in values]) for at, each in enumerate(inner)]
    return None if any(end is None for end in ends) else list(zip(*ends, strict=True))


def _too_large(values: Any) -> bool:
    """Whether a value, or one of several, is a whole number of more than 64 bits."""
    if isinstance(values, (list, tuple)):
        return any(map(_too_large, values))
    return type(values) is int and not -(2**63) <= values < 2**63


def _floats(values: list[Any], found: set[type]) -> list[float] | None:
    if not found <= {float, int} or not all(map(math.isfinite, values)):
        return None
    return [*map(float, values)] if int in found else values

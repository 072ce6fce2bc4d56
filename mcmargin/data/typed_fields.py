"""Typed fields: dataclasses read from plain values, by the declared types of their fields.

In: values from JSON or TOML. Out: the dataclass, or an error that names the first field that is
missing, unknown, or of another type.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import date
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from mcmargin.errors import McMarginError

INFINITE = frozenset(
    {"variance_cap", "up_to", "open_interest_lower", "open_interest_upper", "free_notional"}
)
"""Fields that may be infinite; JSON writes null for infinity."""

type_hints = cache(get_type_hints)


def read_dataclass(
    kind: Any,
    given: Mapping[str, Any],
    error: type[McMarginError],
    *,
    where: str = "",
    defaults: bool = False,
) -> Any:
    """Read a dataclass and the dataclasses in its fields.

    Parameters
    ----------
    kind : type
    given : mapping
    error : type
        Type of the errors.
    where : str
        Path of the fields so far, for messages.
    defaults : bool
        Whether a field that has a default may be missing.

    Examples
    --------
    >>> from mcmargin.errors import PolicyError
    >>> from mcmargin.markets.market_parts import Depeg
    >>> read_dataclass(Depeg, {"probability": 0.01, "loss": 0.5}, PolicyError)
    Depeg(probability=0.01, loss=0.5)
    """
    declared = type_hints(kind)
    own = {each.name: each for each in fields(kind) if each.init}
    for name in sorted(set(given) - set(own)):
        raise error(f"field {where}{name} is unknown; it is one of {', '.join(own)}")
    values = {}
    for name, each in own.items():
        if name in given:
            values[name] = read_value(declared[name], given[name], error, where + name, defaults)
        elif not defaults or (each.default is MISSING and each.default_factory is MISSING):
            raise error(f"field {where}{name} is missing")
    return kind(**values)


def read_value(
    kind: Any, value: Any, error: type[McMarginError], where: str, defaults: bool = False
) -> Any:
    """Read a value as the declared type of its field.

    Parameters
    ----------
    kind : type
        A plain type, a dataclass, or a dict, tuple or option of these.
    value : object
    error : type
        Type of the errors.
    where : str
        Path of the field, for messages.
    defaults : bool
        Whether a field that has a default may be missing.

    Examples
    --------
    >>> from mcmargin.errors import DataError
    >>> read_value(dict[str, float], {"btc": 5}, DataError, where="spot")
    {'btc': 5.0}
    """
    if kind is Any:
        return value
    if kind is float:
        return _float(value, error, where)
    if kind is str and isinstance(value, date):
        # TOML has dates; fields of dates hold them as text.
        return value.isoformat()
    if kind in (int, str, bool):
        names = {int: "a whole number", str: "text", bool: "true or false"}
        return _expect(kind, names[kind], value, error, where)
    inner = get_args(kind)
    if get_origin(kind) in (UnionType, Union):
        return None if value is None else read_value(inner[0], value, error, where, defaults)
    if get_origin(kind) in (dict, Mapping):
        entries = _expect(Mapping, "an object", value, error, where)
        return {
            name: read_value(inner[1], entry, error, f"{where}.{name}", defaults)
            for name, entry in entries.items()
        }
    if get_origin(kind) is tuple:
        # Values from this process have tuples, and values from a file have lists.
        items = _expect((list, tuple), "a list", value, error, where)
        kinds = [inner[0]] * len(items) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(items):
            raise error(f"field {where} has {len(items)} items; {len(kinds)} are needed")
        places = (f"{where}[{at}]" for at in range(len(items)))
        return tuple(
            read_value(each, item, error, place, defaults)
            for each, item, place in zip(kinds, items, places, strict=True)
        )
    entry = _expect(Mapping, "an object", value, error, where)
    return read_dataclass(kind, entry, error, where=f"{where}.", defaults=defaults)


def _float(value: Any, error: type[McMarginError], where: str) -> float:
    infinite = where.rpartition(".")[2] in INFINITE
    if value is None and infinite:
        return math.inf
    number = _expect((int, float), "a number", value, error, where)
    if not (abs(number) <= sys.float_info.max or (infinite and number == math.inf)):
        raise error(f"field {where} is {number!r:.60}; a finite number is needed")
    return float(number)


def _expect(kinds: Any, name: str, value: Any, error: type[McMarginError], where: str) -> Any:
    flag = isinstance(value, bool) and kinds is not bool
    if flag or not isinstance(value, kinds):
        raise error(f"field {where} is {value!r:.60}; {name} is needed")
    return value


def without_infinity(value: Any) -> Any:
    """Replace infinity by None, since JSON has no infinity."""
    if isinstance(value, Mapping):
        return {name: without_infinity(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_infinity(entry) for entry in value]
    return None if isinstance(value, float) and math.isinf(value) else value

"""Validation of files by pydantic: types of cells, and errors in plain words.

In: tables of TOML, or rows of CSV and Parquet whose cells may be text. Out: values of the declared
types, or the place of the first fault and a sentence about it. Only this module and those that read
files with it import pydantic.
"""

from __future__ import annotations

import os
import tomllib
from typing import Annotated, Any, TypeAlias

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    ValidationInfo,
)

from mcmargin.data.limits import LARGEST_TOML, read_bytes, require_shallow
from mcmargin.data.tables import number_of
from mcmargin.data.times import utc_time
from mcmargin.errors import DataError

CELLS = {"cells": True}
"""Context of a validation of cells of a table, in which a text may stand for a number."""


def _text(value: Any, info: ValidationInfo) -> Any:
    """Accept whole numbers of a Parquet file as names."""
    if info.context == CELLS and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _number(value: Any, info: ValidationInfo) -> Any:
    return number_of(value.strip()) if info.context == CELLS and isinstance(value, str) else value


def _flag(value: Any, info: ValidationInfo) -> Any:
    if info.context == CELLS and isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    return value


Text: TypeAlias = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1),
    BeforeValidator(_text),
]
Number: TypeAlias = Annotated[
    float, Field(strict=True, allow_inf_nan=False), BeforeValidator(_number)
]
Flag: TypeAlias = Annotated[bool, Field(strict=True), BeforeValidator(_flag)]
Time: TypeAlias = Annotated[np.datetime64, PlainValidator(utc_time)]


class Row(BaseModel):
    """A row or table; fields that are not declared are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


WORDS = {
    "missing": "is missing; give it",
    "extra_forbidden": "is unknown",
    "string_type": "{input} is not text",
    "string_too_short": "is empty; give a name",
    "float_type": "{input} is not a number",
    "bool_type": "{input} is neither true nor false",
    "finite_number": "{input} is not finite; give a number",
    "greater_than": "must be above {gt:g}, not {input}",
    "greater_than_equal": "must be {ge:g} or more, not {input}",
    "less_than_equal": "must be {le:g} or less, not {input}",
    "literal_error": "{input} is unknown; give {expected}",
    "union_tag_invalid": "{tag!r} is unknown; give one of {expected_tags}",
    "union_tag_not_found": "is missing; give it",
    "dict_type": "{input} is not a table; give names with their values",
    "model_type": "{input} is not a table; give names with their values",
    "out_of_range": "{words}, not {input}",
    "value_error": "{error}",
}
"""Our words for each kind of error of pydantic."""


def first_fault(error: ValidationError) -> tuple[tuple[int | str, ...], str, str]:
    """Place, kind and words of the first fault; unknown fields come before missing ones."""
    faults = error.errors(include_url=False)
    # A misspelled name is unknown, and the right one is missing. The first says more.
    fault = next((each for each in faults if each["type"] == "extra_forbidden"), faults[0])
    words = WORDS.get(fault["type"], fault["msg"])
    shown = f"{fault['input']!r:.60}"
    return fault["loc"], fault["type"], words.format(input=shown, **fault.get("ctx", {}))


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    DataError
        If it is missing, not UTF-8 or not TOML; it names the line.
    """
    content = read_bytes(path, most=LARGEST_TOML)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text at byte {error.start}") from None
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise DataError(f"{path}: not TOML (nested too deep)") from None
    except ValueError as error:
        raise DataError(f"{path}: not TOML ({error})") from None
    require_shallow(path, document)
    return document

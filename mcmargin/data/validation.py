"""Validation of files by pydantic: what a cell may be, and what is wrong with it in plain words.

In: tables of TOML with their types, or rows of CSV and Parquet, whose cells may be text. Out:
values of the declared types, or the first fault as the place and a sentence. This module and those
that read files with it are the only ones that import pydantic.
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
"""Context of a validation whose values are cells of a table: text stands for what it spells."""


def _text(value: Any, info: ValidationInfo) -> Any:
    """Whole numbers of a Parquet file are names, too."""
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
    """A row or table whose every field is declared."""

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
    "less_than": "must be below {lt:g}, not {input}",
    "less_than_equal": "must be {le:g} or less, not {input}",
    "literal_error": "{input} is unknown; give {expected}",
    "union_tag_invalid": "{tag!r} is unknown; give one of {expected_tags}",
    "union_tag_not_found": "is missing; give it",
    "dict_type": "{input} is not a table; give names with their values",
    "model_type": "{input} is not a table; give names with their values",
    "out_of_range": "{words}, not {input}",
    "value_error": "{error}",
}
"""What pydantic finds, by its kind of error."""


def first_fault(error: ValidationError) -> tuple[tuple[int | str, ...], str, str]:
    """Place, kind and words of what is wrong first; unknown fields come before missing ones."""
    faults = error.errors(include_url=False)
    # A name that is misspelled is missing, too, and the misspelling says more.
    fault = next((each for each in faults if each["type"] == "extra_forbidden"), faults[0])
    words = WORDS.get(fault["type"], fault["msg"])
    shown = f"{fault['input']!r:.60}"
    return fault["loc"], fault["type"], words.format(input=shown, **fault.get("ctx", {}))


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    DataError
        If it is missing, not UTF-8 or not TOML, naming the line.
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

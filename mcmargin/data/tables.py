"""Tables, read from CSV or Parquet.

In: a path. Out: names of columns and rows of cells, or a `DataError` that names the file, the row
and the column. Rows are counted as an editor counts them: the header is row 1.
"""

from __future__ import annotations

import csv
import io
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.checks import plain_number
from mcmargin.data.limits import LONGEST_LINE, read_bytes
from mcmargin.data.parquet_tables import read_frame
from mcmargin.errors import DataError
from mcmargin.names import from_csv_cell

MISSING = frozenset({"", "na", "nan", "n/a", "#n/a", "null", "none"})
"""Cells, in lower case, that stand for a missing value."""

COMMENTS = ("#", "//", "%")
"""Beginnings of comment lines."""

SEPARATORS = frozenset(";\t|")
"""Separators of cells, other than a comma, that some CSV files have."""


def is_parquet(path: str | os.PathLike[str]) -> bool:
    """Whether the name of a file ends with .parquet, in upper or lower case.

    Examples
    --------
    >>> is_parquet("prices.PARQUET"), is_parquet("prices.csv")
    (True, False)
    """
    return Path(path).suffix.lower() == ".parquet"


def read_cells(path: str | os.PathLike[str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV file, every row as long as the header.

    Raises
    ------
    DataError
        If the file is missing, empty, binary, not UTF-8, not separated by commas or has ragged
        rows.
    """
    content = read_bytes(path)
    if not content.strip():
        raise DataError(f"{path}: the file is empty; a header and rows are needed")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path}: UTF-16 text; save it as CSV in UTF-8")
    _refuse_long_lines(path, content)
    if b"\0" in content:
        raise DataError(
            f"{path}: a binary file; give CSV text in UTF-8, or Parquet named "
            ".parquet (a spreadsheet program saves a sheet as CSV)"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text at byte {error.start}; save it as CSV in UTF-8"
        ) from None
    if text.lstrip()[:1] in ("{", "["):
        raise DataError(f"{path}: JSON, such as a report; give CSV text, or Parquet named .parquet")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file ({error})") from None
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    _refuse_notes(path, rows)
    header = [from_csv_cell(cell.strip()) for cell in rows[0]]
    if len(header) == 1 and (found := SEPARATORS.intersection(header[0])):
        raise DataError(
            f"{path}: row 1 is separated by {min(found)!r}; separate cells with commas, and write "
            "decimals with a point"
        )
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row) and len(header) > 1:
            raise DataError(f"{path}: row {number} is blank; take it out")
        if len(row) != len(header):
            raise DataError(
                f"{path}: row {number} has {len(row)} cells and the header has {len(header)}; "
                "write decimals with a point, and quote a name that holds a comma"
            )
    return header, [[from_csv_cell(cell.strip()) for cell in row] for row in rows[1:]]


def _refuse_long_lines(path: str | os.PathLike[str], content: bytes) -> None:
    """Refuse a line with more cells than any table has columns."""
    if len(content) <= LONGEST_LINE:
        return
    ends = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n"))
    lengths = np.diff(ends, prepend=-1, append=len(content)) - 1
    for line in np.flatnonzero(lengths > LONGEST_LINE)[:1].tolist():
        raise DataError(
            f"{path}: line {line + 1} has {lengths[line]:,} bytes, and a line has "
            f"{LONGEST_LINE:,} at most; is a quotation mark missing, or a line break?"
        )


def _refuse_notes(path: str | os.PathLike[str], rows: list[list[str]]) -> None:
    """Refuse lines that are not data: comments, sources of the data, notes for a spreadsheet."""
    line = ",".join(rows[0]).strip()
    lone = len(rows) > 1 and not any(cell.strip() for cell in rows[0][1:]) and len(rows[1]) > 1
    if re.fullmatch(r"sep=.?", line, re.IGNORECASE):
        what = "names the separator for a spreadsheet"
    elif line.startswith(COMMENTS):
        what = "is a comment"
    elif lone and line and len(rows[0]) != len(rows[1]) and not SEPARATORS.intersection(line):
        what = "has one cell, and the rows below have more; it looks like a note about the file"
    else:
        for number, row in enumerate(rows[1:], 2):
            if row and row[0].lstrip().startswith(COMMENTS) and len(row) != len(rows[0]):
                raise DataError(f"{path}: row {number} is a comment; take it out")
        return
    raise DataError(
        f"{path}: row 1, {line!r:.60}, {what}; take it out, so that the header is first"
    )


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read CSV, as text, or Parquet.

    Raises
    ------
    DataError
        As `read_cells` and `read_frame`. Also if a column is given twice.
    """
    if is_parquet(path):
        return read_frame(path)
    header, rows = read_cells(path)
    for at, name in enumerate(header):
        if name in header[:at]:
            raise DataError(f"{path}: row 1: column {name!r} is given twice; give it once")
    return pd.DataFrame(rows, columns=header, dtype=object)


def read_records(path: str | os.PathLike[str]) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns of a CSV or Parquet file, and of each row the cells that are not empty.

    Raises
    ------
    DataError
        As `read_table`.
    """
    frame = read_table(path)
    records: list[dict[str, Any]] = [{} for _ in range(len(frame))]
    for name, column in frame.items():
        for record, cell in zip(records, column.tolist(), strict=True):
            empty = not cell.strip() if isinstance(cell, str) else cell is None or is_missing(cell)
            if not empty:
                record[str(name)] = cell
    return [str(name) for name in frame.columns], records


def is_missing(cell: Any) -> bool:
    """Whether a cell is empty: None, NaN, NaT, or pandas' NA.

    Examples
    --------
    >>> [is_missing(cell) for cell in (None, float("nan"), pd.NA, pd.NaT, "", 0)]
    [True, True, True, True, False, False]
    """
    if isinstance(cell, Decimal) and cell.is_snan():
        # A signalling NaN raises an error in every comparison; it is not an empty cell.
        return False
    return pd.api.types.is_scalar(cell) and bool(pd.isna(cell))


def names_of(column: pd.Series, where: str, *, empty: str = "empty") -> NDArray[Any]:
    """Read the names of a column of any type.

    Parameters
    ----------
    column : Series
    where : str
        Place of the column, for messages; `{row}` in it becomes the row (the header is row 1).
    empty : str
        What an error says about an empty cell.

    Returns
    -------
    ndarray of shape (rows,), object
        Names, of type str.

    Raises
    ------
    DataError
        If a cell is empty or too long, or is neither a text nor a whole number.

    Examples
    --------
    >>> names_of(pd.Series([" desk ", 7203]), "row {row}").tolist()
    ['desk', '7203']
    """
    cells = column.astype(object)
    # There are few names and many rows, so that each text is checked once.
    texts = pd.api.types.infer_dtype(cells, skipna=True) == "string"
    place, given = pd.factorize(cells) if texts else (np.arange(len(cells)), cells.to_numpy())
    # The last entry is for empty cells, whose place is -1.
    names = np.array([*map(name_of, given), None], object)
    bad = np.array([name is None for name in names], bool)
    for row in np.flatnonzero(bad[place])[:1].tolist():
        what = no_name(cells.iloc[row]) or empty
        raise DataError(f"{where.replace('{row}', str(row + 2))}: {what}")
    return np.asarray(names[place])


LONGEST_NAME = 1000
"""Largest number of letters of a name. A longer cell has run into others, since a quotation mark is
missing."""


def name_of(cell: Any) -> str | None:
    """Return the name in a cell, without the spaces around it; None if it is not a name.

    Examples
    --------
    >>> name_of(" desk "), name_of(7203), name_of(1001.0), name_of(pd.NA)
    ('desk', '7203', None, None)
    """
    if isinstance(cell, str):
        text = cell.strip()
    elif isinstance(cell, (int, np.integer)) and not isinstance(cell, (bool, np.timedelta64)):
        text = str(int(cell))
    else:
        return None
    return text if 0 < len(text) <= LONGEST_NAME else None


def no_name(cell: Any) -> str:
    """Say why a cell is not a name; the text for an empty cell is empty.

    Examples
    --------
    >>> no_name(1001.0)
    "1001.0 is a number with a point, and no name: a table with empty cells makes such of whole \
numbers; write them as text, '1001'"
    """
    if cell is None or is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
        return ""
    if isinstance(cell, str):
        return f"{len(cell):,} letters, and a name has {LONGEST_NAME:,} at most"
    if isinstance(cell, (float, np.floating)):
        return (
            f"{float(cell)!r} is a number with a point, and no name: a table with empty cells "
            f"makes such of whole numbers; write them as text, {f'{cell:.0f}'!r}"
        )
    return f"{cell!s:.60} is a {type(cell).__name__}, and a name is needed, in text"


def numbers_of(column: pd.Series, where: str) -> NDArray[np.float64]:
    """Read the numbers of a column of any type; an empty cell is NaN.

    Parameters
    ----------
    column : Series
    where : str
        Place of the column, for messages; `{row}` in it becomes the row (the header is row 1).

    Raises
    ------
    DataError
        If a cell is not a number, but a text, a truth value, a date, a length of time or a complex
        number.

    Examples
    --------
    >>> numbers_of(pd.Series([1, "2.5", None]), "row {row}").tolist()
    [1.0, 2.5, nan]
    >>> numbers_of(pd.Series([pd.Timedelta("1 day")]), "row {row}")
    Traceback (most recent call last):
    mcmargin.errors.DataError: row 2: '1 days 00:00:00' is not a number; it is a Timedelta
    """
    if column.dtype.kind in "iuf":
        return column.to_numpy(np.float64, na_value=np.nan)
    numbers = np.full(len(column), np.nan)
    for row, cell in enumerate(column.astype(object).tolist()):
        if isinstance(cell, str):
            numbers[row] = parse_number(cell.strip(), where=where.replace("{row}", str(row + 2)))
            continue
        if cell is None or is_missing(cell):
            continue
        number = plain_number(cell)
        if isinstance(cell, Decimal) and not cell.is_snan():
            number = float(cell)
        if number is None:
            place = where.replace("{row}", str(row + 2))
            kind = type(cell).__name__
            raise DataError(f"{place}: {f'{cell!s:.60}'!r} is not a number; it is a {kind}")
        numbers[row] = number
    return numbers


def number_of(cell: str) -> float:
    """Read a number; NaN for a missing cell.

    Raises
    ------
    ValueError
        If the text is not a number.

    Examples
    --------
    >>> number_of("-1.5e3")
    -1500.0
    """
    if cell.lower() in MISSING:
        return float("nan")
    try:
        if "_" in cell:
            raise ValueError
        return float(cell)
    except ValueError:
        hint = "; leave a missing one empty, and write digits alone, without a sign of currency"
        if "," in cell:
            hint = "; write decimals with a point, and no separator of thousands"
        raise ValueError(f"{cell!r} is not a number{hint}") from None


def parse_number(cell: str, *, where: str) -> float:
    """Read a number, NaN for a missing cell; a `DataError` for any other text names `where`."""
    try:
        return number_of(cell)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None

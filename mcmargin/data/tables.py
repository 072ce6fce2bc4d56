"""Reading tables at the edge: CSV and Parquet into text cells that know their row.

In: a path. Out: column names and rows of text, or a `DataError` that names file, row and column.
Rows are counted as an editor counts them: the header is row 1.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import pandas as pd

from mcmargin.errors import DataError
from mcmargin.names import from_csv_cell

MISSING = frozenset({"", "na", "nan", "n/a", "#n/a", "null", "none"})
"""Cells, in lower case, that mean a missing value."""

SEPARATORS = frozenset(";\t|")
"""What else than a comma separates the cells of files that call themselves CSV."""


def is_parquet(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name says that it is Parquet, in any case of letters.

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
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not content.strip():
        raise DataError(f"{path}: the file is empty; a header and rows are needed")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path}: UTF-16 text; save it as CSV in UTF-8")
    if b"\0" in content:
        raise DataError(f"{path}: a binary file; give CSV text in UTF-8, or Parquet named .parquet")
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


def read_frame(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a Parquet file.

    Raises
    ------
    DataError
        If it is missing or not Parquet.
    """
    import pyarrow

    try:
        # As bytes, so that a folder or an address is never taken for a data set.
        return pd.read_parquet(io.BytesIO(Path(path).read_bytes()))
    except (OSError, ValueError, TypeError, LookupError, pyarrow.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise DataError(f"{path}: not a readable Parquet file ({reason})") from None


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read CSV, as text, or Parquet.

    Raises
    ------
    DataError
        As `read_cells` and `read_frame`, and for a column given twice.
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
            empty = not cell.strip() if isinstance(cell, str) else cell is None or _missing(cell)
            if not empty:
                record[str(name)] = cell
    return [str(name) for name in frame.columns], records


def _missing(cell: Any) -> bool:
    return pd.api.types.is_scalar(cell) and bool(pd.isna(cell))


def number_of(cell: str) -> float:
    """Read a number, NaN for a missing cell; ValueError for any other text.

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
    """Read a number, NaN for a missing cell; DataError, with `where`, for any other text."""
    try:
        return number_of(cell)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None

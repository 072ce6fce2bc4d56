"""Parquet files, read within a limit and with texts that are checked.

In: a path. Out: a frame, or a `DataError` that names the file and the place. Sizes are taken from
the metadata before anything is unpacked. Texts are checked in their dictionaries: a text of a
megabyte in a million rows takes a megabyte there, and a terabyte when it is written out.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mcmargin.data.limits import CELL_BYTES, read_bytes, require_size
from mcmargin.errors import DataError

if TYPE_CHECKING:
    import pyarrow

MOST_COLUMNS = 100_000


def read_frame(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a Parquet file.

    Raises
    ------
    DataError
        If it is missing, not Parquet, larger than the limit (`mcmargin.data.limits`), has cells
        that are lists or tables, or text that is not UTF-8.
    """
    import pyarrow
    from pyarrow import parquet

    # It is read as bytes, since pyarrow takes a folder or an address for a data set.
    content = read_bytes(path, words="not a readable Parquet file")
    try:
        # The sizes of the metadata are checked before the data are read.
        metadata = parquet.read_metadata(io.BytesIO(content))
        _check_sizes(path, metadata)
        schema = metadata.schema.to_arrow_schema()
        texts = [each.name for each in schema if _is_text(each.type)]
        for each in schema:
            if pyarrow.types.is_nested(each.type):
                raise DataError(
                    f"{path}: column {each.name!r} has lists or tables in its cells; a plain value "
                    "a cell is needed"
                )
        table = parquet.ParquetFile(io.BytesIO(content), read_dictionary=texts).read()
        frame: pd.DataFrame = _plain_texts(path, table).to_pandas()
    except DataError:
        raise
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        RecursionError,  # from the notes of pandas in a schema
        pyarrow.ArrowException,
    ) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise DataError(f"{path}: not a readable Parquet file ({reason})") from None
    return frame


def _check_sizes(path: str | os.PathLike[str], metadata: Any) -> None:
    """Check the numbers of rows, columns and bytes in the metadata."""
    if metadata.num_columns > MOST_COLUMNS:
        raise DataError(
            f"{path}: {metadata.num_columns:,} columns; a table has {MOST_COLUMNS:,} at most"
        )
    packed = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    unpacked = sum(max(0, group.total_byte_size) for group in packed)
    rows = max(metadata.num_rows, sum(group.num_rows for group in packed))
    require_size(path, max(unpacked, CELL_BYTES * rows * metadata.num_columns), "unpacked")


def _is_text(kind: pyarrow.DataType) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _plain_texts(path: str | os.PathLike[str], table: pyarrow.Table) -> pyarrow.Table:
    """Write out the columns that were read as dictionaries, within the limit."""
    import pyarrow
    from pyarrow import compute

    total = table.nbytes
    for at, name in enumerate(table.column_names):
        column = table.column(at)
        if not pyarrow.types.is_dictionary(column.type) or not _is_text(column.type.value_type):
            continue
        first = 2
        for chunk in column.chunks:
            texts = chunk.dictionary
            _check_texts(path, name, chunk, first)
            lengths = compute.binary_length(texts).cast(pyarrow.int64())
            total += compute.sum(lengths.take(chunk.indices)).as_py() or 0
            first += len(chunk)
        require_size(path, total, "unpacked")
        field = pyarrow.field(name, column.type.value_type, metadata=table.field(at).metadata)
        table = table.set_column(at, field, column.cast(column.type.value_type))
    return table


def _check_texts(path: str | os.PathLike[str], name: str, chunk: Any, first: int) -> None:
    """Refuse text that is not UTF-8, which pyarrow does not check."""
    import pyarrow

    try:
        chunk.dictionary.validate(full=True)
        return
    except pyarrow.ArrowInvalid:
        pass
    raw = chunk.dictionary.cast(pyarrow.binary()).to_pylist()
    for place, text in enumerate(raw):
        try:
            (text or b"").decode()
        except UnicodeDecodeError as error:
            rows = np.flatnonzero(chunk.indices.to_numpy(zero_copy_only=False) == place)
            where = f"row {first + int(rows[0])}, " if len(rows) else ""
            raise DataError(
                f"{path}: {where}column {name!r}: not UTF-8 text at byte {error.start} of the "
                "cell; write the file from text"
            ) from None

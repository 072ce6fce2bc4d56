"""Limits of files: how large a file may become in memory.

In: sizes from a file's header, before anything is unpacked. Out: nothing, or an error that tells
the limit and how to widen it. A file of a few megabytes may unpack to more than any memory has.
"""

from __future__ import annotations

import os
from pathlib import Path

from mcmargin.errors import DataError

SETTING = "MCMARGIN_LARGEST_FILE"
"""Environment variable that sets the limit, in bytes."""

LARGEST_FILE = 2 * 2**30
"""Largest size of an unpacked file in bytes: a hundred million cells."""

CELL_BYTES = 16
"""Least size of a cell of a table in bytes."""

PIECE = 2**20
LARGEST_TOML = 64 * 2**20
LONGEST_LINE = 16 * 2**20
DEEPEST = 32
"""Largest depth of tables within tables in a TOML file; the schemas need four."""


def largest_file() -> int:
    """Largest size of a file in bytes: that of `MCMARGIN_LARGEST_FILE`, or else 2 GiB.

    Raises
    ------
    DataError
        If the variable is not a whole number above 0.
    """
    given = os.environ.get(SETTING)
    if not given:
        return LARGEST_FILE
    if not given.strip().isdecimal() or int(given) == 0:
        raise DataError(f"{SETTING} must be a whole number of bytes above 0, not {given!r:.60}")
    return int(given)


def require_size(path: str | os.PathLike[str], size: int, what: str) -> None:
    """Refuse a size above the limit.

    Raises
    ------
    DataError
        It tells the size, the limit, and the variable that widens it.

    Examples
    --------
    >>> require_size("p.parquet", 10**12, "unpacked")
    Traceback (most recent call last):
    mcmargin.errors.DataError: p.parquet: 1,000,000,000,000 bytes unpacked, and the limit is \
2,147,483,648; if the file is right, set MCMARGIN_LARGEST_FILE=1000000000000
    """
    limit = largest_file()
    if size > limit:
        raise DataError(
            f"{path}: {size:,} bytes {what}, and the limit is {limit:,}; if the file is right, set "
            f"{SETTING}={size}"
        )


def read_bytes(
    path: str | os.PathLike[str], *, most: int | None = None, words: str = "cannot be read"
) -> bytes:
    """Read a whole file, unless it is larger than the limit or than `most` bytes.

    A pipe has no size, and is read up to the limit. `words` is the text of the error for a file
    that cannot be read.

    Raises
    ------
    DataError
        If it cannot be read, or is too large.
    """
    limit = largest_file() if most is None else min(most, largest_file())
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            parts: list[bytes] = []
            # It is read in pieces, since one read of the limit's size would take that memory.
            while size <= limit and (part := file.read(PIECE)):
                parts.append(part)
                size = max(size, PIECE * (len(parts) - 1) + len(part))
    except OSError as error:
        raise DataError(f"{path}: {words} ({error.strerror})") from None
    except ValueError as error:  # the path has a null byte
        raise DataError(f"{str(path)!r:.60}: {words} ({error})") from None
    if size > limit:
        if most is not None and limit == most:
            raise DataError(f"{path}: {size:,} bytes, and such a file has {most:,} at most")
        require_size(path, size, "on disk")
    return b"".join(parts)


def require_shallow(path: str | os.PathLike[str], content: object) -> None:
    """Refuse plain values that are nested deeper than any schema needs.

    Raises
    ------
    DataError
        If tables and lists are nested too deep.
    """
    values = [content]
    for _ in range(DEEPEST):
        values = [
            inner
            for each in values
            if isinstance(each, (dict, list))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not values:
            return
    raise DataError(
        f"{path}: tables or lists are nested more than {DEEPEST} deep; correct the file"
    )

"""Files written whole or not at all.

In: a path and its content. Out: the file as it was or as it is to be, never a part of it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from mcmargin.errors import DataError


def check_destination(path: str | os.PathLike[str], *, inputs: tuple[Path, ...] = ()) -> None:
    """Refuse a file that cannot be written, before the work whose result it is to hold.

    Parameters
    ----------
    path : path
    inputs : tuple of Path
        Files that the result must not replace.

    Raises
    ------
    DataError
        If its folder is missing or cannot be written to, if it stands for anything but a file,
        or if it is one of the inputs.
    """
    target = Path(path)
    try:
        if not target.parent.is_dir():
            raise DataError(f"{path}: cannot be written (no folder {target.parent}; make it first)")
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise DataError(f"{path}: cannot be written (no permission in {target.parent})")
        if not target.exists():
            return
        # Renaming a file over a device would replace the device.
        if not target.is_file():
            raise DataError(f"{path}: cannot be written (it exists and is not a file)")
        if any(source.exists() and target.samefile(source) for source in inputs):
            raise DataError(f"{path}: is read, too, and would be overwritten; name another file")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from None


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, synced, then renamed.

    Raises
    ------
    DataError
        If it cannot be written; the file that was there stays, and no other is left behind.
    """
    check_destination(path)
    # A name of its own each time: two writers of one file never share it.
    temporary = path.with_name(f".mcmargin-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        temporary.unlink(missing_ok=True)

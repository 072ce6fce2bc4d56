"""Locks of files that are read, changed and written back.

In: the path of a file. Out: a `with` block that never runs at the same time as another one for the
same file, in this process or another.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from mcmargin.errors import DataError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PATIENCE = 300.0
"""Seconds to wait for another process; no update takes so long."""

PAUSE = 0.02
"""Seconds between two attempts."""


@contextmanager
def locked(path: str | os.PathLike[str], *, patience: float = PATIENCE) -> Iterator[None]:
    """Lock a file while it is read, changed and written back.

    The file itself is locked, so that no other file is left beside it, and the system frees the
    lock however the process ends. A writer replaces the file by a new one. Whoever then gets the
    lock of the old file notices that, and waits for the new one. On Windows an open file cannot be
    replaced, so that a file beside it is the lock. Pipes and devices are not locked.

    Parameters
    ----------
    path : path
        A link is followed, so that all of its names are one lock.
    patience : float
        Seconds to wait.

    Raises
    ------
    DataError
        If another process holds the lock for longer.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "model.npz"
    ...     _ = file.write_bytes(b"model")
    ...     with locked(file):
    ...         sorted(os.listdir(folder))
    ['model.npz']
    """
    place = Path(os.path.realpath(path))
    if not place.is_file():
        yield
    elif fcntl is None:
        with _locked_beside(place, path, patience):
            yield
    else:
        descriptor = _hold(fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB, place, path, patience)
        try:
            yield
        finally:
            # Closing the file frees the lock.
            os.close(descriptor)


def stamp_of(path: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    """Inode, size and time of a file, which change when it is written; None without a file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def require_unchanged(path: str | os.PathLike[str], stamp: tuple[int, int, int] | None) -> None:
    """Refuse to replace a file that has changed since it was read.

    Raises
    ------
    DataError
        If its stamp differs, since a program without the lock has written it.
    """
    if stamp_of(path) != stamp:
        raise DataError(
            f"{path}: another program changed it meanwhile, and it stays as that program left it; "
            "run the command again"
        )


def _hold(
    flock: Callable[[int, int], None],
    exclusive: int,
    place: Path,
    path: str | os.PathLike[str],
    patience: float,
) -> int:
    """Lock the file at a place, and return its descriptor."""
    end = time.monotonic() + patience
    while True:
        try:
            descriptor = os.open(place, os.O_RDONLY)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        with suppress(BlockingIOError):
            flock(descriptor, exclusive)
            found = os.fstat(descriptor)
            with suppress(OSError):
                now = os.stat(place)
                if (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino):
                    return descriptor
        os.close(descriptor)
        if time.monotonic() > end:
            raise _held(path, patience)
        time.sleep(PAUSE)


def _held(path: str | os.PathLike[str], patience: float) -> DataError:
    return DataError(
        f"{path}: another process has held it for {patience:g} seconds; wait for that to end, and "
        "try again"
    )


@contextmanager
def _locked_beside(place: Path, path: str | os.PathLike[str], patience: float) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        with FileLock(place.with_name(f".{place.name}.lock"), timeout=patience):
            yield
    except Timeout:
        raise _held(path, patience) from None

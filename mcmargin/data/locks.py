"""Files that one process at a time reads, changes and writes back.

In: the path of a file. Out: a block of code that no other such block on the same file overlaps, in
this process or in another one.
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
"""Seconds to wait for another process; no update takes as long."""

PAUSE = 0.02
"""Seconds between two tries."""


@contextmanager
def locked(path: str | os.PathLike[str], *, patience: float = PATIENCE) -> Iterator[None]:
    """Hold a file for reading, changing and writing it back.

    The lock lies on the file itself, so that nothing is left beside it, and the system frees it
    however the process ends. A writer puts a new file in its place: whoever then gets the lock of
    the old one looks again and waits for the new one. On Windows, where a file that is open cannot
    be replaced, the lock is a file beside it. What is no file is not locked.

    Parameters
    ----------
    path : path
        A link is followed, so that all of its names are one lock.
    patience : float
        Seconds to wait.

    Raises
    ------
    DataError
        If another process holds it for longer.

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
            # Which frees the lock.
            os.close(descriptor)


def stamp_of(path: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    """What tells a file that was replaced or written to: inode, size and time; None for no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def require_unchanged(path: str | os.PathLike[str], stamp: tuple[int, int, int] | None) -> None:
    """Refuse to write over a file that is another than the one that was read.

    Raises
    ------
    DataError
        If its stamp is another: a program without the lock wrote it meanwhile.
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
    """Descriptor of the file that is at a place, locked."""
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

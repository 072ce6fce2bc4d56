"""Files that are written whole or not at all.

In: a path and its content. Out: the file as it was before, or with the new content, but never with
a part of it. A link stays a link, and the file that it leads to is written. A pipe, a device and an
open file of this process, such as /dev/stdout, are written to directly and never replaced.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

from mcmargin.errors import DataError

fcntl: ModuleType | None
try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

MOST_LINKS = 40
"""Largest number of links that are followed; the limit of Linux."""

_DESCRIPTORS = re.compile(r"/dev/fd|/proc/(?P<process>\d+)(/task/\d+)?/fd")
"""Folders in which a name is the number of an open file."""

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF)
"""Errors of file systems that cannot sync folders."""


def check_destination(path: str | os.PathLike[str], *, inputs: tuple[Path, ...] = ()) -> None:
    """Refuse a file that cannot be written, before the result for it is computed.

    Parameters
    ----------
    path : path
        A file that may exist or not, or a pipe or a device. Links are followed.
    inputs : tuple of Path
        Files that the result must not replace.

    Raises
    ------
    DataError
        If its folder is missing or cannot be written to, if it is a folder, a socket or a disk,
        or if it is one of the inputs.
    """
    try:
        place, descriptor = _followed(path)
        # Errors name the folder as the user did, unless a link leads elsewhere.
        named = Path(path).parent
        folder = named if os.path.realpath(named) == str(place.parent) else place.parent
        if descriptor is None and not folder.is_dir():
            raise DataError(f"{path}: cannot be written (no folder {folder}; make it first)")
        mode = _mode(place, descriptor)
        if mode is None or (descriptor is None and stat.S_ISREG(mode)):
            # A file is first written beside its place, for which the folder must be writable.
            if not os.access(folder, os.W_OK | os.X_OK):
                raise DataError(f"{path}: cannot be written (no permission in {folder})")
        elif (
            stat.S_ISDIR(mode) or stat.S_ISBLK(mode) or (stat.S_ISSOCK(mode) and descriptor is None)
        ):
            raise DataError(f"{path}: cannot be written (it exists and is not a file)")
        elif not (os.access(place, os.W_OK) if descriptor is None else _writable(descriptor)):
            raise DataError(f"{path}: cannot be written (no permission, or open for reading only)")
        if mode is not None and stat.S_ISREG(mode):
            for source in inputs:
                if source.exists() and place.samefile(source):
                    raise DataError(
                        f"{path}: is read, too, and would be overwritten; name another file"
                    )
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from None


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, synced, then renamed.

    The folder is synced after the rename, so that the file survives a loss of power. A file that is
    replaced keeps its permissions, and its owner if this process may set it. A new file gets the
    permissions of the umask. Temporary files that killed processes of this machine have left in the
    folder are removed. A pipe, a device or an open file of this process is written to directly.

    Raises
    ------
    DataError
        If it cannot be written; an old file stays, and no temporary one is left.
    BrokenPipeError
        If it is a pipe whose reader has ended.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files as `write_atomically` does, either all of them or none.

    All temporary files are written and synced before the first is renamed, so that a full disk or a
    signal leaves every file as it was. Only if the process is killed between two renames, some
    files are new and others old.

    Raises
    ------
    DataError
        If one cannot be written; it is named, and all old files stay.
    BrokenPipeError
        If one is a pipe whose reader has ended.
    """
    for path in contents:
        check_destination(path)
    with ExitStack() as temporary:
        files, others = [], []
        for path, content in contents.items():
            with _named(path):
                place, descriptor = _followed(path)
                mode = _mode(place, descriptor)
                if descriptor is None and (mode is None or stat.S_ISREG(mode)):
                    files.append((path, place, temporary.enter_context(_beside(place, content))))
                else:
                    others.append((path, place, descriptor, content))
        for path, place, written in files:
            with _named(path):
                os.replace(written, place)
        for path, place, descriptor, content in others:
            with _named(path):
                _write_into(place, descriptor, content)
    for path, folder in {place.parent: (path, place.parent) for path, place, _ in files}.values():
        with _named(path):
            _sync(folder)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn an error of the system into one that names the file."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from None


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8 as `write_atomically` does.

    Half a surrogate pair, which is not a character, is written as its code.
    """
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


_ANOTHER_PROCESS = -1
"""Stands for the descriptor of an open file of another process."""


def _followed(path: str | os.PathLike[str]) -> tuple[Path, int | None]:
    """Place to which a path leads and, for an open file, its number in this process.

    Links are followed, since a rename would replace the link. The file to which /dev/stdout leads
    must not be replaced either: whoever opened it would continue to write to the old file.
    """
    place = Path(path)
    for _ in range(MOST_LINKS):
        folder = os.path.realpath(place.parent)
        place = Path(folder, place.name)
        opened = _DESCRIPTORS.fullmatch(folder)
        if opened and place.name.isdecimal():
            own = opened["process"] in (None, str(os.getpid()))
            return place, int(place.name) if own else _ANOTHER_PROCESS
        if not place.is_symlink():
            return place, None
        place = place.parent / os.readlink(place)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _mode(place: Path, descriptor: int | None) -> int | None:
    """Type and permissions of the file at a place, or None if there is none."""
    try:
        if descriptor is None or descriptor == _ANOTHER_PROCESS:
            return place.stat().st_mode
        return os.fstat(descriptor).st_mode
    except FileNotFoundError:
        return None


def _writable(descriptor: int) -> bool:
    """Whether an open file of this process was opened for writing."""
    if fcntl is None or descriptor == _ANOTHER_PROCESS:
        return True
    flags: int = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    return flags & (os.O_WRONLY | os.O_RDWR) != 0


def _write_into(place: Path, descriptor: int | None, content: bytes) -> None:
    """Write to a pipe, a device or an open file, after everything that was sent to it before."""
    if descriptor is None or descriptor == _ANOTHER_PROCESS:
        opened = os.open(place, os.O_WRONLY | os.O_APPEND)
    else:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        opened = os.dup(descriptor)
    with os.fdopen(opened, "ab") as file:
        file.write(content)


@contextmanager
def _beside(place: Path, content: bytes) -> Iterator[Path]:
    """Write a temporary file beside the file that it will replace, and remove it if it is left."""
    _remove_left(place.parent)
    # Every name is different, so that two writers of one file never share it.
    name = place.with_name(f"{_mark()}{os.getpid()}-{secrets.token_hex(8)}.tmp")
    try:
        with _created(name, place) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:
                # It is renamed while it is locked, so that no process removes it as a left one.
                yield name
        if fcntl is None:  # Windows cannot rename an open file
            yield name
    finally:
        name.unlink(missing_ok=True)


def _created(name: Path, place: Path) -> BinaryIO:
    """Create a locked file with the permissions of the file that it will replace."""
    try:
        old = place.stat()
    except FileNotFoundError:
        old = None
    opened = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    while True:
        descriptor = os.open(name, opened, 0o666 if old is None else 0o600)
        file = os.fdopen(descriptor, "wb")
        try:
            _lock(descriptor, wait=True)
            # Another process may have removed it before it was locked.
            if fcntl is None or name.exists():
                if old is not None:
                    _keep_permissions(descriptor, place, old)
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _keep_permissions(descriptor: int, place: Path, old: os.stat_result) -> None:
    """Give a new file the owner, group, mode and access lists of the old one, if allowed."""
    if fcntl is None:
        return
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except OSError:
            # Only root may change the owner, but every user may set one of the own groups.
            with suppress(OSError):
                os.fchown(descriptor, -1, old.st_gid)
    # If a file system has no modes or attributes, only the writer may read the file.
    with suppress(OSError):
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
    if hasattr(os, "listxattr"):
        with suppress(OSError):
            for attribute in os.listxattr(place):
                with suppress(OSError):
                    os.setxattr(descriptor, attribute, os.getxattr(place, attribute))


def _mark() -> str:
    """Beginning of the names of this machine's temporary files."""
    node = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    with suppress(OSError):
        node += Path("/etc/machine-id").read_text()
    return f".mcmargin-{hashlib.sha256(node.encode()).hexdigest()[:8]}-"


def _remove_left(folder: Path) -> None:
    """Remove temporary files whose writers were killed, since no process holds their lock.

    Only files of this machine are removed, as the locks of another one may not be visible.
    """
    mark = _mark()
    try:
        left = [folder / name for name in os.listdir(folder) if name.startswith(mark)]
    except PermissionError:  # a folder may be writable and not readable
        return
    for path in left:
        with suppress(OSError):
            if fcntl is None:  # on Windows an open file cannot be removed
                os.unlink(path)
                continue
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _lock(descriptor, wait=False):
                    os.unlink(path)
            finally:
                os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed or this process ends; False if that fails."""
    if fcntl is None:
        return False
    lock: Callable[[int, int], None] = fcntl.flock
    try:
        lock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        # Its writer holds the lock, or the file system has no locks: the file must stay.
        return False
    return True


def _sync(folder: Path) -> None:
    """Sync a folder; otherwise a loss of power may undo a rename."""
    if fcntl is None:
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise

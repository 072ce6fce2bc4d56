"""Folders of walks: which arguments a folder is of, and that one process alone walks in it.

In: a walk and its models. Out: a fingerprint of all that decides the result, and the folder in
which windows that are done may be read and written.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import numpy as np

from mcmargin.audit import fingerprint, package_version
from mcmargin.backtests.competing import Competitor
from mcmargin.backtests.walking import Walk
from mcmargin.data.files import write_atomically
from mcmargin.data.locks import locked
from mcmargin.errors import DataError

LIBRARIES = ("numpy", "scipy", "pandas", "arch")
"""Libraries whose results models are made of."""

OWN = ".mcmargin-"
"""Beginning of the names of temporary files, and of the lock; a folder that has only these is new.
"""


def fingerprint_of(walk: Walk, models: Mapping[str, Competitor], *, resumed: bool) -> str:
    """Return the fingerprint of everything that decides the result.

    Parameters
    ----------
    walk : Walk
    models : mapping of str to Competitor
    resumed : bool
        Whether windows of a folder will be taken for those of this walk.

    Raises
    ------
    DataError
        If windows are to be taken from a folder, and a model does not say its settings, or the
        source of its class cannot be read.
    """
    closes = walk.closes
    bars = (closes.zone, closes.calendar, closes.stamps, closes.shown_zone)
    settled = (walk.window, walk.refit_every, walk.first, walk.last, walk.paths, walk.seed)
    return fingerprint(
        package_version("mcmargin"),
        _package(),
        tuple((name, package_version(name)) for name in LIBRARIES),
        (closes.assets, bars, str(closes.times.dtype), closes.times.astype(np.int64)),
        closes.prices,
        (walk.portfolios, walk.exposures, walk.horizons, walk.levels, settled, walk.left_out),
        tuple((name, *_said(name, model, resumed)) for name, model in models.items()),
    )


@contextmanager
def folder_of(folder: Path, digest: str) -> Iterator[Path]:
    """Make the folder of a walk where it is not there, and let no other process walk in it.

    Raises
    ------
    DataError
        If it cannot be written, holds something else, or another process walks in it.
    """
    mark, lock = folder / "backtest.txt", folder / f"{OWN}lock"
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            others = any(not path.name.startswith(OWN) for path in folder.iterdir())
            if others and not mark.exists():
                raise DataError(
                    f"{folder}: it is not empty, and holds no backtest; give another folder"
                )
            lock.touch()
            try:
                held.enter_context(locked(lock, patience=0.0))
            except DataError:
                raise DataError(
                    f"{folder}: {_holder(lock)} is walking in it; wait for its end, or give "
                    "another folder"
                ) from None
            lock.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
            if not mark.exists():
                write_atomically(mark, f"{digest}\n".encode())
            elif mark.read_text(encoding="utf-8").strip() != digest:
                raise DataError(
                    f"{folder}: it holds a backtest of other arguments, or of another version of "
                    "the package, of a library or of a model; give another folder, or remove this "
                    "one"
                )
        except OSError as error:
            raise DataError(f"{folder}: cannot be written ({error.strerror})") from None
        yield folder


def _holder(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8") or "another process"
    except OSError:  # on Windows a locked file may not be read
        return "another process"


def _said(name: str, model: Competitor, resumed: bool) -> tuple[str, ...]:
    """Which class a model is of, what its settings are, and what its sources are."""
    kind = type(model)
    if resumed and kind.__repr__ is object.__repr__:
        raise DataError(
            f"backtest: model {name!r} needs a repr that says its settings, such as a "
            "dataclass has, so that a folder of other settings is not taken for its own"
        )
    sources = []
    # The package is in the fingerprint already.
    known = {"mcmargin", *sys.stdlib_module_names} - {"__main__"}
    for each in kind.__mro__:
        if each.__module__.partition(".")[0] in known:
            continue
        try:
            sources.append(_digest_of(Path(str(sys.modules[each.__module__].__file__))))
        except (OSError, KeyError, AttributeError):
            if resumed:
                raise DataError(
                    f"backtest: the source of model {name!r} cannot be read, and a folder of "
                    "another version of it would be taken for its own; write the class "
                    f"{each.__qualname__} in a module file, or give no folder"
                ) from None
    # Arrays are written in full.
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
        return kind.__module__, kind.__qualname__, repr(model), *sources


def _digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _package() -> tuple[tuple[str, str], ...]:
    """Digest of each source file of the package."""
    root = Path(__file__).resolve().parents[1]
    files = sorted(root.rglob("*.py"))
    return tuple((path.relative_to(root).as_posix(), _digest_of(path)) for path in files)

"""Archives: arrays by name in one npz file, exact, checked by a digest, and never a pickle.

In: arrays, or a path. Out: a file written whole or not at all, or the arrays that it holds. What
the arrays mean is not known here; `mcmargin.models.model_checks` checks that.
"""

from __future__ import annotations

import hmac
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.audit import fingerprint
from mcmargin.data.files import write_atomically
from mcmargin.errors import DataError, ModelFileError

LARGEST_BYTES = 2**31
"""Size of all entries together beyond which an archive is not read."""

SIGNED = "hmac-sha256:"
"""What the checksum of a signed file begins with."""

_DAMAGE = (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError)
"""What zipfile and numpy raise for a damaged file."""


def digest(arrays: Mapping[str, NDArray[Any]], *, key: bytes | None = None) -> str:
    """SHA-256, hexadecimal, of the names and values of arrays; with a key, their HMAC-SHA-256."""
    return fingerprint(*chain.from_iterable(sorted(arrays.items())), key=key)


def check_key(key: bytes | None) -> None:
    """Refuse a key that is not bytes, or empty.

    Raises
    ------
    DataError
    """
    if key is not None and (not isinstance(key, bytes) or not key):
        raise DataError("key must be bytes, and not empty, such as os.environ['KEY'].encode()")


def write_archive(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], *, key: bytes | None = None
) -> None:
    """Write arrays and their checksum; with a key, the checksum is a signature.

    Raises
    ------
    DataError
        If the key is not bytes, or the file cannot be written.
    """
    check_key(key)
    mark = "" if key is None else SIGNED
    checksum = np.array(mark + digest(arrays, key=key))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{**arrays, "checksum": checksum})
    write_atomically(Path(path), buffer.getvalue())


def read_archive(
    path: str | os.PathLike[str], *, key: bytes | None = None
) -> dict[str, NDArray[Any]]:
    """Read the arrays of an archive, after a check of its checksum or signature.

    Raises
    ------
    ModelFileError
        If the file is missing, cut short, altered, too large, signed while no key is given, signed
        with another key, not signed while a key is given, or if it holds anything but arrays.
    DataError
        If the key is not bytes.
    """
    check_key(key)
    arrays = _read_arrays(Path(path))
    try:
        _check_digest(arrays, key)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    return arrays


def text_of(arrays: Mapping[str, NDArray[Any]], name: str) -> str:
    """Text that an archive holds under a name.

    Raises
    ------
    ModelFileError
        If there is no such entry, or it is not one text.
    """
    array = arrays.get(name)
    if array is None:
        raise ModelFileError(f"not a model file (it has no {name!r})")
    if array.dtype.kind != "U" or array.shape != ():
        raise ModelFileError(f"not a model file (its {name!r} is not a text)")
    return str(array)


def _check_digest(arrays: dict[str, NDArray[Any]], key: bytes | None) -> None:
    """Take the checksum out of the arrays and compare it."""
    checksum = text_of(arrays, "checksum")
    del arrays["checksum"]
    if key is None and checksum.startswith(SIGNED):
        raise ModelFileError(
            "the file is signed; give the key that it was signed with, load_model(path, key=...)"
        )
    given = checksum.removeprefix(SIGNED).encode()
    if hmac.compare_digest(given, digest(arrays, key=key).encode()):
        return
    if key is not None and hmac.compare_digest(given, digest(arrays).encode()):
        raise ModelFileError(
            "the file is not signed, and a key is given; ask the maker of the model to sign it, "
            "model.save(path, key=...), or leave the key out"
        )
    raise ModelFileError("the checksum differs; the file was altered, or the key is another")


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        if not (path.is_file() or path.is_dir()) and path.exists():
            # A device would be read to its end, which it may not have.
            raise ModelFileError(f"{path}: not a regular file; copy the model to one")
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_sizes(path, entries)
            return {
                entry.filename.removesuffix(".npy"): _read_array(archive.read(entry))
                for entry in entries
            }
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error})") from None
    except _DAMAGE as error:
        raise ModelFileError(
            f"{path}: not a model file that 'calibrate' wrote, or cut short or altered ({error})"
        ) from None


def _check_sizes(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Check the sizes in the headers before anything is unpacked."""
    unpacked, on_disk = sum(entry.file_size for entry in entries), path.stat().st_size
    if unpacked > on_disk or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ModelFileError(
            f"{path}: its entries are compressed: {on_disk:,} bytes that unpack to {unpacked:,}; "
            "model files are not compressed: save the model again"
        )
    if unpacked > LARGEST_BYTES:
        raise ModelFileError(f"{path}: larger than {LARGEST_BYTES} bytes")
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names) or not all(name.endswith(".npy") for name in names):
        raise ModelFileError(f"{path}: an entry is there twice, or is not an array (.npy)")


def _read_array(content: bytes) -> NDArray[Any]:
    """Read one npy entry; its header may not claim more than the entry holds."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"npy version {version}")
    try:
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:
        # numpy evaluates a header as a Python literal, which may raise almost any error.
        raise ValueError(f"an entry's header cannot be read: {error}") from None
    if any(type(size) is not int or not 0 <= size < 2**63 for size in shape):
        raise ValueError(f"an entry's header tells the shape {shape!r:.60}")
    if dtype.hasobject:
        raise ValueError("an entry holds pickled objects")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError("an entry's header does not fit its size")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)

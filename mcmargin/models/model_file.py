"""Model files: a MarketModel in one npz, exact, checked by a digest, and never a pickle.

In: a model, or a path. Out: a file written whole or not at all, or the model that it holds.
"""

from __future__ import annotations

import hmac
import io
import json
import lzma
import os
import zipfile
import zlib
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.audit import fingerprint
from mcmargin.data.files import write_atomically
from mcmargin.errors import DataError, McMarginError, ModelFileError
from mcmargin.models.dependence import Dependence
from mcmargin.models.innovations import Innovations
from mcmargin.models.model import FilterState, History, MarketModel
from mcmargin.models.model_checks import (
    STATE_FIELDS,
    VOLATILITY_FIELDS,
    Meta,
    check_model,
    time_of_state,
)
from mcmargin.models.possible import require_finite
from mcmargin.models.volatility import Volatility

SCHEMA = "mcmargin.model/2"
LARGEST_MODEL_BYTES = 2**31

SIGNED = "hmac-sha256:"
"""What the checksum of a signed file begins with."""


def save_model(
    model: MarketModel, path: str | os.PathLike[str], *, key: bytes | None = None
) -> None:
    """Write a model; see `MarketModel.save`."""
    _check_key(key)
    for state in (model.committed, model.state):
        require_finite(state.prices, state.variance, model.assets, state.as_of, source=str(path))
    arrays = _to_arrays(model)
    mark = "" if key is None else SIGNED
    arrays["checksum"] = np.array(mark + _digest(arrays, key=key))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(Path(path), buffer.getvalue())


def model_fingerprint(model: MarketModel) -> str:
    """SHA-256, hexadecimal, over everything that a model holds."""
    return _digest(_to_arrays(model), key=None)


def load_model(path: str | os.PathLike[str], *, key: bytes | None = None) -> MarketModel:
    """Read a saved model, exactly as it was.

    Every field is checked, whatever the checksum says: a file whose content `calibrate` and
    `update` cannot have made is refused with the field's name.

    Parameters
    ----------
    path : path
    key : bytes, optional
        The key it was signed with.

    Raises
    ------
    ModelFileError
        If the file is missing, cut short, altered, too large, of another schema, signed while no
        key is given, signed with another key, not signed while a key is given, or if it holds
        anything but the plain arrays of a model.
    DataError
        If the key is not bytes.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from mcmargin.demo import demo_model
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.npz"
    ...     demo_model().save(path)
    ...     load_model(path).fingerprint() == demo_model().fingerprint()
    True
    """
    _check_key(key)
    arrays = _read_arrays(Path(path))
    try:
        _check_digest(arrays, key)
        meta = json.loads(_text_of(arrays, "meta"))
        schema = meta.pop("schema", None) if isinstance(meta, dict) else None
        if schema != SCHEMA:
            raise ModelFileError(
                f"schema {schema!r:.60}, this version reads {SCHEMA}; calibrate again"
            )
        del arrays["meta"]
        words = check_model(arrays, meta)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a model file of {SCHEMA} ({error})") from None
    except McMarginError as error:
        raise ModelFileError(f"{path}: {error}") from None
    return _from_arrays(arrays, words)


def _check_key(key: bytes | None) -> None:
    if key is not None and (not isinstance(key, bytes) or not key):
        raise DataError("key must be bytes, and not empty, such as os.environ['KEY'].encode()")


def _check_digest(arrays: dict[str, NDArray[Any]], key: bytes | None) -> None:
    """Take the checksum out and compare it."""
    checksum = _text_of(arrays, "checksum")
    del arrays["checksum"]
    if key is None and checksum.startswith(SIGNED):
        raise ModelFileError(
            "the file is signed; give the key that it was signed with, load_model(path, key=...)"
        )
    given = checksum.removeprefix(SIGNED).encode()
    if hmac.compare_digest(given, _digest(arrays, key=key).encode()):
        return
    if key is not None and hmac.compare_digest(given, _digest(arrays, key=None).encode()):
        raise ModelFileError(
            "the file is not signed, and a key is given; have it signed by whoever made "
            "it, model.save(path, key=...), or leave the key out"
        )
    raise ModelFileError("the checksum differs; the file was altered, or the key is another")


def _text_of(arrays: dict[str, NDArray[Any]], name: str) -> str:
    array = arrays.get(name)
    if array is None:
        raise ValueError(f"it has no {name!r}")
    if array.dtype.kind != "U" or array.shape != ():
        raise ValueError(f"its {name!r} is no text")
    return str(array)


_DAMAGE = (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError)
"""What zipfile and numpy raise for a damaged file."""


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        if not (path.is_file() or path.is_dir()) and path.exists():
            # It would be read to its end, which a device may not have.
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
    """Bound what is unpacked, by the headers, before any of it is."""
    unpacked, on_disk = sum(entry.file_size for entry in entries), path.stat().st_size
    if unpacked > on_disk or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ModelFileError(
            f"{path}: its entries are compressed: {on_disk:,} bytes that unpack to {unpacked:,}; "
            "model files are not compressed: save the model again"
        )
    if unpacked > LARGEST_MODEL_BYTES:
        raise ModelFileError(f"{path}: larger than {LARGEST_MODEL_BYTES} bytes")
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names) or not all(name.endswith(".npy") for name in names):
        raise ModelFileError(f"{path}: an entry is there twice, or is no array (.npy)")


def _read_array(content: bytes) -> NDArray[Any]:
    """One npy entry; its header may not claim more than the entry holds."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"npy version {version}")
    try:
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:
        # numpy reads a header as a literal of Python, and raises whatever that comes upon.
        raise ValueError(f"an entry's header cannot be read: {error}") from None
    if any(type(size) is not int or not 0 <= size < 2**63 for size in shape):
        raise ValueError(f"an entry's header tells the shape {shape!r:.60}")
    if dtype.hasobject:
        raise ValueError("an entry holds pickled objects")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError("an entry's header does not fit its size")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _digest(arrays: dict[str, NDArray[Any]], *, key: bytes | None) -> str:
    return fingerprint(*chain.from_iterable(sorted(arrays.items())), key=key)


_HISTORY_FIELDS = ("times", "returns", "variances")
_DEPENDENCE_FIELDS = tuple(field.name for field in fields(Dependence) if field.name != "kind")


def _to_arrays(model: MarketModel) -> dict[str, NDArray[Any]]:
    states = {"committed": model.committed}
    if model.provisional:
        states["state"] = model.state
    meta = {
        "schema": SCHEMA,
        "assets": model.assets,
        "kinds": model.volatility.kinds,
        "innovations": [innovation.kind for innovation in model.innovations],
        "dependence": model.dependence.kind,
        "as_of": {name: str(state.as_of) for name, state in states.items()},
        "calendar": model.calendar.to_words(),
        "facts": model.facts,
    }
    arrays: dict[str, NDArray[Any]] = {
        "meta": np.array(json.dumps(meta, sort_keys=True)),
        "tables": model.tables,
    }
    for name in _HISTORY_FIELDS:
        arrays[f"history.{name}"] = getattr(model.history, name)
    for name in _DEPENDENCE_FIELDS:
        arrays[f"dependence.{name}"] = np.asarray(getattr(model.dependence, name))
    for name in VOLATILITY_FIELDS:
        arrays[f"volatility.{name}"] = getattr(model.volatility, name)
    for name, state in states.items():
        for field in STATE_FIELDS:
            arrays[f"{name}.{field}"] = getattr(state, field)
    for number, innovation in enumerate(model.innovations):
        arrays[f"innovations.{number}"] = innovation.parameters
    return arrays


def _from_arrays(arrays: dict[str, NDArray[Any]], words: Meta) -> MarketModel:
    states = {
        name: FilterState(
            time_of_state(words, name), *(arrays[f"{name}.{field}"] for field in STATE_FIELDS)
        )
        for name in words.as_of
    }
    volatility = Volatility(
        words.kinds, *(arrays[f"volatility.{name}"] for name in VOLATILITY_FIELDS)
    )
    parts: dict[str, Any] = {name: arrays[f"dependence.{name}"] for name in _DEPENDENCE_FIELDS}
    numbers = {name: parts[name].item() for name in ("nu", "half_life", "shrinkage", "lookback")}
    return MarketModel(
        assets=words.assets,
        volatility=volatility,
        innovations=tuple(
            Innovations(kind, arrays[f"innovations.{number}"])
            for number, kind in enumerate(words.innovations)
        ),
        dependence=Dependence(**{"kind": words.dependence} | parts | numbers),
        committed=states["committed"],
        state=states.get("state", states["committed"]),
        tables=arrays["tables"],
        calendar=words.calendar,
        history=History(*(arrays[f"history.{name}"] for name in _HISTORY_FIELDS)),
        facts=words.facts,
    )

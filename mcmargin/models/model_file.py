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
from dataclasses import asdict, fields
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.audit import fingerprint
from mcmargin.data.bars import BarCalendar
from mcmargin.data.files import write_atomically
from mcmargin.data.times import utc_time
from mcmargin.errors import ModelFileError
from mcmargin.models.dependence import Dependence
from mcmargin.models.innovations import Innovations
from mcmargin.models.model import FilterState, History, MarketModel
from mcmargin.models.volatility import Volatility

SCHEMA = "mcmargin.model/2"
LARGEST_MODEL_BYTES = 2**31


def save_model(
    model: MarketModel, path: str | os.PathLike[str], *, key: bytes | None = None
) -> None:
    """Write a model; see `MarketModel.save`."""
    arrays = _to_arrays(model)
    arrays["checksum"] = np.array(_digest(arrays, key=key))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(Path(path), buffer.getvalue())


def model_fingerprint(model: MarketModel) -> str:
    """SHA-256, hexadecimal, over everything that a model holds."""
    return _digest(_to_arrays(model), key=None)


def load_model(path: str | os.PathLike[str], *, key: bytes | None = None) -> MarketModel:
    """Read a saved model, exactly as it was.

    Parameters
    ----------
    path : path
    key : bytes, optional
        The key it was signed with.

    Raises
    ------
    ModelFileError
        If the file is missing, cut short, altered, too large, of another schema, signed with
        another key, or holds anything but plain arrays.

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
    arrays = _read_arrays(Path(path))
    try:
        checksum = str(arrays.pop("checksum"))
        if not hmac.compare_digest(checksum.encode(), _digest(arrays, key=key).encode()):
            raise ModelFileError(
                f"{path}: the checksum differs; the file was altered, or the key is another"
            )
        meta = json.loads(str(arrays["meta"]))
        if meta["schema"] != SCHEMA:
            raise ModelFileError(
                f"{path}: schema {meta['schema']!r}, this version reads {SCHEMA}; calibrate again"
            )
        return _from_arrays(arrays, meta)
    except KeyError as error:
        raise ModelFileError(f"{path}: not a model file of {SCHEMA} (it has no {error})") from None
    except (ValueError, TypeError, IndexError) as error:
        raise ModelFileError(f"{path}: not a model file of {SCHEMA} ({error})") from None


_DAMAGE = (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError)
"""What zipfile and numpy raise for a damaged file."""


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > LARGEST_MODEL_BYTES:
                raise ModelFileError(f"{path}: larger than {LARGEST_MODEL_BYTES} bytes")
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


def _read_array(content: bytes) -> NDArray[Any]:
    """One npy entry; its header may not claim more than the entry holds."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"npy version {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError("an entry holds pickled objects")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError("an entry's header does not fit its size")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _digest(arrays: dict[str, NDArray[Any]], *, key: bytes | None) -> str:
    return fingerprint(*chain.from_iterable(sorted(arrays.items())), key=key)


_HISTORY_FIELDS = ("times", "returns", "variances")
_STATE_FIELDS = ("prices", "variance", "residuals")
_DEPENDENCE_FIELDS = tuple(field.name for field in fields(Dependence) if field.name != "kind")
_VOLATILITY_FIELDS = ("omega", "alpha", "gamma", "beta", "sample_variance")


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
        "calendar": asdict(model.calendar),
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
    for name in _VOLATILITY_FIELDS:
        arrays[f"volatility.{name}"] = getattr(model.volatility, name)
    for name, state in states.items():
        for field in _STATE_FIELDS:
            arrays[f"{name}.{field}"] = getattr(state, field)
    for number, innovation in enumerate(model.innovations):
        arrays[f"innovations.{number}"] = innovation.parameters
    return arrays


def _from_arrays(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> MarketModel:
    states = {
        name: FilterState(utc_time(as_of), *(arrays[f"{name}.{field}"] for field in _STATE_FIELDS))
        for name, as_of in meta["as_of"].items()
    }
    volatility = Volatility(
        tuple(meta["kinds"]), *(arrays[f"volatility.{name}"] for name in _VOLATILITY_FIELDS)
    )
    parts: dict[str, Any] = {name: arrays[f"dependence.{name}"] for name in _DEPENDENCE_FIELDS}
    numbers: dict[str, Any] = {
        name: float(parts[name]) for name in ("nu", "half_life", "shrinkage")
    }
    numbers["lookback"] = int(parts["lookback"])
    dependence = Dependence(**{"kind": meta["dependence"]} | parts | numbers)
    return MarketModel(
        assets=tuple(meta["assets"]),
        volatility=volatility,
        innovations=tuple(
            Innovations(kind, arrays[f"innovations.{number}"])
            for number, kind in enumerate(meta["innovations"])
        ),
        dependence=dependence,
        committed=states["committed"],
        state=states.get("state", states["committed"]),
        tables=arrays["tables"],
        calendar=BarCalendar(
            **meta["calendar"]
            | {name: tuple(meta["calendar"][name]) for name in ("weekdays", "slots")}
        ),
        history=History(*(arrays[f"history.{name}"] for name in _HISTORY_FIELDS)),
        facts=meta["facts"],
    )

"""Model files: a `MarketModel` read from one npz, after a check of every field.

In: a path. Out: the model that the file holds, exactly as it was. `MarketModel.save` writes it.
"""

from __future__ import annotations

import json
import os
from typing import Any

from numpy.typing import NDArray

from mcmargin.errors import McMarginError, ModelFileError
from mcmargin.models.archive import read_archive, text_of
from mcmargin.models.dependence import Dependence
from mcmargin.models.history import History
from mcmargin.models.innovations import Innovations
from mcmargin.models.model import MarketModel
from mcmargin.models.model_checks import check_model
from mcmargin.models.model_meta import Meta, time_of_state
from mcmargin.models.model_values import (
    DEPENDENCE_FIELDS,
    HISTORY_FIELDS,
    SCHEMA,
    STATE_FIELDS,
    VOLATILITY_FIELDS,
    FilterState,
)
from mcmargin.models.volatility import Volatility


def load_model(path: str | os.PathLike[str], *, key: bytes | None = None) -> MarketModel:
    """Read a saved model, exactly as it was.

    Every field is checked, whatever the checksum says. A file whose content `calibrate` and
    `update` cannot have made is refused, and the error names the field.

    Parameters
    ----------
    path : path
    key : bytes, optional
        The key that the file was signed with.

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
    >>> from pathlib import Path
    >>> from mcmargin.demo import demo_model
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.npz"
    ...     demo_model().save(path)
    ...     load_model(path).fingerprint() == demo_model().fingerprint()
    True
    """
    arrays = read_archive(path, key=key)
    try:
        meta = json.loads(text_of(arrays, "meta"))
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
    return _model_of(arrays, words)


def _model_of(arrays: dict[str, NDArray[Any]], words: Meta) -> MarketModel:
    states = {
        name: FilterState(
            time_of_state(words, name), *(arrays[f"{name}.{field}"] for field in STATE_FIELDS)
        )
        for name in words.as_of
    }
    volatility = Volatility(
        words.kinds, *(arrays[f"volatility.{name}"] for name in VOLATILITY_FIELDS)
    )
    parts: dict[str, Any] = {name: arrays[f"dependence.{name}"] for name in DEPENDENCE_FIELDS}
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
        history=History(*(arrays[f"history.{name}"] for name in HISTORY_FIELDS)),
        facts=words.facts,
    )

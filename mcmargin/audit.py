"""Fingerprints: one SHA-256 digest for everything that a report depends on.

In: plain values and arrays. Out: a hexadecimal digest that is the same on every machine. With a key
it is a signature, which only somebody who has the key can make.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np


def fingerprint(*parts: Any, key: bytes | None = None) -> str:
    """Return the digest of plain values, tuples and arrays; each counts with its type and length.

    Parameters
    ----------
    *parts : str, int, float, None, tuple, list or ndarray
    key : bytes, optional
        With a key, the digest is an HMAC-SHA-256, which guards against forgery; without one, it
        guards against accidents only.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    TypeError
        If a part is of any other type.

    Examples
    --------
    >>> fingerprint("a", 1.0) == fingerprint("a", 1.0), fingerprint("a", 1) == fingerprint("a1")
    (True, False)
    """
    sha = hashlib.sha256() if key is None else hmac.new(key, digestmod="sha256")
    for part in parts:
        encoded = _encode(part)
        sha.update(f"{len(encoded)}:".encode() + encoded)
    return sha.hexdigest()


def plain(value: Any) -> Any:
    """Return mappings, tuples and dataclasses as tuples of plain values, for a fingerprint.

    Examples
    --------
    >>> plain({"b": 2, "a": (1, 3)})
    (('a', (1, 3)), ('b', 2))
    """
    if isinstance(value, Mapping):
        return tuple((name, plain(entry)) for name, entry in sorted(value.items()))
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if hasattr(value, "__dataclass_fields__"):
        return (type(value).__name__, *(plain(getattr(value, each.name)) for each in fields(value)))
    return value


def package_version(name: str) -> str:
    """Return the version of an installed package, or `source` if it is not installed.

    Examples
    --------
    >>> package_version("nobody-has-this")
    'source'
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "source"


def _encode(part: Any) -> bytes:
    if isinstance(part, (tuple, list)):
        return b"tuple" + fingerprint(*part).encode()
    if isinstance(part, np.ndarray):
        array = np.ascontiguousarray(part)
        return f"array {array.dtype.str} {array.shape} ".encode() + array.tobytes()
    for kind in (str, bool, int, float):
        # The plain type is written, because numpy's texts and numbers are of its subclasses.
        if isinstance(part, kind):
            return f"{kind.__name__} {kind(part)!r}".encode()
    if part is None:
        return b"NoneType None"
    raise TypeError(f"no fingerprint of a {type(part).__name__}")

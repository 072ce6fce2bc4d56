"""Policy files: a MarginPolicy as TOML.

In: a path, or a policy. Out: the policy, or its text without what stands at its default.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from mcmargin.data.files import write_text
from mcmargin.data.limits import LARGEST_TOML, read_bytes, require_shallow
from mcmargin.data.typed_fields import read_dataclass
from mcmargin.errors import DataError, PolicyError
from mcmargin.policies.policy import VERSION, MarginPolicy


def policy_from_toml(path: str | os.PathLike[str]) -> MarginPolicy:
    """Read a policy; see `MarginPolicy.from_toml`."""
    try:
        given = tomllib.loads(read_bytes(path, most=LARGEST_TOML).decode("utf-8-sig"))
        require_shallow(path, given)
    except DataError as error:
        raise PolicyError(str(error)) from None
    except RecursionError:
        raise PolicyError(f"{path}: not a TOML file (nested too deep)") from None
    except ValueError as error:
        raise PolicyError(f"{path}: not a TOML file ({error})") from None
    version = given.pop("version", None)
    if version != VERSION:
        found = "no version is given" if version is None else f"version {version!r:.60} is unknown"
        raise PolicyError(f"{path}: {found}; the first line must be: version = {VERSION}")
    try:
        policy: MarginPolicy = read_dataclass(MarginPolicy, given, PolicyError, defaults=True)
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from None
    return policy


def policy_to_toml(policy: MarginPolicy, path: str | os.PathLike[str] | None = None) -> str:
    """TOML of a policy; see `MarginPolicy.to_toml`."""
    import tomli_w

    text = tomli_w.dumps({"version": VERSION} | _given(policy))
    if path is not None:
        write_text(Path(path), text)
    return text


def _given(part: Any) -> dict[str, Any]:
    """Fields that are not at their defaults, in plain values."""
    entries = {}
    for each in fields(part):
        value = getattr(part, each.name)
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if value is not None and value != default:
            entries[each.name] = _plain(value)
    return entries


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return _given(value) if hasattr(value, "__dataclass_fields__") else value

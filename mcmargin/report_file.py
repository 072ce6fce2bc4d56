"""Report files: a MarginReport as JSON that can be recomputed, and as Parquet for many accounts.

In: a report, or a text. Out: a text whose every figure is exact, or the report that it holds; a
text that is not one is refused with the name of the first field that is wrong.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pandas as pd

from mcmargin.errors import McMarginError, ModelFileError
from mcmargin.files import write_atomically
from mcmargin.reporting import AccountMargin, MarginReport, OwnerMargin, frames_of
from mcmargin.simulation import SimulationPlan

SCHEMA = "mcmargin.report/1"
MAY_BE_INFINITE = "plan.variance_cap"


@dataclass(frozen=True)
class ReportFile:
    """What a file holds, by the types that it is read with."""

    accounts: tuple[AccountMargin, ...]
    owners: tuple[OwnerMargin, ...]
    policy: dict[str, Any]
    plan: SimulationPlan
    horizons: dict[str, int]
    engine: str
    as_of: str
    market_as_of: str
    market: dict[str, Any]
    fingerprints: dict[str, str]
    floored_paths: int
    capped_paths: int
    versions: dict[str, str]


def report_to_json(report: MarginReport) -> str:
    """JSON of schema mcmargin.report/1, every figure exact."""
    fields = _header(report) | {
        "accounts": [asdict(account) for account in report.accounts],
        "owners": report.owners.to_dict("records"),
    }
    return json.dumps(fields, indent=1, sort_keys=True, allow_nan=False)


def report_from_json(text: str, source: str) -> MarginReport:
    """Read a report; see `MarginReport.from_json`."""
    from mcmargin.policy import MarginPolicy

    try:
        fields = json.loads(text)
        schema = fields.pop("schema", None) if isinstance(fields, dict) else None
        if schema != SCHEMA:
            raise ModelFileError(f"its schema is {schema!r}; this version reads {SCHEMA}")
        file: ReportFile = _read_dataclass(ReportFile, fields, "")
        policy = _read_dataclass(MarginPolicy, file.policy, "policy.")
        figures, positions = frames_of(file.accounts)
        report = MarginReport(
            figures=figures,
            positions=positions,
            owners=pd.DataFrame([asdict(owner) for owner in file.owners]),
            policy=policy,
            **{
                name: getattr(file, name)
                for name in ReportFile.__dataclass_fields__
                if name not in ("accounts", "owners", "policy")
            },
        )
        _check_market(report)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{source}: not a margin report: {error}") from None
    except McMarginError as error:
        raise ModelFileError(f"{source}: not a usable margin report: {error}") from None
    return report


def _check_market(report: MarginReport) -> None:
    """Refuse terms that make no market; a surface, which is only named, `verify` asks for."""
    terms, levels = report.market, report.market.get("volatility")
    if isinstance(levels, dict):
        numbers = {name: level for name, level in levels.items() if not isinstance(level, str)}
        terms = terms | {"volatility": numbers}
    replace(report, market=terms).market_used()


def report_to_parquet(report: MarginReport, path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write accounts to PATH and positions beside it, each whole; see `MarginReport.to_parquet`."""
    import pyarrow
    from pyarrow import parquet

    target, beside = Path(path), positions_beside(path)
    header = json.dumps(_header(report), sort_keys=True, allow_nan=False).encode()
    for place, frame in ((target, report.figures), (beside, report.positions)):
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        metadata = {**(table.schema.metadata or {}), b"mcmargin": header}
        buffer = io.BytesIO()
        parquet.write_table(table.replace_schema_metadata(metadata), buffer)
        write_atomically(place, buffer.getvalue())
    return target, beside


def positions_beside(path: str | os.PathLike[str]) -> Path:
    """Where the positions of a report in Parquet lie.

    Examples
    --------
    >>> positions_beside("margins.parquet").name
    'margins.positions.parquet'
    """
    target = Path(path)
    return target.with_name(f"{target.stem}.positions{target.suffix}")


def _header(report: MarginReport) -> dict[str, Any]:
    """All but the figures."""
    plan = asdict(report.plan)
    if math.isinf(report.plan.variance_cap):
        plan["variance_cap"] = None  # JSON has no infinity.
    others = [
        name
        for name in ReportFile.__dataclass_fields__
        if name not in ("accounts", "owners", "policy", "plan")
    ]
    policy = asdict(report.policy)
    return {"schema": SCHEMA, "policy": policy, "plan": plan} | {
        name: getattr(report, name) for name in others
    }


def _read(kind: Any, value: Any, where: str) -> Any:
    """Value of JSON as the type that its field is declared with."""
    if kind is float:
        if value is None and where == MAY_BE_INFINITE:
            return math.inf
        number = _expect((int, float), "a number", value, where)
        if not abs(number) <= sys.float_info.max:
            raise ModelFileError(f"field {where} is {number!r:.60}; a finite number is needed")
        return float(number)
    if kind is int:
        return _expect(int, "a whole number", value, where)
    if kind is str:
        return _expect(str, "text", value, where)
    inner = get_args(kind)
    if kind is Any:
        return value
    if get_origin(kind) is UnionType:
        return None if value is None else _read(inner[0], value, where)
    if get_origin(kind) in (dict, Mapping):
        entries = _expect(dict, "an object", value, where)
        return {name: _read(inner[1], entry, f"{where}.{name}") for name, entry in entries.items()}
    if get_origin(kind) is tuple:
        items = _expect(list, "a list", value, where)
        kinds = [inner[0]] * len(items) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(items):
            raise ModelFileError(f"field {where} has {len(items)} items; {len(kinds)} are needed")
        return tuple(map(_read, kinds, items, (f"{where}[{at}]" for at in range(len(items)))))
    return _read_dataclass(kind, _expect(dict, "an object", value, where), f"{where}.")


_type_hints = cache(get_type_hints)


def _read_dataclass(kind: Any, given: dict[str, Any], where: str) -> Any:
    declared = _type_hints(kind)
    for name in sorted(declared.keys() ^ given.keys()):
        what = "is missing" if name in declared else "is unknown"
        raise ModelFileError(f"field {where}{name} {what}")
    return kind(**{name: _read(hint, given[name], where + name) for name, hint in declared.items()})


def _expect(kinds: Any, name: str, value: Any, where: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ModelFileError(f"field {where} is {value!r:.60}; {name} is needed")
    return value

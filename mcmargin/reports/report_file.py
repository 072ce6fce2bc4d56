"""Report files: a margin report as JSON that can be recomputed, and as Parquet for many accounts.

In: a report, or a text. Out: a text in which every figure is exact, or the report that a text
holds. A text that is no report is refused, with the name of the first field that is wrong.
"""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, TypeVar

from mcmargin.checks import require_type
from mcmargin.data.files import write_together
from mcmargin.data.json_text import json_text, json_value, plain_columns, records
from mcmargin.data.times import utc_time
from mcmargin.data.typed_columns import read_columns
from mcmargin.data.typed_fields import read_dataclass
from mcmargin.draws.plan import SimulationPlan
from mcmargin.errors import McMarginError, ModelFileError
from mcmargin.margins.haircuts import Haircut
from mcmargin.models.model import CalibrationNotes
from mcmargin.policies.policy import MarginPolicy
from mcmargin.reports.account_figures import (
    ADDED,
    UNKNOWN,
    AccountMargin,
    OwnerMargin,
    account_rows,
    frames_of,
    haircut_frame,
    owner_frame,
)
from mcmargin.reports.margin_figures import MarginFigures
from mcmargin.reports.report_checksum import SCHEMA, report_checksum, report_header

T = TypeVar("T", bound=MarginFigures)

ABSENT: dict[str, dict[str, tuple[str, ...]]] = {SCHEMA: {}, "mcmargin.report/1": ADDED}
"""Schemas that can be read, and the fields of each table's rows that may be missing in them."""

TABLE_ROWS = {"accounts": AccountMargin, "owners": OwnerMargin, "haircuts": Haircut}
"""Tables of a file, and the class of their rows."""

CHECKSUM = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class ReportFile:
    """What a file holds beside its tables, with the types of its fields."""

    policy: MarginPolicy
    plan: SimulationPlan
    horizons: dict[str, int]
    engine: str
    as_of: str
    market_as_of: str
    previous_as_of: str
    market: dict[str, Any]
    fingerprints: dict[str, str]
    calibration: CalibrationNotes
    floored_paths: int
    capped_paths: int
    limited_paths: dict[str, dict[str, int]]
    versions: dict[str, str]
    checksum: str


def report_to_json(report: MarginFigures) -> str:
    """JSON of schema mcmargin.report/2, every figure exact; docs/files.md describes it."""
    head = _signed_header(report)
    owners = records(plain_columns(report.owners, unknown=UNKNOWN))
    accounts = account_rows(report.figures, report.positions)
    return json_text(head, {"owners": owners, "accounts": accounts})


def report_from_json(kind: type[T], text: str, source: str) -> T:
    """Read a report of a class; see `MarginReport.from_json`."""
    require_type("text", text, str)
    try:
        # Some editors put a byte order mark before what they save.
        fields = json_value(text.removeprefix("\ufeff"), tables=tuple(TABLE_ROWS))
        schema = fields.pop("schema", None) if isinstance(fields, dict) else None
        if not (isinstance(schema, str) and schema in ABSENT):
            raise ModelFileError(
                f"its schema is {schema!r}; this version reads {' and '.join(ABSENT)}"
            )
        tables = _tables(fields, schema)
        head = _header(fields, schema)
        figures, positions = frames_of(tables["accounts"])
        report = kind(
            figures=figures,
            positions=positions,
            owners=owner_frame(tables["owners"]),
            haircuts=haircut_frame(tables["haircuts"]),
            **{each.name: getattr(head, each.name) for each in dataclass_fields(head)},
        )
        report.market_without_surfaces()  # It refuses terms that make no market.
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{source}: not a margin report: {error}") from None
    except McMarginError as error:
        raise ModelFileError(f"{source}: not a usable margin report: {error}") from None
    return report


def _tables(fields: dict[str, Any], schema: str) -> dict[str, Any]:
    """Columns of each table of rows, taken out of a file's fields."""
    tables = {}
    for name, row in TABLE_ROWS.items():
        if name not in fields:
            raise ModelFileError(f"field {name} is missing")
        absent = ABSENT[schema].get(name, ())
        columns = read_columns(row, fields.pop(name), ModelFileError, where=name, absent=absent)
        for field in ADDED[name]:
            column = columns[field]
            if field not in absent and None in column:
                place = f"{name}[{column.index(None)}].{field}"
                raise ModelFileError(f"field {place} is None; a number is needed")
        tables[name] = columns
    return tables


def _header(fields: dict[str, Any], schema: str) -> ReportFile:
    """What a file holds beside its rows."""
    if schema != SCHEMA:
        fields.setdefault("checksum", "")
        fields.setdefault("limited_paths", {})
    if isinstance(notes := fields.get("calibration"), dict):
        # Reports of earlier versions have no doubts.
        notes.setdefault("doubts", [])
    head: ReportFile = read_dataclass(ReportFile, fields, ModelFileError)
    if schema == SCHEMA and not CHECKSUM.fullmatch(head.checksum):
        raise ModelFileError(
            f"field checksum is {head.checksum!r:.60}; 64 hexadecimal digits are needed"
        )
    for field in ("as_of", "market_as_of"):
        try:
            utc_time(getattr(head, field))
        except ValueError as error:
            raise ModelFileError(f"{field}: {error}") from None
    return head


def report_to_parquet(report: MarginFigures, path: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Write accounts, positions and owners, or nothing; see `MarginReport.to_parquet`."""
    import pyarrow
    from pyarrow import parquet

    places = parquet_files(path)
    contents = {}
    header = json.dumps(_signed_header(report), sort_keys=True, allow_nan=False).encode()
    for place, frame in zip(places, (report.figures, report.positions, report.owners), strict=True):
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        metadata = {**(table.schema.metadata or {}), b"mcmargin": header}
        buffer = io.BytesIO()
        parquet.write_table(table.replace_schema_metadata(metadata), buffer)
        contents[place] = buffer.getvalue()
    # A reader would take one file alone for the whole report.
    write_together(contents)
    return places


def parquet_files(path: str | os.PathLike[str]) -> tuple[Path, Path, Path]:
    """Paths of the accounts, positions and owners of a report in Parquet.

    Examples
    --------
    >>> [each.name for each in parquet_files("margins.parquet")]
    ['margins.parquet', 'margins.positions.parquet', 'margins.owners.parquet']
    """
    target = Path(path)
    positions, owners = (
        target.with_name(f"{target.stem}.{name}{target.suffix}") for name in ("positions", "owners")
    )
    return target, positions, owners


def _signed_header(report: MarginFigures) -> dict[str, Any]:
    """The header with its checksum; a report from a file keeps the checksum of the file."""
    header = report_header(report)
    return header | {"checksum": report.checksum or report_checksum(report, header)}

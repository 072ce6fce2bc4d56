"""Checksums of reports: whether a report says what it said when it was written.

In: a report. Out: a digest of everything that its file holds. It finds a file that was edited, or
that was put together from two. It does not stop somebody who wants to deceive and computes a new
checksum: `verify` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pandas as pd

from mcmargin.data.json_text import plain_columns, records
from mcmargin.data.typed_fields import without_infinity
from mcmargin.errors import DataError
from mcmargin.reports.account_figures import UNKNOWN
from mcmargin.reports.margin_figures import MarginFigures

SCHEMA = "mcmargin.report/2"

HEADER_PARTS = ("policy", "plan", "calibration")
"""Fields of the header that are dataclasses."""

TABLES = ("figures", "positions", "owners", "haircuts")


def report_header(report: MarginFigures) -> dict[str, Any]:
    """All that a report says beside its tables, and its haircuts, as plain values."""
    apart = ("checksum", *HEADER_PARTS, *TABLES)
    others = [each.name for each in fields(MarginFigures) if each.name not in apart]
    values = {name: asdict(getattr(report, name)) for name in HEADER_PARTS}
    haircuts = [*records(plain_columns(report.haircuts, unknown=UNKNOWN))]
    return {"schema": SCHEMA, "haircuts": haircuts, **without_infinity(values)} | {
        name: getattr(report, name) for name in others
    }


def report_checksum(report: MarginFigures, header: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal, of a report's header of plain values and of its tables.

    Examples
    --------
    >>> from mcmargin.demo import demo_report
    >>> report = demo_report()
    >>> again = type(report).from_json(report.to_json())
    >>> again.checksum == report_checksum(report, report_header(report))
    True
    """
    plain = {name: value for name, value in header.items() if name != "checksum"}
    sha = hashlib.sha256(json.dumps(plain, sort_keys=True, allow_nan=False).encode())
    for table in TABLES:
        frame: pd.DataFrame = getattr(report, table)
        sha.update(f"{table} {len(frame)} ".encode())
        for name in sorted(map(str, frame.columns)):
            sha.update(f"{name} ".encode() + _bytes(frame[name]))
    return sha.hexdigest()


def require_unaltered(report: MarginFigures, what: str) -> None:
    """Refuse a report whose file was altered after it was written.

    Parameters
    ----------
    report : MarginFigures
        A report that this process made has no checksum and passes, and so does one of a file of
        the first schema.
    what : str
        How the message calls it.

    Raises
    ------
    DataError
        If the checksum in the report differs from that of what it says.
    """
    if is_altered(report):
        raise DataError(
            f"{what} was altered after it was written: its checksum differs; give the file as "
            "'margin' wrote it ('verify' says what is different)"
        )


def is_altered(report: MarginFigures) -> bool:
    """Whether a report has a checksum, and one that differs from that of what it says."""
    return bool(report.checksum) and report.checksum != report_checksum(
        report, report_header(report)
    )


def _bytes(column: pd.Series) -> bytes:
    """Values of a column in one form for all types of numbers; text with its lengths."""
    if column.dtype.kind in "fiub":
        numbers = column.to_numpy(np.float64)
        return np.where(np.isnan(numbers), np.nan, numbers).tobytes()
    words = [str(value) for value in column.tolist()]
    lengths = np.array([len(word) for word in words], np.int64)
    return lengths.tobytes() + "".join(words).encode()

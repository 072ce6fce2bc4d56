"""Write the tables of docs/files.md from the models that files are read with.

    python tools/schema_tables.py

A table stands between `<!-- table: NAME -->` and `<!-- end -->`, and a test holds them up to date.
"""

import re
import types
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

import numpy as np

from mcmargin.book_files import AccountRow, BalanceTable, PositionTable
from mcmargin.instrument_files import ROWS, NamedRow
from mcmargin.market_files import DepegTable, MarketFile, QuotesTable

DOCUMENT = Path(__file__).parents[1] / "docs" / "files.md"

OWN = {
    f"{product} instrument": {
        name: field for name, field in row.model_fields.items() if name not in NamedRow.model_fields
    }
    for product, (row, _) in ROWS.items()
    if product != "spot"  # which has no fields of its own
}
MODELS = {
    "positions": PositionTable.model_fields,
    "balances": BalanceTable.model_fields,
    "accounts": AccountRow.model_fields,
    "every instrument": NamedRow.model_fields,
    **OWN,
    "market": MarketFile.model_fields,
    "volatility": QuotesTable.model_fields,
    "depeg": DepegTable.model_fields,
}
KINDS = {str: "text", float: "number", bool: "true or false", np.datetime64: "time"}


def kind(annotation):
    """What a field takes, in a word."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, list, Union, types.UnionType):
        return kind(inner[0])
    return {Literal: "text", dict: "table", tuple: "list"}.get(origin) or KINDS[annotation]


def default(field):
    """What stands in for a field that is not given."""
    if field.is_required():
        return "needed"
    if field.default in (None, {}, ()):
        return "none"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return f"{field.default:g}" if isinstance(field.default, float) else field.default


def table(name):
    """A model's table in Markdown, its description with every field."""
    lines = ["| field | takes | default | meaning |", "|---|---|---|---|"]
    for field, declared in MODELS[name].items():
        cells = (f"`{field}`", kind(declared.annotation), default(declared), declared.description)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def written(text):
    """The document with its tables as they ought to be."""
    return re.sub(
        r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{table(found[2])}\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")

"""Write the tables of docs/files.md from the models and dataclasses that read the files.

    python tools/schema_tables.py

A table stands between `<!-- table: NAME -->` and `<!-- end -->`, and a test checks that it is up to
date.
"""

import inspect
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from mcmargin.backtests import backtest_file
from mcmargin.books.account_files import AccountRow
from mcmargin.books.rows import BalanceRow, PositionRow
from mcmargin.data.plausibility import Plausibility
from mcmargin.data.ranges import Range, declared_ranges, range_in
from mcmargin.instruments.instrument_files import INSTRUMENT_ROWS, NamedRow
from mcmargin.markets.market_files import DepegTable, LiquidityTable, MarketFile, QuotesTable
from mcmargin.markets.order_book import OrderBookRow
from mcmargin.policies import policy_parts as parts
from mcmargin.policies import stress_parts
from mcmargin.policies.policy import MarginPolicy

DOCUMENT = Path(__file__).parents[1] / "docs" / "files.md"

OWN = {
    f"{product} instrument": {
        name: field for name, field in row.model_fields.items() if name not in NamedRow.model_fields
    }
    for product, (row, _) in INSTRUMENT_ROWS.items()
    if product != "spot"  # which has no fields of its own
}
MODELS = {
    "accounts": AccountRow.model_fields,
    "every instrument": NamedRow.model_fields,
    **OWN,
    "market": MarketFile.model_fields,
    "volatility": QuotesTable.model_fields,
    "depeg": DepegTable.model_fields,
    "liquidity": LiquidityTable.model_fields,
    "levels": OrderBookRow.model_fields,
    "backtest": backtest_file.BacktestFile.model_fields,
    "backtest model": backtest_file.OwnModel.model_fields,
    "backtest static percentage": backtest_file.StaticPercentageTable.model_fields,
    "backtest historical simulation": backtest_file.HistoricalSimulationTable.model_fields,
    "backtest ewma normal": backtest_file.EwmaNormalTable.model_fields,
    "backtest filtered historical": backtest_file.FilteredHistoricalTable.model_fields,
    "backtest log garch copula": backtest_file.LogGarchCopulaTable.model_fields,
    "backtest price scan": backtest_file.PriceScanTable.model_fields,
}
POLICY = {
    "policy": MarginPolicy,
    "policy maintenance": parts.Maintenance,
    "policy procyclicality": parts.Procyclicality,
    "policy stress": stress_parts.Stress,
    "policy stress window": stress_parts.StressWindow,
    "policy grid terms": stress_parts.GridTerms,
    "policy gap": stress_parts.Gap,
    "policy liquidity": parts.Liquidity,
    "policy concentration": parts.Concentration,
    "policy leverage": parts.Leverage,
    "policy leverage tier": parts.LeverageTier,
    "policy resources": parts.Resources,
    "policy collateral": parts.Collateral,
}
PLAIN = {"plausibility": Plausibility, "positions": PositionRow, "balances": BalanceRow}
KINDS = {
    str: "text",
    float: "number",
    int: "whole number",
    bool: "true or false",
    np.datetime64: "time",
}


def kind(annotation):
    """The kind of value that a field takes, in a word or two."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        return "list of tables" if is_dataclass(inner[0]) else "list"
    if is_dataclass(annotation):
        return "table"
    if origin is list:
        return f"list of {kind(inner[0])}s"
    if origin in (Annotated, Union, types.UnionType):
        return kind(inner[0])
    return {Literal: "text", dict: "table", Mapping: "table"}.get(origin) or KINDS[annotation]


def default(value):
    """The default of a field, as text."""
    if is_dataclass(value):
        return "as below"
    if isinstance(value, list):
        return ", ".join(map(default, value))
    if value is None or value in ({}, (), ""):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, (int, float)) else value


def model_rows(model):
    """The cells of the row of each field of a pydantic model."""
    for name, field in model.items():
        own = "needed" if field.is_required() else default(field.default)
        allowed = next((each for each in field.metadata if isinstance(each, Range)), None)
        takes = ranged(kind(field.annotation), allowed or range_in(field.annotation))
        yield name, takes, own, field.description


def dataclass_rows(part):
    """The cells of the row of each field of a dataclass; meanings come from its docstring."""
    types, told = get_type_hints(part), meanings(part)
    ranges = declared_ranges(part)
    for field in fields(part):
        value = field.default if field.default_factory is MISSING else field.default_factory()
        meaning = told[field.name]
        if (inner := part_of(types[field.name])) is not None:
            meaning = f"{inspect.getdoc(inner).partition(chr(10))[0].rstrip('.')}; below."
        own = "needed" if value is MISSING else default(value)
        yield field.name, ranged(kind(types[field.name]), ranges.get(field.name)), own, meaning


def ranged(takes, allowed):
    """The kind of value that a field takes, with the range of its numbers."""
    if allowed is None:
        return takes
    return f"{'table of numbers' if takes == 'table' else takes} {allowed.words}"


def part_of(annotation):
    """The dataclass of a field that holds one; None for others, and for lists of dataclasses."""
    if get_origin(annotation) in (Union, types.UnionType):
        return part_of(get_args(annotation)[0])
    return annotation if is_dataclass(annotation) else None


def meanings(part):
    """Descriptions of a numpydoc section Attributes, by field."""
    _, _, section = inspect.getdoc(part).partition("Attributes\n----------\n")
    told, names = {}, ()
    for line in section.splitlines():
        if not line.strip():
            break
        if line.startswith(" "):
            told |= {name: f"{told[name]} {line.strip()}".strip() for name in names}
        else:
            names = tuple(name.strip() for name in line.partition(" : ")[0].split(","))
            told |= dict.fromkeys(names, "")
    # In Markdown a bar would end the cell.
    return {name: meaning.replace("|", "\\|") for name, meaning in told.items()}


def table(name):
    """The table of a model in Markdown, with one row for each field."""
    lines = ["| field | takes | default | meaning |", "|---|---|---|---|"]
    rows = model_rows(MODELS[name]) if name in MODELS else dataclass_rows((POLICY | PLAIN)[name])
    lines += [f"| `{field}` | {' | '.join(cells)} |" for field, *cells in rows]
    return "\n".join(lines)


def written(text):
    """The document with all tables up to date."""
    return re.sub(
        r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{table(found[2])}\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")

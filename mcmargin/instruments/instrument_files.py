"""Instrument files: from TOML, CSV or Parquet to checked instruments.

In: a file with one instrument in each table (`[[instrument]]`) or row. Out: instruments in the
order of the file, or a `DataError` that names the file, the row and column (or the table and
field), and what to do. An option on a future names that future, which stands in the same file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from mcmargin.data.ranges import (
    CONTRACT_SIZE,
    FUNDING_HOURS,
    FUNDING_RATE,
    PAYABLE_FUNDING_RATE,
    PRICE,
    VOLATILITY_OR_NONE,
    YEARLY_RATE,
)
from mcmargin.data.tables import read_records
from mcmargin.data.validation import (
    CELLS,
    Flag,
    Number,
    Row,
    Text,
    Time,
    first_fault,
    read_toml,
)
from mcmargin.errors import DataError
from mcmargin.instruments.instruments import Future, Instrument, Option, Perpetual, Spot


class NamedRow(Row):
    """Fields of every instrument."""

    name: Text = Field(
        description="Name of the instrument, as positions give it. Each name appears once."
    )
    product: str = Field(description='"spot", "perpetual", "future" or "option".')
    underlying: Text = Field(
        description="The asset of the model, or currency of the market, whose price moves the "
        "instrument."
    )
    currency: Text = Field(
        Spot.currency, description="Currency of the instrument's prices and gains."
    )


class SpotRow(NamedRow):
    """One unit of an asset, held outright."""

    product: Literal["spot"]


class ContractRow(NamedRow):
    """Fields that perpetuals and futures share."""

    inverse: Flag = Field(
        Perpetual.inverse,
        description="Whether the contract is margined in coin. One unit then gains contract_size "
        "x (1/P - 1/P') coins.",
    )
    contract_size: Annotated[Number, CONTRACT_SIZE] = Field(
        Perpetual.contract_size,
        description="Units of the underlying; of an inverse contract, units of currency.",
    )
    basis_volatility: Annotated[Number, VOLATILITY_OR_NONE] = Field(
        Perpetual.basis_volatility,
        description="Volatility a year of the ratio of the contract's price to spot (0.05 is 5 "
        "%). With 0 the ratio does not move.",
    )
    price_asset: Text | None = Field(
        Perpetual.price_asset,
        description="Asset of the model that is this contract's own price, in place of a basis.",
    )


class PerpetualRow(ContractRow):
    """A perpetual future."""

    product: Literal["perpetual"]
    funding_rate: Annotated[Number, FUNDING_RATE] = Field(
        Perpetual.funding_rate,
        description="Expected share of notional that a long pays each interval (0.0001 is 1 bp); "
        "negative where it receives.",
    )
    stressed_funding_rate: Annotated[Number, PAYABLE_FUNDING_RATE] = Field(
        Perpetual.stressed_funding_rate,
        description="Share of notional that the paying side may have to pay each interval.",
    )
    funding_hours: Annotated[Number, FUNDING_HOURS] = Field(
        Perpetual.funding_hours, description="Hours from one funding payment to the next."
    )


class FutureRow(ContractRow):
    """A dated future."""

    product: Literal["future"]
    expiry: Time = Field(description="ISO time, UTC where it has no zone; a date is its midnight.")
    carry: Annotated[Number, YEARLY_RATE] | None = Field(
        Future.carry,
        description="ln(F/S) a year, continuous. If none is given, the market's carry of the "
        "underlying counts.",
    )


class OptionRow(NamedRow):
    """A European option."""

    product: Literal["option"]
    kind: Literal["call", "put"] = Field(description='"call" or "put".')
    strike: Annotated[Number, PRICE] = Field(
        description="Strike price, in the instrument's currency."
    )
    expiry: Time = Field(description="ISO time, UTC where it has no zone; a date is its midnight.")
    settlement: Literal["quote", "coin"] = Field(
        "quote",
        description='"quote", or "coin": a pay-off inside the horizon stays coin until its end.',
    )
    contract_size: Annotated[Number, CONTRACT_SIZE] = Field(
        Option.contract_size, description="Units of the underlying."
    )
    future: Text | None = Field(
        None,
        description="Name of the future in this file on which the option is written. If none is "
        "given, the option is on spot.",
    )


INSTRUMENT_ROWS: dict[str, tuple[type[NamedRow], type[Instrument]]] = {
    "spot": (SpotRow, Spot),
    "perpetual": (PerpetualRow, Perpetual),
    "future": (FutureRow, Future),
    "option": (OptionRow, Option),
}
"""By product: the fields in a file, and the type of the instrument."""

AnyRow: TypeAlias = Annotated[
    SpotRow | PerpetualRow | FutureRow | OptionRow, Field(discriminator="product")
]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyRow)

COLUMNS = tuple(
    dict.fromkeys(name for row, _ in INSTRUMENT_ROWS.values() for name in row.model_fields)
)
"""Columns that a table of instruments may have."""


@dataclass(frozen=True)
class _Place:
    """Place of an instrument in its file, for error messages."""

    path: str
    row: str
    field: str

    def error(self, field: str | None, words: str) -> DataError:
        at = "" if field is None else f", {self.field} {field!r}"
        return DataError(f"{self.path}: {self.row}{at}: {words}")


def read_instruments(path: str | os.PathLike[str]) -> tuple[Instrument, ...]:
    r"""Read instruments from TOML, CSV or Parquet; the end of the file's name says which.

    docs/files.md lists the fields. In a table, an empty cell stands for the field's default.

    Parameters
    ----------
    path : path

    Returns
    -------
    tuple of Instrument
        In the order of the file.

    Raises
    ------
    DataError
        If a field is unknown, missing, of another type or out of its range, if a product is
        unknown, if a name is given twice, or if the file lacks the future of an option. The error
        names the row.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "instruments.csv"
    ...     _ = path.write_text("name,product,underlying\nBTC-PERP,perpetual,btc\n")
    ...     read_instruments(path)[0].funding_hours
    8.0
    """
    path = Path(path)
    toml = path.suffix.lower() == ".toml"
    rows: dict[str, tuple[_Place, NamedRow]] = {}
    for place, record in (_tables if toml else _records)(path):
        row = _row(place, record, None if toml else CELLS)
        if row.name in rows:
            first = rows[row.name][0].row
            raise place.error("name", f"{row.name!r} repeats {first}; give each name once")
        rows[row.name] = place, row
    if not rows:
        raise DataError(f"{path}: no instruments; give at least one")
    made: dict[str, Instrument] = {}
    # Options are made last, because the futures that they name may stand below them.
    for place, row in sorted(rows.values(), key=lambda each: isinstance(each[1], OptionRow)):
        fields = row.model_dump(exclude_unset=True, exclude={"product"})
        if "future" in fields:
            fields["future"] = _future(place, fields["future"], made)
        try:
            made[row.name] = INSTRUMENT_ROWS[row.product][1](**fields)
        except DataError as error:
            raise place.error(None, str(error)) from None
    return tuple(made[name] for name in rows)


def _future(place: _Place, name: str, made: dict[str, Instrument]) -> Instrument:
    """The future that an option names; it is already among the instruments that are made."""
    if name not in made:
        raise place.error("future", f"the file has no future {name!r}; add it")
    if not isinstance(made[name], Future):
        words = f"{name!r} is no future; its product is {made[name].product!r}"
        raise place.error("future", words)
    return made[name]


def _row(place: _Place, record: dict[str, Any], context: Any) -> NamedRow:
    try:
        row: NamedRow = _ADAPTER.validate_python(record, context=context)
    except ValidationError as error:
        at, kind, words = first_fault(error)
        if kind.startswith("union_tag"):
            raise place.error("product", words) from None
        product, field = str(at[0]), str(at[1])
        if kind == "extra_forbidden":
            known = ", ".join(INSTRUMENT_ROWS[product][0].model_fields)
            article = "an" if product == "option" else "a"
            words = f"{article} {product} has no {field!r}; leave it out (it has {known})"
        raise place.error(field, words) from None
    return row


def _records(path: Path) -> Iterator[tuple[_Place, dict[str, Any]]]:
    """The rows of a table, with their places."""
    columns, records = read_records(path)
    for name in columns:
        if name not in COLUMNS:
            raise DataError(
                f"{path}: row 1: column {name!r} is unknown; known are {', '.join(COLUMNS)}"
            )
    for number, record in enumerate(records, 2):
        yield _Place(str(path), f"row {number}", "column"), record


def _tables(path: Path) -> Iterator[tuple[_Place, dict[str, Any]]]:
    """The tables `[[instrument]]` of a TOML file, with their places."""
    document = read_toml(path)
    for name in document:
        if name != "instrument":
            raise DataError(f"{path}: {name!r} is unknown; give [[instrument]] tables alone")
    tables = document.get("instrument", [])
    for number, table in enumerate(tables if isinstance(tables, list) else [tables], 1):
        place = _Place(str(path), f"instrument {number}", "field")
        if not (isinstance(tables, list) and isinstance(table, dict)):
            raise place.error(None, "is not a table; head each instrument with [[instrument]]")
        called = table.get("name")
        named = f" ({called!r:.60})" if isinstance(called, str) else ""
        yield _Place(str(path), place.row + named, "field"), table

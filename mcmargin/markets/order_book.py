"""An instrument's order book, read from a file and checked.

In: a CSV or Parquet file with the columns `side`, `price` and `size`, and a row for each price.
Out: bids and asks as `InstrumentLiquidity` takes them, or a `DataError` that names the file, the
row and the column.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from mcmargin.data.ranges import LEVEL_SIZE, PRICE
from mcmargin.data.tables import read_records
from mcmargin.data.validation import CELLS, Number, Row, first_fault
from mcmargin.errors import DataError


class OrderBookRow(Row):
    """A row of the file: one price and the size that is offered at it."""

    side: Literal["bid", "ask"] = Field(
        description='"bid" or "ask"; bids from the highest price down, asks from the lowest up.'
    )
    price: Annotated[Number, PRICE] = Field(
        description="Price of the level, quoted as the instrument is. Each price appears once on "
        "a side."
    )
    size: Annotated[Number, LEVEL_SIZE] = Field(description="Units that can be traded at it.")


def read_order_book(path: str | os.PathLike[str]) -> dict[str, tuple[tuple[float, float], ...]]:
    r"""Read the order book of one instrument.

    Returns
    -------
    dict of str to tuple of (float, float)
        Price and size of `bids` and `asks`, the best first; a side may be empty.

    Raises
    ------
    DataError
        If a column or value is unknown or missing, a number is not above 0, a price is not worse
        than the one before it on its side, or the best bid is not below the best ask.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "levels.csv"
    ...     _ = path.write_text("side,price,size\nbid,99,5\nask,101,4\nbid,98,9\n")
    ...     read_order_book(path)
    {'bids': ((99.0, 5.0), (98.0, 9.0)), 'asks': ((101.0, 4.0),)}
    """
    columns, records = read_records(path)
    needed = list(OrderBookRow.model_fields)
    if sorted(columns) != sorted(needed):
        raise DataError(
            f"{path}: columns {', '.join(columns)}; exactly {', '.join(needed)} are needed"
        )
    sides: dict[str, list[tuple[int, OrderBookRow]]] = {"bid": [], "ask": []}
    for number, record in enumerate(records, 2):
        try:
            row = OrderBookRow.model_validate(record, context=CELLS)
        except ValidationError as error:
            place, _, words = first_fault(error)
            raise DataError(f"{path}: row {number}, column {place[0]!r}: {words}") from None
        sides[row.side].append((number, row))
    if not records:
        raise DataError(f"{path}: no levels; give at least one")
    for side, sign, worse in (("bid", -1.0, "below"), ("ask", 1.0, "above")):
        for (first, before), (number, row) in zip(sides[side], sides[side][1:], strict=False):
            if not sign * row.price > sign * before.price:
                raise DataError(
                    f"{path}: row {number}, column 'price': {side} {row.price:g} is not {worse} "
                    f"the {before.price:g} of row {first}; {side}s run from the best price on, "
                    "each once"
                )
    if sides["bid"] and sides["ask"]:
        (bid, highest), (ask, lowest) = sides["bid"][0], sides["ask"][0]
        if highest.price >= lowest.price:
            raise DataError(
                f"{path}: row {max(bid, ask)}: the order book is crossed: bid {highest.price:g} of "
                f"row {bid}, ask {lowest.price:g} of row {ask}"
            )
    return {
        f"{side}s": tuple((row.price, row.size) for _, row in rows) for side, rows in sides.items()
    }

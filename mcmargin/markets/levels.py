"""Levels of an order book: reading and checking them.

In: a CSV or Parquet file with a row a level: `side`, `price` and `size`. Out: bids and asks as
`InstrumentLiquidity` takes them, or a `DataError` that names file, row and column.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from mcmargin.data.ranges import LEVEL_SIZE, PRICE
from mcmargin.data.tables import read_records
from mcmargin.data.validation import CELLS, Number, Row, first_fault
from mcmargin.errors import DataError


class LevelRow(Row):
    """A level."""

    side: Literal["bid", "ask"] = Field(
        description='"bid" or "ask"; bids from the highest price down, asks from the lowest up.'
    )
    price: Annotated[Number, PRICE] = Field(
        description="Price of the level, quoted as the instrument is. Each price appears once on "
        "a side."
    )
    size: Annotated[Number, LEVEL_SIZE] = Field(description="Units that can be traded at it.")


def read_levels(path: str | os.PathLike[str]) -> dict[str, tuple[tuple[float, float], ...]]:
    r"""Read the levels of one instrument's order book.

    Returns
    -------
    dict of str to tuple of (float, float)
        Price and size of `bids` and `asks`, the best first; a side may be empty.

    Raises
    ------
    DataError
        For a column or value that is unknown or missing, a number that is not above 0, a level
        that is no worse than the one before it on its side, and bids that cross asks.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "levels.csv"
    ...     _ = path.write_text("side,price,size\nbid,99,5\nask,101,4\nbid,98,9\n")
    ...     read_levels(path)
    {'bids': ((99.0, 5.0), (98.0, 9.0)), 'asks': ((101.0, 4.0),)}
    """
    columns, records = read_records(path)
    if sorted(columns) != sorted(LevelRow.model_fields):
        raise DataError(
            f"{path}: columns {', '.join(columns)}; exactly {', '.join(LevelRow.model_fields)} are "
            "needed"
        )
    sides: dict[str, list[tuple[int, LevelRow]]] = {"bid": [], "ask": []}
    for number, record in enumerate(records, 2):
        try:
            row = LevelRow.model_validate(record, context=CELLS)
        except ValidationError as error:
            place, _, words = first_fault(error)
            raise DataError(f"{path}: row {number}, column {place[0]!r}: {words}") from None
        sides[row.side].append((number, row))
    if not records:
        raise DataError(f"{path}: no levels; give at least one")
    for side, sign, worse in (("bid", -1.0, "below"), ("ask", 1.0, "above")):
        for (first, better), (number, level) in zip(sides[side], sides[side][1:], strict=False):
            if not sign * level.price > sign * better.price:
                raise DataError(
                    f"{path}: row {number}, column 'price': {side} {level.price:g} is not {worse} "
                    f"the {better.price:g} of row {first}; {side}s run from the best price on, "
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
        f"{side}s": tuple((level.price, level.size) for _, level in levels)
        for side, levels in sides.items()
    }

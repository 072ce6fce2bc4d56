"""Price files: closes read from CSV or Parquet.

In: a file with one row for each bar and one column for each asset; an empty cell is a missing
close. Out: a `PriceHistory`, or a `DataError` that names the file, the row and the column.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from mcmargin.checks import require_type
from mcmargin.data.candles import assets_of, kind_of
from mcmargin.data.parquet_tables import read_frame
from mcmargin.data.prices import PriceHistory, checked_history
from mcmargin.data.tables import is_parquet, parse_number, read_cells
from mcmargin.data.times import utc_times
from mcmargin.errors import DataError

DATE_LIKE = re.compile(r"^\d|\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*\W+\d", re.I)
"""Matches the first cell of a row of data: a number, or a date in any of the usual forms."""


HEADER_NEEDED = "a header row is needed: a name for the dates, then the assets' names"


def read_prices(
    path: str | os.PathLike[str],
    *,
    zone: str | None = None,
    calendar: str | None = None,
    stamps: str | None = None,
    price: str | None = None,
    asset: str | None = None,
) -> PriceHistory:
    r"""Read closes from CSV or Parquet.

    A CSV file has a header row; its first column has the dates, and every other one an asset.

    Parameters
    ----------
    path : path
    zone, calendar, stamps : str, optional
        What is known of the bars; see `PriceHistory.from_frame`.
    price : str, optional
        The column of candles that is the price, such as "Close"; see `PriceHistory.from_frame`.
    asset : str, optional
        Name of the asset of candles; by default the name of the file without its ending.

    Raises
    ------
    DataError
        It names the file, the row and the column; see `PriceHistory.from_frame`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "prices.csv"
    ...     _ = path.write_text("date,btc,spx\n2021-01-04,31971,3700.65\n2021-01-05,33992,\n")
    ...     read_prices(path).to_frame()
                    btc      spx
    date
    2021-01-04  31971.0  3700.65
    2021-01-05  33992.0      NaN
    """
    require_type("path", path, str, os.PathLike)
    source, asset = str(path), asset or Path(path).stem
    bars = {"zone": zone, "calendar": calendar, "stamps": stamps}
    if is_parquet(path):
        return PriceHistory.from_frame(
            read_frame(path), source=source, price=price, asset=asset, **bars
        )
    header, rows = read_cells(path)
    columns, first = _header_of(header, rows, source)
    _require_dates_first(header, rows[first:], source)
    places, assets = assets_of(columns, source, price, asset)
    chosen = [1 + place for place in places]
    prices = np.array(
        [
            [
                parse_number(row[at], where=f"{source}: row {number}, column {header[at]!r}")
                for at in chosen
            ]
            for number, row in enumerate(rows[first:], 2 + first)
        ]
    )
    history = checked_history(
        assets, [row[0] for row in rows[first:]], prices, source, first=2 + first
    )
    return history.of_bars(**bars)


def _header_of(header: list[str], rows: list[list[str]], source: str) -> tuple[pd.Index, int]:
    """Names of the columns after the dates, and the place of the first row of data.

    The names have two levels if the file has two header rows. A name may be a number, as tickers of
    Tokyo and Hong Kong are. So the first cell alone tells a header from data.
    """
    if len(header) < 2:
        raise DataError(f"{source}: one column; dates and at least one asset are needed")
    if DATE_LIKE.search(header[0]):
        raise DataError(f"{source}: row 1 begins with {header[0]!r}, as data do; {HEADER_NEEDED}")
    names = header[1:]
    under = rows[0][1:] if rows else []
    if under and all(under) and not any(map(_is_number, under)):
        for fields in (names, under):
            if None not in map(kind_of, fields):
                # yfinance writes a third header row, which only has the name of the dates.
                third = len(rows) > 1 and rows[1][0] and not any(rows[1][1:])
                return pd.MultiIndex.from_arrays([names, under]), 2 if third else 1
    for at, name in enumerate(names, 2):
        if not name:
            what = "has an empty cell"
            if at == len(header) and not any(row[-1] for row in rows):
                what += ", since it ends with a comma, as all rows do: take the commas off"
            raise DataError(f"{source}: row 1 {what}; {HEADER_NEEDED}")
    return pd.Index(names), 0


def _require_dates_first(header: list[str], rows: list[list[str]], source: str) -> None:
    """Refuse a table whose dates are not in the first column but in another one.

    pandas writes the numbers of the rows before the dates, unless it is told not to.
    """
    if not rows or utc_times([rows[0][0]])[1].size == 0:
        return
    for name, cell in zip(header[1:], rows[0][1:], strict=False):
        if DATE_LIKE.search(cell) and utc_times([cell])[1].size == 0:
            raise DataError(
                f"{source}: the dates are in column {name!r}, and the first column has none; make "
                "the dates the first column (to_csv(path, index=False) leaves row numbers out)"
            )


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True

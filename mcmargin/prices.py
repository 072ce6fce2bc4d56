"""Prices: reading and checking closes, and the returns between them.

In: a CSV or Parquet file, or a DataFrame, one row a bar and one column an asset; an empty cell is
a missing close. Out: `PriceHistory`, and from it joint simple returns on the dates on which
every asset has a close. A return over a weekend or a holiday belongs to the bar that ends it; a
date on which an asset did not trade is lost and counted, never a zero return.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.errors import DataError
from mcmargin.tables import MISSING, parse_number, read_cells, read_frame

Times = NDArray[np.datetime64]


@dataclass(frozen=True, eq=False)
class PriceHistory:
    """Closes of several assets.

    Attributes
    ----------
    assets : tuple of str
    times : ndarray of shape (bars,), datetime64[ns]
        End of each bar, UTC, increasing.
    prices : ndarray of shape (bars, assets), float64
        Above 0; NaN where an asset has no close.
    source : str
        File name, for messages.
    """

    assets: tuple[str, ...]
    times: Times
    prices: NDArray[np.float64]
    source: str

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, source: str = "frame") -> PriceHistory:
        """Check a DataFrame of closes: dates in the index or first column, assets in columns.

        Raises
        ------
        DataError
            For dates missing, repeated or unsorted; prices at or below 0, infinite or not
            numbers; a repeated asset; a price that never moves; fewer than two rows.

        Examples
        --------
        >>> dates = pd.date_range("2021-01-04", periods=3)
        >>> frame = pd.DataFrame({"btc": [31971.0, 33992.0, 36824.0]}, index=dates)
        >>> PriceHistory.from_frame(frame).assets
        ('btc',)
        """
        if frame.shape[1] == 0 or len(frame) == 0:
            raise DataError(f"{source}: no prices; dates and at least one asset are needed")
        if not isinstance(frame.index, pd.DatetimeIndex):
            frame = frame.set_index(frame.columns[0])
        assets = [str(column) for column in frame.columns]
        stamps = [str(stamp) for stamp in frame.index]
        columns = []
        for at, asset in enumerate(assets):
            column = frame.iloc[:, at]
            numbers = pd.to_numeric(column, errors="coerce").to_numpy(float)
            text = np.isnan(numbers) & column.notna().to_numpy()
            if text.any():
                row = int(np.flatnonzero(text)[0])
                raise DataError(
                    f"{source}: row {row + 2}, column {asset!r}: "
                    f"{column.iloc[row]!r} is not a number"
                )
            columns.append(numbers)
        return _checked(assets, stamps, np.column_stack(columns), source)

    def to_frame(self) -> pd.DataFrame:
        """Return closes with dates in the index and assets in columns."""
        index = pd.DatetimeIndex(self.times, name="date")
        return pd.DataFrame(self.prices, index=index, columns=list(self.assets))


def read_prices(path: str | os.PathLike[str]) -> PriceHistory:
    """Read closes from CSV (header; dates first, then one column an asset) or Parquet.

    Raises
    ------
    DataError
        Naming file, row and column; see `PriceHistory.from_frame`.
    """
    source = Path(path).name
    if source.endswith(".parquet"):
        return PriceHistory.from_frame(read_frame(path), source=source)
    header, rows = read_cells(path)
    _require_header(header, source)
    prices = np.array(
        [
            [
                parse_number(cell, where=f"{source}: row {number}, column {asset!r}")
                for asset, cell in zip(header[1:], row[1:], strict=True)
            ]
            for number, row in enumerate(rows, 2)
        ]
    )
    return _checked(header[1:], [row[0] for row in rows], prices, source)


def _require_header(header: list[str], source: str) -> None:
    if len(header) < 2:
        raise DataError(f"{source}: one column; dates and at least one asset are needed")
    if not pd.isna(pd.to_datetime(header[0], errors="coerce", format="ISO8601")):
        raise DataError(f"{source}: row 1 holds the date {header[0]}; a header row is needed")
    for name in header[1:]:
        try:
            float(name)
        except ValueError:
            continue
        raise DataError(f"{source}: row 1 holds the number {name}; a header row is needed")


def _checked(
    assets: list[str], stamps: list[str], prices: NDArray[np.float64], source: str
) -> PriceHistory:
    if len(stamps) < 2:
        raise DataError(f"{source}: {len(stamps)} rows of prices; at least 2 are needed")
    for asset in assets:
        if not asset:
            raise DataError(f"{source}: row 1 has a column without a name")
        if assets.count(asset) > 1:
            raise DataError(f"{source}: asset {asset!r} stands in more than one column")
    times = _parse_times(stamps, source)
    for row, at in np.argwhere(np.isinf(prices) | (prices <= 0)):
        raise DataError(
            f"{source}: row {row + 2}, column {assets[at]!r}: {prices[row, at]} is not a price; "
            "prices at or below 0 and infinite ones are out of scope"
        )
    for at, asset in enumerate(assets):
        closes = prices[np.isfinite(prices[:, at]), at]
        if len(closes) == 0:
            raise DataError(f"{source}: asset {asset!r} has no price at all; leave it out")
        if len(closes) > 2 and (closes == closes[0]).all():
            raise DataError(f"{source}: the price of {asset!r} never moves; leave it out")
    return PriceHistory(tuple(assets), times, prices, source)


def _parse_times(stamps: list[str], source: str) -> Times:
    parsed = pd.to_datetime(pd.Series(stamps), errors="coerce", utc=True, format="ISO8601")
    bad = np.flatnonzero(parsed.isna())
    if len(bad):
        first = int(bad[0])
        cell = stamps[first]
        what = "no date" if cell.lower() in MISSING | {"nat"} else f"{cell!r} is not an ISO date"
        raise DataError(f"{source}: row {first + 2}, first column: {what}")
    times = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")
    step = np.diff(times)
    for row in np.flatnonzero(step <= np.timedelta64(0, "ns")):
        what = "repeats the date" if step[row] == np.timedelta64(0, "ns") else "is earlier than"
        raise DataError(
            f"{source}: row {row + 3} ({stamps[row + 1]}) {what} of row {row + 2}; "
            "give each date once, oldest first"
        )
    return np.asarray(times)


@dataclass(frozen=True)
class JoinReport:
    """What joining the assets on their common dates kept and lost.

    Attributes
    ----------
    rows, common, lost : int
        Dates in all, dates on which every asset has a close, and the others.
    first, last : str
        Common dates, ISO.
    missing : dict
        Dates, between an asset's own first and last close, on which it has none.
    """

    rows: int
    common: int
    lost: int
    first: str
    last: str
    missing: dict[str, int]

    def summary(self) -> str:
        """Text for people."""
        gaps = ", ".join(f"{asset} {count}" for asset, count in self.missing.items() if count)
        return (
            f"{self.common} common dates from {self.first} to {self.last}; {self.lost} of "
            f"{self.rows} dates lost, on which some asset has no close"
            + (f" (missing closes: {gaps})" if gaps else "")
        )


@dataclass(frozen=True, eq=False)
class ReturnHistory:
    """Joint simple returns.

    Attributes
    ----------
    assets : tuple of str
    times : ndarray of shape (bars,), datetime64[ns]
        End of each bar.
    returns : ndarray of shape (bars, assets), float64
        Fractions.
    last_prices : ndarray of shape (assets,), float64
    report : JoinReport
    """

    assets: tuple[str, ...]
    times: Times
    returns: NDArray[np.float64]
    last_prices: NDArray[np.float64]
    report: JoinReport


def joint_returns(
    prices: PriceHistory, *, before: tuple[np.datetime64, NDArray[np.float64]] | None = None
) -> ReturnHistory:
    """Simple returns between the dates on which every asset has a close.

    Parameters
    ----------
    prices : PriceHistory
    before : tuple of time and ndarray of shape (assets,), optional
        Closes already known: only later rows count, and the first return starts there.

    Raises
    ------
    DataError
        If no return is left.

    Examples
    --------
    >>> dates = pd.date_range("2021-01-04", periods=3)
    >>> frame = pd.DataFrame({"a": [100, 110, 99.0], "b": [50, None, 55.0]}, index=dates)
    >>> joint = joint_returns(PriceHistory.from_frame(frame))
    >>> joint.returns.round(4).tolist(), joint.report.lost
    ([[-0.01, 0.1]], 1)
    """
    times, closes = prices.times, prices.prices
    if before is not None:
        later = times > before[0]
        times, closes = times[later], closes[later]
    whole = np.isfinite(closes).all(axis=1)
    kept, common = closes[whole], times[whole]
    if before is not None:
        kept = np.vstack([before[1], kept])
    if len(kept) < 2:
        raise DataError(
            f"{prices.source}: the assets {', '.join(prices.assets)} have too few dates in common "
            f"({len(common)} of {len(times)}); check their calendars or leave one out"
        )
    report = JoinReport(
        rows=len(times),
        common=len(common),
        lost=len(times) - len(common),
        first=str(common[0])[:10],
        last=str(common[-1])[:10],
        missing={asset: _gaps(closes[:, at]) for at, asset in enumerate(prices.assets)},
    )
    ends = common if before is not None else common[1:]
    return ReturnHistory(prices.assets, ends, kept[1:] / kept[:-1] - 1.0, kept[-1], report)


def own_returns(prices: PriceHistory, asset: str) -> ReturnHistory:
    """Return one asset's simple returns between its own closes, whatever the others' calendars."""
    at = prices.assets.index(asset)
    alone = replace(prices, assets=(asset,), prices=prices.prices[:, at : at + 1])
    return joint_returns(alone)


def _gaps(column: NDArray[np.float64]) -> int:
    present = np.flatnonzero(np.isfinite(column))
    return 0 if len(present) == 0 else int(present[-1] - present[0] + 1 - len(present))

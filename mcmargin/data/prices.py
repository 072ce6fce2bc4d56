"""Prices: reading and checking closes, and the returns between them.

In: a CSV or Parquet file, or a DataFrame, one row a bar and one column an asset; an empty cell is
a missing close. Out: `PriceHistory`, and from it joint simple returns on the dates on which
every asset has a close. A return over a weekend or a holiday belongs to the bar that ends it; a
date on which an asset did not trade is lost and counted, never a zero return.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.checks import few, plain_time, require_type
from mcmargin.data.bar_patterns import STAMPS, closes_of
from mcmargin.data.bars import BarCalendar
from mcmargin.data.exchanges import exchange_sessions
from mcmargin.data.tables import (
    is_parquet,
    parse_number,
    read_cells,
    read_frame,
)
from mcmargin.data.times import not_a_time, utc_times
from mcmargin.data.zones import check_zone, zone_of
from mcmargin.errors import DataError

Times = NDArray[np.datetime64]

DATE_LIKE = re.compile(r"^\d|\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*\W+\d", re.I)
"""The first cell of a row of data: a number, or a date in one of the ways that people write it."""

HEADER_NEEDED = "a header row is needed: a name for the dates, then the assets' names"


@dataclass(frozen=True, eq=False, repr=False)
class PriceHistory:
    """Closes of several assets.

    Attributes
    ----------
    assets : tuple of str
    times : ndarray of shape (bars,), datetime64[ns]
        End of each bar, UTC, increasing; its start where `stamps` says so.
    prices : ndarray of shape (bars, assets), float64
        Above 0; NaN where an asset has no close.
    source : str
        File name, for messages.
    zone : str, optional
        IANA name of the zone on whose clock the bars are regular.
    calendar : str
        Name of the exchange in `exchange_calendars` whose sessions the bars are of; none: "".
    stamps : str
        What the times are: "dates" of the closes, "start" or "end" of the bars; "" where that is
        read off the times themselves.
    """

    assets: tuple[str, ...]
    times: Times
    prices: NDArray[np.float64]
    source: str
    zone: str | None = None
    calendar: str = ""
    stamps: str = ""

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        source: str = "frame",
        zone: str | None = None,
        calendar: str | None = None,
        stamps: str | None = None,
    ) -> PriceHistory:
        """Check a DataFrame of closes, one column an asset.

        Dates stand in the index or, where that only counts rows, in the first column. They are
        ISO dates or timestamps; with a time zone they are converted to UTC. A period of pandas
        stands for the date of its last day or, where it is shorter than a day, for its end.

        Parameters
        ----------
        frame : DataFrame
        source : str
            Named in errors.
        zone : str, optional
            IANA name of the zone on whose clock the bars are regular, such as America/New_York. It
            changes no time of the frame, only the closes that are expected next. Without one it is
            the zone of the index, or the one that calibration infers.
        calendar : str, optional
            Name of the exchange in `exchange_calendars`, such as XNYS, whose holidays and short
            days are known. The package is the extra `calendars`.
        stamps : str, optional
            What the times are: "dates" of the closes, whose hour is not told; "start" or "end" of
            the bars. Without it bars of a day or more that are all at midnight are dates, and
            others ends; dates on the first day of months or weeks need it.

        Raises
        ------
        DataError
            For dates missing, repeated or unsorted; prices at or below 0, infinite or not
            numbers; a repeated asset; no rows; a zone, an exchange or stamps that are unknown.

        Examples
        --------
        >>> dates = pd.date_range("2021-01-04", periods=3)
        >>> frame = pd.DataFrame({"btc": [31971.0, 33992.0, 36824.0]}, index=dates)
        >>> PriceHistory.from_frame(frame).assets
        ('btc',)
        """
        if isinstance(frame, pd.Series):
            raise DataError(f"{source}: a Series; give a DataFrame, such as series.to_frame('btc')")
        require_type(source, frame, pd.DataFrame)
        dates = frame.index
        # An index of whole numbers counts rows; any other is taken for the dates.
        if pd.api.types.is_integer_dtype(dates) and frame.shape[1] > 0:
            dates, frame = pd.Index(frame.iloc[:, 0]), frame.iloc[:, 1:]
        if isinstance(dates, pd.PeriodIndex):
            days = dates[0].end_time - dates[0].start_time >= pd.Timedelta("23h")
            dates = dates.end_time.normalize() if days else (dates + 1).start_time
        if frame.size == 0:
            raise DataError(f"{source}: no prices; dates and at least one asset are needed")
        assets = [str(column).strip() for column in frame.columns]
        columns = [_numbers(frame.iloc[:, at], asset, source) for at, asset in enumerate(assets)]
        history = _checked(assets, dates, np.column_stack(columns), source)
        if zone is None and isinstance(dates, pd.DatetimeIndex):
            zone = zone_of(dates)
        return history.of_bars(zone=zone, calendar=calendar, stamps=stamps)

    def of_bars(
        self, *, zone: str | None = None, calendar: str | None = None, stamps: str | None = None
    ) -> PriceHistory:
        """Return the same closes with what is known of their bars; see `from_frame`."""
        if stamps not in (None, *STAMPS):
            raise DataError(f"stamps {stamps!r:.60} is unknown; choose of {', '.join(STAMPS)}")
        if calendar is not None:
            exchange_sessions(calendar, self.times[0], self.times[-1])
        return replace(
            self,
            zone=None if zone is None else check_zone(zone),
            calendar=calendar or "",
            stamps=stamps or "",
        )

    def at_closes(self, calendar: BarCalendar | None = None) -> PriceHistory:
        """Return the same closes at the ends of their bars, where they are stamped at the starts.

        Parameters
        ----------
        calendar : BarCalendar, optional
            Of the model that the closes are for: it says how long a bar is, and how bars are
            stamped where the history does not.

        Raises
        ------
        DataError
            If the model's bars are stamped otherwise than these are said to be.
        """
        stamps = self.stamps
        if calendar is not None:
            if stamps not in ("", calendar.stamps):
                raise DataError(
                    f"{self.source}: stamps={stamps!r}, and the model was calibrated on bars with "
                    f"stamps={calendar.stamps or None!r}; give both the same"
                )
            stamps = calendar.stamps
        try:
            times = closes_of(self.times, stamps, self.zone, calendar=calendar)
        except DataError as error:
            raise DataError(f"{self.source}: {error}") from None
        return replace(self, times=times)

    def __repr__(self) -> str:
        first, last = plain_time(self.times[0]), plain_time(self.times[-1])
        return f"<PriceHistory of {few(self.assets)}: {len(self.times):,} bars, {first} to {last}>"

    def to_frame(self) -> pd.DataFrame:
        """Return closes with dates in the index and assets in columns."""
        index = pd.DatetimeIndex(self.times, name="date")
        return pd.DataFrame(self.prices, index=index, columns=list(self.assets))


def read_prices(
    path: str | os.PathLike[str],
    *,
    zone: str | None = None,
    calendar: str | None = None,
    stamps: str | None = None,
) -> PriceHistory:
    r"""Read closes from CSV (header; dates first, then one column an asset) or Parquet.

    Parameters
    ----------
    path : path
    zone, calendar, stamps : str, optional
        What is known of the bars; see `PriceHistory.from_frame`.

    Raises
    ------
    DataError
        Naming file, row and column; see `PriceHistory.from_frame`.

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
    source = str(path)
    if is_parquet(path):
        return PriceHistory.from_frame(
            read_frame(path), source=source, zone=zone, calendar=calendar, stamps=stamps
        )
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
    history = _checked(header[1:], [row[0] for row in rows], prices, source)
    return history.of_bars(zone=zone, calendar=calendar, stamps=stamps)


def _require_header(header: list[str], source: str) -> None:
    if len(header) < 2:
        raise DataError(f"{source}: one column; dates and at least one asset are needed")
    if DATE_LIKE.search(header[0]):
        raise DataError(f"{source}: row 1 begins with {header[0]!r}, as data do; {HEADER_NEEDED}")
    for name in header[1:]:
        try:
            float(name or "nan")
        except ValueError:
            continue
        what = f"holds the number {name}" if name else "has an empty cell"
        raise DataError(f"{source}: row 1 {what}; {HEADER_NEEDED}")


def _numbers(column: pd.Series, asset: str, source: str) -> NDArray[np.float64]:
    """Numbers of a column, NaN where missing; other types, such as text, cell by cell."""
    if column.dtype.kind in "iuf":
        return column.to_numpy(np.float64, na_value=np.nan)
    cells = column.astype(object).where(column.notna(), "")
    return np.array(
        [
            parse_number(str(cell), where=f"{source}: row {row}, column {asset!r}")
            for row, cell in enumerate(cells, 2)
        ]
    )


def _checked(
    assets: list[str], stamps: list[str] | pd.Index, prices: NDArray[np.float64], source: str
) -> PriceHistory:
    if len(stamps) == 0:
        raise DataError(f"{source}: no rows of prices; at least one is needed")
    for asset in assets:
        if not asset:
            raise DataError(f"{source}: a column has no name; name each by its asset")
        if assets.count(asset) > 1:
            raise DataError(f"{source}: asset {asset!r} stands in more than one column")
    times = _parse_times(stamps, source)
    for row, at in np.argwhere(np.isinf(prices) | (prices <= 0)):
        raise DataError(
            f"{source}: row {row + 2}, column {assets[at]!r}: {prices[row, at]} is not a price; "
            "empty the cell where there was no close; a price that can reach 0 cannot be modelled"
        )
    for at, asset in enumerate(assets):
        closes = prices[np.isfinite(prices[:, at]), at]
        if len(closes) == 0:
            raise DataError(f"{source}: asset {asset!r} has no price at all; leave it out")
    return PriceHistory(tuple(assets), times, prices, source)


def _parse_times(stamps: list[str] | pd.Index, source: str) -> Times:
    times, bad = utc_times(stamps)
    for row in bad[:1].tolist():
        what = not_a_time(stamps[row])
        raise DataError(f"{source}: row {row + 2}, first column: {what}")
    step = np.diff(times)
    for row in np.flatnonzero(step <= np.timedelta64(0, "ns")).tolist():
        what = "repeats" if step[row] == np.timedelta64(0, "ns") else "is earlier than"
        raise DataError(
            f"{source}: row {row + 3} ({stamps[row + 1]}) {what} the date of row {row + 2}; "
            "give each date once, oldest first"
        )
    return times


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

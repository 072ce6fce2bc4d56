"""Prices: reading and checking closes, and the returns between them.

In: a CSV or Parquet file, or a DataFrame, one row a bar and one column an asset; an empty cell is
a missing close. Out: `PriceHistory`, and from it joint simple returns on the dates on which
every asset has a close. A return over a weekend or a holiday belongs to the bar that ends it; a
date on which an asset did not trade is lost and counted, never a zero return.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.checks import few, plain_time, require_real_array, require_type
from mcmargin.data.bar_stamps import STAMPS, closes_of
from mcmargin.data.bars import BarCalendar
from mcmargin.data.candles import (
    are_candles,
    candles_fault,
    chosen_columns,
    kind_of,
    levels_fault,
    split_names,
)
from mcmargin.data.exchanges import exchange_sessions
from mcmargin.data.parquet_tables import read_frame
from mcmargin.data.ranges import PRICE
from mcmargin.data.tables import (
    is_parquet,
    name_of,
    numbers_of,
    parse_number,
    read_cells,
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
    shown_zone : str, optional
        Zone of the index that the times came with: the bars may be regular in it, or not.
    """

    assets: tuple[str, ...]
    times: Times
    prices: NDArray[np.float64]
    source: str
    zone: str | None = None
    calendar: str = ""
    stamps: str = ""
    shown_zone: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no history of closes, also where one is made or changed by hand."""
        what = f"{self.source}: prices"
        require_real_array(what, self.prices)
        if not isinstance(self.times, np.ndarray) or self.times.dtype.kind != "M":
            raise DataError(f"{self.source}: times must be an array of datetime64")
        if np.isnat(self.times).any() or (np.diff(self.times) <= np.timedelta64(0)).any():
            raise DataError(f"{self.source}: times must increase, and none may be missing")
        if np.shape(self.prices) != (len(self.times), len(self.assets)):
            raise DataError(
                f"{what} have the shape {np.shape(self.prices)}; {len(self.times)} times and "
                f"{len(self.assets)} assets need {(len(self.times), len(self.assets))}"
            )
        _check_names(self.assets, self.source)
        _check_prices(self.assets, self.prices, self.source, first=1)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        source: str = "frame",
        zone: str | None = None,
        calendar: str | None = None,
        stamps: str | None = None,
        price: str | None = None,
        asset: str | None = None,
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
            changes no time of the frame, only the closes that are expected next. Without one
            calibration infers it, and the zone of the index is among those that it tries.
        calendar : str, optional
            Name of the exchange in `exchange_calendars`, such as XNYS, whose holidays and short
            days are known. The package is the extra `calendars`.
        stamps : str, optional
            What the times are: "dates" of the closes, whose hour is not told; "start" or "end" of
            the bars. Without it bars of a day or more that are all at midnight are dates, and
            others ends; dates on the first day of months or weeks need it.
        price : str, optional
            Where columns are not assets but open, high, low, close and volume: the column that is
            the price, such as "Close". Of columns in two levels, as yfinance makes them, it is the
            field, and the other level has the assets.
        asset : str, optional
            What the asset is called whose candles the columns are.

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
        if isinstance(dates, pd.PeriodIndex) and len(dates) > 0:
            days = dates[0].end_time - dates[0].start_time >= pd.Timedelta("23h")
            dates = dates.end_time.normalize() if days else (dates + 1).start_time
        if frame.size == 0:
            raise DataError(f"{source}: no prices; dates and at least one asset are needed")
        places, assets = _assets_of(frame.columns, source, price, asset)
        frame = frame.iloc[:, places]
        columns = [_numbers(frame.iloc[:, at], asset, source) for at, asset in enumerate(assets)]
        history = _checked(assets, dates, np.column_stack(columns), source)
        shown = zone_of(dates) if isinstance(dates, pd.DatetimeIndex) else None
        history = replace(history, shown_zone=shown)
        return history.of_bars(zone=zone, calendar=calendar, stamps=stamps)

    def of_bars(
        self, *, zone: str | None = None, calendar: str | None = None, stamps: str | None = None
    ) -> PriceHistory:
        """Return the same closes with what is known of their bars; see `from_frame`."""
        if stamps not in (None, *STAMPS):
            raise DataError(f"stamps {stamps!r:.60} is unknown; choose one of {', '.join(STAMPS)}")
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
            zone = self.zone or self.shown_zone
            times = closes_of(self.times, stamps, zone, calendar=calendar)
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
    price: str | None = None,
    asset: str | None = None,
) -> PriceHistory:
    r"""Read closes from CSV (header; dates first, then one column an asset) or Parquet.

    Parameters
    ----------
    path : path
    zone, calendar, stamps : str, optional
        What is known of the bars; see `PriceHistory.from_frame`.
    price : str, optional
        The column of candles that is the price, such as "Close"; see `PriceHistory.from_frame`.
    asset : str, optional
        What the asset of candles is called; the file's name without its ending by default.

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
    source, asset = str(path), asset or Path(path).stem
    bars = {"zone": zone, "calendar": calendar, "stamps": stamps}
    if is_parquet(path):
        return PriceHistory.from_frame(
            read_frame(path), source=source, price=price, asset=asset, **bars
        )
    header, rows = read_cells(path)
    columns, first = _header_of(header, rows, source)
    _require_dates_first(header, rows[first:], source)
    places, assets = _assets_of(columns, source, price, asset)
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
    history = _checked(assets, [row[0] for row in rows[first:]], prices, source, first=2 + first)
    return history.of_bars(**bars)


def _header_of(header: list[str], rows: list[list[str]], source: str) -> tuple[pd.Index, int]:
    """Names of the columns after the dates', in two levels where there are, and where data begin.

    A name may be a number, as the tickers of Tokyo and Hong Kong are: only the first cell tells
    a header from data.
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
                # yfinance writes a third row, with the name of the dates alone.
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
    """Refuse a table whose first column is not the dates, and another one is.

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


def _assets_of(
    columns: pd.Index, source: str, price: str | None, asset: str | None
) -> tuple[list[int], list[str]]:
    """Places of the columns that are prices, and the assets that they are of.

    Raises
    ------
    DataError
        Where columns are candles, and not assets, and no price is chosen; or for names of columns
        that are no text.
    """
    if isinstance(columns, pd.MultiIndex):
        if columns.nlevels != 2:
            raise DataError(f"{source}: columns in {columns.nlevels} levels; two at most are read")
        levels = [[str(name).strip() for name in columns.get_level_values(at)] for at in (0, 1)]
        fields, assets = levels
        if None in map(kind_of, fields) and None not in map(kind_of, assets):
            fields, assets = assets, fields
        if price is None:
            raise levels_fault(fields, source)
        places = chosen_columns(fields, price, source)
        return places, [assets[at] for at in places]
    names = []
    for column in columns:
        name = name_of(column)
        # An empty name is told with the others.
        if name is None and not (isinstance(column, str) and not column.strip()):
            raise DataError(
                f"{source}: a column is called {column!r:.60}; name each by its asset, in text"
            )
        names.append(name or "")
    candles = are_candles(names)
    pairs = None if candles else split_names(names)
    if pairs is not None:
        fields, assets = [field for field, _ in pairs], [name for _, name in pairs]
        if price is None:
            raise levels_fault(fields, source)
        places = chosen_columns(fields, price, source)
        return places, [assets[at] for at in places]
    if price is None:
        if candles:
            raise candles_fault(names, source, asset)
        return list(range(len(names))), names
    places = chosen_columns(names, price, source)[:1]
    if not asset:
        raise DataError(f"{source}: price={price!r} needs the asset's name, asset='NAME'")
    return places, [asset]


def _numbers(column: pd.Series, asset: str, source: str) -> NDArray[np.float64]:
    """Numbers of a column, NaN where missing; other types, such as text, cell by cell."""
    return numbers_of(column, f"{source}: row {{row}}, column {asset!r}")


def _checked(
    assets: list[str],
    stamps: list[str] | pd.Index,
    prices: NDArray[np.float64],
    source: str,
    *,
    first: int = 2,
) -> PriceHistory:
    """Check closes; `first` is the row of the file in which the data begin."""
    if len(stamps) == 0:
        raise DataError(f"{source}: no rows of prices; at least one is needed")
    _check_names(assets, source)
    times = _parse_times(stamps, source, first)
    _check_prices(assets, prices, source, first=first)
    for at, asset in enumerate(assets):
        closes = prices[np.isfinite(prices[:, at]), at]
        if len(closes) == 0:
            raise DataError(f"{source}: asset {asset!r} has no price at all; leave it out")
    return PriceHistory(tuple(assets), times, prices, source)


def _check_names(assets: Sequence[str], source: str) -> None:
    for asset in assets:
        if not isinstance(asset, str) or not asset:
            raise DataError(f"{source}: a column has no name; name each by its asset")
    for asset, count in Counter(assets).items():
        if count > 1:
            raise DataError(f"{source}: asset {asset!r} stands in more than one column")


def _check_prices(
    assets: Sequence[str], prices: NDArray[np.float64], source: str, *, first: int
) -> None:
    """Refuse the first price out of range; `first` is what its first row is called."""
    for row, at in np.argwhere(
        ~(np.isnan(prices) | (prices >= PRICE.least) & (prices <= PRICE.most))
    ):
        value = prices[row, at]
        what = f"{value} is not a price; empty the cell where there was no close; a price that can "
        what += "reach 0 cannot be modelled"
        if -1.0 < value < 0.0:
            what += "; if these are returns, give the prices that they are of"
        if 0.0 < value < np.inf:
            what = f"{value:g} is not a price {PRICE.words}"
        raise DataError(f"{source}: row {row + first}, column {assets[at]!r}: {what}")


def _parse_times(stamps: list[str] | pd.Index, source: str, first: int) -> Times:
    times, bad = utc_times(stamps)
    for row in bad[:1].tolist():
        what = not_a_time(stamps[row])
        raise DataError(f"{source}: row {row + first}, first column: {what}")
    step = np.diff(times)
    for row in np.flatnonzero(step <= np.timedelta64(0, "ns")).tolist():
        what = "repeats" if step[row] == np.timedelta64(0, "ns") else "is earlier than"
        raise DataError(
            f"{source}: row {row + 1 + first} ({stamps[row + 1]}) {what} the date of row "
            f"{row + first}; "
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

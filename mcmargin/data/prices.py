"""Prices: the closes of several assets, checked.

In: a DataFrame with one row for each bar and one column for each asset; NaN is a missing close.
Out: a `PriceHistory`, or a `DataError` that names the row and the column. `mcmargin.data.returns`
makes returns of it, and `mcmargin.data.price_files` reads one from a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.checks import few, plain_time, require_real_array, require_type
from mcmargin.data.bar_stamps import STAMPS, closes_of
from mcmargin.data.bars import BarCalendar
from mcmargin.data.candles import assets_of
from mcmargin.data.exchanges import exchange_sessions
from mcmargin.data.ranges import PRICE
from mcmargin.data.tables import (
    numbers_of,
)
from mcmargin.data.times import not_a_time, utc_times
from mcmargin.data.zones import check_zone, zone_of
from mcmargin.errors import DataError

Times = NDArray[np.datetime64]


@dataclass(frozen=True, eq=False, repr=False)
class PriceHistory:
    """Closes of several assets.

    It is checked whenever one is made, also by hand or by `dataclasses.replace`.

    Attributes
    ----------
    assets : tuple of str
    times : ndarray of shape (bars,), datetime64[ns]
        End of each bar in UTC, or its start if `stamps` says so; increasing.
    prices : ndarray of shape (bars, assets), float64
        Closes above 0; NaN if an asset has no close.
    source : str
        Name of the file, for messages.
    zone : str, optional
        IANA name of the zone on whose clock the bars are regular.
    calendar : str
        Name in `exchange_calendars` of the exchange whose sessions the bars are; "" for none.
    stamps : str
        What the times are: "dates" of the closes, "start" or "end" of the bars; "" if the times
        themselves tell.
    shown_zone : str, optional
        Zone of the index with which the times came. The bars may be regular on its clock, or not.
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
        """Check a DataFrame of closes with one column for each asset.

        The dates are in the index or, if the index only counts rows, in the first column. They are
        ISO dates or timestamps; with a time zone they are converted to UTC. A period of pandas
        stands for the date of its last day or, if it is shorter than a day, for its end.

        Parameters
        ----------
        frame : DataFrame
        source : str
            Named in errors.
        zone : str, optional
            IANA name of the zone on whose clock the bars are regular, such as America/New_York. It
            changes no time of the frame, only the closes that are expected next. Without a zone
            calibration infers one, and the zone of the index is among those that it tries.
        calendar : str, optional
            Name in `exchange_calendars`, such as XNYS, of the exchange whose holidays and short
            days count. It needs the extra `calendars`.
        stamps : str, optional
            What the times are: "dates" of the closes, which do not tell the hour; "start" or "end"
            of the bars. Without it, times of bars of a day or more that are all at midnight are
            dates, and other times are ends. Dates on the first day of months or weeks need it.
        price : str, optional
            If the columns are not assets but open, high, low, close and volume: the column that is
            the price, such as "Close". If the columns have two levels, as yfinance makes them, it
            is a name of one level, and the other level has the assets.
        asset : str, optional
            Name of the asset, if the columns are the candles of one asset.

        Raises
        ------
        DataError
            If dates are missing, repeated or not sorted; a price is at or below 0, infinite or not
            a number; an asset is repeated; there are no rows; or a zone, an exchange or stamps are
            unknown.

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
        # An index of whole numbers counts rows; any other index has the dates.
        if pd.api.types.is_integer_dtype(dates) and frame.shape[1] > 0:
            dates, frame = pd.Index(frame.iloc[:, 0]), frame.iloc[:, 1:]
        if isinstance(dates, pd.PeriodIndex) and len(dates) > 0:
            days = dates[0].end_time - dates[0].start_time >= pd.Timedelta("23h")
            dates = dates.end_time.normalize() if days else (dates + 1).start_time
        if frame.size == 0:
            raise DataError(f"{source}: no prices; dates and at least one asset are needed")
        places, assets = assets_of(frame.columns, source, price, asset)
        frame = frame.iloc[:, places]
        columns = [_numbers(frame.iloc[:, at], asset, source) for at, asset in enumerate(assets)]
        history = checked_history(assets, dates, np.column_stack(columns), source)
        shown = zone_of(dates) if isinstance(dates, pd.DatetimeIndex) else None
        history = replace(history, shown_zone=shown)
        return history.of_bars(zone=zone, calendar=calendar, stamps=stamps)

    def of_bars(
        self, *, zone: str | None = None, calendar: str | None = None, stamps: str | None = None
    ) -> PriceHistory:
        """Return the same closes with the zone, exchange and stamps that `from_frame` explains."""
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
        """Return the same closes with the ends of their bars as times.

        Parameters
        ----------
        calendar : BarCalendar, optional
            Calendar of the model that the closes are for. It says how long a bar is and, if the
            history does not, whether a time is the start of a bar.

        Raises
        ------
        DataError
            If the model's bars have other stamps than these.
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
        """Return a DataFrame of the closes with dates in the index and assets in columns."""
        index = pd.DatetimeIndex(self.times, name="date")
        return pd.DataFrame(self.prices, index=index, columns=list(self.assets))


def _numbers(column: pd.Series, asset: str, source: str) -> NDArray[np.float64]:
    """Numbers of a column, NaN for a missing one; a column of text is read cell by cell."""
    return numbers_of(column, f"{source}: row {{row}}, column {asset!r}")


def checked_history(
    assets: list[str],
    stamps: list[str] | pd.Index,
    prices: NDArray[np.float64],
    source: str,
    *,
    first: int = 2,
) -> PriceHistory:
    """Make a history of closes after checks that name the row of the file.

    Parameters
    ----------
    assets : list of str
    stamps : list of str or Index
        Times as they were read.
    prices : ndarray of shape (bars, assets), float64
    source : str
        Named in errors.
    first : int
        Row of the file in which the data begin.
    """
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
    """Refuse the first price that is out of range; `first` is the number of the first row."""
    for row, at in np.argwhere(
        ~(np.isnan(prices) | (prices >= PRICE.least) & (prices <= PRICE.most))
    ):
        value = prices[row, at]
        what = f"{value} is not a price; empty the cell where there was no close; a price that can "
        what += "reach 0 cannot be modelled"
        if -1.0 < value < 0.0:
            what += "; if these are returns, give the prices from which they were computed"
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

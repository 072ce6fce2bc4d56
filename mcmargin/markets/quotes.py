"""Quotes: reads and checks quotes of implied volatility, and sorts them by expiry.

In: a CSV or Parquet file, or a DataFrame, with one row for each quote: `expiry`, `strike` or
`log_moneyness`, `volatility`, and optionally `forward`, `bid` and `ask`. Out: a frame with typed
columns, and for each expiry arrays of log-moneyness and volatilities.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.checks import plain_time, require_type
from mcmargin.data.bars import years_between
from mcmargin.data.parquet_tables import read_frame
from mcmargin.data.plausibility import Plausibility, way_to_widen
from mcmargin.data.ranges import PRICE, VOLATILITY, Range
from mcmargin.data.tables import is_parquet, parse_number, read_cells
from mcmargin.data.times import not_a_time, utc_time, utc_times
from mcmargin.errors import DataError

PLACES = ("strike", "log_moneyness")
"""Columns that tell the place of a quote on the smile; exactly one of them is needed."""

SIDES = ("bid", "ask")
"""Columns of volatilities that may be missing or have empty cells."""

LOG_MONEYNESS = Range(-20.0, 20.0)
"""Range of ln(strike / forward): strikes up to 485 million times the forward, or down to as small a
part of it."""

RANGES = {
    "strike": PRICE,
    "forward": PRICE,
    "log_moneyness": LOG_MONEYNESS,
    "volatility": VOLATILITY,
    "bid": VOLATILITY,
    "ask": VOLATILITY,
}
"""Range of the numbers of each column; docs/files.md has them, too."""

SHORTEST, LONGEST = np.timedelta64(1, "s"), np.timedelta64(36_525, "D")
"""Least and largest time to expiry: a second, and a hundred years."""


@dataclass(frozen=True, eq=False)
class ExpiryQuotes:
    """Quotes of one expiry.

    Attributes
    ----------
    expiry : numpy.datetime64
        Time of expiry in UTC, with nanoseconds.
    time : float
        Years to expiry, above 0.
    forward : float
        NaN if quotes were given by log-moneyness without a forward.
    log_moneyness : ndarray of shape (quotes,), float64
        ln(strike / forward), increasing.
    volatilities : ndarray of shape (quotes,), float64
    bid_volatilities, ask_volatilities : ndarray of shape (quotes,), float64, optional
        NaN for a quote without one.
    """

    expiry: np.datetime64
    time: float
    forward: float
    log_moneyness: NDArray[np.float64]
    volatilities: NDArray[np.float64]
    bid_volatilities: NDArray[np.float64] | None = None
    ask_volatilities: NDArray[np.float64] | None = None

    @property
    def bids(self) -> NDArray[np.float64]:
        """Volatilities that are bid, NaN for a quote without one."""
        return self._side(self.bid_volatilities)

    @property
    def asks(self) -> NDArray[np.float64]:
        """Volatilities that are asked, NaN for a quote without one."""
        return self._side(self.ask_volatilities)

    def _side(self, given: NDArray[np.float64] | None) -> NDArray[np.float64]:
        return np.full(len(self.volatilities), np.nan) if given is None else given

    @property
    def variances(self) -> NDArray[np.float64]:
        """Total variances: volatility squared times time."""
        return self.volatilities**2 * self.time


def read_quotes(path: str | os.PathLike[str]) -> pd.DataFrame:
    r"""Read quotes from CSV or Parquet; see `checked_quotes`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "quotes.csv"
    ...     _ = path.write_text("expiry,strike,volatility\n2021-03-26,30000,0.9\n")
    ...     read_quotes(path)
          expiry   strike  volatility
    0 2021-03-26  30000.0         0.9
    """
    if is_parquet(path):
        frame = read_frame(path)
    else:
        header, rows = read_cells(path)
        frame = pd.DataFrame(rows, columns=header, dtype=object)
    return checked_quotes(frame, source=str(path))


def checked_quotes(frame: pd.DataFrame, *, source: str = "frame") -> pd.DataFrame:
    """Check a frame of quotes, and give its columns their types.

    Parameters
    ----------
    frame : DataFrame
        Columns `expiry` (an ISO timestamp, in UTC unless it has a zone; a date means 00:00),
        `strike` or `log_moneyness`, `volatility` (for a year, 0.2 for 20 %), and optionally
        `forward` and the volatilities `bid` and `ask`, whose cells may be empty.
    source : str
        Named in errors.

    Returns
    -------
    DataFrame
        The same columns: expiry as datetime64[ns] in UTC, the others as float64; NaN for a missing
        bid or ask.

    Raises
    ------
    DataError
        If columns are missing, unknown or repeated, there is no row, an expiry is not a date, a
        number is missing or out of its range (`RANGES`), or a volatility is not between its bid and
        its ask.

    Examples
    --------
    >>> rows = {"expiry": ["2021-03-26"], "strike": ["30000"], "volatility": [0.9]}
    >>> checked_quotes(pd.DataFrame(rows)).dtypes.astype(str).tolist()
    ['datetime64[ns]', 'float64', 'float64']
    """
    require_type("quotes", frame, pd.DataFrame)
    names = [str(name).strip() for name in frame.columns]
    wanted = {"expiry", "volatility", *PLACES, "forward", *SIDES}
    if (
        len(set(names)) < len(names)
        or not set(names) <= wanted
        or not {"expiry", "volatility"} <= set(names)
        or len(set(PLACES) & set(names)) != 1
    ):
        raise DataError(
            f"{source}: columns {', '.join(names)}; expiry, volatility, one of strike and "
            "log_moneyness, and forward if it is not given otherwise, are needed; bid and ask are "
            "welcome"
        )
    if len(frame) == 0:
        raise DataError(f"{source}: no quotes")
    columns = {
        name: (_expiries if name == "expiry" else _numbers)(frame.iloc[:, at], name, source)
        for at, name in enumerate(names)
    }
    checked = pd.DataFrame(columns)
    for side, above in (("bid", False), ("ask", True)):
        if side in checked:
            apart = checked[side] - checked["volatility"]
            for row in np.flatnonzero(apart < 0 if above else apart > 0)[:1].tolist():
                raise DataError(
                    f"{source}: row {row + 2}: the volatility {checked['volatility'][row]:g} is "
                    f"{'above the ask' if above else 'below the bid'} {checked[side][row]:g}; "
                    "it must lie between them"
                )
    return checked


def _numbers(column: pd.Series, name: str, source: str) -> NDArray[np.float64]:
    numbers = np.empty(len(column))
    for at, cell in enumerate(column.astype(object)):
        where = f"{source}: row {at + 2}, column {name!r}"
        missing = cell is None or cell is pd.NA
        number = parse_number("" if missing else str(cell).strip(), where=where)
        if np.isnan(number) and name in SIDES:
            numbers[at] = np.nan
            continue
        if not RANGES[name].holds(number):
            raise DataError(f"{where}: {cell!r}; a number {RANGES[name].words} is needed")
        numbers[at] = number
    return numbers


def _expiries(column: pd.Series, name: str, source: str) -> NDArray[np.datetime64]:
    times, bad = utc_times(column)
    for row in bad[:1]:
        what = not_a_time(column.iloc[row])
        raise DataError(f"{source}: row {row + 2}, column {name!r}: {what}")
    return times


def quotes_by_expiry(
    frame: pd.DataFrame,
    *,
    as_of: np.datetime64,
    forward: float | None,
    limits: Plausibility,
    source: str,
) -> list[ExpiryQuotes]:
    """Sort quotes by expiry, the soonest first.

    Raises
    ------
    DataError
        As `checked_quotes`. Also if an expiry is not after `as_of` or more than a hundred years
        later, a quote is given twice, strikes have no forward, a forward is given twice or differs
        within an expiry, a strike is too far from the forward, or a volatility looks as if it were
        in percent.
    """
    frame = checked_quotes(frame, source=source)
    place = next(name for name in PLACES if name in frame)
    if "forward" not in frame:
        frame["forward"] = _one_forward(forward, place, source)
    elif forward is not None:
        raise DataError(f"{source}: column 'forward' and the argument forward; give one of them")
    for row, expiry in enumerate(frame["expiry"].to_numpy()):
        where = f"{source}: row {row + 2}: expiry {plain_time(expiry)} is"
        if expiry <= as_of:
            raise DataError(
                f"{where} not after {plain_time(as_of)}, the time of the surface; leave it out"
            )
        if not SHORTEST <= expiry - as_of <= LONGEST:
            raise DataError(
                f"{where} less than a second or more than a hundred years after "
                f"{plain_time(as_of)}, the time of the surface; leave it out"
            )
    for row, volatility in enumerate(frame["volatility"].tolist()):
        if volatility > limits.volatility:
            raise DataError(
                f"{source}: row {row + 2}, column 'volatility': {volatility:g} is "
                f"{100 * volatility:,.6g} % a year; is it in percent? Then give "
                f"{volatility / 100:g}. {way_to_widen('volatility', volatility)}"
            )
    if place == "strike":
        _refuse_distance(frame, source)
    out = []
    for expiry, rows in frame.groupby("expiry", sort=True):
        stamp = utc_time(expiry)
        _refuse_differences(rows, place, f"of expiry {plain_time(stamp)}", source)
        ordered = rows.sort_values(place)
        at = float(rows["forward"].iloc[0])
        places = ordered[place].to_numpy()
        k = np.log(places / at) if place == "strike" else places
        years = float(years_between(as_of, stamp))
        bid, ask = (ordered[side].to_numpy() if side in ordered else None for side in SIDES)
        out.append(ExpiryQuotes(stamp, years, at, k, ordered["volatility"].to_numpy(), bid, ask))
    return out


def _one_forward(forward: float | None, place: str, source: str) -> float:
    if forward is None and place == "strike":
        raise DataError(f"{source}: strikes need a forward; add a column 'forward' or give forward")
    if forward is None:
        return np.nan
    if fault := RANGES["forward"].fault(forward):
        raise DataError(f"{source}: forward {fault}")
    return float(forward)


def _refuse_distance(frame: pd.DataFrame, source: str) -> None:
    """Refuse strikes whose log-moneyness would be out of its range."""
    distance = np.log(frame["strike"].to_numpy()) - np.log(frame["forward"].to_numpy())
    most = LOG_MONEYNESS.most
    for row in np.flatnonzero(np.abs(distance) > most)[:1].tolist():
        raise DataError(
            f"{source}: row {row + 2}: the strike {frame['strike'][row]:g} is too far from the "
            f"forward {frame['forward'][row]:g}; ln(strike / forward) must lie between "
            f"{-most:g} and {most:g}"
        )


def _refuse_differences(rows: pd.DataFrame, place: str, expiry: str, source: str) -> None:
    """Refuse two quotes of one expiry at the same place, and different forwards of one expiry."""
    numbers = rows.index.to_numpy() + 2
    places, forwards = rows[place].tolist(), rows["forward"].tolist()
    for at, value in enumerate(places):
        first = places.index(value)
        if first < at:
            raise DataError(
                f"{source}: row {numbers[at]} repeats {place} {value:g} {expiry}, which row "
                f"{numbers[first]} gives; give each quote once"
            )
        if forwards[at] != forwards[0] and not np.isnan(forwards[0]):
            raise DataError(
                f"{source}: row {numbers[at]}, column 'forward': {forwards[at]:g} {expiry}, but "
                f"{forwards[0]:g} in row {numbers[0]}"
            )

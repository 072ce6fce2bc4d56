"""margin_at(): the margin of any book on any past date, as it would have been charged then.

In: a date, a book, prices, and which model to fit. Out: a `MarginReport`. Nothing after the date is
known: the model is fitted to the closes up to it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mcmargin.backtests.competing import ModelSpec
from mcmargin.books.book import Book
from mcmargin.checks import plain_time, require_type, whole_number
from mcmargin.data.prices import PriceHistory
from mcmargin.data.times import utc_time
from mcmargin.desk.margining import margin
from mcmargin.errors import DataError, PolicyError
from mcmargin.margins.horizons import horizons_needed
from mcmargin.markets.market import Market
from mcmargin.policies.policy import MarginPolicy
from mcmargin.progress import Progress
from mcmargin.reports.margin_report import MarginReport
from mcmargin.scenarios.simulation import simulate


def margin_at(
    date: Any,
    book: Book,
    prices: PriceHistory,
    spec: ModelSpec | None = None,
    policy: MarginPolicy | None = None,
    *,
    market: Market | None = None,
    window: int | None = None,
    paths: int = 100_000,
    seed: int,
    previous: MarginReport | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> MarginReport:
    """Margin a book, held or imagined, as of a past date.

    Parameters
    ----------
    date : time
        The last close at or before it is the last one that is known. A midnight in UTC, which a
        date without an hour is, stands for the whole day that begins with it.
    book : Book
    prices : PriceHistory
        Later closes are left out.
    spec : ModelSpec, optional
        Model to fit; the package's default one where none is given.
    policy : MarginPolicy, optional
        99 % over the longest horizon by default.
    market : Market, optional
        Prices, rates and volatilities of that date; the closes themselves by default.
    window : int, optional
        Newest returns to fit to; all up to the date by default.
    paths, seed : int
    previous : MarginReport, optional
        The report before, where a buffer or a speed limit needs it.
    jobs : int, optional
        Fits at a time; changes no figure.
    progress : callable, optional
        Called with accounts done and in all.

    Returns
    -------
    MarginReport
        Dated by the last close.

    Raises
    ------
    DataError
        If no close is known by the date, or fewer than the window needs; and as `margin`.
    CalibrationError, PolicyError
        As `calibrate`, `simulate` and `margin`.

    Examples
    --------
    >>> from mcmargin.demo import demo_book, demo_prices
    >>> quick = ModelSpec("ewma", "normal", "gaussian")
    >>> calm, crash = (
    ...     margin_at(date, demo_book(), demo_prices(), quick, paths=10_000, seed=7)
    ...     for date in ("2008-08-29", "2008-10-31")
    ... )
    >>> calm.as_of[:10], crash.as_of[:10]
    ('2008-08-29', '2008-10-31')
    >>> crash.account("long equities").margin > 2 * calm.account("long equities").margin
    True
    """
    require_type("prices", prices, PriceHistory)
    require_type("book", book, Book)
    spec = ModelSpec() if spec is None else spec
    require_type("spec", spec, ModelSpec)
    policy = MarginPolicy() if policy is None else policy
    require_type("policy", policy, MarginPolicy, error=PolicyError)
    known = _until(date, prices, None if window is None else whole_number("window", window))
    model = spec.calibrated(known, jobs=jobs)
    as_of = None if market is None else market.as_of
    scenarios = simulate(
        model,
        horizons=horizons_needed(book.instruments, model, policy, as_of),
        paths=paths,
        seed=seed,
        policy=policy,
        engine=spec.engine,
        precision=spec.precision,
    )
    return margin(book, scenarios, market, policy, previous=previous, progress=progress)


def _until(date: Any, prices: PriceHistory, window: int | None) -> PriceHistory:
    """Closes up to a date: all of them, or those that a window of returns needs."""
    try:
        moment = utc_time(date)
    except ValueError as error:
        raise DataError(f"date: {error}") from None
    # A date without an hour is a midnight, however it is written.
    if moment == moment.astype("datetime64[D]"):
        moment = moment + np.timedelta64(1, "D") - np.timedelta64(1, "ns")
    taken = np.flatnonzero(prices.times <= moment)
    if len(taken) == 0:
        raise DataError(
            f"{prices.source}: no close is known by {str(moment)[:10]}; the first is of "
            f"{plain_time(prices.times[0])}"
        )
    if window is not None:
        whole = taken[np.isfinite(prices.prices[taken]).all(axis=1)]
        if len(whole) < window + 1:
            raise DataError(
                f"{prices.source}: a window of {window:,} returns needs {window + 1:,} dates on "
                f"which every asset has a close, and there are {len(whole):,} by "
                f"{str(moment)[:10]}"
            )
        taken = taken[taken >= whole[-window - 1]]
    return replace(prices, times=prices.times[taken], prices=prices.prices[taken])

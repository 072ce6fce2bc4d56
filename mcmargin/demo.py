"""The demonstration: real closes that ship with arch, a small book, and its margins.

In: nothing but the installed packages. Out: prices, a book and the margins of the main job; a model
and a report that are quick to make, which the examples in docstrings use.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pandas as pd

from mcmargin.books.book import Book
from mcmargin.data.prices import PriceHistory
from mcmargin.desk.margining import margin
from mcmargin.models.calibration import calibrate
from mcmargin.models.model import MarketModel
from mcmargin.policies.policy import MarginPolicy
from mcmargin.progress import Progress
from mcmargin.reports.margin_report import MarginReport
from mcmargin.scenarios.simulation import simulate


def demo_prices() -> PriceHistory:
    """Closes of the S&P 500, the NASDAQ and WTI from 1999 on; their calendars differ."""
    from arch.data import nasdaq, sp500, wti

    frame = pd.concat(
        {
            "sp500": sp500.load()["Adj Close"],
            "nasdaq": nasdaq.load()["Adj Close"],
            "wti": wti.load()["DCOILWTICO"],
        },
        axis=1,
        sort=True,
    )
    return PriceHistory.from_frame(frame.sort_index().loc["1999":"2018"], source="arch.data")


def demo_book() -> Book:
    """A book of four accounts: long equities, short oil, an index spread, and all three."""
    rows = [
        ("long equities", "sp500", 100),
        ("long equities", "nasdaq", 50),
        ("short oil", "wti", -5000),
        ("index spread", "sp500", 100),
        ("index spread", "nasdaq", -38),
        ("diversified", "sp500", 60),
        ("diversified", "nasdaq", 20),
        ("diversified", "wti", 2000),
    ]
    return Book.from_frame(pd.DataFrame(rows, columns=["account", "instrument", "quantity"]))


@cache
def demo_model() -> MarketModel:
    """A model of the closes from 2016 on, of kinds that are fitted in a moment, for examples."""
    recent = demo_prices().to_frame().loc["2016":]
    return calibrate(
        PriceHistory.from_frame(recent, source="arch.data"),
        volatility="ewma",
        innovations="normal",
        dependence="gaussian",
        jobs=1,
    )


@cache
def demo_report() -> MarginReport:
    """Margins of the book on that model, for examples; each account has posted 250,000 dollars."""
    positions = demo_book().to_frame()
    posted = pd.DataFrame({"account": positions["account"].unique()})
    book = Book.from_frame(positions, balances=posted.assign(asset="USD", amount=250_000))
    scenarios = simulate(demo_model(), horizon=2, paths=10_000, seed=7, engine="numpy")
    return margin(book, scenarios)


def run_demo(
    say: Callable[[str], None], progress: Callable[[str], Progress | None]
) -> MarginReport:
    """Run the main job: fit, simulate, margin.

    Parameters
    ----------
    say : callable
        Takes the report of the fits.
    progress : callable
        Takes the name of a step, and returns the progress callback of that step or None.
    """
    prices = demo_prices()
    model = calibrate(prices, progress=progress("Fitting"))
    say(model.fit_report())
    scenarios = simulate(model, horizon=2, paths=100_000, seed=7, progress=progress("Simulating"))
    return margin(demo_book(), scenarios, policy=MarginPolicy(level=0.99))

"""Live: what a report asks for where its figures alone do not tell, such as a what-if.

The desk gives it to the reports that it makes (`mcmargin.desk.live_session`). A report that was
read from a file, or that came from another process, has none, and says so where it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.books.book import Book
from mcmargin.errors import DataError
from mcmargin.markets.market import Market
from mcmargin.reports.account_figures import AccountMargin
from mcmargin.reports.health import AccountLeverage
from mcmargin.reports.margin_figures import MarginFigures
from mcmargin.reports.stress_report import StressReport
from mcmargin.scenarios.scenarios import Scenarios


@dataclass(frozen=True, eq=False)
class MarginedGains:
    """Gains on which a margin was taken: of one margin unit, in its account's currency.

    Attributes
    ----------
    instrument : str
        The position's instrument, where an isolated account's positions are margined one by one;
        empty for a whole account.
    fills : tuple of (str, float)
        Instruments and units of the open orders that are taken as filled; negative is sold.
    gains : ndarray of shape (paths,), float64
        A loss is negative.
    value_at_risk, expected_shortfall : float
        Of these gains; a loss is positive.
    """

    instrument: str
    fills: tuple[tuple[str, float], ...]
    gains: NDArray[np.float64]
    value_at_risk: float
    expected_shortfall: float


class Live(Protocol):
    """Answers that need the scenarios which a report was made on.

    `MarginReport` documents each method that has the name of one of its own.
    """

    @property
    def book(self) -> Book:
        """The book that was margined."""

    @property
    def scenarios(self) -> Scenarios:
        """The scenarios as `simulate` gave them."""

    @property
    def market(self) -> Market:
        """The market that instruments were valued at."""

    @property
    def previous(self) -> MarginFigures | None:
        """The previous report, where one was given."""

    def profit_and_loss(self, account: str) -> NDArray[np.float64]:
        """Gains of an account on every path; float64 [paths]."""

    def what_if(self, account: str, trades: Mapping[str, float]) -> AccountMargin:
        """Figures of an account after trades."""

    def max_order(
        self, account: str, instrument: str, *, side: str, equity: float | None, lot: float | None
    ) -> float:
        """Largest order that an account's equity permits."""

    def max_leverage(self, account: str, *, equity: float | None) -> AccountLeverage:
        """Leverage of an account, and the most that its equity permits."""

    def attribution(self, by: str | None) -> pd.DataFrame:
        """What each account's margin is made of."""

    def margined_gains(self, account: str) -> Sequence[MarginedGains]:
        """Gains of each margin unit of an account, the largest expected shortfall first."""

    def stress(self) -> StressReport | None:
        """Losses in the policy's stress scenarios; None where it declares none."""


def required(live: Live | None, asked: str) -> Live:
    """What a report asks, where it has it.

    Parameters
    ----------
    live : Live, optional
    asked : str
        What needs it, for the error: such as `what_if`.

    Raises
    ------
    DataError
        If the report was read from a file, or came from another process.
    """
    if live is None:
        raise DataError(
            f"{asked} needs the scenarios that the report was made on. It was read from a file or "
            "came from another process, and has no scenarios. Call margin() here, and ask the "
            "report that it returns"
        )
    return live

"""Session: what a margin report was made of.

In: what `margin` had at hand when it made a report. Out: one frozen value, from which the desk
answers what-ifs, attribution and the page's charts without a new simulation.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcmargin.books.book import Book
from mcmargin.books.resolved import ResolvedBook
from mcmargin.margins.estimates import Estimate
from mcmargin.margins.unit_context import UnitContext
from mcmargin.margins.valuations import Valuations
from mcmargin.markets.market import Market
from mcmargin.reports.live import required
from mcmargin.reports.margin_figures import MarginFigures
from mcmargin.reports.margin_report import MarginReport
from mcmargin.scenarios.scenarios import Scenarios
from mcmargin.valuing.valuation import Valuation


@dataclass(frozen=True, eq=False)
class Session:
    """What a report was made of.

    Attributes
    ----------
    report : MarginFigures
        What was found.
    resolved : ResolvedBook
        The book, checked, with what all stages use of it.
    scenarios : Scenarios
        As `simulate` gave them. Where a policy has a stressed weight, `valuations` are on a
        mixture that is made from them; whoever makes new valuations starts from these.
    valuations : Valuations
    context : UnitContext
        What the components of initial margin were computed from.
    previous : MarginReport, optional
        The previous report, without a session of its own.
    haircuts : Estimate
        A row for each kind of balance in the book; it has rows only in haircut mode.
    """

    report: MarginFigures
    resolved: ResolvedBook
    scenarios: Scenarios
    valuations: Valuations
    context: UnitContext
    previous: MarginReport | None
    haircuts: Estimate

    @property
    def book(self) -> Book:
        """The book as it was given."""
        return self.resolved.book

    @property
    def valuation(self) -> Valuation:
        """Valuation of initial margin."""
        return self.valuations.initial

    @property
    def market(self) -> Market:
        """The market that instruments were valued at."""
        return self.valuation.market

    def row(self, account: str) -> int:
        """Place of an account in the book.

        Raises
        ------
        DataError
            If the book has no such account.
        """
        for row, each in enumerate(self.book.accounts):
            if each.name == account:
                return row
        raise self.report.no_account(account)


def session_of(report: MarginReport, asked: str) -> Session:
    """The session of a report that this process made; errors as `live.required`."""
    session = required(report.session, asked)
    assert isinstance(session, Session)
    return session

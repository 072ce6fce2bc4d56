"""What-ifs: an account's figures after a proposed trade.

In: a session, an account and a trade. Out: figures on the scenarios of the session's report.
Nothing is simulated again, and instruments that the book holds are not valued again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from mcmargin.books.admission import check_book
from mcmargin.books.collateral import BalanceKind
from mcmargin.desk.gathering import account_margin
from mcmargin.desk.previous import previous_of
from mcmargin.desk.session import Session
from mcmargin.errors import DataError
from mcmargin.margins.equity import collateral_estimate
from mcmargin.margins.estimates import plus, rows_of, times
from mcmargin.margins.gains import gains_of
from mcmargin.margins.requirement import Requirement, requirement
from mcmargin.margins.row_margins import Previous
from mcmargin.margins.valuations import valuations_of
from mcmargin.numerics.arrays import device_of, to_host
from mcmargin.reports.account_figures import AccountMargin


def what_if(session: Session, account: str, trades: Mapping[str, float]) -> AccountMargin:
    """Figures of an account after trades; see `MarginReport.what_if`."""
    if not isinstance(trades, Mapping):
        raise DataError(
            f"what_if: trades must map instruments to units, such as {{'btc': -2}}, not {trades!r}"
        )
    for name, size in trades.items():
        if not is_finite(size):
            raise DataError(f"what_if: {size!r} units of {name!r} are not a finite number")
    row = session.row(account)
    after = _after(session, row, trades)
    required = _required(after, _last(session, row))
    before, haircut = session.report.figures.iloc[row].to_dict(), own_haircut(session, row)
    found = account_margin(after, required, before, haircut)
    if haircut:
        paid = found.position_value - before["position_value"]
        found = replace(found, collateral_error=_collateral_error(session, row, paid))
    return found


def profit_and_loss(session: Session, account: str) -> NDArray[np.float64]:
    """Gains of an account on every path; see `MarginReport.profit_and_loss`."""
    row = session.row(account)
    codes = (session.book.accounts[row].currency,)
    quantities = session.resolved.quantities[[row]]
    with device_of(session.scenarios.returns):
        gains = to_host(gains_of(quantities, codes, session.valuation))
    return np.asarray(gains[0])


def margin_after(
    session: Session, row: int, *, freed: bool
) -> Callable[[Mapping[str, float]], float]:
    """A function of trades: the margin of an account after them.

    Parameters
    ----------
    session : Session
    row : int
        Place of the account in the book.
    freed : bool
        Whether to subtract what trades add to equity: the haircut of the coins that are paid away
        for them.
    """
    last, haircut = _last(session, row), own_haircut(session, row) if freed else 0.0

    def margin(trades: Mapping[str, float]) -> float:
        required = _required(_after(session, row, trades), last, errors=False)
        needed = float(required.columns["margin"][0])
        return needed - haircut * session.resolved.cost(row, trades) if haircut else needed

    return margin


def own_haircut(session: Session, row: int) -> float:
    """Haircut of the cash that an account pays in; 0 unless that cash is a coin."""
    code = session.book.accounts[row].currency
    for each in session.report.haircuts.to_dict("records"):
        if each["asset"] == each["currency"] == code and not each["debit"]:
            return float(each["haircut"])
    return 0.0


def is_finite(value: object) -> bool:
    """Whether a value is a number, and neither infinite nor NaN."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _collateral_error(session: Session, row: int, paid: float) -> float:
    """Standard error of an account's collateral after it has paid an amount of its own coin."""
    code = session.book.accounts[row].currency
    coin = BalanceKind(code, code, debit=False)
    posted = collateral_estimate(session.resolved.posted, session.market, session.haircuts)
    share = rows_of(session.haircuts, [session.resolved.posted.kinds.index(coin)])
    return float(plus(rows_of(posted, [row]), times(paid, share)).error[0])


def _last(session: Session, row: int) -> Previous | None:
    """What the previous report says of an account; no trade changes it."""
    accounts = [session.book.accounts[row]]
    return previous_of(accounts, (), session.previous, session.scenarios, session.market)


def _required(after: Session, last: Previous | None, *, errors: bool = True) -> Requirement:
    """Margin of a book of one account, under the report's policy."""
    units, policy = after.resolved.units, after.report.policy
    with device_of(after.scenarios.returns):
        return requirement(units, 1, after.valuations, policy, last, errors=errors)


def _after(session: Session, row: int, trades: Mapping[str, float]) -> Session:
    """The session with one account's book after trades in place of the whole book."""
    unknown = [name for name in trades if name not in session.book.known]
    if unknown:
        raise DataError(f"instrument {unknown[0]!r} is unknown; give it to the book")
    after = session.resolved.after_trades(row, trades)
    if after.instruments is session.resolved.instruments:
        return replace(session, resolved=after)
    # No account held this instrument, or this coin: it is valued now, with what this account has.
    check_book(after.book, session.scenarios.model, session.market)
    with device_of(session.scenarios.returns):
        valuations = valuations_of(
            after.instruments,
            session.scenarios,
            session.market,
            session.report.policy,
            memory_limit=session.valuations.memory_limit,
            threads=session.valuation.threads,
        )
    return replace(session, resolved=after, valuations=valuations)

"""What-ifs: an account's figures after a proposed trade.

In: a session, an account and a trade. Out: figures on the scenarios of the session's report.
Nothing is simulated again, and instruments that the book holds are not valued again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.books.accounts import Account
from mcmargin.books.admission import check_book
from mcmargin.books.book import Book
from mcmargin.books.collateral import Held, Kind, balance_of, collateral_mode, kinds_of
from mcmargin.books.units import units_of
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
    held = session.held.of(row).beside(session.book.quantities[[row]])
    with device_of(session.scenarios.returns):
        gains = to_host(gains_of(held, codes, session.valuation))
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
        return needed - haircut * _cost(session, row, trades) if haircut else needed

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
    coin = Kind(code, code, debit=False)
    posted = collateral_estimate(session.book, session.market, session.haircuts)
    share = rows_of(session.haircuts, [kinds_of(session.book)[0].index(coin)])
    return float(plus(rows_of(posted, [row]), times(paid, share)).error[0])


def _last(session: Session, row: int) -> Previous | None:
    """What the previous report says of an account; no trade changes it."""
    return previous_of([session.book.accounts[row]], (), session.previous, session.scenarios,
                       session.market)  # fmt: skip


def _required(after: Session, last: Previous | None, *, errors: bool = True) -> Requirement:
    """Margin of a book of one account, under the report's policy."""
    units, policy = units_of(after.book, after.held), after.report.policy
    with device_of(after.scenarios.returns):
        return requirement(units, 1, after.valuations, policy, last, errors=errors)


def _after(session: Session, row: int, trades: Mapping[str, float]) -> Session:
    """The session with one account's book after trades in place of the whole book."""
    book = session.book
    unknown = [name for name in trades if name not in book.known]
    if unknown:
        raise DataError(f"instrument {unknown[0]!r} is unknown; give it to the book")
    posted = _posted(session, row, trades)
    names = [item.name for item in book.instruments]
    if posted.items == session.held.items and all(name in names for name in trades):
        return replace(session, book=_traded(book, row, trades, names), held=posted)
    # No account held this instrument, or this coin: it is valued now, with what this account has.
    touched = abs(book.quantities[[row]]) + abs(book.buys[[row]]) + abs(book.sells[[row]])
    chosen = sorted({*trades, *(names[column] for column in touched.indices)})
    small = _traded(book, row, trades, chosen)
    check_book(small, session.scenarios.model, session.market)
    with device_of(session.scenarios.returns):
        valuations = valuations_of(
            (*small.instruments, *posted.items),
            session.scenarios,
            session.market,
            session.report.policy,
            memory_limit=session.valuations.memory_limit,
            threads=session.valuation.threads,
        )
    return replace(session, book=small, held=posted, valuations=valuations)


def _traded(book: Book, row: int, trades: Mapping[str, float], names: Sequence[str]) -> Book:
    """One account's positions after trades, and its orders, in the instruments of some names."""
    account: Account = replace(book.accounts[row], netting="gross")
    places = {item.name: column for column, item in enumerate(book.instruments)}
    columns = np.array([places.get(name, -1) for name in names], np.int64)

    def line(matrix: sparse.csr_array) -> NDArray[np.float64]:
        whole = matrix[[row]].toarray()[0]
        return np.where(columns < 0, 0.0, whole[columns]) if len(whole) else np.zeros(len(names))

    held = line(book.quantities) + [trades.get(name, 0.0) for name in names]
    items = tuple(book.known[name] for name in names)
    orders = _matrix(line(book.buys)), _matrix(line(book.sells))
    return Book((account,), items, _matrix(held), *orders, book.known)


def _posted(session: Session, row: int, trades: Mapping[str, float]) -> Held:
    """Collateral of an account after trades: a coin that it pays in moves, and is paid away."""
    market, posted = session.market, session.held.of(row)
    code = session.book.accounts[row].currency
    given = session.book.balances is not None
    if code not in market.coins or not given or collateral_mode(session.report.policy) != "joint":
        return posted
    return posted.plus(balance_of(code, market), -_cost(session, row, trades))


def _cost(session: Session, row: int, trades: Mapping[str, float]) -> float:
    """Today's value of what is bought, in the account's currency."""
    market, known = session.market, session.book.known
    worth = sum(
        size * known[name].value(market) * market.worth(known[name].currency)
        for name, size in trades.items()
    )
    return worth / market.worth(session.book.accounts[row].currency)


def _matrix(line: Any) -> sparse.csr_array:
    matrix = sparse.csr_array(np.asarray(line, float)[None])
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix

"""What-ifs: an account after a proposed trade, and the most that its equity permits.

In: a report that this process made, and a trade. Out: figures on the report's own scenarios:
nothing is simulated again, and instruments that the book holds are not valued again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from mcmargin.books.admission import check_book
from mcmargin.books.book import Book
from mcmargin.books.collateral import BalanceKind
from mcmargin.desk.gathering import account_margin, previous_of
from mcmargin.errors import DataError
from mcmargin.instruments.instruments import Perpetual
from mcmargin.margins.equity import collateral_estimate
from mcmargin.margins.estimates import plus, rows_of, times
from mcmargin.margins.gains import gains_of
from mcmargin.margins.requirement import Previous, Requirement, requirement
from mcmargin.margins.valuations import valuations_of
from mcmargin.numerics.arrays import device_of, to_host
from mcmargin.reports.account_figures import AccountMargin
from mcmargin.reports.health import AccountLeverage, no_account, own_equity
from mcmargin.reports.margin_report import MarginReport, Session, session_of

SMALLEST_STEP = 1e-9
"""Relative width at which the search for the largest order ends."""

LARGEST_DOUBLINGS = 200

MOST_LEVERAGE = 2.0**100
"""Factor on all positions beyond which any is taken to be permitted."""

SCANNED = 32
"""Sizes that are looked at in each halving of a range, where a margin may not be convex."""

HALVINGS = 8
"""Of a range that ends where the margin is too large; what is below the last is one range."""

FARTHEST = 40
"""Doublings up to which sizes are looked at where none is too large."""


def what_if(report: MarginReport, account: str, trades: Mapping[str, float]) -> AccountMargin:
    """Figures of an account after trades; see `MarginReport.what_if`."""
    session = session_of(report, "what_if")
    if not isinstance(trades, Mapping):
        raise DataError(
            f"what_if: trades must map instruments to units, such as {{'btc': -2}}, not {trades!r}"
        )
    for name, size in trades.items():
        if not _finite(size):
            raise DataError(f"what_if: {size!r} units of {name!r} are not a finite number")
    row = _row(report, session.book, account)
    after = _after(report, session, row, trades)
    required = _required(report, after, _last(session, row))
    before, haircut = report.figures.iloc[row].to_dict(), _own_haircut(report, row)
    found = account_margin(after, required, before, haircut)
    if haircut:
        paid = found.position_value - before["position_value"]
        found = replace(found, collateral_error=_collateral_error(session, row, paid))
    return found


def _collateral_error(session: Session, row: int, paid: float) -> float:
    """Standard error of an account's collateral once it has paid so much of its own coin."""
    resolved = session.resolved
    code = resolved.book.accounts[row].currency
    coin = BalanceKind(code, code, debit=False)
    posted = rows_of(collateral_estimate(resolved, session.haircuts), [row])
    share = rows_of(session.haircuts, [resolved.posted.kinds.index(coin)])
    return float(plus(posted, times(paid, share)).error[0])


def _own_haircut(report: MarginReport, row: int) -> float:
    """Haircut of the cash that an account pays in: none but where that is a coin."""
    code = report.figures["currency"].iat[row]
    for each in report.haircuts.to_dict("records"):
        if each["asset"] == each["currency"] == code and not each["debit"]:
            return float(each["haircut"])
    return 0.0


def _last(session: Session, row: int) -> Previous | None:
    """What the last report says of an account, which no trade changes."""
    return previous_of([session.book.accounts[row]], (), session.previous, session.valuations)


def _required(
    report: MarginReport, session: Session, last: Previous | None, *, errors: bool = True
) -> Requirement:
    """Margin of a book of one account, under the report's policy."""
    with device_of(session.scenarios.returns):
        return requirement(
            session.resolved.units, 1, session.valuations, report.policy, last, errors=errors
        )


def profit_and_loss(report: MarginReport, account: str) -> NDArray[np.float64]:
    """Gains of an account on every path; see `MarginReport.profit_and_loss`."""
    session = session_of(report, "profit_and_loss")
    row = _row(report, session.book, account)
    codes = (session.book.accounts[row].currency,)
    quantities = session.resolved.quantities[[row]]
    with device_of(session.scenarios.returns):
        gains = to_host(gains_of(quantities, codes, session.valuation))
    return np.asarray(gains[0])


def max_order(
    report: MarginReport,
    account: str,
    instrument: str,
    *,
    side: str,
    equity: float | None = None,
    lot: float | None = None,
) -> float:
    """Largest order of one instrument; see `MarginReport.max_order`.

    A margin is convex in the size of an order: expected shortfall, the worst of several, and
    amounts proportional to |position| are, and so is base + w max(stressed - base, 0), which is
    (1 - w) base + w max(base, stressed). So the sizes that leave it at or below a bound that
    holds at 0 form one interval from 0, and bisection finds its end; where the margin is above
    the equity to begin with, the bound is the margin itself. Where it may not be convex
    (`_convex`), sizes are scanned for the first that is above the bound, and bisection starts
    there.
    """
    own = equity is None
    equity = own_equity(report, account, asked="max_order") if equity is None else equity
    if side not in ("buy", "sell"):
        raise DataError(f"max_order: side {side!r} is unknown; give 'buy' or 'sell'")
    if not _finite(equity) or (lot is not None and not (_finite(lot) and lot > 0)):
        raise DataError(
            f"max_order: equity must be a finite number, and a lot one above 0; not {equity!r}, "
            f"{lot!r}"
        )
    session = session_of(report, "max_order")
    row, sign = _row(report, session.book, account), 1.0 if side == "buy" else -1.0

    ask = _asker(report, session, row, freed=own)

    def margin(size: float) -> float:
        return ask({instrument: sign * size})

    bound = max(equity, margin(0.0))
    # Rounding alone may lift a margin above a bound that it started at.
    bound += 1e-12 * abs(bound)

    def permitted(size: float) -> bool:
        return margin(size) <= bound

    first = lot or 1.0
    low, high = 0.0, first
    for _ in range(LARGEST_DOUBLINGS):
        if not permitted(high):
            break
        high *= 2.0
    else:
        high = math.inf
    if not _convex(report, session, row):
        low, high = _first_refused(permitted, low, high, first, lot)
    if math.isinf(high):
        return high
    # Where no order is permitted at all, only an absolute width ends the search.
    width = SMALLEST_STEP * SMALLEST_STEP if lot is None else 0.5 * lot
    low, high = _bisected(permitted, low, high, width)
    if lot is None:
        # What rounding alone permits is no order.
        return low if low > SMALLEST_STEP else 0.0
    whole = lot * round(high / lot)
    return float(whole if permitted(whole) else max(0.0, whole - lot))


def max_leverage(
    report: MarginReport, account: str, *, equity: float | None = None
) -> AccountLeverage:
    """Leverage of an account, and the most that it can take; see `MarginReport.max_leverage`.

    Factors are searched as sizes of an order are: from the present positions where these are
    permitted, else from none, else from the first that is.
    """
    own = equity is None
    equity = own_equity(report, account, asked="max_leverage") if equity is None else equity
    if not _finite(equity):
        raise DataError(f"max_leverage: equity must be a finite number, not {equity!r}")
    session = session_of(report, "max_leverage")
    row = _row(report, session.book, account)
    held = session.book.quantities[[row]]
    figures = report.figures.iloc[row]
    gross = float(figures["gross_exposure"])
    if gross == 0.0:
        raise DataError(f"account {account!r} has no positions, and so no leverage that could grow")
    names = [session.book.instruments[column].name for column in held.indices]

    ask = _asker(report, session, row, freed=own)

    def margin(factor: float) -> float:
        return ask(dict(zip(names, (held.data * (factor - 1.0)).tolist(), strict=True)))

    def permitted(factor: float) -> bool:
        return margin(factor) <= equity

    convex = _convex(report, session, row)
    low, high = 0.0, 1.0
    if figures["margin"] <= equity:
        low = 1.0
    elif not permitted(0.0):
        # Collateral may lose more than no position at all permits, and positions hedge it.
        low = _least(margin) if convex else _first_permitted(permitted)
    if low > 0.0 and permitted(low):
        start, high = low, 2.0 * low
        while high < MOST_LEVERAGE and permitted(high):
            low, high = high, 2.0 * high
        if not convex:
            end = high if high < MOST_LEVERAGE else math.inf
            low, high = _first_refused(permitted, start, end)
    elif low > 0.0:
        low = high = 0.0
    elif not convex:
        low, high = _first_refused(permitted, low, high)
    if high < MOST_LEVERAGE:
        low, high = _bisected(permitted, low, high)
    factor = low if high < MOST_LEVERAGE else float("inf")
    now, most = (gross / equity, gross / equity * factor) if equity > 0 else (float("inf"), 0.0)
    return AccountLeverage(account, str(figures["currency"]), gross, equity, now, most)


def _least(margin: Callable[[float], float]) -> float:
    """Factor above 0 at which a convex margin is least."""
    high = 1.0
    while high < MOST_LEVERAGE and margin(2.0 * high) < margin(high):
        high *= 2.0
    found: Any = minimize_scalar(
        margin,
        bounds=(0.0, 2.0 * high),
        method="bounded",
        options={"xatol": SMALLEST_STEP * high},
    )
    return float(found.x)


def _convex(report: MarginReport, session: Session, row: int) -> bool:
    """Whether the sizes of trades that keep the margin at or below a bound are one interval.

    They may not be where
    - the weights of stress add up to more than 1, or a floor may stand above base: base then
      falls, and what stress exceeds it by rises, without the margin showing the fall;
    - a buffer or a speed limit holds the charge where it was, and what is added to it rises.
    """
    policy = report.policy
    calm, stress = policy.procyclicality, policy.stress
    weight = stress.scenario_weight + stress.dependence_weight if stress else 0.0
    if weight > 1.0 or (weight > 0.0 and calm is not None and calm.floor_years > 0.0):
        return False
    if session.previous is None or calm is None:
        return True
    if calm.buffer == 0.0 and calm.speed_limit is None:
        return True
    funded = any(
        isinstance(item, Perpetual) and item.stressed_funding_rate
        for item in session.book.known.values()
    )
    added = (policy.liquidity, policy.concentration, funded, _own_haircut(report, row))
    return not any(added)


def _grid(
    low: float, high: float, *, lot: float | None = None, halvings: int = HALVINGS
) -> Iterator[float]:
    """Sizes above low and up to high, `SCANNED` of each halving of what lies between them.

    Examples
    --------
    >>> sizes = list(_grid(0.0, 8.0))
    >>> sizes[-2:], len(sizes), list(_grid(0.0, 6.0, lot=2.0))
    ([7.875, 8.0], 288, [2.0, 4.0, 6.0])
    """
    last = low
    for start, end in pairwise([0.0, *(0.5**at for at in range(halvings, -1, -1))]):
        for share in np.linspace(start, end, SCANNED + 1)[1:].tolist():
            size = low + (high - low) * share
            if lot is not None:
                size = lot * round(size / lot)
            if size > last:
                last = size
                yield size


def _first_refused(
    permitted: Callable[[float], bool],
    low: float,
    high: float,
    unit: float = 1.0,
    lot: float | None = None,
) -> tuple[float, float]:
    """The first size of a grid that is not permitted, infinite for none, and the one before it."""
    sizes = _grid(low, high, lot=lot)
    if math.isinf(high):
        sizes = _grid(low, 2.0**FARTHEST * unit, lot=lot, halvings=FARTHEST + HALVINGS)
    for size in sizes:
        if not permitted(size):
            return low, size
        low = size
    return low, math.inf


def _first_permitted(permitted: Callable[[float], bool]) -> float:
    """The first factor above 0 of a grid that is permitted; the last of all where none is."""
    factor = 0.0
    for factor in _grid(0.0, 2.0**HALVINGS):
        if permitted(factor):
            break
    return factor


def _bisected(
    permitted: Callable[[float], bool], low: float, high: float, width: float = 0.0
) -> tuple[float, float]:
    """A permitted size and one that is not, nearer to each other than either was.

    Examples
    --------
    >>> [round(end, 6) for end in _bisected(lambda size: size <= 3.0, 1.0, 8.0)]
    [3.0, 3.0]
    """
    while high - low > max(SMALLEST_STEP * high, width):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if permitted(middle) else (low, middle)
    return low, high


def _finite(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _row(report: MarginReport, book: Book, account: str) -> int:
    for row, each in enumerate(book.accounts):
        if each.name == account:
            return row
    raise no_account(report, account)


def _after(
    report: MarginReport, session: Session, row: int, trades: Mapping[str, float]
) -> Session:
    """One account's book after trades, and how to value its instruments."""
    resolved, valuation = session.resolved, session.valuation
    unknown = [name for name in trades if name not in resolved.book.known]
    if unknown:
        raise DataError(f"instrument {unknown[0]!r} is unknown; give it to the book")
    after = resolved.after_trades(row, trades)
    if after.instruments is resolved.instruments:
        return replace(session, resolved=after)
    # An instrument, or a coin, that nobody holds: value it, and what this account touches.
    check_book(after.book, valuation.scenarios.model, valuation.market)
    limits = {"memory_limit": session.valuations.memory_limit, "threads": valuation.threads}
    with device_of(session.scenarios.returns):
        valuations = valuations_of(
            after.instruments, session.scenarios, valuation.market, report.policy, **limits
        )
    return replace(session, resolved=after, valuations=valuations)


def _asker(
    report: MarginReport, session: Session, row: int, *, freed: bool
) -> Callable[[Mapping[str, float]], float]:
    """Margin after trades; less what they add to equity, haircuts of coins paid away, if wanted."""
    last, haircut = _last(session, row), _own_haircut(report, row) if freed else 0.0

    def ask(trades: Mapping[str, float]) -> float:
        after = _after(report, session, row, trades)
        needed = float(_required(report, after, last, errors=False).columns["margin"][0])
        return needed - haircut * session.resolved.cost(row, trades) if haircut else needed

    return ask

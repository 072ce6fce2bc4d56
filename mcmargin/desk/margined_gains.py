"""Gains on which a margin was taken: of a whole account, or of each position of an isolated one.

In: a session and an account. Out: for each margin unit of the account its gains on every path, with
the fills of its open orders that cost most, and the VaR and expected shortfall of these gains.
"""

from __future__ import annotations

import numpy as np

from mcmargin.desk.order_shares import fills_of
from mcmargin.desk.session import Session
from mcmargin.numerics.arrays import device_of, to_host
from mcmargin.numerics.tail import estimate_tail
from mcmargin.reports.live import MarginedGains


def margined_gains(session: Session, account: str) -> list[MarginedGains]:
    """Gains of each unit of an account, the largest expected shortfall first.

    Examples
    --------
    >>> from mcmargin.demo import demo_report
    >>> report = demo_report()
    >>> (found,) = margined_gains(report.session, "short oil")
    >>> found.gains.shape, round(found.expected_shortfall)
    ((10000,), 27438)
    """
    units = session.context.units
    row = session.row(account)
    isolated = session.book.accounts[row].mode == "isolated"
    with device_of(session.scenarios.returns):
        found = [
            _unit_gains(session, int(unit), session.report.policy.level, named=isolated)
            for unit in np.flatnonzero(units.account == row)
        ]
    return sorted(found, key=lambda each: -each.expected_shortfall)


def _unit_gains(session: Session, unit: int, level: float, *, named: bool) -> MarginedGains:
    units, valuation = session.context.units, session.valuation
    items = valuation.instruments
    fills = fills_of(units, unit, valuation, level)
    pairs = zip(fills.columns.tolist(), fills.units.tolist(), strict=True)
    filled = tuple((items[at].name, size) for at, size in pairs if size)
    gains = np.asarray(to_host(fills.gains))
    tail = estimate_tail(-gains, level=level)
    held = units.quantities[[unit]].indices
    touched = held if len(held) else fills.columns
    name = items[touched[0]].name if named and len(touched) else ""
    return MarginedGains(name, filled, gains, tail.value_at_risk, tail.expected_shortfall)

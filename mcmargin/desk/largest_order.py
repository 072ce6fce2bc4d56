"""Largest orders, and leverage: the most that an account's equity permits.

In: a session, an account, and what is to grow: an order, or all of its positions. Out: the largest
size up to which the margin stays within the equity. Each size that is tried is a what-if.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import dropwhile, pairwise
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from mcmargin.desk.session import Session
from mcmargin.desk.what_if import is_finite, margin_after, own_haircut
from mcmargin.errors import DataError
from mcmargin.instruments.instruments import Perpetual
from mcmargin.policies.formula import FORMULA, Operation
from mcmargin.reports.health import AccountLeverage, own_equity

SMALLEST_STEP = 1e-9
"""Relative width at which bisection ends."""

LARGEST_DOUBLINGS = 200
"""Doublings of an order after which every size counts as permitted."""

MOST_LEVERAGE = 2.0**100
"""Factor on all positions from which on every factor counts as permitted."""

SCANNED = 32
"""Sizes that are tried in each halving of a range, where a margin may not be convex."""

HALVINGS = 8
"""Halvings of a range that ends with a refused size; what is below the last is one range."""

FARTHEST = 40
"""Doublings up to which sizes are scanned where none was refused."""


def max_order(
    session: Session,
    account: str,
    instrument: str,
    *,
    side: str,
    equity: float | None = None,
    lot: float | None = None,
) -> float:
    """Largest order of one instrument; see `MarginReport.max_order`.

    The bound on the margin is the equity, or today's margin if that is larger. The sizes that are
    permitted are one interval from 0 if the margin is convex in the size. These are convex: an
    expected shortfall, the larger of two convex amounts, an amount in proportion to |position|, and
    base + w max(stressed - base, 0) with w up to 1, which is (1 - w) base + w max(base, stressed).
    """
    own = equity is None
    equity = own_equity(session.report, account, asked="max_order") if equity is None else equity
    if side not in ("buy", "sell"):
        raise DataError(f"max_order: side {side!r} is unknown; give 'buy' or 'sell'")
    if not is_finite(equity):
        raise DataError(f"max_order: equity must be a finite number, not {equity!r}")
    if lot is not None and not (is_finite(lot) and lot > 0):
        raise DataError(f"max_order: lot must be a finite number above 0, not {lot!r}")
    row, sign = session.row(account), 1.0 if side == "buy" else -1.0
    margin = margin_after(session, row, freed=own)
    bound = max(equity, margin({instrument: 0.0}))
    # Rounding alone may lift a margin above a bound that it started at.
    bound += 1e-12 * abs(bound)

    def permitted(size: float) -> bool:
        return margin({instrument: sign * size}) <= bound

    unit = lot or 1.0
    low, high = _grown(permitted, 0.0, unit, unit * 2.0**LARGEST_DOUBLINGS)
    if not _convex(session, row):
        low, high = _first_refused(permitted, 0.0, high, unit, lot)
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


def max_leverage(session: Session, account: str, *, equity: float | None = None) -> AccountLeverage:
    """Leverage of an account, and the most that it can take; see `MarginReport.max_leverage`.

    Factors on all positions are searched as sizes of an order are, from a factor that is permitted.
    """
    own = equity is None
    equity = own_equity(session.report, account, asked="max_leverage") if equity is None else equity
    if not is_finite(equity):
        raise DataError(f"max_leverage: equity must be a finite number, not {equity!r}")
    row = session.row(account)
    held, figures = session.book.quantities[[row]], session.report.figures.iloc[row]
    gross = float(figures["gross_exposure"])
    if gross == 0.0:
        raise DataError(f"account {account!r} has no positions, and so no leverage that could grow")
    names = [session.book.instruments[column].name for column in held.indices]
    after = margin_after(session, row, freed=own)

    def margin(factor: float) -> float:
        return after(dict(zip(names, (held.data * (factor - 1.0)).tolist(), strict=True)))

    def permitted(factor: float) -> bool:
        return margin(factor) <= equity

    factor = _largest_factor(margin, permitted, convex=_convex(session, row))
    now, most = (gross / equity, gross / equity * factor) if equity > 0 else (math.inf, 0.0)
    return AccountLeverage(account, str(figures["currency"]), gross, equity, now, most)


def _largest_factor(
    margin: Callable[[float], float], permitted: Callable[[float], bool], *, convex: bool
) -> float:
    """End of the permitted factors that follow one another from the present one, 1, or from 0.

    If neither is permitted, then collateral alone loses more than the equity, and positions may
    hedge it: the start is the factor of the least margin, or the first that is permitted. The end
    is 0 if there is none, and infinite if every factor is permitted.
    """
    start = next((each for each in (1.0, 0.0) if permitted(each)), None)
    if start is None:
        start = _least(margin) if convex else _first_permitted(permitted)
        if not permitted(start):
            return 0.0
    low, high = _grown(permitted, start, 2.0 * start or 1.0, MOST_LEVERAGE)
    if not convex:
        low, high = _first_refused(permitted, start, high)
    return high if math.isinf(high) else _bisected(permitted, low, high)[0]


def _grown(
    permitted: Callable[[float], bool], low: float, high: float, most: float
) -> tuple[float, float]:
    """Double the upper end until it is refused: infinite if it is not, below a size.

    Examples
    --------
    >>> _grown(lambda size: size <= 3.0, 0.0, 1.0, 16.0), _grown(lambda size: True, 0.0, 1.0, 16.0)
    ((2.0, 4.0), (8.0, inf))
    """
    while high < most:
        if not permitted(high):
            return low, high
        low, high = high, 2.0 * high
    return low, math.inf


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


def _convex(session: Session, row: int) -> bool:
    """Whether the sizes of trades that keep the margin at or below a bound are one interval.

    They may not be one interval where

    - the weights of stress add up to more than 1, or a floor may be above base: base then falls
      and its distance to stress grows, and the margin does not show the fall;
    - a buffer or a speed limit keeps the charge where it was, and what is added to it grows.
    """
    policy = session.report.policy
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
    later = dropwhile(lambda step: step.operation is not Operation.CALM, FORMULA)
    added = {step.name for step in later if step.operation is Operation.PLUS and step.is_on(policy)}
    if not funded:
        added.discard("stressed_funding")
    return not added and not own_haircut(session, row)


def _grid(
    low: float, high: float, *, lot: float | None = None, halvings: int = HALVINGS
) -> Iterator[float]:
    """Sizes above low and up to high: `SCANNED` in each halving of what lies between them.

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
    """The first size of a grid that is refused, infinite for none, after the one before it."""
    sizes = _grid(low, high, lot=lot)
    if math.isinf(high):
        sizes = _grid(low, 2.0**FARTHEST * unit, lot=lot, halvings=FARTHEST + HALVINGS)
    for size in sizes:
        if not permitted(size):
            return low, size
        low = size
    return low, math.inf


def _first_permitted(permitted: Callable[[float], bool]) -> float:
    """The first factor above 0 of a grid that is permitted; the last one if none is."""
    factor = 0.0
    for factor in _grid(0.0, 2.0**HALVINGS):
        if permitted(factor):
            break
    return factor


def _bisected(
    permitted: Callable[[float], bool], low: float, high: float, width: float = 0.0
) -> tuple[float, float]:
    """A permitted size and a refused one, nearer to each other.

    Examples
    --------
    >>> [round(end, 6) for end in _bisected(lambda size: size <= 3.0, 1.0, 8.0)]
    [3.0, 3.0]
    """
    while high - low > max(SMALLEST_STEP * high, width):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if permitted(middle) else (low, middle)
    return low, high

"""What a calibration refuses before it fits: short or halted histories, and rows within a bar.

In: prices, and their joint returns. Out: nothing, or an error that names the asset and says what to
do; and the calendar of the joint bars.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import few, real_number, whole_number
from mcmargin.data.bar_patterns import calendar_of, refuse_local_times
from mcmargin.data.bars import DAY, BarCalendar
from mcmargin.data.plausibility import Plausibility
from mcmargin.data.prices import PriceHistory
from mcmargin.data.returns import ReturnHistory
from mcmargin.errors import CalibrationError, DataError, PolicyError
from mcmargin.models.closing_times import require_closes

MINIMUM_RETURNS = 100
"""Least number of returns of a fit."""


def joint_calendar(prices: PriceHistory, joint: ReturnHistory) -> BarCalendar:
    """Find the calendar of the joint bars from what the prices say and from the bars themselves.

    Raises
    ------
    DataError
        If the times are of another zone than the prices say.
    """
    try:
        if prices.zone:
            refuse_local_times(joint.times, prices.zone)
        return calendar_of(
            joint.times,
            zone=prices.zone,
            shown_zone=prices.shown_zone,
            exchange=prices.calendar,
            stamps=prices.stamps,
        )
    except DataError as error:
        raise DataError(f"{prices.source}: {error}") from None


def check_correlation(
    dependence: str, factors: int | None, lookback: int | None, half_life: float | None
) -> None:
    """Refuse options of the correlation that are out of range or do not go together.

    Raises
    ------
    PolicyError
        If a number is not whole or out of range.
    CalibrationError
        If a half-life is given together with factors or historical dependence.
    """
    if factors is not None:
        whole_number("factors", factors)
    if lookback is not None:
        whole_number("correlation_lookback", lookback, least=MINIMUM_RETURNS)
    if half_life is None:
        return
    if not 0.0 < real_number("correlation_half_life", half_life) < np.inf:
        raise PolicyError(f"correlation_half_life must be above 0 bars, not {half_life}")
    if factors is not None or dependence == "historical":
        raise CalibrationError(
            "correlation_half_life needs a full correlation matrix; do not give it with "
            f"{'factors' if factors is not None else 'historical dependence'}"
        )


def check_closes(
    prices: PriceHistory, joint: ReturnHistory, calendar: BarCalendar, limits: Plausibility
) -> None:
    """Refuse rows that are not closes: of bars that are too short, or a last one at an odd hour."""
    days = float(np.median(np.diff(joint.times)) / DAY)
    way = (
        "Leave the row out, and give the price to the model as provisional (update, "
        "provisional=True); or, if it is a close, widen the limit: --allow close_hours=24, or in "
        "Python plausibility=mm.Plausibility(close_hours=24)."
    )
    # An odd hour is a tick in the last row and a short day in an old one, so that of old bars only
    # the length is checked.
    any_hour = replace(limits, close_hours=24.0)
    times, source = joint.times, prices.source
    require_closes(times[:1], times[1:], days, any_hour, source=source, way=way)
    last = calendar.unscheduled(times[-1:])
    require_closes(times[:-1], last, days, limits, source=source, way=way)


def check_halts(
    joint: ReturnHistory, halted: NDArray[np.bool_], columns: list[NDArray[np.float64]]
) -> None:
    """Refuse histories that have too few bars without those of their halts."""
    for at, (asset, column) in enumerate(zip(joint.assets, columns, strict=True)):
        moving = min(len(column), int((~halted[:, at]).sum()))
        if halted[:, at].any() and moving < MINIMUM_RETURNS:
            raise CalibrationError(
                f"{asset}: its price stands still on {int(halted[:, at].sum())} of "
                f"{len(halted)} bars, as that of a halted asset, and on the others a fit has "
                f"{moving} returns of the {MINIMUM_RETURNS} that it needs; leave it out, give a "
                "longer history, or widen the limit still_bars (--allow still_bars=NUMBER, or "
                "in Python plausibility=)"
            )
    together = int((~halted.any(axis=1)).sum())
    if halted.any() and together < MINIMUM_RETURNS:
        names = few(joint.assets[at] for at in np.flatnonzero(halted.any(axis=0)).tolist())
        raise CalibrationError(
            f"on {together} bars no asset is halted, and the dependence needs "
            f"{MINIMUM_RETURNS}; prices stand still of {names}: leave some out"
        )


def check_lengths(
    prices: PriceHistory, joint: ReturnHistory, columns: list[NDArray[np.float64]]
) -> None:
    """Refuse histories that are too short for a fit, and prices that never move."""
    for asset, column in zip(joint.assets, columns, strict=True):
        if len(column) < MINIMUM_RETURNS and len(column) != len(joint.returns):
            raise CalibrationError(
                f"{asset}: {len(column)} returns of its own, and a fit needs at least "
                f"{MINIMUM_RETURNS}; give a longer history or leave it out"
            )
    for asset, column in zip(joint.assets, joint.returns.T, strict=True):
        if not column.any():
            raise CalibrationError(
                f"{prices.source}: the price of {asset!r} never moves in {len(column) + 1} common "
                "rows; leave it out or give a longer history"
            )
    closes = np.isfinite(prices.prices).sum(axis=0)
    if len(joint.returns) < MINIMUM_RETURNS:
        shortest = int(np.argmin(closes))
        raise CalibrationError(
            f"{joint.assets[shortest]}: {len(joint.returns)} returns on the dates common to "
            f"{', '.join(joint.assets)}, and a fit needs at least {MINIMUM_RETURNS}; it has the "
            f"fewest closes, {closes[shortest]}: give it a longer history or leave it out"
        )

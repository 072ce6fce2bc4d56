"""Implied volatility: the volatility at which Black (1976) gives a price.

In: undiscounted prices of options on a forward. Out: volatilities in float64, NaN where no
volatility gives the price or the price's own rounding leaves the volatility open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcmargin.errors import DataError
from mcmargin.numerics.black import (
    ROOT_2PI,
    SHARE_BUFFERS,
    check_shapes,
    checked_numbers,
    checked_sign,
    log_moneyness,
    otm_share,
)
from mcmargin.numerics.chunks import elementwise

ACCURACY = 1e-8
"""Volatility is given where rounding of the price leaves it open by less than this."""

ROUNDING = 8
"""Units in the last place by which a price may be off: its own and this computation's rounding."""

STEPS = 5
"""Of Halley's method; 4 reach the last digits everywhere, and the next confirms it."""


def implied_volatility(price: Any, forward: Any, strike: Any, time: Any, kind: Any = "call") -> Any:
    """Volatility a year at which `black76` gives a price.

    The price less intrinsic value, as a share b of min(F, K), is a function of x = |ln(F / K)| and
    s = volatility x sqrt(time). Over y = ln s, the function -ln(-ln b) is nearly a straight line:
    its slope is 2 where b vanishes, since ln b is about -x^2 / (2 s^2). Halley's method on it, from
    a guess in closed form, needs at most 4 steps for every b and x that float64 can hold.

    Parameters
    ----------
    price : array_like
        Undiscounted, taken as exact; NaN is allowed.
    forward, strike, time : array_like
        Above 0; years to expiry.
    kind : "call", "put" or array_like of bool
        True for calls.

    Returns
    -------
    ndarray of the broadcast shape, or a scalar, float64
        Accurate to 1e-8. NaN where the price is NaN, at or below intrinsic value, at or above the
        upper bound (the forward for a call, the strike for a put), or where 8 units in its last
        place are more than a change of 1e-8 in volatility makes; and for some prices below 1e-300
        of the forward, for which float64 has not digits enough.

    Raises
    ------
    DataError
        For a forward, strike or time that is not finite or not above 0, an unknown kind, and shapes
        that do not broadcast.

    References
    ----------
    P. Jäckel, "Let's be rational", Wilmott (2015), who solves for the logarithm of the
    out-of-the-money value, and for the upper part that of its complement.

    Examples
    --------
    >>> implied_volatility([7.965567455405, 0.0], 100.0, 100.0, 1.0).round(9).tolist()
    [0.2, nan]
    """
    prices = price if hasattr(price, "dtype") else np.asarray(price)
    if isinstance(prices, np.ma.MaskedArray):
        raise DataError("options: price is a masked array; take out what is masked first")
    if prices.dtype.kind not in "iuf":
        raise DataError(f"options: price must be numbers, not {prices.dtype}")
    operands = (
        prices,
        checked_numbers("forward", forward, above=True),
        checked_numbers("strike", strike, above=True),
        checked_numbers("time", time, above=True),
        checked_sign(kind),
    )
    check_shapes(*operands)
    return elementwise(_implied, operands, buffers=SHARE_BUFFERS + 4, dtype=np.dtype(np.float64))


def _implied(xp: Any, inputs: Sequence[Any], out: Any, work: Sequence[Any]) -> None:
    price, forward, strike, time, sign = inputs
    x, low, y, s, *buffers = work
    log_moneyness(xp, forward, strike, x, low)
    time_value = price - xp.maximum(sign * (forward - strike), 0.0)
    room = xp.where(sign > 0, forward, strike) - price
    share, lack = time_value / low, room / low
    # Near 1 a share is known by what it lacks.
    upper = share > 0.5
    log_share = xp.where(upper, xp.log1p(-lack), xp.log(share))
    target = -xp.log(-log_share)
    _first_guess(xp, x, share, lack, log_share, y)
    for _ in range(STEPS):
        xp.exp(y, out=s)
        curvature = (x / s) ** 2 - s * s / 4
        vega = s * (1 / ROOT_2PI)
        whole, part, density = otm_share(xp, x, s, buffers)
        vega *= density
        value = whole + part
        log_value = xp.where(upper, xp.log1p(part - (1 - whole)), xp.log(value))
        # Of ln b and of -ln(-ln b) by y; the second derivative of b is vega (1 + curvature).
        slope = vega / value
        steepness = -slope / log_value
        newton = (xp.log(-log_value) + target) / steepness
        step = newton / (1 + 0.5 * newton * (1 + curvature - slope + steepness))
        y += step
    xp.exp(y, out=s)
    # vega is by ln s here, so that vega / volatility is by the volatility.
    volatility = s / xp.sqrt(time)
    rounding = ROUNDING * (xp.nextafter(price, np.inf) - price)
    known = low * vega / volatility * ACCURACY > rounding
    known &= (time_value > 0) & (room > 0) & (xp.abs(step) < ACCURACY)
    out[...] = xp.where(known, volatility, np.nan)


def _first_guess(xp: Any, x: Any, share: Any, lack: Any, log_share: Any, out: Any) -> None:
    """Logarithm of a deviation near the one sought.

    A share is below s / sqrt(2 pi) and below Phi(s/2 - x/s), which bound s from below; the normal
    quantile is taken as -sqrt(-2 ln share), or near 1 as sqrt(-2 ln lack).
    """
    quantile = xp.sqrt(-2 * log_share)
    root = xp.sqrt(quantile * quantile + 2 * x)
    quantile_up = xp.sqrt(-2 * xp.log(lack))
    root_up = xp.sqrt(quantile_up * quantile_up + 2 * x)
    by_tail = xp.where(share > 0.5, root_up + quantile_up, 2 * x / (root + quantile))
    xp.log(xp.maximum(by_tail, ROOT_2PI * share), out=out)

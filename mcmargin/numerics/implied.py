"""Implied volatility: the volatility at which Black (1976) gives a price.

In: undiscounted prices of options on a forward. Out: volatilities in float64. A result is NaN if no
volatility gives the price, or if many do within the rounding of the price.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcmargin.numerics.black import (
    ROOT_2PI,
    SHARE_BUFFERS,
    check_shapes,
    checked_numbers,
    checked_sign,
    log_moneyness,
    otm_share,
    real_numbers,
)
from mcmargin.numerics.chunks import elementwise

ACCURACY = 1e-8
"""Largest change of a volatility that the rounding of the price may make; else it is NaN."""

ROUNDING = 8
"""Units in the last place by which a price may be wrong, because it was rounded and because this
computation rounds."""

STEPS = 5
"""Steps of Halley's method. 4 of them reach the last digits everywhere; the fifth confirms it."""


def implied_volatility(price: Any, forward: Any, strike: Any, time: Any, kind: Any = "call") -> Any:
    """Return the volatility per year at which `black76` gives a price.

    The price less intrinsic value, as a share b of min(F, K), is a function of x = |ln(F / K)| and
    s = volatility x sqrt(time). As a function of y = ln s, -ln(-ln b) is nearly a straight line:
    its slope is 2 where b is close to 0, since there ln b is about -x^2 / (2 s^2). Halley's method
    starts from a guess in closed form and needs at most 4 steps for every b and x in float64.

    Parameters
    ----------
    price : array_like
        Undiscounted, and taken as exact. NaN is allowed.
    forward, strike, time : array_like
        They are above 0; time is in years to expiry.
    kind : "call", "put" or array_like of bool
        True for calls.

    Returns
    -------
    ndarray of the broadcast shape, or a scalar, float64
        Accurate to 1e-8. It is NaN if the price is NaN, at or below intrinsic value, or at or above
        the upper bound (the forward for a call, the strike for a put). It is also NaN if 8 units in
        the last place of the price are more than a change of 1e-8 in volatility makes, and for some
        prices below 1e-300 of the forward, for which float64 does not have enough digits.

    Raises
    ------
    DataError
        If a forward, strike or time is not finite or not above 0, if a kind is unknown, or if the
        shapes do not broadcast.

    References
    ----------
    P. Jäckel, "Let's be rational", Wilmott (2015). He solves for the logarithm of the
    out-of-the-money value and, for large values, for the logarithm of its complement.

    Examples
    --------
    >>> implied_volatility([7.965567455405, 0.0], 100.0, 100.0, 1.0).round(9).tolist()
    [0.2, nan]
    """
    operands = (
        real_numbers("price", price),
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
    # Near 1, what a share lacks to 1 has more accurate digits than the share.
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
        # These are the derivatives of ln b and of -ln(-ln b) by y. The second derivative of b is
        # vega (1 + curvature).
        slope = vega / value
        steepness = -slope / log_value
        newton = (xp.log(-log_value) + target) / steepness
        step = newton / (1 + 0.5 * newton * (1 + curvature - slope + steepness))
        y += step
    xp.exp(y, out=s)
    # vega is the derivative by ln s here; vega / volatility is the one by the volatility.
    volatility = s / xp.sqrt(time)
    rounding = ROUNDING * (xp.nextafter(price, np.inf) - price)
    known = low * vega / volatility * ACCURACY > rounding
    known &= (time_value > 0) & (room > 0) & (xp.abs(step) < ACCURACY)
    out[...] = xp.where(known, volatility, np.nan)


def _first_guess(xp: Any, x: Any, share: Any, lack: Any, log_share: Any, out: Any) -> None:
    """Write the logarithm of a first guess of s.

    A share is below s / sqrt(2 pi) and below Phi(s/2 - x/s). Both give a lower bound of s, and the
    guess is the larger one. The normal quantile in the second is approximated by
    -sqrt(-2 ln share), or by sqrt(-2 ln lack) for shares near 1.
    """
    quantile = xp.sqrt(-2 * log_share)
    root = xp.sqrt(quantile * quantile + 2 * x)
    quantile_up = xp.sqrt(-2 * xp.log(lack))
    root_up = xp.sqrt(quantile_up * quantile_up + 2 * x)
    by_tail = xp.where(share > 0.5, root_up + quantile_up, 2 * x / (root + quantile))
    xp.log(xp.maximum(by_tail, ROOT_2PI * share), out=out)

"""Black (1976): value and sensitivities of European options on a forward, undiscounted.

In: forwards, strikes, volatilities and times as numpy or cupy arrays, float32 or float64. Out:
values in the forward's unit and their derivatives. A value is that of the out-of-the-money option,
computed without cancellation, plus intrinsic value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcmargin.errors import DataError
from mcmargin.numerics.arrays import array_module
from mcmargin.numerics.chunks import elementwise, floating_type
from mcmargin.numerics.normal import LEAST, OFFSET, SCALE, normal_cdf, tail_powers

ROOT_HALF = math.sqrt(0.5)
DAYS_A_YEAR = 365.0
"""ACT/365."""

DEVIATION_LIMIT = 100.0
"""Beyond it (vol times root of time) an option is worth its upper bound, to the last bit."""

DISTANCE_LIMIT = 90.0
"""Log-moneyness in deviations from which the density vanishes for every deviation in bounds."""

ROOT_2PI = math.sqrt(2 * math.pi)

SHARE_BUFFERS = 8
"""That `otm_share` works in."""


@dataclass(frozen=True, eq=False)
class Greeks:
    """Value and derivatives of options, arrays of one shape.

    Attributes
    ----------
    value : ndarray
        Undiscounted, in the forward's unit.
    delta : ndarray
        By the forward.
    gamma : ndarray
        Second, by the forward; infinite at the strike where nothing is left of time or volatility.
    vega : ndarray
        By the volatility, for 1.00 of it.
    theta : ndarray
        By a calendar day that passes, ACT/365.
    """

    value: Any
    delta: Any
    gamma: Any
    vega: Any
    theta: Any


def black76(forward: Any, strike: Any, volatility: Any, time: Any, kind: Any = "call") -> Any:
    """Undiscounted value of European options on a forward.

    With s = volatility x sqrt(time), x = |ln(F / K)| and the Mills ratio M = Phi(-z) / phi(z),

        value = max(w (F - K), 0) + min(F, K) phi(z1) (M(z1) - M(z2)),   z1, z2 = x/s -+ s/2,

    w = 1 for a call and -1 for a put. This is Black's w (F Phi(w d1) - K Phi(w d2)) by put-call
    parity. M is a polynomial P of y = 8 / (4.5 + z), and M(z1) - M(z2) is taken from the divided
    difference of P times the exact y1 - y2 = s y1 y2 / 8, so that nothing cancels; where
    z1 < -1/2 the other option's share, 1 - phi(z1) (M(-z1) + M(z2)), serves.

    Parameters
    ----------
    forward : array_like
        Above 0.
    strike : array_like
        0 or more.
    volatility : array_like
        A year, 0.2 for 20 %; 0 or more, where 0 gives intrinsic value.
    time : array_like
        Years to expiry, 0 or more, where 0 gives intrinsic value.
    kind : "call", "put" or array_like of bool
        True for calls, for a mixed batch.

    Returns
    -------
    ndarray of the broadcast shape, or a scalar
        float32 if every array given is float32, else float64; plain Python numbers do not count.
        Error below 6 units of rounding (2^-53 = 1.1e-16, or 2^-24 = 6e-8) of the smaller of
        forward and strike, and 2 of the value: 7e-16 and 4e-7 of the forward. Out of the money,
        the relative error is below 10 + 6 (x/s)^2 units.

    Raises
    ------
    DataError
        For an input that is negative, not finite or of an unknown kind, naming the first such
        element, and for shapes that do not broadcast.

    References
    ----------
    F. Black, "The pricing of commodity contracts", Journal of Financial Economics 3 (1976).
    P. Jäckel, "Let's be rational", Wilmott (2015), for values by differences of Mills' ratio.

    Examples
    --------
    >>> float(black76(100.0, 100.0, 0.2, 1.0))
    7.965567455405...
    >>> black76(np.array([90.0, 110.0]), 100.0, 0.2, [0.5, 0.0], "put").round(4).tolist()
    [11.7725, 0.0]
    """
    inputs, sign = _checked(forward, strike, volatility, time, kind)
    forward, strike, volatility, time = inputs
    return black76_values(
        forward, strike, volatility, _root(time), sign, dtype=floating_type(inputs)
    )


def black76_values(
    forward: Any,
    strike: Any,
    volatility: Any,
    root_time: Any,
    sign: Any,
    *,
    out: Any = None,
    dtype: np.dtype[Any] | None = None,
) -> Any:
    """Values as `black76` gives them, unchecked, for callers that price again and again.

    Parameters
    ----------
    forward, strike, volatility : array_like
    root_time : array_like
        Square root of the years to expiry.
    sign : array_like
        1 for calls, -1 for puts.
    out : ndarray, optional
        Where the values go; not one of the inputs.
    dtype : dtype, optional
        float32 or float64: that of `out`, or else as for `black76`.

    Returns
    -------
    ndarray of the broadcast shape, or a scalar
        NaN where an input is NaN.

    Examples
    --------
    >>> out = np.empty((2, 3), np.float32)
    >>> strikes = np.array([[90.0], [110.0]])
    >>> black76_values(np.float32([90, 100, 110]), strikes, 0.2, 0.5, 1.0, out=out).round(2)
    array([[ 3.59, 10.71, 20.08],
           [ 0.08,  0.95,  4.39]], dtype=float32)
    """
    operands = (forward, strike, volatility, root_time, sign)
    return elementwise(_value, operands, buffers=SHARE_BUFFERS + 3, out=out, dtype=dtype)


def _value(xp: Any, inputs: Sequence[Any], out: Any, work: Sequence[Any]) -> None:
    forward, strike, volatility, root_time, sign = inputs
    moneyness, deviation, low, *rest = work
    xp.multiply(volatility, root_time, out=deviation)
    log_moneyness(xp, forward, strike, moneyness, low)
    whole, part, _ = otm_share(xp, moneyness, deviation, rest)
    xp.add(whole, part, out=out)
    xp.multiply(out, low, out=out)
    intrinsic = moneyness
    xp.subtract(forward, strike, out=intrinsic)
    xp.multiply(intrinsic, sign, out=intrinsic)
    xp.maximum(intrinsic, 0.0, out=intrinsic)
    xp.add(out, intrinsic, out=out)


def log_moneyness(xp: Any, forward: Any, strike: Any, out: Any, low: Any) -> None:
    """|ln(F / K)| to full relative accuracy, and the smaller of F and K."""
    xp.maximum(forward, strike, out=out)
    xp.minimum(forward, strike, out=low)
    xp.subtract(out, low, out=out)
    xp.divide(out, xp.maximum(low, np.finfo(out.dtype).tiny), out=out)
    xp.log1p(out, out=out)


def otm_share(xp: Any, moneyness: Any, deviation: Any, work: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Out-of-the-money value as a share of min(F, K), from |ln(F / K)| and the total deviation.

    Returned are three of the buffers, `whole`, `part` and exp(-z1^2 / 2): the share is
    `whole + part` and what it lacks to 1 is `(1 - whole) - part`. `whole` is 0, or 1 where z1 is
    below `LEAST`; so both are exact where they are small. `deviation` is overwritten.
    """
    z1, z2, whole, y1, y2, part, polynomial, gap = work
    s = deviation
    xp.minimum(s, DEVIATION_LIMIT, out=s)
    xp.maximum(s, np.finfo(s.dtype).tiny, out=y1)
    xp.divide(moneyness, y1, out=z1)
    xp.minimum(z1, DISTANCE_LIMIT, out=z1)
    # z1, z2 and how far apart they are, which is known better than by their difference. Where z1
    # changes its sign is decided by products with 0 or 1, not by branches.
    xp.add(z1, z1, out=gap)
    xp.subtract(gap, s, out=gap)
    xp.multiply(s, 0.5, out=y1)
    xp.add(z1, y1, out=z2)
    xp.subtract(z1, y1, out=z1)
    whole[...] = z1 < LEAST
    xp.multiply(gap, whole, out=gap)
    xp.add(gap, s, out=gap)
    _negate(xp, z1, whole, y1)
    density = s
    xp.square(z1, out=density)
    xp.multiply(density, -0.5, out=density)
    xp.exp(density, out=density)
    for z, y in ((z1, y1), (z2, y2)):
        xp.add(z, OFFSET, out=y)
        xp.divide(SCALE, y, out=y)
    xp.multiply(gap, y1, out=gap)
    xp.multiply(gap, y2, out=gap)
    xp.multiply(gap, 1 / SCALE, out=gap)
    # Horner's rule for P at t2, and for the divided difference of P between t1 and t2.
    t1, t2, divided = z1, z2, part
    xp.subtract(y1, 1.0, out=t1)
    xp.subtract(y2, 1.0, out=t2)
    powers = tail_powers(polynomial.dtype)
    divided.fill(powers[-1])
    xp.multiply(divided, t2, out=polynomial)
    xp.add(polynomial, powers[-2], out=polynomial)
    for coefficient in powers[-3::-1]:
        xp.multiply(divided, t1, out=divided)
        xp.add(divided, polynomial, out=divided)
        xp.multiply(polynomial, t2, out=polynomial)
        xp.add(polynomial, coefficient, out=polynomial)
    # y1 P(t1) - y2 P(t2) = (y1 - y2) (P(t2) + y1 x the divided difference), and + 2 y2 P(t2).
    xp.multiply(divided, y1, out=part)
    xp.add(part, polynomial, out=part)
    xp.multiply(part, gap, out=part)
    xp.multiply(polynomial, y2, out=polynomial)
    xp.multiply(polynomial, whole, out=polynomial)
    xp.add(part, polynomial, out=part)
    xp.add(part, polynomial, out=part)
    xp.multiply(part, density, out=part)
    _negate(xp, part, whole, y1)
    return whole, part, density


def _negate(xp: Any, values: Any, where: Any, work: Any) -> None:
    """Change the sign where `where` is 1 and not 0."""
    xp.multiply(where, -2.0, out=work)
    xp.add(work, 1.0, out=work)
    xp.multiply(values, work, out=values)


def black76_greeks(
    forward: Any, strike: Any, volatility: Any, time: Any, kind: Any = "call"
) -> Greeks:
    """Value and sensitivities of European options on a forward, undiscounted.

    With d1 = ln(F / K)/s + s/2, s = volatility x sqrt(time), and w = 1 for a call, -1 for a put:
    delta = w Phi(w d1), gamma = phi(d1) / (F s), vega = F phi(d1) sqrt(time) and
    theta = -F phi(d1) volatility / (2 sqrt(time)) / 365. At the strike, where nothing is left of
    time or volatility, delta is w/2, gamma infinite, and so is theta where only time is out.

    Parameters
    ----------
    forward, strike, volatility, time, kind
        As for `black76`.

    Returns
    -------
    Greeks

    Raises
    ------
    DataError
        As `black76`.

    Examples
    --------
    >>> greeks = black76_greeks(100.0, 100.0, 0.2, 1.0)
    >>> [round(float(x), 4) for x in (greeks.delta, greeks.gamma, greeks.vega, greeks.theta)]
    [0.5398, 0.0198, 39.6953, -0.0109]
    """
    inputs, sign = _checked(forward, strike, volatility, time, kind)
    dtype = floating_type(inputs)
    xp = next((array_module(x) for x in inputs if array_module(x) is not np), np)
    forward, strike, volatility, time, sign = (
        xp.asarray(x, dtype) for x in xp.broadcast_arrays(*map(xp.asarray, (*inputs, sign)))
    )
    root = xp.sqrt(time)
    value = black76_values(forward, strike, volatility, root, sign)
    with np.errstate(all="ignore"):
        x, low = xp.empty_like(forward), xp.empty_like(forward)
        log_moneyness(xp, forward, strike, x, low)
        s = volatility * root
        bounded = xp.clip(s, np.finfo(dtype).tiny, DEVIATION_LIMIT)
        distance = xp.minimum(x / bounded, DISTANCE_LIMIT)
        d1 = xp.where(forward > strike, distance, -distance) + bounded / 2
        # min(F, K) phi(x/s - s/2), which is F phi(d1) = K phi(d2).
        density = low * xp.exp(-0.5 * (distance - bounded / 2) ** 2) / ROOT_2PI
        some, moving = density > 0, (density > 0) & (volatility > 0)
        gamma = xp.where(some, density / (forward * forward * s), 0)
        theta = xp.where(moving, -density * volatility / (2 * DAYS_A_YEAR * root), 0)
    scalars = (value, sign * normal_cdf(sign * d1), gamma, density * root, theta)
    return Greeks(*(x.astype(dtype)[()] for x in scalars))


def _root(time: Any) -> Any:
    return array_module(time).sqrt(time)


def _checked(
    forward: Any, strike: Any, volatility: Any, time: Any, kind: Any
) -> tuple[list[Any], Any]:
    inputs = [
        checked_numbers("forward", forward, above=True),
        checked_numbers("strike", strike),
        checked_numbers("volatility", volatility),
        checked_numbers("time", time),
    ]
    sign = checked_sign(kind)
    check_shapes(*inputs, sign)
    return inputs, sign


def check_shapes(*inputs: Any) -> None:
    """Raise DataError unless the inputs broadcast together."""
    try:
        np.broadcast_shapes(*(np.shape(x) for x in inputs))
    except ValueError:
        shapes = ", ".join(str(np.shape(x)) for x in inputs)
        raise DataError(f"options: shapes {shapes} do not broadcast together") from None


def checked_numbers(name: str, value: Any, *, above: bool = False) -> Any:
    """Return a plain number or an array of numbers, finite and 0 or more (or above 0).

    Raises
    ------
    DataError
        Naming the input and its first bad element.

    Examples
    --------
    >>> checked_numbers("strike", [90, 110])
    array([ 90, 110])
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool | np.floating):
        value = float(value)
    array = value if hasattr(value, "dtype") else np.asarray(value)
    if isinstance(array, np.ma.MaskedArray):
        raise DataError(f"options: {name} is a masked array; take out what is masked first")
    if array.dtype.kind not in "iuf":
        raise DataError(f"options: {name} must be numbers, not {array.dtype}")
    xp = array_module(array)
    good = xp.isfinite(array) & (array > 0 if above else array >= 0)
    if not bool(good.all()):
        at = np.unravel_index(int(xp.flatnonzero(~good)[0]), array.shape)
        where = f", element {', '.join(map(str, at))}" if at else ""
        least = "above 0" if above else "0 or more"
        raise DataError(f"options: {name}{where} is {array[at]}; it must be finite and {least}")
    return value if isinstance(value, float) else array


def checked_sign(kind: Any) -> Any:
    """Return 1 for calls and -1 for puts, one number or one an element.

    Raises
    ------
    DataError
        If `kind` is neither "call", "put" nor booleans.

    Examples
    --------
    >>> checked_sign("put"), checked_sign([True, False]).tolist()
    (-1.0, [1.0, -1.0])
    """
    if isinstance(kind, str):
        if kind not in ("call", "put"):
            raise DataError(f"options: kind must be 'call' or 'put', not {kind!r}")
        return 1.0 if kind == "call" else -1.0
    array = kind if hasattr(kind, "dtype") else np.asarray(kind)
    if array.dtype.kind != "b":
        raise DataError("options: kind must be 'call', 'put' or booleans, True for calls")
    return array_module(array).where(array, 1.0, -1.0)


def black76_point(
    forward: float, strike: float, volatility: float, time: float, sign: float
) -> tuple[float, float]:
    """Undiscounted value of one option, and its derivative by the forward, unchecked.

    For today's values of a book, one by one: no arrays are made. Its error is a few units in the
    last place of the forward.

    Parameters
    ----------
    forward, strike, volatility, time : float
    sign : float
        1 for a call, -1 for a put.

    Examples
    --------
    >>> value, delta = black76_point(100.0, 100.0, 0.2, 1.0, 1.0)
    >>> round(value, 10), round(delta, 10)
    (7.9655674554, 0.5398278373)
    """
    deviation = volatility * math.sqrt(time)
    intrinsic = sign * (forward - strike)
    if deviation == 0.0 or strike == 0.0:
        return max(intrinsic, 0.0), sign * (intrinsic > 0.0) + 0.5 * sign * (intrinsic == 0.0)
    d1 = math.log(forward / strike) / deviation + 0.5 * deviation
    # The out-of-the-money side by its small tails; the other by parity.
    outer = 1.0 if forward <= strike else -1.0
    first = 0.5 * math.erfc(-outer * d1 * ROOT_HALF)
    second = 0.5 * math.erfc(-outer * (d1 - deviation) * ROOT_HALF)
    value = max(outer * (forward * first - strike * second), 0.0)
    delta = outer * first
    if sign != outer:
        value, delta = value + intrinsic, delta + sign
    return value, delta

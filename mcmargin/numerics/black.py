"""Black (1976): value and sensitivities of European options on a forward, undiscounted.

In: forwards, strikes, volatilities and times as arrays of numpy or cupy, float32 or float64. Out:
values in the unit of the forward, and their derivatives. A value is computed as intrinsic value
plus the value of the out-of-the-money option of the same strike, so that nothing cancels.
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
"""Days of a year, by the convention ACT/365."""

DEVIATION_LIMIT = 100.0
"""Largest deviation (volatility times root of time) that is used. At this deviation an option is
worth its upper bound to the last bit."""

DISTANCE_LIMIT = 90.0
"""Largest log-moneyness, in deviations, that is used. There the density is 0 for every deviation up
to `DEVIATION_LIMIT`."""

ROOT_2PI = math.sqrt(2 * math.pi)

SHARE_BUFFERS = 8
"""Number of buffers that `otm_share` needs."""


@dataclass(frozen=True, eq=False)
class Greeks:
    """Value and derivatives of options, arrays of one shape.

    Attributes
    ----------
    value : ndarray
        Undiscounted, in the unit of the forward.
    delta : ndarray
        First derivative by the forward.
    gamma : ndarray
        Second derivative by the forward; infinite at the strike if time or volatility is 0.
    vega : ndarray
        Derivative by the volatility, for a change of 1.00.
    theta : ndarray
        Change by one calendar day that passes, ACT/365.
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

    where w is 1 for a call and -1 for a put. By put-call parity this equals Black's
    w (F Phi(w d1) - K Phi(w d2)). With y = 8 / (4.5 + z), phi(0) M is y P(y - 1) with a
    polynomial P. M(z1) - M(z2) is computed from the divided difference of P and from the exact
    y1 - y2 = s y1 y2 / 8, so that nothing cancels. Where z1 < -1/2, the product with min(F, K) is
    computed as min(F, K) (1 - phi(z1) (M(-z1) + M(z2))).

    Parameters
    ----------
    forward : array_like
        Above 0.
    strike : array_like
        0 or more.
    volatility : array_like
        Per year, 0.2 for 20 %. It is 0 or more; 0 gives intrinsic value.
    time : array_like
        Years to expiry. It is 0 or more; 0 gives intrinsic value.
    kind : "call", "put" or array_like of bool
        For a batch of calls and puts: True for calls.

    Returns
    -------
    ndarray of the broadcast shape, or a scalar
        float32 if all arrays given are float32, else float64; plain Python numbers do not count.
        With units of rounding of 2^-53 = 1.1e-16 in float64 and 2^-24 = 6e-8 in float32, the error
        is below 6 units of the smaller of forward and strike, plus 2 units of the value; that is
        7e-16 and 4e-7 of the forward. Out of the money, the relative error is below
        10 + 6 (x/s)^2 units.

    Raises
    ------
    DataError
        If an input is negative, not finite or of an unknown kind; the message names the first such
        element. Also if the shapes do not broadcast.

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
    """Return the values of `black76` without its checks, for callers that price many times.

    Parameters
    ----------
    forward, strike, volatility : array_like
    root_time : array_like
        Square root of the years to expiry.
    sign : array_like
        1 for calls, -1 for puts.
    out : ndarray, optional
        Array for the values; it must not be one of the inputs.
    dtype : dtype, optional
        float32 or float64; by default that of `out`, or else as for `black76`.

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
    """Write |ln(F / K)|, to full relative accuracy, and the smaller of F and K."""
    xp.maximum(forward, strike, out=out)
    xp.minimum(forward, strike, out=low)
    xp.subtract(out, low, out=out)
    xp.divide(out, xp.maximum(low, np.finfo(out.dtype).tiny), out=out)
    xp.log1p(out, out=out)


def otm_share(xp: Any, moneyness: Any, deviation: Any, work: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Return the out-of-the-money value as a share of min(F, K).

    Parameters
    ----------
    xp : module
        numpy or cupy.
    moneyness : ndarray
        |ln(F / K)|.
    deviation : ndarray
        Volatility times the root of time. It is overwritten.
    work : sequence of ndarray
        `SHARE_BUFFERS` buffers.

    Returns
    -------
    whole, part, density : ndarray
        Three of the buffers. The share is `whole + part`, and 1 less the share is
        `(1 - whole) - part`; `whole` is 1 where z1 is below `LEAST`, and 0 elsewhere, so that both
        are exact where they are small. `density` is exp(-z1^2 / 2).
    """
    z1, z2, whole, y1, y2, part, polynomial, gap = work
    s = deviation
    xp.minimum(s, DEVIATION_LIMIT, out=s)
    xp.maximum(s, np.finfo(s.dtype).tiny, out=y1)
    xp.divide(moneyness, y1, out=z1)
    xp.minimum(z1, DISTANCE_LIMIT, out=z1)
    # The distance of z1 and z2 is computed from s, which is more accurate than their difference.
    # Products with 0 or 1 change the sign of z1 without a branch.
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
    _difference_of_ratios(xp, gap, whole, y1, y2, part, (z1, z2, polynomial))
    xp.multiply(part, density, out=part)
    _negate(xp, part, whole, y1)
    return whole, part, density


def _difference_of_ratios(
    xp: Any, gap: Any, whole: Any, y1: Any, y2: Any, out: Any, work: Sequence[Any]
) -> None:
    """Write phi(0) (M(z1) - M(z2)), or phi(0) (M(z1) + M(z2)) where `whole` is 1.

    The difference is y1 P(t1) - y2 P(t2) = (y1 - y2) (P(t2) + y1 D), where D is the divided
    difference of P between t1 = y1 - 1 and t2 = y2 - 1. `gap` is y1 - y2, exactly.
    """
    t1, t2, polynomial = work
    # Horner's rule gives both D and P(t2).
    divided = out
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
    xp.multiply(divided, y1, out=out)
    xp.add(out, polynomial, out=out)
    xp.multiply(out, gap, out=out)
    # Where `whole` is 1, y2 P(t2) is added twice, which changes the sign of M(z2).
    xp.multiply(polynomial, y2, out=polynomial)
    xp.multiply(polynomial, whole, out=polynomial)
    xp.add(out, polynomial, out=out)
    xp.add(out, polynomial, out=out)


def _negate(xp: Any, values: Any, where: Any, work: Any) -> None:
    """Change the sign of the values where `where` is 1; elsewhere it is 0."""
    xp.multiply(where, -2.0, out=work)
    xp.add(work, 1.0, out=work)
    xp.multiply(values, work, out=values)


def black76_greeks(
    forward: Any, strike: Any, volatility: Any, time: Any, kind: Any = "call"
) -> Greeks:
    """Value and sensitivities of European options on a forward, undiscounted.

    With d1 = ln(F / K)/s + s/2, s = volatility x sqrt(time), and w = 1 for a call, -1 for a put:
    delta = w Phi(w d1), gamma = phi(d1) / (F s), vega = F phi(d1) sqrt(time) and
    theta = -F phi(d1) volatility / (2 sqrt(time)) / 365. At the strike, if time or volatility is 0,
    delta is w/2 and gamma is infinite; if only time is 0, theta is infinite, too.

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
        # This is min(F, K) phi(x/s - s/2) = F phi(d1) = K phi(d2).
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
    """Return a number or an array of numbers that are finite and 0 or more, or else above 0.

    Raises
    ------
    DataError
        If an element is not; the message names the input and its first such element.

    Examples
    --------
    >>> checked_numbers("strike", [90, 110])
    array([ 90, 110])
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool | np.floating):
        value = float(value)
    array = real_numbers(name, value)
    xp = array_module(array)
    good = xp.isfinite(array) & (array > 0 if above else array >= 0)
    if not bool(good.all()):
        at = np.unravel_index(int(xp.flatnonzero(~good)[0]), array.shape)
        where = f", element {', '.join(map(str, at))}" if at else ""
        least = "above 0" if above else "0 or more"
        raise DataError(f"options: {name}{where} is {array[at]}; it must be finite and {least}")
    return value if isinstance(value, float) else array


def real_numbers(name: str, value: Any) -> Any:
    """Return an array of real numbers, or a scalar of numpy or cupy as it is.

    Raises
    ------
    DataError
        If the value is a masked array, or not of real numbers.

    Examples
    --------
    >>> real_numbers("price", [1, 2])
    array([1, 2])
    """
    array = value if hasattr(value, "dtype") else np.asarray(value)
    if isinstance(array, np.ma.MaskedArray):
        raise DataError(f"options: {name} is a masked array; take out what is masked first")
    if array.dtype.kind not in "iuf":
        raise DataError(f"options: {name} must be numbers, not {array.dtype}")
    return array


def checked_sign(kind: Any) -> Any:
    """Return 1 for calls and -1 for puts, as one number or one for each element.

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
    """Return the undiscounted value of one option and its derivative by the forward, unchecked.

    It values the options of a book one by one, and makes no arrays. Its error is a few units in the
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
    # The out-of-the-money option is computed from its small tails, the other one by parity.
    outer = 1.0 if forward <= strike else -1.0
    first = 0.5 * math.erfc(-outer * d1 * ROOT_HALF)
    second = 0.5 * math.erfc(-outer * (d1 - deviation) * ROOT_HALF)
    value = max(outer * (forward * first - strike * second), 0.0)
    delta = outer * first
    if sign != outer:
        value, delta = value + intrinsic, delta + sign
    return value, delta

"""Convex prices between two strikes, and beyond the outermost one, without arbitrage.

In: prices and slopes of options at neighbouring strikes or at the outermost one, as shares of the
forward. Out: prices between them or beyond, which join with the same slopes and have a positive
density everywhere. They exist for all prices that are convex themselves. A smile takes them where
its own cubic would have a negative density.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfcx, ndtr, ndtri

from mcmargin.markets.otm import Floats, Jet, is_call, strikes
from mcmargin.numerics.black import ROOT_2PI, black76_values

LINEAR = 1e-8
"""Prices are a straight line if the slope at an end differs from the chord's by a smaller share."""

CUT = 10.0
"""Standard deviations from which a Black tail's volatility is flat; options there cost 1e-24."""


LARGEST_GROWTH = 4.0
"""Largest standard deviation of a Black tail, as a multiple of the one at the outermost quote."""

REACH = 20.0
"""Log-moneyness from which a power tail's volatility is flat: farther than any strike may be."""


@dataclass(frozen=True, eq=False)
class ConvexPieces:
    """Prices between neighbouring strikes whose density is exponential in the strike.

    On a piece from x0 to x1 = x0 + h the density is proportional to exp(tilt u), with
    u = (x - x0) / h, and its mass is m / h. The slopes and prices at both ends determine mass and
    tilt; the density is that of the largest entropy under them. Puts are summed from the left end
    and calls from the right end, so that small prices are sums of positive terms.

    Attributes
    ----------
    left, width : ndarray of shape (pieces,), float64
        x0 and h, strikes over the forward.
    put, put_slope : ndarray of shape (pieces,), float64
        Price of a put at the left end, and its derivative; used up to the forward.
    call, call_slope : ndarray of shape (pieces,), float64
        Price of a call at the right end, and its derivative; used above the forward.
    mass, tilt : ndarray of shape (pieces,), float64
        m, the rise of slope times h over the piece, 0 or more; and the tilt.

    References
    ----------
    P. Buchen and M. Kelly, "The maximum entropy distribution of an asset inferred from option
    prices", Journal of Financial and Quantitative Analysis 31 (1996).
    """

    left: Floats
    width: Floats
    put: Floats
    put_slope: Floats
    call: Floats
    call_slope: Floats
    mass: Floats
    tilt: Floats

    def jet(self, piece: np.ndarray, k: Floats) -> Jet:
        """Out-of-the-money prices and their first two derivatives by strike at k, in a piece."""
        h, m, tilt = self.width[piece], self.mass[piece], self.tilt[piece]
        share = np.clip((strikes(k) - self.left[piece]) / h, 0.0, 1.0)
        up, up_slope, bend = _excess(tilt, share)
        down, down_slope, _ = _excess(-tilt, 1 - share)
        put = self.put[piece] + self.put_slope[piece] * h * share + m * up
        call = self.call[piece] - self.call_slope[piece] * h * (1 - share) + m * down
        beyond = is_call(k)
        slope = np.where(
            beyond,
            self.call_slope[piece] - m / h * down_slope,
            self.put_slope[piece] + m / h * up_slope,
        )
        return np.where(beyond, call, put), slope, m / h**2 * bend


def tilt_of(share: Floats) -> Floats:
    """Tilt at which the mean of 1 - u, under a density proportional to exp(tilt u), is a share.

    With y = |tilt| / 2 the mean distance from the nearer end solves
    1 / y - 2 / (exp(2 y) - 1) = 2 share, the complement of Langevin's function.

    Parameters
    ----------
    share : ndarray, float64
        Above 0 and below 1.

    Examples
    --------
    >>> tilt_of(np.array([0.5, 0.01, 0.99])).round(6).tolist()
    [0.0, 100.0, -100.0]
    """
    near = 2 * np.minimum(share, 1 - share)
    r = 1 - near
    y = np.maximum(r * (3 - r * r) / np.maximum(near * (2 - near), 1e-300), 1e-9)
    for _ in range(8):
        small = y < 0.02
        big = np.maximum(y, 0.02)
        with np.errstate(over="ignore"):
            lack = np.where(small, 1 - y / 3 + y**3 / 45, 1 / big - 2 / np.expm1(2 * big))
            fall = np.where(small, y * y / 15 - 1 / 3, 1 / np.sinh(big) ** 2 - 1 / big**2)
        # Newton's step is taken in the logarithm of y, in which the function is nearly straight.
        step = np.clip((lack - near) / (-fall * y), -1.0, 1.0)
        y = y * np.exp(step)
    return np.asarray(np.where(near > 1 - 1e-9, 0.0, np.sign(0.5 - share) * 2 * y))


def _excess(tilt: Floats, u: Floats) -> Jet:
    """Second integral, from 0 to u, of the density that is proportional to exp(tilt u) on 0 to 1.

    Its first two derivatives by u come with it.
    """
    # For a large tilt everything is scaled by exp(-tilt), since exp(tilt) overflows float64.
    large = tilt > 30
    t = np.where(large, 0.0, tilt) * u
    small = np.abs(t) < 0.05
    safe = np.where(small, 1.0, t)
    twice = np.where(
        small,
        0.5 + t / 6 * (1 + t / 4 * (1 + t / 5 * (1 + t / 6 * (1 + t / 7 * (1 + t / 8))))),
        (np.expm1(safe) - safe) / safe**2,
    )
    once = np.where(small, 1 + t / 2 * (1 + t / 3 * (1 + t / 4 * (1 + t / 5))), 0.0)
    once = np.where(small, once, np.expm1(safe) / safe)
    mean = np.where(large, 0.0, tilt)
    tiny = np.abs(mean) < 1e-8
    total = np.where(tiny, 1 + mean / 2, np.expm1(mean) / np.where(tiny, 1.0, mean))
    value, slope, bend = u * u * twice / total, u * once / total, np.exp(t) / total
    big = np.where(large, tilt, 31.0)
    grown, start = np.exp(big * (u - 1)), np.exp(-big)
    lack = -np.expm1(-big)
    return (
        np.where(large, (grown - (1 + big * u) * start) / (big * lack), value),
        np.where(large, (grown - start) / lack, slope),
        np.where(large, big * grown / lack, bend),
    )


@dataclass(frozen=True, eq=False)
class BlackTail:
    """Prices beyond the outermost quote: those of Black-76 on another forward.

    For every convex price and slope at the outermost strike there is one other forward and one
    standard deviation at which Black's formula gives both. Its density is lognormal, and thus
    positive. The volatility that it implies tends to a finite one far out.

    Attributes
    ----------
    forward : float
        The other forward, as a multiple of the smile's.
    deviation : float
        Volatility times the square root of time.
    call : bool
        Whether it is the tail of calls, above the strike.

    References
    ----------
    N. Kahale, "An arbitrage-free interpolation of volatilities", Risk 17 (2004).
    """

    forward: float
    deviation: float
    call: bool

    @classmethod
    def joining(
        cls, strike: float, price: float, slope: float, *, call: bool, most: float
    ) -> BlackTail | None:
        """Find the tail that has a price and a slope at a strike.

        Parameters
        ----------
        strike : float
            Outermost strike over the forward.
        price, slope : float
            Price there and its derivative by strike.
        call : bool
            Whether it is a tail of calls above the strike, or of puts below it.
        most : float
            Largest standard deviation.

        Returns
        -------
        BlackTail or None
            None if its deviation would exceed `most`, or rounding leaves no such tail.

        Examples
        --------
        >>> tail = BlackTail.joining(1.0, 0.0796557, -0.4601722, call=True, most=0.8)
        >>> round(tail.forward, 5), round(tail.deviation, 5)
        (1.0, 0.2)
        """
        side = 1.0 if call else -1.0
        d2 = side * _quantile(abs(slope))
        wanted = price / (strike * abs(slope))

        # With M(z) = Phi(z) / phi(z), a call of slope -Phi(d2) costs x phi(d2) (M(d2 + s) - M(d2)).
        def miss(s: float) -> float:
            ratio = _cumulated_mills(side * (d2 + s)) / _cumulated_mills(side * d2)
            return float(side * (ratio - 1)) - wanted

        if not (miss(1e-9 * most) < 0 <= miss(most)):
            return None
        s = float(brentq(miss, 1e-9 * most, most, xtol=1e-16, rtol=1e-14))
        return cls(float(strike * np.exp(s * d2 + s * s / 2)), s, call)

    @property
    def content(self) -> tuple[float, ...]:
        """What it is made of, for a fingerprint."""
        return (self.forward, self.deviation)

    @property
    def end(self) -> float:
        """Log-moneyness from which volatility is flat."""
        away = CUT * self.deviation
        return float(np.log(self.forward) + (away if self.call else -away))

    def jet(self, k: Floats) -> Jet:
        """Out-of-the-money prices and their first two derivatives by strike."""
        x, f, s = strikes(k), self.forward, self.deviation
        sign = 1.0 if self.call else -1.0
        d2 = (np.log(f) - k) / s - s / 2
        density = np.exp(-0.5 * d2 * d2) / ROOT_2PI
        slope = -sign * ndtr(sign * d2)
        price = np.asarray(black76_values(f, x, s, 1.0, sign))
        return _out_of_the_money(k, (price, slope, density / (x * s)), sign)


@dataclass(frozen=True, eq=False)
class PowerTail:
    """Prices beyond the outermost quote that are a power of the strike.

    A put costs price (x / strike)^power, with a power above 1, and a call costs
    price (x / strike)^-power, with a power above 0. If prices hardly fall outwards, every tail is
    heavy. Total variance then rises at most in proportion to log-moneyness, which is Lee's bound.

    Attributes
    ----------
    strike : float
        Outermost strike over the forward.
    price : float
        Price of the put or call at this strike.
    power : float
    call : bool
        Whether it is the tail of calls, above the strike.

    References
    ----------
    R. Lee, "The moment formula for implied volatility at extreme strikes", Mathematical Finance 14
    (2004).
    """

    strike: float
    price: float
    power: float
    call: bool

    @classmethod
    def joining(cls, strike: float, price: float, slope: float, *, call: bool) -> PowerTail | None:
        """Find the tail that has a price and a slope at a strike; None if there is none.

        Examples
        --------
        >>> PowerTail.joining(0.5, 0.001, 0.003, call=False).power
        1.5
        """
        power = abs(slope) * strike / price
        if not (0 if call else 1) < power < np.inf:
            return None
        return cls(strike, price, power, call)

    @property
    def content(self) -> tuple[float, ...]:
        """What it is made of, for a fingerprint."""
        return (self.strike, self.price, self.power)

    @property
    def end(self) -> float:
        """Log-moneyness from which volatility is flat."""
        return REACH if self.call else -REACH

    def jet(self, k: Floats) -> Jet:
        """Out-of-the-money prices and their first two derivatives by strike."""
        x, power = strikes(k), -self.power if self.call else self.power
        price = self.price * np.exp(power * (k - np.log(self.strike)))
        slope, bend = power * price / x, power * (power - 1) * price / x**2
        return _out_of_the_money(k, (price, slope, bend), 1.0 if self.call else -1.0)


def _out_of_the_money(k: Floats, jet: Jet, sign: float) -> Jet:
    """Turn prices of calls (sign 1) or puts (sign -1) into those of out-of-the-money options.

    They differ if the quotes end before the forward and the tail extends beyond it.
    """
    other = is_call(k) != (sign > 0)
    price = jet[0] + np.where(other, sign * (strikes(k) - 1), 0.0)
    return price, jet[1] + np.where(other, sign, 0.0), jet[2]


Tail: TypeAlias = BlackTail | PowerTail
"""Prices beyond the outermost quote."""


def _cumulated_mills(z: Floats | float) -> Floats:
    """Phi(z) / phi(z)."""
    return np.asarray(np.sqrt(np.pi / 2) * erfcx(-np.asarray(z) / np.sqrt(2.0)))


def _quantile(probability: float) -> float:
    """Quantile of the standard normal."""
    return float(ndtri(probability))

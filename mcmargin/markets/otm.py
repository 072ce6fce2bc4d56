"""Prices of out-of-the-money options from a smile, and the smile from such prices.

In: log-moneyness k = ln(strike / forward) and total variance w = volatility^2 x time, with first
and second derivatives by k, as numpy arrays. Out: the undiscounted price of the out-of-the-money
option (a put up to the forward, a call above it) as a share of the forward, with derivatives by
x = strike / forward; and the way back. The second derivative is the density of the price at expiry.
No price is computed as a difference of large prices, so that small ones are accurate, too.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr

from mcmargin.numerics.black import ROOT_2PI, black76_values
from mcmargin.numerics.implied import implied_volatility

Floats: TypeAlias = NDArray[np.float64]

Jet: TypeAlias = tuple[Floats, Floats, Floats]
"""A function's values, and its first two derivatives."""

LEAST_PRICE = 1e-250
"""Least price, as a share of the forward. From a smaller one nothing can be computed in float64."""

LEAST_ROOM = 1e-12
"""Least distance of a price from its upper bound, as a share of the bound. A price that is nearer
does not tell the volatility."""

LARGEST_DISTANCE = 33.0
"""Largest |d2| at which the normal density and its inverse are far from the limits of float64."""


def strikes(k: Floats) -> Floats:
    """Strikes over the forward; log-moneyness is cut off at 700, as float64 would overflow.

    Examples
    --------
    >>> strikes(np.array([0.0, 9999.0])).tolist()
    [1.0, 1.0142320547350045e+304]
    """
    return np.asarray(np.exp(np.clip(k, -700.0, 700.0)))


def is_call(k: Floats) -> NDArray[np.bool_]:
    """Whether the out-of-the-money option is the call; at the forward it is the put.

    Examples
    --------
    >>> is_call(np.array([-0.1, 0.0, 0.1])).tolist()
    [False, False, True]
    """
    return k > 0


def otm_prices(k: Floats, w: Floats) -> Floats:
    """Out-of-the-money prices as shares of the forward.

    Examples
    --------
    >>> otm_prices(np.array([-0.1, 0.0, 0.1]), np.full(3, 0.04)).round(4).tolist()
    [0.0375, 0.0797, 0.0415]
    """
    sign = np.where(is_call(k), 1.0, -1.0)
    return np.asarray(black76_values(1.0, strikes(k), np.sqrt(w), 1.0, sign))


def says_enough(k: Floats, prices: Floats) -> NDArray[np.bool_]:
    """Whether prices are far enough from their bounds to tell the volatility."""
    bound = np.minimum(strikes(k), 1.0)
    return (prices > LEAST_PRICE) & (bound - prices > LEAST_ROOM * bound)


def price_jet(k: Floats, jet: Jet) -> Jet:
    """Price and its first two derivatives by strike / forward, from those of total variance.

    With s = sqrt(w) and s' = w' / (2 s), P' = Phi(-d2) + phi(d2) s' for a put, C' = P' - 1 for a
    call, and P'' = C'' = phi(d2) g / (x s) with g from `butterfly`.

    Examples
    --------
    >>> flat = (np.full(1, 0.04), np.zeros(1), np.zeros(1))
    >>> [round(float(each[0]), 4) for each in price_jet(np.zeros(1), flat)]
    [0.0797, 0.5398, 1.9848]
    """
    w, first, _ = jet
    s = np.sqrt(w)
    d2 = _d2(k, s)
    density = np.exp(-0.5 * d2 * d2) / ROOT_2PI
    side = np.where(is_call(k), -1.0, 1.0)
    slope = side * ndtr(-side * d2) + density * first / (2 * s)
    with np.errstate(over="ignore", invalid="ignore"):
        curvature = density * butterfly(k, *jet) / (strikes(k) * s)
    return otm_prices(k, w), slope, np.where(density > 0, curvature, 0.0)


def variance_jet(k: Floats, jet: Jet) -> Jet:
    """Total variance and its first two derivatives by k from those of prices; see `price_jet`.

    They are NaN if the price is too near to one of its bounds.

    Examples
    --------
    >>> k = np.array([-0.1, 0.1])
    >>> there = price_jet(k, (np.full(2, 0.04), np.full(2, -0.01), np.full(2, 0.02)))
    >>> [each.round(9).tolist() for each in variance_jet(k, there)]
    [[0.04, 0.04], [-0.01, -0.01], [0.02, 0.02]]
    """
    price, slope, curvature = jet
    s = np.asarray(implied_volatility(price, 1.0, strikes(k), 1.0, is_call(k)))
    first = 2 * s * deviation_slope(k, s, slope)
    d2, w = _d2(k, s), s * s
    with np.errstate(over="ignore", invalid="ignore"):
        g = curvature * strikes(k) * s * ROOT_2PI * np.exp(0.5 * d2 * d2)
    bare = butterfly(k, w, first, np.zeros_like(w))
    return w, first, 2 * (g - bare)


def deviation_slope(k: Floats, s: Floats, slope: Floats) -> Floats:
    """Derivative of s = sqrt(w) by k, from the derivative of prices by strike.

    Examples
    --------
    >>> deviation_slope(np.zeros(1), np.full(1, 0.2), np.full(1, 0.539828)).round(5).tolist()
    [0.0]
    """
    d2 = _d2(k, s)
    side = np.where(is_call(k), -1.0, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        over_density = slope * ROOT_2PI * np.exp(0.5 * d2 * d2)
    return np.asarray(over_density - side * _mills(side * d2))


def butterfly(k: Floats, w: Floats, first: Floats, second: Floats) -> Floats:
    """Density of the price at expiry over a positive factor; if negative, butterfly arbitrage.

    g(k) = (1 - k w'/(2 w))^2 - w'^2/4 (1/w + 1/4) + w''/2, of total variance w and its derivatives.

    References
    ----------
    J. Gatheral and A. Jacquier, "Arbitrage-free SVI volatility surfaces", Quantitative Finance 14
    (2014).

    Examples
    --------
    >>> butterfly(np.zeros(1), np.full(1, 0.04), np.zeros(1), np.zeros(1)).tolist()
    [1.0]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return (1 - k * first / (2 * w)) ** 2 - first**2 / 4 * (1 / w + 0.25) + second / 2


def lower_envelope(k: Floats, prices: Floats) -> NDArray[np.intp]:
    """Find the corners of the lower convex envelope of out-of-the-money prices.

    Parameters
    ----------
    k : ndarray of shape (points,), float64
        Log-moneyness, increasing; minus infinity is the strike 0.
    prices : ndarray of shape (points,), float64
        Prices of the out-of-the-money options. Of three points, all are compared as calls or puts,
        as the middle one is, so that small prices far from the forward keep their last digits.

    Returns
    -------
    ndarray of int
        Places of the corners, including the first and the last point.

    Examples
    --------
    >>> k = np.log([0.9, 1.0, 1.1])
    >>> lower_envelope(k, np.array([0.02, 0.05, 0.02])).tolist()
    [0, 1, 2]
    >>> lower_envelope(k, np.array([0.02, 0.08, 0.02])).tolist()
    [0, 2]
    """
    x, call = np.exp(np.minimum(k, 700.0)).tolist(), is_call(k).tolist()
    values, inside = prices.tolist(), np.abs(np.exp(np.minimum(k, 700.0)) - 1).tolist()
    kept: list[int] = []
    for at in range(len(x)):
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            ya = values[a] + (inside[a] if call[a] != call[b] else 0.0)
            yc = values[at] + (inside[at] if call[at] != call[b] else 0.0)
            left, right = x[b] - x[a], x[at] - x[b]
            if values[b] * (left + right) <= ya * right + yc * left:
                break
            kept.pop()
        kept.append(at)
    return np.array(kept, np.intp)


def above_envelope(
    k: Floats, prices: Floats, corners: NDArray[np.intp]
) -> tuple[Floats, NDArray[np.intp]]:
    """Share by which each price is above the envelope, and the corners between which it is.

    Returns
    -------
    above : ndarray of shape (points,), float64
        As a share of the envelope's price; 0 at corners.
    place : ndarray of shape (points,), int
        Number of the last corner at or before each point.
    """
    every = np.arange(len(k))
    place = np.clip(np.searchsorted(corners, every, side="right") - 1, 0, max(len(corners) - 2, 0))
    a, b = corners[place], corners[np.minimum(place + 1, len(corners) - 1)]
    x, call = np.exp(np.minimum(k, 700.0)), is_call(k)
    inside = np.abs(x - 1)
    ya = prices[a] + np.where(call[a] != call, inside[a], 0.0)
    yb = prices[b] + np.where(call[b] != call, inside[b], 0.0)
    way = (x - x[a]) / np.where(x[b] > x[a], x[b] - x[a], 1.0)
    line = (1 - way) * ya + way * yb
    between = (every > a) & (every < b)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(between, prices / line - 1, 0.0), place


def near_enough(k: Floats, w: Floats) -> NDArray[np.bool_]:
    """Whether the normal density at d2 is large enough for computations in float64."""
    return np.asarray(np.abs(_d2(k, np.sqrt(w))) < LARGEST_DISTANCE)


def _d2(k: Floats, s: Floats) -> Floats:
    return np.asarray(-k / s - s / 2)


def _mills(z: Floats) -> Floats:
    """Phi(-z) / phi(z)."""
    return np.asarray(np.sqrt(np.pi / 2) * erfcx(z / np.sqrt(2.0)))

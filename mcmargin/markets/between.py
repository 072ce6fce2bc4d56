"""Between two expiries: total variance is linear in time, and bridged where prices are not convex.

In: two smiles, the later nowhere below the earlier, and a share of the time between them. Out:
total variance at that time, which has no butterfly arbitrage and does not fall in time.

At each log-moneyness total variance is linear in time from the earlier expiry to the later one.
Between two smiles without arbitrage, the prices that follow from it may fail to be convex. The
price is therefore their lower convex envelope: where they are not convex, a straight line in the
strike bridges them. The envelope is convex and smooth. It grows in time, as the prices do, and at
both expiries it is the expiry's own price, since that is convex.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mcmargin.markets.interpolation import DENSITY_TOLERANCE
from mcmargin.markets.otm import (
    Floats,
    Jet,
    above_envelope,
    butterfly,
    is_call,
    lower_envelope,
    otm_prices,
    price_jet,
    strikes,
    variance_jet,
)
from mcmargin.markets.smile import Smile, samples

WAYS = np.arange(1, 16) / 16
"""Shares of the time between two expiries at which the density is examined."""

LEAST_COUNTED = 1e-40
"""Price, as a share of the forward, below which the density is not examined."""

LOOK = np.unique(np.concatenate([np.arange(48) / 48, [1e-3, 3e-3, 0.01, 0.99, 0.997, 0.999]]))
"""Shares of the way between neighbouring nodes at which the envelope is computed first. More of
them lie near the nodes, where the density changes most."""

COARSE = 6
"""Where no density is negative, every sixth point is enough."""

STEPS = 16
"""Factor by which each refinement narrows the ends of bridges."""

FINE = 1e-7
"""Accuracy of the ends of bridges, in standard deviations."""

REFINEMENTS = 16
"""Largest number of refinements."""

ABOVE = 1e-13
"""Share of a price by which rounding may lift it above a straight line."""


@dataclass(frozen=True, eq=False)
class Bridges:
    """Straight lines of prices in the strike, each over one range of log-moneyness.

    Attributes
    ----------
    low, high : ndarray of shape (bridges,), float64
        Log-moneyness of both ends, increasing; no two ranges overlap.
    price, slope : ndarray of shape (bridges,), float64
        Price at the lower end and its derivative by strike over forward. They are those of the call
        if that end is above the forward, and of the put otherwise.
    """

    low: Floats
    high: Floats
    price: Floats
    slope: Floats

    def jet(self, bridge: np.ndarray, k: Floats) -> Jet:
        """Out-of-the-money prices and their derivatives by strike at k, each on a bridge."""
        way = strikes(k) - strikes(self.low[bridge])
        price, slope = self.price[bridge] + self.slope[bridge] * way, self.slope[bridge]
        beyond = is_call(k) & ~is_call(self.low[bridge])
        price = price - np.where(beyond, strikes(k) - 1, 0.0)
        return price, slope - np.where(beyond, 1.0, 0.0), np.zeros_like(k)


def needs_bridges(smiles: Sequence[Smile]) -> tuple[bool, ...]:
    """Whether prices fail to be convex anywhere between each two expiries."""
    return tuple(_needs(*pair) for pair in pairwise(smiles))


def _needs(earlier: Smile, later: Smile) -> bool:
    k = samples(earlier.places, later.places)
    ends = earlier.derivatives(k), later.derivatives(k)
    counted = otm_prices(k, ends[1][0]) > LEAST_COUNTED
    first, second = (tuple(each[counted] for each in jet) for jet in ends)
    return any(
        bool((butterfly(k[counted], *_line(first, second, way)) < -DENSITY_TOLERANCE).any())
        for way in WAYS
    )


def line_jet(earlier: Smile, later: Smile, way: Floats | float, k: Floats) -> Jet:
    """Total variance that is linear in time, and its first two derivatives by k."""
    return _line(earlier.derivatives(k), later.derivatives(k), way)


def bridges(earlier: Smile, later: Smile, way: float) -> Bridges:
    """Find all bridges at one share of the time between two expiries.

    Examples
    --------
    >>> flat = [Smile(np.zeros(1), np.full(1, w), np.zeros(1)) for w in (0.01, 0.04)]
    >>> bridges(*flat, 0.5).low.tolist()
    []
    """
    every = np.union1d(earlier.places, later.places)
    points = every[:-1, None] + np.diff(every)[:, None] * LOOK
    jet = line_jet(earlier, later, way, points)
    looked = np.zeros(points.shape, bool)
    looked[:, ::COARSE] = True
    looked[(butterfly(points, *jet) < -DENSITY_TOLERANCE).any(axis=1)] = True
    k, prices = points[looked], otm_prices(points[looked], jet[0][looked])
    counted = prices > LEAST_COUNTED
    k, prices = k[counted], prices[counted]
    fine = FINE * float(np.sqrt(later.variances.min()))
    for passed in range(REFINEMENTS + 1):
        corners = lower_envelope(k, prices)
        above, place = above_envelope(k, prices, corners)
        gaps = np.unique(place[above > ABOVE])
        ends = np.unique(np.append(corners[gaps], corners[gaps + 1]))
        # The points at which a line leaves the prices and meets them again are refined.
        least, most = k[np.maximum(ends - 1, 0)], k[np.minimum(ends + 1, len(k) - 1)]
        coarse = most - least > fine
        if passed == REFINEMENTS or not coarse.any():
            break
        least, most = least[coarse], most[coarse]
        closer = least[:, None] + (most - least)[:, None] * np.arange(1, 2 * STEPS) / (2 * STEPS)
        k, at = np.unique(np.append(k, closer), return_index=True)
        prices = np.append(prices, otm_prices(closer, line_jet(earlier, later, way, closer)[0]))[at]
        apart = np.append(True, np.diff(k) > fine / 100)
        k, prices = k[apart], prices[apart]
    low, high = k[corners[gaps]], k[corners[gaps + 1]]
    start = price_jet(low, line_jet(earlier, later, way, low))
    end = price_jet(high, line_jet(earlier, later, way, high))
    width = strikes(high) - strikes(low)
    across = is_call(high) & ~is_call(low)
    slope = (end[0] + np.where(across, strikes(high) - 1, 0.0) - start[0]) / np.where(
        width > 0, width, 1.0
    )
    real = width > 0
    return Bridges(low[real], high[real], start[0][real], slope[real])


def bridged_jet(earlier: Smile, later: Smile, way: float, found: Bridges, k: Floats) -> Jet:
    """Total variance and its first two derivatives by k, with those of bridges where there are."""
    jet = line_jet(earlier, later, way, k)
    if len(found.low) == 0:
        return jet
    at = np.searchsorted(found.low, k, side="right") - 1
    on = (at >= 0) & (k > found.low[at]) & (k < found.high[at])
    if not on.any():
        return jet
    bridged = variance_jet(k[on], found.jet(at[on], k[on]))
    known = np.isfinite(bridged[0] + bridged[1] + bridged[2])
    out = tuple(np.array(each) for each in jet)
    places = np.flatnonzero(on)[known]
    for each, new in zip(out, bridged, strict=True):
        each[places] = new[known]
    return out  # type: ignore[return-value]


def _line(first: Jet, second: Jet, way: Floats | float) -> Jet:
    return tuple(  # type: ignore[return-value]
        (1 - way) * before + way * after for before, after in zip(first, second, strict=True)
    )

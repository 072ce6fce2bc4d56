"""Smiles: implied volatility over log-moneyness at one time.

In: total variances w = volatility^2 x time at a few k = ln(strike / forward), with slopes that
`mcmargin.markets.interpolation` chooses. Out: a `Smile`, smooth between these k and flat far out,
and a `SmileSlice`, its table for many scenarios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.markets.convex import ConvexPieces, Tail
from mcmargin.markets.otm import Floats, Jet, butterfly, price_jet, variance_jet
from mcmargin.numerics.arrays import array_module, to_host
from mcmargin.numerics.chunks import elementwise, floating_type

__all__ = ["Floats", "Smile", "SmileSlice", "butterfly", "samples"]

SAMPLES = np.linspace(1e-6, 1 - 1e-6, 33)
"""Shares of the way between two nodes at which a smile is examined. The ends are not quite the
nodes, so that second derivatives exist there."""


BISECTIONS = 45
"""Number of bisections, within a step of `SAMPLES`, that find where two smiles cross."""


@dataclass(frozen=True, eq=False)
class Smile:
    """Total implied variance at one expiry: cubics of log-moneyness, or convex prices.

    Between two nodes total variance is a cubic. If its density would be negative, the price is a
    mixture with that of `ConvexPieces`, which join with the same slopes; their share is the least
    that is needed. Beyond the last quote on either side the slope of w goes linearly to 0 within
    one standard deviation sqrt(w), or within 2 or 4 of them, and from there on w is flat. (If it
    were flat from the quote on, a rising wing would have a kink, which is a negative probability.)
    A falling wing loses at most half of its variance. If each of these wings has an arbitrage, the
    wing is a `BlackTail`, which is flat where options cost nothing; if its standard deviation were
    too large, it is a `PowerTail`.

    Attributes
    ----------
    nodes : ndarray of shape (nodes,), float64
        Log-moneyness, increasing: that of the quotes, and of the end of each wing that is not flat.
    variances, slopes : ndarray of shape (nodes,), float64
        Total variance and its derivative.
    shares : ndarray of shape (nodes - 1,), float64, optional
        Share of `pieces` in the price between each two nodes, 0 to 1; without it, 0.
    pieces : ConvexPieces, optional
        Convex prices between each two nodes.
    tails : tuple of two BlackTail, PowerTail or None
        Prices below the second node and above the last but one, instead of `pieces`.
    floor : Smile, optional
        Smile of an earlier expiry. Prices are the larger of the two, so that none is below it.
    """

    nodes: Floats
    variances: Floats
    slopes: Floats
    shares: Floats | None = None
    pieces: ConvexPieces | None = None
    tails: tuple[Tail | None, Tail | None] = (None, None)
    floor: Smile | None = None

    @cached_property
    def places(self) -> Floats:
        """Log-moneyness between which the smile is smooth: nodes, and crossings with its floor."""
        if self.floor is None:
            return self.nodes
        own = replace(self, floor=None)
        every = np.union1d(self.nodes, self.floor.places)
        k = samples(every)
        above = own.total_variance(k) >= self.floor.total_variance(k)
        at = np.flatnonzero(above[1:] != above[:-1])
        low, high = k[at], k[at + 1]
        for _ in range(BISECTIONS if len(at) else 0):
            middle = (low + high) / 2
            same = (own.total_variance(middle) >= self.floor.total_variance(middle)) == above[at]
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        return np.union1d(every, high)

    def reach(self, far: float) -> tuple[float, float]:
        """Least and largest log-moneyness between which volatility changes.

        Parameters
        ----------
        far : float
            A tail counts only as far as this log-moneyness.
        """
        low, high = float(self.nodes[0]), float(self.nodes[-1])
        if self.tails[0] is not None:
            low = max(low, min(float(self.nodes[1]), -far))
        if self.tails[1] is not None:
            high = min(high, max(float(self.nodes[-2]), far))
        if self.floor is not None:
            floor = self.floor.reach(far)
            low, high = min(low, floor[0]), max(high, floor[1])
        return low, high

    @property
    def has_tail(self) -> bool:
        """Whether a wing of the smile or of its floor is a tail."""
        return self.tails != (None, None) or (self.floor is not None and self.floor.has_tail)

    @property
    def is_cubic(self) -> bool:
        """Whether the smile has cubics alone."""
        return self.shares is None and self.floor is None

    def total_variance(self, log_moneyness: Any) -> Any:
        """Total variance; float64, of the argument's shape, on its device."""
        return self.derivatives(log_moneyness)[0]

    def derivatives(self, log_moneyness: Any) -> tuple[Any, Any, Any]:
        """Total variance and its first two derivatives by k.

        At nodes the second derivative is that on the right.
        """
        xp = array_module(log_moneyness)
        if xp is not np and not self.is_cubic:
            jet = self.derivatives(to_host(log_moneyness))
            return tuple(xp.asarray(each) for each in jet)
        w, first, second = self._cubic(log_moneyness, xp)
        if self.shares is not None:
            w, first, second = self._mixed(np.asarray(log_moneyness, float), (w, first, second))
        if self.floor is not None:
            other = self.floor.derivatives(log_moneyness)
            below = other[0] > w
            jet = (w, first, second)
            w, first, second = (
                np.where(below, more, own) for own, more in zip(jet, other, strict=True)
            )
        return w, first, second

    def _cubic(self, log_moneyness: Any, xp: Any) -> tuple[Any, Any, Any]:
        anchors, powers = (xp.asarray(x) for x in self._powers)
        k = xp.asarray(log_moneyness, np.float64)
        at = xp.searchsorted(xp.asarray(self.nodes), k, side="right")
        u = xp.clip(k, self.nodes[0], self.nodes[-1]) - anchors[at]
        c0, c1, c2, c3 = (power[at] for power in powers)
        first = c1 + u * (2 * c2 + 3 * u * c3)
        return c0 + u * (c1 + u * (c2 + u * c3)), first, 2 * c2 + 6 * u * c3

    def _mixed(self, k: Floats, jet: Jet) -> Jet:
        """Replace the jet of the cubics by that of mixed prices in pieces that have a share."""
        assert self.shares is not None
        piece = np.searchsorted(self.nodes, k, side="right") - 1
        inside = (piece >= 0) & (piece < len(self.nodes) - 1)
        piece = np.where(inside, piece, 0)
        mixed = inside & (self.shares[piece] > 0)
        if not mixed.any():
            return jet
        at, places, share = k[mixed], piece[mixed], self.shares[piece[mixed]]
        safe = self.convex_jet(places, at)
        part = share < 1
        if part.any():
            cubic = (each[mixed][part] for each in jet)
            own = price_jet(at[part], tuple(cubic))  # type: ignore[arg-type]
            for mine, other in zip(safe, own, strict=True):
                mine[part] = share[part] * mine[part] + (1 - share[part]) * other
        found = variance_jet(at, safe)
        good = np.isfinite(found[0] + found[1] + found[2])
        out = tuple(np.array(each, float) for each in jet)
        # If a price does not tell the variance, that of the cubic stays; if that is negative, a
        # straight line replaces it.
        below = out[0] <= 0
        out[0][below] = np.interp(k[below], self.nodes, self.variances)
        chosen = np.flatnonzero(mixed.ravel())[good]
        # At a node its own variance stays, to the last digit.
        node = k == self.nodes[piece]
        for each, new in zip(out, found, strict=True):
            each.reshape(-1)[chosen] = new[good]
        out[0][node] = jet[0][node]
        return out  # type: ignore[return-value]

    def convex_jet(self, piece: NDArray[np.intp], k: Floats) -> Jet:
        """Convex prices and their derivatives by strike at k, each in a piece between nodes."""
        assert self.pieces is not None
        jet = tuple(np.array(each) for each in self.pieces.jet(piece, k))
        for tail, place in zip(self.tails, (0, len(self.nodes) - 2), strict=True):
            there = piece == place
            if tail is not None and there.any():
                for each, new in zip(jet, tail.jet(k[there]), strict=True):
                    each[there] = new
        return jet  # type: ignore[return-value]

    @cached_property
    def _powers(self) -> tuple[Floats, Floats]:
        """Left ends of the pieces, and their coefficients of the powers from 0 to 3.

        The first and the last piece are flat; the others are cubics between nodes.
        """
        w, d = self.variances, self.slopes
        width, rise = np.diff(self.nodes), np.diff(w)
        powers = np.zeros((4, len(w) + 1))
        powers[0] = np.append(w[0], w)
        powers[1, 1:-1] = d[:-1]
        powers[2, 1:-1] = (3 * rise / width - 2 * d[:-1] - d[1:]) / width
        powers[3, 1:-1] = (d[:-1] + d[1:] - 2 * rise / width) / width**2
        return np.append(self.nodes[0], self.nodes), powers

    def content(self) -> tuple[Any, ...]:
        """Everything that the smile depends on, for a fingerprint."""
        parts: list[Any] = [self.nodes, self.variances, self.slopes]
        if self.shares is not None and self.pieces is not None:
            pieces = self.pieces
            parts += [self.shares, pieces.put_slope, pieces.call_slope, pieces.mass, pieces.tilt]
            parts += [each.content for each in self.tails if each is not None]
        if self.floor is not None:
            parts.append(self.floor.content())
        return tuple(parts)


def samples(*nodes: Floats) -> Floats:
    """The nodes of one or more smiles, and `SAMPLES` points between each two of them."""
    joint = np.unique(np.concatenate(nodes))
    between = joint[:-1, None] + np.diff(joint)[:, None] * SAMPLES
    return np.sort(np.concatenate([joint, between.ravel()]))


@dataclass(frozen=True, eq=False)
class SmileSlice:
    """Volatilities at one time on a uniform grid of log-moneyness, linear between its nodes.

    Attributes
    ----------
    time : float
        Years.
    low, high : float
        Log-moneyness of the first and the last node. Beyond them volatility is that of the node:
        the smile is flat there, or changes slowly in a tail whose options cost nearly nothing.
    volatilities : ndarray of shape (nodes,), float64
    error : float
        Bound of the difference from the smile's own volatility; 0 for a flat smile. It is step^2 /
        8 times the largest second derivative, which is sampled at 4 points in each step.
    """

    time: float
    low: float
    high: float
    volatilities: Floats
    error: float

    def volatility(self, log_moneyness: Any, *, out: Any = None) -> Any:
        """Volatilities at many values of log-moneyness, in a few passes.

        Parameters
        ----------
        log_moneyness : array_like
            It may be infinite, but not NaN.
        out : ndarray, optional
            Array for the result; another than the argument.

        Returns
        -------
        ndarray of the argument's shape; float32 for float32, else float64

        Examples
        --------
        >>> table = SmileSlice(0.5, -0.1, 0.1, np.array([0.25, 0.2, 0.21]), 0.0)
        >>> table.volatility(np.array([-1.0, -0.05, 0.1, 2.0])).tolist()
        [0.25, 0.225, 0.21, 0.21]
        """
        xp = array_module(log_moneyness)
        dtype = floating_type([log_moneyness]) if out is None else out.dtype
        values = xp.asarray(self.volatilities, dtype)
        rises = xp.asarray(np.diff(self.volatilities, append=self.volatilities[-1]), dtype)
        kernel = partial(_interpolate, values, rises, self.low, self.high)
        return elementwise(kernel, [log_moneyness], buffers=2, out=out)


def _interpolate(
    values: Any,
    rises: Any,
    low: float,
    high: float,
    xp: Any,
    inputs: Sequence[Any],
    out: Any,
    work: Sequence[Any],
) -> None:
    (k,), (position, cell) = inputs, work
    last = len(values) - 1
    xp.subtract(k, low, out=position)
    xp.multiply(position, last / (high - low), out=position)
    xp.clip(position, 0.0, last, out=position)
    xp.floor(position, out=cell)
    xp.subtract(position, cell, out=position)
    index = cell.astype(np.intp)
    xp.multiply(position, rises[index], out=out)
    xp.add(out, values[index], out=out)

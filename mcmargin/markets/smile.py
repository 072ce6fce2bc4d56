"""Smiles: implied volatility over log-moneyness at one time.

In: total variances w = volatility^2 x time at a few k = ln(strike / forward). Out: a `Smile`,
smooth between them and flat far out, and a `SmileSlice`, its table for many scenarios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from mcmargin.engines.arrays import array_module
from mcmargin.engines.chunks import elementwise, floating_type

Floats = NDArray[np.float64]

SAMPLES = np.linspace(1e-6, 1 - 1e-6, 17)
"""Where between two nodes, as shares, a smile is examined; the ends have second derivatives."""

WING_LENGTHS = (1.0, 2.0, 4.0)
"""In standard deviations; the first that admits no butterfly arbitrage is taken."""


@dataclass(frozen=True, eq=False)
class Smile:
    """Total implied variance at one expiry, a piecewise cubic of log-moneyness.

    Between quotes it is monotone where they are (PCHIP, Fritsch and Carlson 1980, as in scipy).
    Beyond the last quote on either side its slope goes linearly to 0 within one standard deviation
    sqrt(w), or within 2 or 4 of them where the shorter bend would be butterfly arbitrage, and from
    there on it is flat. (Flat from the quote itself, a rising wing would have a kink,
    which is a negative probability.) A wing that falls loses half of its variance at most.

    Attributes
    ----------
    nodes : ndarray of shape (nodes,), float64
        Log-moneyness, increasing: the quotes, and where each wing that is not flat becomes so.
    variances, slopes : ndarray of shape (nodes,), float64
        Total variance and its derivative.
    """

    nodes: Floats
    variances: Floats
    slopes: Floats

    @classmethod
    def through(cls, nodes: Floats, variances: Floats) -> Smile:
        """Smile through quotes, log-moneyness increasing; one quote is a flat smile.

        Examples
        --------
        >>> smile = Smile.through(np.array([-0.1, 0.0, 0.1]), np.array([0.05, 0.04, 0.042]))
        >>> smile.total_variance(np.array([-9.0, 0.0, 9.0])).round(4).tolist()
        [0.0679, 0.04, 0.0481]
        """
        if len(nodes) == 1:
            return cls(nodes, variances, np.zeros(1))
        slopes = PchipInterpolator(nodes, variances).derivative()(nodes)
        smile = cls(nodes, variances, slopes)
        for side in (0, -1):
            if slopes[side] != 0:
                smile = _with_wing(smile, side)
        return smile

    def raised_to(self, nodes: Floats, variances: Floats) -> Smile:
        """Smile of a later expiry as this one and a gain, which is nowhere negative.

        The gain runs through what the variances have above this smile, or 0, as PCHIP does, and is
        flat from the outermost quotes on.
        """
        gains = np.maximum(variances - self.total_variance(nodes), 0.0)
        slopes = np.zeros(len(nodes))
        if len(nodes) > 2:
            slopes[1:-1] = PchipInterpolator(nodes, gains).derivative()(nodes)[1:-1]
        gain, joint = Smile(nodes, gains, slopes), np.union1d(self.nodes, nodes)
        pairs = zip(self.derivatives(joint), gain.derivatives(joint), strict=True)
        variance, slope, _ = (own + more for own, more in pairs)
        return Smile(joint, variance, slope)

    def total_variance(self, log_moneyness: Any) -> Any:
        """Total variance; float64, of the argument's shape, on its device."""
        return self.derivatives(log_moneyness)[0]

    def derivatives(self, log_moneyness: Any) -> tuple[Any, Any, Any]:
        """Total variance and its first two derivatives; the second from the right at nodes."""
        xp = array_module(log_moneyness)
        anchors, powers = (xp.asarray(x) for x in self._pieces())
        k = xp.asarray(log_moneyness, np.float64)
        at = xp.searchsorted(xp.asarray(self.nodes), k, side="right")
        u = xp.clip(k, self.nodes[0], self.nodes[-1]) - anchors[at]
        c0, c1, c2, c3 = (power[at] for power in powers)
        first = c1 + u * (2 * c2 + 3 * u * c3)
        return c0 + u * (c1 + u * (c2 + u * c3)), first, 2 * c2 + 6 * u * c3

    def _pieces(self) -> tuple[Floats, Floats]:
        """Left ends and powers, lowest first, of the pieces: flat, cubic between nodes, flat."""
        w, d = self.variances, self.slopes
        width, rise = np.diff(self.nodes), np.diff(w)
        powers = np.zeros((4, len(w) + 1))
        powers[0] = np.append(w[0], w)
        powers[1, 1:-1] = d[:-1]
        powers[2, 1:-1] = (3 * rise / width - 2 * d[:-1] - d[1:]) / width
        powers[3, 1:-1] = (d[:-1] + d[1:] - 2 * rise / width) / width**2
        return np.append(self.nodes[0], self.nodes), powers


def _with_wing(smile: Smile, side: int) -> Smile:
    """Smile with one more node, on the left (0) or the right (-1), from where it is flat."""
    outwards = -1.0 if side == 0 else 1.0
    k, w, slope = smile.nodes[side], smile.variances[side], smile.slopes[side]
    place = 0 if side == 0 else len(smile.nodes)
    for deviations in WING_LENGTHS:
        length = np.sqrt(w) * deviations
        if slope * outwards < 0:
            length = min(length, w / abs(slope))
        winged = Smile(
            np.insert(smile.nodes, place, k + outwards * length),
            np.insert(smile.variances, place, w + outwards * slope * length / 2),
            np.insert(smile.slopes, place, 0.0),
        )
        ends = winged.nodes[:2] if side == 0 else winged.nodes[-2:]
        points = samples(ends)
        if butterfly(points, *winged.derivatives(points)).min() >= 0:
            break
    return winged


def samples(*nodes: Floats) -> Floats:
    """Points between all neighbours among nodes of one or more smiles, and the nodes."""
    joint = np.unique(np.concatenate(nodes))
    between = joint[:-1, None] + np.diff(joint)[:, None] * SAMPLES
    return np.sort(np.concatenate([joint, between.ravel()]))


def butterfly(k: Floats, w: Floats, first: Floats, second: Floats) -> Floats:
    """Density of the price at expiry over a positive factor: negative is butterfly arbitrage.

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
    return (1 - k * first / (2 * w)) ** 2 - first**2 / 4 * (1 / w + 0.25) + second / 2


@dataclass(frozen=True, eq=False)
class SmileSlice:
    """Volatilities at one time on a uniform grid of log-moneyness, straight between its nodes.

    Attributes
    ----------
    time : float
        Years.
    low, high : float
        Log-moneyness of the first and the last node, from where volatility is flat.
    volatilities : ndarray of shape (nodes,), float64
    error : float
        Bound of the difference from the smile's own volatility: the square of a step over 8 times
        the greatest second derivative, sampled at 4 points a step; 0 for a flat smile.
    """

    time: float
    low: float
    high: float
    volatilities: Floats
    error: float

    def volatility(self, log_moneyness: Any, *, out: Any = None) -> Any:
        """Volatilities at many moneynesses, in a few passes.

        Parameters
        ----------
        log_moneyness : array_like
            Not NaN; infinite is allowed.
        out : ndarray, optional
            Not the argument itself.

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

"""Expected variances of a recursion that is capped as in simulation, from any variance on.

In: one asset's recursion as a function of variance and innovation, and its bounds. Out: a
`VarianceChain`, which gives the expected sum of the variances of coming bars for any variance of
the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from mcmargin.models.innovations import Innovations
from mcmargin.models.volatility import NextVariance
from mcmargin.numerics.arrays import array_module

SPACING = 0.07
"""Distance of the grid's nodes in ln h. Cubics between them have an error of 1e-6 a bar."""

FINER = 8
"""Points for each node in the table in which the variances of paths are looked up."""

PANELS = np.concatenate([np.arange(0.0, 4.0, 0.5), np.arange(4.0, 41.0, 2.0)])
"""Ends of the quadrature's panels in -ln of twice a tail's probability; they reach to 2e-18."""

PANEL_NODES = 16


@dataclass(frozen=True, eq=False)
class VarianceChain:
    """A variance recursion as a Markov chain over ln h, and its powers.

    The powers for 1, 2, 4, ... bars are kept, so that time and memory of an expectation over n bars
    grow with log2(n) only.

    Attributes
    ----------
    grid : ndarray of shape (nodes,), float64
        Variances, evenly spaced in their logarithm.
    powers : ndarray of shape (exponents, nodes, nodes), float64
        `powers[k][i] @ values` is the expectation of a function of the variance 2**k bars later,
        given by its values on the grid, if the variance is `grid[i]` now.
    sums : ndarray of shape (exponents, nodes), float64
        Expected sum of the variances of 2**k bars for each variance of the first.
    """

    grid: NDArray[np.float64]
    powers: NDArray[np.float64]
    sums: NDArray[np.float64]

    def table(self, bars: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Table of variances and the expected sum over `bars` bars that start from each.

        A part of a bar counts in proportion. Straight lines between the variances are accurate to
        1e-5.
        """
        if bars not in self._tables:
            whole = int(bars)
            part = (bars - whole) * self._after(whole, np.zeros_like(self.sums), self.grid)
            values = self._after(whole, self.sums, np.zeros_like(self.grid)) + part
            self._tables[bars] = CubicSpline(np.log(self.grid), values)(np.log(self._fine))
        return self._fine, self._tables[bars]

    def place(self, variance: Any) -> tuple[Any, Any]:
        """Where variances lie in a table: the entry before each, and the weight of the next entry.

        The entry is found by the logarithm, in which entries are evenly spaced. The weight is
        linear in the variance itself. Variances beyond the table get the value at its end. The
        place is the same in the tables of all numbers of bars.
        """
        xp = array_module(variance)
        fine, widths = xp.asarray(self._fine), xp.asarray(np.diff(self._fine))
        low, high = float(np.log(self._fine[0])), float(np.log(self._fine[-1]))
        steps = len(self._fine) - 1
        entry = ((xp.log(variance) - low) * (steps / (high - low))).astype(np.int64)
        entry = entry.clip(0, steps - 1)
        share = ((variance - fine[entry]) / widths[entry]).clip(0.0, 1.0)
        return entry, share

    def sums_at(self, place: tuple[Any, Any], bars: float) -> Any:
        """Expected sum over `bars` bars that start from variances, given by their `place`."""
        entry, share = place
        xp = array_module(share)
        sums = xp.asarray(self.table(bars)[1])
        below = sums[entry]
        return below + share * (sums[entry + 1] - below)

    def expected_sum(self, variance: float, skip: int, bars: float) -> float:
        """Expected sum over `bars` bars after the first `skip`, given the first bar's variance."""
        (grid, longer), (_, shorter) = self.table(skip + bars), self.table(float(skip))
        return float(np.interp(variance, grid, longer - shorter))

    def _after(
        self, bars: int, sums: NDArray[np.float64], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Expectation of values some bars later, plus the sums of the bars before."""
        for exponent in range(bars.bit_length()):
            if bars >> exponent & 1:
                values = sums[exponent] + self.powers[exponent] @ values
        return values

    @cached_property
    def _fine(self) -> NDArray[np.float64]:
        count = FINER * (len(self.grid) - 1) + 1
        return np.asarray(np.geomspace(self.grid[0], self.grid[-1], count))

    @cached_property
    def _tables(self) -> dict[float, NDArray[np.float64]]:
        return {}


def variance_chain(
    recursion: NextVariance,
    draws: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    bounds: tuple[float, float],
    reach: tuple[float, float],
    bars: int,
) -> VarianceChain:
    """Make the chain of a recursion; between the grid's nodes values are cubics of ln h.

    Parameters
    ----------
    recursion : callable
        `mcmargin.models.volatility.Volatility.recursion` of the asset.
    draws : tuple of ndarray of shape (points,), float64
        Innovations and their weights, which add up to 1: a `quadrature`, or the residuals of dates
        that are drawn with equal weights.
    bounds : tuple of float
        Least and largest variance of the simulation.
    reach : tuple of float
        Range of variances that the grid covers; the bounds lie within it.
    bars : int
        Largest number of bars of an expectation.

    Examples
    --------
    >>> chain = variance_chain(
    ...     lambda h, z: 0.1 + (0.1 * z**2 + 0.8) * h,
    ...     quadrature(Innovations("normal", np.empty(0))),
    ...     bounds=(1e-3, 1e3),
    ...     reach=(1e-3, 1e3),
    ...     bars=64,
    ... )
    >>> round(chain.expected_sum(4.0, 0, 2.0), 4), round(chain.expected_sum(4.0, 1, 1.0), 4)
    (7.7, 3.7)
    """
    low, high = np.log(reach[0]), np.log(reach[1])
    # With a cap near 1 the range would be too small for the nodes of a cubic.
    room = max(0.0, 8 * SPACING - (high - low)) / 2
    low, high = low - room, high + room
    log_grid, spacing = np.linspace(
        low, high, max(8, int(np.ceil((high - low) / SPACING)) + 1), retstep=True
    )
    grid = np.exp(log_grid)
    z, weights = draws
    ahead = np.clip(recursion(grid[:, None], z), *bounds)
    place = (np.log(ahead) - low) / spacing
    # First of the four nodes around each place; at the ends of the grid, of its last four nodes.
    first = np.clip(place.astype(np.int64) - 1, 0, len(grid) - 4)
    rows = len(grid) * np.arange(len(grid))[:, None]
    step = np.zeros(len(grid) ** 2)
    for node, share in enumerate(_cubic(place - first)):
        step += np.bincount(
            (rows + first + node).ravel(), (weights * share).ravel(), minlength=len(step)
        )
    exponents = max(1, int(bars).bit_length())
    powers, sums = [step.reshape(len(grid), -1)], [grid]
    for _ in range(exponents - 1):
        sums.append(sums[-1] + powers[-1] @ sums[-1])
        powers.append(powers[-1] @ powers[-1])
    return VarianceChain(grid, np.array(powers), np.array(sums))


def quadrature(innovations: Innovations) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and weights of expectations over innovations; both float64 [points].

    The nodes lie in the logarithm of the tail's probability, since power tails contribute much to
    an expectation.

    Examples
    --------
    >>> z, weights = quadrature(Innovations("t", np.array([3.0])))
    >>> round(float(weights.sum()), 9), round(float(weights @ z**2), 4)
    (1.0, 1.0)
    """
    nodes, shares = np.polynomial.legendre.leggauss(PANEL_NODES)
    half = np.diff(PANELS)[:, None] / 2
    surprise = (PANELS[:-1, None] + half * (nodes + 1)).ravel()
    tail = np.exp(-surprise) / 2
    weights = (half * shares).ravel() * tail
    # Each half is asked for by its own tail probability, so that both tails are accurate.
    z = np.concatenate([innovations.lower_quantile(tail), innovations.upper_quantile(tail)])
    weights = np.tile(weights, 2)
    return z, weights / weights.sum()


def _cubic(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Weights at x of the nodes 0, 1, 2 and 3 in the cubic through them."""
    return (
        -(x - 1) * (x - 2) * (x - 3) / 6,
        x * (x - 2) * (x - 3) / 2,
        -x * (x - 1) * (x - 3) / 2,
        x * (x - 1) * (x - 2) / 6,
    )

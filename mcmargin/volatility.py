"""Volatility recursions of all assets, and what they say of the bars after the next.

In: fitted coefficients. Out: the variance of the bar after one, and the expected average variance
of the bars after any, which is what an option's remaining life sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.engines.arrays import array_module
from mcmargin.innovations import Innovations

ROOT_TWO_OVER_PI = float(np.sqrt(2.0 / np.pi))

EGARCH_CLIP = float(np.log(100.0))
"""Half-width of the grid of log variances about the sample's; the simulation caps them so."""

EGARCH_NODES = 257
QUADRATURE_NODES = 401


VARIANCE_FLOOR = 0.01
"""Least variance of a filter, as a share of the sample's: a tenth of its volatility."""


@dataclass(frozen=True, eq=False)
class Volatility:
    """Volatility recursions of all assets, on simple returns as fractions.

    Linear kinds: h' = omega + (alpha + gamma 1{e < 0}) e**2 + beta h. EGARCH (Nelson 1991):
    ln h' = omega + alpha (|z| - sqrt(2/pi)) + gamma z + beta ln h.

    A filter's variance, of every kind, is held at `floor` or above. A price that stands still for
    months would otherwise drive EWMA's to 1e-18, and its first move would be billions of standard
    deviations. A simulation starts from what the filter says; over its few bars no floor is needed
    but EGARCH's own.

    Attributes
    ----------
    kinds : tuple of str
        `garch`, `gjr`, `egarch`, `ewma` or `constant`, one an asset.
    omega, alpha, gamma, beta : ndarray of shape (assets,), float64
    sample_variance : ndarray of shape (assets,), float64
        Variance of the returns that were fitted, a bar; simulated variance is capped by it.
    """

    kinds: tuple[str, ...]
    omega: NDArray[np.float64]
    alpha: NDArray[np.float64]
    gamma: NDArray[np.float64]
    beta: NDArray[np.float64]
    sample_variance: NDArray[np.float64]

    @property
    def is_egarch(self) -> NDArray[np.bool_]:
        """Which assets follow EGARCH; bool [assets]."""
        return np.array([kind == "egarch" for kind in self.kinds])

    @property
    def floor(self) -> NDArray[np.float64]:
        """Least variance of the filter; float64 [assets]."""
        return VARIANCE_FLOOR * self.sample_variance

    def next_variance(
        self, variance: NDArray[np.float64], returns: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Variance of the bar after one whose variance and return are given; [..., assets].

        At `floor` or above.
        """
        square = returns * returns
        linear = (
            self.omega + (self.alpha + self.gamma * (returns < 0)) * square + self.beta * variance
        )
        log_variance = np.log(variance)
        z = returns / np.sqrt(variance)
        log_next = np.where(
            self.is_egarch,
            self.omega
            + self.alpha * (np.abs(z) - ROOT_TWO_OVER_PI)
            + self.gamma * z
            + self.beta * log_variance,
            0.0,
        )
        return np.maximum(np.where(self.is_egarch, np.exp(log_next), linear), self.floor)


def volatility_of(
    kinds: tuple[str, ...],
    coefficients: NDArray[np.float64],
    sample_variance: NDArray[np.float64],
) -> Volatility:
    """Volatility of rows of omega, alpha, gamma, beta; coefficients [assets, 4]."""
    omega, alpha, gamma, beta = np.ascontiguousarray(coefficients.T)
    return Volatility(kinds, omega, alpha, gamma, beta, sample_variance)


@dataclass(frozen=True, eq=False)
class VarianceOutlook:
    """Expected average variance of one asset over bars to come.

    For the linear kinds E[h] returns to its long-run level by the persistence p a bar:
    E[h_j] = V + p**j (h_0 - V); a persistence of 1 without a constant keeps it where it is. For
    EGARCH, whose log variance is clipped to a factor of 100 around the sample's, a table over ln h.

    Attributes
    ----------
    kind : str
    persistence : float
        Share of an excess over the long run that is left a bar later; of EGARCH, of ln h.
    long_run : float
        V, a variance a bar.
    start : float
        Variance of the next bar, today.
    log_grid : ndarray of shape (nodes,) or (0,), float64
        ln h of the EGARCH table.
    sums : ndarray of shape (bars + 1, nodes) or (0, 0), float64
        Expected sum of the variances of the first n bars, given that ln h of the first.
    """

    kind: str
    persistence: float
    long_run: float
    start: float
    log_grid: NDArray[np.float64]
    sums: NDArray[np.float64]

    def average(self, variance: Any, bars: float) -> Any:
        """Expected average variance over `bars` bars, given the variance of the first.

        Parameters
        ----------
        variance : ndarray of any shape, float64
            On a device or not.
        bars : float
            1 or more; a part of a bar counts in proportion.
        """
        if self.kind != "egarch":
            return self.long_run + self.fading(bars) * (variance - self.long_run)
        xp = array_module(variance)
        at = xp.log(variance)
        return xp.interp(at, xp.asarray(self.log_grid), xp.asarray(self._sum(bars) / bars))

    def average_today(self, skip: int, bars: float) -> float:
        """Expectation today of the same average, over `bars` bars after the first `skip`."""
        if self.kind != "egarch":
            reached = self.long_run + self.persistence**skip * (self.start - self.long_run)
            return float(self.long_run + self.fading(bars) * (reached - self.long_run))
        ahead = self._sum(skip + bars) - self._sum(skip)
        return float(np.interp(np.log(self.start), self.log_grid, ahead) / bars)

    def fading(self, bars: float) -> float:
        """Share of an excess over the long run that the average of `bars` bars keeps."""
        if self.persistence == 1.0 or self.kind == "constant":
            return 1.0
        return float((1.0 - self.persistence**bars) / (bars * (1.0 - self.persistence)))

    def _sum(self, bars: float) -> NDArray[np.float64]:
        whole = min(int(bars), len(self.sums) - 2)
        return np.asarray(
            self.sums[whole] + (bars - whole) * (self.sums[whole + 1] - self.sums[whole])
        )


def variance_outlook(
    volatility: Volatility, at: int, innovations: Innovations, start: float, *, bars: int
) -> VarianceOutlook:
    """Outlook of one asset.

    Parameters
    ----------
    volatility : Volatility
    at : int
        The asset's position.
    innovations : Innovations
    start : float
        Variance of the next bar.
    bars : int
        Bars that the EGARCH table must reach.

    Examples
    --------
    >>> columns = np.array([[2e-6, 0.08, 0.0, 0.90]])
    >>> law = volatility_of(("garch",), columns, np.full(1, 1e-4))
    >>> outlook = variance_outlook(law, 0, Innovations("normal", np.empty(0)), 4e-4, bars=1)
    >>> round(float(outlook.average(4e-4, 1.0)) * 1e4, 6)
    4.0
    """
    kind = volatility.kinds[at]
    omega, alpha, gamma, beta = (
        float(column[at])
        for column in (volatility.omega, volatility.alpha, volatility.gamma, volatility.beta)
    )
    if kind == "egarch":
        grid, sums = _egarch_sums(
            (omega, alpha, gamma, beta), float(volatility.sample_variance[at]), innovations, bars
        )
        return VarianceOutlook(kind, abs(beta), np.nan, start, grid, sums)
    persistence = alpha + beta + gamma * innovations.negative_second_moment()
    if kind == "ewma":
        persistence = 1.0
    long_run = 0.0 if persistence == 1.0 else omega / (1.0 - persistence)
    return VarianceOutlook(kind, persistence, long_run, start, np.empty(0), np.empty((0, 0)))


def _egarch_sums(
    coefficients: tuple[float, float, float, float],
    sample_variance: float,
    innovations: Innovations,
    bars: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expected sums of the next variances over a grid of ln h, by repeated expectation."""
    omega, alpha, gamma, beta = coefficients
    centre = np.log(sample_variance)
    grid = centre + np.linspace(-EGARCH_CLIP, EGARCH_CLIP, EGARCH_NODES)
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    half = (nodes + 1) / 4
    # Both halves by their own tail probability; squares crowd the nodes into the far tails.
    z = np.concatenate(
        [innovations.lower_quantile(2 * half**2), innovations.upper_quantile(2 * half**2)]
    )
    weights = np.tile(weights * half, 2)
    shock = alpha * (np.abs(z) - ROOT_TWO_OVER_PI) + gamma * z
    ahead = np.clip(omega + beta * grid[:, None] + shock, grid[0], grid[-1])
    # The expectation is linear in the values on the grid: one matrix, applied bar by bar.
    place = (ahead - grid[0]) / (grid[1] - grid[0])
    left = np.minimum(place.astype(np.int64), EGARCH_NODES - 2)
    share = place - left
    step = np.zeros((EGARCH_NODES, EGARCH_NODES))
    rows = np.arange(EGARCH_NODES)[:, None]
    np.add.at(step, (rows, left), weights * (1 - share))
    np.add.at(step, (rows, left + 1), weights * share)
    step /= weights.sum()
    sums, expected = np.zeros((bars + 2, EGARCH_NODES)), np.exp(grid)
    for bar in range(1, bars + 2):
        sums[bar] = sums[bar - 1] + expected
        expected = step @ expected
    return grid, sums

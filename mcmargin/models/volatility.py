"""Volatility recursions of all assets, and what they say of the bars after the next.

In: fitted coefficients. Out: the variance of the bar after one, and the expected average variance
of the bars after any, capped as in simulation, which is what an option's remaining life sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.models.innovations import Innovations
from mcmargin.models.variance_chain import VarianceChain, quadrature, variance_chain

ROOT_TWO_OVER_PI = float(np.sqrt(2.0 / np.pi))

LARGEST_CAP = 1e4
"""Multiple of the sample variance at which expectations hold EGARCH's variance where the cap is
higher or there is none: with power tails an uncapped one has no expectation, and what makes it up
lies on paths that are never drawn."""

NO_CAP = 1e8
"""Multiple of the sample variance from which a cap takes nothing off expectations."""

LEAST_SHARE = 1e-4
"""Least variance of the grid of expectations, over the start's or the sample's."""


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
    """Expected average variance of one asset over bars to come, as they are simulated.

    Without a cap E[h] of the linear kinds returns to its long-run level by the persistence p a
    bar: E[h_j] = V + p**j (h_0 - V); a persistence of 1 without a constant keeps it where it is.
    A cap on the variance takes from that, by 3 % in ten bars where tails are heavy, and by a
    quarter where the start is near the cap. Then, and for EGARCH, whose log variance is held
    within the cap's factor of the sample's, the expectation is that of a chain over ln h.

    Attributes
    ----------
    kind : str
    persistence : float
        Share of an excess over the long run that is left a bar later; of EGARCH, of ln h.
    long_run : float
        V, a variance a bar.
    start : float
        Variance of the next bar, today.
    chain : VarianceChain, optional
        None where the closed form is exact.
    """

    kind: str
    persistence: float
    long_run: float
    start: float
    chain: VarianceChain | None

    def average(self, variance: Any, bars: float) -> Any:
        """Expected average variance over `bars` bars, given the variance of the first.

        Parameters
        ----------
        variance : ndarray of any shape, float64
            On a device or not.
        bars : float
            1 or more; a part of a bar counts in proportion.
        """
        return self.average_at(self.place(variance), bars)

    def place(self, variance: Any) -> Any:
        """What is found once for averages over any number of bars from these variances on."""
        return variance if self.chain is None else self.chain.place(variance)

    def average_at(self, place: Any, bars: float) -> Any:
        """The same of a `place`."""
        if self.chain is None:
            return self.long_run + self.fading(bars) * (place - self.long_run)
        return self.chain.sums_at(place, bars) / bars

    def average_today(self, skip: int, bars: float) -> float:
        """Expectation today of the same average, over `bars` bars after the first `skip`."""
        if self.chain is None:
            reached = self.long_run + self.persistence**skip * (self.start - self.long_run)
            return float(self.long_run + self.fading(bars) * (reached - self.long_run))
        return self.chain.expected_sum(self.start, skip, bars) / bars

    def fading(self, bars: float) -> float:
        """Share of an excess over the long run that the average of `bars` bars keeps, uncapped."""
        if self.persistence == 1.0 or self.kind == "constant":
            return 1.0
        return float((1.0 - self.persistence**bars) / (bars * (1.0 - self.persistence)))


def variance_outlook(
    volatility: Volatility,
    at: int,
    innovations: Innovations,
    start: float,
    *,
    bars: int,
    cap: float = np.inf,
    dates: NDArray[np.float64] | None = None,
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
        Bars that expectations must reach.
    cap : float
        Multiple of the sample variance at which the simulation caps a variance, and by which it
        divides EGARCH's least.
    dates : ndarray of shape (dates,), float64, optional
        Standardised residuals that the simulation draws, for `historical` dependence, in place of
        the innovations' own distribution.

    Examples
    --------
    >>> columns = np.array([[2e-6, 0.08, 0.0, 0.90]])
    >>> law = volatility_of(("garch",), columns, np.full(1, 1e-4))
    >>> outlook = variance_outlook(law, 0, Innovations("normal", np.empty(0)), 4e-4, bars=1)
    >>> round(float(outlook.average(4e-4, 1.0)) * 1e4, 6)
    4.0
    """
    kind, sample = volatility.kinds[at], float(volatility.sample_variance[at])
    omega, alpha, gamma, beta = (
        float(column[at])
        for column in (volatility.omega, volatility.alpha, volatility.gamma, volatility.beta)
    )
    if dates is None:
        draws, square, negative = quadrature(innovations), 1.0, innovations.negative_second_moment()
    else:
        draws = dates, np.full(len(dates), 1.0 / len(dates))
        square, negative = float(np.mean(dates**2)), float(np.mean(dates**2 * (dates < 0)))
    if kind == "egarch":
        cap = min(cap, LARGEST_CAP)

        def log_linear(h: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
            shock = alpha * (np.abs(z) - ROOT_TWO_OVER_PI) + gamma * z
            # Held far beyond the bounds, so that no exponential overflows.
            return np.asarray(np.exp(np.minimum(omega + beta * np.log(h) + shock, 600.0)))

        bounds = sample / cap, sample * cap
        reach = min(bounds[0], start), max(bounds[1], start)
        chain = variance_chain(log_linear, draws, bounds=bounds, reach=reach, bars=bars)
        return VarianceOutlook(kind, abs(beta), np.nan, start, chain)
    persistence = alpha * square + beta + gamma * negative
    if abs(1.0 - persistence) < 1e-9:
        # EWMA's, to rounding: its excess stays.
        persistence = 1.0
    long_run = 0.0 if persistence == 1.0 else omega / (1.0 - persistence)
    if kind == "constant" or cap > NO_CAP:
        return VarianceOutlook(kind, persistence, long_run, start, None)

    def linear(h: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
        return omega + ((alpha + gamma * (z < 0)) * z * z + beta) * h

    bounds = LEAST_SHARE * min(sample, start), sample * cap
    reach = bounds[0], max(bounds[1], start)
    chain = variance_chain(linear, draws, bounds=bounds, reach=reach, bars=bars)
    return VarianceOutlook(kind, persistence, long_run, start, chain)

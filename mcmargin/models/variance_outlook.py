"""Expected average variance of one asset over bars to come, capped as in simulation.

In: the asset's recursion, its innovations and the variance of its next bar. Out: the expectation,
from any variance on, of the average variance over any number of bars, which is what the remaining
life of an option sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.models.innovations import Innovations
from mcmargin.models.variance_chain import VarianceChain, quadrature, variance_chain
from mcmargin.models.volatility import KINDS, Recursion, Volatility

LARGEST_CAP = 1e4
"""Multiple of the sample variance at which expectations hold EGARCH's variance if the cap is higher
or there is none. Under power tails an uncapped EGARCH variance has no expectation, and the paths
that make it infinite are never drawn."""

NO_CAP = 1e8
"""Multiple of the sample variance from which on a cap changes no expectation."""

LEAST_SHARE = 1e-4
"""Least variance of the grid of expectations, as a share of the start's or the sample's."""


@dataclass(frozen=True, eq=False)
class VarianceOutlook:
    """Expected average variance of one asset over bars to come, as they are simulated.

    Without a cap, E[h] of the linear kinds returns to its long-run value V by the persistence p a
    bar: E[h_j] = V + p**j (h_0 - V). With a persistence of 1 and no constant it stays where it is.
    A cap on the variance makes the expectation lower: by 3 % in ten bars if tails are heavy, and by
    a quarter if the start is near the cap. With a cap, the expectation is therefore that of a chain
    over ln h. It is the same for EGARCH, whose variance is held between the sample's divided by the
    cap and the sample's times the cap.

    Attributes
    ----------
    moves : bool
        Whether the variance changes from bar to bar at all.
    persistence : float
        Share of an excess over the long run that is left a bar later; for EGARCH, one of ln h.
    long_run : float
        V, the variance of a bar in the long run; NaN for EGARCH.
    start : float
        Variance of the next bar, today.
    chain : VarianceChain, optional
        None if the closed form is exact.
    """

    moves: bool
    persistence: float
    long_run: float
    start: float
    chain: VarianceChain | None

    def average(self, variance: Any, bars: float) -> Any:
        """Expected average variance over `bars` bars, given the variance of the first of them.

        Parameters
        ----------
        variance : ndarray of any shape, float64
            On the host or on a device.
        bars : float
            1 or more; a part of a bar counts in proportion.
        """
        return self.average_at(self.place(variance), bars)

    def place(self, variance: Any) -> Any:
        """Look variances up once, for averages over any number of bars that start from them."""
        return variance if self.chain is None else self.chain.place(variance)

    def average_at(self, place: Any, bars: float) -> Any:
        """Expected average variance over `bars` bars, given what `place` found."""
        if self.chain is None:
            return self.long_run + self.fading(bars) * (place - self.long_run)
        return self.chain.sums_at(place, bars) / bars

    def average_today(self, skip: int, bars: float) -> float:
        """Expectation today of the average variance over the `bars` bars after the first `skip`."""
        if self.chain is None:
            reached = self.long_run + self.persistence**skip * (self.start - self.long_run)
            return float(self.long_run + self.fading(bars) * (reached - self.long_run))
        return self.chain.expected_sum(self.start, skip, bars) / bars

    def fading(self, bars: float) -> float:
        """Share of an excess over the long run that is in the average of `bars` bars, uncapped."""
        if self.persistence == 1.0 or not self.moves:
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
    """Make the outlook of one asset.

    Parameters
    ----------
    volatility : Volatility
    at : int
        The asset's position.
    innovations : Innovations
    start : float
        Variance of the next bar.
    bars : int
        Largest number of bars of an expectation.
    cap : float
        Multiple of the sample variance at which the simulation caps a variance. EGARCH's variance
        is not below the sample variance divided by it, either.
    dates : ndarray of shape (dates,), float64, optional
        Standardised residuals that the simulation draws under `historical` dependence, instead of
        draws from the distribution of the innovations.

    Examples
    --------
    >>> from mcmargin.models.volatility import volatility_of
    >>> columns = np.array([[2e-6, 0.08, 0.0, 0.90]])
    >>> law = volatility_of(("garch",), columns, np.full(1, 1e-4))
    >>> outlook = variance_outlook(law, 0, Innovations("normal", np.empty(0)), 4e-4, bars=1)
    >>> round(float(outlook.average(4e-4, 1.0)) * 1e4, 6)
    4.0
    """
    rules, sample = KINDS[volatility.kinds[at]], float(volatility.sample_variance[at])
    if dates is None:
        draws, square, negative = quadrature(innovations), 1.0, innovations.negative_second_moment()
    else:
        draws = dates, np.full(len(dates), 1.0 / len(dates))
        square, negative = float(np.mean(dates**2)), float(np.mean(dates**2 * (dates < 0)))
    recursion = volatility.recursion(at)
    persistence = volatility.persistence(at, square, negative)
    if rules.recursion is Recursion.LOGARITHMIC:
        cap = min(cap, LARGEST_CAP)
        bounds = sample / cap, sample * cap
        reach = min(bounds[0], start), max(bounds[1], start)
        chain = variance_chain(recursion, draws, bounds=bounds, reach=reach, bars=bars)
        return VarianceOutlook(rules.moves, persistence, np.nan, start, chain)
    if abs(1.0 - persistence) < 1e-9:
        # EWMA's persistence is 1 to rounding: its excess stays.
        persistence = 1.0
    long_run = 0.0 if persistence == 1.0 else float(volatility.omega[at]) / (1.0 - persistence)
    if not rules.moves or cap > NO_CAP:
        return VarianceOutlook(rules.moves, persistence, long_run, start, None)
    bounds = LEAST_SHARE * min(sample, start), sample * cap
    reach = bounds[0], max(bounds[1], start)
    chain = variance_chain(recursion, draws, bounds=bounds, reach=reach, bars=bars)
    return VarianceOutlook(rules.moves, persistence, long_run, start, chain)

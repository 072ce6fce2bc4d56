"""Volatility: every kind of recursion, what it needs, and the filter that runs it.

In: fitted coefficients of all assets. Out: the variance of the bar after one. All that differs from
kind to kind stands in this file and, for the simulation, in the two engines: `KINDS` says how
`arch` fits a kind, which coefficients are its own and which `Recursion` it follows, and
`Volatility` has the recursions. The docstring of `VolatilityKind` says how a kind is added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

COEFFICIENTS = ("omega", "alpha", "gamma", "beta")
"""Coefficients of the recursions, in the order of the columns everywhere."""

ROOT_TWO_OVER_PI = float(np.sqrt(2.0 / np.pi))

VARIANCE_FLOOR = 0.01
"""Least variance of a filter, as a share of the sample's: a tenth of its volatility."""

EWMA_DECAY = 0.94
"""RiskMetrics' daily decay factor."""

SLOW_START = (0.1, 0.1, 0.995)
"""alpha, gamma and beta of EGARCH's second start. Its likelihood has several optima on series that
have single enormous days, and arch's own start finds those of faster recursions."""

NextVariance = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Next variances of variances [nodes, 1] and innovations [points]: [nodes, points], not bounded."""


class Recursion(Enum):
    """A formula for the variance of the next bar; `Volatility` has the formulas."""

    LINEAR = "h' of h"
    LOGARITHMIC = "ln h' of ln h"


@dataclass(frozen=True)
class VolatilityKind:
    """How one kind of volatility is fitted, and which coefficients it has.

    A kind that follows one of `Recursion` needs its row in `KINDS`, and no other code. Its name
    also goes into the help of the command `calibrate` and the docstring of the function, and its
    coefficients into `tests/helpers/models.py`; `tests/models/test_volatility.py` fails without.
    Code that depends on a kind asks for the attributes below, and never for the kind's name. Only
    `fit_asset` names kinds: those that it tries after a fit that is not sound.

    A new recursion is a new member of `Recursion`. These places tell the recursions apart, and
    each needs a branch for it:

    - `Volatility.next_variance`, `Volatility.recursion` and `Volatility.persistence`;
    - `models/arch_fits.py` and `models/fitting.py`, which scale omega to returns of unit variance
      and back;
    - `models/refiltering.py`, which carries coefficients to longer bars;
    - `models/variance_outlook.py`, which expects variances of later bars;
    - `models/model_checks.py`, which checks the signs of coefficients and the persistence;
    - `engines/model_arrays.py`, which marks the assets of each recursion, and its readers
      `engines/numpy_steps.py`, `engines/cupy_steps.py` and `kernels/evolve.cu`;
    - the second implementations in `tests/engines/test_kernels_on_cpu.py` and
      `tests/golden/make_vectors.py`, and the formulas in docs/design.md.

    Attributes
    ----------
    process : callable
        Makes arch's volatility process, given the module `arch.univariate`.
    fitted : tuple of str
        The coefficients that arch fits, in arch's order.
    declared : mapping of str to float
        Coefficients that are declared and not fitted. A coefficient that is neither is 0.
    recursion : Recursion
        EGARCH's is one of ln h, and those of the other kinds are of h.
    integrated : bool
        Whether a persistence of 1 is meant, so that an excess of the variance stays. A fit of
        another kind that has it is refused. The coefficients of an integrated kind are the same
        for bars of any length.
    second_start : tuple of float, optional
        alpha, gamma and beta of a second start of the optimiser, for a likelihood with several
        optima. The optimum must not depend on history then, so that no fit starts from an earlier
        model.
    """

    process: Callable[[Any], Any]
    fitted: tuple[str, ...]
    declared: Mapping[str, float] = field(default_factory=dict)
    recursion: Recursion = Recursion.LINEAR
    integrated: bool = False
    second_start: tuple[float, ...] | None = None

    @property
    def coefficients(self) -> frozenset[str]:
        """The coefficients that are fitted or declared; the others are 0."""
        return frozenset(self.fitted) | frozenset(self.declared)

    @property
    def moves(self) -> bool:
        """Whether the variance changes from bar to bar: it has another coefficient than omega."""
        return self.coefficients != {"omega"}


KINDS: Mapping[str, VolatilityKind] = {
    "garch": VolatilityKind(lambda arch: arch.GARCH(p=1, o=0, q=1), ("omega", "alpha", "beta")),
    "gjr": VolatilityKind(lambda arch: arch.GARCH(p=1, o=1, q=1), COEFFICIENTS),
    "egarch": VolatilityKind(
        lambda arch: arch.EGARCH(p=1, o=1, q=1),
        COEFFICIENTS,
        recursion=Recursion.LOGARITHMIC,
        second_start=SLOW_START,
    ),
    "ewma": VolatilityKind(
        lambda arch: arch.EWMAVariance(EWMA_DECAY),
        (),
        {"alpha": 1.0 - EWMA_DECAY, "beta": EWMA_DECAY},
        integrated=True,
    ),
    "constant": VolatilityKind(lambda arch: arch.ConstantVariance(), ("omega",)),
}
"""Every kind of volatility by its name."""


@dataclass(frozen=True, eq=False)
class Volatility:
    """Volatility recursions of all assets, on simple returns as fractions.

    Linear kinds: h' = omega + (alpha + gamma 1{e < 0}) e**2 + beta h. EGARCH (Nelson 1991):
    ln h' = omega + alpha (|z| - sqrt(2/pi)) + gamma z + beta ln h.

    The filter holds the variance of every kind at `floor` or above. Without a floor a price that
    stands still for months would drive EWMA's variance to 1e-18, and the first move after that
    would be billions of standard deviations. A simulation starts from the filter's variance; over
    its few bars it needs no floor but that of EGARCH.

    Attributes
    ----------
    kinds : tuple of str
        Kind of each asset, one of `KINDS`.
    omega, alpha, gamma, beta : ndarray of shape (assets,), float64
    sample_variance : ndarray of shape (assets,), float64
        Variance of the returns that were fitted, a bar. The cap of a simulated variance is a
        multiple of it.
    """

    kinds: tuple[str, ...]
    omega: NDArray[np.float64]
    alpha: NDArray[np.float64]
    gamma: NDArray[np.float64]
    beta: NDArray[np.float64]
    sample_variance: NDArray[np.float64]

    @property
    def is_logarithmic(self) -> NDArray[np.bool_]:
        """Which assets follow the recursion of ln h; bool [assets]."""
        return np.array([KINDS[kind].recursion is Recursion.LOGARITHMIC for kind in self.kinds])

    @property
    def floor(self) -> NDArray[np.float64]:
        """Least variance of the filter; float64 [assets]."""
        return VARIANCE_FLOOR * self.sample_variance

    def next_variance(
        self, variance: NDArray[np.float64], returns: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Variance of the next bar, given the variance and the return of this one.

        Parameters
        ----------
        variance, returns : ndarray of shape (..., assets), float64

        Returns
        -------
        ndarray of shape (..., assets), float64
            At `floor` or above.
        """
        square = returns * returns
        linear = (
            self.omega + (self.alpha + self.gamma * (returns < 0)) * square + self.beta * variance
        )
        log_variance = np.log(variance)
        z = returns / np.sqrt(variance)
        log_next = np.where(
            self.is_logarithmic,
            self.omega
            + self.alpha * (np.abs(z) - ROOT_TWO_OVER_PI)
            + self.gamma * z
            + self.beta * log_variance,
            0.0,
        )
        return np.maximum(np.where(self.is_logarithmic, np.exp(log_next), linear), self.floor)

    def recursion(self, at: int) -> NextVariance:
        """The recursion of one asset as a function of variance and innovation, without the floor.

        Parameters
        ----------
        at : int
            The asset's position.
        """
        omega, alpha, gamma, beta = (float(getattr(self, name)[at]) for name in COEFFICIENTS)

        def linear(h: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
            return omega + ((alpha + gamma * (z < 0)) * z * z + beta) * h

        def log_linear(h: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
            shock = alpha * (np.abs(z) - ROOT_TWO_OVER_PI) + gamma * z
            # Any bound lies far below exp(600), so that this limit only prevents an overflow.
            return np.asarray(np.exp(np.minimum(omega + beta * np.log(h) + shock, 600.0)))

        return {Recursion.LINEAR: linear, Recursion.LOGARITHMIC: log_linear}[
            KINDS[self.kinds[at]].recursion
        ]

    def persistence(self, at: int, square: float = 1.0, negative: float = 0.5) -> float:
        """Share of an excess of one asset's variance (EGARCH: of ln h) that is left a bar later.

        Parameters
        ----------
        at : int
            The asset's position.
        square, negative : float
            E[z**2] and E[z**2 1{z < 0}] of its innovations z.
        """
        _, alpha, gamma, beta = (float(getattr(self, name)[at]) for name in COEFFICIENTS)
        if KINDS[self.kinds[at]].recursion is Recursion.LOGARITHMIC:
            return abs(beta)
        return alpha * square + beta + gamma * negative


def volatility_of(
    kinds: tuple[str, ...],
    coefficients: NDArray[np.float64],
    sample_variance: NDArray[np.float64],
) -> Volatility:
    """Volatility of all assets from a row of coefficients each.

    Parameters
    ----------
    kinds : tuple of str
    coefficients : ndarray of shape (assets, 4), float64
        omega, alpha, gamma and beta.
    sample_variance : ndarray of shape (assets,), float64

    Examples
    --------
    >>> law = volatility_of(("garch",), np.array([[2e-6, 0.08, 0.0, 0.90]]), np.full(1, 1e-4))
    >>> law.next_variance(np.array([1e-4]), np.array([0.02])).round(9).tolist()
    [0.000124]
    """
    omega, alpha, gamma, beta = np.ascontiguousarray(coefficients.T)
    return Volatility(kinds, omega, alpha, gamma, beta, sample_variance)

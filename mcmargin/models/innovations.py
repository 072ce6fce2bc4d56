"""Standardised innovations of one asset: their distribution function, quantiles and moments.

In: a kind of distribution with the parameters that arch fitted, or standardised residuals. Out: an
`Innovations` of mean 0 and variance 1. Its quantile function is accurate in both tails, since a
tail is always asked for by its own probability, never by 1 - p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, special, stats

from mcmargin.errors import CalibrationError

TAIL_SHARE = 0.05
"""Share of residuals in each tail that a generalised Pareto distribution describes."""

BODY_KNOTS = 181
"""Number of quantiles by which the body of an empirical distribution is kept."""

PARAMETERS = {"normal": 0, "t": 1, "skewt": 2, "ged": 1, "empirical": 4 + BODY_KNOTS}
"""Every kind of innovations, and how many parameters it has."""

MINIMUM_EMPIRICAL = 250
"""Least number of residuals of an empirical distribution."""

LEAST_RANGE = 1e-9
"""Least range of a tail's excesses, as a share of the largest excess. Below it all are equal."""

SHORTFALL_NODES = 200
SHORTFALL_REACH = 100.0
"""-ln of the share of a tail that is left out. Of the expected shortfall of a t of 2.1 degrees of
freedom that leaves e**-52 out."""


@dataclass(frozen=True, eq=False)
class Innovations:
    """Distribution of standardised innovations: mean 0, variance 1.

    Attributes
    ----------
    kind : str
        One of `PARAMETERS`.
    parameters : ndarray of shape (n,), float64
        normal: none; t: degrees of freedom; skewt: degrees of freedom and skewness of Hansen
        (1994); ged: shape; empirical: shape and scale of the lower tail, shape and scale of the
        upper tail, then the quantiles at `BODY_KNOTS` evenly spaced probabilities from
        `TAIL_SHARE` to 1 - `TAIL_SHARE`, between which the quantile function is linear.

    References
    ----------
    Hansen (1994), Autoregressive conditional density estimation, International Economic Review
    35(3). McNeil and Frey (2000), Estimation of tail-related risk measures, Journal of
    Empirical Finance 7 (generalised Pareto tails of residuals).

    Examples
    --------
    >>> t = Innovations("t", np.array([4.0]))
    >>> round(float(t.lower_quantile(0.01)), 4)
    -2.6495
    """

    kind: str
    parameters: NDArray[np.float64]

    def lower_quantile(self, p: Any) -> Any:
        """Value below which the probability is p, float64, for p in (0, 1)."""
        return _quantile(self, np.asarray(p, float), upper=False)

    def upper_quantile(self, q: Any) -> Any:
        """Value above which the probability is q, float64, for q in (0, 1)."""
        return _quantile(self, np.asarray(q, float), upper=True)

    def negative_second_moment(self) -> float:
        """E[z**2 1{z < 0}], which is one half for a symmetric distribution.

        It weighs the leverage term in the persistence of GJR-GARCH. It is in closed form, except
        for `skewt`, where Hansen's density is integrated numerically.
        """
        if self.kind in ("normal", "t", "ged"):
            return 0.5
        if self.kind == "skewt":
            density = partial(_hansen_density, nu=self.parameters[0], skew=self.parameters[1])
            moment, _ = integrate.quad(lambda z: z * z * density(z), -np.inf, 0.0, epsabs=1e-12)
            return float(moment)
        return _empirical_negative_moment(self.parameters)

    def shortfalls(self, level: float) -> tuple[float, float]:
        """Expected shortfalls at a level, of the lower and of the upper tail, both positive.

        Examples
        --------
        >>> low, high = Innovations("normal", np.empty(0)).shortfalls(0.99)
        >>> round(low, 4), round(high, 4)
        (2.6652, 2.6652)
        """
        # An expected shortfall is the mean of the quantiles over the tail's probabilities. The
        # nodes lie in their logarithm, as power tails need many small probabilities.
        nodes, weights = np.polynomial.legendre.leggauss(SHORTFALL_NODES)
        share = np.exp(-SHORTFALL_REACH * (nodes + 1) / 2)
        weights = SHORTFALL_REACH / 2 * weights * share
        p = (1 - level) * share
        return -float(weights @ self.lower_quantile(p)), float(weights @ self.upper_quantile(p))


def _quantile(innovations: Innovations, p: NDArray[np.float64], *, upper: bool) -> Any:
    kind, a = innovations.kind, innovations.parameters
    sign = -1.0 if upper else 1.0
    if kind == "normal":
        return sign * special.ndtri(p)
    if kind == "t":
        return sign * stats.t.ppf(p, a[0]) * np.sqrt((a[0] - 2.0) / a[0])
    if kind == "ged":
        scale = np.exp(0.5 * (special.gammaln(1.0 / a[0]) - special.gammaln(3.0 / a[0])))
        return sign * stats.gennorm.ppf(p, a[0]) * scale
    if kind == "skewt":
        return _hansen_quantile(p, a[0], a[1], upper=upper)
    return _empirical_quantile(p, a, upper=upper)


def _hansen_quantile(p: NDArray[np.float64], nu: float, skew: float, *, upper: bool) -> Any:
    """Quantile of Hansen's skewed t; an upper tail mirrors the lower tail of skewness -skew."""
    if upper:
        return -_hansen_quantile(p, nu, -skew, upper=False)
    a, b, _ = _hansen_constants(nu, skew)
    left = p < (1 - skew) / 2
    # Above the mode t.isf takes the upper tail's probability itself, and stays accurate.
    below = (1 - skew) * stats.t.ppf(np.where(left, p, 0.25) / (1 - skew), nu)
    above = (1 + skew) * stats.t.isf(np.where(left, 0.25, 1 - p) / (1 + skew), nu)
    return (np.where(left, below, above) * np.sqrt((nu - 2) / nu) - a) / b


def _hansen_constants(nu: float, skew: float) -> tuple[float, float, float]:
    """a, b and c of Hansen (1994)."""
    log_c = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2)
    c = np.exp(log_c) / np.sqrt(np.pi * (nu - 2))
    a = 4 * skew * c * (nu - 2) / (nu - 1)
    return float(a), float(np.sqrt(1 + 3 * skew**2 - a**2)), float(c)


def _hansen_density(z: float, nu: float, skew: float) -> float:
    a, b, c = _hansen_constants(nu, skew)
    side = 1 - skew if z < -a / b else 1 + skew
    return float(b * c * (1 + ((b * z + a) / side) ** 2 / (nu - 2)) ** (-(nu + 1) / 2))


def _empirical_quantile(
    p: NDArray[np.float64], parameters: NDArray[np.float64], *, upper: bool
) -> Any:
    shape_low, scale_low, shape_high, scale_high = parameters[:4]
    body = parameters[4:]
    knots = np.linspace(TAIL_SHARE, 1 - TAIL_SHARE, BODY_KNOTS)
    # The probability of the tail asked for is exact; the other one serves the far side.
    low, high = (1 - p, p) if upper else (p, 1 - p)
    value = np.interp(low, knots, body)
    tail = np.minimum(low, TAIL_SHARE) / TAIL_SHARE
    value = np.where(low < TAIL_SHARE, body[0] - _excess(tail, shape_low, scale_low), value)
    tail = np.minimum(high, TAIL_SHARE) / TAIL_SHARE
    return np.where(high < TAIL_SHARE, body[-1] + _excess(tail, shape_high, scale_high), value)


def _excess(tail: NDArray[np.float64], shape: float, scale: float) -> NDArray[np.float64]:
    """Generalised Pareto excess whose exceedance probability is `tail`."""
    return np.asarray(stats.genpareto.isf(np.maximum(tail, 1e-300), shape, scale=scale))


def empirical_innovations(residuals: NDArray[np.float64], *, asset: str = "") -> Innovations:
    """Distribution of standardised residuals: empirical, with generalised Pareto tails.

    Between the 5 % and the 95 % quantiles the empirical quantile function is interpolated linearly.
    Beyond them excesses follow the generalised Pareto distribution that has their mean and variance
    (Hosking and Wallis 1987); its shape is thus below 1/2. The whole distribution is then moved and
    scaled to mean 0 and variance 1 exactly. This changes its quantiles very little, since it nearly
    has the residuals' variance before. (A fit of the tails by maximum likelihood may imply a far
    larger variance. Scaling it to 1 would take a third off the expected shortfall.)

    Parameters
    ----------
    residuals : ndarray of shape (bars,), float64
    asset : str
        Named in errors.

    Raises
    ------
    CalibrationError
        If there are fewer than `MINIMUM_EMPIRICAL` residuals, or all of a tail are equal.

    References
    ----------
    Hosking and Wallis (1987), Parameter and quantile estimation for the generalized Pareto
    distribution, Technometrics 29(3).

    Examples
    --------
    >>> rng = np.random.default_rng(7)
    >>> z = empirical_innovations(rng.standard_normal(20_000))
    >>> bool(abs(z.lower_quantile(0.01) + 2.326) < 0.1)
    True
    """
    if len(residuals) < MINIMUM_EMPIRICAL:
        raise CalibrationError(
            f"{asset}: {len(residuals)} residuals, and empirical innovations need at least "
            f"{MINIMUM_EMPIRICAL}; give a longer history or choose innovations='t'"
        )
    body = np.quantile(residuals, np.linspace(TAIL_SHARE, 1 - TAIL_SHARE, BODY_KNOTS))
    ordered, count = np.sort(residuals), max(2, round(TAIL_SHARE * len(residuals)))
    excesses = body[0] - ordered[:count], ordered[-count:] - body[-1]
    # A pegged coin that moves between two prices has moves of one size, which differ by rounding.
    if not all(np.ptp(each) > LEAST_RANGE * np.abs(each).max() for each in excesses):
        raise CalibrationError(
            f"{asset}: too few of {len(residuals)} residuals differ to tell their tails; leave the "
            "asset out, or give a longer history or one of longer bars"
        )
    low, high = (_fit_tail(np.maximum(each, 0.0)) for each in excesses)
    mean, variance = empirical_moments(body, low, high)
    spread = np.sqrt(variance)
    parameters = np.concatenate(
        [[low[0], low[1] / spread, high[0], high[1] / spread], (body - mean) / spread]
    )
    return Innovations("empirical", parameters)


def _fit_tail(excesses: NDArray[np.float64]) -> tuple[float, float]:
    """Shape and scale of the generalised Pareto distribution with the mean and variance given."""
    ratio = excesses.mean() ** 2 / excesses.var()
    return float((1 - ratio) / 2), float(excesses.mean() * (1 + ratio) / 2)


def empirical_moments(
    body: NDArray[np.float64], low: Sequence[float], high: Sequence[float]
) -> tuple[float, float]:
    """Mean and variance of the piecewise-linear body with its two tails, in closed form.

    Parameters
    ----------
    body : ndarray of shape (181,), float64
        Quantiles at `BODY_KNOTS` evenly spaced probabilities from `TAIL_SHARE` to
        1 - `TAIL_SHARE`.
    low, high : sequence of 2 float
        Shape, below 1/2, and scale of the generalised Pareto distribution of each tail.

    Examples
    --------
    >>> uniform = np.linspace(-1.5, 1.5, BODY_KNOTS)
    >>> mean, variance = empirical_moments(uniform, (-0.5, 0.2), (-0.5, 0.2))
    >>> round(abs(mean), 12), round(variance, 3)
    (0.0, 0.943)
    """
    left, right = body[:-1], body[1:]
    share = (1 - 2 * TAIL_SHARE) / (len(body) - 1)
    first = share * np.sum(left + right) / 2
    second = share * np.sum(left * left + left * right + right * right) / 3
    for sign, edge, (shape, scale) in ((-1.0, body[0], low), (1.0, body[-1], high)):
        first += TAIL_SHARE * (edge + sign * scale / (1 - shape))
        second += TAIL_SHARE * _square(-sign * edge, shape, scale)
    return float(first), float(second - first**2)


def _empirical_negative_moment(parameters: NDArray[np.float64]) -> float:
    """E[z**2 1{z < 0}] of the piecewise-linear body and both tails, in closed form."""
    low, high, body = parameters[:2], parameters[2:4], parameters[4:]
    left, right = np.minimum(body[:-1], 0.0), np.minimum(body[1:], 0.0)
    width = np.diff(body)
    # The share of each piece that lies below 0. A piece without width is below 0 as a whole, or
    # its `left` and `right` are 0: its share may be 1 in both cases.
    part = np.divide(right - left, width, out=np.ones_like(width), where=width > 0)
    share = (1 - 2 * TAIL_SHARE) / len(width)
    inside = share * np.sum(part * (left * left + left * right + right * right)) / 3
    # With a Pareto excess y, z is body[0] - y in the lower tail and body[-1] + y in the upper one.
    lower = _square_beyond(body[0], *low)
    upper = _square(-body[-1], *high) - _square_beyond(-body[-1], *high)
    return float(inside + TAIL_SHARE * (lower + upper))


def _square(edge: float, shape: float, scale: float) -> float:
    """E[(y - edge)**2] of a generalised Pareto excess y."""
    mean = scale / (1 - shape)
    return edge**2 - 2 * edge * mean + 2 * scale * mean / (1 - 2 * shape)


def _square_beyond(edge: float, shape: float, scale: float) -> float:
    """E[(y - edge)**2 1{y > edge}] of a generalised Pareto excess y.

    What exceeds an edge is generalised Pareto again, with another scale.
    """
    if edge <= 0.0:
        return _square(edge, shape, scale)
    beyond = max(scale + shape * edge, 0.0)
    return float(stats.genpareto.sf(edge, shape, scale=scale)) * _square(0.0, shape, beyond)

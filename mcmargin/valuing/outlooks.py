"""What a model expects of variances, and how implied volatility moves with them.

In: a model and the cap that its simulation puts on variances. Out: expected average variances of
its assets, and the ratio of implied volatility after some bars to today's, on simulated paths and
in given scenarios alike.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np

from mcmargin.draws.plan import SimulationPlan
from mcmargin.errors import DataError
from mcmargin.markets.market import Market
from mcmargin.models.model import MarketModel
from mcmargin.models.variance_outlook import VarianceOutlook, variance_outlook
from mcmargin.numerics.arrays import array_module
from mcmargin.scenarios.scenarios import Scenarios

LEAST_SQUARED_SHOCK = 0.01
"""Floor of a squared volatility ratio that an implied-volatility asset drives."""

INDEX_YEARS = 30 / 365
"""Time to expiry of the options that an implied-volatility index is made of."""

LEAST_REACH = 64
"""Bars that an outlook reaches at least."""


class Outlooks:
    """Expected variances of a model's assets, made when they are first asked for and then kept.

    Several threads may ask. A pickle or a copy starts empty.

    Parameters
    ----------
    model : MarketModel
    variance_cap : float
        Multiple of the sample variance at which the simulation caps a variance.

    Examples
    --------
    >>> from mcmargin.demo import demo_model
    >>> outlooks = Outlooks(demo_model())
    >>> outlooks.of("wti", 30) is outlooks.of("wti", 60)
    True
    """

    def __init__(
        self, model: MarketModel, variance_cap: float = SimulationPlan.variance_cap
    ) -> None:
        self.model, self.variance_cap = model, variance_cap
        self._made: dict[str, tuple[int, VarianceOutlook]] = {}
        self._lock = Lock()

    def of(self, asset: str, bars: int) -> VarianceOutlook:
        """What the model expects of an asset's variance, `bars` bars ahead or more.

        Raises
        ------
        DataError
            If the model has no such asset.
        """
        model = self.model
        if asset not in model.assets:
            raise DataError(f"the model has no asset {asset!r}, and options on it need one")
        reach = max(LEAST_REACH, 1 << (bars - 1).bit_length())
        with self._lock:
            longest, outlook = self._made.get(asset, (0, None))
            if outlook is not None and longest >= reach:
                return outlook
            at, residuals = model.assets.index(asset), model.dependence.residuals
            outlook = variance_outlook(
                model.volatility,
                at,
                model.innovations[at],
                float(model.state.variance[at]),
                bars=reach,
                cap=self.variance_cap,
                dates=residuals[:, at] if len(residuals) else None,
            )
            # An outlook that reaches farther says the same of the bars before.
            self._made[asset] = reach, outlook
            return outlook

    def bars_in(self, years: float) -> float:
        """Bars in some years; 1 or more."""
        return max(1.0, years * 365.0 / self.model.calendar.mean_days)

    def __reduce__(self) -> tuple[type[Outlooks], tuple[MarketModel, float]]:
        return Outlooks, (self.model, self.variance_cap)


def outlooks_of(scenarios: Scenarios) -> Outlooks:
    """Outlooks of the model that scenarios were drawn from, under their cap; kept with them."""
    return scenarios.kept.once(
        "outlooks", lambda: Outlooks(scenarios.model, scenarios.plan.variance_cap)
    )


def mean_square(scenarios: Scenarios, asset: str, horizon: int) -> float:
    """Mean of (1 + R)**2 over all paths, R an asset's return to a horizon; kept with them."""

    def mean() -> float:
        at = scenarios.horizon_index(horizon), scenarios.assets.index(asset)
        return float(((1.0 + scenarios.returns[at].astype(np.float64)) ** 2).mean())

    return scenarios.kept.once(("mean square", asset, horizon), mean)


def volatility_ratio(
    outlooks: Outlooks,
    market: Market,
    underlying: str,
    years: float,
    horizon: int,
    *,
    driver_squares: Callable[[str], Any],
    place: Callable[[VarianceOutlook], Any],
    constant_ratio: Callable[[], Any],
) -> Any:
    """Implied volatility of an underlying after some bars, over today's.

    The squared ratio is E[average variance from the horizon to expiry | scenario] over the
    expectation of it today, so that its mean over simulated paths is 1. Where the market names an
    implied-volatility asset, the squared ratio is 1 + f (S - 1), where S is that asset's squared
    move over its mean, and f how much of an excess is left over `years` in place of the index's 30
    days; it is held above 0.01.

    Parameters
    ----------
    outlooks : Outlooks
    market : Market
        Of today.
    underlying : str
    years : float
        From the horizon to expiry.
    horizon : int
        Bars until the scenarios stand.
    driver_squares : callable
        From the name of an implied-volatility asset to (1 + R)**2 over its mean, float64
        [scenarios].
    place : callable
        From an outlook to the place in it of each scenario's next variance; see
        `VarianceOutlook.place`.
    constant_ratio : callable
        The ratio itself, for an underlying whose variance is constant in the model.

    Returns
    -------
    ndarray of shape (scenarios,), float64

    Raises
    ------
    DataError
        If the model lacks the underlying, or the implied-volatility asset.
    """
    bars, index_bars = outlooks.bars_in(years), outlooks.bars_in(INDEX_YEARS)
    outlook = outlooks.of(underlying, horizon + int(max(bars, index_bars)) + 1)
    driver = market.volatility_asset.get(underlying)
    if driver is not None:
        if driver not in outlooks.model.assets:
            raise DataError(
                f"the model has no asset {driver!r} to drive the volatility of {underlying!r}"
            )
        fading = outlook.fading(bars) / outlook.fading(index_bars)
        squared = 1.0 + fading * (driver_squares(driver) - 1.0)
        xp = array_module(squared)
        return xp.sqrt(xp.maximum(squared, LEAST_SQUARED_SHOCK))
    if not outlook.moves:
        return constant_ratio()
    squared = outlook.average_at(place(outlook), bars) / outlook.average_today(horizon, bars)
    return array_module(squared).sqrt(squared)

"""Peers: the models that a user would otherwise run, for comparison with one's own.

Each takes part in a backtest as `mcmargin.backtests.competing.Competitor` says, and keeps no more
than its declared numbers:

StaticPercentage       a fixed share of gross exposure
HistoricalSimulation   the returns of the last bars, all equally probable
EwmaNormal             normal returns of an exponentially weighted covariance (RiskMetrics)
FilteredHistorical     the last bars' returns, scaled to today's volatility
LogGarchCopula         GARCH with t innovations on log returns, and a t copula
PriceScan              the worst move of each asset alone, without offsets, as price grids charge
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mcmargin.backtests.competing import Forecast, Question, forecast_of_returns
from mcmargin.data.prices import PriceHistory
from mcmargin.errors import DataError

NULL_DRAWS = 1000
"""Scenarios that a model with a closed form draws, for tests that need a distribution."""


def returns_of(closes: PriceHistory, bars: int = 1) -> NDArray[np.float64]:
    """Simple returns over some bars, of closes that overlap; float64 [n, assets]."""
    return closes.prices[bars:] / closes.prices[:-bars] - 1.0


def ewma_covariance(returns: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """Covariance whose weights fall by `decay` a bar, with mean 0; float64 [assets, assets].

    Examples
    --------
    >>> ewma_covariance(np.array([[1.0], [2.0]]), 0.5).round(4).tolist()
    [[3.0]]
    """
    weights = decay ** np.arange(len(returns))[::-1]
    return np.asarray((returns * weights[:, None]).T @ returns / weights.sum())


class _NothingToFit:
    """A model whose forecast reads the closes themselves."""

    def fit(self, closes: PriceHistory, before: Any) -> None:
        """Nothing is fitted."""


@dataclass(frozen=True)
class StaticPercentage(_NothingToFit):
    """A fixed share of gross exposure, times the square root of the horizon.

    Attributes
    ----------
    share : float
        Of gross exposure, for one bar.
    """

    share: float = 0.1

    def forecast(self, fitted: None, closes: PriceHistory, question: Question) -> Forecast:
        """Charge the share; value at risk and expected shortfall are both the charge."""
        gross = np.abs(question.exposures).sum(axis=1)
        scale = self.share * np.sqrt(np.array(question.horizons, float))
        return _charge(gross[:, None] * scale[None, :], question)


@dataclass(frozen=True)
class HistoricalSimulation(_NothingToFit):
    """The returns of the last bars, all equally probable; longer horizons overlap.

    Attributes
    ----------
    bars : int
        How many of the last bars are taken; a backtest refuses a window that has fewer.
    """

    bars: int = 500

    def forecast(self, fitted: None, closes: PriceHistory, question: Question) -> Forecast:
        """Take each past return as one scenario."""
        kept = max(2, self.bars + 1 - max(question.horizons))
        columns = [returns_of(closes, h)[-kept:].T for h in question.horizons]
        least = min(each.shape[1] for each in columns)
        return forecast_of_returns(np.stack([each[:, -least:] for each in columns]), question)


@dataclass(frozen=True)
class EwmaNormal(_NothingToFit):
    """Normal returns, independent from bar to bar, of an exponentially weighted covariance.

    Attributes
    ----------
    decay : float
        Weight of a bar over that of the next one; RiskMetrics (1996) takes 0.94.

    Notes
    -----
    Value at risk and expected shortfall are exact. The probability of what happened is a rank among
    1,000 draws, so that it is never below 1/2002, however large the loss was.
    """

    decay: float = 0.94

    def forecast(self, fitted: None, closes: PriceHistory, question: Question) -> Forecast:
        """Value at risk and expected shortfall of a normal, in closed form."""
        covariance = ewma_covariance(returns_of(closes), self.decay)
        spread = np.einsum("pa,ab,pb->p", question.exposures, covariance, question.exposures)
        deviation = np.sqrt(np.maximum(spread, 0.0))[:, None]
        deviation = deviation * np.sqrt(np.array(question.horizons, float))
        quantiles = stats.norm.ppf(question.levels)
        shortfalls = stats.norm.pdf(quantiles) / (1.0 - np.array(question.levels))
        draws = np.random.default_rng(question.seed).standard_normal(NULL_DRAWS)
        return Forecast(
            deviation[..., None] * quantiles,
            deviation[..., None] * shortfalls,
            deviation[..., None] * draws,
        )


@dataclass(frozen=True)
class FilteredHistorical(_NothingToFit):
    """The last bars' returns over the volatility of their time, times today's.

    Volatility is exponentially weighted (Hull and White 1998; Barone-Adesi, Giannopoulos and
    Vosper 1999). Whole dates are drawn, so that assets move together as they did.

    Attributes
    ----------
    decay : float
    """

    decay: float = 0.94

    def forecast(self, fitted: None, closes: PriceHistory, question: Question) -> Forecast:
        """Draw dates, and let volatility follow what was drawn from bar to bar."""
        returns = returns_of(closes)
        variance = np.empty((len(returns) + 1, returns.shape[1]))
        variance[0] = np.maximum((returns[:50] ** 2).mean(axis=0), 1e-300)
        for at, bar in enumerate(returns):
            variance[at + 1] = self.decay * variance[at] + (1.0 - self.decay) * bar**2
        residuals = returns / np.sqrt(variance[:-1])
        dates = np.random.default_rng(question.seed).integers(
            len(residuals), size=(max(question.horizons), question.paths)
        )
        now = np.repeat(variance[-1][:, None], question.paths, axis=1)
        grown, found = np.ones_like(now), {}
        for step, drawn in enumerate(dates, start=1):
            moves = np.maximum(residuals[drawn].T * np.sqrt(now), -1.0)
            grown = grown * (1.0 + moves)
            now = self.decay * now + (1.0 - self.decay) * moves**2
            found[step] = grown - 1.0
        return forecast_of_returns(np.stack([found[h] for h in question.horizons]), question)


@dataclass(frozen=True)
class LogGarchCopula:
    """GARCH(1,1) with t innovations on log returns, asset by asset, under a t copula.

    It is what a user builds from `arch` and `scipy` in an afternoon. The copula's correlation is
    that of Kendall's tau, and its degrees of freedom are fixed.

    Attributes
    ----------
    degrees_of_freedom : float
        Of the copula.
    """

    degrees_of_freedom: float = 6.0

    def fit(self, closes: PriceHistory, before: Any) -> dict[str, NDArray[np.float64]]:
        """Fit each asset with arch, and the correlation of their residuals."""
        from arch.univariate import GARCH, StudentsT, ZeroMean

        logs = 100.0 * np.diff(np.log(closes.prices), axis=0)
        fits, residuals = [], []
        for at, name in enumerate(closes.assets):
            model = ZeroMean(logs[:, at], volatility=GARCH(1, 0, 1), distribution=StudentsT())
            start = None if before is None else before["parameters"][at]
            found = model.fit(disp="off", show_warning=False, starting_values=start)
            if not np.isfinite(found.params).all():
                raise DataError(f"arch gives no finite GARCH parameters of {name!r}")
            fits.append(found.params.to_numpy(float))
            residuals.append(found.resid / found.conditional_volatility)
        pairs = np.eye(len(fits))
        for one in range(len(fits)):
            for other in range(one):
                tau = stats.kendalltau(residuals[one], residuals[other]).statistic
                pairs[one, other] = pairs[other, one] = np.sin(0.5 * np.pi * tau)
        values, vectors = np.linalg.eigh(pairs)
        factor = vectors * np.sqrt(np.maximum(values, 1e-8))
        factor /= np.sqrt((factor**2).sum(axis=1))[:, None]
        return {"parameters": np.array(fits), "factor": factor}

    def forecast(
        self, fitted: dict[str, NDArray[np.float64]], closes: PriceHistory, question: Question
    ) -> Forecast:
        """Filter all closes forward, and simulate from the last one."""
        omega, alpha, beta, nu = fitted["parameters"].T
        logs = 100.0 * np.diff(np.log(closes.prices), axis=0)
        variance = (logs**2).mean(axis=0)
        for bar in logs:
            variance = omega + alpha * bar**2 + beta * variance
        random, paths = np.random.default_rng(question.seed), question.paths
        now = np.repeat(variance[:, None], paths, axis=1)
        total, found = np.zeros_like(now), {}
        freedom = self.degrees_of_freedom
        for step in range(1, max(question.horizons) + 1):
            normals = fitted["factor"] @ random.standard_normal((len(variance), paths))
            mixing = np.sqrt(freedom / random.chisquare(freedom, paths))
            uniform = np.clip(stats.t.cdf(normals * mixing, freedom), 1e-12, 1.0 - 1e-12)
            standard = stats.t.ppf(uniform, nu[:, None]) * np.sqrt((nu - 2.0) / nu)[:, None]
            moves = standard * np.sqrt(now)
            total = total + moves
            now = omega[:, None] + alpha[:, None] * moves**2 + beta[:, None] * now
            found[step] = np.expm1(total / 100.0)
        return forecast_of_returns(np.stack([found[h] for h in question.horizons]), question)


@dataclass(frozen=True)
class PriceScan(_NothingToFit):
    """The worst move of each asset alone, without offsets: a price grid as exchanges publish.

    The move of an asset is the level's quantile of its absolute returns over the horizon in the
    last bars. Value at risk and expected shortfall are both the charge.

    Attributes
    ----------
    bars : int
        A backtest refuses a window that has fewer.
    """

    bars: int = 250

    def forecast(self, fitted: None, closes: PriceHistory, question: Question) -> Forecast:
        """Charge each asset's exposure times its move."""
        held, levels = np.abs(question.exposures), question.levels
        moves = [
            np.quantile(np.abs(returns_of(closes, h)[-self.bars :]), levels, axis=0)
            for h in question.horizons
        ]
        charge = np.stack([held @ each.T for each in moves], axis=1)
        return _charge(charge, question)


def _charge(amounts: NDArray[np.float64], question: Question) -> Forecast:
    """A forecast that is one amount for all, by portfolio and horizon, or by level as well."""
    shape = (len(question.exposures), len(question.horizons), len(question.levels))
    each = amounts if amounts.ndim == 3 else amounts[..., None]
    charge = np.broadcast_to(each, shape).copy()
    return Forecast(charge, charge, np.zeros((*shape[:2], 0)))

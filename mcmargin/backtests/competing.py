"""What a model must do to take part in a backtest, and what a forecast is.

In: closes up to a date, and portfolios. Out: a `Forecast` of their profit and loss. `ModelSpec` is
this package's own model; `mcmargin.backtests.peers` has those that a user would otherwise run; any
other object with the two methods of `Competitor` takes part as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mcmargin.data.prices import PriceHistory
from mcmargin.engines.choice import ENGINES
from mcmargin.errors import CalibrationError, EngineError, PolicyError
from mcmargin.models.calibration import calibrate
from mcmargin.models.dependence import check_pair
from mcmargin.models.model import MarketModel
from mcmargin.models.volatility import KINDS
from mcmargin.numerics.arrays import to_host
from mcmargin.numerics.tail import tail_weights
from mcmargin.scenarios.simulation import simulate


@dataclass(frozen=True)
class Question:
    """What is asked of a model on one date.

    Attributes
    ----------
    exposures : ndarray of shape (portfolios, assets), float64
        Amount that each portfolio holds of each asset; negative is short.
    horizons : tuple of int
        Bars ahead.
    levels : tuple of float
        Confidence levels.
    paths : int
        Scenarios to simulate, for a model that simulates.
    seed : int
        Of this date. A model that draws anything draws it from this seed alone.
    """

    exposures: NDArray[np.float64]
    horizons: tuple[int, ...]
    levels: tuple[float, ...]
    paths: int
    seed: int


@dataclass(frozen=True, eq=False)
class Forecast:
    """What a model says of portfolios on one date.

    A backtest stops, and names the model, the date and the portfolio, where a figure is not finite,
    or where an expected shortfall is not above 0 or is below value at risk by more than rounding.

    Attributes
    ----------
    value_at_risk, expected_shortfall : ndarray of shape (portfolios, horizons, levels), float64
        Losses are positive.
    gains : ndarray of shape (portfolios, horizons, scenarios), float64
        Profit and loss that the model drew, all equally probable; no scenario where the model gives
        no distribution, and is then left out of the tests that need one.
    margin : ndarray of shape (portfolios, horizons, levels), float64, optional
        What would be charged; expected shortfall where it is not given.
    """

    value_at_risk: NDArray[np.float64]
    expected_shortfall: NDArray[np.float64]
    gains: NDArray[np.float64]
    margin: NDArray[np.float64] | None = None


class Competitor(Protocol):
    """A model that takes part in a backtest.

    Both methods get the closes from the beginning of the window to the date of the forecast, and
    nothing later. They keep no state: what `fit` returns is all that a later call is given.
    """

    def fit(self, closes: PriceHistory, before: Any) -> Any:
        """Fit to a window of closes.

        Parameters
        ----------
        closes : PriceHistory
            Of dates on which every asset has a close.
        before : object
            What the fit of the window before this one returned, to start from; None for none. The
            walk begins anew from None now and then, so that pieces of it do not wait for another.
        """

    def forecast(self, fitted: Any, closes: PriceHistory, question: Question) -> Forecast:
        """Forecast profit and loss from the last of these closes on.

        Parameters
        ----------
        fitted : object
            What `fit` returned, on a window that ends at one of these closes.
        closes : PriceHistory
            From the beginning of that window to the date of the forecast.
        question : Question
        """


def forecast_of_returns(returns: NDArray[Any], question: Question) -> Forecast:
    """Forecast of portfolios from equally probable returns of assets.

    Parameters
    ----------
    returns : ndarray of shape (horizons, assets, scenarios)
        Simple returns over each horizon, as fractions.
    question : Question

    Examples
    --------
    >>> asked = Question(np.array([[100.0]]), (1,), (0.9,), 10, 7)
    >>> found = forecast_of_returns(np.arange(-5, 15).reshape(1, 1, 20) / 100.0, asked)
    >>> found.value_at_risk.tolist(), found.expected_shortfall.tolist()
    ([[[4.0]]], [[[4.5]]])
    """
    gains = np.stack([question.exposures @ each.astype(np.float64) for each in returns], axis=1)
    scenarios = gains.shape[2]
    weights = [tail_weights(scenarios, level) for level in question.levels]
    # The losses of the longest tail hold those of all others.
    longest = max(map(len, weights))
    worst = -np.sort(np.partition(gains, longest - 1, axis=2)[..., :longest], axis=2)
    var = np.stack([worst[..., len(each) - 1] for each in weights], axis=2)
    shortfall = np.stack([worst[..., : len(each)] @ each for each in weights], axis=2)
    # A mean of equal losses may be below them in its last digit.
    return Forecast(var, np.maximum(shortfall, var), gains)


@dataclass(frozen=True)
class ModelSpec:
    """The model of this package: what `calibrate` fits and `simulate` draws.

    Attributes
    ----------
    volatility, innovations, dependence : str
        As `calibrate` takes them.
    precision : str
        `single` or `double`, as `simulate` takes it.
    engine : str
        `auto`, `numpy` or `cupy`.
    options : mapping of str to object
        Other arguments of `calibrate`, such as `correlation_half_life`.

    Raises
    ------
    CalibrationError
        For volatility, innovations or dependence that are unknown or do not go together.
    PolicyError, EngineError
        For an unknown precision or engine, and for options that have a place of their own.

    Examples
    --------
    >>> ModelSpec("garch", "t")
    ModelSpec(volatility='garch', innovations='t', dependence='t', precision='single', ...)
    """

    volatility: str = "gjr"
    innovations: str = "skewt"
    dependence: str = "t"
    precision: str = "single"
    engine: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no fit or simulation takes, and options that have a place of their own."""
        if not isinstance(self.volatility, str) or self.volatility not in KINDS:
            raise CalibrationError(
                f"volatility {self.volatility!r} is unknown; choose one of {tuple(KINDS)}"
            )
        check_pair(self.innovations, self.dependence)
        if self.precision not in ("single", "double"):
            raise PolicyError(f"precision must be 'single' or 'double', not {self.precision!r}")
        if self.engine not in ENGINES:
            raise EngineError(f"engine {self.engine!r} is unknown; choose one of {ENGINES}")
        taken = {"volatility", "innovations", "dependence", "warm_start", "jobs", "progress"}
        for name in sorted(taken & set(self.options)):
            raise PolicyError(f"ModelSpec: options must not have {name!r}; the backtest sets it")

    def fit(self, closes: PriceHistory, before: MarketModel | None) -> MarketModel:
        """Calibrate, from the parameters of the last fit on."""
        return self.calibrated(closes, before=before, jobs=1)

    def calibrated(
        self, closes: PriceHistory, *, before: MarketModel | None = None, jobs: int | None = None
    ) -> MarketModel:
        """Calibrate as the specification says.

        Parameters
        ----------
        closes : PriceHistory
        before : MarketModel, optional
            An earlier model, whose parameters the fits start from.
        jobs : int, optional
            Fits at a time; see `calibrate`.
        """
        return calibrate(
            closes,
            volatility=self.volatility,
            innovations=self.innovations,
            dependence=self.dependence,
            warm_start=before,
            jobs=jobs,
            **self.options,
        )

    def forecast(self, fitted: MarketModel, closes: PriceHistory, question: Question) -> Forecast:
        """Filter forward to the last close, and simulate from there."""
        model = fitted.update(closes, now=closes.times[-1])
        scenarios = simulate(
            model,
            horizons=question.horizons,
            paths=question.paths,
            seed=question.seed,
            engine=self.engine,
            precision=self.precision,
            threads=1,
        )
        return forecast_of_returns(to_host(scenarios.returns), question)

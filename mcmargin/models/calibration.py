"""calibrate(): from a price history to a MarketModel, with one fit by arch for each asset.

In: prices, and the volatility, innovations and dependence to fit. Out: a `MarketModel` whose facts
say for each asset what was fitted, and which fits were refused before.
"""

from __future__ import annotations

import platform
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.audit import fingerprint, package_version
from mcmargin.checks import require_type, whole_number
from mcmargin.data.bar_patterns import weekdays_of
from mcmargin.data.bars import BarCalendar
from mcmargin.data.plausibility import Plausibility
from mcmargin.data.prices import PriceHistory
from mcmargin.data.returns import ReturnHistory, joint_returns, own_returns
from mcmargin.errors import CalibrationError
from mcmargin.models.arch_fits import AssetFit
from mcmargin.models.calibration_checks import (
    check_closes,
    check_correlation,
    check_halts,
    check_lengths,
    joint_calendar,
)
from mcmargin.models.dependence import Dependence, check_pair, fit_dependence
from mcmargin.models.fitting import FitTask, fit_task, start_values
from mcmargin.models.halts import halted_bars, stretched
from mcmargin.models.history import History
from mcmargin.models.marginals import marginal_tables
from mcmargin.models.model import MarketModel
from mcmargin.models.model_values import FilterState
from mcmargin.models.possible import require_possible
from mcmargin.models.refiltering import refilter
from mcmargin.models.volatility import KINDS, volatility_of
from mcmargin.progress import Progress
from mcmargin.workers import default_jobs, map_where_it_pays, one_blas_thread


@one_blas_thread()
def calibrate(
    prices: PriceHistory,
    *,
    volatility: str = "gjr",
    innovations: str = "skewt",
    dependence: str = "t",
    own_history: bool = False,
    factors: int | None = None,
    correlation_lookback: int | None = None,
    correlation_half_life: float | None = None,
    warm_start: MarketModel | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
    plausibility: Plausibility | None = None,
) -> MarketModel:
    """Fit a market model to daily (or any other regular) closes.

    Parameters
    ----------
    prices : PriceHistory
    volatility : str
        `garch`, `gjr`, `egarch`, `ewma` (decay 0.94) or `constant`; zero mean.
    innovations : str
        `normal`, `t`, `skewt`, `ged` or `empirical`.
    dependence : str
        `gaussian`, `t` or `historical` (with `empirical` innovations only).
    own_history : bool
        Fit each asset on all of its own closes, and not on the common dates alone. If its own bars
        are shorter than the joint ones (a coin that trades at weekends beside a share), the fitted
        variance and its persistence are carried to the joint bars (`refilter`), and the facts say
        by how much.
    factors : int, optional
        Number of common factors that replace a full correlation matrix, for many assets.
    correlation_lookback : int, optional
        Number of newest common bars on which the dependence is fitted; all by default. With
        `historical` dependence `MarketModel.update` keeps as many dates and drops the oldest.
    correlation_half_life : float, optional
        Number of bars in which a date loses half its weight in the correlation. The correlation is
        then that of normal scores, so that a single bar cannot change it much (`fit_dependence`).
        With a half-life `MarketModel.update` also moves the correlation, to the one that a
        calibration at that bar would find with the model's degrees of freedom. Without a half-life
        the correlation stays.
    warm_start : MarketModel, optional
        An earlier model. Its parameters start the optimiser if asset and kinds agree. A fit of
        EGARCH, whose likelihood has several optima, does not use them.
    jobs : int, optional
        Largest number of fits at one time. By default it is the number of cores, or 1 in a process
        that `multiprocessing` started, such as a worker of a backtest's pool. Processes are started
        only if they save time, and end with the call. The model is the same to the last bit for any
        number of processes and of BLAS threads.
    progress : callable, optional
        Called with the number of fits that are done and of all fits.
    plausibility : Plausibility, optional
        Limits within which prices are taken without a remark. The model keeps them. If the price of
        an asset that used to move stands still for `still_bars`, the asset is halted: the fit
        leaves these bars out, and the variance stays where the last move left it.

    Returns
    -------
    MarketModel
        Its `fit_report` tells what is doubtful in the prices: halts, moves that may be splits or
        misplaced digits, and gaps.

    Raises
    ------
    DataError
        If `prices` is not a `PriceHistory`, there is no return on common dates, a price changes by
        more than 1,000 times in a bar, or a row lies within a running bar.
    CalibrationError
        If a combination is unknown or not allowed, or a history is too short; it names the asset.
    PolicyError
        If jobs, factors or lookback is not a whole number, or a half-life is not above 0.

    Examples
    --------
    >>> from mcmargin.demo import demo_prices
    >>> prices = PriceHistory.from_frame(demo_prices().to_frame().loc["2017":])
    >>> quick = {"volatility": "ewma", "innovations": "normal", "dependence": "gaussian"}
    >>> model = calibrate(prices, jobs=1, **quick)
    >>> print(model.fit_report())
    498 common dates from 2017-01-03 to 2018-12-28; 23 of 521 dates lost, ...
    sp500: ewma, normal, persistence 1.0000; largest move -4.1% to 2018-02-05
    nasdaq: ewma, normal, persistence 1.0000; largest move -4.4% to 2018-10-24
    wti: ewma, normal, persistence 1.0000; largest move +7.6% to 2018-06-26
    """
    require_type("prices", prices, PriceHistory)
    if warm_start is not None:
        require_type("warm_start", warm_start, MarketModel)
    if not isinstance(volatility, str) or volatility not in KINDS:
        raise CalibrationError(f"volatility {volatility!r} is unknown; choose one of {(*KINDS,)}")
    require_type("own_history", own_history, bool, np.bool_)
    check_pair(innovations, dependence)
    check_correlation(dependence, factors, correlation_lookback, correlation_half_life)
    workers = default_jobs() if jobs is None else whole_number("jobs", jobs)
    limits = Plausibility() if plausibility is None else plausibility
    require_type("plausibility", limits, Plausibility)
    inputs = _checked(prices, limits, bool(own_history))
    fits = _fitted(_tasks(inputs, volatility, innovations, warm_start), workers, progress)
    ratios, own_bars = np.ones((2, len(fits)))
    if own_history:
        ratios, own_bars = _bar_ratios(inputs)
        fits = _on_joint_bars(fits, inputs, ratios, own_bars)
    residuals, variances = _filtered(fits, inputs.halted)
    # Dates on which an asset is halted do not tell how assets move together.
    together = residuals[~inputs.halted.any(axis=1)]
    window = together[-(correlation_lookback or len(together)) :]
    mean, std = window.mean(axis=0), window.std(axis=0)
    law = fit_dependence(
        (window - mean) / std if dependence == "historical" else window,
        dependence,
        factors=factors,
        half_life=correlation_half_life,
        lookback=correlation_lookback,
    )
    facts = _facts(
        inputs,
        fits,
        bar_variance_ratio=ratios,
        own_bars=own_bars,
        residual_mean=mean,
        residual_std=std,
    )
    return _model(inputs, fits, residuals[-1].copy(), variances, law, facts)


@dataclass(frozen=True, eq=False)
class _Inputs:
    """Prices that a model can be fitted to.

    Attributes
    ----------
    prices : PriceHistory
        The closes.
    limits : Plausibility
    joint : ReturnHistory
        Returns on the dates that are common to all assets.
    calendar : BarCalendar
    halted : ndarray of shape (bars, assets), bool
        Joint bars on which an asset is halted.
    columns : list of ndarray, float64
        Returns of each asset that its fit takes: joint or own ones, without those of its halts.
    """

    prices: PriceHistory
    limits: Plausibility
    joint: ReturnHistory
    calendar: BarCalendar
    halted: NDArray[np.bool_]
    columns: list[NDArray[np.float64]]


def _checked(prices: PriceHistory, limits: Plausibility, own_history: bool) -> _Inputs:
    """Join the prices, and refuse those that are not possible, too few, or not closes."""
    prices = prices.at_closes()
    joint = joint_returns(prices)
    require_possible(joint.times, joint.returns, joint.assets, limits, source=prices.source)
    calendar = joint_calendar(prices, joint)
    columns = _own_columns(prices) if own_history else list(joint.returns.T)
    check_lengths(prices, joint, columns)
    check_closes(prices, joint, calendar, limits)
    halted = halted_bars(joint.returns, limits.still_bars)
    columns = [_moving(column, limits) for column in columns]
    check_halts(joint, halted, columns)
    return _Inputs(prices, limits, joint, calendar, halted, columns)


def _own_columns(prices: PriceHistory) -> list[NDArray[np.float64]]:
    return [own_returns(prices, asset).returns[:, 0] for asset in prices.assets]


def _moving(column: NDArray[np.float64], limits: Plausibility) -> NDArray[np.float64]:
    """Returns of an asset without those of its halts."""
    return np.asarray(column[~halted_bars(column[:, None], limits.still_bars)[:, 0]])


def _tasks(
    inputs: _Inputs, volatility: str, innovations: str, warm_start: MarketModel | None
) -> list[FitTask]:
    return [
        FitTask(
            # BLAS adds the numbers of a strided column in another order, and another process gets
            # a column in one piece.
            np.ascontiguousarray(column),
            volatility,
            innovations,
            asset,
            start_values(warm_start, asset, volatility, innovations),
        )
        for asset, column in zip(inputs.joint.assets, inputs.columns, strict=True)
    ]


def _fitted(tasks: list[FitTask], workers: int, progress: Progress | None) -> list[AssetFit]:
    """Fit all assets, in several processes if that saves time."""
    fits: list[AssetFit] = []
    with closing(map_where_it_pays(fit_task, tasks, workers)) as results:
        for fit in results:
            fits.append(fit)
            if progress is not None:
                progress(len(fits), len(tasks))
    return fits


def _bar_ratios(inputs: _Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ratio of the variance of a joint bar to that of an own bar, and own bars in a joint bar.

    Both are taken over the joint dates.

    Returns
    -------
    ratios, bars : ndarray of shape (assets,), float64
    """
    joint, halted = inputs.joint, inputs.halted
    ratios, bars = np.empty((2, len(joint.assets)))
    for at, asset in enumerate(joint.assets):
        own = own_returns(inputs.prices, asset)
        inside = (own.times >= joint.times[0]) & (own.times <= joint.times[-1])
        moving = inside & ~halted_bars(own.returns, inputs.limits.still_bars)[:, 0]
        ratios[at] = joint.returns[~halted[:, at], at].var() / own.returns[moving, 0].var()
        # The first joint bar may have begun before the own bars do, so that counts begin at its
        # end.
        bars[at] = (inside.sum() - 1) / (len(joint.times) - 1)
    return ratios, bars


def _on_joint_bars(
    fits: list[AssetFit],
    inputs: _Inputs,
    ratios: NDArray[np.float64],
    own_bars: NDArray[np.float64],
) -> list[AssetFit]:
    """Carry fits of own bars to the joint bars; see `refilter`."""
    return [
        refilter(
            fit,
            inputs.joint.returns[~inputs.halted[:, at], at],
            ratio=float(ratios[at]),
            bars=float(own_bars[at]),
            asset=inputs.joint.assets[at],
        )
        for at, fit in enumerate(fits)
    ]


def _filtered(
    fits: list[AssetFit], halted: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Residuals, 0 during halts, and variances, held during halts; both float64 [bars, assets]."""
    residuals, variances = np.zeros(halted.shape), np.empty(halted.shape)
    for at, fit in enumerate(fits):
        residuals[~halted[:, at], at] = fit.residuals
        variances[:, at] = stretched(fit.variances, fit.next_variance, halted[:, at])
    return residuals, variances


def _facts(
    inputs: _Inputs, fits: list[AssetFit], **by_asset: NDArray[np.float64]
) -> dict[str, Any]:
    """What the model tells of its data, of each asset's fit, and of limits that were widened."""
    prices, joint = inputs.prices, inputs.joint
    facts = {
        "join": joint.report.summary(),
        "data_fingerprint": fingerprint(prices.assets, prices.times.astype(str), prices.prices),
        "versions": {name: package_version(name) for name in ("arch", "numpy", "scipy", "mcmargin")}
        | {"python": platform.python_version()},
        "fits": {
            asset: {
                "volatility": fit.volatility,
                "innovations": fit.innovations.kind,
                "persistence": fit.persistence,
                "refused": list(fit.refused),
                "largest_move": _largest_move(joint, at),
                "weekdays": list(
                    weekdays_of(own_returns(prices, asset).times, inputs.calendar.zone)
                ),
            }
            | {name: float(values[at]) for name, values in by_asset.items()}
            for at, (asset, fit) in enumerate(zip(joint.assets, fits, strict=True))
        },
    }
    if widened := inputs.limits.widened():
        facts["plausibility"] = widened
    return facts


def _largest_move(joint: ReturnHistory, at: int) -> dict[str, Any]:
    """An asset's largest return, which may be a misplaced digit."""
    row = int(np.argmax(np.abs(joint.returns[:, at])))
    return {"return": float(joint.returns[row, at]), "at": str(joint.times[row])}


def _model(
    inputs: _Inputs,
    fits: list[AssetFit],
    last_residuals: NDArray[np.float64],
    variances: NDArray[np.float64],
    law: Dependence,
    facts: dict[str, Any],
) -> MarketModel:
    """Assemble the model, whose state is that after the last joint bar."""
    joint, marginals = inputs.joint, tuple(fit.innovations for fit in fits)
    state = FilterState(
        as_of=joint.times[-1],
        prices=joint.last_prices,
        variance=np.array([fit.next_variance for fit in fits]),
        residuals=last_residuals,
    )
    return MarketModel(
        assets=joint.assets,
        volatility=volatility_of(
            tuple(fit.volatility for fit in fits),
            np.array([fit.parameters for fit in fits]),
            _sample_variance(joint, inputs.halted),
        ),
        innovations=marginals,
        dependence=law,
        committed=state,
        state=state,
        tables=marginal_tables(marginals, law.kind, law.nu),
        calendar=inputs.calendar,
        history=History(joint.times, joint.returns, variances),
        facts=facts,
    )


def _sample_variance(joint: ReturnHistory, halted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Variance of each asset's returns without those of its halts; float64 [assets]."""
    variance = joint.returns.var(axis=0)
    for at in np.flatnonzero(halted.any(axis=0)).tolist():
        variance[at] = joint.returns[~halted[:, at], at].var()
    return np.asarray(variance)

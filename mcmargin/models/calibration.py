"""calibrate(): from a price history to a MarketModel, one arch fit an asset, in parallel.

In: prices, and which volatility, innovations and dependence to fit. Out: a `MarketModel` whose
facts say, asset by asset, what was fitted and what was refused on the way.
"""

from __future__ import annotations

import platform
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.audit import fingerprint, package_version
from mcmargin.checks import few, real_number, require_type, whole_number
from mcmargin.data.bar_patterns import calendar_of, refuse_local_times, weekdays_of
from mcmargin.data.bars import DAY, BarCalendar
from mcmargin.data.plausibility import Plausibility
from mcmargin.data.prices import PriceHistory, ReturnHistory, joint_returns, own_returns
from mcmargin.errors import CalibrationError, DataError, PolicyError
from mcmargin.models.arch_fits import AssetFit
from mcmargin.models.closing_times import require_closes
from mcmargin.models.dependence import check_pair, fit_dependence
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

MINIMUM_RETURNS = 100


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
        Fit each asset on all of its own closes instead of the common dates alone. Where its
        own bars are shorter than the joint ones (a coin that trades at weekends beside a
        share), the fitted variance and its persistence are carried to the joint bars
        (`refilter`), and the facts say by how much.
    factors : int, optional
        Common factors in place of a full correlation matrix, for many assets.
    correlation_lookback : int, optional
        Newest common bars that the dependence is fitted on; all by default. With `historical`
        dependence `MarketModel.update` keeps as many dates, and lets the oldest go.
    correlation_half_life : float, optional
        Bars in which a date loses half its weight in the correlation, which is then that of
        normal scores, so that no single bar turns it about (`fit_dependence`). With it
        `MarketModel.update` moves the correlation too, to what a calibration at that bar would
        find with the model's degrees of freedom; without, the correlation stays.
    warm_start : MarketModel, optional
        An earlier model: its parameters start the optimiser where asset and kinds agree. EGARCH,
        whose likelihood has several peaks, starts anew.
    jobs : int, optional
        Fits at a time, at most; one a core by default, and a single one in a process that
        `multiprocessing` started, such as a worker of a backtest's pool. Processes are started
        only where they save time, and end with the call. The model is the same to the last bit
        for any number of them, and of BLAS threads.
    progress : callable, optional
        Called with fits done and in all.
    plausibility : Plausibility, optional
        Limits of what is taken without a word, which the model keeps. A price that stands still
        for `still_bars`, of an asset that used to move, is halted: the fit leaves these bars out,
        and the variance stays where the last move left it.

    Returns
    -------
    MarketModel
        Its `fit_report` tells what is doubtful in the prices: halts, moves that may be splits or
        misplaced digits, gaps.

    Raises
    ------
    DataError
        If the prices are no `PriceHistory`, have no return on common dates, change by more than
        1,000 times in a bar, or have a row that lies within a running bar.
    CalibrationError
        For an unknown or illegal combination, or a history too short, naming the asset.
    PolicyError
        If jobs, factors or lookback is not a whole number, or a half-life not above 0.

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
    _check_correlation(dependence, factors, correlation_lookback, correlation_half_life)
    workers = default_jobs() if jobs is None else whole_number("jobs", jobs)
    limits = Plausibility() if plausibility is None else plausibility
    require_type("plausibility", limits, Plausibility)
    prices = prices.at_closes()
    joint = joint_returns(prices)
    require_possible(joint.times, joint.returns, joint.assets, limits, source=prices.source)
    calendar = _calendar(prices, joint)
    columns = _own_columns(prices) if own_history else list(joint.returns.T)
    _check_lengths(prices, joint, columns)
    _check_closes(prices, joint, calendar, limits)
    halted = halted_bars(joint.returns, limits.still_bars)
    columns = [_moving(column, limits) for column in columns]
    _check_halts(joint, halted, columns)
    tasks = [
        FitTask(
            # In one piece, as a process gets it: BLAS adds strided numbers in another order.
            np.ascontiguousarray(column),
            volatility,
            innovations,
            asset,
            start_values(warm_start, asset, volatility, innovations),
        )
        for asset, column in zip(joint.assets, columns, strict=True)
    ]
    fits: list[AssetFit] = []
    with closing(map_where_it_pays(fit_task, tasks, workers)) as results:
        for fit in results:
            fits.append(fit)
            if progress is not None:
                progress(len(fits), len(joint.assets))
    ratios, own_bars = np.ones((2, len(fits)))
    if own_history:
        ratios, own_bars = _bar_ratios(prices, joint, halted, limits)
        fits = [
            refilter(
                fit,
                joint.returns[~halted[:, at], at],
                ratio=float(ratios[at]),
                bars=float(own_bars[at]),
                asset=joint.assets[at],
            )
            for at, fit in enumerate(fits)
        ]
    residuals = np.zeros_like(joint.returns)
    variances = np.empty_like(joint.returns)
    for at, fit in enumerate(fits):
        residuals[~halted[:, at], at] = fit.residuals
        variances[:, at] = stretched(fit.variances, fit.next_variance, halted[:, at])
    state = FilterState(
        as_of=joint.times[-1],
        prices=joint.last_prices,
        variance=np.array([fit.next_variance for fit in fits]),
        residuals=residuals[-1].copy(),
    )
    # Dates on which an asset is halted say nothing of how assets move together.
    together = residuals[~halted.any(axis=1)]
    window = together[-(correlation_lookback or len(together)) :]
    mean, std = window.mean(axis=0), window.std(axis=0)
    if dependence == "historical":
        window = (window - mean) / std
    law = fit_dependence(
        window,
        dependence,
        factors=factors,
        half_life=correlation_half_life,
        lookback=correlation_lookback,
    )
    marginals = tuple(fit.innovations for fit in fits)
    return MarketModel(
        assets=joint.assets,
        volatility=volatility_of(
            tuple(fit.volatility for fit in fits),
            np.array([fit.parameters for fit in fits]),
            _sample_variance(joint, halted),
        ),
        innovations=marginals,
        dependence=law,
        committed=state,
        state=state,
        tables=marginal_tables(marginals, law.kind, law.nu),
        calendar=calendar,
        history=History(joint.times, joint.returns, variances),
        facts=_facts(
            prices,
            joint,
            fits,
            calendar,
            bar_variance_ratio=ratios,
            own_bars=own_bars,
            residual_mean=mean,
            residual_std=std,
        )
        | ({"plausibility": limits.widened()} if limits.widened() else {}),
    )


def _calendar(prices: PriceHistory, joint: ReturnHistory) -> BarCalendar:
    """Calendar of the joint bars, by what the prices say of it and by the bars themselves."""
    try:
        if prices.zone:
            refuse_local_times(joint.times, prices.zone)
        return calendar_of(
            joint.times,
            zone=prices.zone,
            shown_zone=prices.shown_zone,
            exchange=prices.calendar,
            stamps=prices.stamps,
        )
    except DataError as error:
        raise DataError(f"{prices.source}: {error}") from None


def _check_correlation(
    dependence: str, factors: int | None, lookback: int | None, half_life: float | None
) -> None:
    if factors is not None:
        whole_number("factors", factors)
    if lookback is not None:
        whole_number("correlation_lookback", lookback, least=MINIMUM_RETURNS)
    if half_life is None:
        return
    if not 0.0 < real_number("correlation_half_life", half_life) < np.inf:
        raise PolicyError(f"correlation_half_life must be above 0 bars, not {half_life}")
    if factors is not None or dependence == "historical":
        raise CalibrationError(
            "correlation_half_life moves a full correlation matrix; leave it out with "
            f"{'factors' if factors is not None else 'historical dependence'}"
        )


def _own_columns(prices: PriceHistory) -> list[NDArray[np.float64]]:
    return [own_returns(prices, asset).returns[:, 0] for asset in prices.assets]


def _moving(column: NDArray[np.float64], limits: Plausibility) -> NDArray[np.float64]:
    """Returns of an asset but those of its halts."""
    return np.asarray(column[~halted_bars(column[:, None], limits.still_bars)[:, 0]])


def _sample_variance(joint: ReturnHistory, halted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Variance of each asset's returns but those of its halts; float64 [assets]."""
    variance = joint.returns.var(axis=0)
    for at in np.flatnonzero(halted.any(axis=0)).tolist():
        variance[at] = joint.returns[~halted[:, at], at].var()
    return np.asarray(variance)


def _check_closes(
    prices: PriceHistory, joint: ReturnHistory, calendar: BarCalendar, limits: Plausibility
) -> None:
    """Refuse rows that are no closes: bars that are too short, and a last one at an odd hour."""
    days = float(np.median(np.diff(joint.times)) / DAY)
    way = (
        "Leave the row out, and give the price to the model as provisional (update, "
        "provisional=True); or, if it is a close, widen the limit: --allow close_hours=24, or in "
        "Python plausibility=mm.Plausibility(close_hours=24)."
    )
    # Of old bars only the length: a last one at an odd hour is a tick, an old one a short day.
    any_hour = replace(limits, close_hours=24.0)
    times, source = joint.times, prices.source
    require_closes(times[:1], times[1:], days, any_hour, source=source, way=way)
    last = calendar.unscheduled(times[-1:])
    require_closes(times[:-1], last, days, limits, source=source, way=way)


def _check_halts(
    joint: ReturnHistory, halted: NDArray[np.bool_], columns: list[NDArray[np.float64]]
) -> None:
    """Refuse histories that have too few bars left without their halts."""
    for at, (asset, column) in enumerate(zip(joint.assets, columns, strict=True)):
        moving = min(len(column), int((~halted[:, at]).sum()))
        if halted[:, at].any() and moving < MINIMUM_RETURNS:
            raise CalibrationError(
                f"{asset}: its price stands still on {int(halted[:, at].sum())} of "
                f"{len(halted)} bars, as that of a halted asset, and on the others a fit has "
                f"{moving} returns of the {MINIMUM_RETURNS} that it needs; leave it out, give a "
                "longer history, or widen the limit still_bars (--allow still_bars=NUMBER, or "
                "in Python plausibility=)"
            )
    together = int((~halted.any(axis=1)).sum())
    if halted.any() and together < MINIMUM_RETURNS:
        names = few(joint.assets[at] for at in np.flatnonzero(halted.any(axis=0)).tolist())
        raise CalibrationError(
            f"on {together} bars no asset is halted, and the dependence needs "
            f"{MINIMUM_RETURNS}; prices stand still of {names}: leave some out"
        )


def _bar_ratios(
    prices: PriceHistory, joint: ReturnHistory, halted: NDArray[np.bool_], limits: Plausibility
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance of a joint bar over that of an own bar, and own bars in a joint one; [assets].

    Both over the joint dates.
    """
    ratios, bars = np.empty((2, len(joint.assets)))
    for at, asset in enumerate(joint.assets):
        own = own_returns(prices, asset)
        inside = (own.times >= joint.times[0]) & (own.times <= joint.times[-1])
        moving = inside & ~halted_bars(own.returns, limits.still_bars)[:, 0]
        ratios[at] = joint.returns[~halted[:, at], at].var() / own.returns[moving, 0].var()
        # The first joint bar may have begun before; from its end on, both are counted whole.
        bars[at] = (inside.sum() - 1) / (len(joint.times) - 1)
    return ratios, bars


def _check_lengths(
    prices: PriceHistory, joint: ReturnHistory, columns: list[NDArray[np.float64]]
) -> None:
    for asset, column in zip(joint.assets, columns, strict=True):
        if len(column) < MINIMUM_RETURNS and len(column) != len(joint.returns):
            raise CalibrationError(
                f"{asset}: {len(column)} returns of its own, and a fit needs at least "
                f"{MINIMUM_RETURNS}; give a longer history or leave it out"
            )
    for asset, column in zip(joint.assets, joint.returns.T, strict=True):
        if not column.any():
            raise CalibrationError(
                f"{prices.source}: the price of {asset!r} never moves in {len(column) + 1} common "
                "rows; leave it out or give a longer history"
            )
    closes = np.isfinite(prices.prices).sum(axis=0)
    if len(joint.returns) < MINIMUM_RETURNS:
        shortest = int(np.argmin(closes))
        raise CalibrationError(
            f"{joint.assets[shortest]}: {len(joint.returns)} returns on the dates common to "
            f"{', '.join(joint.assets)}, and a fit needs at least {MINIMUM_RETURNS}; it has the "
            f"fewest closes, {closes[shortest]}: give it a longer history or leave it out"
        )


def _facts(
    prices: PriceHistory,
    joint: ReturnHistory,
    fits: list[AssetFit],
    calendar: BarCalendar,
    **by_asset: NDArray[np.float64],
) -> dict[str, Any]:
    return {
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
                "weekdays": list(weekdays_of(own_returns(prices, asset).times, calendar.zone)),
            }
            | {name: float(values[at]) for name, values in by_asset.items()}
            for at, (asset, fit) in enumerate(zip(joint.assets, fits, strict=True))
        },
    }


def _largest_move(joint: ReturnHistory, at: int) -> dict[str, Any]:
    """An asset's largest return: where a misplaced digit shows."""
    row = int(np.argmax(np.abs(joint.returns[:, at])))
    return {"return": float(joint.returns[row, at]), "at": str(joint.times[row])}

"""Sets of the stress scenarios that a policy asks for.

In: the `Stress` part of a policy, a model with its history, today's market and some instruments.
Out: `StressSet`s. A set is a group of scenarios, of which the worst counts:

historical window    every bar of the history within the window happens again, from today on; the
                     time of one bar passes
grid of an exchange  one set for each underlying, which moves alone; and one set for all the
                     underlyings that have a grid of the same exchange, each of which is moved by
                     the point of the same number
gap, depeg           one underlying, or one currency, moves alone

Grids, gaps and depegs are instantaneous. They move what they name and nothing else: the price of
an underlying, the contracts on it that have prices of their own, and its implied volatility.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mcmargin.data.bars import years_between
from mcmargin.data.times import utc_time
from mcmargin.draws.plan import SimulationPlan
from mcmargin.errors import PolicyError
from mcmargin.instruments.instruments import Balance, Future, Instrument, assets_of
from mcmargin.markets.market import Market
from mcmargin.models.model import MarketModel
from mcmargin.policies.stress_parts import Stress, StressWindow
from mcmargin.stresses.stress_grids import StressGrid, stress_grid
from mcmargin.valuing.outlooks import Outlooks, volatility_ratio
from mcmargin.valuing.shocked_market import Moves, ShockedMarket

ALL_OTHERS = "*"
"""The name of a policy's grid for the underlyings that it does not name."""


@dataclass(frozen=True, eq=False)
class StressSet:
    """Scenarios of one kind, of which the worst counts.

    Attributes
    ----------
    name : str
    scenarios : tuple of str
    weights : ndarray of shape (scenarios,), float64
        Share of the loss that counts.
    listed : int
        Number of the worst scenarios that are listed.
    shocked : ShockedMarket
        The market in these scenarios.
    """

    name: str
    scenarios: tuple[str, ...]
    weights: Moves
    listed: int
    shocked: ShockedMarket

    def touches(self, names: frozenset[str]) -> bool:
        """Whether a scenario changes the value of what depends on some assets and currencies."""
        return self.shocked.horizon > 0 or not self.shocked.moved.isdisjoint(names)


def stress_sets(
    part: Stress,
    instruments: Sequence[Instrument],
    market: Market,
    outlooks: Outlooks,
    price_floor: float = SimulationPlan.price_floor,
) -> tuple[StressSet, ...]:
    """All sets of a policy, for a book's instruments.

    Parameters
    ----------
    part : Stress
    instruments : sequence of Instrument
    market : Market
        Of today.
    outlooks : Outlooks
        The model, whose history has the windows, and what it expects of variances.
    price_floor : float
        Share of today's value below which neither a price nor a currency falls, as in a
        simulation.

    Raises
    ------
    PolicyError
        If the history has no bar of a window, if neither the model nor the market has a named
        underlying, or if a depeg is of the market's own currency or of one without a rate.
    """
    _check_names(part, outlooks.model, market)
    least = price_floor - 1.0
    windows = [_window(each, instruments, market, outlooks, least) for each in part.windows]
    gaps = [
        _instantaneous(
            f"gap {gap.underlying} {100 * gap.move:+.4g} %",
            market,
            prices=_with_contracts({gap.underlying: np.array([gap.move])}, instruments),
            least=least,
        )
        for gap in part.gaps
    ]
    depegs = [
        _instantaneous(
            f"depeg {code} {-100 * loss:+.4g} %",
            market,
            currencies={code: np.array([-loss])},
            least=least,
        )
        for code, loss in sorted(part.depegs.items())
    ]
    return (*windows, *_grids(part, instruments, market, least), *gaps, *depegs)


def _check_names(part: Stress, model: MarketModel, market: Market) -> None:
    """Refuse scenarios of underlyings and currencies that nobody knows."""
    if market.currency in part.depegs:
        raise PolicyError(
            f"stress: {market.currency!r} is the market's own currency and has no peg; "
            "remove this depeg"
        )
    named = (
        *(("grid", name) for name in part.grids if name != ALL_OTHERS),
        *(("gap", gap.underlying) for gap in part.gaps),
        *(("depeg", code) for code in part.depegs),
    )
    for what, name in named:
        if name not in {*model.assets, *market.spot, *market.fx}:
            raise PolicyError(f"stress: {what} of {name!r}: neither model nor market has it")


def _window(
    window: StressWindow,
    instruments: Sequence[Instrument],
    market: Market,
    outlooks: Outlooks,
    least: float,
) -> StressSet:
    """Every bar of the history within a window happens again, from today's state on."""
    model, history = outlooks.model, outlooks.model.history
    chosen = model.calendar.in_window(history.times, window.first, window.last)
    if not chosen.any():
        seen = "none"
        if len(history.times):
            seen = " to ".join(str(history.times[at])[:10] for at in (0, -1))
        raise PolicyError(
            f"stress window {window.name!r}: the model's history ({seen}) has no bar from "
            f"{window.first} to {window.last}; calibrate it on a history that has"
        )
    variance = model.state.variance
    returns = history.returns[chosen]
    if window.replay == "filtered":
        returns = history.residuals[chosen] * np.sqrt(variance)
    returns = np.maximum(returns, least)
    after = model.volatility.next_variance(variance, returns)
    prices = dict(zip(model.assets, np.ascontiguousarray(returns.T), strict=True))
    ratios = {
        name: partial(_ratio_after_a_bar, outlooks, market, prices, after[:, at], name)
        for at, name in enumerate(model.assets)
    }
    dates = tuple(str(time)[:19].removesuffix("T00:00:00") for time in history.times[chosen])
    closes = model.closes(1, utc_time(market.as_of))
    time = closes.times[0]
    still = {item.underlying: np.zeros(len(dates)) for item in instruments}
    walks = basis_walks(instruments, still, market.as_of, time)
    return StressSet(
        name=window.name,
        scenarios=dates,
        weights=np.ones(len(dates)),
        listed=min(window.worst, len(dates)),
        shocked=ShockedMarket(market, time, 1, len(dates), prices, {}, ratios, walks, closes),
    )


def _ratio_after_a_bar(
    outlooks: Outlooks,
    market: Market,
    prices: Mapping[str, Moves],
    variance: Moves,
    underlying: str,
    years: float,
) -> Moves:
    """Implied volatility over today's after one bar; 1 if the model's variance is constant."""
    return np.asarray(
        volatility_ratio(
            outlooks,
            market,
            underlying,
            years,
            1,
            # These moves happened, and are no draws whose mean should be 1.
            driver_squares=lambda driver: (1.0 + prices[driver]) ** 2,
            place=lambda outlook: outlook.place(variance),
            constant_ratio=lambda: np.ones(len(variance)),
        )
    )


def _grids(
    part: Stress, instruments: Sequence[Instrument], market: Market, least: float
) -> list[StressSet]:
    """The grid of each underlying alone; then those of each exchange together."""
    # Posted cash is no underlying. Its rate moves where a scenario names it.
    underlyings = sorted(
        {
            item.underlying
            for item in instruments
            if not isinstance(item, Balance) or item.underlying in market.spot
        }
    )
    others = part.grids.get(ALL_OTHERS)
    named = {name: part.grids.get(name, others) for name in underlyings}
    grids = {
        name: stress_grid(grid, part.grid_terms) for name, grid in named.items() if grid is not None
    }
    families: dict[str, dict[str, StressGrid]] = {}
    for name, grid in grids.items():
        families.setdefault(grid.family, {})[name] = grid
    sets = [
        _grid_set(f"{grid.name} {name}", {name: grid}, instruments, market, least)
        for name, grid in grids.items()
    ]
    for family, members in families.items():
        if len(members) > 1:
            sets.append(_grid_set(f"{family} all", members, instruments, market, least))
    return sets


def _grid_set(
    name: str,
    grids: Mapping[str, StressGrid],
    instruments: Sequence[Instrument],
    market: Market,
    least: float,
) -> StressSet:
    """Some underlyings, each of which is moved by the points of its own grid, in their order."""
    columns = {
        underlying: {
            each: np.array([getattr(point, each) for point in grid.points])
            for each in ("price", "volatility", "basis", "weight")
        }
        for underlying, grid in grids.items()
    }
    first = next(iter(grids.values()))
    names = tuple(point.name for point in first.points)
    if len({grid.name for grid in grids.values()}) > 1:
        names = tuple(f"point {at + 1} of each" for at in range(len(names)))
    prices = {underlying: column["price"] for underlying, column in columns.items()}
    basis = {underlying: column["basis"] for underlying, column in columns.items()}
    return _instantaneous(
        name,
        market,
        scenarios=names,
        prices=_with_contracts(prices, instruments),
        volatilities={
            underlying: partial(_scaled, columns[underlying]["volatility"], grid)
            for underlying, grid in grids.items()
        },
        walks=basis_walks(instruments, basis, market.as_of, market.as_of),
        # All grids of an exchange give the points of one number the same weight.
        weights=columns[next(iter(grids))]["weight"],
        least=least,
    )


def basis_walks(
    instruments: Iterable[Instrument],
    moves: Mapping[str, Moves],
    start: np.datetime64,
    time: np.datetime64,
) -> dict[str, Moves]:
    """Walks that move the basis of contracts: the ratio of price to spot by a factor exp(m T).

    T is the time to expiry in years; it is 0 for a perpetual.

    Parameters
    ----------
    instruments : iterable of Instrument
        Walks are made for the perpetuals and futures among them, and for the futures that options
        are on. A contract without a basis volatility has no basis that could move.
    moves : mapping of str to ndarray of shape (scenarios,), float64
        m of each underlying, a year.
    start, time : numpy.datetime64
        Times of the market and of the scenarios.

    Returns
    -------
    dict of str to ndarray of shape (scenarios,), float64
        By the name of the contract.

    Examples
    --------
    >>> future = Future("F", "btc", "2022-01-01", basis_volatility=0.05)
    >>> now = np.datetime64("2021-01-01")
    >>> basis_walks([future], {"btc": np.array([0.1])}, now, now)["F"].tolist()
    [2.0]
    """
    passed, walks = years_between(start, time), {}
    for item in instruments:
        contract = getattr(item, "future", None) or item
        volatility = getattr(contract, "basis_volatility", 0.0)
        if not volatility or contract.underlying not in moves:
            continue
        left = 0.0
        if isinstance(contract, Future):
            left = max(0.0, years_between(time, contract.expiry))
            # The basis of a future fades towards its expiry; a settled future has none.
            volatility *= math.sqrt(left / (left + passed)) if left else 0.0
        if volatility:
            # The contract takes half the variance off its walk; see `Perpetual` and `Future`.
            wanted = moves[contract.underlying] * left + 0.5 * passed * volatility**2
            walks[contract.name] = wanted / volatility
    return walks


def _scaled(moves: Moves, grid: StressGrid, years: float) -> Moves:
    """Ratio of implied volatility at a time to expiry; 0 or more."""
    scale = (30.0 / max(grid.floor_days, 365.0 * years)) ** grid.power
    return np.asarray(np.maximum(1.0 + moves * scale, 0.0))


def _instantaneous(
    name: str,
    market: Market,
    *,
    least: float,
    scenarios: tuple[str, ...] = ("",),
    prices: Mapping[str, Moves] | None = None,
    currencies: Mapping[str, Moves] | None = None,
    volatilities: Mapping[str, Callable[[float], Moves]] | None = None,
    walks: Mapping[str, Moves] | None = None,
    weights: Moves | None = None,
) -> StressSet:
    """A set of instantaneous moves; what is below `least` is raised to it."""
    count = len(scenarios)
    shocked = ShockedMarket(
        market,
        market.as_of,
        0,
        count,
        {each: np.maximum(move, least) for each, move in (prices or {}).items()},
        {each: np.maximum(move, least) for each, move in (currencies or {}).items()},
        volatilities or {},
        walks or {},
    )
    return StressSet(name, scenarios, np.ones(count) if weights is None else weights, 1, shocked)


def _with_contracts(
    prices: Mapping[str, Moves], instruments: Iterable[Instrument]
) -> dict[str, Moves]:
    """Moves of underlyings, and of the assets that are prices of contracts on them."""
    own = {
        asset: prices[item.underlying]
        for item in instruments
        if item.underlying in prices
        for asset in assets_of(item)
    }
    return {**own, **prices}

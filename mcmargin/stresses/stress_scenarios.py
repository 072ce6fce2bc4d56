"""Sets of stress scenarios that a policy asks for.

In: the `Stress` part of a policy, a model's history, today's market and some instruments. Out:
`StressSet`s, each some scenarios of which the worst counts:

historical window    every bar of the history within it, lived once more: a bar of time passes
grid of an exchange  one set an underlying, all others unmoved; and one for all the underlyings
                     that have a grid of the exchange, each moved by the point of the same number
gap, depeg           one underlying, or one currency, alone

Grids, gaps and depegs are instantaneous, and move nothing but what they name: the price of an
underlying, those contracts on it that have prices of their own, and its implied volatility.
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
from mcmargin.policies.stress_parts import Stress, StressWindow
from mcmargin.stresses.stress_grids import StressGrid, stress_grid
from mcmargin.valuing.outlooks import Outlooks, volatility_ratio
from mcmargin.valuing.shocked_market import Moves, ShockedMarket

ALL_OTHERS = "*"
"""Stands in a policy for the underlyings that it does not name."""


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
        How many of the worst are listed.
    shocked : ShockedMarket
    """

    name: str
    scenarios: tuple[str, ...]
    weights: Moves
    listed: int
    shocked: ShockedMarket

    def touches(self, names: frozenset[str]) -> bool:
        """Whether any scenario changes what hangs on some assets and currencies."""
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
        For a window outside the history, an underlying that neither the model nor the market
        has, and a depeg of the market's own currency or of one without a rate.
    """
    if market.currency in part.depegs:
        raise PolicyError(f"stress: depeg of {market.currency!r}: it is what the market counts in")
    known = {*outlooks.model.assets, *market.spot, *market.fx}
    for what, name in (
        *(("grid", name) for name in part.grids if name != ALL_OTHERS),
        *(("gap", gap.underlying) for gap in part.gaps),
        *(("depeg", code) for code in part.depegs),
    ):
        if name not in known:
            raise PolicyError(f"stress: {what} of {name!r}: neither model nor market has it")
    least = price_floor - 1.0
    return (
        *(_window(window, instruments, market, outlooks, least) for window in part.windows),
        *_grids(part, instruments, market, least),
        *(
            _hypothetical(
                f"gap {gap.underlying} {100 * gap.move:+.4g} %",
                market,
                prices=_with_contracts({gap.underlying: np.array([gap.move])}, instruments),
                least=least,
            )
            for gap in part.gaps
        ),
        *(
            _hypothetical(
                f"depeg {code} {-100 * loss:+.4g} %",
                market,
                currencies={code: np.array([-loss])},
                least=least,
            )
            for code, loss in sorted(part.depegs.items())
        ),
    )


def _window(
    window: StressWindow,
    instruments: Sequence[Instrument],
    market: Market,
    outlooks: Outlooks,
    least: float,
) -> StressSet:
    """Every bar of the history within a window, lived once more from today's state."""
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
    """Implied volatility over today's after one bar; 1 where the model's variance is constant."""
    return np.asarray(
        volatility_ratio(
            outlooks,
            market,
            underlying,
            years,
            1,
            # No mean to divide by: these moves happened.
            driver_squares=lambda driver: (1.0 + prices[driver]) ** 2,
            place=lambda outlook: outlook.place(variance),
            constant_ratio=lambda: np.ones(len(variance)),
        )
    )


def _grids(
    part: Stress, instruments: Sequence[Instrument], market: Market, least: float
) -> list[StressSet]:
    """Each underlying's grid alone, then all of an exchange's together."""
    # Cash that was posted is no underlying; its rate moves where a scenario names it.
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
    """Some underlyings, each moved by its own grid's point of the same number."""
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
    return _hypothetical(
        name,
        market,
        scenarios=names,
        prices=_with_contracts(prices, instruments),
        volatilities={
            underlying: partial(_scaled, columns[underlying]["volatility"], grid)
            for underlying, grid in grids.items()
        },
        walks=basis_walks(instruments, basis, market.as_of, market.as_of),
        # Grids of one exchange weigh points of the same number alike.
        weights=columns[next(iter(grids))]["weight"],
        least=least,
    )


def basis_walks(
    instruments: Iterable[Instrument],
    moves: Mapping[str, Moves],
    start: np.datetime64,
    time: np.datetime64,
) -> dict[str, Moves]:
    """Walks under which each contract's price over its spot price is exp(m T) times today's.

    Parameters
    ----------
    instruments : iterable of Instrument
        Of the perpetuals and futures among them, and the futures that options are on; one that
        declares no basis volatility has no basis to move.
    moves : mapping of str to ndarray of shape (scenarios,), float64
        m by underlying, a year of the time T to expiry, which is 0 for perpetuals.
    start, time : numpy.datetime64
        Of the market, and of the scenarios.

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
            # A future's basis fades towards its expiry; one that has settled has none.
            volatility *= math.sqrt(left / (left + passed)) if left else 0.0
        if volatility:
            # Half the variance is what keeps a simulated basis at a mean of 1.
            wanted = moves[contract.underlying] * left + 0.5 * passed * volatility**2
            walks[contract.name] = wanted / volatility
    return walks


def _scaled(moves: Moves, grid: StressGrid, years: float) -> Moves:
    """Ratio of volatility by time to expiry; at least 0."""
    scale = (30.0 / max(grid.floor_days, 365.0 * years)) ** grid.power
    return np.asarray(np.maximum(1.0 + moves * scale, 0.0))


def _hypothetical(
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
    """A set whose moves are instantaneous, none below `least`."""
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
    """Moves of underlyings, and of the contracts on them that have prices of their own."""
    own = {
        asset: prices[item.underlying]
        for item in instruments
        if item.underlying in prices
        for asset in assets_of(item)
    }
    return {**own, **prices}

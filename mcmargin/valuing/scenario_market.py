"""The market on simulated paths, at any horizon.

In: scenarios, today's market, and some tiles of paths. Out: prices, currencies, volatilities and
Brownian motions on those paths (`mcmargin.instruments.paths`), float64, on the device where the
scenarios lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import accumulate, islice
from operator import or_
from typing import Any

import numpy as np

from mcmargin.data.bars import YEAR, Closes, years_between
from mcmargin.data.ranges import require_bounded_deviation
from mcmargin.draws.random_stream import TILE_PATHS
from mcmargin.errors import DataError, PolicyError
from mcmargin.markets.market import Market
from mcmargin.markets.surface import VolatilitySurface
from mcmargin.numerics.arrays import array_module
from mcmargin.scenarios.kept import Kept
from mcmargin.scenarios.scenarios import Scenarios
from mcmargin.valuing.outlooks import mean_square, outlooks_of, volatility_ratio


class PathBlock:
    """Some tiles of paths, and what is drawn for them.

    Parameters
    ----------
    scenarios : Scenarios
    market : Market
    tiles : range
        Consecutive tiles.
    horizons : iterable of int, optional
        Bars at which Brownian motions are kept; by default all horizons of the scenarios. For
        another horizon they are drawn again.
    most : int, optional
        Bytes of normals that the scenarios may keep; see `NamedDraws.normals`.
    """

    def __init__(
        self,
        scenarios: Scenarios,
        market: Market,
        tiles: range,
        *,
        horizons: Iterable[int] | None = None,
        most: int | None = None,
    ) -> None:
        self.scenarios, self.market, self.tiles = scenarios, market, tiles
        self.horizons = frozenset(scenarios.plan.horizons if horizons is None else horizons)
        self._most = most
        first = tiles.start * TILE_PATHS
        self.paths = slice(first, first + scenarios.plan.paths_in(tiles))
        self.xp = array_module(scenarios.returns)
        self._walks: dict[str, dict[int, Any]] = {}
        self._jumps: dict[str, dict[int, Any]] = {}
        # Accounts are margined by several threads, which ask for the rates of their currencies.
        self.rates = Kept()

    def at(self, horizon: int) -> ScenarioMarket:
        """The market at a horizon."""
        return ScenarioMarket(self, horizon)

    @cached_property
    def closes(self) -> Closes:
        """Closes of the simulated bars."""
        return self.scenarios.closes(self.market.as_of)

    @cached_property
    def bar_years(self) -> Any:
        """Years of each simulated bar, the first from the market's time; float64 [bars], numpy."""
        ends = (self.closes.times - self.market.as_of.astype("datetime64[ns]")) / YEAR
        return np.diff(ends, prepend=0.0)

    def walk(self, name: str, horizon: int) -> Any:
        """Brownian motion of a named thing at a horizon, in years; float64 [paths]."""
        if horizon not in self._walks.get(name, {}):
            self._walks[name] = self._at_horizons(self._steps_of_walk(name), horizon)
        return self._walks[name][horizon]

    def jumped(self, name: str, probability: float, horizon: int) -> Any:
        """Whether a named thing has jumped by a horizon; bool [paths]."""
        if horizon not in self._jumps.get(name, {}):
            jumps = self.scenarios.named.jumps(name, self.tiles, probability)
            jumped = accumulate((row.copy() for row in jumps), or_)
            self._jumps[name] = self._at_horizons(jumped, horizon)
        return self._jumps[name][horizon]

    def forget(self, name: str | None = None) -> None:
        """Drop the walk of a named thing, or all draws. Drawn again, they are the same."""
        if name is None:
            self._walks.clear()
            self._jumps.clear()
        else:
            self._walks.pop(name, None)

    def _at_horizons(self, steps: Iterable[Any], horizon: int) -> dict[int, Any]:
        """Of the values at all bars, those at the block's horizons and at one more, by bar."""
        wanted = self.horizons | {horizon}
        last = max(wanted)
        return {bar: row for bar, row in enumerate(islice(steps, last), 1) if bar in wanted}

    def _steps_of_walk(self, name: str) -> Iterator[Any]:
        """A walk at every bar; one bar at a time, so that only what is kept takes memory."""
        normals = self.scenarios.named.normals(name, self.tiles, self._most)
        roots = np.sqrt(self.bar_years).tolist()
        return accumulate(row * root for row, root in zip(normals, roots, strict=True))


class ScenarioMarket:
    """The market on each path of a block at one horizon.

    Parameters
    ----------
    block : PathBlock
    horizon : int
        Bars; a horizon of the scenarios.

    Attributes
    ----------
    market : Market
        Of today.
    years : float
        Time until the horizon, in years of 365 days.
    """

    def __init__(self, block: PathBlock, horizon: int) -> None:
        self._block, self.horizon = block, horizon
        self._at = block.scenarios.horizon_index(horizon)
        self.market = block.market
        self.years = float(block.bar_years[:horizon].sum())
        self._kept = Kept()

    def price(self, name: str, currency: str) -> Any:
        """Price of an asset, or value of a currency, in a currency; float64 [paths]."""
        market = self.market
        if name not in self._block.scenarios.assets:
            return self.currency(name) / self.currency(currency)
        price = market.price(name) * (1.0 + self._return(name)) * self._peg(name)
        quoted = market.quoted.get(name, market.currency)
        if quoted != currency:
            price = price * self.currency(quoted) / self.currency(currency)
        return price

    def gain(self, name: str, currency: str) -> Any:
        """Price change of an asset; where nothing else moves, its price times its return."""
        start = self.market.price(name, currency)
        quoted = self.market.quoted.get(name, self.market.currency)
        plain = name in self._block.scenarios.assets and name not in self.market.depeg
        if plain and quoted == currency:
            return start * self._return(name)
        return self.price(name, currency) - start

    def walk(self, name: str) -> Any:
        """Brownian motion of a named thing at this horizon; float64 [paths]."""
        return self._block.walk(name, self.horizon)

    def years_left(self, expiry: np.datetime64) -> float:
        """Years from this horizon to an expiry; 0 if it has settled by then."""
        return self._block.closes.years_left(self.horizon, expiry)

    def settled(self, expiry: np.datetime64) -> ScenarioMarket:
        """The market at the bar close at which an expiry settles.

        Raises
        ------
        PolicyError
            If that close is no horizon of the scenarios.
        """
        bar = self._block.closes.bar_of(expiry)
        if bar not in self._block.scenarios.plan.horizons:
            raise PolicyError(
                f"what expires at {expiry.astype('M8[s]')} settles at the close of bar {bar}, "
                f"which was not simulated; simulate horizons {(bar, self.horizon)} too"
            )
        return self if bar == self.horizon else self._block.at(bar)

    def smile(self, underlying: str, years: float, moneyness: Any) -> Any:
        """Today's implied volatility at strike / forward: an array of its shape, or a number."""
        level = self.market.volatility_of(underlying)
        if not isinstance(level, VolatilitySurface):
            return level
        table = self._kept.once(("smile", underlying, years), lambda: level.slice(years))
        return table.volatility(self._block.xp.log(moneyness))

    def volatility_ratio(self, underlying: str, years: float) -> Any:
        """Implied volatility on each path over today's, for `years` to expiry; float64 [paths].

        See `mcmargin.valuing.outlooks.volatility_ratio`. Where the model's variance is constant,
        the ratio is lognormal with the market's `vol_of_vol`, and the mean of its square is 1.

        Raises
        ------
        DataError
            If the model lacks an asset that is needed, or its variance is constant and the market
            has no `vol_of_vol`.
        """
        key = ("ratio", underlying, years)
        return self._kept.once(key, lambda: self._ratio(underlying, years))

    def currency(self, code: str) -> Any:
        """Value of one unit of a currency, in the market's; float64 [paths] or a number.

        A currency does not move if neither the model nor the market says how. Books that would be
        converted with such a currency are refused by `mcmargin.books.admission`.
        """
        return self._block.rates.once((code, self.horizon), lambda: self._currency(code))

    def _return(self, asset: str) -> Any:
        scenarios = self._block.scenarios
        at = scenarios.assets.index(asset)
        return scenarios.returns[self._at, at, self._block.paths].astype(np.float64)

    def _peg(self, name: str) -> Any:
        """Share of a stablecoin's value that is left; 1 if it did not jump, or cannot."""
        jump = self.market.depeg.get(name)
        if jump is None:
            return 1.0
        jumped = self._block.jumped(f"depeg {name}", jump.probability, self.horizon)
        return 1.0 - jump.loss * jumped

    def _currency(self, code: str) -> Any:
        market = self.market
        if code == market.currency:
            return 1.0
        ratio: Any = 1.0
        asset = market.fx_asset.get(code, code)
        if asset in self._block.scenarios.assets:
            ratio = 1.0 + self._return(asset)
        elif code in market.fx_volatility:
            volatility = float(market.fx_volatility[code])
            require_bounded_deviation(volatility, self.years, f"fx_volatility of {code!r}")
            walk = self.walk(f"fx {code}")
            ratio = self._block.xp.exp(volatility * walk - 0.5 * volatility**2 * self.years)
        value = market.worth(code) * ratio * self._peg(code)
        quoted = market.quoted.get(code, market.currency)
        if quoted != market.currency:
            value = value * self.currency(quoted) / market.worth(quoted)
        return value

    def _ratio(self, underlying: str, years: float) -> Any:
        return volatility_ratio(
            outlooks_of(self._block.scenarios),
            self.market,
            underlying,
            years,
            self.horizon,
            driver_squares=self._driver_squares,
            place=lambda outlook: self._kept.once(
                ("place", underlying), lambda: outlook.place(self._variance(underlying))
            ),
            constant_ratio=lambda: self._vol_of_vol_ratio(underlying),
        )

    def _driver_squares(self, driver: str) -> Any:
        """(1 + R)**2 of an implied-volatility asset, over its mean on all paths."""
        mean = mean_square(self._block.scenarios, driver, self.horizon)
        return (1.0 + self._return(driver)) ** 2 / mean

    def _vol_of_vol_ratio(self, underlying: str) -> Any:
        """The ratio where the model's variance is constant: lognormal, its square of mean 1."""
        if underlying not in self.market.vol_of_vol:
            raise DataError(
                f"the model's volatility of {underlying!r} is constant, and options on it need "
                "the market's vol_of_vol (0 to hold their volatility still)"
            )
        vol_of_vol = float(self.market.vol_of_vol[underlying])
        require_bounded_deviation(vol_of_vol, self.years, f"vol_of_vol of {underlying!r}")
        walk = self.walk(f"volatility {underlying}")
        return self._block.xp.exp(vol_of_vol * walk - vol_of_vol**2 * self.years)

    def _variance(self, underlying: str) -> Any:
        scenarios = self._block.scenarios
        at = scenarios.assets.index(underlying)
        return scenarios.next_variance[self._at, at, self._block.paths].astype(np.float64)


def elapsed_years(scenarios: Scenarios, market: Market, horizon: int) -> float:
    """Years from the market's time to a horizon's close."""
    close = scenarios.closes_after(market.as_of)[horizon - 1]
    return float(years_between(market.as_of, close))

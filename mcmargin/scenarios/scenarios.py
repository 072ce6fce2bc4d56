"""Scenarios: simulated market moves, and what has been drawn for them."""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import few, plain_time
from mcmargin.data.bars import Closes
from mcmargin.data.files import write_atomically
from mcmargin.data.times import utc_time
from mcmargin.draws.plan import SimulationPlan
from mcmargin.draws.random_stream import lane_of
from mcmargin.errors import PolicyError
from mcmargin.markets.market import Market
from mcmargin.models.model import MarketModel
from mcmargin.models.volatility import VarianceOutlook, variance_outlook
from mcmargin.numerics.arrays import array_module, to_host

NAMED_BYTES = 2**28
"""Draws of named things that scenarios keep."""


@dataclass(frozen=True, eq=False, repr=False)
class Scenarios:
    """Simulated market moves.

    Attributes
    ----------
    model : MarketModel
    plan : SimulationPlan
    returns : ndarray of shape (horizons, assets, paths), float32 or float64
        Simple returns from now to each horizon, as fractions; on the device where the cupy
        engine made them.
    next_variance : ndarray of shape (horizons, assets, paths)
        Variance of the bar after each horizon.
    engine : str
    floored_paths, capped_paths : int
        Paths on which some price was floored, or some variance capped.
    companions : mapping of str to Scenarios
        The same paths at the volatility of other times, where a policy needs them.
    limited : mapping of str to mapping of str to int
        Under `floored` and `capped`, how many paths of each asset were; none but those with some.
    """

    model: MarketModel
    plan: SimulationPlan
    returns: NDArray[Any]
    next_variance: NDArray[Any]
    engine: str
    floored_paths: int
    capped_paths: int
    companions: Mapping[str, Scenarios] = field(default_factory=dict)
    limited: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __repr__(self) -> str:
        plan = self.plan
        return (
            f"<Scenarios of {few(self.assets)}: as of {plain_time(self.as_of)}, horizons "
            f"{few(map(str, plan.horizons))}, {plan.paths:,} paths, seed {plan.seed}, "
            f"{self.engine} engine>"
        )

    @property
    def assets(self) -> tuple[str, ...]:
        """The model's assets, in the order of the arrays."""
        return self.model.assets

    @property
    def as_of(self) -> np.datetime64:
        """Time of the state that the simulation started from."""
        return self.model.as_of

    def closes_after(self, time: np.datetime64) -> NDArray[np.datetime64]:
        """Times at which the simulated bars close; datetime64[ns] [longest horizon].

        Parameters
        ----------
        time : numpy.datetime64
            Of the market, or any other type that is a time. The first simulated bar is the one
            that closes next after it, and after the model's last close. Within a bar, as after a
            tick, a whole bar's variance is thus charged for what is left of it.
        """
        return self.closes(time).times

    def closes(self, time: np.datetime64) -> Closes:
        """Closes of the simulated bars, with what settles at each; see `closes_after`."""
        moment = utc_time(time)
        if moment not in self._closes:
            self._closes[moment] = self.model.closes(self.plan.horizons[-1], moment)
        return self._closes[moment]

    @cached_property
    def _closes(self) -> dict[np.datetime64, Closes]:
        return {}

    def mean_square(self, asset: str, horizon: int) -> float:
        """Mean of (1 + return)**2 of an asset over all paths."""
        key = (asset, horizon)
        if key not in self._mean_squares:
            moves = self.returns[self.horizon_index(horizon), self.assets.index(asset)]
            self._mean_squares[key] = float(((1.0 + moves.astype(np.float64)) ** 2).mean())
        return self._mean_squares[key]

    @cached_property
    def _mean_squares(self) -> dict[tuple[str, int], float]:
        return {}

    def outlook(self, asset: str, bars: int) -> VarianceOutlook:
        """What the model expects of an asset's variance, as far as `bars` bars at least."""
        reach = 1 << max(6, (bars - 1).bit_length())
        held, known = self._outlooks.get(asset, (0, None))
        if known is not None and held >= reach:
            return known
        # A longer reach serves every shorter one alike, and takes its place.
        at, model = self.assets.index(asset), self.model
        drawn = model.dependence.residuals
        found = variance_outlook(
            model.volatility,
            at,
            model.innovations[at],
            float(model.state.variance[at]),
            bars=reach,
            cap=self.plan.variance_cap,
            dates=drawn[:, at] if len(drawn) else None,
        )
        self._outlooks[asset] = reach, found
        return found

    @cached_property
    def _outlooks(self) -> dict[str, tuple[int, VarianceOutlook]]:
        return {}

    def named_normals(self, name: str, tiles: range, most: int | None = None) -> Any:
        """Standard normals of a named thing, each bar; float64 [longest horizon, paths of tiles].

        Drawn where the scenarios lie, and kept up to `NAMED_BYTES`, or `most` where that is less,
        so that a market that moves is valued again without new draws.
        """
        key = (name, tiles.start, tiles.stop)
        if key not in self._named:
            engine, steps = self._engine, range(self.plan.horizons[-1])
            drawn = engine.named_normals(self.plan.seed, lane_of(name), tiles, steps)
            drawn = drawn[:, : self.plan.paths_in(tiles)]
            room = NAMED_BYTES if most is None else min(most, NAMED_BYTES)
            if self._named_bytes.total + drawn.nbytes > room:
                return drawn
            self._named_bytes.total += drawn.nbytes
            self._named[key] = drawn
        return self._named[key]

    def named_jumps(self, name: str, tiles: range, probability: float) -> Any:
        """Whether a named thing jumps in each bar; bool [longest horizon, paths of tiles]."""
        steps = range(self.plan.horizons[-1])
        jumps = self._engine.named_jumps(self.plan.seed, lane_of(name), tiles, steps, probability)
        return jumps[:, : self.plan.paths_in(tiles)]

    @property
    def _engine(self) -> ModuleType:
        where = array_module(self.returns).__name__
        return importlib.import_module(f"mcmargin.engines.{where}_engine")

    @cached_property
    def _named_bytes(self) -> SimpleNamespace:
        """`total` of the draws that are kept. Threads that add at once may lose one's count, which
        lets the scenarios keep a draw more.
        """
        return SimpleNamespace(total=0)

    @cached_property
    def _named(self) -> dict[tuple[str, int, int], Any]:
        return {}

    def horizon_index(self, horizon: int) -> int:
        """Position of a horizon in `returns`.

        Raises
        ------
        PolicyError
            Naming the horizons there are.
        """
        if horizon not in self.plan.horizons:
            raise PolicyError(
                f"horizon {horizon} was not simulated; these were: {self.plan.horizons}"
            )
        return self.plan.horizons.index(horizon)

    def to_host(self) -> Scenarios:
        """The same scenarios in numpy arrays."""
        returns, next_variance = to_host(self.returns), to_host(self.next_variance)
        others = {name: each.to_host() for name, each in self.companions.items()}
        return replace(self, returns=returns, next_variance=next_variance, companions=others)

    def stressed(self, weight: float) -> Scenarios:
        """Scenarios whose last paths, a share of all, are those of the companion `stressed`.

        Each path is drawn alike in both, so that a share of the observations is stressed. They are
        kept, so that a market that moves is valued again on the same.
        """
        if weight not in self._mixtures:
            other, calm = self.companions["stressed"], round((1.0 - weight) * self.plan.paths)
            returns, next_variance = self.returns.copy(), self.next_variance.copy()
            returns[:, :, calm:] = other.returns[:, :, calm:]
            next_variance[:, :, calm:] = other.next_variance[:, :, calm:]
            self._mixtures[weight] = replace(self, returns=returns, next_variance=next_variance)
        return self._mixtures[weight]

    @cached_property
    def _mixtures(self) -> dict[float, Scenarios]:
        return {}

    def market(self) -> Market:
        """The model's own latest prices, as a market."""
        prices = self.model.state.prices.tolist()
        return Market(as_of=self.as_of, spot=dict(zip(self.assets, prices, strict=True)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write returns, next variances, assets, horizons and seed as npz, whole or not at all."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            returns=to_host(self.returns),
            next_variance=to_host(self.next_variance),
            assets=np.array(self.assets),
            horizons=np.array(self.plan.horizons),
            seed=np.array(str(self.plan.seed)),
            spot=self.model.state.prices,
            as_of=np.array(str(self.as_of)),
            model_fingerprint=np.array(self.model.fingerprint()),
        )
        write_atomically(Path(path), buffer.getvalue())

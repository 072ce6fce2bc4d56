"""Scenarios: simulated market moves of all assets on the same paths.

In: arrays that an engine drew, with the model and the plan that they were drawn from. Out: a
frozen value that later stages read. It knows the returns, the variances and the times of the
simulated bars; prices, currencies and volatilities on the paths are made of it in
`mcmargin.valuing`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import few, plain_time
from mcmargin.data.bars import Closes
from mcmargin.data.files import write_atomically
from mcmargin.data.times import utc_time
from mcmargin.draws.plan import SimulationPlan
from mcmargin.errors import PolicyError
from mcmargin.models.model import MarketModel
from mcmargin.numerics.arrays import array_module, to_host
from mcmargin.scenarios.kept import Kept
from mcmargin.scenarios.named_draws import NamedDraws


@dataclass(frozen=True, eq=False, repr=False)
class Scenarios:
    """Simulated market moves.

    They can be pickled where they lie in numpy arrays; what is kept to save time is then left out
    and made again.

    Attributes
    ----------
    model : MarketModel
        The model that they were drawn from.
    plan : SimulationPlan
    returns : ndarray of shape (horizons, assets, paths), float32 or float64
        Simple returns from now to each horizon, as fractions. The cupy engine leaves them on the
        device.
    next_variance : ndarray of shape (horizons, assets, paths)
        Variance of the bar after each horizon.
    engine : str
        `numpy` or `cupy`.
    floored_paths, capped_paths : int
        Paths on which the price of an asset was floored, or its variance was capped.
    companions : mapping of str to Scenarios
        The same paths at the volatility of other times; see `mcmargin.scenarios.companions`.
    limited : mapping of str to mapping of str to int
        Under `floored` and `capped`, the number of such paths of each asset. An asset without any
        is left out.
    named : NamedDraws
        Draws on the same paths for what is no asset of the model, such as the basis of a future.
    kept : Kept
        What other stages have made of these scenarios.
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
    named: NamedDraws = field(init=False)
    kept: Kept = field(init=False, default_factory=Kept)

    def __post_init__(self) -> None:
        draws = NamedDraws(self.plan, array_module(self.returns).__name__)
        object.__setattr__(self, "named", draws)

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
            Of the market; a value of any other type that is a time will do. The first simulated
            bar is the one that closes next after it, and after the model's last close. Within a
            bar, as after a tick, the variance of a whole bar is thus charged for what is left of
            it.
        """
        return self.closes(time).times

    def closes(self, time: np.datetime64) -> Closes:
        """Closes of the simulated bars, with what settles at each; see `closes_after`."""
        moment = utc_time(time)
        return self.kept.once(
            ("closes", moment), lambda: self.model.closes(self.plan.horizons[-1], moment)
        )

    def horizon_index(self, horizon: int) -> int:
        """Position of a horizon in `returns`.

        Raises
        ------
        PolicyError
            If the horizon was not simulated; the error names those that were.
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

        A path has the same draws in both. The result is kept, so that a market that moves is
        valued again on the same scenarios.

        Parameters
        ----------
        weight : float
            The share, from 0 to 1.
        """
        return self.kept.once(("stressed", weight), lambda: self._mixed(weight))

    def _mixed(self, weight: float) -> Scenarios:
        other, calm = self.companions["stressed"], round((1.0 - weight) * self.plan.paths)
        returns, next_variance = self.returns.copy(), self.next_variance.copy()
        returns[:, :, calm:] = other.returns[:, :, calm:]
        next_variance[:, :, calm:] = other.next_variance[:, :, calm:]
        return replace(self, returns=returns, next_variance=next_variance)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the arrays, and what they were drawn from, as npz; whole or not at all."""
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

"""Companions: a model at the volatility of other times, for a policy's floor and stressed period.

In: a model and a policy. Out: models whose variance is that of the policy's floor, or of its
stressed period. All else is the model's own, so that scenarios of them take the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mcmargin.data.bars import YEAR
from mcmargin.errors import PolicyError
from mcmargin.models.model import MarketModel
from mcmargin.policies.policy import MarginPolicy

STRESSED_BARS = 250
"""Bars of the worst period that is searched for: a year of trading days."""


@dataclass(frozen=True, eq=False)
class Companion:
    """A model at the volatility of another time.

    Attributes
    ----------
    model : MarketModel
    first, last : numpy.datetime64
        The first and the last bar of the history whose mean squared return is its variance.
    """

    model: MarketModel
    first: np.datetime64
    last: np.datetime64


def companions_of(model: MarketModel, policy: MarginPolicy) -> dict[str, Companion]:
    """Companions that a policy needs beside the model itself, by name.

    Parameters
    ----------
    model : MarketModel
    policy : MarginPolicy

    Returns
    -------
    dict of str to Companion
        `floor` if the policy has a floor, `stressed` if it has a stressed period. If the history
        is shorter than the floor's years, the floor takes all of it, and reports say so.

    Raises
    ------
    PolicyError
        If the history has no bar of a period.
    """
    part = policy.procyclicality
    found: dict[str, Companion] = {}
    if part is None:
        return found
    times = model.history.times
    if part.floor_years:
        start = model.as_of - np.timedelta64(int(part.floor_years * int(YEAR)), "ns")
        found["floor"] = _at(model, times >= start, f"the last {part.floor_years:g} years")
    if part.stressed_weight:
        if part.stressed_first is not None and part.stressed_last is not None:
            first, last = part.stressed_first, part.stressed_last
            chosen, name = model.calendar.in_window(times, first, last), f"{first} to {last}"
        else:
            chosen, name = _worst_period(model), "a stressed period"
        found["stressed"] = _at(model, chosen, name)
    return found


def _at(model: MarketModel, chosen: NDArray[np.bool_], name: str) -> Companion:
    """The model, with the mean squared return of some bars of its history as its variance."""
    if not chosen.any():
        raise PolicyError(
            f"procyclicality: the model's history has no bar of {name}; calibrate it on a history "
            "that has"
        )
    history = model.history
    # In a halt nobody trades, so that a return of zero does not mean that volatility is low.
    squares = np.where(
        model.halted[chosen], history.variances[chosen], history.returns[chosen] ** 2
    )
    variance = squares.mean(axis=0)
    bars = model.history.times[chosen]
    state = replace(model.state, variance=variance)
    return Companion(replace(model, state=state), bars[0], bars[-1])


def _worst_period(model: MarketModel) -> NDArray[np.bool_]:
    """The consecutive bars with the largest squared returns, over each asset's sample variance."""
    squares = (model.history.returns**2 / model.volatility.sample_variance).mean(axis=1)
    bars = len(squares)
    length = min(STRESSED_BARS, bars)
    chosen = np.zeros(bars, bool)
    if bars:
        sums = np.convolve(squares, np.ones(length), mode="valid")
        start = int(np.argmax(sums))
        chosen[start : start + length] = True
    return chosen

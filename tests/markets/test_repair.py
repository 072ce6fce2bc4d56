"""Repair of quotes: it moves them as little as need be, within bid and ask."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from tests.helpers.chains import (
    MODELS,
    assert_free,
    between,
    frame_of,
    model_chains,
    on_surface,
    otm,
    surface_of,
)
from tests.helpers.oracle import Oracle


def ticked(tick):
    """An index smile of 31 strikes 100 apart, its prices on a tick; as of an option chain's."""
    strikes = np.arange(2950.0, 6001.0, 100.0)
    x, time = strikes / 5850.0, 39 / 365
    smile = np.polyval([4.470631, 6.258038, 2.656648, -0.571859, 0.148758], np.log(x))
    prices = np.maximum(np.round(otm(x, smile, time) * 5850 / tick), 1) * tick
    frame = frame_of([(39, x, prices / 5850)])
    return frame.assign(strike=strikes, forward=5850.0), prices


def test_a_chain_on_ticks_is_moved_as_little_as_need_be():
    """The greatest change of a price is 3.8 %, and the least that it can be is 3.3 %."""
    frame, prices = ticked(0.1)
    with pytest.raises(
        mm.DataError, match=r"expiry 2021-02-12, strike .*: a call costs .*butterfly"
    ):
        surface_of(frame)
    surface = surface_of(frame, repair=True)
    after = on_surface(surface, frame)
    x = frame["strike"].to_numpy() / 5850
    change = otm(x, after, 39 / 365) * 5850 / prices - 1
    oracle = Oracle(frame)
    assert oracle.cost_of(frame, surface) <= 1.01 * oracle.measure(frame, oracle.repaired())
    assert np.abs(change).max() < 0.04
    assert np.abs(after - frame["volatility"]).max() < 0.003
    assert (np.abs(change) > 1e-3).sum() <= 6
    assert {round(each.strike, 9) for each in surface.repairs} == set(
        frame["strike"][np.abs(after - frame["volatility"]) > 1e-11].round(9)
    )
    assert_free(surface, surface.times)


@pytest.mark.parametrize("name", MODELS)
def test_a_models_chain_on_ticks_is_repaired(name):
    """A tick of 1e-4 of the forward; quotes move by no more than a few ticks."""
    _, chains = model_chains(name, 49)
    tick = 1e-4
    rounded = [
        (days, x[prices > tick], np.round(prices[prices > tick] / tick) * tick)
        for days, x, prices in chains
    ]
    frame = frame_of(rounded)
    with pytest.raises(mm.DataError, match="more such places"):
        surface_of(frame)
    surface = surface_of(frame, repair=True)
    after = on_surface(surface, frame)
    moved = np.concatenate(
        [
            np.abs(otm(x, volatility, days / 365) - prices)
            for (days, x, prices), (_, volatility) in zip(
                rounded, pd.Series(after).groupby(frame["expiry"], sort=False), strict=True
            )
        ]
    )
    # Rounding moved prices by half a tick at most, so that the model's prices are a repair.
    assert moved.max() < 1.5 * tick
    assert 0 < len(surface.repairs) < 0.75 * len(frame)
    assert_free(surface, between(surface))


def test_bid_and_ask_bound_a_repair():
    """What must not move far leaves more to others; a side that is not known bounds nothing."""
    frame, _ = ticked(0.1)
    unbounded = surface_of(frame, repair=True)
    free = on_surface(unbounded, frame)
    farthest = int(np.argmax(np.abs(free - frame["volatility"])))
    bounded = frame.assign(bid=np.nan, ask=np.nan)
    bounded.loc[farthest, "bid"] = frame["volatility"][farthest] - 5e-4
    bounded.loc[farthest, "ask"] = frame["volatility"][farthest] + 5e-4
    surface = surface_of(bounded, repair=True)
    after = on_surface(surface, frame)
    assert abs(free[farthest] - frame["volatility"][farthest]) > 2e-3
    assert abs(after[farthest] - frame["volatility"][farthest]) < 5.001e-4
    oracle = Oracle(frame)
    assert oracle.cost_of(frame, surface) > oracle.cost_of(frame, unbounded)
    assert_free(surface, surface.times)
    narrow = frame.assign(bid=frame["volatility"] - 1e-4, ask=frame["volatility"] + 1e-4)
    with pytest.raises(mm.DataError, match="frame: no prices between bid and ask are free of"):
        surface_of(narrow, repair=True)

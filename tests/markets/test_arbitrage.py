"""Arbitrage of quotes against programmes of scipy's: what is taken, and what is refused."""

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

import mcmargin as mm
from tests.helpers.chains import (
    assert_free,
    between,
    frame_of,
    on_surface,
    otm,
    surface_of,
)
from tests.helpers.oracle import Oracle

# Laws of the price at expiry: a few prices with weights, of mean 1, which spread in time.
weights = st.lists(st.floats(0.05, 1.0), min_size=3, max_size=9)
ratios = st.floats(0.02, 0.6)


@st.composite
def laws(draw, expiries=3):
    """Quotes of laws in convex order: what is spread keeps its mean."""
    weight = np.array(draw(weights))
    places = np.array(
        draw(st.lists(st.floats(0.3, 2.0), min_size=len(weight), max_size=len(weight), unique=True))
    )
    weight /= weight.sum()
    places = places / (weight @ places)
    # The forward itself is spread enough that every price says something.
    chains = []
    for days in (30, 91, 365)[:expiries]:
        spread = draw(ratios)
        places = np.concatenate([places * (1 - spread), places * (1 + spread)])
        weight = np.concatenate([weight, weight]) / 2
        low, high = places.min(), places.max()
        shares = draw(st.lists(st.floats(0.04, 0.96), min_size=1, max_size=12, unique=True))
        x = np.unique(np.round(low + (high - low) * np.array(sorted(shares)), 6))
        x = x[(x > low * 1.001) & (x < high * 0.999)]
        gain = np.where(x[:, None] > 1, places - x[:, None], x[:, None] - places)
        assume(len(x))
        chains.append((days, x, np.maximum(gain, 0) @ weight))
    frame = frame_of(chains)
    # Prices too near their bounds have no volatility.
    assume(frame["volatility"].between(1e-3, 90).all())
    return frame


# A failing example is told as it is: to make it smaller takes minutes.
ONCE = (Phase.explicit, Phase.generate)


@settings(max_examples=15, deadline=None, derandomize=True, phases=ONCE)
@given(laws())
def test_quotes_of_any_martingale_are_taken_as_they_are(frame):
    """Prices of a few atoms are straight lines between them: the hardest quotes there are."""
    wide = mm.Plausibility(volatility=100)
    surface = surface_of(frame, plausibility=wide)
    np.testing.assert_allclose(on_surface(surface, frame), frame["volatility"], rtol=1e-10)
    assert_free(surface, between(surface))


@settings(max_examples=12, deadline=None, derandomize=True, phases=ONCE)
@given(laws(), st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 0.02, 0.2]))
def test_noise_is_refused_when_scipy_finds_no_prices(frame, seed, noise):
    draws = np.random.default_rng(seed).normal(size=len(frame))
    frame["volatility"] *= np.exp(noise * draws)
    wide, oracle = mm.Plausibility(volatility=100), Oracle(frame)
    if oracle.feasible():
        surface_of(frame, plausibility=wide)
    else:
        with pytest.raises(mm.DataError, match="frame: expiry 2"):
            surface_of(frame, plausibility=wide)
    surface = surface_of(frame, plausibility=wide, repair=True)
    # Of large changes the measure is not convex, and the least one finds need not be the least.
    factor = 1.01 if noise < 0.1 else 1.1
    assert (
        oracle.cost_of(frame, surface) <= factor * oracle.measure(frame, oracle.repaired()) + 1e-6
    )
    # Quotes that fail a condition by 1e-8 of their price are taken as they are.
    assert_free(surface, between(surface), tolerance=1e-11)


def test_calls_that_do_not_fall_are_refused():
    """Two calls of one price: bought and sold, they cost nothing and may gain."""
    x = np.array([0.9, 1.0, 1.1, 1.2])
    prices = np.array([0.02, 0.05, 0.02, 0.0201])
    with pytest.raises(mm.DataError, match=r"strike 1.2: a call costs 0.0001 of the forward more"):
        surface_of(frame_of([(91, x, prices)]))
    level = frame_of([(91, x, np.where(x > 1.1, 0.02, prices))])
    with pytest.raises(mm.DataError, match=r"strike 1.2: a call costs as much as at strike 1.1"):
        surface_of(level)
    surface = surface_of(level, repair=True)
    assert_free(surface, surface.times)


def test_a_later_price_below_the_line_of_earlier_ones_is_refused():
    """Between strikes of the earlier expiry, where no strike is the same."""
    x = np.array([0.8, 0.9, 1.0, 1.1, 1.2])
    flat = otm(x, 0.4, 91 / 365)
    y = np.array([0.95])
    # Puts: at 1.1 the call and what the strike is above the forward.
    line = flat[2] - (flat[3] + 0.1 - flat[2]) / 0.1 * 0.05
    assert line > flat[1] + (flat[1] - flat[0]) / 0.1 * 0.05
    later = [(182, y, np.array([0.97 * line]))]
    with pytest.raises(mm.DataError) as told:
        surface_of(frame_of([(91, x, flat), *later]))
    assert (
        f"expiry 2021-07-05, strike 0.95: an option costs {0.03 * line:.3g} of the forward less "
        "than the line through strike 1 and strike 1.1 of expiry 2021-04-05 demands"
    ) in str(told.value)
    # Just above the line it is taken, though a flat volatility of 0.4 is above it.
    low = frame_of([(91, x, flat), (182, y, np.array([1.01 * line]))])
    surface = surface_of(low)
    np.testing.assert_allclose(on_surface(surface, low), low["volatility"], rtol=1e-10)
    assert_free(surface, between(surface))


def test_three_expiries_together():
    """No two of them have an arbitrage: what the first costs most, the later two sell beside it."""
    x, low, high = np.array([1.0]), np.array([0.9]), np.array([1.1])
    chains = [(30, x, np.array([0.06]))]
    # At 0.9 and at 1.1 calls cost 0.12 and 0.011 or more; in the middle of that 0.0655 at most.
    for at_low, at_high, fair in ((0.013, 0.012, True), (0.003, 0.012, False)):
        later = [(91, low, np.array([at_low])), (182, high, np.array([at_high]))]
        frame = frame_of([*chains, *later])
        assert Oracle(frame).feasible() == fair
        if fair:
            assert_free(taken := surface_of(frame), between(taken))
            continue
        assert Oracle(frame_of([*chains, later[0]])).feasible()
        assert Oracle(frame_of([*chains, later[1]])).feasible()
        with pytest.raises(
            mm.DataError,
            match=r"2021-02-03, strike 1: a call costs 0.0025 of .* between strike 0.9 of expiry "
            r"2021-04-05 and strike 1.1 of expiry 2021-07-05 allows",
        ):
            surface_of(frame)
        surface = surface_of(frame, repair=True)
        assert_free(surface, between(surface))

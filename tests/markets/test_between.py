"""Prices between quotes: those of the model that made the quotes, without jumps."""

import numpy as np
import pandas as pd
import pytest

from mcmargin.numerics.black import black76
from mcmargin.numerics.implied import implied_volatility
from tests.helpers.chains import (
    MODELS,
    assert_free,
    between,
    frame_of,
    model_chains,
    on_surface,
    surface_of,
)


@pytest.mark.parametrize("name", MODELS)
def test_a_models_chain_is_taken_and_its_prices_between_are_the_models(name):
    """Hundreds of quotes; between them volatilities are the model's, to 1e-3 of it."""
    price, chains = model_chains(name, 49)
    frame = frame_of(chains)
    assert len(frame) > 250
    surface = surface_of(frame)
    np.testing.assert_allclose(on_surface(surface, frame), frame["volatility"], rtol=1e-10)
    assert_free(surface, between(surface))
    for days, x, _ in chains:
        middle = np.sqrt(x[1:] * x[:-1])[::4]
        true = implied_volatility(price(days, middle), 1.0, middle, days / 365, middle > 1)
        np.testing.assert_allclose(surface.volatility(days / 365, np.log(middle)), true, rtol=1e-3)


def test_greeks_have_no_jumps_at_quotes():
    """Delta and gamma's integral along the strike, at each quote of a chain."""
    _, chains = model_chains("index", 25)
    surface = surface_of(frame_of(chains))
    for days, x, _ in chains:
        for k in np.log(x):
            around = np.exp(k + np.array([-2e-6, -1e-6, 1e-6, 2e-6]))
            prices = black76(
                1.0, around, surface.volatility(days / 365, np.log(around)), days / 365
            )
            before, after = (np.diff(prices) / np.diff(around))[[0, 2]]
            assert after == pytest.approx(before, abs=2e-3 * np.sqrt(1 / days))


def test_an_expiry_far_out_and_one_quote_far_away():
    """Prices below what float64 holds say nothing, and hinder nothing."""
    rows = [("2021-01-05", k, 0.1) for k in (-0.7, -0.1, 0.0, 0.1, 0.7)]
    rows += [("2031-01-04", k, 3.0) for k in (-2.0, 0.0, 2.0)]
    frame = pd.DataFrame(rows, columns=["expiry", "log_moneyness", "volatility"])
    surface = surface_of(frame)
    assert surface.volatility(1 / 365, np.linspace(-3, 3, 7)) == pytest.approx(0.1)
    assert surface.volatility(surface.times[1], 5.0) == pytest.approx(3.0)

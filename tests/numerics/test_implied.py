"""Implied volatility: prices give back the volatilities that made them, or NaN for a reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcmargin.errors import DataError
from mcmargin.numerics import implied
from mcmargin.numerics.black import black76, black76_greeks
from mcmargin.numerics.implied import implied_volatility
from tests.helpers.contracts import contracts_of_all_kinds


def check(forward, strike, volatility, time, call):
    """It is found to 1e-8 where rounding changes it by less than that, and NaN elsewhere."""
    greeks = black76_greeks(forward, strike, volatility, time, call)
    found = implied_volatility(greeks.value, forward, strike, time, call)
    # Prices below the smallest normal number have too few digits.
    room = greeks.vega * 1e-8 / (8 * np.spacing(greeks.value))
    given_ = ~np.isnan(found)
    assert given_[(room > 1.001) & (greeks.value > 1e-300 * forward)].all()
    assert not given_[room < 0.999].any()
    assert (np.abs(found - volatility)[given_] < 1e-8).all()
    return given_


def test_round_trip_over_the_grid_of_10000_contracts():
    strike, volatility, time, call = contracts_of_all_kinds()
    assert check(np.full(len(strike), 100.0), strike, volatility, time, call).sum() > 3000


def test_round_trip_to_the_extremes():
    rng = np.random.default_rng(19)
    count = 200_000
    forward = np.exp(rng.normal(0, 3, count))
    strike = forward * np.exp(rng.choice([3, 0.3, 0.01, 1e-5, 0], count) * rng.normal(0, 1, count))
    volatility = np.exp(rng.uniform(np.log(1e-3), np.log(20), count))
    time = np.exp(rng.uniform(np.log(1e-4), np.log(30), count))
    assert check(forward, strike, volatility, time, rng.random(count) < 0.5).sum() > 100_000


@given(st.floats(-20, 20), st.floats(1e-3, 10), st.floats(1e-4, 30), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_volatility_comes_back_from_its_price(x, volatility, time, call):
    check(*(np.array([a]) for a in (1.0, np.exp(x), volatility, time, call)))


def test_a_further_step_changes_nothing(monkeypatch):
    """Shares of min(F, K) run from 1e-300 to 1 - 1e-16, log-moneyness from 1e-16 to 500."""
    rng = np.random.default_rng(23)
    strike = np.exp(-np.exp(rng.uniform(np.log(1e-16), np.log(500), 100_000)))
    share = np.exp(-np.exp(rng.uniform(np.log(1e-16), np.log(690), len(strike))))
    found = implied_volatility(share * strike, 1.0, strike, 1.0, "put")
    monkeypatch.setattr(implied, "STEPS", implied.STEPS + 1)
    further = implied_volatility(share * strike, 1.0, strike, 1.0, "put")
    assert (~np.isnan(found)).sum() > 50_000
    np.testing.assert_allclose(further, found, rtol=1e-13)


def test_reasons_for_nan():
    prices = np.array([np.nan, 9.9, 10.0, 110.0, 111.0, np.inf, -1.0, 12.0])
    found = implied_volatility(prices, 110.0, 100.0, 0.5)
    assert np.isnan(found[:-1]).all()
    assert found[-1] == pytest.approx(0.2, abs=0.05)
    puts = implied_volatility(np.array([0.0, 100.0, 2.0]), 110.0, 100.0, 0.5, "put")
    assert np.isnan(puts).tolist() == [True, True, False]
    # The option is 0.5 in the money, with 1 % volatility for an hour: its time value is far below
    # the rounding of the price.
    price = black76(150.0, 100.0, 0.01, 1 / 8760)
    assert np.isnan(implied_volatility(price, 150.0, 100.0, 1 / 8760))


def test_types_and_shapes():
    price = black76(np.float32([90, 110]), 100.0, 0.25, 0.5)
    found = implied_volatility(price, np.float32([90, 110]), [[100], [100]], 0.5)
    assert found.shape == (2, 2)
    assert found.dtype == np.float64
    assert np.abs(found - 0.25).max() < 1e-5  # the price is rounded to float32
    assert implied_volatility(8.0, 100, 100, 1).shape == ()
    assert implied_volatility(np.empty(0), 100, 100, 1).shape == (0,)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((5.0, -1.0, 100.0, 1.0), "forward is -1.0; it must be finite and above 0"),
        ((5.0, 100.0, [0.0], 1.0), "strike, element 0 is 0.0;"),
        ((5.0, 100.0, 100.0, 0.0), "time is 0.0;"),
        ((5.0, 100.0, 100.0, 1.0, "both"), "kind must be"),
        (("5", 100.0, 100.0, 1.0), "price must be numbers"),
        (([5.0, 6.0], [1.0, 2.0, 3.0], 100.0, 1.0), "do not broadcast"),
    ],
)
def test_bad_inputs_are_refused_by_name(inputs, message):
    with pytest.raises(DataError, match=message):
        implied_volatility(*inputs)

"""Black-76: limits, layouts, types, errors, and properties of every European option."""

import numpy as np
import pytest
import QuantLib as ql
from hypothesis import given, settings
from hypothesis import strategies as st

from mcmargin.errors import DataError, McMarginError
from mcmargin.numerics.black import black76, black76_greeks, black76_point, black76_values
from mcmargin.numerics.chunks import CHUNK_BYTES

UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}

moneyness = st.floats(0.05, 20)
volatilities = st.floats(0, 5)
times = st.floats(0, 10)
dtypes = st.sampled_from([np.float32, np.float64])


def rounding(dtype, *values):
    """Return 6 units of each forward and 2 of each value; test_options.py derives this bound."""
    return UNIT[dtype] * sum(6 * abs(float(v)) for v in values)


@given(moneyness, moneyness, volatilities, times, dtypes)
@settings(deadline=None)
def test_parity_and_bounds(forward, strike, volatility, time, dtype):
    f, k, v, t = (dtype(x) for x in (forward, strike, volatility, time))
    call, put = black76(f, k, v, t), black76(f, k, v, t, "put")
    assert call.dtype == put.dtype == dtype
    # Both share the out-of-the-money value; one adds intrinsic value. So both are rounded once.
    assert abs(float(call) - float(put) - (float(f) - float(k))) <= 4 * UNIT[dtype] * float(f + k)
    edge = rounding(dtype, f, k)
    assert max(float(f) - float(k), 0) - edge <= call <= f + edge
    assert max(float(k) - float(f), 0) - edge <= put <= k + edge


@given(moneyness, volatilities, times, dtypes, st.booleans())
@settings(deadline=None)
def test_monotone_and_convex_in_strike(forward, volatility, time, dtype, call):
    strikes = np.linspace(0, 25, 501)
    values = black76(dtype(forward), strikes.astype(dtype), dtype(volatility), dtype(time), call)
    edge = rounding(dtype, forward, 25)
    steps = np.diff(values.astype(float)) * (1 if call else -1)
    assert (steps <= edge).all()
    assert (steps >= -0.05 - edge).all()
    assert (np.diff(values.astype(float), 2) >= -2 * edge).all()


@given(moneyness, moneyness, times, dtypes, st.booleans())
@settings(deadline=None)
def test_monotone_in_volatility(forward, strike, time, dtype, call):
    axis = np.append(0.0, np.geomspace(1e-4, 30, 200)).astype(dtype)
    values = black76(dtype(forward), dtype(strike), axis, dtype(time), call)
    assert (np.diff(values.astype(float)) >= -rounding(dtype, forward, strike)).all()


@given(moneyness, moneyness, st.floats(0.05, 2), st.floats(0.02, 5), st.booleans())
@settings(deadline=None)
def test_greeks_are_derivatives(forward, strike, volatility, time, call):
    """Central differences err by rounding over the step, and by step^2 times a third derivative."""
    greeks = black76_greeks(forward, strike, volatility, time, call)
    df, dv, dt = 1e-4 * forward, 1e-4 * volatility, 1e-4 * time

    def value(f=forward, v=volatility, t=time):
        return black76(f, strike, v, t, call)

    s = volatility * np.sqrt(time)
    delta = (value(f=forward + df) - value(f=forward - df)) / (2 * df)
    gamma = (value(f=forward + df) - 2 * value() + value(f=forward - df)) / df**2
    vega = (value(v=volatility + dv) - value(v=volatility - dv)) / (2 * dv)
    theta = -(value(t=time + dt) - value(t=time - dt)) / (2 * dt) / 365
    top = forward + strike
    assert abs(greeks.delta - delta) < 1e-8 * (1 + 1 / s**2) + 1e-11 * top / forward
    assert abs(greeks.gamma - gamma) * forward < 1e-8 * (1 + 1 / s**3) + 1e-6 * top / forward
    assert abs(greeks.vega - vega) < 1e-6 * greeks.vega * (1 + 1 / s**4) + 1e-10 * top / volatility
    assert abs(greeks.theta - theta) < 1e-6 * (abs(greeks.theta) * (1 + 1 / s**4) + top / time)
    assert black76(forward, strike, volatility, time, call) == greeks.value


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_time_or_volatility_left_is_intrinsic(dtype):
    forward = np.array([90, 100, 110], dtype)
    for volatility, time in ((0.0, 1.0), (0.2, 0.0), (0.0, 0.0)):
        assert black76(forward, 100.0, volatility, time).tolist() == [0, 0, 10]
        assert black76(forward, 100.0, volatility, time, "put").tolist() == [10, 0, 0]
        greeks = black76_greeks(forward, 100.0, volatility, time)
        assert greeks.delta.tolist() == [0, 0.5, 1]
        assert greeks.gamma.tolist() == [0, np.inf, 0]
        assert greeks.theta.tolist() == [0, -np.inf if volatility > 0 else 0, 0]
        at_strike = 100 * np.sqrt(time / (2 * np.pi))
        assert greeks.vega.tolist() == pytest.approx([0, at_strike, 0], rel=1e-6)


def test_ends_of_the_range():
    assert black76(100.0, 0.0, 0.2, 1.0) == 100  # a strike of 0 is the forward itself
    assert black76(100.0, 0.0, 0.2, 1.0, "put") == 0
    assert black76(100.0, 250.0, 1e6, 1.0) == 100  # the upper bounds
    assert black76(100.0, 250.0, 1e6, 1.0, "put") == 250
    assert 0 < black76(1.0, 1e6, 0.5, 1.0) < 1e-150  # far out, still to full accuracy
    assert black76(1e300, 1e-300, 0.5, 1.0) == 1e300


def test_kinds_in_a_mixed_batch():
    calls = np.array([True, False, True])
    mixed = black76([90.0, 100.0, 110.0], 100.0, 0.3, 0.5, calls)
    for at, kind in enumerate(["call", "put", "call"]):
        assert mixed[at] == black76([90.0, 100.0, 110.0][at], 100.0, 0.3, 0.5, kind)


def test_types_follow_those_of_the_arguments():
    single, double = np.float32([90, 110]), np.array([90.0, 110.0])
    assert black76(single, 100, 0.2, 0.5).dtype == np.float32
    assert black76(single, np.float32(100), np.float32([0.2, 0.3]), 0.5).dtype == np.float32
    assert black76(single, double, 0.2, 0.5).dtype == np.float64
    assert black76(single, np.array([100, 100]), 0.2, 0.5).dtype == np.float64
    assert black76(100, 100, 0.2, 1).dtype == np.float64
    assert black76_values(single, 100.0, double / 500, 0.7, 1.0, out=np.empty(2)).dtype == float


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_bit_depends_on_where_an_element_stands(dtype):
    """No bit depends on pieces, strides, broadcasting or the other elements of a piece."""
    rng = np.random.default_rng(17)
    count = 2 * CHUNK_BYTES // np.dtype(dtype).itemsize + 777
    forward = (100 * np.exp(rng.normal(0, 0.7, count))).astype(dtype)
    volatility = rng.uniform(0.01, 3, count).astype(dtype)
    whole = black76_values(forward, dtype(100), volatility, dtype(1.3), dtype(1))
    np.testing.assert_array_equal(
        whole[::-1], black76_values(forward[::-1], 100.0, volatility[::-1], 1.3, 1.0)
    )
    rows = black76_values(
        forward[: 7 * 1000].reshape(7, 1000).T,
        np.full((1, 1), 100, dtype),
        volatility[: 7 * 1000].reshape(7, 1000).T,
        1.3,
        np.ones(7),
        dtype=np.dtype(dtype),
    )
    np.testing.assert_array_equal(rows.T.ravel(), whole[:7000])
    for at in rng.integers(0, count, 200):
        alone = black76_values(forward[at : at + 1], 100.0, volatility[at : at + 1], 1.3, 1.0)
        assert alone[0] == whole[at]
    out = np.empty((2, count), dtype)
    black76_values(forward, np.array([[100.0], [120.0]]), volatility, 1.3, 1.0, out=out)
    np.testing.assert_array_equal(out[0], whole)


def test_nothing_in_nothing_out():
    assert black76(np.empty(0), 100.0, 0.2, 1.0).shape == (0,)
    assert black76_greeks(np.empty((3, 0)), 100.0, 0.2, 1.0).gamma.shape == (3, 0)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((0.0, 100.0, 0.2, 1.0), "forward is 0.0; it must be finite and above 0"),
        ((100.0, -1.0, 0.2, 1.0), "strike is -1.0; it must be finite and 0 or more"),
        ((100.0, [90, -1], 0.2, 1.0), "strike, element 1 is -1;"),
        ((100.0, 100.0, [[0.1, np.nan]], 1.0), "volatility, element 0, 1 is nan;"),
        ((100.0, 100.0, np.inf, 1.0), "volatility is inf;"),
        ((100.0, 100.0, 0.2, -0.1), "time is -0.1;"),
        ((100.0, "100", 0.2, 1.0), "strike must be numbers"),
        ((100.0, True, 0.2, 1.0), "strike must be numbers, not bool"),
        ((100.0, None, 0.2, 1.0), "strike must be numbers, not object"),
        ((100.0, 100.0, 0.2, 1.0, "straddle"), "kind must be 'call' or 'put', not 'straddle'"),
        ((100.0, 100.0, 0.2, 1.0, [1, -1]), "kind must be 'call', 'put' or booleans"),
        (([1.0, 2.0], [1.0, 2.0, 3.0], 0.2, 1.0), r"shapes \(2,\), \(3,\), .* do not broadcast"),
    ],
)
def test_bad_inputs_are_refused_by_name(inputs, message):
    for function in (black76, black76_greeks):
        with pytest.raises(DataError, match=message):
            function(*inputs)
    assert issubclass(DataError, McMarginError)


@pytest.mark.parametrize("kind", ["call", "put"])
@pytest.mark.parametrize("forward", [80.0, 100.0, 125.0])
def test_one_option_without_volatility_or_time_is_worth_what_it_pays(kind, forward):
    """Its delta is the limit of QuantLib's as volatility goes to 0, which is 1/2 at the money."""
    sign = 1.0 if kind == "call" else -1.0
    option = ql.Option.Call if kind == "call" else ql.Option.Put
    limit = ql.BlackCalculator(ql.PlainVanillaPayoff(option, 100.0), forward, 1e-9)
    for volatility, time in ((0.0, 1.0), (0.3, 0.0)):
        value, delta = black76_point(forward, 100.0, volatility, time, sign)
        assert value == max(sign * (forward - 100.0), 0.0)
        assert delta == pytest.approx(limit.deltaForward(), abs=1e-8)

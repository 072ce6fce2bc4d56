"""Option mathematics against QuantLib, mpmath and scipy.

The unit of rounding u is 2^-53 in float64 and 2^-24 in float32. Log-moneyness in deviations,
h = x/s, has a relative error of about 5 u, and exp(-h^2/2) turns that into 5 h^2 u. With the
rounding of the exponent and about 10 further operations, an out-of-the-money value has a relative
error below (10 + 6 h^2) u. The value is below exp(-h^2/2)/2 of min(F, K), so that its error is at
most 6 u of min(F, K). Adding intrinsic value costs 2 u of the sum.
"""

import subprocess
import sys
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
import QuantLib as ql

import mcmargin.numerics.normal
from mcmargin.numerics.black import black76, black76_greeks
from mcmargin.numerics.implied import implied_volatility
from mcmargin.numerics.normal import normal_cdf
from tests.helpers.contracts import contracts_of_all_kinds

UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}
ROOT = Path(__file__).parents[2]


def quantlib(forward, strike, volatility, time, call):
    """Return value, delta, gamma, vega and theta per day of QuantLib's BlackCalculator."""
    out = []
    for f, k, v, t, is_call in np.broadcast(forward, strike, volatility, time, call):
        kind = ql.Option.Call if is_call else ql.Option.Put
        black = ql.BlackCalculator(ql.PlainVanillaPayoff(kind, k), f, v * np.sqrt(t), 1.0)
        out.append(
            (
                black.value(),
                black.deltaForward(),
                black.gammaForward(),
                black.vega(t),
                black.thetaPerDay(f, t),
            )
        )
    return np.array(out).T


def exact(forward, strike, volatility, time, call):
    """Return the out-of-the-money value and the value asked for, in 60 digits, and h."""
    with mp.workdps(60):
        f, k, v, t = (mp.mpf(float(x)) for x in (forward, strike, volatility, time))
        s = v * mp.sqrt(t)
        d1 = mp.log(f / k) / s + s / 2
        sides = (1, -1) if f <= k else (-1, 1)
        otm, itm = (w * (f * mp.ncdf(w * d1) - k * mp.ncdf(w * (d1 - s))) for w in sides)
        value = otm if bool(call) == (f <= k) else itm
        return otm, value, float(abs(mp.log(f / k)) / s)


def sample(count, dtype, seed=3):
    """Draw contracts over a wide range, half of them near the money."""
    rng = np.random.default_rng(seed)
    x = rng.choice([0.02, 1.0], count) * rng.uniform(-2.3, 2.3, count)
    volatility = np.exp(rng.uniform(np.log(0.01), np.log(3), count))
    time = np.exp(rng.uniform(np.log(1 / 8760), np.log(5), count))
    numbers = [a.astype(dtype) for a in (100 * np.exp(x), np.full(count, 100.0), volatility, time)]
    return *numbers, rng.random(count) < 0.5


def test_10000_contracts_as_quantlib():
    contracts = contracts_of_all_kinds()
    assert len(contracts[0]) == 10_000
    value, delta, gamma, vega, theta = quantlib(100.0, *contracts)
    ours = black76_greeks(100.0, *contracts)
    np.testing.assert_array_equal(ours.value, black76(100.0, *contracts))
    # A value may be 10 forwards, and both libraries round it in its last places.
    assert np.abs(ours.value - value).max() < 1e-13 * 100
    assert np.abs(ours.delta - delta).max() < 1e-12
    assert np.abs(ours.vega - vega).max() < 1e-13 * 100
    assert np.abs(ours.theta - theta).max() < 1e-13 * 100
    np.testing.assert_allclose(ours.gamma, gamma, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_is_what_is_stated(dtype):
    unit, contracts = UNIT[dtype], sample(400, dtype)
    ours = black76(*contracts)
    other = black76(*contracts[:4], contracts[1] >= contracts[0])
    assert ours.dtype == dtype
    tiny = np.finfo(dtype).tiny * 1e6
    for at, contract in enumerate(zip(*contracts, strict=True)):
        otm, value, h = exact(*contract)
        limit = unit * (6 * float(min(contract[:2])) + 2 * float(value))
        assert abs(float(ours[at]) - value) <= limit
        if otm > tiny:
            assert abs(float(other[at]) / otm - 1) <= (10 + 6 * h * h) * unit


def test_greeks_in_float32():
    """Each has a relative error below 12 + 12 h^2 units; a delta near 1 may have 4 units more."""
    contracts = sample(4000, np.float32)
    single = black76_greeks(*contracts)
    double = black76_greeks(*(np.asarray(x, np.float64) for x in contracts[:4]), contracts[4])
    forward, strike, volatility, time, _ = (np.asarray(x, float) for x in contracts)
    h = np.abs(np.log(forward / strike)) / (volatility * np.sqrt(time))
    relative = (12 + 12 * h * h) * UNIT[np.float32]
    for name in ("delta", "gamma", "vega", "theta"):
        ours, true = getattr(single, name).astype(float), getattr(double, name)
        assert getattr(single, name).dtype == np.float32
        more = 4 * UNIT[np.float32] if name == "delta" else 0.0
        limit = relative * np.abs(true) + more + 1e-36  # below this, float32 numbers are not normal
        assert (np.abs(ours - true) <= limit).all(), name


@pytest.mark.parametrize(
    ("dtype", "lowest", "bound"), [(np.float64, -37.5, 1e-15), (np.float32, -12.9, 6e-7)]
)
def test_normal_distribution_function(dtype, lowest, bound):
    rng = np.random.default_rng(5)
    x = np.append(rng.uniform(lowest, 8, 1500), [0.0, lowest]).astype(dtype)
    with mp.workdps(40):
        true = [mp.ncdf(mp.mpf(float(point))) for point in x]
    ours = normal_cdf(x)
    assert ours.dtype == dtype
    assert max(abs(float(a) / b - 1) for a, b in zip(ours, true, strict=True)) < bound


def test_polynomials_are_those_that_the_script_fits():
    script = ROOT / "tools" / "fit_normal_tail.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    source = Path(mcmargin.numerics.normal.__file__).read_text(encoding="utf-8")
    blocks = done.stdout.strip().split("\n)\n")
    assert len(blocks) == 2
    for block in blocks:
        assert block.removesuffix("\n)") in source


def test_implied_volatility_as_quantlib():
    """QuantLib's solver needs an out-of-the-money value that is a normal share."""
    strike, volatility, time, call = contracts_of_all_kinds()
    price, vega = (
        getattr(black76_greeks(100.0, *contracts_of_all_kinds()), name)
        for name in ("value", "vega")
    )
    ours = implied_volatility(price, 100.0, strike, time, call)
    known = (vega > 1e-4) & (volatility * np.sqrt(time) < 3)
    assert known.sum() > 2000
    for at in np.flatnonzero(known):
        deviation = ql.blackFormulaImpliedStdDev(
            ql.Option.Call if call[at] else ql.Option.Put,
            *(strike[at], 100.0, price[at], 1.0, 0.0),
            *(volatility[at] * np.sqrt(time[at]) * 1.1, 1e-14, 200),
        )
        assert abs(ours[at] - deviation / np.sqrt(time[at])) < 1e-8


def test_implied_volatility_of_correctly_rounded_prices():
    """Prices are made with 60 digits, from 1e-300 of the forward up to 1 - 1e-15 of it."""
    rng = np.random.default_rng(11)
    count = 600
    strike = np.exp(rng.choice([1e-4, 0.1, 3.0], count) * rng.uniform(-1, 1, count))
    volatility = np.exp(rng.uniform(np.log(0.005), np.log(8), count))
    time = np.exp(rng.uniform(np.log(1 / 8760), np.log(5), count))
    call = rng.random(count) < 0.5
    contracts = zip(strike, volatility, time, call, strict=True)
    price = np.array([float(exact(1.0, *contract)[1]) for contract in contracts])
    ours = implied_volatility(price, 1.0, strike, time, call)
    vega = black76_greeks(1.0, strike, volatility, time, call).vega
    known = (vega * 1e-8 > 8 * np.spacing(price)) & (price > 1e-300)
    assert known.sum() > 300
    assert (~known).sum() > 50
    assert np.abs(ours - volatility)[known].max() < 1e-8
    assert np.isnan(ours[~known]).mean() > 0.98  # the others lie at the threshold

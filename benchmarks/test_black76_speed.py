"""Black-76 and implied volatility beside other libraries, with one thread each.

The workloads are a million calls of one strike and one time, each with its own forward and
volatility, as an option has them over scenarios, in float32 and float64; and a hundred thousand
implied volatilities. If there is a GPU, our functions also run on its arrays. py_vollib_vectorized
0.1.1 is compared with if it is installed. The extra does not install it: it works only with
py_vollib 1.0.1 and py_lets_be_rational 1.0.1, and these install a package named `tests`.
"""

import functools
import math

import numpy as np
import pytest
from scipy.special import ndtr

from benchmarks.books import skip_without
from benchmarks.peers import available
from benchmarks.size import size
from mcmargin.numerics.arrays import to_host
from mcmargin.numerics.black import black76, black76_values
from mcmargin.numerics.implied import implied_volatility

STRIKE, TIME = 100.0, 0.25
CUPY = "mcmargin, cupy"
COUNTS = {
    "float32": size(1_000_000, 1000),
    "float64": size(1_000_000, 1000),
    "implied": size(100_000, 1000),
}


def ours(forward, volatility):
    return black76_values(forward, STRIKE, volatility, math.sqrt(TIME), 1.0)


def scipy_ndtr(forward, volatility):
    """The formula as books print it, on whole arrays of the arguments' type."""
    deviation = volatility * forward.dtype.type(math.sqrt(TIME))
    d1 = np.log(forward / forward.dtype.type(STRIKE)) / deviation + deviation / 2
    return forward * ndtr(d1) - forward.dtype.type(STRIKE) * ndtr(d1 - deviation)


@functools.cache
def _numba_kernel():
    import numba

    @numba.njit(fastmath=True)
    def run(forward, volatility):
        out = np.empty_like(forward)
        for at in range(len(forward)):
            deviation = volatility[at] * math.sqrt(TIME)
            d1 = math.log(forward[at] / STRIKE) / deviation + deviation / 2
            d2 = d1 - deviation
            out[at] = 0.5 * (
                forward[at] * math.erfc(-d1 * math.sqrt(0.5))
                - STRIKE * math.erfc(-d2 * math.sqrt(0.5))
            )
        return out

    return run


def numba(forward, volatility):
    """A compiled loop."""
    return _numba_kernel()(forward, volatility)


def quantlib(forward, volatility):
    """A loop over QuantLib's blackFormula, as its bindings have no arrays."""
    import QuantLib as ql

    root, call, price = math.sqrt(TIME), ql.Option.Call, ql.blackFormula
    pairs = zip(forward.tolist(), volatility.tolist(), strict=True)
    return np.array([price(call, STRIKE, f, v * root) for f, v in pairs])


def vollib(forward, volatility):
    from py_vollib_vectorized.models import vectorized_black

    return vectorized_black("c", forward, STRIKE, TIME, 0.0, volatility, return_as="numpy")


def our_implied(forward, price):
    return implied_volatility(price, forward, STRIKE, TIME)


def quantlib_implied(forward, price):
    import QuantLib as ql

    call, solve = ql.Option.Call, ql.blackFormulaImpliedStdDev
    pairs = zip(forward.tolist(), price.tolist(), strict=True)
    return np.array([solve(call, STRIKE, f, p) for f, p in pairs]) / math.sqrt(TIME)


def vollib_implied(forward, price):
    from py_vollib_vectorized.implied_volatility import vectorized_implied_volatility_black

    return vectorized_implied_volatility_black(
        price, forward, STRIKE, 0.0, TIME, "c", return_as="numpy"
    )


def waited(run):
    """Wait until the device is done."""

    def timed(*args):
        import cupy

        found = run(*args)
        cupy.cuda.Device().synchronize()
        return found

    return timed


VALUES = {
    "mcmargin": ours,
    CUPY: waited(ours),
    "scipy ndtr": scipy_ndtr,
    "numba": numba,
    "quantlib": quantlib,
    "py_vollib_vectorized": vollib,
}
IMPLIED = {
    "mcmargin": our_implied,
    "quantlib": quantlib_implied,
    "py_vollib_vectorized": vollib_implied,
}
MODULES = {"scipy ndtr": "scipy", "quantlib": "QuantLib"}
CASES = [(group, peer) for group in ("float32", "float64") for peer in VALUES]
CASES += [("implied", peer) for peer in IMPLIED]


def inputs(group):
    """Forwards within some 40 % of the strike, and volatilities of 10 % to 80 %."""
    rng = np.random.default_rng(7)
    count = COUNTS[group]
    dtype = np.float32 if group == "float32" else np.float64
    forward = (STRIKE * np.exp(rng.normal(0, 0.15, count))).astype(dtype)
    return forward, rng.uniform(0.1, 0.8, count).astype(dtype)


@pytest.mark.parametrize(("group", "peer"), CASES)
def test_black76(benchmark, group, peer):
    if peer == CUPY:
        skip_without("cupy")
    elif peer != "mcmargin" and not available(MODULES.get(peer, peer)):
        pytest.skip(f"{peer} is not installed")
    forward, volatility = inputs(group)
    value = black76(forward, STRIKE, volatility, TIME)
    given = (forward, volatility) if group != "implied" else (forward, value)
    if peer == CUPY:
        import cupy

        given = tuple(map(cupy.asarray, given))
    run = (IMPLIED if group == "implied" else VALUES)[peer]
    benchmark.group = group
    benchmark.extra_info["who"] = peer
    found = benchmark.pedantic(
        run, args=given, rounds=2 if peer == "quantlib" else 11, warmup_rounds=1
    )
    found = to_host(found)
    rate = COUNTS[group] / benchmark.stats.stats.median / 1e6
    benchmark.extra_info["million a second"] = round(rate, 1)
    if group == "implied":
        # QuantLib stops at 1e-6. If rounding of the price leaves the volatility open, ours is NaN.
        known = ~np.isnan(our_implied(*given))
        assert np.abs(found - volatility)[known].max() < 1e-5
    else:
        assert np.abs(found - value).max() < 1e-5 * STRIKE

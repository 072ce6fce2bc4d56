"""Options against QuantLib, their greeks and their own payoff, on simulated scenarios."""

from dataclasses import replace

import numpy as np
import pytest
import QuantLib as ql

import mcmargin as mm
from tests.helpers.models import make_model, returns_of
from tests.helpers.valued import AS_OF, MARKET, SPOT, margin_of, market_of, paths_of


@pytest.mark.parametrize("kind", ["call", "put"])
def test_a_long_options_loss_never_exceeds_its_value(scenarios, kind):
    for strike in (60.0, 100.0, 140.0):
        option = mm.Option("o", "a0", kind, strike, "2020-01-10")
        for horizon in (1, 2, 5):
            gain = option.gain(paths_of(scenarios, horizon))
            assert gain.min() >= -option.value(MARKET) - 1e-12


def test_an_option_on_every_path_is_quantlibs(scenarios):
    """QuantLib at each path's own forward, time and volatility, a sample of paths."""
    terms = {"rates": {"USD": 0.03}, "carry": {"a0": 0.06}}
    market = market_of(**terms)
    option = mm.Option("o", "a0", "put", 105.0, "2020-02-20", contract_size=3.0)
    at = paths_of(scenarios, 2, market)
    years = 48 / 365
    ratio = at.volatility_ratio("a0", years)
    gain = option.gain(at)
    today = 50 / 365
    start = 3.0 * ql.blackFormula(
        ql.Option.Put, 105.0, 100 * np.exp(0.06 * today), 0.4 * today**0.5, np.exp(-0.03 * today)
    )
    assert option.value(market) == pytest.approx(start, rel=1e-10)
    for path in range(0, 20_000, 997):
        forward = 100 * (1 + returns_of(scenarios, 2)[path]) * np.exp(0.06 * years)
        deviation = 0.4 * ratio[path] * years**0.5
        value = ql.blackFormula(ql.Option.Put, 105.0, forward, deviation, np.exp(-0.03 * years))
        assert gain[path] == pytest.approx(3.0 * value - start, abs=1e-9)


def test_greeks_are_quantlibs_finite_differences():
    market = market_of(rates={"USD": 0.03}, carry={"a0": 0.06})
    option = mm.Option("o", "a0", "call", 105.0, "2020-07-01")
    greeks = option.greeks(market)

    def value(spot=100.0, volatility=0.4, days=182.0):
        years = days / 365
        forward, deviation = spot * np.exp(0.06 * years), volatility * years**0.5
        return ql.blackFormula(ql.Option.Call, 105.0, forward, deviation, np.exp(-0.03 * years))

    step = 1e-3
    up, down = value(100 + step), value(100 - step)
    assert greeks["value"] == pytest.approx(value(), rel=1e-12)
    assert greeks["delta"] == pytest.approx((up - down) / (2 * step), rel=1e-7)
    assert greeks["gamma"] == pytest.approx((up - 2 * value() + down) / step**2, rel=1e-4)
    vega = (value(volatility=0.4 + 1e-5) - value(volatility=0.4 - 1e-5)) / 2e-5
    assert greeks["vega"] == pytest.approx(vega, rel=1e-7)
    theta = (value(days=182 - 1e-3) - value(days=182 + 1e-3)) / 2e-3
    assert greeks["theta"] == pytest.approx(theta, rel=1e-6)


def test_small_moves_are_delta_and_gamma(scenarios):
    """Third order and more left over: at 0.1 % moves, below 1e-4 of the second."""
    small = replace(scenarios, returns=scenarios.returns * 1e-3)
    option = mm.Option("o", "a0", "call", 100.0, "2021-01-01")
    model = scenarios.model
    still = replace(model, volatility=replace(model.volatility, kinds=("constant", "garch")))
    market = market_of(vol_of_vol={"a0": 0.0})
    at = paths_of(replace(small, model=still), 1, market)
    greeks = option.greeks(market)
    moved = 100 * returns_of(small, 1)
    later = replace(market, as_of=AS_OF + np.timedelta64(1, "D"))
    passed = option.value(later) - option.value(market)
    expected = passed + greeks["delta"] * moved + 0.5 * greeks["gamma"] * moved**2
    drift = np.abs(greeks["delta"] - option.greeks(later)["delta"])
    bound = drift * np.abs(moved) + 1e-3 * greeks["gamma"] * moved**2 + 1e-9
    assert (np.abs(option.gain(at) - expected) <= bound).all()


@pytest.mark.parametrize("settlement", ["quote", "coin"])
def test_an_option_that_expires_inside_the_horizon_pays_and_stays(scenarios, settlement):
    """Expiry on the 3rd at midnight is bar 2: cash stays cash, coin moves on to bar 5."""
    option = mm.Option("o", "a0", "call", 98.0, "2020-01-03", settlement=settlement)
    settled, last = (100.0 * (1 + returns_of(scenarios, h)) for h in (2, 5))
    paid = np.maximum(settled - 98.0, 0.0)
    if settlement == "coin":
        paid *= last / settled
    np.testing.assert_allclose(
        option.gain(paths_of(scenarios, 5)), paid - option.value(MARKET), atol=1e-11
    )
    late = replace(option, expiry=np.datetime64("2020-01-03T12:00", "ns"))
    with pytest.raises(mm.PolicyError, match=r"settles at the close of bar 3.*\(3, 5\)"):
        late.gain(paths_of(scenarios, 5))


def test_an_option_on_a_future_follows_its_price(scenarios):
    future = mm.Future("F", "a0", "2020-06-01", carry=0.1, basis_volatility=0.3)
    option = mm.Option("o", "a0", "call", 100.0, "2020-02-01", future=future)
    at = paths_of(scenarios, 2)
    forward = future.price_on(at)
    volatility = 0.4 * at.volatility_ratio("a0", 29 / 365)
    value = mm.black76(forward, 100.0, volatility, 29 / 365)
    np.testing.assert_allclose(option.gain(at), value - option.value(MARKET), atol=1e-11)


def test_a_declared_volatility_of_volatility(scenarios):
    """The squared ratio is lognormal with mean 1 and log standard deviation 2 v sqrt(t)."""
    model = make_model(("constant",), variance=4e-4)
    still = mm.simulate(model, horizon=2, paths=50_000, seed=3)
    market = mm.Market(
        as_of=AS_OF, spot={"a0": 100.0}, volatility={"a0": 0.4}, vol_of_vol={"a0": 1.2}
    )
    squared = paths_of(still, 2, market).volatility_ratio("a0", 0.1) ** 2
    spread = 2 * 1.2 * np.sqrt(2 / 365)
    assert abs(np.log(squared).std() / spread - 1) < 4 / np.sqrt(2 * 50_000)
    assert abs(squared.mean() - 1) < 4 * squared.std() / np.sqrt(50_000)
    silent = replace(market, vol_of_vol={})
    with pytest.raises(mm.DataError, match=r"constant.*vol_of_vol"):
        paths_of(still, 2, silent).volatility_ratio("a0", 0.1)


def test_an_index_of_volatility_drives_a_surface(scenarios):
    market = market_of(volatility_asset={"a0": "a1"})
    at = paths_of(scenarios, 2, market)
    month = at.volatility_ratio("a0", 30 / 365)
    moves = 1 + returns_of(scenarios, 2, 1)
    np.testing.assert_allclose(month, moves / np.sqrt((moves**2).mean()), rtol=1e-9)
    # Implied variance is worth today what it is expected to be: no drift is charged or given.
    assert (month**2).mean() == pytest.approx(1.0, rel=1e-9)
    year = at.volatility_ratio("a0", 1.0)
    # Longer options are moved less, and each in the same direction.
    assert (np.abs(year - 1) <= np.abs(month - 1) + 1e-12).all()
    assert 0.1 < np.std(year) / np.std(month) < 0.9


@pytest.mark.parametrize("bar", [1, 2])
def test_a_driver_or_an_underlying_that_the_model_lacks(scenarios, bar):
    call = mm.Option("C", "a0", "call", 105.0, "2020-02-01")
    market = market_of(volatility_asset={"a0": "vix"})
    with pytest.raises(mm.DataError, match="no asset 'vix' to drive the volatility of 'a0'"):
        margin_of([("x", "C", 1.0)], scenarios, [call], market, horizon=bar)
    other = mm.Market(AS_OF, SPOT | {"gold": 1.0}, volatility={"gold": 0.2})
    with pytest.raises(mm.DataError, match="the model has no asset 'gold'"):
        paths_of(scenarios, bar, other).volatility_ratio("gold", 0.1)

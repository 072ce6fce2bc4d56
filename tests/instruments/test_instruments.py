"""Instruments against their definitions, QuantLib, and one another, on simulated scenarios."""

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
import QuantLib as ql

import mcmargin as mm
from mcmargin.valuing.scenario_market import PathBlock
from tests.helpers.books import book_of
from tests.helpers.models import make_model

AS_OF = np.datetime64("2020-01-01", "ns")  # a Wednesday; every model here trades all week
SPOT = {"a0": 100.0, "a1": 50.0}


@pytest.fixture(scope="module")
def scenarios():
    model = make_model(("gjr", "garch"), "t", "t", variance=4e-4)
    return mm.simulate(model, horizons=(1, 2, 5), paths=20_000, seed=11, precision="double")


def market_of(**terms):
    return mm.Market(as_of=AS_OF, spot=SPOT, **({"volatility": {"a0": 0.4, "a1": 0.3}} | terms))


MARKET = market_of()


def paths_of(scenarios, horizon, market=MARKET):
    return PathBlock(scenarios, market, scenarios.plan.tiles).at(horizon)


def returns(scenarios, horizon, asset=0):
    return scenarios.returns[scenarios.horizon_index(horizon), asset].astype(float)


def margin_of(rows, scenarios, instruments, market=MARKET, accounts=None, **policy):
    book = book_of(rows, instruments, accounts=accounts)
    return mm.margin(book, scenarios, market, mm.MarginPolicy(**policy))


def test_an_inverse_perpetual_by_its_definition_in_coin(scenarios):
    """1/P - 1/P' coins a dollar of size, worth S' each; no basis, no funding."""
    perpetual = mm.Perpetual("P", "a0", inverse=True, contract_size=10.0, basis_volatility=0.0)
    moved = 100.0 * (1 + returns(scenarios, 2))
    coins = 10.0 * (1 / 100.0 - 1 / moved)
    np.testing.assert_allclose(
        perpetual.gain(paths_of(scenarios, 2)), coins * moved, rtol=1e-11, atol=1e-12
    )
    future = mm.Future("F", "a0", "2020-03-01", carry=0.1, inverse=True, basis_volatility=0.0)
    now, then = (np.exp(0.1 * days / 365) for days in (60, 58))
    coins = 1 / (100.0 * now) - 1 / (moved * then)
    np.testing.assert_allclose(
        future.gain(paths_of(scenarios, 2)), coins * moved, rtol=1e-9, atol=1e-12
    )


def test_funding_accrues_as_expected(scenarios):
    """1 bp each 8 hours over 2 days: 6 payments of 1 bp of 100, paid by the long."""
    free, paying = (
        mm.Perpetual("P", "a0", funding_rate=rate, basis_volatility=0.0) for rate in (0.0, 1e-4)
    )
    at = paths_of(scenarios, 2)
    np.testing.assert_allclose(paying.gain(at), free.gain(at) - 6 * 1e-4 * 100.0, atol=1e-12)


def test_stressed_funding_is_charged_beyond_the_expected(scenarios):
    """Over 2 days: stressed 6 x 5 bp of 100 either way; 6 x 1 bp of it is expected of the long."""
    perpetual = mm.Perpetual(
        "P", "a0", funding_rate=1e-4, stressed_funding_rate=5e-4, basis_volatility=0.0
    )
    report = margin_of([("l", "P", 3.0), ("s", "P", -3.0)], scenarios, [perpetual], horizon=2)
    np.testing.assert_allclose(
        report.figures["stressed_funding"], [3 * 0.3 - 3 * 0.06, 3 * 0.3 + 3 * 0.06]
    )
    figures = report.figures
    expected = figures["expected_shortfall"] + figures["stressed_funding"]
    np.testing.assert_allclose(figures["margin"], expected)


def test_a_futures_basis_is_a_bridge(scenarios):
    """Standard deviation v sqrt(t (T - t) / T) of F'/S' - exp(carry (T - t)), 0 at expiry."""
    for days, horizon in ((60, 2), (6, 5), (5, 5)):
        expiry = AS_OF + np.timedelta64(days, "D")
        future = mm.Future("F", "a0", expiry, basis_volatility=0.5)
        at = paths_of(scenarios, horizon)
        basis = future.price_on(at) / at.price("a0", "USD") - 1.0
        t, full = horizon / 365, days / 365
        expected = 0.5 * np.sqrt(t * (full - t) / full)
        # 20,000 paths: a standard deviation errs by 1/sqrt(2n) = 0.5 %.
        assert abs(basis.std() - expected) <= 4 * 0.005 * expected
        assert abs(basis.mean()) <= 4 * expected / np.sqrt(20_000)


def test_a_perpetuals_basis_grows_with_time_and_is_its_own(scenarios):
    one, other = (
        mm.Perpetual(name, "a0", basis_volatility=0.5).gain(paths_of(scenarios, 5))
        for name in ("P", "Q")
    )
    spot = mm.Spot("S", "a0").gain(paths_of(scenarios, 5))
    basis = (one - spot) / (100.0 + spot), (other - spot) / (100.0 + spot)
    assert abs(basis[0].std() / (0.5 * np.sqrt(5 / 365)) - 1) < 4 * 0.005
    assert abs(np.corrcoef(*basis)[0, 1]) < 4 / np.sqrt(20_000)
    early = mm.Perpetual("P", "a0", basis_volatility=0.5).gain(paths_of(scenarios, 2))
    spot = mm.Spot("S", "a0").gain(paths_of(scenarios, 2))
    early = (early - spot) / (100.0 + spot)
    # Increments are independent, and so the correlation of two horizons is sqrt(2/5).
    assert abs(np.corrcoef(early, basis[0])[0, 1] - np.sqrt(0.4)) < 4 / np.sqrt(20_000)


def test_a_contract_with_prices_of_its_own_moves_by_them(scenarios):
    perpetual = mm.Perpetual("P", "a0", price_asset="a1", basis_volatility=0.5)
    np.testing.assert_allclose(
        perpetual.gain(paths_of(scenarios, 2)), 50 * returns(scenarios, 2, 1)
    )
    inverse = replace(perpetual, inverse=True)
    spot, own = (p * (1 + returns(scenarios, 2, a)) for p, a in ((100.0, 0), (50.0, 1)))
    np.testing.assert_allclose(
        inverse.gain(paths_of(scenarios, 2)), (1 / 50.0 - 1 / own) * spot, atol=1e-12
    )


def test_a_cash_and_carry_book_is_not_free(scenarios):
    rows = [("x", "S", 10.0), ("x", "F", -10.0)]
    future = mm.Future("F", "a0", "2020-06-25", carry=0.04)
    report = margin_of(rows, scenarios, [mm.Spot("S", "a0"), future], horizon=2)
    # ES of a normal basis at 99 %: 2.665 standard deviations of 5 % sqrt(2/365) of 1,000.
    spread = 0.05 * np.sqrt(2 / 365) * 1000
    assert abs(report.accounts[0].margin / spread - 2.665) < 0.25


def test_a_book_and_its_exact_hedge(scenarios):
    """Call - put - forward by parity, quote-settled, in one expiry: ES 0 within rounding."""
    terms = {"rates": {"USD": 0.05}, "carry": {"a0": 0.05}}
    call, put = (mm.Option(k, "a0", k, 95.0, "2020-03-01") for k in ("call", "put"))
    rows = [("x", "call", 5.0), ("x", "put", -5.0), ("x", "S", -5.0)]
    report = margin_of(
        rows, scenarios, [call, put, mm.Spot("S", "a0")], market_of(**terms), horizon=2
    )
    # What is left is the carry of the strike, a number: 5 x 95 (exp(-r T') - exp(-r T)).
    account = report.accounts[0]
    carried = 5 * 95.0 * (np.exp(-0.05 * 58 / 365) - np.exp(-0.05 * 60 / 365))
    assert abs(account.expected_shortfall - carried) < 1e-10 * account.gross_exposure
    twice = [mm.Perpetual(n, "a0", basis_volatility=0.0) for n in ("P", "Q")]
    flat = margin_of([("x", "P", 7.0), ("x", "Q", -7.0)], scenarios, twice, horizon=2).accounts[0]
    assert abs(flat.expected_shortfall) <= 1e-12 * flat.gross_exposure


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
        forward = 100 * (1 + returns(scenarios, 2)[path]) * np.exp(0.06 * years)
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
    moved = 100 * returns(small, 1)
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
    settled, last = (100.0 * (1 + returns(scenarios, h)) for h in (2, 5))
    paid = np.maximum(settled - 98.0, 0.0)
    if settlement == "coin":
        paid *= last / settled
    np.testing.assert_allclose(
        option.gain(paths_of(scenarios, 5)), paid - option.value(MARKET), atol=1e-11
    )
    late = replace(option, expiry=np.datetime64("2020-01-03T12:00", "ns"))
    with pytest.raises(mm.PolicyError, match=r"settles at the close of bar 3.*\(3, 5\)"):
        late.gain(paths_of(scenarios, 5))


def test_a_future_that_expires_inside_the_horizon_settles_at_spot(scenarios):
    future = mm.Future("F", "a0", "2020-01-03", carry=0.5, basis_volatility=0.9)
    start = 100 * np.exp(0.5 * 2 / 365)
    np.testing.assert_allclose(
        future.gain(paths_of(scenarios, 5)), 100 * (1 + returns(scenarios, 2)) - start, atol=1e-11
    )


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
    moves = 1 + returns(scenarios, 2, 1)
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


def test_netting_and_account_is_the_sum_of_its_positions(scenarios):
    items = [
        mm.Spot("S", "a0"),
        mm.Perpetual("P", "a1"),
        mm.Future("F", "a0", "2020-06-01"),
        mm.Option("C", "a0", "call", 105.0, "2020-02-01"),
    ]
    rng = np.random.default_rng(67)
    rows = [("x", item.name, float(q)) for item, q in zip(items, rng.normal(0, 10, 4), strict=True)]
    whole = margin_of(rows, scenarios, items, horizon=2)
    alone = [margin_of([row], scenarios, items, horizon=2) for row in rows]
    total = sum(each.profit_and_loss("x") for each in alone)
    np.testing.assert_allclose(whole.profit_and_loss("x"), total, atol=1e-10)
    account = whole.accounts[0]
    shares = sum(position.contribution for position in account.contributions)
    assert abs(shares - account.expected_shortfall) <= 1e-12 * account.gross_exposure
    assert account.expected_shortfall <= sum(each.accounts[0].expected_shortfall for each in alone)


BAD = {
    "expired option": (
        lambda: mm.Option("o", "a0", "call", 100.0, "2019-12-31").value(MARKET),
        "'o' expired at 2019-12-31",
    ),
    "expired future": (lambda: mm.Future("f", "a0", AS_OF).price(MARKET), "'f' expired"),
    "negative strike": (lambda: mm.Option("o", "a0", "call", -1.0, "2020-02-01"), "strike must be"),
    "no expiry": (lambda: mm.Future("f", "a0", "soon"), "expiry: 'soon' is not an ISO time"),
    "expiry beyond nanoseconds": (lambda: mm.Future("f", "a0", "9999-12-31"), "1678 and 2261"),
    "expiry in no year": (lambda: mm.Future("f", "a0", "0001-01-01T00:00+10:00"), "1678 and 2261"),
    "expiry a number": (lambda: mm.Future("f", "a0", 20200201), "expiry: 20200201 is not an ISO"),
    "an option outlives its future": (
        lambda: mm.Option(
            "o", "a0", "put", 1.0, "2020-03-02", future=mm.Future("f", "a0", "2020-03-01")
        ),
        "'o' expires at 2020-03-02T00:00:00, after its future 'f' at 2020-03-01",
    ),
    "unknown kind": (lambda: mm.Option("o", "a0", "straddle", 1.0, "2020-02-01"), "'straddle'"),
    "unknown settlement": (
        lambda: mm.Option("o", "a0", "put", 1.0, "2020-02-01", settlement="shares"),
        "'shares' is unknown",
    ),
    "negative size": (lambda: mm.Perpetual("p", "a0", contract_size=-1.0), "contract_size must be"),
    "basis": (lambda: mm.Perpetual("p", "a0", basis_volatility=-0.1), "basis_volatility must be"),
    "text": (lambda: mm.Perpetual("p", "a0", funding_rate="1e-4"), "funding_rate must be a number"),
    "negative volatility": (lambda: market_of(volatility={"a0": -0.4}), "volatility of 'a0'"),
    "depeg": (lambda: mm.Depeg(1.5, 0.1), "probability must lie between 0 and 1"),
    "another future": (
        lambda: mm.Option(
            "o", "a1", "put", 1.0, "2020-02-01", future=mm.Future("f", "a0", "2020-03-01")
        ),
        "its future 'f' has the underlying 'a0', not 'a1'",
    ),
}


def test_expiries_are_utc_however_they_are_given():
    zone = timezone(timedelta(hours=2))
    for expiry in (
        "2020-02-01T08:00",
        "2020-02-01T10:00+02:00",
        datetime(2020, 2, 1, 10, tzinfo=zone),
        pd.Timestamp("2020-02-01T10:00+02:00"),
        np.datetime64("2020-02-01T08"),
    ):
        assert mm.Future("f", "a0", expiry).expiry == np.datetime64("2020-02-01T08:00", "ns")
    assert mm.Future("f", "a0", date(2020, 2, 1)).expiry == np.datetime64("2020-02-01", "ns")


@pytest.mark.parametrize("case", list(BAD))
def test_bad_instruments_and_markets(case):
    make, message = BAD[case]
    with pytest.raises(mm.DataError, match=message):
        make()


def test_what_the_market_or_the_model_lacks(scenarios):
    option = mm.Option("o", "a0", "call", 100.0, "2020-02-01")
    with pytest.raises(mm.DataError, match="no volatility of 'a0'"):
        margin_of([("x", "o", 1.0)], scenarios, [option], market_of(volatility={}))
    with pytest.raises(mm.DataError, match=r"'x'.*'o'.*no asset 'doge'"):
        margin_of([("x", "o", 1.0)], scenarios, [replace(option, underlying="doge")])
    perpetual = mm.Perpetual("p", "a0", price_asset="doge")
    with pytest.raises(mm.DataError, match="no asset 'doge'"):
        margin_of([("x", "p", 1.0)], scenarios, [perpetual])
    still = market_of(fx={"EUR": 1.2})
    with pytest.raises(mm.DataError, match="the rate of 'EUR' has no risk"):
        margin_of([("x", "e", 1.0)], scenarios, [mm.Spot("e", "EUR")], still)


def test_the_tail_of_a_long_inverse_perpetual_is_taken_in_quote_currency():
    """In a simulated coin the price floor would set it: 30 to 154 times notional by seed."""
    model = make_model(("gjr",), "t", "t", variance=4e-3)
    perpetual = mm.Perpetual("P", "a0", inverse=True, contract_size=100.0, basis_volatility=0.0)
    market = mm.Market(as_of=AS_OF, spot={"a0": 100.0}, coins=("a0",))
    margins = []
    for seed in range(8):
        scenarios = mm.simulate(model, horizon=2, paths=20_000, seed=seed)
        report = margin_of(
            [("x", "P", 1.0)], scenarios, [perpetual], market, [mm.Account("x", currency="a0")]
        )
        margins.append((report.accounts[0].margin, report.accounts[0].expected_shortfall_error))
    figures, errors = np.array(margins).T
    assert (np.abs(figures - figures.mean()) < 4 * errors).all()
    # A dollar of notional is 1 coin of 100; the linear contract's margin, in coin, is the same.
    linear = mm.Perpetual("P", "a0", basis_volatility=0.0)
    peer = margin_of([("x", "P", 1.0)], scenarios, [linear], market).accounts[0].margin
    assert figures[-1] == pytest.approx(peer / 100.0, rel=1e-9)


@pytest.mark.parametrize(
    "item",
    [
        mm.Spot("X", "a0"),
        mm.Perpetual("X", "a0", contract_size=3.0, basis_volatility=0.0),
        mm.Perpetual("X", "a0", inverse=True, contract_size=100.0, basis_volatility=0.0),
        mm.Future("X", "a0", "2020-06-01", carry=0.4, basis_volatility=0.0),
        mm.Future(
            "X",
            "a0",
            "2020-06-01",
            carry=0.4,
            inverse=True,
            contract_size=9.0,
            basis_volatility=0.0,
        ),
    ],
    ids=str,
)
def test_exposure_is_the_gain_of_a_relative_move(item, scenarios):
    """Straight in the spot price, so by two paths: gain up less gain down over the move."""
    at = paths_of(scenarios, 2)
    gains, moves = item.gain(at), returns(scenarios, 2)
    slope = (gains.max() - gains.min()) / (moves.max() - moves.min())
    # A future's slope is that of the horizon: two days of carry of 0.4 less.
    assert item.exposure(MARKET) == pytest.approx(slope, rel=np.expm1(0.4 * 2 / 365) + 1e-9)

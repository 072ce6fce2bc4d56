"""Linear instruments: what cannot be declared."""

from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from tests.helpers.models import make_model, returns_of
from tests.helpers.valued import AS_OF, margin_of, market_of, paths_of


def test_an_inverse_contract_is_quoted_in_money():
    for make in (mm.Perpetual, lambda *a, **k: mm.Future(*a[:2], "2021-01-01", *a[2:], **k)):
        with pytest.raises(mm.DataError, match=r"quoted in, as USD, not its coin 'a0'"):
            make("P", "a0", "a0", inverse=True)


def test_an_inverse_perpetual_by_its_definition_in_coin(scenarios):
    """1/P - 1/P' coins a dollar of size, worth S' each; no basis, no funding."""
    perpetual = mm.Perpetual("P", "a0", inverse=True, contract_size=10.0, basis_volatility=0.0)
    moved = 100.0 * (1 + returns_of(scenarios, 2))
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
        perpetual.gain(paths_of(scenarios, 2)), 50 * returns_of(scenarios, 2, 1)
    )
    inverse = replace(perpetual, inverse=True)
    spot, own = (p * (1 + returns_of(scenarios, 2, a)) for p, a in ((100.0, 0), (50.0, 1)))
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


def test_a_future_that_expires_inside_the_horizon_settles_at_spot(scenarios):
    future = mm.Future("F", "a0", "2020-01-03", carry=0.5, basis_volatility=0.9)
    start = 100 * np.exp(0.5 * 2 / 365)
    np.testing.assert_allclose(
        future.gain(paths_of(scenarios, 5)),
        100 * (1 + returns_of(scenarios, 2)) - start,
        atol=1e-11,
    )


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

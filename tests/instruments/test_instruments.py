"""Instruments: what cannot be declared, valued or settled is refused, and accounts add up."""

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from tests.helpers.models import returns_of
from tests.helpers.valued import AS_OF, MARKET, margin_of, market_of, paths_of


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
    gains, moves = item.gain(at), returns_of(scenarios, 2)
    slope = (gains.max() - gains.min()) / (moves.max() - moves.min())
    # A future's slope is that of the horizon: two days of carry of 0.4 less.
    assert item.exposure(MARKET) == pytest.approx(slope, rel=np.expm1(0.4 * 2 / 365) + 1e-9)

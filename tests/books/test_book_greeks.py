"""Greeks: against revaluation on the scenarios that margins are taken on, and QuantLib."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import QuantLib as ql

import mcmargin as mm
from mcmargin.books.book_greeks import GREEKS, greeks_of, instrument_greeks
from mcmargin.valuing.scenario_market import PathBlock
from tests.helpers.books import book_of
from tests.helpers.models import make_model

AS_OF = np.datetime64("2020-01-01", "ns")
MARKET = mm.Market(
    as_of=AS_OF,
    spot={"a0": 100.0, "a1": 80.0},
    volatility={"a0": 0.4},
    rates={"USD": 0.03},
    carry={"a0": 0.05},
    fx={"EUR": 1.25},
)
FUTURE = mm.Future("F", "a0", "2020-06-30", contract_size=2.0, basis_volatility=0.0)
LINEAR = [
    mm.Spot("S", "a0"),
    mm.Perpetual("P", "a0", contract_size=3.0, funding_rate=1e-4, basis_volatility=0.0),
    mm.Perpetual("paid", "a0", funding_rate=-1e-4, funding_hours=4.0, basis_volatility=0.0),
    mm.Perpetual("inverse", "a0", inverse=True, contract_size=10.0, basis_volatility=0.0),
    mm.Perpetual("own", "a0", price_asset="a1"),
    mm.Perpetual("inverse own", "a0", inverse=True, price_asset="a1"),
    FUTURE,
    mm.Future("steep", "a0", "2020-06-30", carry=-0.3, basis_volatility=0.0),
    mm.Future("inverse F", "a0", "2020-06-30", inverse=True, basis_volatility=0.0),
    mm.Future("own F", "a0", "2020-06-30", price_asset="a1"),
]
OPTIONS = [
    mm.Option("C", "a0", "call", 105.0, "2020-06-30", contract_size=2.0),
    mm.Option("puts", "a0", "put", 90.0, "2020-02-15"),
    mm.Option("on F", "a0", "call", 105.0, "2020-06-30", future=FUTURE),
]


def gains(instrument, moves):
    """Gains a day on, on a path a move, where all assets move by the same share."""
    model = make_model(("garch", "garch"))
    drawn = mm.simulate(model, horizon=1, paths=len(moves), seed=1, precision="double")
    returns = np.broadcast_to(moves, drawn.returns.shape).copy()
    scenarios = replace(drawn, returns=returns)
    return instrument.gain(PathBlock(scenarios, MARKET, scenarios.plan.tiles).at(1))


@pytest.mark.parametrize("instrument", LINEAR, ids=lambda item: item.name)
def test_of_contracts_by_differences_of_their_gains(instrument):
    greeks, h = greeks_of(instrument, MARKET), 1e-3
    down, still, up = gains(instrument, np.array([-h, 0.0, h]))
    step = h * 100.0
    # Straight in the spot price: what is left is rounding, and a day's carry of the slope.
    assert greeks["delta"] == pytest.approx((up - down) / (2 * step), rel=1e-3)
    assert greeks["gamma"] == 0.0
    assert abs(up - 2 * still + down) / step**2 < 1e-7
    # The second order of a day of carry c is c / 730 of the first.
    assert greeks["theta"] == pytest.approx(still, rel=1e-3, abs=1e-12)
    assert greeks["vega"] == 0.0
    assert greeks["value"] == instrument.value(MARKET)


@pytest.mark.parametrize("instrument", OPTIONS, ids=lambda item: item.name)
def test_of_options_by_differences_of_their_values(instrument):
    greeks = greeks_of(instrument, MARKET)

    def value(spot=0.0, volatility=0.0, hours=0):
        moved = replace(
            MARKET,
            as_of=AS_OF + np.timedelta64(hours, "h"),
            spot={"a0": 100.0 + spot},
            volatility={"a0": 0.4 + volatility},
        )
        return instrument.value(moved)

    # Central differences: their error is of the square of the step.
    assert greeks["delta"] == pytest.approx((value(0.01) - value(-0.01)) / 0.02, rel=1e-6)
    second = (value(0.1) - 2 * value() + value(-0.1)) / 0.01
    assert greeks["gamma"] == pytest.approx(second, rel=1e-4)
    slope = (value(volatility=1e-4) - value(volatility=-1e-4)) / 2e-4
    assert greeks["vega"] == pytest.approx(slope, rel=1e-6)
    assert greeks["theta"] == pytest.approx(12 * (value(hours=1) - value(hours=-1)), rel=1e-5)


def quantlib(kind, strike, expiry):
    """Greeks of a European option, theta a day at an unmoved spot price."""
    ql.Settings.instance().evaluationDate = ql.Date(1, 1, 2020)
    day = ql.Actual365Fixed()
    spot = ql.QuoteHandle(ql.SimpleQuote(100.0))
    curves = [
        ql.YieldTermStructureHandle(ql.FlatForward(0, ql.NullCalendar(), rate, day))
        for rate in (0.03 - 0.05, 0.03)  # what it yields: the rate less the carry
    ]
    level = ql.BlackConstantVol(0, ql.NullCalendar(), 0.4, day)
    process = ql.BlackScholesMertonProcess(spot, *curves, ql.BlackVolTermStructureHandle(level))
    option = ql.VanillaOption(ql.PlainVanillaPayoff(kind, strike), ql.EuropeanExercise(expiry))
    option.setPricingEngine(ql.AnalyticEuropeanEngine(process))
    return np.array([option.delta(), option.gamma(), option.vega(), option.theta() / 365])


def test_accounts_add_up_their_positions_in_their_own_currencies():
    """Against QuantLib's options: relative moves, over 1.25 dollars a euro, by quantity."""
    items = [*LINEAR[:4], *OPTIONS[:2]]
    rows = [
        *(("dollar", "C", -3.0), ("dollar", "S", 4.0), ("dollar", "inverse", -7.0)),
        *(("euro", "puts", 5.0), ("euro", "C", 1.0)),
    ]
    frame = pd.DataFrame(rows, columns=["account", "instrument", "quantity"])
    accounts = [mm.Account("dollar"), mm.Account("euro", "EUR"), mm.Account("idle")]
    orders = frame.iloc[:1].assign(account="idle")
    book = book_of(frame, items, orders=orders, accounts=accounts)
    found = mm.greeks_frame(book, MARKET)
    assert found["account"].tolist() == ["dollar"] * 4 + ["euro"] * 3 + ["idle"]
    assert found["currency"].tolist() == ["USD"] * 4 + ["EUR"] * 3 + ["USD"]
    names = ["C", "S", "inverse", "", "C", "puts", "", ""]
    assert found["instrument"].tolist() == names
    scale = np.array([100.0, 100.0**2, 1.0, 1.0])
    call = 2.0 * quantlib(ql.Option.Call, 105.0, ql.Date(30, 6, 2020)) * scale
    put = quantlib(ql.Option.Put, 90.0, ql.Date(15, 2, 2020)) * scale
    expected = np.array(
        [
            -3 * call,
            [400.0, 0, 0, 0],
            [-70.0, 0, 0, 0],
            -3 * call + [330.0, 0, 0, 0],
            call / 1.25,
            5 * put / 1.25,
            (call + 5 * put) / 1.25,
            np.zeros(4),
        ]
    )
    np.testing.assert_allclose(found[list(GREEKS)].to_numpy(), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found["quantity"], [-3, 4, -7, np.nan, 1, 5, np.nan, np.nan])


def test_a_conversion_by_parity_has_no_greeks():
    """Call - put - discounted futures: what theta is left is the strike's interest."""
    size = float(np.exp(-0.03 * 60 / 365))
    expiry = AS_OF + np.timedelta64(60, "D")
    items = [
        *(mm.Option(kind, "a0", kind, 95.0, expiry) for kind in ("call", "put")),
        mm.Future("F", "a0", expiry, contract_size=size),
    ]
    rows = [("x", "call", 1.0), ("x", "put", -1.0), ("x", "F", -1.0)]
    total = mm.greeks_frame(book_of(rows, items), MARKET).iloc[-1]
    value = size * (100 * np.exp(0.05 * 60 / 365) - 95.0)
    expected = [0.0, 0.0, 0.0, 0.03 * value / 365]
    np.testing.assert_allclose(total[list(GREEKS)].astype(float), expected, atol=1e-10)


def test_of_units_in_their_own_currency():
    found = instrument_greeks([mm.Spot("S", "a0", "EUR"), OPTIONS[1]], MARKET)
    assert found["product"].tolist() == ["spot", "option"]
    assert found["currency"].tolist() == ["EUR", "USD"]
    assert found.iloc[0][["value", *GREEKS]].tolist() == [80.0, 1.0, 0.0, 0.0, 0.0]
    assert dict(found.iloc[1][["value", *GREEKS]]) == OPTIONS[1].greeks(MARKET)


def test_an_account_in_a_currency_without_a_rate():
    book = book_of([("x", "S", 1.0)], LINEAR, accounts=[mm.Account("x", "GBP")])
    with pytest.raises(mm.DataError, match="no price of 'GBP'"):
        mm.greeks_frame(book, MARKET)

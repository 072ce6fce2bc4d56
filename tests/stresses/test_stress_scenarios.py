"""Stressed scenarios: windows of the history against the history itself, gaps and depegs."""

from dataclasses import replace

import numpy as np
import pytest
import QuantLib as ql

import mcmargin as mm
from mcmargin.policies.stress_parts import Gap, Stress, StressWindow
from mcmargin.stresses.stress_scenarios import basis_walks
from mcmargin.valuing.shocked_market import ShockedMarket
from tests.helpers.books import book_of
from tests.helpers.models import make_model, with_history
from tests.helpers.stressed import (
    AS_OF,
    ITEMS,
    MARKET,
    scenarios_with_a_history,
    stressed,
    window,
    within,
)

PLAIN = mm.Market(as_of=AS_OF, spot={"a0": 100.0, "a1": 50.0})
FUTURE = mm.Future("F", "a0", "2020-03-01", carry=0.1)


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_with_a_history()


def test_a_basis_of_futures_grows_with_their_time_to_expiry():
    """5 % a year: 60 days away exp(0.05 x 60/365), 29 days exp(0.05 x 29/365); spot stays."""
    near = replace(FUTURE, name="N", expiry=np.datetime64("2020-01-30", "ns"))
    still = replace(FUTURE, name="Q", basis_volatility=0.0)
    moves = {"a0": np.array([0.05, 0.0, -0.05])}
    option = mm.Option("O", "a0", "put", 90.0, near.expiry, future=near)
    walks = basis_walks([FUTURE, option, still, mm.Perpetual("P", "a1")], moves, AS_OF, AS_OF)
    given = ShockedMarket(PLAIN, AS_OF, 0, 3, {}, {}, {}, walks)
    for item, days in ((FUTURE, 60), (near, 29)):
        start = 100.0 * np.exp(0.1 * days / 365)
        expected = start * np.exp(np.array([0.05, 0.0, -0.05]) * days / 365)
        np.testing.assert_allclose(item.price_on(given), expected, rtol=1e-14)
    assert set(walks) == {"F", "N"}
    np.testing.assert_array_equal(still.gain(given), np.zeros(3))


IN_EURO = replace(MARKET, quoted={"a1": "EUR"})


@pytest.mark.parametrize("replay", ["raw", "filtered"])
def test_linear_books_live_the_bars_of_a_window_again(scenarios, replay):
    """Raw: that bar's returns. Filtered: return / the bar's own deviation x today's, 3 %.

    A basis stays as it is: the future is 59 days from expiry then, and 60 today.
    """
    history = scenarios.model.history
    chosen = within(scenarios)
    moves = history.returns[chosen]
    if replay == "filtered":
        moves = moves / np.sqrt(history.variances[chosen]) * 0.03
    today, then = (50.0 * np.exp(0.1 * days / 365) for days in (60, 59))
    futures = 2.0 * (then * (1 + moves[:, 1]) - today)
    expected = -(3.0 * 100.0 * moves[:, 0] - 7.0 * 50.0 * moves[:, 1] + futures)
    rows = [("x", "S", 3.0), ("x", "P", -7.0), ("x", "F", 2.0)]
    report = stressed(rows, scenarios, windows=(window(replay),))
    found = report.scenarios_of("x")
    assert found["scenario"].tolist() == [str(time)[:10] for time in history.times[chosen]]
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-12, atol=1e-12)
    day = str(history.times[chosen][expected.argmax()])[:10]
    assert report.accounts["scenario"].tolist() == [f"then: {day}"]
    assert report.accounts["loss"][0] == pytest.approx(expected.max(), rel=1e-12)


def test_the_dates_worst_for_each_account_are_listed(scenarios):
    moves = scenarios.model.history.returns[within(scenarios)][:, 0]
    days = scenarios.model.history.times[within(scenarios)].astype("datetime64[D]").astype(str)
    rows = [("long", "S", 1.0), ("short", "S", -1.0)]
    frame = stressed(rows, scenarios, windows=(window(worst=3),)).to_frame()
    for account, sign in (("long", 1.0), ("short", -1.0)):
        own = frame[frame["account"] == account]
        order = np.argsort(sign * moves)[:3]
        np.testing.assert_allclose(own["loss"], -sign * 100.0 * moves[order], rtol=1e-12)
        assert own["scenario"].tolist() == [f"then: {days[at]}" for at in order]


@pytest.mark.parametrize("replay", ["raw", "filtered"])
def test_an_option_lives_a_bar_again(scenarios, replay):
    """A day older, at the move, and with the volatility that GARCH expects after it, uncapped.

    h' = w + a r**2 + b h, of the bar after; over the 30 bars left its excess over V = w/(1-a-b)
    fades by (1 - p**30)/(30 (1 - p)), p = a + b; today's outlook, one bar on, is the same of
    w + (a + b) h.
    """
    history = scenarios.model.history
    omega, alpha, beta, today = 2e-6, 0.08, 0.90, 9e-4
    persistence = alpha + beta
    level = omega / (1 - persistence)
    fading = (1 - persistence**30) / (30 * (1 - persistence))
    expected, left = [], 30 / 365
    start = ql.blackFormula(ql.Option.Call, 105.0, 100.0, 0.4 * (31 / 365) ** 0.5)
    for at in np.flatnonzero(within(scenarios)):
        move = history.returns[at, 0]
        if replay == "filtered":
            move = move / np.sqrt(history.variances[at, 0]) * 0.03
        after = omega + alpha * move**2 + beta * today
        ratio = (level + fading * (after - level)) / (
            level + fading * (omega + persistence * today - level)
        )
        deviation = 0.4 * np.sqrt(ratio * left)
        value = ql.blackFormula(ql.Option.Call, 105.0, 100.0 * (1 + move), deviation)
        expected.append(2.0 * (value - start))
    report = stressed([("x", "C", -2.0)], scenarios, windows=(window(replay),))
    np.testing.assert_allclose(report.scenarios_of("x")["loss"], expected, atol=1e-9)


def test_an_implied_volatility_asset_drives_options_in_a_window_too(scenarios):
    """a1's own move is that of the volatility of 30 days; 30 days are left, so nothing fades."""
    market = replace(MARKET, volatility_asset={"a0": "a1"})
    moves = scenarios.model.history.returns[within(scenarios)]
    start = ql.blackFormula(ql.Option.Call, 105.0, 100.0, 0.4 * (31 / 365) ** 0.5)
    expected = [
        start
        - ql.blackFormula(ql.Option.Call, 105.0, 100 * (1 + x), 0.4 * (1 + y) * (30 / 365) ** 0.5)
        for x, y in moves
    ]
    report = stressed([("x", "C", 1.0)], scenarios, market, windows=(window(),))
    np.testing.assert_allclose(report.scenarios_of("x")["loss"], expected, atol=1e-9)


def test_a_driver_that_the_model_lacks(scenarios):
    market = replace(MARKET, volatility_asset={"a0": "vix"})
    with pytest.raises(mm.DataError, match="the model has no asset 'vix' to drive"):
        stressed([("x", "C", 1.0)], scenarios, market, windows=(window(),))


def test_a_filtered_move_is_floored_as_simulated_ones_are(scenarios):
    """A bar of -12 standard deviations at 10 % a bar would be below nothing."""
    model = make_model(("garch",), variance=0.01)
    model = with_history(model, [[-0.12]], [[1e-4]])
    source = mm.simulate(model, horizon=1, paths=1000, seed=1)
    own = StressWindow("crash", "2020-01-01", "2020-01-01")
    policy = mm.MarginPolicy(stress=Stress(windows=(own,)))
    report = mm.stress(book_of([("x", "S", 1.0)], ITEMS), source, None, policy)
    assert report.accounts["loss"][0] == pytest.approx(100.0 * (1 - 1e-4), rel=1e-12)


def test_gaps_and_depegs_move_what_they_name(scenarios):
    """-30 % of a1: 5 x 50 x 0.3 x 1.2; a fifth of a stablecoin; a tenth of the euro."""
    rows = [("x", "S", 1.0), ("x", "E", 5.0), ("y", "U", 1000.0), ("z", "E", -5.0)]
    report = stressed(
        rows,
        scenarios,
        IN_EURO,
        gaps=(Gap("a1", -0.3), Gap("a1", 0.5)),
        depegs={"USDT": 0.2, "EUR": 0.1},
    )
    assert report.scenarios == 4
    for account, expected in (
        ("x", [90.0, -150.0, 0.1 * 5 * 50 * 1.2, 0.0]),
        ("y", [0.0, 0.0, 0.0, 200.0]),
        ("z", [-90.0, 150.0, -0.1 * 5 * 50 * 1.2, 0.0]),
    ):
        found = report.scenarios_of(account)
        assert found["set"].tolist() == [
            *("gap a1 -30 %", "gap a1 +50 %", "depeg EUR -10 %", "depeg USDT -20 %")
        ]
        np.testing.assert_allclose(found["loss"], expected, atol=1e-12)
    assert report.accounts["scenario"].tolist() == [
        *("gap a1 -30 %", "depeg USDT -20 %", "gap a1 +50 %")
    ]


def test_a_currency_can_gap_whatever_its_rate_is_an_asset_of(scenarios):
    """The euro falls by 10 % where it is named; where its asset is, that moves it too."""
    market = replace(
        IN_EURO, fx_asset={"EUR": "a0"}, plausibility=mm.Plausibility(fx_difference=100)
    )
    rows = [("x", "E", 1.0)]
    report = stressed(rows, scenarios, market, gaps=(Gap("EUR", -0.1), Gap("a0", 0.2)))
    expected = [0.1 * 50 * 1.2, -0.2 * 50 * 1.2]
    np.testing.assert_allclose(report.scenarios_of("x")["loss"], expected, rtol=1e-12)


def test_a_gap_moves_no_volatility(scenarios):
    report = stressed([("x", "C", -1.0)], scenarios, gaps=(Gap("a0", 0.2),))
    now, then = (
        ql.blackFormula(ql.Option.Call, 105.0, price, 0.4 * (31 / 365) ** 0.5)
        for price in (100.0, 120.0)
    )
    assert report.accounts["loss"][0] == pytest.approx(then - now, abs=1e-9)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"gaps": (Gap("btc", -0.3),)}, "gap of 'btc': neither model nor market has it"),
        ({"grids": {"btc": "deribit"}}, "grid of 'btc': neither model nor market has it"),
        ({"depegs": {"DAI": 0.1}}, "depeg of 'DAI': neither model nor market has it"),
        (
            {"depegs": {"USD": 0.1}},
            "'USD' is the market's own currency and has no peg",
        ),
        (
            {"windows": (window(first="2008-01-01", last="2008-12-31"),)},
            r"window 'then': the model's history \(2019-03-08 to 2020-01-01\) has no bar from "
            "2008-01-01 to 2008-12-31",
        ),
        ({}, "has no scenario"),
    ],
)
def test_scenarios_that_cannot_be(scenarios, terms, message):
    book = book_of([("x", "S", 1.0)], ITEMS)
    policy = mm.MarginPolicy(stress=Stress(scenario_weight=0.5, **terms))
    with pytest.raises(mm.PolicyError, match=message):
        mm.stress(book, scenarios, MARKET, policy)
    if terms:
        with pytest.raises(mm.PolicyError, match=message):
            mm.margin(book, scenarios, MARKET, policy)


def test_a_model_without_a_history_has_no_window(scenarios):
    source = mm.simulate(make_model(("garch", "gjr")), horizon=1, paths=1000, seed=1)
    with pytest.raises(mm.PolicyError, match=r"the model's history \(none\) has no bar"):
        stressed([("x", "S", 1.0)], source, windows=(window(),))

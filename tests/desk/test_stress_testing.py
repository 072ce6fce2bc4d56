"""Stress: windows of the history against the history itself, gaps, depegs, accounts, reports."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import QuantLib as ql

import mcmargin as mm
from mcmargin.desk.stress_testing import stress_of_model
from mcmargin.policies.stress_parts import Gap, GridTerms, Stress, StressWindow
from tests.helpers.books import book_of
from tests.helpers.models import make_model, with_history

AS_OF = np.datetime64("2020-01-01", "ns")
BARS = 300
ITEMS = [
    mm.Spot("S", "a0"),
    mm.Perpetual("P", "a1"),
    mm.Future("F", "a1", "2020-03-01", carry=0.1),
    mm.Option("C", "a0", "call", 105.0, "2020-02-01"),
    mm.Spot("E", "a1", "EUR"),
    mm.Spot("U", "USDT"),
]
MARKET = mm.Market(
    as_of=AS_OF,
    spot={"a0": 100.0, "a1": 50.0},
    volatility={"a0": 0.4},
    fx={"EUR": 1.2, "USDT": 1.0},
    fx_volatility={"EUR": 0.1},
    depeg={"USDT": mm.Depeg(0.01, 0.3)},
    coins=("a0",),
)


IN_EURO = replace(MARKET, quoted={"a1": "EUR"})


@pytest.fixture(scope="module")
def scenarios():
    """The GARCH asset has seen calmer bars than it stands in; the other, wilder ones."""
    rng = np.random.default_rng(17)
    variances = np.exp(rng.normal([np.log(4e-4), np.log(2e-4)], 0.5, (BARS, 2)))
    returns = rng.standard_t(4, (BARS, 2)) * np.sqrt(variances / 2)
    model = with_history(make_model(("garch", "gjr"), variance=9e-4), returns, variances)
    return mm.simulate(model, horizon=1, paths=1000, seed=1, variance_cap=np.inf)


def stressed(rows, scenarios, market=MARKET, accounts=None, **terms):
    book = book_of(rows, ITEMS, accounts=accounts)
    return mm.stress(book, scenarios, market, mm.MarginPolicy(stress=Stress(**terms)))


def window(replay="raw", worst=1, first="2019-06-01", last="2019-12-31"):
    return StressWindow("then", first, last, worst, replay)


def within(scenarios, first="2019-06-01", last="2019-12-31"):
    days = scenarios.model.history.times.astype("datetime64[D]")
    return (days >= np.datetime64(first)) & (days <= np.datetime64(last))


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


def test_losses_are_in_the_accounts_currency(scenarios):
    """A euro account of dollars: 3 x 100 dollars are worth less when the dollar falls, as here.

    A depeg of EUR by 10 % makes 300 / 1.2 euro 300 / 1.08: a gain of 27.78; a gap of -20 % in the
    asset costs 60 / 1.2. Coin accounts are counted at today's spot.
    """
    rows = [("e", "S", 3.0), ("c", "S", 3.0)]
    accounts = [mm.Account("e", "EUR"), mm.Account("c", "a0")]
    report = stressed(
        rows, scenarios, accounts=accounts, gaps=(Gap("a0", -0.2),), depegs={"EUR": 0.1}
    )
    expected = {"e": [50.0, 300 / 1.2 - 300 / 1.08], "c": [0.6, 0.0]}
    for account, losses in expected.items():
        np.testing.assert_allclose(report.scenarios_of(account)["loss"], losses, atol=1e-12)


def test_an_owner_loses_with_all_accounts_in_one_scenario(scenarios):
    """Long 2 and short 3 in two accounts of one owner: 1 short; alone they lose on either side."""
    accounts = [mm.Account(name, owner="fund") for name in "ab"] + [mm.Account("c", "EUR")]
    report = stressed(
        [("a", "S", 2.0), ("b", "S", -3.0), ("c", "E", 1.0)],
        scenarios,
        IN_EURO,
        accounts=accounts,
        gaps=(Gap("a0", -0.5), Gap("a0", 0.5), Gap("a1", -0.1)),
    )
    assert report.accounts["loss"].tolist() == pytest.approx([100.0, 150.0, 5.0])
    owners = report.owners.set_index("owner")
    assert owners.loc["fund", ["currency", "scenario"]].tolist() == ["USD", "gap a0 +50 %"]
    assert owners["loss"].to_dict() == pytest.approx({"fund": 50.0, "c": 5.0})
    assert owners["rate"].to_dict() == {"fund": 1.0, "c": 1.2}


def test_blocks_of_units_change_nothing(scenarios, monkeypatch):
    rows = [(f"{at}", name, at - 3.0) for at in range(7) for name in "SPC"]
    terms = {"windows": (window(worst=2),), "grids": {"*": "deribit"}}
    one = stressed(rows, scenarios, **terms)
    monkeypatch.setattr("mcmargin.stresses.stress_losses.BLOCK_BYTES", 1)
    other = stressed(rows, scenarios, **terms)
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame())


def test_a_model_alone_gives_the_losses_that_its_scenarios_give(scenarios):
    """No path is looked at: options under windows, grids and gaps lose the same without any."""
    rows = [("x", name, 2.0) for name in "SPC"]
    terms = {"windows": (window(worst=2),), "grids": {"*": "deribit"}, "gaps": (Gap("a0", -0.3),)}
    given = stressed(rows, scenarios, **terms)
    policy = mm.MarginPolicy(stress=Stress(**terms))
    book = book_of(rows, ITEMS)
    alone = stress_of_model(book, scenarios.model, MARKET, policy, variance_cap=np.inf)
    pd.testing.assert_frame_equal(alone.to_frame(), given.to_frame(), check_exact=True)
    pd.testing.assert_frame_equal(alone.owners, given.owners, check_exact=True)
    assert alone.fingerprints == given.fingerprints
    for each in (alone, pickle.loads(pickle.dumps(alone))):
        pd.testing.assert_frame_equal(each.scenarios_of("x"), given.scenarios_of("x"))


def test_the_report_as_json_and_text(scenarios, tmp_path):
    rows = [("x [1]", "S", 1.0), ("y", "S", -1.0)]
    report = stressed(rows, scenarios, windows=(window(worst=2),), gaps=(Gap("a0", -0.3),))
    path = tmp_path / "stress.json"
    content = json.loads(report.to_json(path))
    assert json.loads(path.read_text()) == content
    assert content["schema"] == "mcmargin.stress/1"
    assert content["scenarios"] == within(scenarios).sum() + 1
    first = content["accounts"][0]
    assert (first["account"], first["scenario"]) == ("x [1]", report.accounts["scenario"][0])
    frame = report.to_frame()
    losses = [each["loss"] for account in content["accounts"] for each in account["scenarios"]]
    assert losses == frame["loss"].tolist()
    assert content["fingerprints"]["policy"] == report.policy.fingerprint()
    text = str(report)
    assert "x [1] (USD)" in text
    assert f"{report.accounts['loss'][0]:,.2f}" in text
    assert "worst of 215 scenarios in 2 sets" in text


def test_text_of_many_accounts_lists_fifty(scenarios):
    rows = [(f"account {at:02d}", "S", 1.0 + at) for at in range(53)]
    text = str(stressed(rows, scenarios, gaps=(Gap("a0", -0.3),)))
    assert "account 49 (USD)" in text
    assert "account 50" not in text
    assert "and 3 accounts more" in text
    few = str(stressed(rows[:50], scenarios, gaps=(Gap("a0", -0.3),)))
    assert "account 49 (USD)" in few
    assert "more" not in few


def test_what_a_report_does_not_have(scenarios):
    report = stressed([("x", "S", 1.0)], scenarios, gaps=(Gap("a0", -0.3),))
    with pytest.raises(mm.DataError, match="no account 'z'"):
        report.scenarios_of("z")


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"gaps": (Gap("btc", -0.3),)}, "gap of 'btc': neither model nor market has it"),
        ({"grids": {"btc": "deribit"}}, "grid of 'btc': neither model nor market has it"),
        ({"depegs": {"DAI": 0.1}}, "depeg of 'DAI': neither model nor market has it"),
        ({"depegs": {"USD": 0.1}}, "depeg of 'USD': it is what the market counts in"),
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


def test_a_policy_without_stress(scenarios):
    for policy in (None, mm.MarginPolicy()):
        with pytest.raises(mm.PolicyError, match="declares no stress"):
            mm.stress(book_of([("x", "S", 1.0)], ITEMS), scenarios, MARKET, policy)


def test_a_book_that_the_market_cannot_value(scenarios):
    book = book_of([("x", "S", 1.0)], [mm.Spot("S", "doge")])
    with pytest.raises(mm.DataError, match="the model has no asset 'doge'"):
        mm.stress(book, scenarios, MARKET, mm.MarginPolicy(stress=Stress(gaps=(Gap("a0", 0.1),))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stress(grids={"btc": "cme"}), "grid of 'btc' 'cme' is unknown"),
        (lambda: Stress(depegs={"USDT": 1.5}), "depeg of 'USDT' must lie from 0 to 1"),
        (lambda: Stress(scenario_weight=-0.1), "scenario_weight must lie from 0 to 1"),
        (lambda: Stress(dependence_weight=1.1), "dependence_weight must lie from 0 to 1"),
        (lambda: Gap("btc", -1.1), "move must lie from -1 to 100"),
        (lambda: StressWindow("w", "2020-02-30", "2020-03-01"), "not an ISO time"),
        (lambda: StressWindow("w", "2020-03-02", "2020-03-01"), "ends before it begins"),
        (lambda: StressWindow("w", "2020-03-01", "2020-03-02", 0), "worst must be an integer"),
        (lambda: StressWindow("w", "2020-03-01", "2020-03-02", 1, "as is"), "replay 'as is'"),
        (lambda: GridTerms(volatility_down=1.5), "volatility_down must lie from 0 to 1"),
        (lambda: GridTerms(floor_days=0.0), "floor_days must be above 0"),
        (lambda: GridTerms(extended_weight=2.0), "extended_weight must lie from 0 to 1"),
    ],
)
def test_bad_parts_of_a_policy(make, message):
    with pytest.raises(mm.PolicyError, match=message):
        make()


def test_a_policy_with_stress_goes_through_toml(tmp_path):
    stress = Stress(
        windows=(window("filtered", 3),),
        grids={"btc": "okx-major", "*": "paradex"},
        grid_terms=GridTerms(volatility_up=0.5, extended_weight=0.25),
        gaps=(Gap("btc", -0.3),),
        depegs={"USDT": 0.1},
        scenario_weight=0.5,
    )
    policy = mm.MarginPolicy(stress=stress)
    policy.to_toml(tmp_path / "policy.toml")
    again = mm.MarginPolicy.from_toml(tmp_path / "policy.toml")
    assert again == policy
    assert again.fingerprint() == policy.fingerprint()

"""Buffer, stressed weight, floor and speed limit: hand-worked, by EMIR's text, on real history.

EMIR RTS 153/2013, Article 28(1), asks for one of: (a) a buffer of at least 25 % of the calculated
margins, which may be exhausted for a time while requirements rise significantly; (b) a weight of
at least 25 % for stressed observations in the lookback; (c) margins no lower than at a volatility
over ten years of lookback.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.margins.operations import calmed, rounded_up
from mcmargin.margins.procyclicality import procyclicality_measures
from mcmargin.numerics.tail import expected_shortfall
from mcmargin.policies.policy_parts import Maintenance, Procyclicality
from mcmargin.scenarios.companions import companions_of
from tests.helpers.books import book_of

amounts = st.floats(1.0, 1e6)


@pytest.fixture(scope="module")
def closes():
    """S&P 500 and WTI closes from 1999 to October 2008."""
    from mcmargin.demo import demo_prices

    return demo_prices().to_frame()[["sp500", "wti"]].loc[:"2008-10-31"].dropna()


@pytest.fixture(scope="module")
def model(closes):
    return mm.calibrate(
        mm.PriceHistory.from_frame(closes), volatility="ewma", innovations="t", jobs=1
    )


BOOK = book_of([("x", "sp500", 10.0), ("x", "wti", -100.0), ("y", "wti", 50.0)])


def margin_of(model, policy, **options):
    scenarios = mm.simulate(model, horizons=(1, 2), paths=8000, seed=7, policy=policy)
    return mm.margin(BOOK, scenarios, policy=policy, **options)


def test_the_buffer_is_charged_in_calm_and_drawn_while_requirements_rise():
    """25 %: 100 -> 125 charged; 110 and 124 are covered by it; 130 is charged as it is; and when
    requirements have fallen to 90, 112.5."""
    part = Procyclicality(buffer=0.25)
    charged, last = [], None
    for need in (100.0, 110.0, 124.0, 130.0, 128.0, 90.0):
        last = calmed(np.array([need]), np.array([need]), part, last, 1)
        charged.append(float(last[0]))
    assert charged == [125.0, 125.0, 125.0, 130.0, 130.0, 112.5]


def test_the_speed_limit_is_caught_up_with_and_never_below_base():
    """10 % a bar from 100: stress asks for 150, base for 105: 110, 121, 133.1, 146.41, 150."""
    part = Procyclicality(speed_limit=0.1)
    last, charged = np.array([100.0]), []
    for _ in range(5):
        last = calmed(np.array([150.0]), np.array([105.0]), part, last, 1)
        charged.append(float(last[0]))
    np.testing.assert_allclose(charged, [110.0, 121.0, 133.1, 146.41, 150.0])
    base = calmed(np.array([150.0]), np.array([140.0]), part, np.array([100.0]), 1)
    assert base.tolist() == [140.0]
    two_bars = calmed(np.array([150.0]), np.array([105.0]), part, np.array([100.0]), 2)
    np.testing.assert_allclose(two_bars, [121.0])


@given(stressed=amounts, share=st.floats(0.1, 1.0), last=amounts, buffer=st.floats(0, 1),
       limit=st.one_of(st.none(), st.floats(0.01, 1)))  # fmt: skip
@settings(max_examples=200, deadline=None, derandomize=True)
def test_what_always_holds(stressed, share, last, buffer, limit):
    base = share * stressed
    part = Procyclicality(buffer=buffer, speed_limit=limit)
    arrays = [np.array([x]) for x in (stressed, base, last)]
    charged = float(calmed(arrays[0], arrays[1], part, arrays[2], 1)[0])
    assert charged >= base
    assert charged <= (1 + buffer) * stressed * (1 + 1e-12)
    if limit is None:
        assert charged >= stressed * (1 - 1e-12)
    elif charged > base * (1 + 1e-12):
        assert charged <= last * (1 + limit) * (1 + 1e-12)


def test_the_floor_is_the_margin_at_years_of_volatility(model):
    """Simulated anew with each asset's mean squared return of five years: the same paths' ES."""
    policy = mm.MarginPolicy(procyclicality=Procyclicality(floor_years=5.0))
    calm = replace(model, state=replace(model.state, variance=np.full(2, 1e-6)))
    report = margin_of(calm, policy)
    history = model.history
    recent = history.times >= model.as_of - np.timedelta64(1825, "D")
    assert 1200 < recent.sum() < len(history.times)
    five_years = (history.returns[recent] ** 2).mean(axis=0)
    peer = replace(model, state=replace(model.state, variance=five_years))
    scenarios = mm.simulate(peer, horizons=(1, 2), paths=8000, seed=7)
    expected = mm.margin(BOOK, scenarios).figures["expected_shortfall"]
    np.testing.assert_allclose(report.figures["floor"], expected, rtol=1e-12)
    assert (report.figures["base"] < report.figures["floor"]).all()
    np.testing.assert_allclose(report.figures["margin"], expected, rtol=1e-12)


def test_a_quarter_of_the_observations_is_stressed(model):
    """The last quarter of the paths is drawn alike at the volatility of the stressed period."""
    part = Procyclicality(
        stressed_weight=0.25, stressed_first="2001-09-01", stressed_last="2001-10-31"
    )
    policy = mm.MarginPolicy(procyclicality=part)
    report = margin_of(model, policy)
    then = slice(
        *np.searchsorted(model.history.times, np.array(["2001-09-01", "2001-11-01"], "M8[ns]"))
    )
    variance = (model.history.returns[then] ** 2).mean(axis=0)
    stressed = replace(model, state=replace(model.state, variance=variance))
    gains = [
        mm.margin(BOOK, mm.simulate(each, horizons=(1, 2), paths=8000, seed=7)).profit_and_loss("x")
        for each in (model, stressed)
    ]
    mixed = np.concatenate([gains[0][:6000], gains[1][6000:]])
    expected = expected_shortfall(-mixed, level=0.99)
    assert report.account("x").expected_shortfall == pytest.approx(expected, rel=1e-12)
    shares = sum(each.contribution for each in report.account("x").contributions)
    assert shares == pytest.approx(expected, abs=1e-12 * report.account("x").gross_exposure)


def test_the_worst_period_is_found_by_itself(model):
    """The worst 250 common bars up to October 2008 end with it."""
    part = Procyclicality(stressed_weight=0.25)
    found = companions_of(model, mm.MarginPolicy(procyclicality=part))["stressed"]
    assert found.last == model.history.times[-1]
    assert len(model.history.times[model.history.times >= found.first]) == 250


def test_a_shorter_horizon_can_cost_more(model):
    """Maintenance at one bar and a higher level than two bars': initial margin is its maximum."""
    policy = mm.MarginPolicy(level=0.9, horizon=1, maintenance=Maintenance(level=0.995, horizon=2))
    report = margin_of(model, policy)
    assert (report.figures["maintenance"] > report.figures["total"]).all()
    np.testing.assert_array_equal(report.figures["margin"], report.figures["maintenance"])
    scenarios = mm.simulate(model, horizons=(1, 2), paths=8000, seed=7)
    peer = mm.margin(BOOK, scenarios, policy=mm.MarginPolicy(level=0.995, horizon=2))
    np.testing.assert_allclose(report.figures["maintenance"], peer.figures["margin"], rtol=1e-12)


def test_the_last_report_is_taken_by_account(model, closes):
    """x is charged 25 % more than it needs, then the buffer holds; z is new and pays it whole."""
    policy = mm.MarginPolicy(procyclicality=Procyclicality(buffer=0.25))
    first = margin_of(model, policy)
    rows = [("x", "sp500", 11.0), ("x", "wti", -110.0), ("z", "wti", 50.0)]
    book = book_of(rows)
    scenarios = mm.simulate(model, horizons=(1, 2), paths=8000, seed=7, policy=policy)
    second = mm.margin(book, scenarios, policy=policy, previous=first)
    x, z = (second.account(name) for name in "xz")
    assert x.stressed == pytest.approx(1.1 * first.account("x").stressed, rel=1e-12)
    assert x.calm == first.account("x").calm
    assert z.calm == pytest.approx(1.25 * z.stressed)
    again = mm.MarginReport.from_json(second.to_json())
    assert mm.verify(again, model, book, previous=first).verdict == "equal"
    assert "took one of 2008" in mm.verify(again, model, book).reasons[0]
    later = replace(first, as_of="2009-01-01")
    with pytest.raises(mm.DataError, match="after these scenarios"):
        mm.margin(book, scenarios, policy=policy, previous=later)
    # What-ifs go by the same last report.
    assert second.what_if("x", {}).margin == second.account("x").margin


def test_what_was_not_simulated_is_named(model):
    policy = mm.MarginPolicy(procyclicality=Procyclicality(floor_years=10.0))
    scenarios = mm.simulate(model, horizon=2, paths=2000, seed=7)
    with pytest.raises(mm.PolicyError, match="floor scenarios were not simulated"):
        mm.margin(BOOK, scenarios, policy=policy)
    young = Procyclicality(
        stressed_weight=0.25, stressed_first="1950-01-01", stressed_last="1951-01-01"
    )
    with pytest.raises(mm.PolicyError, match="no bar of 1950-01-01 to 1951-01-01"):
        mm.simulate(
            model, horizon=2, paths=2000, seed=7, policy=mm.MarginPolicy(procyclicality=young)
        )


@given(st.floats(0.0, 1e9), st.sampled_from([0.01, 0.5, 1.0, 100.0]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_tick_rounds_up(amount, tick):
    rounded = float(rounded_up(np.array([amount]), tick)[0])
    assert rounded >= amount * (1 - 1e-11) - 1e-9 * tick
    assert rounded < amount + tick * (1 + 1e-9)
    assert abs(rounded / tick - round(rounded / tick)) < 1e-9 * max(1.0, rounded / tick)


def test_measures_by_hand():
    """100, 150, 120, 240: peak 240 over trough 100; 2 bars: 120 -> 240 and 150 -> 240, 100 %."""
    found = procyclicality_measures([100.0, 150.0, 120.0, 240.0], bars=2)
    assert found.peak_to_trough == 2.4
    assert found.largest_increase == pytest.approx(1.0)
    changes = np.log([1.5, 0.8, 2.0])
    assert found.log_change_std == pytest.approx(changes.std(ddof=1))
    assert found.average_cost == 152.5
    falling = procyclicality_measures([3.0, 2.0, 1.0], bars=5)
    assert falling.largest_increase == 0.0
    for bad in ([1.0], [1.0, 0.0], [1.0, np.nan]):
        with pytest.raises(mm.DataError, match="procyclicality"):
            procyclicality_measures(bad)

"""E-backtests: the wealth of a bettor is a fair game where forecasts are right, at any time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from mcmargin.backtests.e_values import (
    MOST,
    best_shares,
    e_backtest_expected_shortfall,
    e_backtest_value_at_risk,
)

VAR, SHORTFALL = 1.959964, 2.337803
"""Of a standard normal at 97.5 %."""


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=12))
def test_each_share_is_the_best_of_the_dates_before_it(payoffs):
    paid = np.array(payoffs)
    shares = best_shares(paid)
    assert shares[0] == 0.0
    assert ((shares >= 0.0) & (shares <= MOST)).all()

    def growth(share, before):
        return np.log1p(share * (before - 1.0)).mean()

    for at in range(1, len(paid)):
        before = paid[:at]
        found = optimize.minimize_scalar(
            lambda share, before=before: -growth(share, before),
            bounds=(0.0, MOST),
            method="bounded",
        )
        assert growth(shares[at], before) >= -found.fun - 1e-9


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_shares_are_the_roots_that_scipy_finds_date_by_date(seed):
    random = np.random.default_rng(seed)
    size = random.choice([0.3, 3.0, 40.0]) * random.pareto(1.5, 300)
    payoffs = np.where(random.random(300) < 0.1, size, 0.0)
    if seed == 3:
        payoffs[200:203] = np.inf
    shares = best_shares(payoffs)
    for at in range(1, 300):
        before = payoffs[:at]
        finite, free = before[np.isfinite(before)] - 1.0, np.isinf(before).sum()

        def slope(share, finite=finite, free=free):
            return (finite / (1.0 + share * finite)).sum() + free / share

        wanted = 0.0
        if before.sum() > at:
            wanted = MOST
            if slope(MOST) < 0.0:
                wanted = optimize.brentq(slope, 1e-12, MOST, xtol=1e-13)
        assert shares[at] == pytest.approx(wanted, abs=1e-9)


def test_no_date_is_bet_on_with_what_came_after():
    random = np.random.default_rng(1)
    gains = random.standard_normal(300)
    other = np.concatenate([gains[:200], -5.0 * np.abs(gains[200:])])
    one, two = (
        e_backtest_expected_shortfall(each, np.full(300, VAR), np.full(300, SHORTFALL), 0.975)
        for each in (gains, other)
    )
    assert np.array_equal(one.wealth[:200], two.wealth[:200])
    assert two.wealth[-1] > one.wealth[-1]


def histories(scale, count=200, dates=500):
    drawn = scale * np.random.default_rng(21).standard_normal((count, dates))
    known = np.full(dates, VAR), np.full(dates, SHORTFALL)
    return [e_backtest_expected_shortfall(each, *known, 0.975) for each in drawn]


def test_right_forecasts_are_hardly_ever_rejected_however_often_one_looks():
    """Ville's inequality: at most 5 % of histories ever reach 20; 3 standard errors are 4.6 %."""
    found = histories(1.0)
    assert np.mean([each.verdict == "fail" for each in found]) <= 0.05 + 0.046
    wealth = np.array([each.wealth[-1] for each in found])
    assert wealth.mean() <= 1.0 + 3.0 * wealth.std() / np.sqrt(len(wealth))


def test_wrong_forecasts_are_rejected_more_often_the_worse_they_are():
    shares = [np.mean([e.verdict == "fail" for e in histories(s, 40)]) for s in (1.0, 1.25, 1.6)]
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.9


def test_the_verdict_the_p_value_and_the_date_agree():
    gains = 2.0 * np.random.default_rng(2).standard_normal(400)
    found = e_backtest_value_at_risk(gains, np.full(400, VAR), 0.975)
    at = found.first_rejection
    assert found.verdict == "fail"
    assert found.wealth[at] >= 20.0 > found.wealth[:at].max()
    assert found.p_value == pytest.approx(1.0 / found.wealth.max())


def test_a_record_without_exceptions_costs_the_bettor_nothing():
    found = e_backtest_value_at_risk(np.ones(100), np.ones(100), 0.99)
    assert (found.wealth == 1.0).all()
    assert (found.verdict, found.p_value, found.first_rejection) == ("pass", 1.0, -1)


def test_one_number_as_both_forecasts_cannot_be_bet_on():
    found = e_backtest_expected_shortfall([-9.0, 0.0, -9.0], np.full(3, 2.0), np.full(3, 2.0), 0.99)
    assert (found.verdict, found.exceptions, found.first_rejection) == ("undecided", 2, -1)
    assert found.note == "expected shortfall equals value at risk on every date"
    assert np.isnan(found.p_value)


def test_a_wrong_value_at_risk_is_refuted_beside_the_true_expected_shortfall():
    """Its mean payoff is E(L - 1.5)+ / (0.025 (2.34 - 1.5)) = 1.39, and at the true one 1.0."""

    def mean(var):
        beyond = stats.norm.pdf(var) - var * stats.norm.sf(var)
        return beyond / (0.025 * (SHORTFALL - var))

    assert mean(VAR) == pytest.approx(1.0, abs=1e-5)
    assert mean(1.5) == pytest.approx(1.39, abs=0.01)
    gains = np.random.default_rng(3).standard_normal(4000)
    known = np.full(4000, SHORTFALL), 0.975
    assert e_backtest_expected_shortfall(gains, np.full(4000, 1.5), *known).verdict == "fail"
    assert e_backtest_expected_shortfall(gains, np.full(4000, VAR), *known).verdict == "pass"


def test_dates_without_room_are_refuted_by_one_exception():
    shortfall = np.array([2.1, 2.0, 2.0, 2.0, 2.0])
    found = e_backtest_expected_shortfall(
        [-1.0, 0.0, -9.0, -1.0, -9.0], np.full(5, 2.0), shortfall, 0.975
    )
    assert found.first_rejection == 4
    assert found.p_value == 0.0
    assert found.verdict == "fail"


def test_no_observation_is_no_evidence():
    found = e_backtest_value_at_risk([], [], 0.99)
    assert (found.verdict, found.note) == ("undecided", "there are no observations")
    assert (found.observations, len(found.wealth)) == (0, 0)

"""Pieces of a walk: the null of Z1 and Z2, and what a model may give."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mcmargin as mm
from mcmargin.backtests import judging
from mcmargin.backtests.backtest import backtest
from mcmargin.backtests.competing import Forecast, Question, forecast_of_returns
from mcmargin.backtests.peers import (
    HistoricalSimulation,
)
from mcmargin.backtests.walking import null_exceptions
from mcmargin.errors import DataError
from tests.helpers.short_walks import assert_same, history, walked


def test_z1_and_z2_have_their_size_where_scenarios_come_in_calendar_order():
    """400 records of 50 dates of independent normal returns, each judged by historical simulation.

    Value at risk and expected shortfall are themselves estimated from 500 returns, of which k = 500
    (1 - level) are in the tail. The number of exceptions has 50 / 500 more variance for it, and
    their size as much again. The mean size of one exception or more has 2 / k more.
    """
    records, dates, bars = 400, 50, 500
    names = [f"a{at}" for at in range(records)]
    returns = 0.01 * np.random.default_rng(1).standard_normal((bars + dates, records))
    found = backtest(
        history(returns, names),
        pd.DataFrame(np.eye(records), names, names),
        {"m": HistoricalSimulation(bars)},
        horizons=(1,),
        window=bars,
        refit_every=dates,
        seed=7,
        jobs=1,
    )
    error = 3.0 * np.sqrt(0.05 * 0.95 / records)
    rejected = {}
    for key, cell in found.cells():
        hits = -cell.gains > cell.value_at_risk
        for test in (
            judging._z1(cell, hits, 0.05),
            judging._z2(cell, hits, key["level"], 0.05),
        ):
            rejected.setdefault((test.test, key["level"]), []).append(test.verdict == "fail")
    assert len(rejected) == 4
    for (test, level), each in rejected.items():
        more = 2.0 * dates / bars if test.endswith("z2") else 2.0 / (bars * (1.0 - level))
        most = stats.norm.cdf(stats.norm.ppf(0.05) / np.sqrt(1.0 + more))
        assert 0.05 - error < np.mean(each) < most + error
    # The expectation of Z2 in the simulated histories is 0; a date's X / ES has a variance of at
    # most (1 - level) E[(X / ES)^2 | beyond] < 1.5 (1 - level). All portfolios share the dates
    # that are drawn, though not what happened on them.
    for at, level in enumerate(found.levels):
        z2 = found.ratio_sums[0, :, 0, at] / (dates * (1.0 - level)) + 1.0
        deviation = np.sqrt(1.5 / (dates * (1.0 - level)))
        assert abs(z2.mean()) < 4.0 * deviation / np.sqrt(z2.size)
    # Histories do not depend on one another: the number of exceptions in them is binomial, and the
    # variance of 1,000 such numbers has an error of sqrt((kurtosis - 1) / 1,000). In calendar order
    # only 10 records of 50 dates would be apart, with an error ten times as large.
    law = stats.binom(dates, 0.025)
    spread = found.ratio_counts[0, :, 0, 1].var(axis=1) / law.var()
    allowed = 5.0 * np.sqrt((law.stats("k") + 2.0) / 1000)
    assert np.abs(spread - 1.0).max() < allowed


@pytest.mark.parametrize(("scenarios", "tied"), [(500, 1), (777, 1), (500, 40), (10_000, 3)])
def test_over_all_scenarios_losses_beyond_add_up_to_the_tail(scenarios, tied):
    """The sum of X / ES is -scenarios (1 - level) by the definition of expected shortfall."""
    losses = np.random.default_rng(2).standard_normal(scenarios)
    losses = np.where(losses > np.sort(losses)[-4], losses, np.round(losses * tied) / tied)
    if tied == 1:
        losses = np.random.default_rng(2).standard_normal(scenarios)
    var, shortfall = (
        mm.value_at_risk(losses, level=0.99),
        mm.expected_shortfall(losses, level=0.99),
    )
    total, lots = 0.0, (np.arange(2000) + 0.5) / 2000
    for lot in lots:
        given = -losses[None], np.array([var]), 0.99
        hits = null_exceptions(*given, np.arange(scenarios), np.full(scenarios, lot))[0]
        total += -(losses[hits] / shortfall).sum() / len(lots)
    # The share of lots below a number is exact to 1 / 2,000, of each scenario at value at risk.
    at_var = (losses == var).sum()
    assert total == pytest.approx(-0.01 * scenarios, abs=at_var / 2000 + 1e-9)


class Wrong:
    def fit(self, closes, before):
        return None

    def forecast(self, fitted, closes, question):
        bad = np.full((1, 1, 1), np.nan)
        return Forecast(bad, bad, np.zeros((1, 1, 0)))


def test_a_forecast_of_another_shape_is_refused_by_model_and_date(prices):
    with pytest.raises(DataError, match=r"model 'w' must forecast value_at_risk from 2015-07-20"):
        walked(prices, {"w": Wrong()})


@dataclass(frozen=True)
class Fixed:
    """Value at risk and expected shortfall are the same two numbers on every date."""

    value_at_risk: float = 1.0
    expected_shortfall: float = 1.0
    fails: str = ""

    def fit(self, closes, before):
        if self.fails == "fit":
            np.linalg.inv(np.zeros((2, 2)))

    def forecast(self, fitted, closes, question):
        if self.fails == "forecast":
            raise KeyError("volatility")
        shape = len(question.exposures), len(question.horizons), len(question.levels)
        gains = np.zeros((*shape[:2], 0))
        if self.fails == "gains":
            gains = np.zeros((1, 1, 5))
        if self.fails == "nothing":
            return None
        return Forecast(
            np.full(shape, self.value_at_risk), np.full(shape, self.expected_shortfall), gains
        )


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Fixed(fails="fit"), "'m' cannot be fitted .* ends 2015-07-20: LinAlgError: Singular"),
        (Fixed(fails="forecast"), "'m' cannot forecast from 2015-07-20: KeyError: 'volatility'"),
        (Fixed(fails="nothing"), "'m' cannot forecast from 2015-07-20: .* type Forecast"),
        (Fixed(fails="gains"), "must forecast gains from 2015-07-20"),
        (Fixed(-1.0, 0.0), "'m' forecasts from 2015-07-20 for portfolio 'long' .* shortfall of 0"),
        (Fixed(2.0, 1.9), "shortfall of 1.9 and a value at risk of 2 .horizon 1, level 0.99"),
    ],
)
def test_what_a_model_does_wrong_is_said_with_its_name_and_date(prices, model, words):
    with pytest.raises(DataError, match=words):
        walked(prices, {"m": model})


def test_a_last_digit_below_value_at_risk_is_rounding(prices):
    found = walked(prices, {"m": Fixed(0.3, np.nextafter(0.3, 0.0))})
    assert (found.expected_shortfall == 0.3).all()
    found.compare(resamples=10)
    asked = Question(np.eye(1), (1,), (0.99,), 1, 7)
    for scenarios in range(100, 140):
        drawn = forecast_of_returns(np.full((1, 1, scenarios), -0.1), asked)
        assert (drawn.expected_shortfall >= drawn.value_at_risk).all()


def test_a_class_that_cannot_be_sent_is_walked_here(prices):
    @dataclass(frozen=True)
    class Local(Fixed):
        """A class of a function, which no other process can import."""

    assert_same(walked(prices, {"m": Local()}, jobs=2), walked(prices, {"m": Local()}))

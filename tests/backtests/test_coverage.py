"""Tests of coverage: published figures, likelihoods written out, statsmodels, and simulation."""

from itertools import pairwise

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize, special, stats

from mcmargin.backtests.coverage import (
    christoffersen_independence,
    conditional_coverage,
    dynamic_quantile,
    kupiec,
    time_between_failures,
    traffic_light,
)
from mcmargin.errors import DataError

OF_EXCEPTIONS = (
    kupiec,
    christoffersen_independence,
    conditional_coverage,
    time_between_failures,
)


def first(count, dates):
    return np.arange(dates) < count


def test_kupiec_gives_the_figures_that_matlab_publishes():
    """`pof` of MATLAB's Risk Management Toolbox, for its example of 57 failures in 1,043 days."""
    found = kupiec(first(57, 1043), 0.95)
    assert found.statistic == pytest.approx(0.461466, abs=5e-7)
    assert found.p_value == pytest.approx(0.496939, abs=5e-7)
    assert (found.observations, found.exceptions, found.verdict) == (1043, 57, "pass")


@pytest.mark.parametrize("count", [0, 1, 3, 12, 250])
def test_kupiec_is_the_ratio_of_binomial_likelihoods(count):
    dates = 250
    own = stats.binom.logpmf(count, dates, count / dates)
    wanted = stats.binom.logpmf(count, dates, 0.01)
    statistic = kupiec(first(count, dates), 0.99).statistic
    assert statistic == pytest.approx(2.0 * (own - wanted), rel=1e-9)


def chain_likelihood(hits, after_miss, after_hit):
    """Of a Markov chain, factor by factor."""
    total = 0.0
    for before, now in pairwise(hits.tolist()):
        rate = after_hit if before else after_miss
        total += np.log(rate if now else 1.0 - rate)
    return total


def test_independence_compares_a_chain_with_one_rate():
    hits = np.random.default_rng(4).random(400) < 0.1
    hits[50:54] = True
    before, now = hits[:-1], hits[1:]
    chain = chain_likelihood(hits, now[~before].mean(), now[before].mean())
    alone = chain_likelihood(hits, now.mean(), now.mean())
    found = christoffersen_independence(hits, 0.9)
    assert found.statistic == pytest.approx(2.0 * (chain - alone), rel=1e-9)
    assert found.p_value == pytest.approx(stats.chi2.sf(found.statistic, 1))
    both = conditional_coverage(hits, 0.9)
    assert both.statistic == pytest.approx(found.statistic + kupiec(hits, 0.9).statistic)
    assert both.p_value == pytest.approx(stats.chi2.sf(both.statistic, 2))


def test_times_between_failures_compare_geometric_distributions():
    hits = np.zeros(300, bool)
    hits[[9, 10, 60, 250]] = True
    times = np.array([10, 1, 50, 190])
    own = stats.geom.logpmf(times, 1.0 / times).sum()
    wanted = stats.geom.logpmf(times, 0.01).sum()
    found = time_between_failures(hits, 0.99)
    assert found.statistic == pytest.approx(2.0 * (own - wanted), rel=1e-9)
    # Of four independent geometric times, by simulation: 400,000 have an error of 0.0008.
    drawn = np.random.default_rng(5).geometric(0.01, (400_000, 4))
    ratios = stats.geom.logpmf(drawn, 1.0 / drawn) - stats.geom.logpmf(drawn, 0.01)
    share = np.mean(2.0 * ratios.sum(axis=1) >= found.statistic - 1e-9)
    assert found.p_value == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 400_000))


def test_the_p_value_of_one_time_is_that_of_the_geometric_distribution():
    """Of one time at 90 %, summed over all times whose ratio is at least as large."""
    hits = np.zeros(40, bool)
    hits[30] = True
    times = np.arange(1, 2000)
    ratios = stats.geom.logpmf(times, 1.0 / times) - stats.geom.logpmf(times, 0.1)
    wanted = stats.geom.pmf(times, 0.1)[ratios >= ratios[30]].sum()
    assert time_between_failures(hits, 0.9).p_value == pytest.approx(wanted, rel=1e-9)


def test_times_of_a_very_high_level_are_those_of_an_exponential_distribution():
    """At 99.9999999 %: twice u - ln u - 1 of an exponential u, where u is 1e9 times shorter."""
    hits = np.zeros(1000, bool)
    hits[999] = True
    wanted = -np.expm1(-1e-6)  # of u at most 1e-6; as large a ratio above needs u above 14
    high = optimize.brentq(lambda u: u - np.log(u) - (1e-6 - np.log(1e-6)), 1.0, 100.0)
    found = time_between_failures(hits, 0.999999999).p_value
    assert found == pytest.approx(wanted + np.exp(-high), rel=1e-2)


def test_the_dynamic_quantile_is_the_wald_test_of_a_regression():
    random = np.random.default_rng(8)
    gains, var = random.standard_normal(600), 1.6 + 0.2 * random.random(600)
    excess = (-gains > var) - 0.05
    columns = [var[4:], *(excess[4 - lag : -lag] for lag in range(1, 5))]
    fitted = sm.OLS(excess[4:], sm.add_constant(np.column_stack(columns))).fit()
    moments = fitted.model.exog.T @ fitted.model.exog
    wanted = fitted.params @ moments @ fitted.params / (0.05 * 0.95)
    found = dynamic_quantile(gains, var, 0.95)
    assert found.statistic == pytest.approx(wanted, rel=1e-9)
    assert found.p_value == pytest.approx(stats.chi2.sf(wanted, 6))


def test_the_unit_of_money_does_not_move_the_dynamic_quantile():
    random = np.random.default_rng(8)
    gains, var = random.standard_normal(600), 1.6 + 0.2 * random.random(600)
    wanted = dynamic_quantile(gains, var, 0.95)
    for unit in (1e-9, 1e12):
        found = dynamic_quantile(unit * gains, unit * var, 0.95)
        assert found.statistic == pytest.approx(wanted.statistic, rel=1e-9)
        assert found.p_value == pytest.approx(wanted.p_value, rel=1e-9)


def test_the_dynamic_quantile_looks_back_on_dates_and_not_on_what_is_left():
    """With a hole, its date and the two that look back on it are no rows of the regression."""
    random = np.random.default_rng(8)
    gains, var = random.standard_normal(400), 1.6 + 0.2 * random.random(400)
    gains[100] = np.nan
    excess = np.where(np.isnan(gains), np.nan, (-gains > var) - 0.05)
    rows = np.array([t for t in range(2, 400) if t not in (100, 101, 102)])
    columns = np.column_stack([np.ones(len(rows)), var[rows], excess[rows - 1], excess[rows - 2]])
    fitted = sm.OLS(excess[rows], columns).fit()
    moments = columns.T @ columns
    wanted = fitted.params @ moments @ fitted.params / (0.05 * 0.95)
    found = dynamic_quantile(gains, var, 0.95, lags=2)
    assert found.statistic == pytest.approx(wanted, rel=1e-9)
    assert found.observations == 399


def test_a_constant_value_at_risk_takes_no_degree_of_freedom():
    gains = np.random.default_rng(8).standard_normal(600)
    found = dynamic_quantile(gains, np.full(600, 1.645), 0.95)
    assert found.p_value == pytest.approx(stats.chi2.sf(found.statistic, 5))


@pytest.mark.parametrize(
    ("count", "zone", "below", "multiplier"),
    [
        (4, "green", 0.89219, 1.50),
        (5, "yellow", 0.95882, 1.70),
        (6, "yellow", 0.98630, 1.76),
        (9, "yellow", 0.99975, 1.92),
        (10, "red", 0.99995, 2.00),
        (30, "red", 1.0, 2.00),
    ],
)
def test_the_traffic_light_is_that_of_mar32(count, zone, below, multiplier):
    found = traffic_light(first(count, 250), 0.99)
    assert (found.zone, found.multiplier) == (zone, multiplier)
    assert found.cumulative_probability == pytest.approx(below, abs=5e-6)


def test_the_traffic_light_gives_the_figures_that_matlab_publishes():
    """`tl` of MATLAB's Risk Management Toolbox, for the same example."""
    found = traffic_light(first(57, 1043), 0.95)
    assert found.zone == "green"
    assert found.cumulative_probability == pytest.approx(0.77913, abs=5e-6)
    assert found.type_one_error == pytest.approx(0.26396, abs=5e-6)
    assert np.isnan(found.multiplier)


def test_no_exception_is_too_few_in_a_long_record_and_not_in_a_short_one():
    assert kupiec(first(0, 250), 0.99).verdict == "fail"  # 2 x 250 x ln(1/0.99) = 5.03
    assert kupiec(first(0, 100), 0.99).verdict == "pass"
    assert christoffersen_independence(first(0, 250), 0.99).p_value == 1.0
    assert "fewer than two" in christoffersen_independence(first(1, 250), 0.99).note
    assert time_between_failures(first(0, 250), 0.99).verdict == "undecided"


@pytest.mark.parametrize("test", OF_EXCEPTIONS)
def test_without_observations_nothing_is_decided(test):
    found = test(np.zeros(0, bool), 0.99)
    assert found.verdict == "undecided"
    assert np.isnan(found.statistic)
    assert found.note


def test_too_few_dates_for_the_lags_leave_the_dynamic_quantile_undecided():
    found = dynamic_quantile(np.ones(8), np.ones(8), 0.99)
    assert (found.verdict, found.note) == ("undecided", "there are too few dates for 4 lags")


@pytest.mark.parametrize("test", [*OF_EXCEPTIONS, traffic_light])
@pytest.mark.parametrize("given", [[0, 1, 1], [[True]], ["a"], np.ones(3)])
def test_exceptions_that_are_no_truth_values_are_refused(test, given):
    with pytest.raises(DataError, match="one truth value a date"):
        test(given, 0.99)


def test_the_traffic_light_needs_an_observation():
    with pytest.raises(DataError, match="at least one observation"):
        traffic_light(np.zeros(0, bool), 0.99)


def rejections(test, rate, dates, histories, seed):
    random = np.random.default_rng(seed)
    drawn = random.random((histories, dates)) < rate
    return np.mean([test(each, 0.95).verdict == "fail" for each in drawn])


def within_three_errors(found, wanted, histories):
    """Whether a share of histories is what another says, within 3 standard errors."""
    return abs(found - wanted) <= 3.0 * np.sqrt(wanted * (1.0 - wanted) / histories)


def test_kupiec_rejects_right_forecasts_exactly_as_often_as_binomial_counts_say():
    """The size is a sum over the counts that are rejected: 5.4 % of 1,000 dates at 95 %."""
    dates, histories = 1000, 2000
    counts = np.arange(dates + 1)
    ratios = stats.binom.logpmf(counts, dates, counts / dates)
    ratios -= stats.binom.logpmf(counts, dates, 0.05)
    rejected = stats.chi2.sf(2.0 * ratios, 1) < 0.05
    wanted = stats.binom.pmf(counts, dates, 0.05)[rejected].sum()
    assert within_three_errors(rejections(kupiec, 0.05, dates, histories, 11), wanted, histories)
    for count in range(30, 75):
        assert (kupiec(first(count, dates), 0.95).verdict == "fail") == rejected[count]


def chain_sizes(dates, rate, histories, seed):
    """How often independence and conditional coverage reject, from counts of moves alone."""
    hits = np.random.default_rng(seed).random((histories, dates), np.float32) < rate
    together = (hits[:, 1:] & hits[:, :-1]).sum(axis=1)
    before, after = hits[:, :-1].sum(axis=1), hits[:, 1:].sum(axis=1)
    pairs, total = dates - 1, hits.sum(axis=1)

    def likelihood(count, size):
        share = count / np.maximum(size, 1)
        return special.xlogy(count, share) + special.xlogy(size - count, 1.0 - share)

    chain = likelihood(together, before) + likelihood(after - together, pairs - before)
    alone = 2.0 * (chain - likelihood(after, pairs))
    known = special.xlogy(total, rate) + special.xlogy(dates - total, 1.0 - rate)
    both = alone + 2.0 * (likelihood(total, dates) - known)
    return np.mean(stats.chi2.sf(alone, 1) < 0.05), np.mean(stats.chi2.sf(both, 2) < 0.05)


def test_independence_rejects_right_forecasts_as_often_as_counts_of_moves_say():
    """The size of 1,000 dates is not the nominal one; 10,000 histories of other draws tell it."""
    wanted = chain_sizes(1000, 0.05, 10_000, 21)
    for test, share in zip(
        (christoffersen_independence, conditional_coverage), wanted, strict=True
    ):
        assert within_three_errors(rejections(test, 0.05, 1000, 1500, 11), share, 1500)


@pytest.mark.parametrize("dates", [250, 4000])
def test_times_between_failures_reject_right_forecasts_at_the_nominal_rate(dates):
    """At any length: taken for chi-square, they would be rejected in a third of 4,000 dates."""
    found = rejections(time_between_failures, 0.05, dates, 1000, 11)
    assert within_three_errors(found, 0.05, 1000)


def test_the_dynamic_quantile_rejects_right_forecasts_at_the_nominal_rate():
    """Of 4,000 dates at 95 %, with a value at risk that moves, 5 % within the binomial error."""
    random, histories = np.random.default_rng(12), 800
    failed = 0
    for _ in range(histories):
        var = np.exp(0.3 * random.standard_normal(4000))
        gains = var / 1.644854 * random.standard_normal(4000)
        failed += dynamic_quantile(gains, var, 0.95).verdict == "fail"
    assert within_three_errors(failed / histories, 0.05, histories)


def test_wrong_forecasts_are_rejected_more_often_the_longer_the_record():
    """Value at risk at 95 % of a normal of a deviation a fifth too low: 9.4 % exceed it."""
    rate = float(stats.norm.cdf(-1.644854 * 0.8))
    short, long = (rejections(kupiec, rate, dates, 400, 12) for dates in (250, 1000))
    # Probability that a binomial count is one that the test rejects.
    for dates, found in ((250, short), (1000, long)):
        counts = np.arange(dates + 1)
        rejected = np.array([kupiec(first(c, dates), 0.95).verdict == "fail" for c in counts])
        wanted = stats.binom.pmf(counts, dates, rate)[rejected].sum()
        error = np.sqrt(wanted * (1.0 - wanted) / 400)
        assert found == pytest.approx(wanted, abs=3.5 * error + 1e-9)
    assert short < long

"""Tests of expected shortfall: published critical values, hand-worked examples, size and power."""

import numpy as np
import pytest
from scipy import stats

from mcmargin.backtests.observations import observations
from mcmargin.backtests.shortfall import (
    acerbi_szekely_z1,
    acerbi_szekely_z2,
    mcneil_frey,
    tail_pit,
)
from mcmargin.errors import DataError

VAR, SHORTFALL = 1.959964, 2.337803
"""Of a standard normal at 97.5 %."""


def constant(dates):
    return np.full(dates, VAR), np.full(dates, SHORTFALL)


def students(degrees, size, seed):
    """Draws of unit variance, and their value at risk and expected shortfall at 97.5 %."""
    scale = np.sqrt((degrees - 2.0) / degrees)
    quantile = stats.t.ppf(0.025, degrees)
    density = stats.t.pdf(quantile, degrees) * (degrees + quantile**2) / (degrees - 1.0)
    drawn = np.random.default_rng(seed).standard_t(degrees, size) * scale
    return drawn, -quantile * scale, density / 0.025 * scale


def test_the_statistics_by_hand():
    gains, var = np.array([-3.0, 1.0, -4.0, 0.5]), np.full(4, 2.0)
    shortfall, drawn = np.array([2.5, 2.5, 3.2, 2.5]), np.zeros((10, 4))
    drawn[:3, 0] = -2.1, -2.5, -9.0
    first = acerbi_szekely_z1(gains, var, shortfall, drawn)
    assert first.statistic == pytest.approx((-3.0 / 2.5 - 4.0 / 3.2) / 2.0 + 1.0)
    second = acerbi_szekely_z2(gains, var, shortfall, drawn, 0.975)
    assert second.statistic == pytest.approx((-3.0 / 2.5 - 4.0 / 3.2) / (4 * 0.025) + 1.0)
    # Only the third history is as low as what happened; seven have no exception, and do not count
    # for Z1. Their Z2 is 1.
    assert first.p_value == pytest.approx(2.0 / 4.0)
    assert second.p_value == pytest.approx(2.0 / 11.0)


@pytest.mark.parametrize(
    ("law", "five", "one"),
    [("normal", -0.704, -1.039), (5, -0.738, -1.109), (3, -0.810, -1.316)],
)
def test_the_null_distribution_of_z2_has_the_known_critical_values(law, five, one):
    """Of 250 days at 97.5 %, from 200,000 simulations; here 20,000, so that the probability below
    the 5 % value has a standard error of 0.15 %, and below the 1 % value of 0.07 %."""
    shape, seed = (20_000, 250), 17
    if law == "normal":
        drawn, var, shortfall = np.random.default_rng(seed).standard_normal(shape), VAR, SHORTFALL
    else:
        drawn, var, shortfall = students(law, shape, seed)
    known = np.full(250, var), np.full(250, shortfall)
    for critical, share in ((five, 0.05), (one, 0.01)):
        # One loss of such a size that what happened has the critical value as its statistic.
        happened = np.zeros(250)
        happened[0] = (critical - 1.0) * 250 * 0.025 * shortfall
        found = acerbi_szekely_z2(happened, *known, drawn, 0.975)
        assert found.statistic == pytest.approx(critical)
        error = np.sqrt(share * (1.0 - share) / shape[0])
        # The last digit of a published value moves the share by up to 0.05 %.
        assert found.p_value == pytest.approx(share, abs=4 * error + 0.0005)
        told = acerbi_szekely_z2(happened, *known, drawn, 0.975, significance=share).critical
        density = {0.05: 0.12, 0.01: 0.02}[share]  # of Z2 there, at least
        assert told == pytest.approx(critical, abs=4 * error / density)


def test_a_model_that_understates_volatility_is_rejected_and_a_right_one_is_not():
    random = np.random.default_rng(3)
    known, drawn = constant(500), random.standard_normal((1000, 500))
    verdicts = {
        scale: [
            acerbi_szekely_z2(scale * random.standard_normal(500), *known, drawn, 0.975).verdict
            for _ in range(100)
        ]
        for scale in (1.0, 1.25, 1.5)
    }
    shares = [np.mean([each == "fail" for each in own]) for own in verdicts.values()]
    assert shares[0] == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 100))
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.95


def test_the_critical_value_parts_what_fails_from_what_passes():
    drawn = np.zeros((99, 1))
    drawn[:, 0] = -2.0 - np.arange(99) / 10.0
    shortfall = np.full(1, 2.5)

    def verdict(z):
        return acerbi_szekely_z1([(z - 1.0) * 2.5], [1.9], shortfall, drawn)

    critical = verdict(0.0).critical
    # The fourth lowest of 99: below it lie 3, and (1 + 3) / 100 < 5 %.
    assert critical == pytest.approx(drawn[-4, 0] / 2.5 + 1.0)
    assert verdict(critical - 1e-6).verdict == "fail"
    assert verdict(critical + 1e-6).verdict == "pass"
    assert np.isnan(tail_pit([0.5], 0.99).critical)


def test_z1_rejects_right_forecasts_at_the_nominal_rate_where_exceptions_are_few():
    """100 dates at 97.5 % have none in 8 % of histories; of the others 5 % are rejected."""
    random, histories = np.random.default_rng(4), 1500
    known, drawn = constant(100), random.standard_normal((1500, 100))
    found = [
        acerbi_szekely_z1(each, *known, drawn).verdict
        for each in random.standard_normal((histories, 100))
    ]
    decided = [each for each in found if each != "undecided"]
    none = 0.975**100
    error = np.sqrt(none * (1.0 - none) / histories)
    assert 1.0 - len(decided) / histories == pytest.approx(none, abs=3 * error)
    # The same draws for all: their own error counts as well.
    error = np.sqrt(0.05 * 0.95 * (1.0 / len(decided) + 1.0 / 1500))
    assert np.mean([each == "fail" for each in decided]) == pytest.approx(0.05, abs=3 * error)


def test_z1_is_undecided_where_no_history_that_was_drawn_has_an_exception():
    found = acerbi_szekely_z1([-3.0], [2.0], [2.5], np.zeros((50, 1)))
    assert (found.verdict, found.note[:10]) == ("undecided", "no history")
    assert found.statistic == pytest.approx(-0.2)


def test_z1_does_not_look_at_the_number_of_exceptions():
    """Exceptions twice as frequent, of the right mean size, change Z2 and leave Z1."""
    dates, random = 4000, np.random.default_rng(9)
    known, drawn = constant(dates), random.standard_normal((500, dates))
    happened = random.standard_normal(dates)
    hits = np.flatnonzero(-happened > VAR)
    calm = np.flatnonzero(happened > 0)[: len(hits)]
    happened[calm] = happened[hits]
    assert acerbi_szekely_z1(happened, *known, drawn).verdict == "pass"
    assert acerbi_szekely_z2(happened, *known, drawn, 0.975).verdict == "fail"


def test_dates_that_are_left_out_are_left_out_of_the_draws():
    random = np.random.default_rng(5)
    happened, drawn = random.standard_normal(300), random.standard_normal((400, 300))
    var, shortfall = constant(300)
    holes = happened.copy()
    holes[::7] = np.nan
    drawn_with_holes = drawn.copy()
    drawn_with_holes[:, ::7] = np.inf  # would be refused on a date that counts
    kept = ~np.isnan(holes)
    found = acerbi_szekely_z2(holes, var, shortfall, drawn_with_holes, 0.975)
    wanted = acerbi_szekely_z2(happened[kept], var[kept], shortfall[kept], drawn[:, kept], 0.975)
    assert (found.statistic, found.p_value) == (wanted.statistic, wanted.p_value)


@pytest.mark.parametrize("drawn", [np.zeros(4), np.zeros((0, 4)), np.zeros((5, 3))])
def test_draws_of_another_shape_are_refused(drawn):
    with pytest.raises(DataError, match=r"draws must be of shape \(histories, 4\)"):
        acerbi_szekely_z2(np.zeros(4), *constant(4), drawn, 0.975)


def test_draws_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="draws must be finite"):
        acerbi_szekely_z2(np.zeros(4), *constant(4), np.full((5, 4), np.nan), 0.975)


def test_without_an_exception_z1_is_undecided_and_z2_passes():
    drawn = np.random.default_rng(5).standard_normal((50, 4))
    assert acerbi_szekely_z1(np.zeros(4), *constant(4), drawn).verdict == "undecided"
    found = acerbi_szekely_z2(np.zeros(4), *constant(4), drawn, 0.975)
    assert (found.statistic, found.p_value, found.verdict) == (1.0, 1.0, "pass")


def test_mcneil_frey_is_the_t_test_of_residuals_for_near_normal_ones():
    """Of many residuals the bootstrap's p-value comes near the normal one; 10,000 resamples have
    an error of 0.5 %, and the skewness of residuals moves it by a little more."""
    random = np.random.default_rng(6)
    happened = 1.05 * random.standard_normal(20_000)
    found = mcneil_frey(happened, *constant(20_000), seed=7)
    paired = observations(happened, *constant(20_000))
    residuals = -happened[paired.exceptions] / SHORTFALL - 1.0
    wanted = stats.ttest_1samp(residuals, 0.0, alternative="greater")
    assert found.statistic == pytest.approx(wanted.statistic)
    assert found.p_value == pytest.approx(wanted.pvalue, abs=0.03)


def bootstrap_size(counts, histories, resamples, seed):
    """How often a bootstrap t-test rejects losses of a normal beyond its 97.5 % quantile."""
    random, failed = np.random.default_rng(seed), 0
    for count in random.choice(counts, histories):
        sizes = stats.norm.isf(0.025 * random.random(count)) / SHORTFALL - 1.0
        again = (sizes - sizes.mean())[random.integers(count, size=(resamples, count))]
        ratio = again.mean(axis=1) / again.std(axis=1, ddof=1)
        above = np.sum(ratio >= sizes.mean() / sizes.std(ddof=1))
        failed += (1 + above) / (1 + resamples) < 0.05
    return failed / histories


def test_mcneil_frey_rejects_right_forecasts_as_often_as_another_bootstrap():
    """Of 1,000 dates with about 25 residuals each: some 4 %, less than the nominal 5 %."""
    random, histories = np.random.default_rng(16), 1500
    known = constant(1000)
    happened = random.standard_normal((histories, 1000))
    failed = [
        mcneil_frey(each, *known, seed=at, resamples=299).verdict == "fail"
        for at, each in enumerate(happened)
    ]
    counts = np.random.default_rng(17).binomial(1000, 0.025, 3000)
    wanted = bootstrap_size(counts[counts >= 5], 3000, 299, 18)
    error = np.sqrt(wanted * (1.0 - wanted) * (1.0 / histories + 1.0 / 3000))
    assert 0.02 < wanted < 0.05
    assert np.mean(failed) == pytest.approx(wanted, abs=3 * error)


def test_mcneil_frey_does_not_change_with_volatility_in_place_of_expected_shortfall():
    """McNeil and Frey divide by volatility: scipy's t-statistic of such residuals is the same."""
    random = np.random.default_rng(6)
    deviation = np.exp(0.4 * random.standard_normal(3000))
    happened = 1.1 * deviation * random.standard_normal(3000)
    found = mcneil_frey(happened, VAR * deviation, SHORTFALL * deviation, seed=7, resamples=99)
    hits = -happened > VAR * deviation
    theirs = (-happened - SHORTFALL * deviation)[hits] / deviation[hits]
    assert found.statistic == pytest.approx(stats.ttest_1samp(theirs, 0.0).statistic)


@pytest.mark.parametrize(
    ("happened", "words"), [([0.0, -3.0], "fewer than two"), ([-3.0, -3.0], "one size")]
)
def test_mcneil_frey_needs_residuals_that_differ(happened, words):
    found = mcneil_frey(happened, *constant(2), seed=7)
    assert found.verdict == "undecided"
    assert words in found.note


def test_the_tail_likelihood_is_at_its_maximum_where_scipy_finds_it():
    """Against a grid of means and deviations: nothing on it is more likely."""
    uniform = stats.norm.cdf(1.2 * np.random.default_rng(5).standard_normal(3000))
    found = tail_pit(uniform, 0.975)
    bound = stats.norm.ppf(0.025)
    tail, others = stats.norm.ppf(uniform[uniform < 0.025]), np.sum(uniform >= 0.025)

    def likelihood(mean, deviation):
        return stats.norm.logpdf(tail, mean, deviation).sum() + others * stats.norm.logsf(
            bound, mean, deviation
        )

    grid = [
        likelihood(mean, deviation)
        for mean in np.linspace(-2.0, 2.0, 81)
        for deviation in np.linspace(0.3, 3.0, 109)
    ]
    best = 2.0 * (max(grid) - likelihood(0.0, 1.0))
    assert best <= found.statistic + 1e-6
    assert found.statistic == pytest.approx(best, abs=0.1)


def test_the_tail_of_right_forecasts_is_rejected_at_the_nominal_rate():
    uniform = np.random.default_rng(15).random((200, 2000))
    failed = [tail_pit(each, 0.975).verdict == "fail" for each in uniform]
    assert np.mean(failed) == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 200))


def test_an_empty_tail_counts_as_no_exceptions_do():
    found = tail_pit(np.full(250, 0.5), 0.99)
    assert found.statistic == pytest.approx(-2 * 250 * np.log(0.99))


@pytest.mark.parametrize("wrong", [0.0, 1.0, -0.1, 1.5])
def test_a_probability_without_a_quantile_is_refused(wrong):
    with pytest.raises(DataError, match="above 0 and below 1"):
        tail_pit([0.5, wrong], 0.99)

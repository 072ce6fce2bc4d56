"""Judging a whole backtest: cases without observations, equal models, margins at equal coverage."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from mcmargin.backtests import judging
from mcmargin.backtests.backtest_values import BacktestValues
from mcmargin.backtests.judging import (
    compared,
    coverage_of,
    margin_efficiency,
    scores_of,
)
from mcmargin.backtests.shortfall import acerbi_szekely_z1, acerbi_szekely_z2

DATES = 400


def judged(realised, deviations, horizons=(1,), factor=1.0, room=True):
    """Values of models that forecast normal losses with a deviation each, of shape (dates,)."""
    realised = np.asarray(realised, float)
    models, portfolios = len(deviations), realised.shape[1]
    shape = (models, DATES, portfolios, len(horizons), 1)
    scale = np.broadcast_to(np.array(deviations)[:, :, None, None, None], shape)
    var, shortfall = 1.959964 * scale, (2.337803 if room else 1.959964) * scale
    none = np.zeros((models, portfolios, len(horizons), 1, 0))
    return BacktestValues(
        dates=np.datetime64("2020-01-01", "ns") + np.arange(DATES) * np.timedelta64(1, "D"),
        models=tuple("abc"[:models]),
        portfolios=tuple(f"p{at}" for at in range(portfolios)),
        assets=("x",),
        horizons=horizons,
        levels=(0.975,),
        exposures=np.ones((portfolios, 1)),
        realised=realised,
        value_at_risk=var,
        expected_shortfall=shortfall,
        margin=factor * shortfall,
        probability=np.full(shape[:-1], np.nan),
        ratio_sums=none,
        ratio_counts=none.astype(np.int64),
        dates_summed=np.zeros((models, len(horizons)), np.int64),
        settings={"seed": 7},
    )


def test_sums_of_draws_give_what_the_draws_themselves_give():
    """Z1 and Z2 of sums over histories, as a walk keeps them, beside those of the draws."""
    random = np.random.default_rng(5)
    happened, deviation = random.standard_normal((DATES, 1, 1)), np.full(DATES, 0.9)
    values = judged(happened, [deviation])
    var, shortfall = values.value_at_risk[0, :, 0, 0, 0], values.expected_shortfall[0, :, 0, 0, 0]
    histories = 0.9 * random.standard_normal((300, DATES))
    histories[:20] = np.abs(histories[:20])  # no exception
    hits = -histories > var
    values = replace(
        values,
        ratio_sums=np.where(hits, histories / shortfall, 0.0).sum(axis=1)[None, None, None, None],
        ratio_counts=hits.sum(axis=1)[None, None, None, None],
        dates_summed=np.full((1, 1), DATES),
    )
    found = judging.tests_of(values).set_index("test")
    given = happened[:, 0, 0], var, shortfall, histories
    for wanted in (acerbi_szekely_z1(*given), acerbi_szekely_z2(*given, 0.975)):
        row = found.loc[wanted.test]
        assert row["statistic"] == pytest.approx(wanted.statistic)
        assert row["critical"] == pytest.approx(wanted.critical)
        assert row["p_value"] == pytest.approx(wanted.p_value)
        assert row["verdict"] == wanted.verdict


def drawn(portfolios, horizons, seed=1):
    return np.random.default_rng(seed).standard_normal((DATES, portfolios, horizons))


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_a_horizon_without_observations_has_no_figures_and_raises_nothing():
    realised = drawn(2, 2)
    realised[:, :, 1] = np.nan
    values = judged(realised, [np.ones(DATES), np.full(DATES, 0.8)], horizons=(1, 500))
    scored = scores_of(values).set_index("horizon")
    assert scored.loc[500, ["fz0", "quantile_score", "average_margin"]].isna().all(axis=None)
    assert scored.loc[1].notna().all(axis=None)
    ranking = compared(values, resamples=50).set_index("horizon")
    assert ranking.loc[500, ["fz0", "p_value", "set_p_value"]].isna().all(axis=None)
    assert ranking.loc[500, "in_set"].all()
    assert ranking.loc[1].notna().all(axis=None)
    assert coverage_of(values).query("horizon == 500")["coverage"].isna().all()
    assert set(judging.tests_of(values).query("horizon == 500")["verdict"]) == {"undecided"}


def test_a_portfolio_without_observations_is_left_out_of_the_comparison():
    realised, deviations = drawn(2, 1), [np.ones(DATES), np.full(DATES, 0.8)]
    alone = compared(judged(realised[:, :1], deviations), resamples=50)
    realised[:, 1] = np.nan
    found = judged(realised, deviations)
    assert compared(found, resamples=50).equals(alone)
    assert scores_of(found).query("portfolio == 'p1'")["fz0"].isna().all()


def test_models_with_equal_forecasts_share_their_place():
    same = np.ones(DATES)
    found = compared(judged(drawn(1, 1), [same, same, 3.0 * same]), resamples=100)
    assert found["model"].tolist() == ["a", "b", "c"]
    assert found["in_set"].tolist() == [True, True, False]
    assert found["difference"].tolist()[:2] == [0.0, 0.0]
    assert found["p_value"].tolist()[:2] == [1.0, 1.0]
    assert compared(judged(drawn(1, 1), [same, same]))["in_set"].all()


def test_one_number_as_both_forecasts_leaves_the_bet_undecided():
    found = judging.tests_of(judged(3.0 * drawn(1, 1), [np.ones(DATES)], room=False)).set_index(
        "test"
    )
    row = found.loc["e-backtest of expected shortfall"]
    assert (row["verdict"], row["note"][:25]) == ("undecided", "expected shortfall equals")
    assert np.isnan(row["p_value"])
    assert found.loc["e-backtest of value at risk", "verdict"] == "fail"


def test_a_margin_that_is_right_but_doubled_is_as_efficient():
    """Losses are 0.0025, 0.005, ... and 1 times the deviation: at 97.5 % ten of 400 lie beyond
    0.975 times it, which is therefore the margin at equal coverage, whatever was asked for."""
    deviation = np.exp(0.5 * np.random.default_rng(2).standard_normal(DATES))
    ranks = np.random.default_rng(3).permutation(np.arange(1, DATES + 1)) / DATES
    realised = -(ranks * deviation)[:, None, None]
    for factor in (1.0, 2.0):
        found = margin_efficiency(judged(realised, [deviation], factor=factor)).iloc[0]
        assert found["factor"] == pytest.approx(0.975 / (2.337803 * factor))
        assert found["exceptions"] == 0.025
        assert found["average_margin"] == pytest.approx(factor * 2.337803 * deviation.mean())
        assert found["margin_at_equal_coverage"] == pytest.approx(0.975 * deviation.mean())


def test_a_margin_that_follows_the_risk_is_the_more_efficient():
    """Two volatilities, 0.5 and 2 of equal number. The right model asks 1.96 times their mean,
    2.45; one margin for all must cover 5 % of the wild dates: 2 x 1.645 = 3.29, but for what calm
    dates exceed it. 400 dates of 50 portfolios leave an error of about 1 %."""
    deviation = np.where(np.arange(DATES) % 2, 2.0, 0.5)
    realised = deviation[:, None, None] * drawn(50, 1)
    values = judged(realised, [deviation, np.ones(DATES)])
    found = margin_efficiency(values).set_index("model")["margin_at_equal_coverage"]
    assert found["a"] == pytest.approx(1.959964 * 1.25, rel=0.03)
    assert found["b"] == pytest.approx(2.0 * 1.644854, rel=0.03)
    ranking = compared(values, resamples=50).set_index("model")["margin_at_equal_coverage"]
    assert ranking.to_dict() == found.to_dict()
    assert (margin_efficiency(values)["exceptions"] == 0.025).all()

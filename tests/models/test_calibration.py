"""Calibration on each asset's own history, calendars, and lengths."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.bar_patterns import calendar_of
from mcmargin.demo import demo_prices
from mcmargin.models.arch_fits import AssetFit, arch_model_of
from mcmargin.models.fitting import fit_asset
from mcmargin.models.innovations import Innovations
from mcmargin.models.refiltering import refilter


@pytest.fixture(scope="module")
def closes():
    """S&P 500, and a younger asset of the same calendar."""
    from arch.data import nasdaq, sp500

    frame = pd.concat(
        {"old": sp500.load()["Adj Close"], "young": nasdaq.load()["Adj Close"]}, axis=1
    )
    frame = frame.iloc[-2500:].copy()
    frame.iloc[:-800, 1] = np.nan
    return frame


def test_own_history_is_the_fit_of_all_closes_filtered_over_the_joint_ones(closes):
    options = {"volatility": "garch", "innovations": "t", "dependence": "gaussian", "jobs": 1}
    history = mm.PriceHistory.from_frame(closes)
    own, joint = (mm.calibrate(history, own_history=x, **options) for x in (True, False))
    returns = closes["old"].pct_change().dropna().to_numpy()
    alone = fit_asset(returns, "garch", "t")
    v = own.volatility
    found = [v.omega[0], v.alpha[0], v.gamma[0], v.beta[0]]
    np.testing.assert_allclose(found, alone.parameters, rtol=1e-12)
    assert not np.allclose(found[1], joint.volatility.alpha[0])
    assert own.facts["fits"]["old"]["bar_variance_ratio"] == pytest.approx(1.0, abs=1e-12)
    peer = arch_model_of(returns[-799:], "garch", "normal").fix([found[0], found[1], found[3]])
    ahead = peer.forecast(horizon=1, reindex=False).variance.to_numpy()[0, 0]
    assert own.state.variance[0] == pytest.approx(ahead, rel=1e-9)


@pytest.mark.parametrize("kind", ["garch", "egarch"])
def test_bars_of_other_length_are_scaled(kind):
    """A coin of equal daily variance trades 7 days a week, a share 5: 7 own bars to 5 joint ones.

    The ratio of two sample variances of the same 2,100 moves errs by about sqrt(2/n)."""
    rng = np.random.default_rng(47)
    index = pd.date_range("2015-01-05", periods=2100)
    frame = pd.DataFrame(
        {
            name: 100 * np.cumprod(1 + 0.01 * rng.standard_normal(2100))
            for name in ("coin", "share")
        },
        index=index,
    )
    frame.loc[index.day_of_week >= 5, "share"] = np.nan
    model = mm.calibrate(
        mm.PriceHistory.from_frame(frame),
        volatility=kind,
        innovations="normal",
        dependence="gaussian",
        own_history=True,
        jobs=1,
    )
    assert abs(model.facts["fits"]["coin"]["bar_variance_ratio"] - 1.4) < 4 * 1.4 * np.sqrt(
        2 / 2100
    )
    assert model.facts["fits"]["share"]["bar_variance_ratio"] == pytest.approx(1.0)
    assert model.facts["fits"]["coin"]["own_bars"] == pytest.approx(1.4, abs=0.005)
    assert model.facts["fits"]["share"]["own_bars"] == 1.0
    variance = model.state.variance / model.volatility.sample_variance
    np.testing.assert_allclose(variance, 1.0, atol=0.25)
    assert model.facts["fits"]["share"]["weekdays"] == [0, 1, 2, 3, 4]
    assert model.calendar.weekdays == (0, 1, 2, 3, 4)
    assert model.facts["fits"]["coin"]["weekdays"] == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("kind", ["garch", "gjr"])
def test_persistence_is_that_of_joint_returns_simulated(kind):
    """A coin's days from four times their mean variance, over three weeks beside a share.

    Mondays hold three days. 400,000 paths of normal days: the mean squared joint returns of each
    week against the model's expectation from the same excess, within 4 standard errors; the
    persistence of a day, taken for a bar's, is 20 of them away in the third week."""
    alpha, gamma, beta = {"garch": (0.10, 0.0, 0.85), "gjr": (0.04, 0.12, 0.85)}[kind]
    p, mean, paths = alpha + gamma / 2 + beta, 1e-4, 400_000
    rng = np.random.default_rng(59)
    h, days = np.full(paths, 4 * mean), []
    for _ in range(21):
        days.append(np.sqrt(h) * rng.standard_normal(paths))
        h = mean * (1 - p) + (alpha + gamma * (days[-1] < 0)) * days[-1] ** 2 + beta * h
    # From a Friday's close: Saturday to Monday, then Tuesday to Friday, three times.
    weeks = [days[at : at + 7] for at in (0, 7, 14)]
    squares = [sum(week[:3]) ** 2 + sum(day**2 for day in week[3:]) for week in weeks]
    fit = AssetFit(
        kind,
        np.array([mean * (1 - p), alpha, gamma, beta]),
        Innovations("normal", np.empty(0)),
        mean,
        np.empty(0),
        np.empty(0),
        p,
        0.0,
        (),
    )
    joint = refilter(fit, np.sqrt(1.4 * mean) * rng.standard_normal(500), ratio=1.4, bars=1.4)
    omega, *_ = joint.parameters
    assert joint.persistence == pytest.approx(p**1.4)
    assert omega / (1 - joint.persistence) == pytest.approx(1.4 * mean)
    shares = joint.parameters[1:] / fit.parameters[1:].clip(1e-300)
    np.testing.assert_allclose(shares[[0, 2]], p**0.4)
    # The first week's excess is what the filter starts from; what is left of it is its own.
    excess = [square.mean() - 7 * mean for square in squares]
    for week in (1, 2):
        error = 4 * np.sqrt(squares[week].var() + squares[0].var()) / np.sqrt(paths)
        assert abs(excess[week] - joint.persistence ** (5 * week) * excess[0]) < error
    assert abs(excess[2] - p**10 * excess[0]) > 4 * error


def test_egarchs_log_variance_fades_over_a_joint_bar_as_over_its_days():
    """Mean of ln h moved by the ratio's logarithm; an excess is left by beta**r a bar."""
    parameters = np.array([-0.4, 0.2, -0.05, 0.95])
    law = Innovations("normal", np.empty(0))
    fit = AssetFit("egarch", parameters, law, 1e-4, np.empty(0), np.empty(0), 0.95, 0.0, ())
    returns = 0.02 * np.random.default_rng(3).standard_normal(500)
    omega, alpha, gamma, beta = refilter(fit, returns, ratio=1.5, bars=1.4).parameters
    assert beta == pytest.approx(0.95**1.4)
    assert omega / (1 - beta) == pytest.approx(-0.4 / 0.05 + np.log(1.5))
    assert alpha / gamma == pytest.approx(-4.0)
    same = refilter(fit, returns, ratio=1.0, bars=1.0)
    np.testing.assert_allclose(same.parameters, parameters, rtol=1e-14)


def test_a_fit_that_does_not_suit_the_joint_dates_is_refused():
    """A coin of quiet weekdays and wild weekends: its own variance is not that of joint bars."""
    law = Innovations("normal", np.empty(0))
    fit = AssetFit(
        "constant", np.array([1e-4, 0, 0, 0]), law, 1e-4, np.empty(0), np.empty(0), 0.0, 0.0, ()
    )
    returns = 0.05 * np.random.default_rng(3).standard_normal(500)
    with pytest.raises(mm.CalibrationError, match=r"coin: .*deviation 4\.\d+.*own_history=False"):
        refilter(fit, returns, ratio=1.4, bars=1.4, asset="coin")


def test_weekdays_are_pandas_weekdays():
    index = pd.bdate_range("2020-01-01", periods=300)
    assert list(calendar_of(index.to_numpy()).weekdays) == sorted(set(index.day_of_week))


def test_the_asset_that_is_too_short_is_named(closes):
    frame = closes.copy()
    frame.iloc[:-60, 1] = np.nan
    history = mm.PriceHistory.from_frame(frame)
    with pytest.raises(mm.CalibrationError, match=r"young: 59 returns.*at least 100.*60"):
        mm.calibrate(history)
    with pytest.raises(mm.CalibrationError, match=r"young: 59 returns.*at least 100"):
        mm.calibrate(history, own_history=True)


def test_a_price_that_never_moves_is_not_fitted_but_updates(closes, tmp_path):
    frame = closes.iloc[-400:].copy()
    still = frame.assign(old=100.0)
    still.to_csv(tmp_path / "p.csv")
    history = mm.read_prices(tmp_path / "p.csv")
    for own_history in (False, True):
        with pytest.raises(mm.CalibrationError, match=r"p\.csv: .*'old' never moves in 400"):
            mm.calibrate(history, own_history=own_history)
    options = {"volatility": "ewma", "innovations": "normal", "dependence": "gaussian"}
    model = mm.calibrate(mm.PriceHistory.from_frame(frame.iloc[:-1]), jobs=1, **options)
    last = frame.iloc[-2:].copy()
    last.iloc[1, 0] = last.iloc[0, 0]
    assert model.update(mm.PriceHistory.from_frame(last)).state.residuals[0] == 0.0


def test_a_misplaced_digit_shows_in_the_report():
    """One close ten times too high: its return stands in the report with its date."""
    prices = demo_prices().to_frame().iloc[-400:, :1].copy()
    prices.iloc[200] *= 10
    report = mm.calibrate(mm.PriceHistory.from_frame(prices), volatility="ewma").fit_report()
    move = prices.iloc[200, 0] / prices.iloc[199, 0] - 1
    assert f"largest move {move:+.1%} to {prices.index[200].date()}" in report

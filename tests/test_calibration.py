"""Calibration on each asset's own history, calendars, and lengths."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.bars import calendar_of
from mcmargin.fitting import arch_model_of, fit_asset


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
    variance = model.state.variance / model.volatility.sample_variance
    np.testing.assert_allclose(variance, 1.0, atol=0.25)
    assert model.facts["fits"]["share"]["weekdays"] == [0, 1, 2, 3, 4]
    assert model.calendar.weekdays == (0, 1, 2, 3, 4)
    assert model.facts["fits"]["coin"]["weekdays"] == [0, 1, 2, 3, 4, 5, 6]


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

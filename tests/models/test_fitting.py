"""Fits that describe their own residuals: pegs, coarse ticks, frozen prices and heavy tails."""

import numpy as np
import pandas as pd
import pytest
from arch.univariate import EWMAVariance, ZeroMean
from scipy import stats

import mcmargin as mm
from mcmargin.models.arch_fits import LEAST_SHAPE, RESIDUAL_STD
from mcmargin.models.fitting import fit_asset
from mcmargin.models.volatility import VARIANCE_FLOOR
from mcmargin.numerics.tail import expected_shortfall
from tests.helpers.models import QUICK


def peg(share, seed, bars=800):
    """Returns that are 0 but on a share of the bars, where they are 0.1 % by a normal."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(bars) < share, 0.001 * rng.standard_normal(bars), 0.0)


def ticks(size, seed, bars=900):
    """Returns of a price of so many ticks that moves by 1 %, t of 4 degrees of freedom."""
    rng = np.random.default_rng(seed)
    price = size * np.cumprod(1 + 0.01 * rng.standard_t(4, bars) / np.sqrt(2))
    price = np.maximum(np.round(price), 1)
    return price[1:] / price[:-1] - 1


def history_of(**returns):
    closes = {name: 100 * np.concatenate([[1], np.cumprod(1 + x)]) for name, x in returns.items()}
    index = pd.date_range("2015-01-01", periods=len(next(iter(closes.values()))))
    return mm.PriceHistory.from_frame(pd.DataFrame(closes, index=index))


POOR = [
    *(("peg", share, seed) for share in (0.02, 0.05, 0.2, 0.4) for seed in (0, 1)),
    *(("ticks", size, seed) for size in (50, 20, 10) for seed in (0, 1)),
]


@pytest.mark.parametrize("choice", [("gjr", "skewt"), ("garch", "t"), ("constant", "normal")])
@pytest.mark.parametrize(("make", "size", "seed"), POOR)
def test_many_unchanged_prices_end_in_a_sound_fit(make, size, seed, choice):
    """Two thirds of the returns and more are 0: the likelihood has no maximum.

    A fit's tail against the sample's own, at the root mean square of its volatility: within 0.7 to
    1.8 of it. Fits that had collapsed, with residuals of standard deviation 1,061, gave 0.001.
    A declared 0.7: a normal has 0.7 of the shortfall of the two-thirds empty sample, and is as
    asked.
    """
    returns = {"peg": peg, "ticks": ticks}[make](size, seed)
    fit = fit_asset(returns, *choice, asset="a")
    assert RESIDUAL_STD[0] <= fit.residuals.std() <= RESIDUAL_STD[1]
    np.testing.assert_allclose(fit.residuals, returns / np.sqrt(fit.variances))
    if fit.innovations.kind in LEAST_SHAPE:
        assert fit.innovations.parameters[0] >= LEAST_SHAPE[fit.innovations.kind]
    if choice == ("constant", "normal"):
        assert fit.refused == ()
        return
    assert fit.refused
    assert any("standard deviation" in reason or "bound" in reason for reason in fit.refused)
    level = np.sqrt(fit.variances.mean())
    for sign, shortfall in zip((-1, 1), fit.innovations.shortfalls(0.99), strict=True):
        ratio = level * shortfall / expected_shortfall(sign * returns, level=0.99)
        assert 0.7 < ratio < 1.8


def test_the_last_link_has_the_samples_shortfall_at_least():
    """Moves on one bar in fifty: constant variance, and the sample's worst 1 % in both tails."""
    returns = peg(0.02, 1)
    fit = fit_asset(returns, "gjr", "skewt")
    assert (fit.volatility, fit.innovations.kind) == ("constant", "empirical")
    assert len(fit.refused) == 4
    sigma = np.sqrt(fit.next_variance)
    worst = np.sort(-returns)[::-1][:8].mean(), np.sort(returns)[::-1][:8].mean()
    ratios = sigma * np.array(fit.innovations.shortfalls(0.99)) / worst
    assert ratios.min() == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize(("share", "kind"), [(0.4, "ewma"), (0.05, "constant")])
def test_normal_innovations_where_there_are_too_few_returns_for_empirical_ones(share, kind):
    returns = peg(share, 0, bars=200)
    fit = fit_asset(returns, "garch", "t")
    assert (fit.volatility, fit.innovations.kind) == (kind, "normal")
    if kind == "constant":
        worst = max(np.sort(-returns)[-2:].mean(), np.sort(returns)[-2:].mean())
        normal = stats.norm.pdf(stats.norm.ppf(0.99)) / 0.01
        assert np.sqrt(fit.next_variance) * normal == pytest.approx(worst, rel=1e-6)
    else:
        assert RESIDUAL_STD[0] <= fit.residuals.std() <= RESIDUAL_STD[1]


def test_a_price_that_moved_once_is_an_error_that_names_the_asset_and_the_way_out():
    returns = np.zeros((400, 2))
    returns[:, 0] = 0.01 * np.random.default_rng(3).standard_normal(400)
    returns[200, 1] = 0.1
    history = history_of(fine=returns[:, 0], still=returns[:, 1])
    with pytest.raises(mm.CalibrationError, match=r"still: .*leave the asset out.*longer bars"):
        mm.calibrate(history, jobs=1)


def test_the_report_says_what_was_refused():
    history = history_of(peg=peg(0.2, 0))
    model = mm.calibrate(history, jobs=1)
    assert "fell back: gjr with skewt innovations" in model.fit_report()
    assert "ewma with t innovations has a shape of 2.050" in model.fit_report()


# The floor of a filter's variance.


def frozen(bars=900, still=500):
    """1 % a bar, then a price that stands still, then 1 % again."""
    rng = np.random.default_rng(5)
    returns = 0.01 * rng.standard_normal(bars)
    returns[200 : 200 + still] = 0.0
    return returns


@pytest.mark.parametrize("innovations", ["normal", "empirical"])
def test_a_frozen_price_does_not_drive_the_variance_to_nothing(innovations):
    """EWMA's variance fell to 1e-14 of the sample's: 0.94**500. Now by hand, with the floor."""
    returns = frozen()
    fit = fit_asset(returns, "ewma", innovations)
    floor = VARIANCE_FLOOR * returns.var()
    # arch's start, and its recursion, on returns scaled to variance 1 as they are fitted.
    scale = 1 / returns.std()
    peer = ZeroMean(returns * scale, volatility=EWMAVariance(0.94), rescale=False).fix([])
    variance = peer.conditional_volatility[0] ** 2 / scale**2
    for bar, found in zip(returns, fit.variances, strict=True):
        assert found == pytest.approx(variance, rel=1e-9)
        variance = max(0.94 * variance + 0.06 * bar**2, floor)
    assert fit.next_variance == pytest.approx(variance, rel=1e-9)
    assert fit.variances.min() == pytest.approx(floor)
    assert fit.refused == ()
    assert fit.residuals.std() < RESIDUAL_STD[1]


def nearly_still():
    """1 % a bar, then a ten-thousandth of it: no halt, since the price moves on every bar."""
    returns = 0.01 * np.random.default_rng(5).standard_normal(900)
    returns[200:700] *= 1e-4
    return returns


def test_a_price_that_hardly_moves_in_updates_is_held_at_the_floor_and_told():
    returns = nearly_still()
    whole = history_of(a=returns)
    rest = mm.PriceHistory.from_frame(whole.to_frame().iloc[:251])
    model = mm.calibrate(rest, **QUICK)
    assert "held at" not in model.fit_report()
    moved = model.update(whole)
    floor = VARIANCE_FLOOR * returns[:250].var()
    assert moved.history.variances.min() == pytest.approx(floor)
    held = int(np.isclose(moved.history.variances, floor).sum())
    # 0.94**n falls below a hundredth after 75 bars, and the price moves again after 500.
    assert 400 < held < 430
    told = f"; variance held at 0.01 of the sample's on {held} of 900 bars"
    assert told in moved.fit_report()
    first = model.update(mm.PriceHistory.from_frame(whole.to_frame().iloc[:500]))
    assert first.state.variance[0] == pytest.approx(floor)
    assert first.update(whole).fingerprint() == moved.fingerprint()


# EGARCH's optima.


def test_a_peg_between_two_prices_is_margined():
    """A tenth of the bars move by 1 %, up and down in turn: asked for are empirical innovations."""
    rng = np.random.default_rng(0)
    moves = rng.permutation(np.arange(1000) < 100)
    price = np.where(np.cumsum(moves) % 2, 1.01, 1.0)
    returns = np.diff(price, prepend=1.0) / np.concatenate([[1.0], price[:-1]])
    fit = fit_asset(returns, "constant", "empirical", asset="peg")
    assert np.isfinite(fit.innovations.parameters).all()
    assert "too few of 1000 residuals differ" in fit.refused[0]

"""Halted assets: the variance stays where the last move left it, and reports say so.

The peer is arch: its filter over the moves alone, as if the days of the halt had not been.
"""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from arch.univariate import EWMAVariance, ZeroMean

import mcmargin as mm
from mcmargin.demo import demo_prices
from mcmargin.models.fitting import fit_asset
from mcmargin.models.halts import halted_bars, halts_of
from tests.helpers.books import book_of
from tests.helpers.models import QUICK, make_model, with_history

HISTORICAL = QUICK | {"innovations": "empirical", "dependence": "historical"}


def history_of(start="2022-01-03", **returns):
    """Closes from returns, dated by the days."""
    prices = {
        name: 100 * np.cumprod(np.concatenate([[1.0], 1 + each])) for name, each in returns.items()
    }
    # A price that stands still does so exactly, whatever a product would round.
    for name, each in returns.items():
        for at in np.flatnonzero(each == 0.0):
            prices[name][at + 1] = prices[name][at]
    index = pd.date_range(start, periods=len(next(iter(prices.values()))))
    return mm.PriceHistory.from_frame(pd.DataFrame(prices, index=index))


def moves(seed, bars=600, deviation=0.02):
    return deviation * np.random.default_rng(seed).standard_t(5, bars) / np.sqrt(5 / 3)


def halting(bars=600, still=120, after=0, seed=1):
    """Moves, then a price that stands still, then moves again."""
    returns = moves(seed, bars)
    returns[bars - still - after : bars - after] = 0.0
    return returns


def first(history, rows):
    return mm.PriceHistory.from_frame(history.to_frame().iloc[:rows])


def arch_ewma(returns):
    """Variances of arch's RiskMetrics filter, and that of the bar after the last."""
    scale = 1 / returns.std()
    model = ZeroMean(returns * scale, volatility=EWMAVariance(0.94), rescale=False).fix([])
    variances = np.asarray(model.conditional_volatility) ** 2 / scale**2
    return variances, 0.94 * variances[-1] + 0.06 * returns[-1] ** 2


def share(model, asset):
    """Margin of one position over its value, and the report."""
    scenarios = mm.simulate(model, horizon=2, paths=4000, seed=7)
    report = mm.margin(book_of([("x", asset, 1000.0)]), scenarios)
    return report.account("x").margin / report.account("x").gross_exposure, report


@pytest.mark.parametrize("volatility", ["gjr", "ewma"])
def test_a_margin_does_not_fall_in_a_halt(volatility):
    """Of an asset alone: to the last bit that of the bar before, whatever is fitted."""
    whole = history_of(a=halting())
    options = QUICK | {"volatility": volatility, "innovations": "t"}
    before, halted = (mm.calibrate(each, **options) for each in (first(whole, 481), whole))
    assert halted.state.variance[0] == before.state.variance[0]
    np.testing.assert_array_equal(
        halted.volatility.sample_variance, before.volatility.sample_variance
    )
    calm, _ = share(before, "a")
    still, report = share(halted, "a")
    assert still == pytest.approx(calm, rel=1e-12)
    told = (
        "a: price unchanged since 2023-04-28 (121 closes); its variance is held at that of its "
        "last move"
    )
    assert report.calibration.doubts == (told,)
    again = mm.MarginReport.from_json(report.to_json())
    for text in (str(report), report.to_html(), str(again)):
        assert told in " ".join(text.split())
    assert told in halted.fit_report()


def test_a_calibration_leaves_halts_out_of_everything():
    """arch on the moves alone; scores, dates and samples of the bars on which all moved."""
    a, b = halting(still=120, after=60), moves(2)
    model = mm.calibrate(history_of(a=a, b=b), **HISTORICAL)
    still = slice(420, 540)
    moving = np.delete(a, np.arange(420, 540))
    variances, ahead = arch_ewma(moving)
    np.testing.assert_allclose(np.delete(model.history.variances[:, 0], range(420, 540)), variances)
    # The halt holds what the last move left, which is what the first move after it meets.
    np.testing.assert_allclose(model.history.variances[still, 0], variances[420], rtol=1e-12)
    assert model.state.variance[0] == pytest.approx(ahead, rel=1e-9)
    peer = fit_asset(moving, "ewma", "empirical")
    ours, theirs = model.innovations[0].parameters, peer.innovations.parameters
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    assert model.dependence.residuals.shape == (480, 2)
    assert not (model.dependence.residuals == 0).any()
    np.testing.assert_allclose(model.dependence.residuals.std(axis=0), 1.0, rtol=1e-12)
    assert "a: price unchanged from 2023-02-27 to 2023-06-27 (121 closes)" in model.fit_report()
    assert model.doubts == ()


def test_a_correlation_is_that_of_the_dates_on_which_all_move():
    """A pair of correlation 0.8, one of which stands still in a fifth of the history: zeros would
    take a fifth off the correlation of scores; left out, the estimate errs by its own error of
    (1 - 0.64) / sqrt(480) = 0.016, of which three are allowed, and the shrinkage is below 0.02."""
    rng = np.random.default_rng(7)
    both = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 600) * 0.02
    both[300:420, 0] = 0.0
    model = mm.calibrate(history_of(a=both[:, 0], b=both[:, 1]), **QUICK)
    assert model.dependence.correlation[0, 1] == pytest.approx(0.8, abs=0.07)


@pytest.mark.parametrize("options", [QUICK, HISTORICAL, QUICK | {"correlation_half_life": 60.0}])
def test_an_update_holds_the_variance_from_the_twentieth_close_on(options):
    """arch's filter over moves and the first 19 still bars, then held; and over the moves alone."""
    a, b = halting(bars=500, still=60, after=20), moves(2, 500)
    whole = history_of(a=a, b=b)
    model = mm.calibrate(first(whole, 401), **options)
    before, _ = arch_ewma(a[:400])
    variance = 0.94 * before[-1] + 0.06 * a[399] ** 2
    expected = []
    for at in range(400, 500):
        expected.append(variance)
        variance = 0.94 * variance + 0.06 * a[at] ** 2
        if 420 <= at < 480:
            at_stop = expected[20] if at >= 438 else variance
            variance = at_stop
    moved = model.update(whole)
    np.testing.assert_allclose(moved.history.variances[400:, 0], expected, rtol=1e-9)
    assert moved.state.variance[0] == pytest.approx(variance, rel=1e-9)
    # One update is as good as many, wherever it is cut: before, at and after the twentieth bar.
    for cut in (430, 438, 439, 440, 441, 470, 485):
        twice = model.update(first(whole, cut)).update(whole)
        assert twice.fingerprint() == moved.fingerprint()
    during = model.update(first(whole, 440))
    assert "a: price unchanged since 2023-02-27 (20 closes)" in during.update_report()
    assert "unchanged" not in model.update(first(whole, 439)).update_report()
    assert share(during, "a")[0] > 0.5 * share(model.update(first(whole, 421)), "a")[0]


def test_dates_of_a_halt_are_no_dates_of_calm():
    """Historical dependence after an update has those of the dates on which both moved."""
    a, b = halting(bars=500, still=60, after=20), moves(2, 500)
    whole = history_of(a=a, b=b)
    model = mm.calibrate(first(whole, 401), **HISTORICAL)
    moved = model.update(whole)
    assert moved.dependence.residuals.shape == (440, 2)
    fits = moved.facts["fits"]
    for at, asset in enumerate("ab"):
        kept = np.delete(moved.history.residuals[:, at], np.arange(420, 480))
        mean, std = (fits[asset][f"residual_{name}"] for name in ("mean", "std"))
        np.testing.assert_allclose(moved.dependence.residuals[:, at], (kept - mean) / std)
    looking = mm.calibrate(first(whole, 401), correlation_lookback=150, **HISTORICAL)
    np.testing.assert_allclose(
        looking.update(whole).dependence.residuals.std(axis=0), 1.0, atol=0.25
    )
    assert looking.update(whole).dependence.residuals.shape == (150, 2)


def test_a_tick_in_a_halt_holds_the_variance_too():
    whole = history_of(a=halting(bars=500, still=60))
    model = mm.calibrate(first(whole, 471), **QUICK)
    last = whole.to_frame().iloc[[470]]
    tick = mm.PriceHistory.from_frame(last.set_axis(last.index + pd.Timedelta(hours=12)))
    held = model.update(tick, provisional=True)
    assert held.provisional
    assert held.state.variance[0] == model.state.variance[0]
    moved = model.update(mm.PriceHistory.from_frame(tick.to_frame() * 1.1), provisional=True)
    assert moved.state.variance[0] == pytest.approx(0.94 * model.state.variance[0] + 0.06 * 0.01)
    assert "unchanged" not in " ".join(each.text for each in moved.doubts)


@pytest.mark.parametrize("chance", [0.02, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_price_that_seldom_moves_is_not_halted(chance, seed):
    """A peg between ticks, moving by 0.1 % with a chance a bar: 3,000 bars, and no halt."""
    rng = np.random.default_rng(seed)
    returns = np.where(rng.random(3000) < chance, 0.001 * rng.choice([-1, 1], 3000), 0.0)
    assert halts_of(returns, 20) == []


def test_a_peg_that_stops_moving_is_halted_later_than_a_share():
    """The chance of a run of n bars is q**(n-1): 0.7**n below 0.01 / 600 takes 31 bars."""
    rng = np.random.default_rng(5)
    peg = np.where(rng.random(600) < 0.3, 0.001, 0.0)
    peg[-1] = 0.001
    (halt,) = halts_of(np.concatenate([peg, np.zeros(60)]), 20)
    assert halt.start == 600
    assert 25 <= halt.known - 600 + 1 <= 40
    share_ = np.concatenate([moves(1), np.zeros(60)])
    assert halts_of(share_, 20)[0].known == 618


def test_an_asset_that_never_moved_much_used_not_to():
    returns = np.zeros(400)
    returns[200] = 0.1
    assert halts_of(returns, 20) == []


def test_real_prices_are_not_halted():
    """S&P 500, NASDAQ and WTI, whose price at the tick of a cent stays on some days."""
    frame = demo_prices().to_frame()
    for asset in frame:
        returns = frame[asset].dropna().pct_change().dropna().to_numpy()
        assert not halted_bars(returns[:, None], 20).any()


def test_floors_and_stressed_periods_count_a_halt_at_its_held_variance():
    """A year of which the halt is half: the mean square is that of the held variance beside it."""
    returns = np.full((40, 1), 0.02)
    returns[20:, 0] = 0.0
    model = with_history(make_model(("garch",)), returns, np.full((40, 1), 4e-4))
    policy = mm.MarginPolicy(procyclicality=mm.Procyclicality(floor_years=10))
    from mcmargin.scenarios.companions import companions_of

    floor = companions_of(model, policy)["floor"]
    assert floor.model.state.variance[0] == pytest.approx(4e-4, rel=1e-12)


def test_too_short_without_its_halt_is_an_error_that_names_the_way_out():
    with pytest.raises(mm.CalibrationError, match=r"a: its price stands still on 420 of 500 bars"):
        mm.calibrate(history_of(a=halting(bars=500, still=420), b=moves(2, 500)), **QUICK)
    a, b = halting(bars=400, still=200), halting(bars=400, still=150, after=200, seed=4)
    with pytest.raises(mm.CalibrationError, match=r"on 50 bars no asset is halted.*of a, b"):
        mm.calibrate(history_of(a=a, b=b), **QUICK)


def test_the_limit_is_widened_by_name_and_filed(tmp_path):
    whole = history_of(a=halting(bars=400, still=60))
    wide = mm.calibrate(whole, plausibility=mm.Plausibility(still_bars=100), **QUICK)
    assert wide.doubts == ()
    wide.save(tmp_path / "model.npz")
    assert mm.load_model(tmp_path / "model.npz").plausibility.still_bars == 100
    assert not mm.load_model(tmp_path / "model.npz").halted.any()


def test_own_histories_leave_their_halts_out():
    """A coin of all days beside a share of five: its own bars are fitted but those of the halt."""
    coin, stock = halting(bars=700, still=100), moves(2, 700)
    frame = history_of(start="2022-01-03", coin=coin, stock=stock).to_frame()
    frame.loc[frame.index.day_of_week >= 5, "stock"] = np.nan
    history = mm.PriceHistory.from_frame(frame)
    model = mm.calibrate(history, own_history=True, **QUICK)
    peer = mm.calibrate(first(history, 601), own_history=True, **QUICK)
    # Dates of the coin at which both moved differ by a weekend at the end of the history.
    assert model.state.variance[0] == pytest.approx(peer.state.variance[0], rel=0.1)
    assert any("coin: price unchanged since" in each.text for each in model.doubts)


def test_reports_of_earlier_versions_have_no_doubts():
    _, report = share(mm.calibrate(history_of(a=halting()), **QUICK), "a")
    fields = json.loads(report.to_json())
    assert fields["calibration"].pop("doubts")
    assert mm.MarginReport.from_json(json.dumps(fields)).calibration.doubts == ()


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"plausibility": {"move": "much"}}, "facts.plausibility.move"),
        ({"plausibility": {"muve": 1.0}}, "'muve' is not a limit"),
        ({"plausibility": {"move": -1.0}}, "move must be a number from 0"),
        (
            {"revised": {"a": {"count": 1, "at": "then", "model": 1.0, "prices": 1.0}}},
            "revised.a.at",
        ),
        ({"revised": {"a": {"count": 1}}}, "facts.revised.a"),
    ],
)
def test_limits_and_revisions_of_a_model_file_are_checked(facts, told, tmp_path):
    model = mm.calibrate(history_of(a=moves(1)), **QUICK)
    replace(model, facts=model.facts | facts).save(tmp_path / "model.npz")
    with pytest.raises(mm.ModelFileError, match=told):
        mm.load_model(tmp_path / "model.npz")

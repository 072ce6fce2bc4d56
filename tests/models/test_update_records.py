"""Updates: what they lose is kept and told, and one update is as good as many."""

import copy
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.demo import demo_prices
from mcmargin.models.arch_fits import arch_model_of
from tests.helpers.models import make_model, with_history

BARS = 400


@pytest.fixture(scope="module")
def closes():
    """S&P 500 and NASDAQ, of one calendar."""
    return demo_prices().to_frame()[["sp500", "nasdaq"]].dropna().iloc[: BARS + 40]


def calibrated(closes, **options):
    return mm.calibrate(
        mm.PriceHistory.from_frame(closes.iloc[: BARS + 1]),
        volatility="ewma",
        innovations="empirical",
        dependence="historical",
        jobs=1,
        **options,
    )


@pytest.fixture(scope="module")
def historical(closes):
    return calibrated(closes)


@pytest.mark.parametrize("lookback", [None, 250])
def test_dates_added_are_standardised_as_those_of_calibration(closes, lookback):
    """Moments by arch's own residuals; variances by RiskMetrics' recursion from arch's last.

    With a lookback as many dates go as come."""
    model = calibrated(closes, correlation_lookback=lookback)
    kept, gone = lookback or BARS, 39 if lookback else 0
    moved = model.update(mm.PriceHistory.from_frame(closes))
    dates = np.vstack([model.dependence.residuals[:gone], moved.dependence.residuals])
    np.testing.assert_array_equal(dates[:kept], model.dependence.residuals)
    assert dates.shape == (kept + 39, 2)
    assert moved.dependence.residuals.shape == (kept + 39 - gone, 2)
    returns = closes.pct_change().dropna().to_numpy()
    for at in range(2):
        # arch fits returns scaled to variance 1, as calibrate does.
        scale = 1 / returns[:BARS, at].std()
        result = arch_model_of(returns[:BARS, at] * scale, "ewma", "normal").fix([])
        own = np.asarray(result.std_resid)[-kept:]
        variance = float(result.forecast(horizon=1).variance.iloc[-1, 0]) / scale**2
        for bar, ours in zip(returns[BARS:, at], dates[kept:, at], strict=True):
            expected = (bar / np.sqrt(variance) - own.mean()) / own.std()
            assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12)
            variance = 0.94 * variance + 0.06 * bar**2


def test_a_lookback_slides_through_updates_and_files(closes, tmp_path):
    """More dates than it holds: the newest 100, in one update, in two, and from a file."""
    model = calibrated(closes.iloc[: 250 + 1], correlation_lookback=100)
    assert model.dependence.residuals.shape == (100, 2)
    once = model.update(mm.PriceHistory.from_frame(closes))
    model.update(mm.PriceHistory.from_frame(closes.iloc[:300])).save(tmp_path / "m.npz")
    twice = mm.load_model(tmp_path / "m.npz").update(mm.PriceHistory.from_frame(closes))
    assert twice.fingerprint() == once.fingerprint()
    assert once.dependence.residuals.shape == (100, 2)
    # Residuals of the newest 100 bars, moved and scaled alike: their correlation with them is 1.
    for ours, seen in zip(once.dependence.residuals.T, once.history.residuals.T, strict=True):
        assert np.corrcoef(ours, seen[-100:])[0, 1] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_one_update_is_as_good_as_many(closes, historical, cut):
    """To the last bit, dates lost and dates waiting included; files may overlap."""
    holes = closes.iloc[BARS - 5 :].copy()
    holes.iloc[[8, 9, 25], 0] = np.nan
    holes.iloc[[9, 44], 1] = np.nan
    once = historical.update(mm.PriceHistory.from_frame(holes))
    first = historical.update(mm.PriceHistory.from_frame(holes.iloc[: 6 + cut]))
    twice = first.update(mm.PriceHistory.from_frame(holes))
    assert twice.fingerprint() == once.fingerprint()
    assert twice.facts["update"] == {
        "from": str(historical.as_of),
        "to": str(np.datetime64(closes.index[-2], "ns")),
        "bars": 35,
        "lost": 3,
        "missing": {"sp500": 3, "nasdaq": 1},
        "waiting": 1,
        "waiting_for": ["nasdaq"],
        # Labor Day's weekend: four calendar days of 1.45 a bar.
        "longest": 3,
        "longest_to": "2000-09-05T00:00:00.000000000",
    }


def test_what_was_lost_is_told_and_saved(closes, historical, tmp_path):
    assert historical.update_report() == ""
    holes = closes.copy()
    holes.iloc[-3, 0] = np.nan
    holes.iloc[-1, 1] = np.nan
    moved = historical.update(mm.PriceHistory.from_frame(holes))
    moved.save(tmp_path / "model.npz")
    told = mm.load_model(tmp_path / "model.npz").fit_report()
    assert moved.update_report() in told
    assert "updated by 37 bars" in told
    assert "1 dates lost" in told
    assert "missing closes: sp500 1" in told
    assert "later dates not taken in, as they lack a close of nasdaq: 1" in told


def test_a_tick_leaves_the_record(closes, historical):
    moved = historical.update(mm.PriceHistory.from_frame(closes.iloc[:-1]))
    tick = moved.update(mm.PriceHistory.from_frame(closes), provisional=True)
    assert tick.provisional
    assert tick.facts == moved.facts


def test_dates_are_not_added_to_those_of_unknown_moments():
    rng = np.random.default_rng(7)
    model = make_model(
        ("constant",), dependence="historical", residuals=rng.standard_normal((300, 1))
    )
    index = pd.to_datetime(["2020-01-02", "2020-01-03"])
    prices = mm.PriceHistory.from_frame(pd.DataFrame({"a0": [101.0, 99.0]}, index=index))
    with pytest.raises(mm.DataError, match="calibrate it again"):
        model.update(prices)


def model_of_today():
    """As of 2020-01-01, all week, a0 at 100."""
    return make_model(("garch",))


def prices_of(rows):
    frame = pd.DataFrame({"a0": list(rows.values())}, index=pd.to_datetime(list(rows)))
    return mm.PriceHistory.from_frame(frame)


@pytest.mark.parametrize("provisional", [False, True])
def test_prices_on_another_basis_are_refused(provisional):
    """After a split of two for one the model's own date says so; a rounded close does not."""
    halved = prices_of({"2019-12-31": 49.0, "2020-01-01": 50.0, "2020-01-02": 51.0})
    with pytest.raises(mm.DataError, match=r"'a0' closed at 50 on 2020-01-01.*has 100.*split"):
        model_of_today().update(halved, provisional=provisional)
    rounded = prices_of({"2020-01-01": 100.04, "2020-01-02": 101.0})
    model_of_today().update(rounded, provisional=provisional)


def test_a_month_without_prices_is_told():
    whole = prices_of({"2020-01-02": 101.0, "2020-01-05": 99.0})
    assert "spans" not in model_of_today().update(whole).update_report()
    gap = model_of_today().update(prices_of({"2020-01-02": 101.0, "2020-02-01": 99.0}))
    report = gap.update_report()
    assert "one return spans 30 bars of the calendar, to 2020-02-01" in report
    # It stays told, whatever comes after.
    later = gap.update(prices_of({"2020-02-02": 98.0}))
    assert "spans 30 bars of the calendar, to 2020-02-01" in later.update_report()


@pytest.mark.parametrize("read_first", [False, True])
def test_updates_branch_from_one_model(read_first, tmp_path):
    """Two futures of one model: each the whole history of its own, and the past as it was."""
    past = prices_of({"2020-01-02": 101.0, "2020-01-03": 99.0})
    base = model_of_today().update(past)
    if read_first:
        assert len(base.history.times) == 2
    up, down = (
        base.update(prices_of({"2020-01-04": 99.0 * move, "2020-01-05": 99.0})).update(
            prices_of({"2020-01-06": 100.0})
        )
        for move in (1.1, 0.9)
    )
    for model, moves in ((up, [0.1, 99 / 108.9 - 1]), (down, [-0.1, 99 / 89.1 - 1])):
        expected = [0.01, 99 / 101 - 1, *moves, 100 / 99 - 1]
        np.testing.assert_allclose(model.history.returns[:, 0], expected, rtol=1e-12)
        assert str(model.history.times[-1])[:10] == "2020-01-06"
        # The filter by hand: omega + alpha r^2 + beta h, from the model's own variance.
        h = 1e-4
        for seen, bar in zip(model.history.variances[:, 0], expected, strict=True):
            assert seen == pytest.approx(h, rel=1e-12)
            h = 2e-6 + 0.08 * bar**2 + 0.90 * h
        model.save(tmp_path / "model.npz")
        loaded = mm.load_model(tmp_path / "model.npz")
        assert loaded.fingerprint() == model.fingerprint()
        np.testing.assert_array_equal(loaded.history.returns, model.history.returns)
    assert base.history.returns[:, 0].tolist() == pytest.approx([0.01, 99 / 101 - 1])


def test_a_history_is_a_frozen_value():
    """It can be copied and pickled, but not written, whether its parts are joined yet or not."""
    base = model_of_today().update(prices_of({"2020-01-02": 101.0}))
    for joined in (False, True):
        history = base.update(prices_of({"2020-01-03": 99.0})).history
        if joined:
            assert len(history.times) == 2
        for again in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
            np.testing.assert_array_equal(again.returns, history.returns)
        with pytest.raises(AttributeError, match="no attribute 'prices'"):
            history.prices  # noqa: B018
    for name in ("times", "returns", "variances"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(history, name)[0] = 0
        with pytest.raises(AttributeError):
            setattr(history, name, None)


def test_an_update_does_not_copy_the_history():
    """A bar of 200 assets after 5,000, which take 16 MB: the update needs some 50 kB of its own."""
    bars, assets = 5000, 200
    returns = np.full((bars, assets), 0.01)
    model = with_history(make_model(("garch",) * assets), returns, np.full_like(returns, 1e-4))
    frame = pd.DataFrame([[101.0] * assets], pd.to_datetime(["2020-01-02"]), list(model.assets))
    newer = mm.PriceHistory.from_frame(frame)
    tracemalloc.start()
    moved = model.update(newer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert moved.history.returns.shape == (bars + 1, assets)
    assert peak < 320_000

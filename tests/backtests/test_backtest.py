"""Walking forward: nothing of the future is known, and the result is one, however it was made."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mcmargin as mm
from mcmargin.backtests import judging, resuming
from mcmargin.backtests.backtest import backtest
from mcmargin.backtests.competing import Forecast, ModelSpec, Question, forecast_of_returns
from mcmargin.backtests.peers import (
    EwmaNormal,
    FilteredHistorical,
    HistoricalSimulation,
    LogGarchCopula,
    PriceScan,
)
from mcmargin.backtests.walking import null_exceptions, read_record
from mcmargin.errors import DataError, PolicyError

PORTFOLIOS = {"long": {"a": 100.0}, "pair": {"a": 50.0, "b": -50.0}}

QUICK = ModelSpec("ewma", "normal", "gaussian")


def history(returns, assets=("a", "b")):
    dates = pd.date_range("2015-01-01", periods=len(returns) + 1)
    prices = 100.0 * np.cumprod(np.vstack([np.ones(len(assets)), 1.0 + returns]), axis=0)
    return mm.PriceHistory.from_frame(pd.DataFrame(prices, dates, list(assets)))


@pytest.fixture(scope="module")
def prices():
    return history(0.01 * np.random.default_rng(3).standard_normal((360, 2)))


def walked(prices, models, **settings):
    return backtest(
        prices,
        PORTFOLIOS,
        models,
        **({"window": 200, "refit_every": 15, "paths": 2000, "seed": 7, "jobs": 1} | settings),
    )


def assert_same(one, other):
    pd.testing.assert_frame_equal(one.frame, other.frame, check_exact=True)
    assert np.array_equal(one.ratio_sums, other.ratio_sums)
    assert np.array_equal(one.ratio_counts, other.ratio_counts)
    assert one.settings == other.settings


BOOK = mm.Book.from_frame(
    pd.DataFrame({"account": ["x", "x"], "instrument": ["a", "b"], "quantity": [2.0, -1.0]})
)


@pytest.mark.parametrize(
    ("model", "portfolios", "halted"),
    [
        (QUICK, PORTFOLIOS, False),
        (QUICK, BOOK, True),
        (ModelSpec("gjr", "skewt", "t"), PORTFOLIOS, True),
        (EwmaNormal(), PORTFOLIOS, False),
        (FilteredHistorical(), PORTFOLIOS, True),
        (HistoricalSimulation(200), BOOK, False),
        (PriceScan(200), PORTFOLIOS, True),
        (LogGarchCopula(), PORTFOLIOS, True),
    ],
)
def test_the_past_does_not_know_the_future(prices, model, portfolios, halted):
    """Another future after a date leaves every forecast up to it as it was, to the bit.

    Where asset b is halted across that date, it is for 3 dates after it in one of the futures, and
    for 8 in the other.
    """
    cut = 300
    later = 0.05 * np.random.default_rng(4).standard_normal((361 - cut, 2))
    closes = prices.prices, np.vstack([prices.prices[:cut], 90.0 * np.exp(later)])
    closes = [each.copy() for each in closes]
    if halted:
        for each, after in zip(closes, (3, 8), strict=True):
            each[cut - 3 : cut + after, 1] = np.nan
    one, two = (
        backtest(
            replace(prices, times=prices.times[: cut + 26], prices=each[: cut + 26]),
            portfolios,
            {"m": model},
            window=200,
            refit_every=15,
            start=prices.times[cut - 20],
            paths=500,
            seed=7,
            jobs=1,
        )
        for each in closes
    )
    known = int((one.dates < prices.times[cut]).sum())
    assert known == (17 if halted else 20)
    assert np.array_equal(one.dates[:known], two.dates[:known])
    for name in ("value_at_risk", "expected_shortfall", "margin"):
        mine, other = (getattr(each, name) for each in (one, two))
        assert np.array_equal(mine[:, :known], other[:, :known])
        assert not np.array_equal(mine[:, known : known + 20], other[:, known : known + 20])


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


def test_dates_forecasts_and_realised_gains_belong_together(prices):
    found = walked(prices, {"m": HistoricalSimulation(150)}, horizons=(1, 3), levels=(0.95,))
    frame = found.frame.query("portfolio == 'pair' and horizon == 3").set_index("date")
    closes = prices.to_frame()
    date = found.dates[40]
    at = closes.index.get_loc(pd.Timestamp(date))
    moved = closes.iloc[at + 3] / closes.iloc[at] - 1.0
    assert frame.loc[date, "profit_and_loss"] == pytest.approx(
        50.0 * moved["a"] - 50.0 * moved["b"]
    )
    past = closes.iloc[: at + 1]
    past = (past / past.shift(3) - 1.0).iloc[-148:]
    losses = -(50.0 * past["a"] - 50.0 * past["b"]).to_numpy()
    assert frame.loc[date, "value_at_risk"] == pytest.approx(mm.value_at_risk(losses, level=0.95))
    assert frame.loc[date, "expected_shortfall"] == pytest.approx(
        mm.expected_shortfall(losses, level=0.95)
    )
    assert frame["profit_and_loss"].isna().sum() == 2


def test_a_model_of_the_package_forecasts_what_calibrate_and_simulate_give(prices):
    found = walked(prices, {"m": QUICK}, horizons=(1, 2), levels=(0.99,))
    # The first date of the second window, whose fit is new.
    at = 200 + 15
    window = mm.PriceHistory.from_frame(prices.to_frame().iloc[at - 200 : at + 1])
    model = mm.calibrate(
        window, volatility="ewma", innovations="normal", dependence="gaussian", jobs=1
    )
    from mcmargin.backtests.walking import date_seed

    seed = date_seed(7, prices.times[at])
    scenarios = mm.simulate(model, horizons=(1, 2), paths=2000, seed=seed, engine="numpy")
    losses = -(50.0 * scenarios.returns[1, 0] - 50.0 * scenarios.returns[1, 1]).astype(float)
    assert found.expected_shortfall[0, 15, 1, 1, 0] == pytest.approx(
        mm.expected_shortfall(losses, level=0.99), rel=1e-6
    )


def test_between_fits_the_variance_is_filtered_forward():
    """A crash within a window raises the next day's margin, though the fit is older."""
    returns = 0.01 * np.random.default_rng(5).standard_normal((260, 2))
    returns[230] = -0.15
    found = walked(history(returns), {"m": QUICK}, refit_every=60, horizons=(1,), levels=(0.99,))
    margin = found.margin[0, :, 0, 0, 0]
    crash = int(np.argmin(found.realised[:, 0, 0]))
    assert margin[crash + 1] > 2.0 * margin[crash]


def test_any_number_of_jobs_gives_the_same_bytes(prices):
    models = {"own": QUICK, "normal": EwmaNormal(), "filtered": FilteredHistorical()}
    assert_same(walked(prices, models), walked(prices, models, jobs=2))


def test_a_later_start_gives_the_same_forecasts_where_fits_are_the_same(prices):
    """Draws belong to dates: two walks whose fits fall on the same dates agree on all of them."""
    whole = walked(prices, {"m": QUICK}, refit_every=15)
    # 15 x 5 dates: the walk begins a piece there, from nothing, in both.
    late = walked(prices, {"m": QUICK}, refit_every=15, start=prices.times[275])
    assert np.array_equal(whole.margin[:, 75:], late.margin)


def test_an_interrupted_walk_goes_on_where_it_was(prices, tmp_path):
    models = {"own": QUICK, "normal": EwmaNormal()}
    whole = walked(prices, models)
    assert_same(whole, walked(prices, models, folder=tmp_path / "walk"))
    done = sorted((tmp_path / "walk").rglob("*.npz"))
    assert len(done) == 2 * 11
    for path in [done[2], done[3], done[10], done[15]]:
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in done if path.exists()}
    assert_same(whole, walked(prices, models, folder=tmp_path / "walk"))
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())


KILLED = """
import sys
import numpy as np
import pandas as pd
import mcmargin as mm
from mcmargin.backtests.backtest import backtest
from mcmargin.backtests.competing import ModelSpec

frame = pd.read_parquet(sys.argv[1])
backtest(
    mm.PriceHistory.from_frame(frame), {"long": {"a": 100.0}, "pair": {"a": 50.0, "b": -50.0}},
    {"own": ModelSpec("ewma", "normal", "gaussian")}, window=200, refit_every=15, paths=2000,
    seed=7, jobs=2, folder=sys.argv[2],
)
"""


def test_a_killed_walk_loses_at_most_the_windows_in_work(prices, tmp_path):
    whole = walked(prices, {"own": QUICK})
    prices.to_frame().to_parquet(tmp_path / "prices.parquet")
    folder = tmp_path / "walk"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "prices.parquet"), str(folder)],
        env=os.environ | {"MCMARGIN_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while len(list(folder.rglob("*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
        if process.poll() is not None:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1.0)  # its workers look for it twice a second
    assert list(folder.rglob("*.npz"))
    assert_same(whole, walked(prices, {"own": QUICK}, folder=folder))


def test_a_folder_of_other_arguments_is_refused_and_left_as_it_is(prices, tmp_path):
    walked(prices, {"m": EwmaNormal()}, folder=tmp_path / "walk")
    before = sorted(path.name for path in (tmp_path / "walk").rglob("*"))
    for settings in ({"seed": 8}, {"window": 201}, {"levels": (0.95,)}):
        with pytest.raises(DataError, match="other arguments"):
            walked(prices, {"m": EwmaNormal()}, folder=tmp_path / "walk", **settings)
    with pytest.raises(DataError, match="other arguments"):
        walked(prices, {"m": EwmaNormal(0.97)}, folder=tmp_path / "walk")
    assert sorted(path.name for path in (tmp_path / "walk").rglob("*")) == before


def test_a_folder_that_holds_something_else_is_refused(prices, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no backtest"):
        walked(prices, {"m": EwmaNormal()}, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_window_that_was_cut_short_is_named(prices, tmp_path):
    walked(prices, {"m": EwmaNormal()}, folder=tmp_path / "walk")
    path = min((tmp_path / "walk").rglob("*.npz"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="not a window of a backtest") as told:
        walked(prices, {"m": EwmaNormal()}, folder=tmp_path / "walk")
    assert str(path) in str(told.value)
    path.unlink()
    assert_same(
        walked(prices, {"m": EwmaNormal()}, folder=tmp_path / "walk"),
        walked(prices, {"m": EwmaNormal()}),
    )


@dataclass(frozen=True)
class Uniform:
    """A model of a user's own: returns are uniform between two bounds, whatever the closes say."""

    bound: float

    def fit(self, closes, before):
        return closes.times[-1]

    def forecast(self, fitted, closes, question: Question) -> Forecast:
        assert closes.times[-1] >= fitted
        random = np.random.default_rng(question.seed)
        shape = (len(question.horizons), len(closes.assets), question.paths)
        return forecast_of_returns(random.uniform(-self.bound, self.bound, shape), question)


def test_a_model_of_ones_own_takes_part(prices):
    found = walked(prices, {"mine": Uniform(0.1), "normal": EwmaNormal()}, levels=(0.9,))
    assert found.models == ("mine", "normal")
    # 90 % of a uniform on [-0.1, 0.1], of a holding of 100; 2,000 paths have an error of 0.13.
    assert found.value_at_risk[0, :, 0, 0, 0] == pytest.approx(8.0, abs=0.6)
    assert (found.tests()["model"] == "mine").sum() == 2 * 2 * 11


class Wrong:
    def fit(self, closes, before):
        return None

    def forecast(self, fitted, closes, question):
        bad = np.full((1, 1, 1), np.nan)
        return Forecast(bad, bad, np.zeros((1, 1, 0)))


def test_a_forecast_of_another_shape_is_refused_by_model_and_date(prices):
    with pytest.raises(DataError, match=r"model 'w' must forecast value_at_risk from 2015-07-20"):
        walked(prices, {"w": Wrong()})


def test_a_model_that_cannot_be_fitted_is_named_with_its_date(prices):
    with pytest.raises(
        DataError, match=r"model 'm' cannot be fitted to the window that ends 2015-"
    ):
        walked(prices, {"m": ModelSpec("garch", "nobody", "t")})


def test_on_data_of_a_known_law_its_own_model_covers_and_scores_best():
    """1,000 dates of independent normal returns. The true law has exceptions within 3 standard
    errors of 1 % (0.94 %), and its score is below those of models that understate or overstate."""
    random = np.random.default_rng(11)
    prices = history(0.01 * random.standard_normal((1201, 2)))

    @dataclass(frozen=True)
    class Normal:
        deviation: float

        def fit(self, closes, before):
            return None

        def forecast(self, fitted, closes, question):
            drawn = np.random.default_rng(question.seed).standard_normal((2, question.paths))
            return forecast_of_returns(self.deviation * drawn[None], question)

    models = {"true": Normal(0.01), "low": Normal(0.008), "high": Normal(0.0125)}
    found = walked(prices, models, horizons=(1,), levels=(0.99,), refit_every=500, paths=4000)
    counted = found.coverage().query("portfolio == 'long'").set_index("model")
    assert counted.loc["true", "exceptions"] == pytest.approx(10, abs=3 * np.sqrt(9.9))
    assert counted.loc["low", "exceptions"] > counted.loc["true", "exceptions"]
    assert found.compare(resamples=100)["model"].iloc[0] == "true"
    verdicts = found.tests().query("portfolio == 'long' and test == 'acerbi-szekely z2'")
    by_model = verdicts.set_index("model")["verdict"]
    assert by_model["true"] == "pass"
    assert by_model["low"] == "fail"


def test_progress_counts_every_date_of_every_model(prices):
    told = []
    walked(
        prices,
        {"m": EwmaNormal(), "n": EwmaNormal(0.9)},
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (2 * 160, 2 * 160)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_book_of_spot_positions_keeps_its_first_values(prices):
    rows = {"account": ["x", "x"], "instrument": ["a", "b"], "quantity": [2.0, -1.0]}
    book = mm.Book.from_frame(pd.DataFrame(rows))
    found = backtest(prices, book, {"m": EwmaNormal()}, window=200, seed=7, jobs=1)
    first = prices.prices[200]
    assert found.portfolios == ("x",)
    assert found.exposures[0] == pytest.approx([2.0 * first[0], -first[1]])


def test_results_are_written_as_parquet_with_their_settings(prices, tmp_path):
    import pyarrow.parquet as pq

    found = walked(prices, {"m": EwmaNormal()})
    path = found.to_parquet(tmp_path / "backtest.parquet")
    read = pq.read_table(path)
    assert b'"seed":7' in read.schema.metadata[b"mcmargin"]
    assert read.to_pandas()["margin"].to_numpy() == pytest.approx(found.frame["margin"].to_numpy())


PERP = mm.Perpetual("P", "a")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"portfolios": {"x": {"c": 1.0}}}, "no prices of that"),
        ({"portfolios": {"x": {"a": 0.0}}}, "holds nothing"),
        ({"portfolios": {"x": {"a": "much"}}}, "is no number"),
        ({"portfolios": {"x": {"a": np.inf}}}, "is no number"),
        ({"portfolios": {}}, "at least one"),
        ({"portfolios": {"x": 1.0}}, "portfolio 'x' must be of type Mapping"),
        ({"portfolios": [1.0]}, "portfolios must be of type DataFrame"),
        ({"models": {}}, "at least one name"),
        ({"models": {"m": "garch"}}, "model 'm' has no methods fit and forecast"),
        ({"window": 360}, "need 363 closes"),
        ({"start": "2015-02-01"}, "whole only from 2015-07-20"),
        ({"start": "2030-01-01"}, "ends within the prices is 2015-12-25"),
        ({"start": "soon"}, "start: "),
        ({"start": "2015-12-10", "horizons": (1, 30)}, "a horizon of 30 ends .* is 2015-11-27"),
        ({"window": 340, "horizons": (1, 30)}, "a horizon of 30 need 371 closes"),
        (
            {"models": {"past": HistoricalSimulation(1000)}},
            "model 'past' takes the last 1,000 returns, and the window has 200",
        ),
        ({"models": {"scan": PriceScan(250)}}, "model 'scan' takes the last 250 returns"),
    ],
)
def test_what_cannot_be_walked_is_refused(prices, given, words):
    portfolios = given.pop("portfolios", PORTFOLIOS)
    models = given.pop("models", {"m": EwmaNormal()})
    with pytest.raises(DataError, match=words):
        backtest(prices, portfolios, models, **({"window": 200, "seed": 7} | given))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"window": 50}, "window must be an integer of 100"),
        ({"refit_every": 0}, "refit_every must be an integer of 1"),
        ({"horizons": ()}, "horizons must be several"),
        ({"horizons": (2, 1)}, "horizons must increase"),
        ({"horizons": 2}, "horizons must be several"),
        ({"levels": (0.2,)}, "level must lie between"),
        ({"levels": (0.99, 0.99)}, "levels must differ"),
        ({"paths": 1.5}, "paths must be an integer"),
        ({"seed": -1}, "seed must be an integer"),
        ({"jobs": 0}, "jobs must be an integer"),
    ],
)
def test_a_number_out_of_range_is_refused(prices, given, words):
    with pytest.raises(PolicyError, match=words):
        walked(prices, {"m": EwmaNormal()}, **given)


def test_a_book_of_derivatives_is_refused(prices):
    rows = {"account": ["x"], "instrument": ["P"], "quantity": [1.0]}
    book = mm.Book.from_frame(pd.DataFrame(rows), instruments=[PERP])
    with pytest.raises(DataError, match="'P' is no spot"):
        backtest(prices, book, {"m": EwmaNormal()}, window=200, seed=7)


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(prices, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="cannot be written"):
        walked(prices, {"m": EwmaNormal()}, folder=Path(tmp_path / "file" / "walk"))


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


def test_a_close_that_is_missing_of_what_nobody_holds_costs_no_date(prices):
    frame = prices.to_frame()
    wanted = walked(prices, {"m": EwmaNormal()})
    frame["new"] = 100.0
    frame.iloc[:350, 2] = np.nan
    found = walked(mm.PriceHistory.from_frame(frame), {"m": EwmaNormal()})
    assert_same(found, wanted)
    assert found.assets == ("a", "b")
    assert "left out" not in repr(found)
    frame.iloc[[250, 260], 0] = np.nan
    fewer = walked(mm.PriceHistory.from_frame(frame), {"m": EwmaNormal()})
    assert fewer.settings["dates_left_out"] == 2
    assert len(fewer.dates) == len(wanted.dates) - 2
    assert "2 dates without every close left out" in repr(fewer)


def test_any_byte_of_a_window_that_changes_is_noticed_or_means_nothing(prices, tmp_path):
    walked(prices, {"m": EwmaNormal()}, folder=tmp_path / "walk")
    path = min((tmp_path / "walk").rglob("*.npz"))
    whole, wanted = path.read_bytes(), read_record(path)
    noticed = 0
    for at in np.random.default_rng(6).integers(len(whole), size=150).tolist():
        changed = bytearray(whole)
        changed[at] ^= 0x55
        path.write_bytes(changed)
        try:
            found = read_record(path)
        except DataError as error:
            assert str(error).startswith(f"{path}: not a window of a backtest")
            noticed += 1
        else:
            assert all(
                np.array_equal(each, getattr(wanted, name), equal_nan=True)
                for name, each in vars(found).items()
            )
    assert noticed > 120


def loaded(path, text):
    """The class Mine of a module file, as a user would import it."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("models_of_a_user", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["models_of_a_user"] = module
    spec.loader.exec_module(module)
    return module.Mine


MINE = """
from dataclasses import dataclass
from mcmargin.backtests.peers import StaticPercentage

@dataclass(frozen=True)
class Mine(StaticPercentage):
    def forecast(self, fitted, closes, question):
        return StaticPercentage(2 * self.share).forecast(fitted, closes, question)
"""


def test_a_folder_is_of_other_arguments_once_a_source_has_changed(prices, tmp_path, monkeypatch):
    folder, module = tmp_path / "walk", tmp_path / "models_of_a_user.py"
    try:
        walked(prices, {"m": loaded(module, MINE)()}, folder=folder)
        walked(prices, {"m": loaded(module, MINE)()}, folder=folder)
        with pytest.raises(DataError, match="other arguments"):
            walked(prices, {"m": loaded(module, MINE.replace("2 *", "3 *"))()}, folder=folder)
        mine = loaded(module, MINE)
        module.unlink()
        with pytest.raises(DataError, match="source of model 'm' cannot be read"):
            walked(prices, {"m": mine()}, folder=folder)
        assert walked(prices, {"m": mine()}).settings["seed"] == 7
        module.write_text(MINE)
        monkeypatch.setattr(resuming, "package_version", lambda name: f"another {name}")
        with pytest.raises(DataError, match="other arguments"):
            walked(prices, {"m": mine()}, folder=folder)
        monkeypatch.undo()
        monkeypatch.setattr(resuming, "_package", lambda: (("walking.py", "another"),))
        with pytest.raises(DataError, match="other arguments"):
            walked(prices, {"m": mine()}, folder=folder)
    finally:
        sys.modules.pop("models_of_a_user", None)


def test_a_folder_with_only_a_temporary_file_is_new(prices, tmp_path):
    """A kill between the temporary file and the first name leaves this."""
    (tmp_path / ".mcmargin-0123abcd-77-00ff.tmp").write_bytes(b"half")
    walked(prices, {"m": EwmaNormal()}, folder=tmp_path)
    assert (tmp_path / "backtest.txt").exists()


HOLDER = """
import sys
from pathlib import Path
from mcmargin.backtests.resuming import folder_of

with folder_of(Path(sys.argv[1]), "any"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_walk_in_one_folder(prices, tmp_path):
    folder = tmp_path / "walk"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().strip() == b"held"
        with pytest.raises(DataError, match=f"process {process.pid} on .* is walking in it"):
            walked(prices, {"m": EwmaNormal()}, folder=folder)
        process.stdin.close()
    with pytest.raises(DataError, match="other arguments"):
        walked(prices, {"m": EwmaNormal()}, folder=folder)


def test_progress_starts_at_what_was_read(prices, tmp_path):
    models = {"m": EwmaNormal(), "n": EwmaNormal(0.9)}
    walked(prices, models, folder=tmp_path / "walk")
    done = sorted((tmp_path / "walk").rglob("*.npz"))
    for path in (done[1], done[-1]):
        path.unlink()
    told = []
    walked(prices, models, folder=tmp_path / "walk", progress=lambda *each: told.append(each))
    # Windows are of 15 dates, and the last one of each model is of 10.
    assert told[0] == (2 * 160 - 15 - 10, 2 * 160)
    assert told[-1] == (2 * 160, 2 * 160)

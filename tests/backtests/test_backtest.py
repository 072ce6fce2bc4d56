"""Walking forward: nothing of the future is known, and the result is one, however it was made."""

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

import mcmargin as mm
from mcmargin.backtests.backtest import backtest
from mcmargin.backtests.competing import Forecast, ModelSpec, Question, forecast_of_returns
from mcmargin.backtests.peers import EwmaNormal, FilteredHistorical, HistoricalSimulation
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


@pytest.mark.parametrize("model", [QUICK, EwmaNormal(), FilteredHistorical()])
def test_the_past_does_not_know_the_future(prices, model):
    """Another future after a date leaves every forecast up to it as it was, to the bit."""
    at = 300
    random = np.random.default_rng(4)
    other = history(
        np.vstack(
            [
                prices.prices[1:at] / prices.prices[: at - 1] - 1.0,
                0.05 * random.standard_normal((360 - at + 1, 2)),
            ]
        )
    )
    other = replace(other, prices=np.vstack([prices.prices[:at], other.prices[at:]]))
    one, two = (walked(each, {"m": model}) for each in (prices, other))
    known = one.dates <= prices.times[at - 1]
    assert 0 < known.sum() < len(known)
    for name in ("value_at_risk", "expected_shortfall", "margin"):
        assert np.array_equal(getattr(one, name)[:, known], getattr(two, name)[:, known])
        assert not np.array_equal(getattr(one, name), getattr(two, name))


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
        ({"window": 360}, "need 362 closes"),
        ({"start": "2015-02-01"}, "whole only from 2015-07-20"),
        ({"start": "2030-01-01"}, "can be forecast from is 2015-12-26"),
        ({"start": "soon"}, "start: "),
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

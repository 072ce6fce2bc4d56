"""Walking forward: nothing of the future is known, and the result is one, however it was made."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.backtests.backtest import backtest
from mcmargin.backtests.competing import Forecast, ModelSpec, Question, forecast_of_returns
from mcmargin.backtests.peers import (
    EwmaNormal,
    FilteredHistorical,
    HistoricalSimulation,
    LogGarchCopula,
    PriceScan,
)
from mcmargin.errors import DataError, PolicyError
from tests.helpers.models import make_model
from tests.helpers.short_walks import PORTFOLIOS, QUICK, assert_same, history, walked

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


def test_a_model_that_cannot_be_fitted_is_named_with_its_date(prices):
    words = r"model 'm' cannot be fitted to the window that ends 2015-07-20: .*250"
    with pytest.raises(DataError, match=words):
        walked(prices, {"m": ModelSpec("garch", "empirical", "historical")})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"volatility": "garhc"}, "volatility 'garhc' is unknown; choose one of"),
        ({"innovations": "nobody"}, "innovations 'nobody' are unknown"),
        ({"dependence": "historical"}, "goes with innovations in"),
        ({"precision": "half"}, "precision must be"),
        ({"engine": "abacus"}, "engine 'abacus' is unknown"),
        ({"options": {"jobs": 2}}, "options must not have 'jobs'"),
    ],
)
def test_a_specification_that_no_fit_takes_is_refused_at_once(given, words):
    with pytest.raises(mm.McMarginError, match=words):
        ModelSpec(**given)


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


def test_on_data_of_a_garch_law_the_package_s_own_fit_covers_and_scores_best():
    """1,000 dates of two assets from a GARCH law, which is fitted anew on windows of 500 returns.

    Losses beyond value at risk, of one asset long and the other short, are 2.5 % within 3 binomial
    errors of 2,000 dates (1.05 %), and 0.3 % for what the windows leave the parameters wrong by.
    """
    law = make_model(("garch", "garch"), dependence="gaussian")
    drawn = mm.simulate(law, horizons=tuple(range(1, 1502)), paths=1, seed=5, precision="double")
    growth = np.concatenate([np.ones((2, 1)), 1.0 + drawn.returns[:, :, 0].T], axis=1)
    dates = pd.date_range("2015-01-01", periods=1502)
    prices = mm.PriceHistory.from_frame(pd.DataFrame(100.0 * growth.T, dates, ["a", "b"]))
    found = backtest(
        prices,
        {"long": {"a": 1.0}, "short": {"b": -1.0}},
        {
            "own": ModelSpec("garch", "normal", "gaussian"),
            "history": HistoricalSimulation(250),
            "equal weights": EwmaNormal(0.999),
        },
        **{"horizons": (1,), "levels": (0.975,), "window": 500, "refit_every": 100},
        **{"paths": 4000, "seed": 7, "jobs": 1},
    )
    own = found.coverage().query("model == 'own'")
    share = own["exceptions"].sum() / own["observations"].sum()
    assert own["observations"].tolist() == [1001, 1001]
    assert share == pytest.approx(0.025, abs=3 * np.sqrt(0.025 * 0.975 / 2002) + 0.003)
    ranked = found.compare(resamples=100)
    assert ranked["model"].iloc[0] == "own"
    assert (ranked["p_value"].iloc[1:] < 0.05).all()


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

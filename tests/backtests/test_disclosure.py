"""What is published of margins: counted by hand, by pandas, and where the answer is known."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.backtests.backtest import backtest
from mcmargin.backtests.disclosure import monthly_coverage, procyclicality, responsiveness
from mcmargin.backtests.peers import EwmaNormal, HistoricalSimulation, StaticPercentage
from mcmargin.errors import DataError, PolicyError


def walked(returns, models, **settings):
    dates = pd.date_range("2015-01-01", periods=len(returns) + 1)
    prices = 100.0 * np.cumprod(np.concatenate([[1.0], 1.0 + returns]))
    history = mm.PriceHistory.from_frame(pd.DataFrame({"a": prices}, dates))
    return backtest(
        history,
        {"long": {"a": 100.0}},
        models,
        **({"window": 150, "levels": (0.99,), "seed": 7, "jobs": 1} | settings),
    )


@pytest.fixture(scope="module")
def found():
    random = np.random.default_rng(3)
    scale = np.where(np.arange(500) < 300, 0.005, 0.02)
    models = {"normal": EwmaNormal(), "static": StaticPercentage(0.05)}
    return walked(scale * random.standard_normal(500), models)


def test_months_add_up_to_the_whole_record(found):
    table = monthly_coverage(found)
    frame = found.frame.dropna(subset=["profit_and_loss"])
    for (model, horizon), own in table.groupby(["model", "horizon"]):
        rows = frame[(frame["model"] == model) & (frame["horizon"] == horizon)]
        beyond = (-rows["profit_and_loss"] - rows["margin"]).to_numpy()
        assert own["observations"].sum() == len(rows)
        assert own["exceptions"].sum() == (beyond > 0.0).sum()
        assert own["largest_exception"].max() == pytest.approx(max(0.0, beyond.max()))
        total = (own["average_exception"] * own["exceptions"]).sum()
        assert total == pytest.approx(beyond[beyond > 0.0].sum())
    assert (table["coverage"] == 1.0 - table["exceptions"] / table["observations"]).all()


def test_one_month_by_hand():
    """Losses of 6 % and 8 % against a margin of 5 % in June 2015."""
    returns = 0.001 * np.sign(np.random.default_rng(1).standard_normal(200))
    returns[155], returns[160] = -0.06, -0.08
    table = monthly_coverage(walked(returns, {"s": StaticPercentage(0.05)}, horizons=(1,)))
    june = table[table["month"] == "2015-06-01"].iloc[0]
    assert (june["observations"], june["exceptions"]) == (30, 2)
    assert june["largest_exception"] == pytest.approx(3.0)
    assert june["average_exception"] == pytest.approx(2.0)
    assert june["coverage"] == pytest.approx(28 / 30)


def test_a_static_margin_is_not_procyclical_and_does_not_respond(found):
    table = procyclicality(found).query("model == 'static'")
    assert table["peak_to_trough"].tolist() == [1.0, 1.0]
    assert table["log_change_std"].tolist() == [0.0, 0.0]
    moved = responsiveness(found).query("model == 'static'")
    assert (moved["rises"] > 0).all()
    assert moved["responsiveness"].tolist() == [0.0] * 6


def test_margin_that_is_proportional_to_volatility_responds_as_it_does():
    """Historical simulation's kin: value at risk of a model that takes the last 20 gains."""

    class LastTwenty:
        def __repr__(self):
            return "LastTwenty()"

        def fit(self, closes, before):
            return None

        def forecast(self, fitted, closes, question):
            own = EwmaNormal(1.0)  # equal weights
            last = mm.PriceHistory(
                closes.assets, closes.times[-21:], closes.prices[-21:], closes.source
            )
            return own.forecast(None, last, question)

    random = np.random.default_rng(3)
    scale = np.where(np.arange(500) < 300, 0.005, 0.02)
    found = walked(scale * random.standard_normal(500), {"m": LastTwenty()}, horizons=(1,))
    table = responsiveness(found, bars=(1, 5, 20))
    assert table["rises"].min() > 0
    assert table["responsiveness"].to_numpy() == pytest.approx(1.0, abs=1e-9)


def test_a_slow_margin_responds_less_than_a_fast_one():
    random = np.random.default_rng(3)
    scale = np.where(np.arange(500) < 300, 0.005, 0.02)
    models = {"fast": EwmaNormal(0.9), "slow": EwmaNormal(0.98), "old": HistoricalSimulation(150)}
    found = walked(scale * random.standard_normal(500), models, horizons=(1,))
    table = responsiveness(found, bars=(5,)).set_index("model")["responsiveness"]
    assert table["fast"] > table["slow"] > 0.0
    assert table["fast"] > table["old"]


def test_without_a_rise_nothing_is_told():
    steady = 0.01 * np.where(np.arange(300) % 2, 1.0, -1.0)
    found = walked(steady, {"m": EwmaNormal()}, horizons=(1,))
    table = responsiveness(found)
    assert table["rises"].tolist() == [0, 0, 0]
    assert table["responsiveness"].isna().all()


def test_volatility_is_read_off_one_bar_gains():
    found = walked(
        0.01 * np.random.default_rng(2).standard_normal(300), {"m": EwmaNormal()}, horizons=(2,)
    )
    with pytest.raises(DataError, match="a horizon of 1 among the horizons"):
        responsiveness(found)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bars": (0,)}, "bars must be an integer"),
        ({"least_rise": 0.0}, "least_rise must be above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(found, given, words):
    with pytest.raises(PolicyError, match=words):
        responsiveness(found, **given)

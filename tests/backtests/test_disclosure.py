"""What is published of margins: counted by hand, by pandas, and where the answer is known."""

from dataclasses import replace

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


def test_coverage_counts_losses_beyond_value_at_risk_and_beyond_margin(found):
    """By hand over a horizon of one bar, whose dates are those of the months."""
    counted = found.coverage().query("horizon == 1").set_index("model")
    months = monthly_coverage(found).query("horizon == 1")
    assert counted["beyond_margin"].to_dict() == (
        months.groupby("model")["exceptions"].sum().to_dict()
    )
    losses = -found.realised[:, 0, 0]
    for m, model in enumerate(found.models):
        for column, limits in {"exceptions": "value_at_risk", "beyond_margin": "margin"}.items():
            limit = getattr(found, limits)[m, :, 0, 0, 0]
            assert counted.loc[model, column] == sum(
                one > other for one, other in zip(losses, limit, strict=True)
            )
    assert counted.loc["normal", "beyond_margin"] < counted.loc["normal", "exceptions"]


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
    assert table["margin_rise"].to_numpy() == pytest.approx(
        table["volatility_after"].to_numpy(), abs=1e-9
    )


BEFORE, BEGINS = 60, 62
"""Dates with gains of 1, and the place of the episode: the gain that begins on a date is known on
the next one, and two gains of 3 are needed for a rise of 25 %."""


def stepped(margins):
    """A record whose gains are 1 in absolute value on 60 dates, then 3; margins of volatility.

    With j gains of 3 among the last 20, volatility is sqrt(1 + 8 j / 20).
    """
    found = walked(np.full(290, 0.001), {"m": StaticPercentage()}, horizons=(1,))
    count = len(found.dates)
    sizes = np.where(np.arange(count) < BEFORE, 1.0, 3.0)
    gains = sizes * np.where(np.arange(count) % 2, 1.0, -1.0)
    large = np.clip(np.arange(count) - BEFORE, 0, 20)
    volatility = np.sqrt(1.0 + 0.4 * large)
    assert np.log(volatility[BEGINS] / volatility[BEGINS - 5]) > np.log(1.25)
    return replace(
        found,
        realised=gains[:, None, None],
        margin=margins(volatility)[None, :, None, None, None],
    )


@pytest.mark.parametrize(
    ("margins", "squares"),
    [
        # After k bars 2 + k gains of 3 are known, and the margin's square has grown to 1 + 0.4 j.
        (lambda volatility: 7.0 * volatility, (2.2, 3.8, 9.0)),
        # A margin that is a day late knows one gain less.
        (lambda volatility: 7.0 * np.append(volatility[0], volatility[:-1]), (1.8, 3.4, 9.0)),
        (lambda volatility: np.full(len(volatility), 7.0), (1.0, 1.0, 1.0)),
    ],
    ids=["proportional", "one day late", "static"],
)
def test_responses_to_a_step_of_volatility(margins, squares):
    table = responsiveness(stepped(margins))
    assert table["rises"].tolist() == [1, 1, 1]
    assert table["volatility_rise"].to_numpy() == pytest.approx(0.5 * np.log(1.8))
    assert table["margin_rise"].to_numpy() == pytest.approx(0.5 * np.log(squares))
    assert table["volatility_after"].to_numpy() == pytest.approx(0.5 * np.log([2.2, 3.8, 9.0]))
    assert table["responsiveness"].to_numpy() == pytest.approx(np.log(squares) / np.log(1.8))


def test_episodes_begin_more_than_twenty_bars_apart_and_end_within_the_record():
    """Gains that grow by 10 % a bar: volatility has always risen by 61 % against 5 bars before."""
    found = stepped(np.sqrt)
    count = len(found.dates)
    grown = replace(found, realised=(1.1 ** np.arange(count))[:, None, None])
    # The first 20 dates know too few gains, and 5 more are compared; then each 21st begins one.
    begins = np.arange(25, count, 21)
    for last in (1, 20, 40):
        table = responsiveness(grown, bars=(1, last))
        assert table["rises"].tolist() == [(begins + last < count).sum()] * 2
        assert table["volatility_rise"].to_numpy() == pytest.approx(5.0 * np.log(1.1))


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

"""Backtest files: what they say is what is walked, and what is wrong in them is named."""

from importlib.resources import files

import numpy as np
import pytest

from mcmargin.backtests.backtest_file import PEERS, plan_in_words, read_backtest
from mcmargin.backtests.competing import ModelSpec
from mcmargin.backtests.peers import HistoricalSimulation
from mcmargin.errors import DataError

WHOLE = """
prices = "closes/prices.csv"
output = "results"
seed = 11
horizons = [1, 5]
levels = [0.95]
window = 500
refit_every = 10
start = 2015-03-02
paths = 2000
each_asset = true
[portfolios.spread]
a = 1
b = -1.5
[models.own]
kind = "model"
volatility = "garch"
[models.past]
kind = "historical_simulation"
bars = 300
"""


def written(tmp_path, text):
    path = tmp_path / "backtest.toml"
    path.write_text(text)
    return path


def test_a_file_says_all_of_a_plan(tmp_path):
    plan = read_backtest(written(tmp_path, WHOLE))
    assert plan.prices == tmp_path / "closes" / "prices.csv"
    assert plan.output == tmp_path / "results"
    assert (plan.horizons, plan.levels, plan.window, plan.refit_every) == ((1, 5), (0.95,), 500, 10)
    assert (plan.paths, plan.seed) == (2000, 11)
    assert plan.start == np.datetime64("2015-03-02")
    assert plan.models == {"own": ModelSpec("garch"), "past": HistoricalSimulation(300)}
    assert plan.holdings(("a", "b")) == {
        "long a": {"a": 1.0},
        "short a": {"a": -1.0},
        "long b": {"b": 1.0},
        "short b": {"b": -1.0},
        "spread": {"a": 1.0, "b": -1.5},
    }


def test_the_template_is_a_file_and_so_is_every_line_that_may_be_wanted(tmp_path):
    text = (files("mcmargin.templates") / "backtest.toml").read_text(encoding="utf-8")
    plan = read_backtest(written(tmp_path, text))
    assert list(plan.models) == ["gjr", "filtered", "historical", "normal"]
    # A commented line begins with # and no space.
    lines = [
        line[1:] if line[:1] == "#" and line[1:2] != " " else line for line in text.split("\n")
    ]
    whole = read_backtest(written(tmp_path, "\n".join(lines)))
    assert {type(model) for model in whole.models.values()} == set(PEERS.values())
    assert "spread" in whole.portfolios
    assert whole.start is not None


def test_the_words_name_every_part(tmp_path):
    words = "\n".join(plan_in_words(read_backtest(written(tmp_path, WHOLE))))
    for part in (
        "95 %",
        "1 and 5 bars",
        "2015-03-02",
        "+1 a, -1.5 b",
        "500 returns",
        "seed 11",
        "'own'",
        "bars=300",
        "long and short",
    ):
        assert part in words


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("seed = 11", "", "seed: is missing"),
        ("seed = 11", "seed = -1", "seed: must be 0 or more"),
        ("refit_every = 10", "refit_every = 0", "refit_every: must be 1 or more"),
        ("window = 500", "windows = 500", "windows: is unknown"),
        ("levels = [0.95]", "levels = [95]", "levels.0: must be below 1, not 95"),
        ("levels = [0.95]", "levels = []", "levels: "),
        ('"garch"', '"garhc"', r"\[models.own\] volatility 'garhc' is unknown"),
        ("bars = 300", "bars = 0", r"\[models.past\] bars: must be 1 or more"),
        ("bars = 300", "days = 300", r"\[models.past\] days: is unknown"),
        ('kind = "model"', 'kind = "mine"', r"\[models.own\].*unknown; give one of"),
        ('kind = "model"', "", r"\[models.own\].*is missing"),
        ("a = 1\n", 'a = "1"\n', r"\[portfolios.spread\] a: '1' is not a number"),
        ("start = 2015-03-02", 'start = "soon"', "start: "),
        ("each_asset = true", "each_asset = 1", "each_asset: 1 is neither true nor false"),
        ('prices = "closes/prices.csv"', "prices = 7", "prices: 7 is not text"),
        ("paths = 2000", "paths = ", "not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, before, after, words):
    assert before in WHOLE
    path = written(tmp_path, WHOLE.replace(before, after))
    with pytest.raises(DataError, match=words) as told:
        read_backtest(path)
    assert str(told.value).startswith(str(path))
    assert "\n" not in str(told.value)


def test_a_file_without_a_portfolio_is_refused(tmp_path):
    text = WHOLE.replace("each_asset = true", "")
    text = text.replace("[portfolios.spread]\na = 1\nb = -1.5", "")
    with pytest.raises(DataError, match="there is no portfolio"):
        read_backtest(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.toml"):
        read_backtest(tmp_path / "nowhere.toml")

"""Scenarios as a value: pickled and copied whole, without what is kept to save time."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.policies.policy_parts import Procyclicality
from mcmargin.valuing.outlooks import outlooks_of
from tests.helpers.books import book_of

POLICY = mm.MarginPolicy(
    procyclicality=Procyclicality(
        floor_years=1.0,
        stressed_weight=0.25,
        stressed_first="2019-01-01",
        stressed_last="2019-06-30",
    )
)


@pytest.fixture(scope="module")
def scenarios():
    model = mm.calibrate(
        mm.PriceHistory.from_frame(
            pd.DataFrame(
                {"a": np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.01, 600)))},
                index=pd.bdate_range("2018-06-01", periods=600),
            )
        ),
        volatility="garch",
        innovations="normal",
        dependence="gaussian",
        jobs=1,
    )
    return mm.simulate(model, horizons=(1, 3), paths=3000, seed=5, policy=POLICY, engine="numpy")


@pytest.mark.parametrize("again", [lambda s: pickle.loads(pickle.dumps(s)), copy.deepcopy])
def test_a_pickle_is_the_same_scenarios(scenarios, again):
    """Arrays, companions and plan are equal; what was kept before is left behind."""
    before = len(pickle.dumps(scenarios))
    closes, drawn = scenarios.closes(scenarios.as_of), scenarios.named.normals("F", range(2))
    mixed, outlook = scenarios.stressed(0.25), outlooks_of(scenarios).of("a", 40)
    # The model and its calendar may have noted a few numbers of their own.
    assert len(pickle.dumps(scenarios)) < before + 1000 < before + drawn.nbytes
    other = again(scenarios)
    assert other.plan == scenarios.plan
    assert other.model.fingerprint() == scenarios.model.fingerprint()
    assert set(other.companions) == {"floor", "stressed"}
    pairs = [(scenarios.companions[name], other.companions[name]) for name in other.companions]
    for mine, its in ((scenarios, other), *pairs):
        np.testing.assert_array_equal(its.returns, mine.returns)
        np.testing.assert_array_equal(its.next_variance, mine.next_variance)
        assert (its.floored_paths, its.capped_paths) == (mine.floored_paths, mine.capped_paths)
        assert its.limited == mine.limited
    assert other.named.kept_bytes == 0
    np.testing.assert_array_equal(other.closes(scenarios.as_of).times, closes.times)
    np.testing.assert_array_equal(other.named.normals("F", range(2)), drawn)
    np.testing.assert_array_equal(other.stressed(0.25).returns, mixed.returns)
    assert outlooks_of(other).of("a", 40).average_today(1, 30.0) == outlook.average_today(1, 30.0)


def test_margins_on_a_pickle_are_the_same(scenarios):
    book = book_of(
        pd.DataFrame({"account": ["x", "y"], "instrument": ["a", "a"], "quantity": [1.0, -2.0]})
    )
    one = mm.margin(book, scenarios, policy=POLICY)
    two = mm.margin(book, pickle.loads(pickle.dumps(scenarios)), policy=POLICY)
    pd.testing.assert_frame_equal(one.figures, two.figures, check_exact=True)


def test_what_is_kept_is_asked_for_once(scenarios):
    assert scenarios.closes(scenarios.as_of) is scenarios.closes(scenarios.as_of)
    assert scenarios.stressed(0.5) is scenarios.stressed(0.5)
    assert scenarios.stressed(0.5) is not scenarios.stressed(0.25)
    assert outlooks_of(scenarios).of("a", 40) is outlooks_of(scenarios).of("a", 10)

"""Warm starts: the same fit in fewer evaluations of the likelihood, and cold where kinds differ."""

import numpy as np
import pandas as pd
import pytest
from arch.univariate.base import ARCHModel

from mcmargin.data.prices import PriceHistory
from mcmargin.models.calibration import calibrate
from mcmargin.scenarios.simulation import simulate
from tests.helpers.models import make_model

BARS = 1500


@pytest.fixture(scope="module")
def history():
    """Closes of three simulated assets, GJR with t innovations of 5 degrees of freedom."""
    model = make_model(("gjr",) * 3, innovations="t", dependence="t")
    path = simulate(model, horizons=tuple(range(1, BARS + 1)), paths=1, seed=4, precision="double")
    return history_of(path.returns[:, :, 0])


def history_of(returns):
    closes = 100 * (1 + np.vstack([np.zeros(returns.shape[1]), returns]))
    index = pd.date_range("2015-01-01", periods=len(closes))
    names = [f"a{at}" for at in range(closes.shape[1])]
    return PriceHistory.from_frame(pd.DataFrame(closes, index=index, columns=names))


@pytest.fixture
def evaluations(monkeypatch):
    """A list that grows by one with every likelihood that arch computes."""
    calls, real = [], ARCHModel._loglikelihood

    def counted(self, *arguments, **options):
        calls.append(None)
        return real(self, *arguments, **options)

    monkeypatch.setattr(ARCHModel, "_loglikelihood", counted)
    return calls


def fit(history, calls, **options):
    """The model, and how many likelihoods it took."""
    calls.clear()
    return calibrate(history, jobs=1, **options), len(calls)


def assert_same(one, other):
    """Parameters to 1e-3, far below their standard errors of 0.02 and more; variances to 1e-3."""
    assert one.volatility.kinds == other.volatility.kinds
    for name in ("alpha", "gamma", "beta"):
        ours, theirs = getattr(one.volatility, name), getattr(other.volatility, name)
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    for ours, theirs in zip(one.innovations, other.innovations, strict=True):
        np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(one.state.variance, other.state.variance, rtol=1e-3)
    np.testing.assert_allclose(one.dependence.correlation, other.dependence.correlation, atol=1e-4)
    np.testing.assert_allclose(one.dependence.nu, other.dependence.nu, rtol=1e-2)


@pytest.mark.parametrize(
    ("volatility", "innovations", "dependence"),
    [
        ("gjr", "skewt", "t"),
        ("garch", "t", "gaussian"),
        ("garch", "normal", "gaussian"),
        ("gjr", "empirical", "historical"),
        ("constant", "t", "gaussian"),
    ],
)
def test_the_same_fit_in_fewer_evaluations(
    history, evaluations, volatility, innovations, dependence
):
    choice = {"volatility": volatility, "innovations": innovations, "dependence": dependence}
    cold, many = fit(history, evaluations, **choice)
    warm, few = fit(history, evaluations, **choice, warm_start=cold)
    assert cold.volatility.kinds == (volatility,) * 3
    assert_same(warm, cold)
    assert 0 < few < 0.3 * many  # a sixth to a fifth, as measured


def test_egarch_passes_over_an_earlier_model(history, evaluations):
    """Its likelihood may have several optima; which one is used must not depend on history."""
    choice = {"volatility": "egarch", "innovations": "ged", "dependence": "gaussian"}
    cold, many = fit(history, evaluations, **choice)
    warm, as_many = fit(history, evaluations, **choice, warm_start=cold)
    assert cold.volatility.kinds == ("egarch",) * 3
    assert as_many == many
    assert warm.fingerprint() == cold.fingerprint()


def test_a_later_history_starts_from_the_model_of_an_earlier_one(history, evaluations):
    frame = history.to_frame()
    earlier = calibrate(PriceHistory.from_frame(frame.iloc[:-20]), jobs=1)
    cold, many = fit(history, evaluations)
    warm, few = fit(history, evaluations, warm_start=earlier)
    assert_same(warm, cold)
    assert few < many


@pytest.mark.parametrize(
    "earlier",
    [
        {"volatility": "garch", "innovations": "t"},
        {"volatility": "gjr", "innovations": "skewt"},
        {"volatility": "gjr", "innovations": "ged"},
    ],
)
def test_other_kinds_start_cold(history, evaluations, earlier):
    other = calibrate(history, **earlier, dependence="gaussian", jobs=1)
    choice = {"volatility": "gjr", "innovations": "t", "dependence": "gaussian"}
    cold, many = fit(history, evaluations, **choice)
    warm, as_many = fit(history, evaluations, **choice, warm_start=other)
    assert as_many == many
    assert warm.fingerprint() == cold.fingerprint()


def test_an_asset_that_the_earlier_model_lacks_starts_cold(history, evaluations):
    frame = history.to_frame()
    two, few = PriceHistory.from_frame(frame[["a0", "a1"]]), PriceHistory.from_frame(frame[["a2"]])
    choice = {"volatility": "gjr", "innovations": "t", "dependence": "gaussian"}
    earlier = calibrate(two, **choice, jobs=1)
    cold, many = fit(few, evaluations, **choice)
    warm, as_many = fit(few, evaluations, **choice, warm_start=earlier)
    assert as_many == many
    assert warm.fingerprint() == cold.fingerprint()

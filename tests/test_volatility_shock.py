"""The shock of an option's volatility: mean 1, and the average of its remaining life simulated."""

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.innovations import Innovations
from mcmargin.scenario_market import PathBlock
from mcmargin.volatility import variance_outlook, volatility_of
from tests.models import MARGINALS, RECURSIONS, make_model

AS_OF = np.datetime64("2020-01-01", "ns")
START = 4e-4  # four times the long-run variance of most


def ratio_of(scenarios, horizon, days):
    market = mm.Market(as_of=AS_OF, spot={"a0": 100.0}, volatility={"a0": 0.4})
    block = PathBlock(scenarios, market, scenarios.plan.tiles)
    return block.at(horizon).volatility_ratio("a0", days / 365) ** 2


@pytest.mark.parametrize("days", [1, 10, 100, 730])
@pytest.mark.parametrize("kind", ["garch", "gjr", "ewma"])
def test_the_squared_shock_has_mean_1(kind, days):
    """Within 4 standard errors, uncapped, innovations whose fourth moment exists."""
    model = make_model((kind,), "normal", variance=START)
    scenarios = mm.simulate(model, horizon=3, paths=200_000, seed=5, variance_cap=np.inf)
    squared = ratio_of(scenarios, 3, days)
    assert abs(squared.mean() - 1) < 4 * squared.std() / np.sqrt(200_000) + 1e-6
    assert squared.std() > 0.01


@pytest.mark.parametrize("law", ["normal", "skewt"])
@pytest.mark.parametrize("days", [1, 10, 100])
def test_egarchs_table_has_mean_1(law, days):
    """Its table is exact but for interpolation: 3e-4 on top of 4 standard errors."""
    model = make_model(("egarch",), law, nu=None, variance=START)
    scenarios = mm.simulate(model, horizon=3, paths=200_000, seed=5)
    squared = ratio_of(scenarios, 3, days)
    assert abs(squared.mean() - 1) < 4 * squared.std() / np.sqrt(200_000) + 3e-4


@pytest.mark.parametrize("law", ["normal", "skewt"])
@pytest.mark.parametrize("kind", ["garch", "gjr", "ewma", "egarch"])
def test_the_average_is_that_of_the_remaining_life_simulated(kind, law):
    """From one variance on: the mean over 50,000 paths of the average variance of 30 bars.

    Within 4 standard errors; today's, two bars ahead, likewise."""
    model = make_model((kind,), law, variance=START)
    scenarios = mm.simulate(
        model, horizons=tuple(range(1, 33)), paths=50_000, seed=9, variance_cap=1e6
    )
    # next_variance[j] is the variance of bar j + 2; that of bar 1 is the start.
    variance = np.concatenate(
        [np.full((1, 50_000), START), scenarios.next_variance[:-1, 0].astype(float)]
    )
    outlook = scenarios.outlook("a0", 40)
    for skip in (0, 2):
        average = variance[skip : skip + 30].mean(axis=0)
        expected = outlook.average_today(skip, 30.0)
        assert (
            abs(average.mean() - expected) < 4 * average.std() / np.sqrt(50_000) + 5e-4 * expected
        )
    given = outlook.average(np.full(3, START), 30.0)
    np.testing.assert_allclose(given, outlook.average_today(0, 30.0), rtol=1e-9)


@pytest.mark.parametrize("kind", ["garch", "gjr", "ewma", "egarch"])
def test_the_shock_decays_at_the_models_rate(kind):
    """On a path whose variance doubled, the excess over today fades as persistence says."""
    law = Innovations("normal", np.array(MARGINALS["normal"]))
    volatility = volatility_of((kind,), np.array([RECURSIONS[kind]]), np.full(1, 1e-4))
    outlook = variance_outlook(volatility, 0, law, 1e-4, bars=600)
    doubled = [
        float(outlook.average(np.full(1, 2e-4), m)[0] / outlook.average(np.full(1, 1e-4), m)[0])
        for m in (1.0, 5.0, 20.0, 100.0, 500.0)
    ]
    assert doubled[0] == pytest.approx(2.0, rel=2e-3)
    if kind == "ewma":
        np.testing.assert_allclose(doubled, 2.0)
        return
    assert (np.diff(doubled) < 0).all()
    assert doubled[-1] < 1.2
    if kind == "garch":
        omega, alpha, _, beta = RECURSIONS[kind]
        p = alpha + beta
        bars = p ** np.arange(20)
        exact = (omega / (1 - p) + (2e-4 - omega / (1 - p)) * bars.mean()) / (
            omega / (1 - p) + (1e-4 - omega / (1 - p)) * bars.mean()
        )
        assert doubled[2] == pytest.approx(exact, rel=1e-12)


def test_a_part_of_a_bar_counts_in_proportion():
    law = Innovations("normal", np.empty(0))
    volatility = volatility_of(("egarch",), np.array([RECURSIONS["egarch"]]), np.full(1, 1e-4))
    outlook = variance_outlook(volatility, 0, law, 1e-4, bars=10)
    two, three = (m * outlook.average(np.full(1, 3e-4), m) for m in (2.0, 3.0))
    np.testing.assert_allclose(2.5 * outlook.average(np.full(1, 3e-4), 2.5), (two + three) / 2)

"""The shock of an option's volatility: mean 1, and the average of its remaining life simulated."""

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.models.innovations import Innovations, empirical_innovations
from mcmargin.models.variance_outlook import variance_outlook
from mcmargin.models.volatility import volatility_of
from mcmargin.valuing.outlooks import outlooks_of
from mcmargin.valuing.scenario_market import PathBlock
from tests.helpers.models import MARGINALS, RECURSIONS, make_model

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


HEAVY = {
    "normal": Innovations("normal", np.empty(0)),
    "t": Innovations("t", np.array([3.0])),
    "skewt": Innovations("skewt", np.array([3.0, -0.2])),
    "empirical": empirical_innovations(np.random.default_rng(5).standard_t(3.5, 3000)),
}


@pytest.mark.parametrize("start", [0.2, 1.0, 20.0, 90.0])
@pytest.mark.parametrize("law", list(HEAVY))
@pytest.mark.parametrize("kind", ["garch", "gjr", "ewma", "egarch"])
def test_the_squared_shock_has_mean_1_under_the_default_cap(kind, law, start):
    """From a fifth of the sample variance to nine tenths of the cap; 100,000 paths.

    Within 4.5 standard errors and 3e-4 for the table. Without the cap's share in the expectation
    the mean was 0.967 at ten bars for t of 3 degrees of freedom, and 0.77 from 90."""
    model = make_model((kind,), HEAVY[law], variance=start * 1e-4)
    scenarios = mm.simulate(model, horizons=(2, 10), paths=100_000, seed=11)
    assert scenarios.capped_paths > 0 or start < 20 or law == "normal"
    for horizon in (2, 10):
        for days in (1, 30):
            squared = ratio_of(scenarios, horizon, days)
            error = squared.std() / np.sqrt(100_000)
            assert abs(squared.mean() - 1) < 4.5 * error + 3e-4


@pytest.mark.parametrize("cap", [100.0, np.inf])
@pytest.mark.parametrize("kind", ["gjr", "ewma", "egarch"])
def test_the_squared_shock_has_mean_1_where_dates_are_drawn(kind, cap):
    """400 dates, skewed, of variance 1.2, as updates may leave them: their own moments count.

    By those of the fitted distribution the mean was 1.21 to 1.28 at ten bars."""
    dates = np.random.default_rng(17).standard_t(4, (400, 1))
    dates = np.sqrt(1.2) * (dates - dates.mean()) / dates.std()
    dates[dates < 0] *= 1.1
    law = empirical_innovations(dates[:, 0])
    model = make_model((kind,), law, "historical", residuals=dates)
    scenarios = mm.simulate(model, horizon=10, paths=100_000, seed=11, variance_cap=cap)
    for days in (1, 60):
        squared = ratio_of(scenarios, 10, days)
        assert abs(squared.mean() - 1) < 4.5 * squared.std() / np.sqrt(100_000) + 3e-4


@pytest.mark.parametrize(("cap", "start"), [(2.0, 1.0), (10.0, 4.0), (1e4, 4.0), (100.0, 300.0)])
@pytest.mark.parametrize("kind", ["gjr", "egarch"])
def test_the_squared_shock_has_mean_1_under_any_cap(kind, cap, start):
    """Below 100 and above; and from a variance above the cap, which holds from the next bar on."""
    model = make_model((kind,), "t", variance=start * 1e-4)
    scenarios = mm.simulate(model, horizon=10, paths=100_000, seed=11, variance_cap=cap)
    for days in (1, 60):
        squared = ratio_of(scenarios, 10, days)
        assert abs(squared.mean() - 1) < 4.5 * squared.std() / np.sqrt(100_000) + 3e-4


@pytest.mark.parametrize("kind", ["gjr", "ewma", "egarch"])
def test_the_average_under_a_cap_is_that_of_the_remaining_life_simulated(kind):
    """From half the cap on, t of 3 degrees of freedom: 100,000 paths over 30 bars, 4 errors.

    The closed form without the cap is above it by far more."""
    model = make_model((kind,), HEAVY["t"], variance=50e-4)
    scenarios = mm.simulate(model, horizons=tuple(range(1, 30)), paths=100_000, seed=9)
    variance = np.concatenate(
        [np.full((1, 100_000), 50e-4), scenarios.next_variance[:, 0].astype(float)]
    )
    average = variance.mean(axis=0)
    outlook = outlooks_of(scenarios).of("a0", 40)
    error = 4 * average.std() / np.sqrt(100_000) + 3e-4 * average.mean()
    assert abs(outlook.average_today(0, 30.0) - average.mean()) < error
    given = outlook.average(np.full(3, 50e-4), 30.0)
    np.testing.assert_allclose(given, outlook.average_today(0, 30.0), rtol=1e-9)
    if kind != "egarch":
        free = variance_outlook(model.volatility, 0, HEAVY["t"], 50e-4, bars=64)
        assert free.average_today(0, 30.0) - average.mean() > 4 * error


@pytest.mark.parametrize("kind", ["garch", "gjr", "ewma"])
def test_a_cap_out_of_reach_leaves_the_closed_form(kind):
    """Normal innovations and a cap of a million: the chain against V + p**j (h - V)."""
    law = HEAVY["normal"]
    volatility = volatility_of((kind,), np.array([RECURSIONS[kind]]), np.full(1, 1e-4))
    free = variance_outlook(volatility, 0, law, START, bars=512)
    held = variance_outlook(volatility, 0, law, START, bars=512, cap=1e6)
    variances = np.geomspace(1e-5, 1e-2, 20)
    for skip, bars in ((1, 1.0), (3, 30.5), (10, 400.0)):
        expected = free.average_today(skip, bars)
        assert held.average_today(skip, bars) == pytest.approx(expected, rel=5e-4)
        found = held.average(variances, bars)
        np.testing.assert_allclose(found, free.average(variances, bars), rtol=1e-3)


def test_long_expiries_on_short_bars_take_little_memory():
    """Two years of five-minute bars: as the chain applied bar by bar, from 18 powers of it."""
    volatility = volatility_of(("egarch",), np.array([RECURSIONS["egarch"]]), np.full(1, 1e-4))
    chain = variance_outlook(volatility, 0, HEAVY["normal"], START, bars=210_240, cap=100.0).chain
    assert chain.powers.nbytes + chain.sums.nbytes < 8e6
    sums, ahead = np.zeros(len(chain.grid)), chain.grid
    for bar in range(1000):
        if bar == 37:
            early = sums.copy()
        sums, ahead = sums + ahead, chain.powers[0] @ ahead
    for bars, expected in ((37, early), (1000, sums)):
        grid, table = chain.table(float(bars))
        np.testing.assert_allclose(np.interp(chain.grid, grid, table), expected, rtol=1e-9)
    _, longest = chain.table(210_240.0)
    assert np.isfinite(longest).all()


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
    outlook = outlooks_of(scenarios).of("a0", 40)
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


@pytest.mark.parametrize("kind", ["egarch", "garch"])
def test_a_cap_next_to_one_and_one_beyond_all(kind):
    """Held at the sample's variance it stays there; a cap of 1e100 is none, and is as quick."""
    columns = {"garch": [2e-6, 0.08, 0.0, 0.90], "egarch": [-0.4, 0.1, -0.05, 0.96]}[kind]
    law = volatility_of((kind,), np.array([columns]), np.full(1, 1e-4))
    innovations = Innovations("normal", np.empty(0))
    held = variance_outlook(law, 0, innovations, 1e-4, bars=8, cap=float(np.nextafter(1, 2)))
    if kind == "egarch":
        assert held.average(1e-4, 8.0) == pytest.approx(1e-4, rel=1e-4)
    else:
        assert held.average(1e-4, 8.0) < 1e-4
        free = variance_outlook(law, 0, innovations, 1e-4, bars=8, cap=1e100)
        assert free.chain is None

"""Volatility recursions, filter and forecasts against arch's own."""

import numpy as np
import pandas as pd
import pytest
from arch import univariate
from arch.utility.exceptions import InitialValueWarning

from mcmargin.data.prices import PriceHistory
from mcmargin.draws.random_stream import WordSource, stream_key
from mcmargin.models.arch_fits import arch_model_of
from mcmargin.models.calibration import calibrate
from mcmargin.models.fitting import fit_asset
from mcmargin.models.model_values import FilterState
from mcmargin.models.volatility import COEFFICIENTS, KINDS
from mcmargin.scenarios.simulation import simulate
from tests.helpers.models import RECURSIONS, make_model

ARCH_PARAMETERS = {
    kind: [RECURSIONS[kind][COEFFICIENTS.index(name)] for name in rules.fitted]
    for kind, rules in KINDS.items()
}
STEPS = 6


@pytest.fixture(scope="module")
def closes():
    from arch.data import sp500

    return sp500.load()["Adj Close"].iloc[-1500:]


def model_at_the_end_of(returns, kind):
    """Our model of arch's parameters, at the variance that arch filters to."""
    result = arch_model_of(returns, kind, "normal").fix(ARCH_PARAMETERS[kind])
    ahead = result.forecast(horizon=1, reindex=False).variance.to_numpy()[0]
    model = make_model((kind,))
    state = FilterState(model.as_of, np.array([100.0]), ahead, np.zeros(1))
    return result, type(model)(**{**model.__dict__, "committed": state, "state": state})


@pytest.mark.parametrize("kind", KINDS)
def test_paths_are_those_of_archs_simulation_fed_our_innovations(closes, kind):
    returns = closes.pct_change().dropna().to_numpy()
    result, model = model_at_the_end_of(returns, kind)
    paths = 4096
    source, z = WordSource(stream_key(11)), np.empty((paths, STEPS))
    for tile in range(paths // 2048):
        for step in range(STEPS):
            out = np.empty((1, 2048))
            source.normals_double(
                tiles=range(tile, tile + 1), step=step, first_slot=0, out=out[None]
            )
            z[tile * 2048 : (tile + 1) * 2048, step] = out[0]
    peer = result.forecast(
        horizon=STEPS, method="simulation", simulations=paths, rng=lambda size: z, reindex=False
    ).simulations
    ours = simulate(
        model,
        horizons=tuple(range(1, STEPS + 1)),
        paths=paths,
        seed=11,
        precision="double",
        variance_cap=np.inf,
    )
    variances, moves = peer.variances[0].T, peer.values[0].T
    np.testing.assert_allclose(ours.next_variance[:-1, 0], variances[1:], rtol=1e-10)
    compounded = np.cumprod(1 + moves, axis=0) - 1
    np.testing.assert_allclose(ours.returns[:, 0], compounded, atol=1e-10)


@pytest.mark.parametrize("kind", ["garch", "gjr"])
def test_mean_variance_is_archs_analytic_forecast(closes, kind):
    """Within 4 standard errors; normal innovations are symmetric and the fourth moment exists."""
    returns = closes.pct_change().dropna().to_numpy()
    result, model = model_at_the_end_of(returns, kind)
    analytic = result.forecast(horizon=STEPS, reindex=False).variance.to_numpy()[0]
    ours = (
        simulate(model, horizons=tuple(range(1, STEPS)), paths=200_000, seed=5, variance_cap=np.inf)
        .next_variance[:, 0]
        .astype(float)
    )
    error = ours.std(axis=1) / np.sqrt(ours.shape[1])
    assert (np.abs(ours.mean(axis=1) - analytic[1:]) < 4 * error + 1e-6 * analytic[1:]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_update_is_archs_filter_with_fixed_parameters(closes, kind):
    frame = closes.to_frame("sp500")
    model = calibrate(
        PriceHistory.from_frame(frame.iloc[:1200]),
        volatility=kind,
        innovations="normal",
        dependence="gaussian",
        jobs=1,
    )
    assert model.volatility.kinds == (kind,)
    moved = model.update(PriceHistory.from_frame(frame))
    own = [getattr(model.volatility, name)[0] for name in KINDS[kind].fitted]
    returns = frame["sp500"].pct_change().dropna().to_numpy()
    result = arch_model_of(returns, kind, "normal").fix(own)
    expected = result.forecast(horizon=1, reindex=False).variance.to_numpy()[0]
    np.testing.assert_allclose(moved.state.variance, expected, rtol=1e-9)
    last = returns[-1] / np.asarray(result.conditional_volatility)[-1]
    np.testing.assert_allclose(moved.state.residuals, last, rtol=1e-9)
    assert moved.as_of == np.datetime64(frame.index[-1])


def test_a_tick_is_computed_from_the_committed_state_and_never_cumulatively(closes):
    frame = closes.to_frame("sp500")
    model = calibrate(
        PriceHistory.from_frame(frame.iloc[:-2]),
        volatility="garch",
        innovations="normal",
        dependence="gaussian",
        jobs=1,
    )
    ticked = frame.iloc[-4:-1].copy()
    ticked.iloc[-1] *= 1.05
    first = PriceHistory.from_frame(ticked)
    last = PriceHistory.from_frame(frame.iloc[-4:-1])
    twice = model.update(first, provisional=True).update(last, provisional=True)
    assert twice.provisional
    np.testing.assert_array_equal(twice.committed.variance, model.committed.variance)
    closed = model.update(last)
    np.testing.assert_array_equal(twice.state.variance, closed.state.variance)


@pytest.mark.parametrize("law", ["normal", "t", "skewt", "ged"])
def test_a_fit_scaled_for_the_optimiser_is_archs_own_fit(closes, law):
    returns = closes.pct_change().dropna().to_numpy()
    fit = fit_asset(returns, "garch", law)
    peer = arch_model_of(returns * 100, "garch", law).fit(disp="off")
    np.testing.assert_allclose(fit.parameters[[1, 3]], peer.params[1:3], atol=2e-3)
    np.testing.assert_allclose(fit.innovations.parameters, peer.params[3:], rtol=0.02, atol=5e-3)


def test_known_parameters_are_recovered():
    """One path of 6,000 bars; bands of 4 standard errors as arch states them for such a length."""
    model = make_model(("garch",))
    path = simulate(model, horizons=tuple(range(1, 6001)), paths=1, seed=3, precision="double")
    prices = 100 * (1 + np.concatenate([[0.0], path.returns[:, 0, 0]]))
    index = pd.date_range("2000-01-01", periods=len(prices))
    frame = pd.DataFrame({"a": prices}, index=index)
    fit = calibrate(
        PriceHistory.from_frame(frame),
        volatility="garch",
        innovations="normal",
        dependence="gaussian",
        jobs=1,
    )
    peer = arch_model_of(np.diff(prices) / prices[:-1] * 100, "garch", "normal").fit(disp="off")
    error = np.asarray(peer.std_err)[1:3]
    assert abs(fit.volatility.alpha[0] - 0.08) < 4 * error[0]
    assert abs(fit.volatility.beta[0] - 0.90) < 4 * error[1]
    assert (error < 0.03).all()


def test_the_cap_and_the_floor_are_counted():
    model = make_model(("garch",), variance=1e-4)
    free = simulate(model, horizon=5, paths=5000, seed=1)
    assert (free.floored_paths, free.capped_paths) == (0, 0)
    held = simulate(model, horizon=5, paths=5000, seed=1, variance_cap=1.2, price_floor=0.97)
    assert held.capped_paths >= (held.next_variance[0, 0] >= np.float32(1.2e-4)).sum() > 0
    assert held.returns.min() >= np.float32(-0.03)
    assert held.floored_paths > 0


def test_kernel_rows_are_independent_of_their_neighbours():
    """A model of all kinds at once moves each asset as a model of that kind alone would."""
    every = make_model(tuple(KINDS), correlation=np.eye(len(KINDS)))
    mixed = simulate(every, horizon=3, paths=3000, seed=2, precision="double")
    alone = simulate(make_model(("garch",)), horizon=3, paths=3000, seed=2, precision="double")
    np.testing.assert_allclose(mixed.returns[0, 0], alone.returns[0, 0], rtol=1e-12)


def test_a_fit_that_is_not_stationary_gives_way_and_says_so():
    """S&P 500, 1999 to 2018: GJR with skewed t has a persistence above 1 by its true E[z2; z<0]."""
    from arch.data import sp500

    returns = sp500.load()["Adj Close"].pct_change().dropna().to_numpy()
    fit = fit_asset(returns, "gjr", "skewt", asset="sp500")
    assert (fit.volatility, fit.innovations.kind) == ("garch", "t")
    assert fit.persistence < 1
    assert "not stationary" in fit.refused[0]


@pytest.mark.parametrize("seed", [8, 9, 15])
def test_a_fit_at_the_bound_of_stationarity_is_refused_whichever_side_rounding_leaves_it(seed):
    """Integrated GARCH simulated by arch: the best persistence is 1, up to 2e-14 on either side."""
    law = univariate.StudentsT(seed=np.random.RandomState(seed))
    peer = univariate.ZeroMean(None, volatility=univariate.GARCH(), distribution=law)
    with pytest.warns(InitialValueWarning):
        returns = peer.simulate([0.05, 0.12, 0.88, 5.0], 1500)["data"].to_numpy() / 100
    fitted = arch_model_of(returns / returns.std(), "garch", "t").fit(disp="off").params
    assert abs(fitted[1:3].sum() - 1) < 1e-10
    fit = fit_asset(returns, "garch", "t")
    assert fit.volatility == "ewma"
    assert "garch with t innovations" in fit.refused[0]

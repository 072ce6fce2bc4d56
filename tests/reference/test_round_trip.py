"""From known parameters through simulation and calibration, back to the parameters."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mcmargin.data.prices import PriceHistory
from mcmargin.models.arch_fits import arch_model_of
from mcmargin.models.calibration import calibrate
from mcmargin.models.innovations import Innovations
from mcmargin.models.marginals import marginal_tables
from mcmargin.models.volatility import volatility_of
from mcmargin.scenarios.simulation import simulate
from tests.helpers.models import make_model

BARS = 6000
COPULA_NU = 6.0
CORRELATION = np.array([[1.0, 0.7, 0.3], [0.7, 1.0, -0.2], [0.3, -0.2, 1.0]])
GJR = np.array(  # omega, alpha, gamma, beta
    [[2e-6, 0.03, 0.09, 0.90], [4e-6, 0.06, 0.05, 0.88], [1e-6, 0.02, 0.12, 0.91]]
)
NU = np.array([5.0, 7.0, 9.0])


@pytest.fixture(scope="module")
def returns():
    """One path of 6,000 bars; no variance is capped."""
    marginals = tuple(Innovations("t", np.array([nu])) for nu in NU)
    model = replace(
        make_model(("gjr",) * 3, dependence="t", correlation=CORRELATION, nu=COPULA_NU),
        volatility=volatility_of(("gjr",) * 3, GJR, np.full(3, 1e-4)),
        innovations=marginals,
        tables=marginal_tables(marginals, "t", COPULA_NU),
    )
    path = simulate(
        model,
        horizons=tuple(range(1, BARS + 1)),
        paths=1,
        seed=2,
        precision="double",
        variance_cap=np.inf,
        price_floor=1e-12,
    )
    assert path.floored_paths == 0
    growth = 1 + np.vstack([np.zeros(3), path.returns[:, :, 0]])
    return growth[1:] / growth[:-1] - 1


@pytest.fixture(scope="module")
def fitted(returns):
    closes = 100 * np.cumprod(1 + np.vstack([np.zeros(3), returns]), axis=0)
    frame = pd.DataFrame(closes, index=pd.date_range("2000-01-01", periods=BARS + 1))
    history = PriceHistory.from_frame(frame.rename(columns=str))
    return calibrate(history, volatility="gjr", innovations="t", dependence="t", jobs=1)


@pytest.mark.parametrize("asset", range(3))
def test_volatility_and_tails(returns, fitted, asset):
    """Within 4 of the standard errors (robust) that arch states for each parameter."""
    unit = returns[:, asset] / returns[:, asset].std()
    error = arch_model_of(unit, "gjr", "t").fit(disp="off").std_err.to_numpy()
    volatility = fitted.volatility
    assert volatility.kinds == ("gjr",) * 3
    found = [getattr(volatility, name)[asset] for name in ("alpha", "gamma", "beta")]
    found = np.array([*found, fitted.innovations[asset].parameters[0]])
    known = np.array([*GJR[asset, 1:], NU[asset]])
    assert (np.abs(found - known) < 4 * error[1:]).all()
    # Bands that a wrong parameter would not fit into.
    assert (error[1:] < [0.02, 0.03, 0.02, 0.15 * NU[asset]]).all()


def test_a_correlation_comes_back_from_simulated_returns(fitted):
    """Within 4 standard errors of an elliptical law's correlation, and a little for shrinkage.

    With kurtosis parameter 2/(nu - 4) a correlation r has the error
    (1 - r**2) sqrt((1 + 2/(nu - 4))/bars) (Muirhead 1982); at 6,000 bars Ledoit and Wolf shrink by
    under 1 %.
    """
    error = (1 - CORRELATION**2) * np.sqrt((1 + 2 / (COPULA_NU - 4)) / BARS)
    gap = np.abs(fitted.dependence.correlation - CORRELATION)
    assert (gap <= 4 * error + 0.01 * np.abs(CORRELATION)).all()


def test_copula_degrees_of_freedom(returns, fitted):
    """Within 4 standard errors, by the curvature of scipy's likelihood at the known parameters."""
    state = np.empty_like(returns)
    variance = np.full(3, 1e-4)
    for bar, move in enumerate(returns):
        state[bar] = move / np.sqrt(variance)
        omega, alpha, gamma, beta = GJR.T
        variance = omega + (alpha + gamma * (move < 0)) * move**2 + beta * variance
    uniforms = stats.t.cdf(state * np.sqrt(NU / (NU - 2)), NU)

    def likelihood(nu):
        scores = stats.t.ppf(uniforms, nu)
        joint = stats.multivariate_t(shape=CORRELATION, df=nu).logpdf(scores)
        return joint.sum() - stats.t.logpdf(scores, nu).sum()

    low, mid, high = (likelihood(COPULA_NU + shift) for shift in (-0.5, 0.0, 0.5))
    error = 1 / np.sqrt((2 * mid - low - high) / 0.5**2)
    assert error < 0.4
    assert abs(fitted.dependence.nu - COPULA_NU) < 4 * error

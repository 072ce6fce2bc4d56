"""Models of known parameters for tests, built without a fit."""

from dataclasses import replace

import numpy as np

from mcmargin.data.bars import BarCalendar
from mcmargin.models.dependence import make_dependence
from mcmargin.models.history import History
from mcmargin.models.innovations import Innovations
from mcmargin.models.marginals import marginal_tables
from mcmargin.models.model import MarketModel
from mcmargin.models.model_values import FilterState
from mcmargin.models.volatility import volatility_of
from mcmargin.scenarios.simulation import simulate

RECURSIONS = {
    "garch": (2e-6, 0.08, 0.0, 0.90),
    "gjr": (2e-6, 0.03, 0.09, 0.90),
    "egarch": (-0.18, 0.15, -0.08, 0.98),
    "ewma": (0.0, 0.06, 0.0, 0.94),
    "constant": (1e-4, 0.0, 0.0, 0.0),
}
MARGINALS = {
    "normal": [],
    "t": [5.0],
    "skewt": [6.0, -0.2],
    "ged": [1.4],
}

QUICK = {"volatility": "ewma", "innovations": "normal", "dependence": "gaussian", "jobs": 1}
"""Choices of a calibration that takes no time."""


def make_model(
    kinds=("garch",),
    innovations="normal",
    dependence="gaussian",
    correlation=None,
    nu=None,
    variance=1e-4,
    residuals=None,
):
    """A model of the kinds given, one asset each, prices 100, named a0, a1, ..."""
    count = len(kinds)
    if correlation is None:
        correlation = np.full((count, count), 0.5)
        np.fill_diagonal(correlation, 1.0)
    nu = (5.0 if dependence == "t" else np.inf) if nu is None else nu
    coefficients = np.array([RECURSIONS[kind] for kind in kinds])
    marginal = innovations
    if isinstance(innovations, str):
        marginal = Innovations(innovations, np.array(MARGINALS[innovations]))
    marginals = (marginal,) * count
    state = FilterState(
        np.datetime64("2020-01-01", "ns"),
        np.full(count, 100.0),
        np.full(count, variance),
        np.zeros(count),
    )
    return MarketModel(
        assets=tuple(f"a{i}" for i in range(count)),
        volatility=volatility_of(tuple(kinds), coefficients, np.full(count, 1e-4)),
        innovations=marginals,
        dependence=make_dependence(dependence, correlation, nu=nu, residuals=residuals),
        committed=state,
        state=state,
        tables=marginal_tables(marginals, dependence, nu),
        calendar=BarCalendar(),
        history=History(np.empty(0, "datetime64[ns]"), np.empty((0, count)), np.empty((0, count))),
        facts={},
    )


def with_history(model, returns, variances):
    """The model having seen daily bars before its state: returns and variances [bars, assets]."""
    days = np.arange(len(returns)) + 1 - len(returns)
    times = model.as_of + days * np.timedelta64(1, "D")
    return replace(model, history=History(times, np.array(returns), np.array(variances)))


def three_assets():
    """Model of a0, a1 and a2 with heavy tails, which stand at 2 % a bar."""
    return make_model(("gjr", "garch", "garch"), "t", "t", variance=4e-4)


def scenarios_of_three(horizons=(1, 2), paths=10_000):
    """Scenarios of `three_assets` in float64."""
    return simulate(three_assets(), horizons=horizons, paths=paths, seed=11, precision="double")


def returns_of(scenarios, horizon, asset=0):
    """Returns of an asset, by its number, from now to a horizon: float64 [paths]."""
    return scenarios.returns[scenarios.horizon_index(horizon), asset].astype(float)

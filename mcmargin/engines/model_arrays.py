"""A model and a plan as arrays, in the form that both engines start from.

In: a `MarketModel` and a `SimulationPlan`. Out: `ModelArrays`, on the host and mostly in float64.
Each engine then brings them into its own layout and into the simulation's precision: numpy into
blocks of assets (`numpy_steps`), cupy onto a device (`cupy_steps`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.draws.plan import SimulationPlan
from mcmargin.draws.random_stream import stream_key
from mcmargin.models.marginals import is_scale, table_edge
from mcmargin.models.model import MarketModel


@dataclass(frozen=True, eq=False)
class ModelArrays:
    """What the engines need of a model and a plan.

    Attributes
    ----------
    dtype : type
        float32 or float64: the precision of the simulation.
    key : ndarray of shape (2,), uint64
        Key of the random stream.
    dependence : str
        `gaussian`, `t` or `historical`.
    nu : float
        Degrees of freedom of the copula; infinite for a Gaussian one.
    mixing : ndarray
        Table of the mixing variables; see `mcmargin.models.marginals.mixing_table`.
    factor : ndarray of shape (assets, assets) or (assets, factors)
        Cholesky factor of the correlations, or loadings of common factors.
    diagonal : ndarray of shape (assets,), optional
        With common factors: standard deviation of each asset's own part.
    residuals : ndarray of shape (assets, dates)
        Residuals that `historical` draws from.
    recursion : mapping of str to ndarray of shape (assets,)
        `omega`, `alpha`, `gamma` and `beta` of the variance recursion; `start`, the variance of
        the first bar; `lowest` and `highest`, the bounds of the variance.
    egarch : ndarray of shape (assets,), bool
        Whether an asset follows EGARCH's recursion, `Recursion.LOGARITHMIC`; the others follow
        `Recursion.LINEAR`.
    tabled : ndarray of shape (assets,), bool
        Whether an asset's residuals are made from copula variables by its table. If not, they are
        `scale` times these, or they are drawn whole, by date.
    tables : ndarray of shape (assets, table width)
        Marginal tables; one zero if no asset is tabled.
    scale : float
        Scale that gives a copula variable the variance 1.
    edge : float
        Half-width of the marginal tables.
    floor : float
        Lowest simple return that a path can have.
    """

    dtype: Any
    key: NDArray[np.uint64]
    dependence: str
    nu: float
    mixing: NDArray[np.float64]
    factor: NDArray[np.float64]
    diagonal: NDArray[np.float64] | None
    residuals: NDArray[np.float64]
    recursion: Mapping[str, NDArray[np.float64]]
    egarch: NDArray[np.bool_]
    tabled: NDArray[np.bool_]
    tables: NDArray[np.float64]
    scale: float
    edge: float
    floor: float

    @property
    def assets(self) -> int:
        """Number of assets."""
        return len(self.egarch)

    @property
    def factors(self) -> int:
        """Number of common factors; 0 where the Cholesky factor is used."""
        return 0 if self.diagonal is None else self.factor.shape[1]


def model_arrays(model: MarketModel, plan: SimulationPlan) -> ModelArrays:
    """Bring a model and a plan into arrays."""
    volatility, dependence, nu = model.volatility, model.dependence, model.dependence.nu
    historical = dependence.kind == "historical"
    tabled = np.array([not (historical or is_scale(each, nu)) for each in model.innovations])
    return ModelArrays(
        dtype=plan.dtype,
        key=stream_key(plan.seed),
        dependence=dependence.kind,
        nu=nu,
        mixing=dependence.mixing,
        factor=dependence.factor,
        diagonal=dependence.diagonal if len(dependence.diagonal) else None,
        residuals=dependence.residuals.T,
        recursion={
            "omega": volatility.omega,
            "alpha": volatility.alpha,
            "gamma": volatility.gamma,
            "beta": volatility.beta,
            "start": model.state.variance,
            "lowest": volatility.sample_variance / plan.variance_cap,
            "highest": volatility.sample_variance * plan.variance_cap,
        },
        egarch=volatility.is_logarithmic,
        tabled=tabled,
        tables=model.tables if tabled.any() else np.zeros((1, 1)),
        scale=1.0 if historical or np.isinf(nu) else float(np.sqrt((nu - 2.0) / nu)),
        edge=table_edge(nu),
        floor=plan.price_floor - 1.0,
    )

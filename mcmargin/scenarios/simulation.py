"""simulate(): from a model and a seed to scenarios of all assets together.

In: a `MarketModel` and a plan (paths, horizons, seed, precision). Out: `Scenarios`: simple
returns over each horizon and the variance of the bar after it. The plan is what an audit needs:
the same plan and model give the same scenarios.
"""

from __future__ import annotations

from dataclasses import replace

from mcmargin.checks import require_type, whole_number
from mcmargin.draws.plan import SimulationPlan
from mcmargin.engines.choice import choose_engine, device_ids, engine_named, thread_count
from mcmargin.engines.execution import Execution
from mcmargin.errors import EngineError, PolicyError
from mcmargin.models.model import MarketModel
from mcmargin.policies.policy import MarginPolicy
from mcmargin.progress import Progress
from mcmargin.scenarios.companions import companions_of
from mcmargin.scenarios.scenarios import Scenarios


def simulate(
    model: MarketModel,
    *,
    horizon: int | None = None,
    horizons: tuple[int, ...] | None = None,
    paths: int,
    seed: int,
    policy: MarginPolicy | None = None,
    engine: str = "auto",
    precision: str = "single",
    variance_cap: float = 100.0,
    price_floor: float = 1e-4,
    threads: int | None = None,
    devices: tuple[int, ...] | None = None,
    block_tiles: int | None = None,
    progress: Progress | None = None,
) -> Scenarios:
    """Simulate correlated return paths of all assets.

    Parameters
    ----------
    model : MarketModel
    horizon : int, optional
        Bars; 1 if neither this nor `horizons` is given.
    horizons : tuple of int, optional
        Several horizons of the same paths, in increasing order.
    paths, seed : int
    policy : MarginPolicy, optional
        If it has a floor or a stressed period, these are simulated too, on the same draws.
    engine : str
        `auto`, `numpy` or `cupy`. The environment variable `MCMARGIN_ENGINE` replaces `auto`.
    precision, variance_cap, price_floor
        See `SimulationPlan`.
    threads : int, optional
        Threads of the processor; by default `MCMARGIN_THREADS`, or one for each core. Their
        number changes no figure.
    devices : tuple of int, optional
        GPUs over which the cupy engine spreads the paths; by default `MCMARGIN_DEVICES`, or the
        current one. The results lie on the first, in the order of cupy's current stream.
    block_tiles : int, optional
        Tiles of 2,048 paths that are worked on at a time. Their number changes no figure by more
        than the bound between engines.
    progress : callable, optional
        Called with the number of groups of tiles that are done, and of all, by the threads that
        do them.

    Returns
    -------
    Scenarios

    Raises
    ------
    PolicyError
        If the plan is out of range, or the model's history lacks a period that the policy asks
        for.
    EngineError
        If the engine or a device is unknown or not here, or devices are given to numpy.

    Examples
    --------
    >>> from mcmargin.demo import demo_model
    >>> scenarios = simulate(demo_model(), horizons=(1, 5), paths=10_000, seed=7)
    >>> scenarios.returns.shape, scenarios.assets
    ((2, 3, 10000), ('sp500', 'nasdaq', 'wti'))
    """
    require_type("model", model, MarketModel)
    if policy is not None:
        require_type("policy", policy, MarginPolicy, error=PolicyError)
    if horizon is not None and horizons is not None:
        raise PolicyError("give horizon or horizons, not both")
    wanted = horizons if horizons is not None else (1 if horizon is None else horizon,)
    plan = SimulationPlan(seed, paths, wanted, precision, variance_cap, price_floor)
    return simulate_plan(
        model,
        plan,
        policy,
        engine=engine,
        threads=threads,
        devices=devices,
        block_tiles=block_tiles,
        progress=progress,
    )


def simulate_plan(
    model: MarketModel,
    plan: SimulationPlan,
    policy: MarginPolicy | None = None,
    *,
    engine: str = "auto",
    threads: int | None = None,
    devices: tuple[int, ...] | None = None,
    block_tiles: int | None = None,
    progress: Progress | None = None,
) -> Scenarios:
    """Simulate a plan that is known, such as that of a report; see `simulate` for the parameters.

    Examples
    --------
    >>> from mcmargin.demo import demo_model
    >>> plan = SimulationPlan(seed=7, paths=10_000, horizons=(1, 5), precision="double")
    >>> simulate_plan(demo_model(), plan).returns.dtype
    dtype('float64')
    """
    if block_tiles is not None:
        block_tiles = whole_number("block_tiles", block_tiles)
    chosen = choose_engine(engine)
    if devices is not None and chosen == "numpy":
        raise EngineError(
            "devices are GPUs, and the engine here is numpy; leave them out, or give engine='cupy'"
        )
    if chosen == "cupy":
        devices = device_ids(devices)
    execution = Execution(thread_count(threads), devices, block_tiles, progress)
    others = {} if policy is None else companions_of(model, policy)
    scenarios = _drawn(model, plan, chosen, execution)
    companions = {
        name: _drawn(each.model, plan, chosen, execution) for name, each in others.items()
    }
    return replace(scenarios, companions=companions)


def _drawn(
    model: MarketModel, plan: SimulationPlan, engine: str, execution: Execution
) -> Scenarios:
    """Scenarios of one model."""
    returns, next_variance, limited = engine_named(engine).simulate_paths(model, plan, execution)
    return Scenarios(
        model,
        plan,
        returns,
        next_variance,
        engine,
        limited.floored,
        limited.capped,
        limited=limited.by_name(model.assets),
    )

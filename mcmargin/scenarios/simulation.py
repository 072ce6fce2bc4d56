"""simulate(): from a model and a seed to scenarios of all assets together.

In: a `MarketModel` and a plan (paths, horizons, seed, precision). Out: `Scenarios`: simple
returns over each horizon and the variance of the bar after it. The plan is what an audit needs:
the same plan and model give the same scenarios.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from dataclasses import replace

from mcmargin.checks import require_type, whole_number
from mcmargin.draws.plan import SimulationPlan
from mcmargin.engines import cupy_engine
from mcmargin.engines.execution import Execution
from mcmargin.errors import EngineError, PolicyError
from mcmargin.models.model import MarketModel
from mcmargin.policies.policy import MarginPolicy
from mcmargin.progress import Progress
from mcmargin.scenarios.companions import companions_of
from mcmargin.scenarios.scenarios import Scenarios

LINUX = sys.platform == "linux"
ENGINES = ("auto", "numpy", "cupy")


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
        Bars; 1 where neither it nor `horizons` is given.
    horizons : tuple of int, optional
        Several horizons of the same paths, increasing.
    paths, seed : int
    policy : MarginPolicy, optional
        Whose floor or stressed period is simulated too, on the same draws.
    engine : str
        `auto`, `numpy` or `cupy`; `MCMARGIN_ENGINE` stands in for `auto`.
    precision, variance_cap, price_floor
        See `SimulationPlan`.
    threads : int, optional
        `MCMARGIN_THREADS`, or one a core. Changes no figure.
    devices : tuple of int, optional
        GPUs to spread the paths over, for the cupy engine; `MCMARGIN_DEVICES`, or the current one.
        Results lie on the first, in the order of cupy's current stream.
    block_tiles : int, optional
        Tiles of 2,048 paths worked on at a time. Changes no figure beyond the engine's bound.
    progress : callable, optional
        Called with groups of tiles done and in all, from the threads that did them.

    Returns
    -------
    Scenarios

    Raises
    ------
    PolicyError
        For a plan out of range.
    EngineError
        For an engine or a device that is unknown or not here, and for devices where it is numpy.

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
    if horizons is not None and not isinstance(horizons, Iterable):
        raise PolicyError(
            f"horizons must be several whole numbers of bars, such as (1, 2), not {horizons!r}; "
            "give one as horizon="
        )
    wanted = horizons if horizons is not None else (1 if horizon is None else horizon,)
    plan = SimulationPlan(seed, paths, wanted, precision, variance_cap, price_floor)
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
    module = importlib.import_module(f"mcmargin.engines.{chosen}_engine")

    def run(start: MarketModel) -> Scenarios:
        returns, next_variance, limited = module.simulate_paths(start, plan, execution)
        counts = limited.floored, limited.capped
        by_name = limited.by_name(start.assets)
        return Scenarios(start, plan, returns, next_variance, chosen, *counts, limited=by_name)

    scenarios = run(model)
    if policy is None:
        return scenarios
    others = {name: run(each.model) for name, each in companions_of(model, policy).items()}
    return replace(scenarios, companions=others)


def device_ids(devices: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """GPUs as asked, else `MCMARGIN_DEVICES`, else none in particular."""
    if devices is not None:
        return cupy_engine.checked_devices(devices)
    given = os.environ.get("MCMARGIN_DEVICES")
    if not given:
        return None
    if not all(each.strip().isdecimal() for each in given.split(",")):
        raise EngineError(f"MCMARGIN_DEVICES must be places of GPUs, such as 0,1, not {given!r}")
    return cupy_engine.checked_devices([int(each) for each in given.split(",")])


def choose_engine(engine: str) -> str:
    """Name of the engine that will run.

    Raises
    ------
    EngineError
        For an engine that is unknown or not here.

    Examples
    --------
    >>> choose_engine("numpy")
    'numpy'
    """
    if isinstance(engine, str) and engine == "auto":
        engine = os.environ.get("MCMARGIN_ENGINE") or "auto"
    if not isinstance(engine, str) or engine not in ENGINES:
        raise EngineError(f"engine {engine!r:.60} is unknown; choose one of {ENGINES}")
    if engine == "numpy":
        return "numpy"
    reason = cupy_engine.missing()
    if reason is None:
        return "cupy"
    if engine == "cupy":
        raise EngineError(f"engine 'cupy' cannot run here: {reason}; use engine='numpy'")
    return "numpy"


def thread_count(threads: int | None) -> int:
    """Threads to use: as asked, else `MCMARGIN_THREADS`, else one a core that it may use."""
    if threads is None:
        given = os.environ.get("MCMARGIN_THREADS") or None
        if given is None:
            return len(os.sched_getaffinity(0)) if LINUX else os.cpu_count() or 1
        if not (given.isascii() and given.isdigit() and int(given) > 0):
            raise PolicyError(f"MCMARGIN_THREADS must be a whole number above 0, not {given!r}")
        return int(given)
    return whole_number("threads", threads)

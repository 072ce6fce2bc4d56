"""The launches of the cupy engine: what is drawn and what is computed for one block of path tiles.

In: a model on the current device, a range of tiles and a range of steps. Out: arrays on the device.
Normals are drawn, multiplied by the dependence factor in float32 or float64 (never in TF32), and
one kernel takes them through mixing, marginal transforms, recursion and compounding over all steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mcmargin.draws.plan import SimulationPlan
from mcmargin.draws.random_stream import DATES, JUMPS, MIXING, TILE_PATHS, normal_purposes
from mcmargin.engines.cupy_kernels import launch, members_of
from mcmargin.engines.model_arrays import ModelArrays
from mcmargin.models.marginals import MIXING_EDGE

Array = Any
"""An array on a device."""

PRODUCT_ROWS = 256
"""Assets of one product. It takes the factor's columns up to the last of these assets, since all
that lie beyond are 0."""

THREADS = 256
"""Threads of each thread block of `evolve`."""

EGARCH, TABLED = 1, 2
"""Bits of an asset's kind, as kernels/evolve.cu reads them."""


@dataclass(frozen=True, eq=False)
class DeviceModel:
    """A model's arrays on one device, in the simulation's precision.

    Attributes
    ----------
    host : ModelArrays
        The same model on the host.
    factor, residuals, tables : cupy.ndarray
        As in `ModelArrays`.
    mixing : cupy.ndarray, float64
    coefficients : cupy.ndarray of shape (assets, members of the struct Asset in evolve.cu)
    kinds : cupy.ndarray of shape (assets,), int32
        `EGARCH` and `TABLED`, or neither.
    """

    host: ModelArrays
    factor: Array
    mixing: Array
    residuals: Array
    coefficients: Array
    kinds: Array
    tables: Array


def device_model(model: ModelArrays) -> DeviceModel:
    """Bring a model to the current device."""
    import cupy

    columns = {
        **model.recursion,
        "scale": np.where(model.tabled, 1.0, model.scale),
        "diagonal": np.zeros(model.assets) if model.diagonal is None else model.diagonal,
    }

    def device(array: Any, kind: Any = model.dtype) -> Array:
        return cupy.asarray(np.ascontiguousarray(array, kind))

    return DeviceModel(
        host=model,
        factor=device(model.factor),
        mixing=device(model.mixing, np.float64),
        residuals=device(model.residuals),
        coefficients=device(
            np.column_stack([columns[name] for name in members_of("evolve.cu", "Asset")])
        ),
        kinds=device(EGARCH * model.egarch + TABLED * model.tabled, np.int32),
        tables=device(model.tables),
    )


@dataclass(frozen=True, eq=False)
class Draws:
    """What is drawn for some tiles and steps; the names are those of the parameters of `evolve`.

    Attributes
    ----------
    shocks : cupy.ndarray of shape (assets, steps * paths)
        Copula variables before mixing, or the common factors' part of them. For historical
        dependence, the residuals [assets, dates] that dates are drawn from.
    own : cupy.ndarray of shape (assets, steps, paths), optional
        With common factors: normals of the assets' own parts.
    mixing : cupy.ndarray of shape (steps, paths), optional
        For t dependence: sqrt(nu / chi-square).
    dates : cupy.ndarray of shape (steps, paths), int32, optional
        For historical dependence: the dates drawn.
    """

    shocks: Array
    own: Array | None
    mixing: Array | None
    dates: Array | None


def draw(model: DeviceModel, tiles: range, steps: range) -> Draws:
    """Draw all that some tiles and steps need."""
    if model.host.dependence == "historical":
        return Draws(model.residuals, None, None, drawn_dates(model, tiles, steps))
    shocks, own = copula_variables(model, tiles, steps)
    mixed = model.host.dependence == "t"
    return Draws(shocks, own, mixing_variables(model, tiles, steps) if mixed else None, None)


def copula_variables(model: DeviceModel, tiles: range, steps: range) -> tuple[Array, Array | None]:
    """Return `shocks` and `own` as in `Draws`."""
    import cupy

    host = model.host
    own_purpose, common_purpose = normal_purposes(host.dtype)
    own = normals(host.dtype, host.key, own_purpose, host.assets, tiles, steps)
    width = len(steps) * len(tiles) * TILE_PATHS
    shocks = cupy.empty((host.assets, width), host.dtype)
    if not host.factors:
        multiply(model, own.reshape(host.assets, width), shocks)
        return shocks, None
    drawn = normals(host.dtype, host.key, common_purpose, host.factors, tiles, steps)
    multiply(model, drawn.reshape(host.factors, width), shocks)
    return shocks, own


def normals(
    dtype: Any, key: Any, purpose: int, slots: int, tiles: range, steps: range, lane: int = 0
) -> Array:
    """Draw standard normals [slots, steps, paths]."""
    import cupy

    out = cupy.empty((slots, len(steps), len(tiles) * TILE_PATHS), dtype)
    launch(
        "normals.cu",
        f"normals<{_c_type(dtype)}>",
        (len(tiles), len(steps), slots),
        TILE_PATHS // 8,
        out=out,
        key0=key[0],
        key1=key[1],
        purpose=purpose,
        lane=lane,
        first_tile=tiles.start,
        tiles=len(tiles),
        first_step=steps.start,
        steps=len(steps),
    )
    return out


def multiply(model: DeviceModel, normals: Array, out: Array) -> None:
    """Set out [assets, draws] to the product of the dependence factor and normals [.., draws].

    TF32 would round them to 10 bits; it is switched off, whatever the caller set cuBLAS to.
    """
    import cupy
    from cupy import cublas
    from cupy.cuda import cublas as library

    handle = cupy.cuda.device.get_cublas_handle()
    mode = library.getMathMode(handle)
    library.setMathMode(handle, library.CUBLAS_DEFAULT_MATH)
    try:
        if model.host.factors:
            cublas.gemm("N", "N", model.factor, normals, out=out)
            return
        for low in range(0, model.host.assets, PRODUCT_ROWS):
            high = min(low + PRODUCT_ROWS, model.host.assets)
            rows = cupy.ascontiguousarray(model.factor[low:high, :high])
            cublas.gemm("N", "N", rows, normals[:high], out=out[low:high])
    finally:
        library.setMathMode(handle, mode)


def mixing_variables(model: DeviceModel, tiles: range, steps: range) -> Array:
    """Draw sqrt(nu / chi-square) [steps, paths], which all assets of a path share."""
    host = model.host
    return _shared_draw(
        f"mixing<{_c_type(host.dtype)}>",
        host.dtype,
        tiles,
        steps,
        key=host.key,
        purpose=MIXING,
        table=model.mixing,
        nu=host.nu,
        table_edge=MIXING_EDGE,
    )


def drawn_dates(model: DeviceModel, tiles: range, steps: range) -> Array:
    """Draw historical dates; int32 [steps, paths]."""
    host, count = model.host, model.host.residuals.shape[1]
    return _shared_draw("dates", np.int32, tiles, steps, key=host.key, purpose=DATES, count=count)


def jumps(key: Any, lane: int, bound: int, tiles: range, steps: range) -> Array:
    """Draw whether the word of each path and step is below a bound; bool [steps, paths]."""
    return _shared_draw("jumps", bool, tiles, steps, key=key, purpose=JUMPS, lane=lane, bound=bound)


def _shared_draw(
    name: str, dtype: Any, tiles: range, steps: range, *, key: Any, **arguments: Any
) -> Array:
    """Draw [steps, paths] by a kernel of shared_draws.cu."""
    import cupy

    out = cupy.empty((len(steps), len(tiles) * TILE_PATHS), dtype)
    launch(
        "shared_draws.cu",
        name,
        (len(steps) * len(tiles),),
        TILE_PATHS // 4,
        out=out,
        key0=key[0],
        key1=key[1],
        first_tile=tiles.start,
        tiles=len(tiles),
        first_step=steps.start,
        **arguments,
    )
    return out


@dataclass(frozen=True, eq=False)
class Marks:
    """Marks of the paths on which an asset was held within its limits.

    Attributes
    ----------
    floored, capped : cupy.ndarray of shape (paths,), uint8
        Whether the price of some asset was floored, or its variance capped.
    counts : cupy.ndarray of shape (2, assets), int32
        Paths on which each asset was floored, and on which it was capped.
    before : cupy.ndarray of shape (assets, paths), uint8, optional
        What earlier steps of a block have counted already.
    """

    floored: Array
    capped: Array
    counts: Array
    before: Array | None


def evolve(
    model: DeviceModel,
    plan: SimulationPlan,
    steps: range,
    draws: Draws,
    state: Array,
    first_path: int,
    results: tuple[Array, Array],
    marks: Marks,
) -> None:
    """Carry a block's paths over some steps.

    Parameters
    ----------
    model : DeviceModel
    plan : SimulationPlan
    steps : range
    draws : Draws
    state : cupy.ndarray of shape (2, assets, paths)
        Returns and variances after the earlier steps; after the call, those after these steps.
    first_path : int
        Where the block begins in the results.
    results : tuple of two cupy.ndarray of shape (horizons, assets, paths of the share)
        Returns and next variances, which are written where a horizon ends.
    marks : Marks
    """
    import cupy

    host, paths = model.host, state.shape[2]
    at = [plan.horizons.index(s + 1) if s + 1 in plan.horizons else -1 for s in steps]
    source = 1 if host.dependence == "historical" else 0
    launch(
        "evolve.cu",
        f"evolve<{_c_type(host.dtype)}, {source}>",
        (-(-paths // THREADS), host.assets),
        THREADS,
        **vars(draws),
        dates_count=host.residuals.shape[1],
        coefficients=model.coefficients,
        kinds=model.kinds,
        tables=model.tables,
        edge=host.edge,
        floor=host.floor,
        horizon_of_step=cupy.asarray(np.array(at, np.int32)),
        steps=len(steps),
        paths=paths,
        first=steps.start == 0,
        total_state=state[0],
        variance_state=state[1],
        returns=results[0],
        next_variance=results[1],
        assets=host.assets,
        all_paths=results[0].shape[2],
        first_path=first_path,
        **vars(marks),
    )


def _c_type(dtype: Any) -> str:
    return "double" if dtype is np.float64 else "float"

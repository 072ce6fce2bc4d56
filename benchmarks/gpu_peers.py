"""The same simulation for a GPU in plain cupy, PyTorch, numba and JAX, to compare speeds with.

Each takes a model, a horizon and paths, and leaves compounded simple returns and next variances
[assets, paths] on the device in float32. TF32 is off everywhere, as in mcmargin, so that all
compute the same thing. Each is written as a careful user of that library would write it.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.device import on_the_double
from benchmarks.peers import jax_scan, pytorch_loop

THREADS = 128
"""Threads in a block of numba's kernel."""


@dataclass(frozen=True)
class Peer:
    """How one library does the work.

    Attributes
    ----------
    missing : callable
        Returns the reason why the library cannot run here, or None.
    simulate : callable
        Model, horizon, paths to returns and next variances on the device.
    weigh : callable
        Weights [assets] and returns to sums [paths] on the device.
    wait : callable
        Takes an array, and returns when everything that was launched is done.
    release : callable
        Hands memory that is held in reserve back to the device.
    """

    missing: Callable[[], str | None]
    simulate: Callable[[Any, int, int], tuple[Any, Any]]
    weigh: Callable[[Any, Any], Any]
    wait: Callable[[Any], None]
    release: Callable[[], None]


def cupy_loop(model, horizon, paths):
    """The textbook loop over whole arrays, with cupy.random."""
    import cupy

    v, nu = model.volatility, model.dependence.nu
    omega, alpha, gamma, beta, start = (
        cupy.asarray(x[:, None], dtype=np.float32)
        for x in (v.omega, v.alpha, v.gamma, v.beta, model.state.variance)
    )
    factor = cupy.asarray(model.dependence.factor, dtype=np.float32)
    total = cupy.zeros((len(omega), paths), np.float32)
    h = cupy.repeat(start, paths, axis=1)
    for _ in range(horizon):
        z = factor @ cupy.random.standard_normal(total.shape, dtype=np.float32)
        if np.isfinite(nu):
            z *= cupy.sqrt((nu - 2) / cupy.random.chisquare(nu, paths, dtype=np.float32))
        eps = cupy.sqrt(h) * z
        total = total + eps + total * eps
        h = omega + (alpha + gamma * (eps < 0)) * eps**2 + beta * h
    return total, h


def _cupy_weigh(weights, returns):
    import cupy

    return cupy.asarray(weights, dtype=np.float32) @ returns


def _cupy_wait(_):
    import cupy

    cupy.cuda.Device().synchronize()


def _cupy_release():
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()


def _torch_device():
    return "cpu" if on_the_double() else "cuda"


def _torch_missing():
    try:
        import torch
    except ImportError:
        return "PyTorch is not installed"

    if not on_the_double() and not torch.cuda.is_available():
        return "PyTorch finds no CUDA device"
    return None


def _torch_simulate(model, horizon, paths):
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    return pytorch_loop(model, horizon, paths, _torch_device())


def _torch_weigh(weights, returns):
    import torch

    return torch.tensor(weights, dtype=torch.float32, device=_torch_device()) @ returns


def _torch_wait(_):
    import torch

    if not on_the_double():
        torch.cuda.synchronize()


def _torch_release():
    import torch

    torch.cuda.empty_cache()


def _jax_missing():
    try:
        import jax
    except ImportError:
        return "JAX is not installed"

    try:
        jax.devices("cpu" if on_the_double() else "gpu")
    except RuntimeError as error:
        return f"JAX finds no CUDA device ({error})"
    return None


def _jax_simulate(model, horizon, paths):
    import jax

    # XLA's own choice on a GPU would be TF32.
    with jax.default_matmul_precision("highest"):
        return jax_scan(model, horizon, paths)


def _jax_weigh(weights, returns):
    import jax
    import jax.numpy as jnp

    with jax.default_matmul_precision("highest"):
        return jnp.asarray(weights, jnp.float32) @ returns


def _jax_wait(array):
    array.block_until_ready()


def _jax_release():
    import jax

    jax.clear_caches()


@functools.cache
def _numba_states(paths):
    """Random generators, one for each path; they are made once, which takes longer than a run."""
    from numba.cuda.random import create_xoroshiro128p_states

    return create_xoroshiro128p_states(paths, seed=7)


def _numba_missing():
    try:
        from numba import cuda
    except ImportError:
        return "numba is not installed"

    if not cuda.is_available():
        return "numba finds no CUDA device (it needs numba-cuda)"
    return None


def numba_loop(model, horizon, paths):
    """A kernel with one thread for each path; nu is whole: a chi-square is a sum of squares."""
    from numba import cuda

    from benchmarks.gpu_numba import run

    v, nu = model.volatility, model.dependence.nu
    columns = np.array([v.omega, v.alpha, v.gamma, v.beta, model.state.variance], np.float32)
    freedom = int(nu) if np.isfinite(nu) else 0
    shape = (len(v.omega), paths)
    normals, total, variance = (cuda.device_array(shape, np.float32) for _ in range(3))
    factor = cuda.to_device(np.ascontiguousarray(model.dependence.factor, np.float32))
    run[-(-paths // THREADS), THREADS](
        *(_numba_states(paths), factor, cuda.to_device(columns), freedom, horizon),
        *(normals, total, variance),
    )
    return total, variance


def _numba_weigh(weights, returns):
    from numba import cuda

    from benchmarks.gpu_numba import weigh

    out = cuda.device_array(returns.shape[1], np.float32)
    weigh[-(-len(out) // THREADS), THREADS](
        cuda.to_device(np.asarray(weights, np.float32)), returns, out
    )
    return out


def _numba_wait(_):
    from numba import cuda

    cuda.synchronize()


def _numba_release():
    _numba_states.cache_clear()


PEERS = {
    "plain cupy": Peer(lambda: None, cupy_loop, _cupy_weigh, _cupy_wait, _cupy_release),
    "pytorch": Peer(_torch_missing, _torch_simulate, _torch_weigh, _torch_wait, _torch_release),
    "numba-cuda": Peer(_numba_missing, numba_loop, _numba_weigh, _numba_wait, _numba_release),
    # numba is last because it does not hand memory back.
    "jax": Peer(_jax_missing, _jax_simulate, _jax_weigh, _jax_wait, _jax_release),
}

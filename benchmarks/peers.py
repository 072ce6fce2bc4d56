"""The same simulation in plain numpy, arch, numba, PyTorch and JAX, to compare speeds with.

Each takes a model, a horizon, paths and a number of threads, and returns compounded simple returns
and next variances, [assets, paths]. Plain numpy, arch and numba work in float64. PyTorch and JAX
work in float32, their default. Each is written as a careful user of that library would write it:
PyTorch works in place, JAX is one compiled scan, and numba runs in parallel over chunks of paths
that stay in the cache.
"""

import functools
import importlib.util

import numpy as np

CHUNK = 1024


def available(name):
    module = {"plain numpy": "numpy", "pytorch": "torch"}.get(name, name)
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def plain_numpy(model, horizon, paths, threads):
    """The loop over whole float64 arrays that everybody writes."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(7)
    v, nu = model.volatility, model.dependence.nu
    omega, alpha, gamma, beta = (x[:, None] for x in (v.omega, v.alpha, v.gamma, v.beta))
    total = np.zeros((len(model.assets), paths))
    h = np.repeat(model.state.variance[:, None], paths, axis=1)
    with threadpool_limits(threads, user_api="blas"):
        for _ in range(horizon):
            z = model.dependence.factor @ rng.standard_normal(total.shape)
            if np.isfinite(nu):
                z *= np.sqrt((nu - 2) / rng.chisquare(nu, paths))
            eps = np.sqrt(h) * z
            total = total + eps + total * eps
            h = omega + (alpha + gamma * (eps < 0)) * eps**2 + beta * h
    return total, h


def arch(model, horizon, paths, threads):
    """arch's simulated forecast, one asset at a time, on correlated innovations."""
    from threadpoolctl import threadpool_limits

    from mcmargin.models.arch_fits import arch_model_of

    rng = np.random.default_rng(7)
    v, nu, count = model.volatility, model.dependence.nu, len(model.assets)
    with threadpool_limits(threads, user_api="blas"):
        z = np.empty((horizon, count, paths))
        for step in z:
            step[:] = model.dependence.factor @ rng.standard_normal((count, paths))
            if np.isfinite(nu):
                step *= np.sqrt((nu - 2) / rng.chisquare(nu, paths))
    history = rng.standard_normal(250) * 0.01
    total, variance = np.empty((count, paths)), np.empty((count, paths))
    for at in range(count):
        kind = v.kinds[at]
        parameters = [v.omega[at], v.alpha[at], v.gamma[at], v.beta[at]]
        if kind == "garch":
            del parameters[2]
        fixed = arch_model_of(history, kind, "normal").fix(parameters)
        forecast = fixed.forecast(
            horizon=horizon,
            method="simulation",
            simulations=paths,
            rng=lambda size, at=at: z[:, at].T,
            reindex=False,
        ).simulations
        total[at] = np.prod(1 + forecast.values[0], axis=1) - 1
        variance[at] = forecast.variances[0][:, -1]
    return total, variance


@functools.cache
def _numba_kernel():
    import numba

    @numba.njit(parallel=True, fastmath=True)
    def run(factor, omega, alpha, gamma, beta, start, nu, horizon, paths):
        count = len(omega)
        total, variance = np.empty((count, paths)), np.empty((count, paths))
        for chunk in numba.prange((paths + CHUNK - 1) // CHUNK):
            low = chunk * CHUNK
            size = min(CHUNK, paths - low)
            normals = np.empty((count, size))
            x, h = np.empty_like(normals), np.empty_like(normals)
            mixing = np.ones(size)
            x[:] = 0.0
            for a in range(count):
                h[a] = start[a]
            for _ in range(horizon):
                for a in range(count):
                    for p in range(size):
                        normals[a, p] = np.random.standard_normal()
                z = np.dot(factor, normals)
                if nu > 0:
                    for p in range(size):
                        mixing[p] = np.sqrt((nu - 2) / np.random.chisquare(nu))
                for a in range(count):
                    for p in range(size):
                        eps = np.sqrt(h[a, p]) * z[a, p] * mixing[p]
                        x[a, p] += eps + x[a, p] * eps
                        leverage = gamma[a] if eps < 0 else 0.0
                        h[a, p] = omega[a] + (alpha[a] + leverage) * eps * eps + beta[a] * h[a, p]
            total[:, low : low + size] = x
            variance[:, low : low + size] = h
        return total, variance

    return run


def numba(model, horizon, paths, threads):
    """A compiled loop that is parallel over chunks of paths; BLAS has one thread in each."""
    from numba import set_num_threads
    from threadpoolctl import threadpool_limits

    set_num_threads(threads)
    v, nu = model.volatility, model.dependence.nu
    with threadpool_limits(1, user_api="blas"):
        return _numba_kernel()(
            *(model.dependence.factor, v.omega, v.alpha, v.gamma, v.beta, model.state.variance),
            *(nu if np.isfinite(nu) else 0.0, horizon, paths),
        )


def pytorch(model, horizon, paths, threads):
    """Whole float32 tensors that are changed in place."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(7)
    total, h = pytorch_loop(model, horizon, paths, "cpu")
    return total.numpy(), h.numpy()


def pytorch_loop(model, horizon, paths, device):
    """The loop on one of PyTorch's devices; it returns tensors [assets, paths] on that device."""
    import torch

    v, nu = model.volatility, model.dependence.nu
    omega, alpha, gamma, beta, start = (
        torch.tensor(x[:, None], dtype=torch.float32, device=device)
        for x in (v.omega, v.alpha, v.gamma, v.beta, model.state.variance)
    )
    factor = torch.tensor(model.dependence.factor, dtype=torch.float32, device=device)
    freedom = torch.tensor(nu, dtype=torch.float32, device=device)
    chi_square = torch.distributions.Chi2(freedom) if np.isfinite(nu) else None
    normals = torch.empty((len(omega), paths), device=device)
    z, total = torch.empty_like(normals), torch.zeros_like(normals)
    h = start.repeat(1, paths)
    with torch.inference_mode():
        for _ in range(horizon):
            normals.normal_()
            torch.matmul(factor, normals, out=z)
            if chi_square is not None:
                z.mul_(torch.sqrt((nu - 2) / chi_square.sample((paths,))))
            z.mul_(torch.sqrt(h))
            total.addcmul_(total, z).add_(z)
            h.mul_(beta).add_(omega)
            if gamma.any():
                h.addcmul_(gamma, z.clamp(max=0).square_())
            h.addcmul_(alpha, z.square_())
    return total, h


@functools.cache
def jax_kernel():
    import jax
    import jax.numpy as jnp

    @functools.partial(jax.jit, static_argnames=("nu", "horizon", "paths"))
    def run(factor, omega, alpha, gamma, beta, start, *, nu, horizon, paths):
        def step(state, key):
            total, h = state
            normal_key, mixing_key = jax.random.split(key)
            z = factor @ jax.random.normal(normal_key, (len(omega), paths))
            if np.isfinite(nu):
                z *= jnp.sqrt((nu - 2) / jax.random.chisquare(mixing_key, nu, (paths,)))
            eps = jnp.sqrt(h) * z
            total += eps + total * eps
            h = omega + (alpha + gamma * (eps < 0)) * eps**2 + beta * h
            return (total, h), None

        state = (jnp.zeros((len(omega), paths)), jnp.repeat(start, paths, axis=1))
        return jax.lax.scan(step, state, jax.random.split(jax.random.key(7), horizon))[0]

    return run


def jax(model, horizon, paths, threads):
    """One compiled scan; XLA has as many threads as there are processors for the process."""
    total, h = jax_scan(model, horizon, paths)
    return np.asarray(total), np.asarray(h)


def jax_scan(model, horizon, paths):
    """The scan on JAX's default device; it returns arrays [assets, paths] on that device."""
    v = model.volatility
    columns = (v.omega, v.alpha, v.gamma, v.beta, model.state.variance)
    return jax_kernel()(
        model.dependence.factor.astype(np.float32),
        *(x[:, None].astype(np.float32) for x in columns),
        nu=model.dependence.nu,
        horizon=horizon,
        paths=paths,
    )


PEERS = {
    "plain numpy": plain_numpy,
    "arch": arch,
    "numba": numba,
    "pytorch": pytorch,
    "jax": jax,
}

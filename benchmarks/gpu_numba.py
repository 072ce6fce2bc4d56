"""The textbook simulation as kernels of numba for CUDA, with one thread for each path.

These kernels have a module of their own, which is imported only if numba finds a GPU: numba's
simulator replaces the name `cuda` in the module of a kernel.
"""

import math

from numba import cuda, float32
from numba.cuda.random import xoroshiro128p_normal_float32


@cuda.jit
def run(states, factor, columns, freedom, horizon, normals, total, variance):
    """Normals to global memory, the product row by row, and the recursion; [assets, paths]."""
    path = cuda.grid(1)
    if path >= total.shape[1]:
        return
    assets = total.shape[0]
    for a in range(assets):
        total[a, path] = float32(0)
        variance[a, path] = columns[4, a]
    for _ in range(horizon):
        for a in range(assets):
            normals[a, path] = xoroshiro128p_normal_float32(states, path)
        mixing = float32(1)
        if freedom > 0:
            chi_square = float32(0)
            for _ in range(freedom):
                normal = xoroshiro128p_normal_float32(states, path)
                chi_square += normal * normal
            mixing = math.sqrt(float32(freedom - 2) / chi_square)
        for a in range(assets):
            z = float32(0)
            for b in range(a + 1):
                z += factor[a, b] * normals[b, path]
            h = variance[a, path]
            eps = math.sqrt(h) * z * mixing
            total[a, path] += eps + total[a, path] * eps
            slope = columns[1, a]
            if eps < 0:
                slope += columns[2, a]
            variance[a, path] = columns[0, a] + slope * eps * eps + columns[3, a] * h


@cuda.jit
def weigh(weights, returns, out):
    """Sums of weights x returns, one for each path."""
    path = cuda.grid(1)
    if path < len(out):
        gain = float32(0)
        for a in range(len(weights)):
            gain += weights[a] * returns[a, path]
        out[path] = gain

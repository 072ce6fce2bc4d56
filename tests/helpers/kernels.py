"""What tests of the kernels share, here and on a GPU. It needs numpy alone."""

import numpy as np

from mcmargin.draws.random_stream import stream_key

BOUND = {"single": 2e-5, "double": 1e-11}
"""Farthest returns of two engines, in shares of volatility plus |return|."""

REGISTERS = {
    "normals<float>": 36,
    "normals<double>": 61,
    "mixing<float>": 45,
    "mixing<double>": 45,
    "dates": 36,
    "jumps": 36,
    "evolve<float, 0>": 58,
    "evolve<float, 1>": 47,
    "evolve<double, 0>": 76,
    "evolve<double, 1>": 65,
}
"""At most so many: an eighth above the worst architecture of NVRTC 13.5 (32, 54, 40, 40, 32, 30,
52, 42, 67, 58). More means fewer threads at a time on a multiprocessor."""

KEY = stream_key(20_240_607)

WORDS = """
__global__ void words(u64* out, u64 low, u64 step, u64 purpose, u64 lane, u64 key0, u64 key1) {
    const u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
    const Words four = philox(low + at + 1, step, purpose, lane, key0, key1);
    for (int i = 0; i < 4; ++i) out[4 * at + i] = four.w[i];
}
"""
"""A kernel that writes the words of the stream, to be appended to common.cuh."""


def philox_words(count, tile, step, purpose, lane=0, first=0):
    """Words of numpy's own generator at an address of the stream, uint64 [count]."""
    counter = np.array([(tile << 32) + first, step, purpose, lane], np.uint64)
    return np.random.Philox(key=KEY, counter=counter).random_raw(count)

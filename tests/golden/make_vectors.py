"""Golden vectors: words, normals, mixing variables, dates, jumps and margins, by independent code.

Standard library alone: nothing here imports mcmargin or numpy, so that an upgrade of either
cannot move a margin unseen. Regenerate, only when the stream is changed on purpose, with

    python tests/golden/make_vectors.py

which rewrites vectors.json beside this file; the tests run it again and compare.
"""

import functools
import hashlib
import json
import math
import struct
from fractions import Fraction
from pathlib import Path

TILE, HALF = 2048, 1024
SEED = 2024
# numpy.random.SeedSequence(2024).generate_state(2, numpy.uint64)
KEY = (0x4C87174BC76DBA01, 0xFDF50F1DFB214748)
WIDTHS = {0: 256, 1: 512, 2: 512, 3: 512, 6: 256, 7: 512}  # counters a slot, by purpose
NORMALS_OF_A_NAME, JUMPS_OF_A_NAME, NAMED_WIDTH = 4, 5, 512
NAMES = ("BTC-PERP", "Zürich 6M")
PROBABILITY = 0.01
ADDRESSES = [(0, 0, 0), (0, 2, 1), (5, 130, 3), (70_000, 999, 255)]  # tile, slot, step
PATHS = (0, 1, 517, 1023)
DATES = 1249
NODES, EDGE = 4096, 38.0

MODEL = {
    "kinds": ["garch", "gjr", "egarch"],
    "coefficients": [  # omega, alpha, gamma, beta
        [2e-6, 0.08, 0.0, 0.90],
        [3e-6, 0.03, 0.10, 0.89],
        [-0.20, 0.15, -0.08, 0.978],
    ],
    "variance": [1.2e-4, 2.5e-4, 0.9e-4],
    "sample_variance": [1e-4, 2e-4, 1e-4],
    "correlation": [[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]],
    "spot": [100.0, 50.0, 2000.0],
    "positions": [10.0, -30.0, 0.4],
    "nu": 6,
    "bars": 2,
    "paths": 4096,
}


def philox(counter):
    """Philox4x64-10 (Salmon et al. 2011): four words of a counter."""
    (a, b, c, d), (k0, k1) = counter, KEY
    for _ in range(10):
        x, y = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (y >> 64) ^ b ^ k0, y % 2**64, (x >> 64) ^ d ^ k1, x % 2**64
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) % 2**64, (k1 + 0xBB67AE8584CAA73B) % 2**64
    return a, b, c, d


@functools.cache
def words(tile, slot, step, purpose, lane=0):
    """All words of one slot: j counts from 1."""
    width = WIDTHS.get(purpose, NAMED_WIDTH)
    first = (tile << 32) + slot * width
    counters = range(first + 1, first + width + 1)
    return [word for low in counters for word in philox((low, step, purpose, lane))]


def lane_of(name):
    """The first 8 bytes, big-endian, of the SHA-256 of a name in UTF-8."""
    lane = 0
    for byte in hashlib.sha256(name.encode("utf-8")).digest()[:8]:
        lane = lane << 8 | byte
    return lane


def single(x):
    """Round to float32."""
    return struct.unpack("f", struct.pack("f", x))[0]


def uniform(word):
    return ((word >> 11) + 0.5) * 2.0**-53


@functools.cache
def normals(tile, slot, step, purpose, lane=0):
    """A tile's normals: float32 (purpose 0, every operation rounded), or float64."""
    drawn = words(tile, slot, step, purpose, lane)
    if purpose == 0:
        rounded = single
        u = [single(single(w % 2**32) + 0.5) * 2.0**-32 for w in drawn]
        v = [single(w >> 32) * 2.0**-32 for w in drawn]
    else:
        rounded = float
        u = [uniform(w) for w in drawn[:HALF]]
        v = [(w >> 11) * 2.0**-53 for w in drawn[HALF:]]
    radius = [rounded(math.sqrt(rounded(-2.0 * rounded(math.log(x))))) for x in u]
    angle = [rounded(rounded(2.0 * math.pi) * x) for x in v]
    cosines = [rounded(r * rounded(math.cos(a))) for r, a in zip(radius, angle, strict=True)]
    return cosines + [rounded(r * rounded(math.sin(a))) for r, a in zip(radius, angle, strict=True)]


@functools.cache
def log_chi_square(logit):
    """ln of the chi-square quantile, 6 degrees of freedom, by Newton in ln y, y = chi-square/2.

    y has the Gamma(3) distribution, whose tails are elementary: the upper one is
    exp(-y)(1 + y + y^2/2), the lower one exp(-y) times the rest of the series of exp(y).
    """
    t = logit / 3 if logit < 0 else math.log(3.0 + logit)
    for _ in range(60):
        y = math.exp(t)
        if logit < 0:
            tail = sum(y**k / math.factorial(k) for k in range(3, 60))
            gap = math.log(tail) - y - (logit - math.log1p(math.exp(logit)))
            move = -gap * tail / (y**3 / 2)
        else:
            tail = 1.0 + y + y * y / 2
            gap = math.log(tail) - y - (-logit - math.log1p(math.exp(-logit)))
            move = gap * tail / (y**3 / 2)
        t += max(-1.0, min(1.0, move))
        if abs(move) < 1e-15 * (1.0 + abs(t)):
            break
    return math.log(2.0) + t


def mixing(word, *, table):
    """sqrt(nu / chi-square): by the model's table, or by the quantile itself."""
    u = uniform(word)
    logit = math.log(u) - math.log1p(-u)
    if not table:
        return math.sqrt(6 / math.exp(log_chi_square(logit)))
    share, node = math.modf((logit + EDGE) * NODES / (2 * EDGE))
    left, right = (log_chi_square(2 * EDGE * n / NODES - EDGE) for n in (node, node + 1))
    return math.sqrt(6 / math.exp(left + share * (right - left)))


def cholesky(matrix):
    size = len(matrix)
    factor = [[0.0] * size for _ in matrix]
    for i in range(size):
        for j in range(i + 1):
            rest = matrix[i][j] - sum(factor[i][k] * factor[j][k] for k in range(j))
            factor[i][j] = math.sqrt(rest) if i == j else rest / factor[j][j]
    return factor


def losses(purpose, dependence, *, table=True):
    """Losses of the positions on every path, in double precision from the normals on."""
    factor = cholesky(MODEL["correlation"])
    out = []
    for tile in range(MODEL["paths"] // TILE):
        steps = [[normals(tile, slot, step, purpose) for slot in range(3)] for step in range(2)]
        for path in range(TILE):
            total, variance = [0.0] * 3, list(MODEL["variance"])
            for step in range(MODEL["bars"]):
                scale = 1.0
                if dependence == "t":  # marginals are t of the copula's own 6 degrees
                    scale = math.sqrt(4 / 6) * mixing(words(tile, 0, step, 2)[path], table=table)
                for i in range(3):
                    z = scale * sum(factor[i][k] * steps[step][k][path] for k in range(i + 1))
                    h = variance[i]
                    move = math.sqrt(h) * z
                    total[i] += move + total[i] * move
                    omega, alpha, gamma, beta = MODEL["coefficients"][i]
                    if MODEL["kinds"][i] == "egarch":
                        shock = alpha * (abs(z) - math.sqrt(2 / math.pi)) + gamma * z
                        variance[i] = math.exp(omega + shock + beta * math.log(h))
                    else:
                        variance[i] = omega + (alpha + gamma * (move < 0)) * move**2 + beta * h
                    # Neither the cap, nor EGARCH's lower bound, nor the price floor is in play.
                    assert 0.01 < variance[i] / MODEL["sample_variance"][i] < 100
                    assert total[i] > 1e-4 - 1
            value = zip(MODEL["positions"], MODEL["spot"], total, strict=True)
            out.append(-sum(quantity * spot * x for quantity, spot, x in value))
    return out


def tail(values):
    """ES and VaR at 99 % by plain sorting: k = 40.96 of 4,096."""
    worst = sorted(values, reverse=True)
    k = Fraction(len(values), 100)
    whole = math.floor(k)
    shortfall = math.fsum(worst[:whole]) + float(k - whole) * worst[whole]
    return {"expected_shortfall": shortfall / float(k), "value_at_risk": worst[math.ceil(k) - 1]}


def make():
    """Every vector, as the JSON holds it."""
    drawn, single_normals, double_normals, mixed = [], [], [], []
    for tile, slot, step in ADDRESSES:
        for purpose, width in WIDTHS.items():
            at = 0 if purpose in (2, 3) else slot
            every = words(tile, at, step, purpose)
            for j in (1, 2, width):
                four = [f"{word:016x}" for word in every[4 * j - 4 : 4 * j]]
                drawn.append([tile, at, step, purpose, j, four])
        for purpose, rows in ((0, single_normals), (1, double_normals)):
            values = normals(tile, slot, step, purpose)
            rows += [[tile, slot, step, p, values[p]] for w in PATHS for p in (w, w + HALF)]
        every = words(tile, 0, step, 2)
        mixed += [[tile, step, p, uniform(every[p])] for p in PATHS]
    named_words, named_normals, jumps = [], [], []
    for name in NAMES:
        lane = lane_of(name)
        for tile, _, step in ADDRESSES:
            for purpose in (NORMALS_OF_A_NAME, JUMPS_OF_A_NAME):
                every = words(tile, 0, step, purpose, lane)
                for j in (1, 2, NAMED_WIDTH):
                    four = [f"{word:016x}" for word in every[4 * j - 4 : 4 * j]]
                    named_words.append([name, tile, step, purpose, j, four])
            values = normals(tile, 0, step, NORMALS_OF_A_NAME, lane)
            named_normals += [
                [name, tile, step, p, values[p]] for w in PATHS for p in (w, w + HALF)
            ]
            bound = math.floor(Fraction(PROBABILITY) * 2**64)
            every = words(tile, 0, step, JUMPS_OF_A_NAME, lane)
            jumps.append([name, tile, step, [p for p, word in enumerate(every) if word < bound]])
    margins = {}
    for dependence in ("gaussian", "t"):
        for purpose, precision in ((0, "single"), (1, "double")):
            margins[f"{dependence} {precision}"] = tail(losses(purpose, dependence))
    margins["t double without the table"] = tail(losses(1, "t", table=False))
    return {
        "seed": SEED,
        "key": [f"{word:016x}" for word in KEY],
        "words of tile, slot, step, purpose, counter": drawn,
        "float32 normals of tile, slot, step, path": single_normals,
        "float64 normals of tile, slot, step, path": double_normals,
        "mixing uniforms of tile, step, path": mixed,
        f"dates of {DATES} of tile, step, path": [
            [tile, step, p, words(tile, 0, step, 3)[p] * DATES >> 64]
            for tile, _, step in ADDRESSES
            for p in PATHS
        ],
        "lanes of name": [[name, f"{lane_of(name):016x}"] for name in NAMES],
        "words of name, tile, step, purpose, counter": named_words,
        "float64 normals of name, tile, step, path": named_normals,
        f"paths that jump at {PROBABILITY} of name, tile, step": jumps,
        "model": MODEL,
        "margins": margins,
    }


if __name__ == "__main__":
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in make().items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    Path(__file__).with_name("vectors.json").write_text(text)

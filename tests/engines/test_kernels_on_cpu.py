"""The .cu sources against numpy's generator, scipy, and a plain recursion.

Tolerances are those of docs/design.md: normals 5e-6 in float32 and 1e-13 in float64, returns 2e-5
and 1e-11 of sigma plus the return. The kernels run on a processor, through g++ and the double of
cupy, which checks every argument. With MCMARGIN_TEST_GPU=1 the same tests run on a GPU through cupy
itself.
"""

import re
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special, stats

from mcmargin.draws import random_stream
from mcmargin.draws.random_stream import (
    DATES,
    FACTOR_DOUBLE,
    FACTOR_SINGLE,
    HALF_TILE,
    MIXING,
    NORMAL_DOUBLE,
    NORMAL_SINGLE,
    TILE_PATHS,
    WordSource,
)
from mcmargin.engines import cupy_steps
from mcmargin.engines.cupy_kernels import (
    NAME_EXPRESSIONS,
    kernel,
    kernel_folder,
    launch,
    members_of,
    parameters_of,
)
from mcmargin.engines.numpy_steps import mixing_variables
from mcmargin.models import marginals
from mcmargin.models.marginals import (
    MIXING_EDGE,
    TABLE_INTERVALS,
    TAIL_INTERVALS,
    TAIL_SPACING,
    mixing_table,
)
from mcmargin.models.volatility import KINDS, Recursion
from tests.helpers.kernels import KEY, WORDS, philox_words
from tests.helpers.models import RECURSIONS

C_TYPES = {np.float32: "float", np.float64: "double"}
RETURN_BOUND = {np.float32: 2e-5, np.float64: 1e-11}
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float", "double"])


@pytest.mark.parametrize(
    ("file", "name"), [(file, name) for file, names in NAME_EXPRESSIONS.items() for name in names]
)
def test_parameters_are_those_of_the_compiled_kernel(machine, file, name):
    """The types that `launch` reads in the source are the types that the compiler gives."""
    plain = {"i64": "long long", "u64": "unsigned long long"}
    read = [plain.get(kind, kind) for kind in parameters_of(file, name).values()]
    compiled = [kind.removeprefix("const ") for kind in kernel(file, name).parameters]
    assert read == compiled


def test_constants_of_the_kernels_are_those_of_the_engines():
    """Both sides state a few numbers, such as the width of a table, under the same names."""
    found = {}
    for file in ("common.cuh", *NAME_EXPRESSIONS):
        source = (kernel_folder() / file).read_text()
        found |= {
            name: int(number) for name, number in re.findall(r"const int (\w+) = (\d+);", source)
        }
    ours = {
        name: getattr(module, name)
        for module in (random_stream, cupy_steps, marginals)
        for name in found
        if hasattr(module, name)
    }
    assert found == ours | {"KNOTS_A_UNIT": 1 / marginals.TAIL_SPACING, "AHEAD": 4}
    assert members_of("evolve.cu", "Asset") == NAMES


def test_a_launch_names_what_is_missing_or_unknown(cupy):
    with pytest.raises(
        TypeError, match="dates: missing parameters, or unknown ones: count, counts"
    ):
        launch_shared("dates", cupy.empty(1, np.int32), DATES, range(1), range(1), counts=1)


@pytest.mark.parametrize(
    "address", [(0, 0, 0, 0), (3, 7, 2, 0), (2**31 - 1, 2**31 - 1, 7, 2**64 - 1)]
)
def test_words_are_numpys_bit_for_bit(cupy, address):
    common = (kernel_folder() / "common.cuh").read_text()
    module = cupy.RawModule(code=common + WORDS, name_expressions=("words",))
    out = cupy.empty(2048, np.uint64)
    tile, step, purpose, lane = address
    numbers = (tile << 32, step, purpose, lane, *KEY)
    module.get_function("words")((4,), (128,), (out, *(np.uint64(n) for n in numbers)))
    np.testing.assert_array_equal(out.get(), philox_words(2048, tile, step, purpose, lane))


def launch_normals(out, dtype, purpose, tiles, steps):
    """Launch the kernel, which writes out [slots, steps, tiles * 2048]."""
    launch(
        "normals.cu",
        f"normals<{C_TYPES[dtype]}>",
        (len(tiles), len(steps), len(out)),
        256,
        out=out,
        key0=KEY[0],
        key1=KEY[1],
        purpose=purpose,
        lane=0,
        first_tile=tiles.start,
        tiles=len(tiles),
        first_step=steps.start,
        steps=len(steps),
    )


@BOTH
@pytest.mark.parametrize("factors", [False, True])
def test_normals_are_those_of_numpys_words(cupy, dtype, factors):
    """The kernel agrees with Box-Muller of numpy's words in float64, and with the numpy engine."""
    single = dtype is np.float32
    purpose = {
        (True, False): NORMAL_SINGLE,
        (True, True): FACTOR_SINGLE,
        (False, False): NORMAL_DOUBLE,
        (False, True): FACTOR_DOUBLE,
    }[single, factors]
    slots, steps, tiles = 3, range(4, 6), range(5, 7)
    out = cupy.empty((slots, len(steps), len(tiles) * TILE_PATHS), dtype)
    launch_normals(out, dtype, purpose, tiles, steps)
    drawn = out.get().reshape(slots, len(steps), len(tiles), TILE_PATHS)
    bound = 5e-6 if single else 1e-13
    source = WordSource(KEY)
    fill = source.normals_single if single else source.normals_double
    for at, step in enumerate(steps):
        peer = np.empty((len(tiles), slots, TILE_PATHS), dtype)
        fill(tiles=tiles, step=step, first_slot=0, out=peer, purpose=purpose)
        np.testing.assert_allclose(drawn[:, at].swapaxes(0, 1), peer, rtol=0, atol=bound)
        for slot in range(slots):
            exact = box_muller(single, tiles[1], step, purpose, slot)
            np.testing.assert_allclose(drawn[slot, at, 1], exact, rtol=0, atol=bound)


def test_the_farthest_normal(cupy):
    """Tile 5,122 has a word with the low half 183; there the 1/2 in u moves a normal by 5e-4."""
    tile = 5_122
    assert (philox_words(1024, tile, 0, NORMAL_SINGLE) & 0xFFFF_FFFF).min() == 183
    out = cupy.empty((1, 1, TILE_PATHS), np.float32)
    launch_normals(out, np.float32, NORMAL_SINGLE, range(tile, tile + 1), range(1))
    exact = box_muller(True, tile, 0, NORMAL_SINGLE, 0)
    np.testing.assert_allclose(out.get().ravel(), exact, rtol=0, atol=5e-6)


def box_muller(single, tile, step, purpose, slot):
    """Return normals of one slot and tile by the formulas of `random_stream`, in float64.

    For single precision, u and v are rounded to float32 at every step, as the formulas say.
    """
    width = 256 if single else 512
    words = philox_words(4 * width, tile, step, purpose, first=slot * width)
    if single:
        halves = np.float32(words & 0xFFFF_FFFF), np.float32(words >> 32)
        u = ((halves[0] + np.float32(0.5)) * np.float32(2.0**-32)).astype(float)
        v = (halves[1] * np.float32(2.0**-32)).astype(float)
    else:
        u = ((words[:HALF_TILE] >> 11).astype(float) + 0.5) / 2.0**53
        v = (words[HALF_TILE:] >> 11).astype(float) / 2.0**53
    radius, angle = np.sqrt(-2 * np.log(u)), 2 * np.pi * v
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])


def launch_shared(name, out, purpose, steps, tiles, **leading):
    """Launch a kernel for draws that all assets share; return [steps, tiles, 2048]."""
    launch(
        "shared_draws.cu",
        name,
        (len(steps) * len(tiles),),
        512,
        out=out,
        **leading,
        key0=KEY[0],
        key1=KEY[1],
        purpose=purpose,
        first_tile=tiles.start,
        tiles=len(tiles),
        first_step=steps.start,
    )
    return out.get().reshape(len(steps), len(tiles), TILE_PATHS)


@BOTH
@pytest.mark.parametrize("nu", [2.5, 5.0, 40.0])
def test_mixing_is_that_of_the_numpy_engine(cupy, dtype, nu):
    """It agrees with the numpy engine up to rounding, and with scipy's quantile to 1e-5."""
    steps, tiles, table = range(2, 5), range(1, 3), mixing_table(nu)
    out = cupy.empty((len(steps), len(tiles) * TILE_PATHS), dtype)
    given = {"table": cupy.asarray(table), "nu": nu, "table_edge": MIXING_EDGE}
    drawn = launch_shared(f"mixing<{C_TYPES[dtype]}>", out, MIXING, steps, tiles, **given)
    u = WordSource(KEY).uniforms(tiles=tiles, steps=steps, purpose=MIXING).swapaxes(0, 1)
    peer = mixing_variables(table, nu, u).astype(dtype)
    np.testing.assert_allclose(drawn, peer, rtol=1.2e-7 if dtype is np.float32 else 1e-13)
    np.testing.assert_allclose(drawn, np.sqrt(nu / stats.chi2.ppf(u, nu)), rtol=1e-5)


@pytest.mark.parametrize("count", [1, 7, 2**31 - 1])
def test_dates_are_exactly_those_of_the_words(cupy, count):
    steps, tiles = range(3, 5), range(1, 3)
    out = cupy.empty((len(steps), len(tiles) * TILE_PATHS), np.int32)
    drawn = launch_shared("dates", out, DATES, steps, tiles, count=count)
    for row, step in zip(drawn, steps, strict=True):
        for cells, tile in zip(row, tiles, strict=True):
            words = philox_words(TILE_PATHS, tile, step, DATES)
            np.testing.assert_array_equal(cells, [int(word) * count >> 64 for word in words])


@dataclass
class Case:
    """The arguments of `evolve`, in float64; a row of coefficients has one asset's constants."""

    shocks: np.ndarray
    own: np.ndarray | None
    mixing: np.ndarray | None
    dates: np.ndarray | None
    coefficients: np.ndarray
    kinds: np.ndarray
    tables: np.ndarray
    edge: float
    floor: float
    horizon_of_step: np.ndarray
    paths: int
    all_paths: int
    first_path: int = 0


NAMES = ("omega", "alpha", "gamma", "beta", "start", "lowest", "highest", "scale", "diagonal")
EGARCH, TABLED = 1, 2
EDGE = 3.0


def make_case(
    dtype,
    *,
    source=0,
    own=False,
    mixing=False,
    tabled=False,
    kinds=tuple(KINDS),
    horizons=(1, 3, 5),
    paths=600,
    all_paths=500,
    first_path=0,
):
    """Make random inputs, rounded to the kernel's precision, that reach floor, cap and edges."""
    draw = np.random.default_rng(5)
    assets, steps = len(kinds), horizons[-1]
    variance = np.array([1e-4 if not KINDS[kind].moves else 4e-4 for kind in kinds])
    columns = {
        **dict(zip(NAMES, np.array([RECURSIONS[kind] for kind in kinds]).T, strict=False)),
        "start": variance,
        "lowest": 0.7 * variance,
        "highest": 1.4 * variance,
        "scale": draw.uniform(0.5, 1.5, assets),
        "diagonal": draw.uniform(0.5, 1.0, assets),
    }
    logarithmic = np.array([KINDS[kind].recursion is Recursion.LOGARITHMIC for kind in kinds])
    x = np.linspace(-EDGE, EDGE, TABLE_INTERVALS + 1)
    # Every other asset has a table; the marginals of the others are a mere scale.
    has_table = np.array([tabled and at % 2 == 0 for at in range(assets)])
    powers = 1 + 0.1 * np.arange(1, assets + 1)[:, None]
    # These are logarithms of g / g at the edge at the knots: 0 at the edge, with random slopes.
    tails = np.cumsum(draw.uniform(0.1, 0.4, (assets, 2, TAIL_INTERVALS + 1)), axis=2)
    tails = (tails - tails[:, :, :1]).reshape(assets, -1)
    horizon_of_step = np.full(steps, -1)
    horizon_of_step[np.array(horizons) - 1] = range(len(horizons))

    def rounded(array):
        return np.asarray(array, dtype).astype(float)

    return Case(
        shocks=rounded(
            draw.standard_normal((assets, steps, paths) if source == 0 else (assets, 9))
        ),
        own=rounded(draw.standard_normal((assets, steps, paths))) if own else None,
        mixing=rounded(np.sqrt(5 / draw.chisquare(5, (steps, paths)))) if mixing else None,
        dates=draw.integers(0, 9, (steps, paths)) if source == 1 else None,
        coefficients=rounded(np.column_stack([columns[name] for name in NAMES])),
        kinds=EGARCH * logarithmic + TABLED * has_table,
        tables=rounded(np.hstack([np.sign(x) * np.abs(x) ** powers + 0.05, tails])),
        edge=EDGE,
        floor=float(dtype(-0.06)),
        horizon_of_step=horizon_of_step,
        paths=paths,
        all_paths=all_paths,
        first_path=first_path,
    )


def plain_recursion(case):
    """Return what `evolve` should write, in float64.

    These are returns and variances [horizons, assets, paths], floored and capped [paths], and how
    many of the paths that are kept were floored and capped, [2, assets].
    """
    horizons = case.horizon_of_step.max() + 1
    returns = np.full((horizons, len(case.kinds), case.paths), np.nan)
    variances = np.full_like(returns, np.nan)
    floored, capped = np.zeros((2, len(case.kinds), case.paths), bool)
    for at, row in enumerate(case.coefficients):
        c = SimpleNamespace(**dict(zip(NAMES, row, strict=True)))
        total, h = np.zeros(case.paths), np.full(case.paths, c.start)
        for step, horizon in enumerate(case.horizon_of_step):
            if case.dates is not None:
                z = case.shocks[at, case.dates[step]]
            else:
                z = case.shocks[at, step].copy()
                if case.own is not None:
                    z += c.diagonal * case.own[at, step]
                if case.mixing is not None:
                    z *= case.mixing[step]
                z = transform(case, at, z) if case.kinds[at] & TABLED else z * c.scale
            e = np.sqrt(h) * z
            total = (1 + total) * (1 + e) - 1
            floored[at] |= total < case.floor
            total = np.maximum(total, case.floor)
            if case.kinds[at] & EGARCH:
                news = c.alpha * (np.abs(z) - np.sqrt(2 / np.pi)) + c.gamma * z
                h = np.maximum(np.exp(c.omega + news + c.beta * np.log(h)), c.lowest)
            else:
                h = c.omega + (c.alpha + c.gamma * (e < 0)) * e**2 + c.beta * h
            capped[at] |= h > c.highest
            h = np.minimum(h, c.highest)
            if horizon >= 0:
                returns[horizon, at], variances[horizon, at] = total, h
    kept = min(case.paths, case.all_paths - case.first_path)
    counts = [limited[:, :kept].sum(axis=1) for limited in (floored, capped)]
    return returns, variances, floored.any(axis=0), capped.any(axis=0), np.array(counts)


def transform(case, at, x):
    """Interpolate g in x, and beyond the edges ln|g| in ln|x|; the last line goes on."""
    nodes = np.linspace(-case.edge, case.edge, TABLE_INTERVALS + 1)
    knots = TAIL_SPACING * np.arange(TAIL_INTERVALS + 1)
    g = np.interp(x, nodes, case.tables[at][: TABLE_INTERVALS + 1])
    beyond = np.log(np.maximum(np.abs(x) / case.edge, 1))
    lower, upper = case.tables[at][TABLE_INTERVALS + 1 :].reshape(2, -1)
    for tail, side in ((lower, x < 0), (upper, x > 0)):
        grown = np.interp(beyond, knots, tail)
        grown += np.maximum(beyond - knots[-1], 0) * (tail[-1] - tail[-2]) / TAIL_SPACING
        g = np.where(side, g * np.exp(grown), g)
    return g


def evolved(cupy, case, dtype, parts=None):
    """Run the kernel in one launch or several, and return what it wrote as numpy arrays."""
    steps, assets = len(case.horizon_of_step), len(case.kinds)

    def device(array, kind=dtype):
        return None if array is None else cupy.asarray(np.ascontiguousarray(array, kind))

    def of_steps(array, start, stop, kind=dtype):
        return None if array is None else device(array[..., start:stop, :], kind)

    shape = (case.horizon_of_step.max() + 1, assets, case.all_paths)
    returns, variances = (cupy.full(shape, np.nan, dtype) for _ in range(2))
    total, variance = (cupy.empty((assets, case.paths), dtype) for _ in range(2))
    floored, capped = (cupy.zeros(case.paths, np.uint8) for _ in range(2))
    counts = cupy.zeros((2, assets), np.int32)
    before = cupy.zeros((assets, case.paths), np.uint8) if parts else None
    for start, stop in parts or [(0, steps)]:
        dates_count = 0 if case.dates is None else case.shocks.shape[1]
        shocks = case.shocks if case.dates is not None else case.shocks[:, start:stop]
        launch(
            "evolve.cu",
            f"evolve<{C_TYPES[dtype]}, {int(case.dates is not None)}>",
            (-(-case.paths // 256), assets),
            256,
            shocks=device(shocks),
            own=of_steps(case.own, start, stop),
            mixing=of_steps(case.mixing, start, stop),
            dates=of_steps(case.dates, start, stop, np.int32),
            dates_count=dates_count,
            coefficients=device(case.coefficients),
            kinds=device(case.kinds, np.int32),
            tables=device(case.tables),
            edge=case.edge,
            floor=case.floor,
            horizon_of_step=device(case.horizon_of_step[start:stop], np.int32),
            steps=stop - start,
            paths=case.paths,
            first=start == 0,
            total_state=total,
            variance_state=variance,
            returns=returns,
            next_variance=variances,
            assets=assets,
            all_paths=case.all_paths,
            first_path=case.first_path,
            floored=floored,
            capped=capped,
            counts=counts,
            before=before,
        )
    return tuple(array.get() for array in (returns, variances, floored, capped, counts))


def assert_agree(found, case, dtype):
    """Check what the kernel wrote: within the bound of sigma + |return|, and flags exactly."""
    expected = plain_recursion(case)
    kept = min(case.paths, case.all_paths - case.first_path)
    here = slice(case.first_path, case.first_path + kept)
    bound = RETURN_BOUND[dtype]
    sigma = np.sqrt(case.coefficients[:, NAMES.index("start")])[:, None]
    returns = expected[0][..., :kept]
    error = np.abs(found[0][..., here] - returns) / (sigma + np.abs(returns))
    assert error.max() < bound
    np.testing.assert_allclose(found[1][..., here], expected[1][..., :kept], rtol=5 * bound)
    np.testing.assert_array_equal(found[4], expected[4])
    for flags, peer in zip(found[2:4], expected[2:4], strict=True):
        np.testing.assert_array_equal(flags[:kept], peer[:kept])
        assert not flags[kept:].any()


@BOTH
@pytest.mark.parametrize("tabled", [False, True], ids=["scaled", "tabled"])
@pytest.mark.parametrize("mixing", [False, True], ids=["unmixed", "mixed"])
@pytest.mark.parametrize("own", [False, True], ids=["whole", "own"])
def test_evolve_of_drawn_shocks(cupy, dtype, own, mixing, tabled):
    case = make_case(dtype, own=own, mixing=mixing, tabled=tabled)
    found = evolved(cupy, case, dtype)
    assert_agree(found, case, dtype)
    assert 0 < found[2].mean() < 1
    assert 0 < found[3].mean() < 1


@BOTH
def test_evolve_of_dates(cupy, dtype):
    case = make_case(dtype, source=1)
    assert_agree(evolved(cupy, case, dtype), case, dtype)


@BOTH
@pytest.mark.parametrize("source", [0, 1])
def test_steps_in_several_launches_change_no_bit(cupy, dtype, source):
    options = {"own": True, "mixing": True, "tabled": True} if source == 0 else {}
    case = make_case(dtype, source=source, **options)
    once = evolved(cupy, case, dtype)
    for parts in ([(0, 2), (2, 5)], [(at, at + 1) for at in range(5)]):
        for found, expected in zip(evolved(cupy, case, dtype, parts), once, strict=True):
            np.testing.assert_array_equal(found, expected)


EDGES = {
    "one_asset": {"kinds": ("gjr",)},
    "one_step": {"horizons": (1,)},
    "one_path_kept": {"all_paths": 1},
    "one_path": {"paths": 1, "all_paths": 1},
    "one_of_everything": {"kinds": ("egarch",), "horizons": (1,), "paths": 1, "all_paths": 1},
    "whole_blocks": {"paths": 512, "all_paths": 512},
    "a_later_block": {"paths": 512, "all_paths": 1100, "first_path": 600},
    "a_middle_block": {"paths": 256, "all_paths": 1100, "first_path": 512},
}


@BOTH
@pytest.mark.parametrize("tabled", [False, True], ids=["scaled", "tabled"])
@pytest.mark.parametrize("edge", EDGES)
def test_evolve_at_the_edges(cupy, dtype, tabled, edge):
    """Only those paths of this block that are kept are written; the rest stays NaN."""
    case = make_case(dtype, tabled=tabled, **EDGES[edge])
    found = evolved(cupy, case, dtype)
    assert_agree(found, case, dtype)
    kept = min(case.paths, case.all_paths - case.first_path)
    for array in found[:2]:
        assert np.isfinite(array).sum() == array[..., 0].size * kept


def test_smallest_words_give_finite_draws(cupy):
    """Radius, sine and cosine at the ends of u and v agree with those of scipy in degrees."""
    code = """
    __global__ void draw(float* out, unsigned int low, unsigned int high) {
        const float u = (float(low) + 0.5f) * 0x1p-32f, v = float(high) * 0x1p-32f;
        sincospif(2 * v, &out[0], &out[1]);
        out[2] = sqrt(-2 * log(u));
    }
    """
    draw = cupy.RawModule(code=code, name_expressions=("draw",)).get_function("draw")
    for low, high in [(0, 0), (2**32 - 1, 2**32 - 1), (1, 2**30), (2**31, 2**31)]:
        out = cupy.empty(3, np.float32)
        draw((1,), (1,), (out, np.uint32(low), np.uint32(high)))
        degrees = float(np.float32(high)) / 2.0**32 * 360
        radius = np.sqrt(-2 * np.log(float(np.float32(low) + np.float32(0.5)) / 2.0**32))
        expected = [special.sindg(degrees), special.cosdg(degrees), radius]
        np.testing.assert_allclose(out.get(), expected, rtol=2e-7, atol=1e-7)

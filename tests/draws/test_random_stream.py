"""The random stream agrees with an independent Philox and with the normal distribution."""

import numpy as np
import pytest
from scipy import stats

from mcmargin.draws.random_stream import DATES, MIXING, NORMAL_DOUBLE, WordSource, stream_key
from mcmargin.errors import PolicyError

MASK = 2**64 - 1


def philox(counter, key):
    """Compute Philox4x64-10 by the published algorithm (Salmon et al. 2011), in integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(b >> 64) ^ c[1] ^ k[0], b & MASK, (a >> 64) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return c


@pytest.mark.parametrize(
    ("purpose", "width", "slot"),
    [(0, 256, 3), (NORMAL_DOUBLE, 512, 2), (MIXING, 512, 0), (DATES, 512, 0)],
)
def test_words_are_philox_at_the_address_of_the_table(purpose, width, slot):
    key = stream_key(12345)
    words = WordSource(key).words(tile=9, step=4, purpose=purpose, first_slot=slot)
    assert len(words) == 4 * width
    for j in (1, 2, width):
        expected = philox([9 * 2**32 + slot * width + j, 4, purpose, 0], [int(k) for k in key])
        assert [int(w) for w in words[4 * (j - 1) : 4 * j]] == expected


def test_single_normals_are_box_muller_of_the_halves():
    source = WordSource(stream_key(1))
    words = source.words(tile=2, step=3, purpose=0, first_slot=1)
    out = np.empty((1, 2048), np.float32)
    source.normals_single(tiles=range(2, 3), step=3, first_slot=1, out=out[None])
    u = (np.float64(words & np.uint64(0xFFFFFFFF)) + 0.5) / 2**32
    v = np.float64(words >> np.uint64(32)) / 2**32
    radius = np.sqrt(-2 * np.log(u))
    # This is the bound of docs/design.md for float32 normals.
    np.testing.assert_allclose(out[0, :1024], radius * np.cos(2 * np.pi * v), atol=5e-6)
    np.testing.assert_allclose(out[0, 1024:], radius * np.sin(2 * np.pi * v), atol=5e-6)


@pytest.mark.parametrize("precision", ["single", "double"])
def test_normals_pass_ten_million_draw_tests(precision):
    """Tests of Kolmogorov-Smirnov, chi-square and moments pass on 10**7 draws, at 0.1 %."""
    source, dtype = WordSource(stream_key(7)), {"single": np.float32, "double": np.float64}
    draws = np.empty((4883, 2048), dtype[precision])
    fill = {"single": source.normals_single, "double": source.normals_double}[precision]
    for tile in range(4883):
        fill(tiles=range(tile, tile + 1), step=0, first_slot=0, out=draws[None, tile : tile + 1])
    x = draws.ravel().astype(np.float64)
    n = len(x)
    edges = stats.norm.ppf(np.linspace(0, 1, 1001))
    counts = np.histogram(x, edges)[0]
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.kstest(x, "norm").pvalue > 1e-3
    # The first four moments of a normal sample have variances of 1, 2, 15 and 96 over n.
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - mean) < 4 * np.sqrt(variance / n)


def test_dates_are_drawn_alike():
    """The counts of 1,249 dates in two million draws pass a chi-square test at 0.1 %."""
    source = WordSource(stream_key(11))
    drawn = np.concatenate([source.dates(tile=t, step=1, count=1249) for t in range(977)])
    assert stats.chisquare(np.bincount(drawn, minlength=1249)).pvalue > 1e-3


def test_dates_are_exact_integer_arithmetic():
    source = WordSource(stream_key(3))
    words = source.words(tile=0, step=0, purpose=DATES)
    for count in (1, 7, 4999, 2**31):
        got = source.dates(tile=0, step=0, count=count)
        assert got.tolist() == [int(w) * count >> 64 for w in words]


@pytest.mark.parametrize("seed", [-1, 1.5, True, "7"])
def test_a_seed_must_be_a_whole_number(seed):
    with pytest.raises(PolicyError, match="seed"):
        stream_key(seed)

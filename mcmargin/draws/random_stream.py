"""The random stream: which word of the random generator belongs to which draw, in all engines.

In: an integer seed and the address of a draw (tile, slot, step, purpose). Out: 64-bit words of
Philox4x64-10, and the standard normals made of them. The stream is defined by this arithmetic
and not by an implementation. So the same seed gives the same scenarios on any machine, in any
blocks and on any number of threads.

A draw is addressed by the generator's four counter words
``[tile * 2**32 + slot * width + j, step, purpose, lane]``, with ``j`` counting from 1 and
``width`` the counters one slot takes. Tiles, slots and steps count from 0; a tile is
``TILE_PATHS`` paths; a slot is an asset's position in the model.

=======  =============  ========================================  ==================
purpose  constant       what the words are                        counters a slot
=======  =============  ========================================  ==================
0        NORMAL_SINGLE  float32 normals, two halves of a word     256
1        NORMAL_DOUBLE  float64 normals, two words a pair         512
2        MIXING         one word a path: chi-square of the t      512 (no slots)
3        DATES          one word a path: historical date          512 (no slots)
4        NAMED          float64 normals of a named thing          512 (lane)
5        JUMPS          one word a path: whether a jump happens   512 (lane)
6        FACTOR_SINGLE  float32 normals of common factors         256
7        FACTOR_DOUBLE  float64 normals of common factors         512
=======  =============  ========================================  ==================

The slot of a common factor is its number. Some draws belong to a named thing: the basis of an
instrument, or a rate that is not in the model. Their lane comes from the name (`lane_of`); the lane
of all other draws is 0.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import whole_number

TILE_PATHS = 2048
HALF_TILE = TILE_PATHS // 2

NORMAL_SINGLE = 0
NORMAL_DOUBLE = 1
MIXING = 2
DATES = 3
NAMED = 4
JUMPS = 5
FACTOR_SINGLE = 6
FACTOR_DOUBLE = 7

_WORDS_A_COUNTER = 4
_SLOT_COUNTERS = {
    NORMAL_SINGLE: 256,
    NORMAL_DOUBLE: 512,
    MIXING: 512,
    DATES: 512,
    NAMED: 512,
    JUMPS: 512,
    FACTOR_SINGLE: 256,
    FACTOR_DOUBLE: 512,
}
_ALL_ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def stream_key(seed: int) -> NDArray[np.uint64]:
    """Return the key of the generator for a seed.

    Parameters
    ----------
    seed : int
        0 or more.

    Returns
    -------
    ndarray of shape (2,), uint64

    Raises
    ------
    PolicyError
        If the seed is not an integer of 0 or more.

    Examples
    --------
    >>> stream_key(7).dtype, stream_key(7).shape
    (dtype('uint64'), (2,))
    """
    plain = whole_number("seed", seed, least=0)
    state = np.random.SeedSequence(plain).generate_state(2, np.uint64)
    return state.astype(np.uint64, copy=False)


def normal_purposes(dtype: Any) -> tuple[int, int]:
    """Return the purposes of the assets' own normals and of common factors' normals.

    Parameters
    ----------
    dtype : type
        float32 or float64, the precision of the normals.

    Examples
    --------
    >>> normal_purposes(np.float32) == (NORMAL_SINGLE, FACTOR_SINGLE)
    True
    """
    if dtype is np.float64:
        return NORMAL_DOUBLE, FACTOR_DOUBLE
    return NORMAL_SINGLE, FACTOR_SINGLE


def lane_of(name: str) -> int:
    """Return the lane of a named thing's draws: their fourth counter word.

    It consists of the first 8 bytes, big-endian, of the SHA-256 digest of the name.

    Examples
    --------
    >>> lane_of("BTC-PERP") == int(hashlib.sha256(b"BTC-PERP").hexdigest()[:16], 16)
    True
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


class WordSource:
    """Reads the words of one seed's stream at any address.

    Each thread needs one of its own. It keeps a generator and sets its counter for every read,
    because making a generator takes longer than drawing a thousand words.

    Parameters
    ----------
    key : ndarray of shape (2,), uint64
        From `stream_key`.

    Examples
    --------
    >>> source = WordSource(stream_key(7))
    >>> words = source.words(tile=3, step=1, purpose=NORMAL_SINGLE, first_slot=2, slots=1)
    >>> counter = [3 * 2**32 + 2 * 256, 1, 0, 0]
    >>> peer = np.random.Philox(key=stream_key(7), counter=counter).random_raw(1024)
    >>> bool((words == peer).all())
    True
    """

    def __init__(self, key: NDArray[np.uint64]) -> None:
        self._bits = np.random.Philox(key=key)
        self._generator = np.random.Generator(self._bits)
        self._state: Any = dict(self._bits.state)
        self._counter = np.zeros(4, np.uint64)
        self._state["state"] = {"counter": self._counter, "key": np.array(key, np.uint64)}
        self._scratch = np.empty(0, np.uint8)

    def _seek(self, tile: int, step: int, purpose: int, first_slot: int, lane: int = 0) -> None:
        self._counter[0] = (tile << 32) + first_slot * _SLOT_COUNTERS[purpose]
        self._counter[1] = step
        self._counter[2] = purpose
        self._counter[3] = lane
        self._state["buffer_pos"] = 4
        self._bits.state = self._state

    def _pair(self, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return two arrays of a shape, in memory that the next call uses again."""
        count = math.prod(shape)
        size = 2 * count * np.dtype(dtype).itemsize
        if len(self._scratch) < size:
            self._scratch = np.empty(size, np.uint8)
        both = self._scratch[:size].view(dtype)
        return both[:count].reshape(shape), both[count:].reshape(shape)

    def words(
        self,
        *,
        tile: int,
        step: int,
        purpose: int,
        first_slot: int = 0,
        slots: int = 1,
        lane: int = 0,
    ) -> NDArray[np.uint64]:
        """Return the words of consecutive slots of one tile and step.

        Parameters
        ----------
        tile, step, purpose, first_slot, slots, lane : int
            The address; see the table of this module.

        Returns
        -------
        ndarray of shape (slots * 4 * counters a slot,), uint64
        """
        self._seek(tile, step, purpose, first_slot, lane)
        count = slots * _SLOT_COUNTERS[purpose] * _WORDS_A_COUNTER
        # Integers of the full range are the raw words. Unlike random_raw, this frees the GIL.
        return self._generator.integers(0, _ALL_ONES, size=count, dtype=np.uint64, endpoint=True)

    def normals_single(
        self,
        *,
        tiles: range,
        step: int,
        first_slot: int,
        out: NDArray[np.float32],
        purpose: int = NORMAL_SINGLE,
    ) -> None:
        """Write float32 standard normals of consecutive slots of consecutive tiles.

        The halves of a word give u = (float32(low) + 0.5) / 2**32 and v = float32(high) / 2**32.
        The Box-Muller radius sqrt(-2 ln u) and the angle 2 pi v give two normals: the one with the
        cosine belongs to path w of the tile, the one with the sine to path w + 1,024. Every
        operation is rounded to float32. With 32 bits, a normal is at most 6.7.

        Parameters
        ----------
        tiles : range
        step, first_slot : int
            The address.
        out : ndarray of shape (tiles, slots, TILE_PATHS), float32
        purpose : int
            NORMAL_SINGLE or FACTOR_SINGLE.
        """
        slots = out.shape[1]
        u, v = self._pair((len(tiles), slots, HALF_TILE), np.float32)
        for at, tile in enumerate(tiles):
            words = self.words(
                tile=tile, step=step, purpose=purpose, first_slot=first_slot, slots=slots
            )
            halves = words.astype("<u8", copy=False).view("<u4").reshape(slots, HALF_TILE, 2)
            np.copyto(u[at], halves[:, :, 0], casting="unsafe")
            np.copyto(v[at], halves[:, :, 1], casting="unsafe")
        u += np.float32(0.5)
        u *= np.float32(2.0**-32)
        v *= np.float32(2.0**-32)
        _box_muller(u, v, out)

    def normals_double(
        self,
        *,
        tiles: range,
        step: int,
        first_slot: int,
        out: NDArray[np.float64],
        purpose: int = NORMAL_DOUBLE,
        lane: int = 0,
    ) -> None:
        """Write float64 standard normals of consecutive slots of consecutive tiles.

        Word w gives u = ((word >> 11) + 1/2) / 2**53, and word w + 1,024 gives
        v = (word >> 11) / 2**53. The normal with the cosine belongs to path w of the tile, the one
        with the sine to path w + 1,024.

        Parameters
        ----------
        tiles : range
        step, first_slot : int
            The address.
        out : ndarray of shape (tiles, slots, TILE_PATHS), float64
        purpose : int
            NORMAL_DOUBLE, FACTOR_DOUBLE or, with a lane, NAMED.
        lane : int
        """
        slots = out.shape[1]
        u, v = self._pair((len(tiles), slots, HALF_TILE), np.float64)
        unit = np.empty((slots, 2, HALF_TILE))
        for at, tile in enumerate(tiles):
            self._seek(tile, step, purpose, first_slot, lane)
            # The uniforms of numpy are (word >> 11) / 2**53.
            self._generator.random(out=unit)
            u[at], v[at] = unit[:, 0], unit[:, 1]
        u += 2.0**-54
        _box_muller(u, v, out)

    def uniforms(self, *, tiles: range, steps: range, purpose: int) -> NDArray[np.float64]:
        """Return uniforms in (0, 1), one for each path and step: ((word >> 11) + 1/2) / 2**53.

        Returns
        -------
        ndarray of shape (tiles, steps, TILE_PATHS), float64
        """
        out = np.empty((len(tiles), len(steps), TILE_PATHS))
        for row, tile in zip(out, tiles, strict=True):
            for cells, step in zip(row, steps, strict=True):
                self._seek(tile, step, purpose, 0)
                self._generator.random(out=cells)
        out += 2.0**-54
        return out

    def dates(self, *, tile: int, step: int, count: int) -> NDArray[np.int64]:
        """Draw a historical date for each path of a tile: floor(word * count / 2**64), exactly.

        Parameters
        ----------
        count : int
            Number of dates, at most 2**31.

        Returns
        -------
        ndarray of shape (TILE_PATHS,), int64, in [0, count)
        """
        words = self.words(tile=tile, step=step, purpose=DATES)
        n = np.uint64(count)
        low = (words & np.uint64(0xFFFF_FFFF)) * n
        high = (words >> np.uint64(32)) * n
        return ((high + (low >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)

    def jumps(self, *, tile: int, step: int, lane: int, probability: float) -> NDArray[np.bool_]:
        """Draw whether a jump happens on each path of a tile: word < floor(probability * 2**64).

        Returns
        -------
        ndarray of shape (TILE_PATHS,), bool
        """
        words = self.words(tile=tile, step=step, purpose=JUMPS, lane=lane)
        return words < np.uint64(jump_bound(probability))


def _box_muller(u: NDArray[Any], v: NDArray[Any], out: NDArray[Any]) -> None:
    """Write normals, in the precision of the arrays: the cosines first, then the sines.

    u and v are overwritten.
    """
    number = u.dtype.type
    cosine, sine = out[..., :HALF_TILE], out[..., HALF_TILE:]
    np.log(u, out=u)
    u *= number(-2.0)
    np.sqrt(u, out=u)
    v *= number(2.0 * np.pi)
    np.cos(v, out=cosine)
    np.sin(v, out=sine)
    cosine *= u
    sine *= u


def jump_bound(probability: float) -> int:
    """Return floor(probability * 2**64), at most the largest number of 64 bits.

    Examples
    --------
    >>> jump_bound(0.5) == 2**63
    True
    """
    return min(int(probability * 2.0**64), 2**64 - 1)

"""Valuation: each instrument once on every path, in the market's own currency.

In: a book's instruments, scenarios, a market, and the close-out horizon of each product class.
Out: what one unit is worth today and how much it changes, by blocks of paths that fit a memory
budget, draws and rates included; one block, kept, where all of them do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mcmargin.draws.random_stream import TILE_PATHS
from mcmargin.engines import cupy_devices
from mcmargin.errors import EngineError
from mcmargin.instruments.instruments import Balance, Future, Instrument, Option
from mcmargin.markets.market import Market
from mcmargin.numerics.arrays import array_module, device_of
from mcmargin.scenarios.scenarios import Scenarios
from mcmargin.valuing.scenario_market import PathBlock
from mcmargin.valuing.unit_values import UnitValues, units_of, value_change

SHARE_OF_MEMORY = 4
"""One over the share of the memory that valuations may take by default."""

SMALLEST_LIMIT = 2**20
"""Bytes below which a memory limit is not halved."""

T = TypeVar("T")

WORK_ROWS = 16
"""Rows of paths that the valuation of one instrument takes for a while, draws not counted."""


@dataclass(frozen=True, eq=False)
class Valuation:
    """How to value some instruments on every path.

    Attributes
    ----------
    instruments : tuple of Instrument
        Balances that move with the positions are the last.
    scenarios : Scenarios
    market : Market
    horizons : mapping of str to int
        Close-out horizon of each product class, in bars.
    memory_limit : int
        Bytes that value changes, and what is drawn for them, may take; where one tile of paths
        takes more, one tile.
    threads : int
        For what is taken of the changes.
    """

    instruments: tuple[Instrument, ...]
    scenarios: Scenarios
    market: Market
    horizons: Mapping[str, int]
    memory_limit: int
    threads: int

    @cached_property
    def units(self) -> UnitValues:
        """Values today; see `UnitValues`."""
        return units_of(self.instruments, self.market)

    @cached_property
    def item_horizons(self) -> NDArray[np.int64]:
        """Close-out horizon of each instrument; int64 [instruments]."""
        horizons = [self.horizons[item.product] for item in self.instruments]
        return np.array(horizons, np.int64)

    @cached_property
    def fits(self) -> bool:
        """Whether the changes on all paths fit the memory limit, and so are kept."""
        return self._spare >= 0

    def blocks(self) -> Iterator[tuple[PathBlock, Any]]:
        """Blocks of paths, and value changes on them; float64 [instruments, paths of the block].

        In the order of paths, on the scenarios' device; a gain is positive.
        """
        if self.fits:
            yield self._whole
            return
        for block in self._path_blocks(self.instruments):
            yield block, self.changes(block, self.instruments)

    def blocks_of(self, columns: NDArray[np.int64]) -> Iterator[tuple[PathBlock, Any]]:
        """The same of some instruments, none but which are valued; float64 [columns, paths]."""
        if self.fits:
            block, changes = self._whole
            yield block, changes[block.xp.asarray(columns)]
            return
        chosen = [self.instruments[column] for column in columns]
        for block in self._path_blocks(chosen):
            yield block, self.changes(block, chosen)

    def _rows_beside(self, instruments: Sequence[Instrument]) -> int:
        """Rows of paths that are held beside the changes of some instruments, at most.

        Of each currency a walk and a rate, and of each underlying of options a walk, at every bar
        at which something is valued; of each future that options are on, its walk; where variances
        lie in their tables, and a volatility ratio an expiry; all steps of one thing's draws, and
        what one instrument's valuation takes.
        """
        options = [item for item in instruments if isinstance(item, Option)]
        futures = {item.future.name for item in options if item.future is not None}
        underlyings = {item.underlying for item in options}
        expiries = {(item.underlying, item.expiry) for item in options}
        rates = {*self.market.fx, *self.market.coins, *self.market.fx_volatility}
        at_bars = 2 * len(rates) + len(underlyings) + len(futures)
        once = 2 * len(underlyings) + len(expiries)
        steps = self.scenarios.plan.horizons[-1]
        return at_bars * len(self._bars) + once + steps + WORK_ROWS

    @cached_property
    def _bars(self) -> frozenset[int]:
        """Bars at which instruments are valued, or settle before their horizon."""
        closes = self.scenarios.closes(self.market.as_of)
        found = {self.horizons[item.product] for item in self.instruments}
        for item in self.instruments:
            for dated in (item, getattr(item, "future", None)):
                if isinstance(dated, (Option, Future)):
                    bar = closes.bar_of(dated.expiry)
                    found |= {bar} if bar <= self.horizons[item.product] else set()
        return frozenset(found)

    @cached_property
    def _spare(self) -> int:
        """Bytes of the limit that all paths would leave; below 0 where they take more."""
        return self.memory_limit - self.bytes_of_all

    def _bytes(self, instruments: Sequence[Instrument]) -> int:
        if not instruments:
            return 0
        rows = len(instruments) + self._rows_beside(instruments)
        return 8 * rows * self.scenarios.plan.paths

    @property
    def bytes_of_all(self) -> int:
        """Bytes that values on all paths take, with what is drawn for them."""
        return self._bytes(self.instruments) + self._bytes(self._balances)

    @property
    def block_count(self) -> int:
        """In how many blocks of paths values are made."""
        if self.fits:
            return 1
        return -(-len(self.scenarios.plan.tiles) // self._tiles_that_fit(self.instruments))

    def _tiles_that_fit(self, instruments: Sequence[Instrument]) -> int:
        # A caller may still hold one block while the next is made.
        tile = 2 * 8 * TILE_PATHS * (len(instruments) + self._rows_beside(instruments))
        limit = self.memory_limit - (self.collateral.memory_limit if self._balances else 0)
        return max(1, limit // tile)

    def _path_blocks(self, instruments: Sequence[Instrument]) -> Iterator[PathBlock]:
        """Blocks of paths whose values of some instruments fit, without them."""
        tiles, step = self.scenarios.plan.tiles, self._tiles_that_fit(instruments)
        for first in tiles[::step]:
            yield self._block(range(first, min(first + step, tiles.stop)), most=0)

    def _block(self, tiles: range, most: int) -> PathBlock:
        return PathBlock(self.scenarios, self.market, tiles, horizons=self._bars, most=most)

    @cached_property
    def _whole(self) -> tuple[PathBlock, Any]:
        block = self._block(self.scenarios.plan.tiles, self._spare)
        return block, self.changes(block, self.instruments)

    @cached_property
    def collateral(self) -> Valuation:
        """Of the balances alone, in a part of the memory; itself where there is nothing else."""
        if all(isinstance(item, Balance) for item in self.instruments):
            return self
        own = self._bytes(self._balances) + self._spare if self.fits else self.memory_limit // 2
        return replace(self, instruments=self._balances, memory_limit=own)

    @cached_property
    def _balances(self) -> tuple[Instrument, ...]:
        """Balances, where there are other instruments too."""
        found = tuple(item for item in self.instruments if isinstance(item, Balance))
        return found if len(found) < len(self.instruments) else ()

    def changes(self, block: PathBlock, instruments: Sequence[Instrument]) -> Any:
        """Value changes of one unit of each instrument on a block; float64 [instruments, paths]."""
        at = {horizon: block.at(horizon) for horizon in set(self.horizons.values())}
        out = block.xp.empty((len(instruments), block.paths.stop - block.paths.start))
        # No threads: array operations on one instrument's paths are too short to share out.
        for row, item in enumerate(instruments):
            out[row] = value_change(item, at[self.horizons[item.product]])
            # A walk of its own serves no other, but for options on a future.
            block.forget(item.name)
        block.forget()
        return out


def within_memory(
    work: Callable[[int], T], scenarios: Scenarios, memory_limit: int | None, what: str
) -> T:
    """Result of work within a memory limit, on the scenarios' device; less where memory ends.

    Parameters
    ----------
    work : callable
        Called with a memory limit, again with half of it after each MemoryError.
    scenarios : Scenarios
    memory_limit : int, optional
        A quarter of the machine's memory by default, or of what is free on the device.
    what : str
        What does not fit, for an error.

    Raises
    ------
    EngineError
        If the memory does not hold what is done with `SMALLEST_LIMIT` either.
    """
    device = array_module(scenarios.returns) is not np
    with device_of(scenarios.returns):
        limit = memory_limit
        if limit is None and device:
            limit = max(1, cupy_devices.free_bytes() // SHARE_OF_MEMORY)
        limit = default_memory_limit() if limit is None else limit
        while True:
            try:
                return work(limit)
            except MemoryError as error:
                # A device's, too: cupy's is one of these.
                if limit <= SMALLEST_LIMIT:
                    raise EngineError(
                        f"{what} on {scenarios.plan.paths} paths do not fit the memory ({error}); "
                        "free some of it, or simulate fewer paths"
                    ) from None
            # Once the failed attempt's arrays are gone.
            limit //= 2
            if device:
                cupy_devices.release_memory()


def default_memory_limit() -> int:
    """A quarter of the machine's memory, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // SHARE_OF_MEMORY

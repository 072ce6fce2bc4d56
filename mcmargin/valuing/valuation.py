"""Valuation: the value of each instrument on every path, in the market's currency.

In: a book's instruments, scenarios, a market, and the close-out horizon of each product class.
Out: what one unit of each instrument is worth today, and how much that changes on every path. If
the changes on all paths fit a memory limit, with all that is drawn for them, they are made once
and kept. Otherwise they are made for one block of paths at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.draws.random_stream import TILE_PATHS
from mcmargin.instruments.instruments import Balance, Future, Instrument, Option
from mcmargin.markets.market import Market
from mcmargin.scenarios.scenarios import Scenarios
from mcmargin.valuing.instrument_values import InstrumentValues, instrument_values_of, value_change
from mcmargin.valuing.scenario_market import PathBlock

WORK_ROWS = 16
"""Rows of paths that the valuation of one instrument takes while it runs, without its draws."""


@dataclass(frozen=True, eq=False)
class Valuation:
    """How to value some instruments on every path.

    Attributes
    ----------
    instruments : tuple of Instrument
        Balances that move with the positions come last.
    scenarios : Scenarios
    market : Market
    horizons : mapping of str to int
        Close-out horizon of each product class, in bars.
    memory_limit : int
        Bytes that the value changes may take with what is drawn for them. A block has one tile of
        paths at least, even if this tile takes more.
    threads : int
        Threads for what is computed from the changes.
    """

    instruments: tuple[Instrument, ...]
    scenarios: Scenarios
    market: Market
    horizons: Mapping[str, int]
    memory_limit: int
    threads: int

    @cached_property
    def instrument_values(self) -> InstrumentValues:
        """What one unit of each instrument is today."""
        return instrument_values_of(self.instruments, self.market)

    @cached_property
    def item_horizons(self) -> NDArray[np.int64]:
        """Close-out horizon of each instrument; int64 [instruments]."""
        horizons = [self.horizons[item.product] for item in self.instruments]
        return np.array(horizons, np.int64)

    @cached_property
    def fits(self) -> bool:
        """Whether the changes on all paths fit the memory limit; they are then kept."""
        return self._spare >= 0

    def blocks(self) -> Iterator[tuple[PathBlock, Any]]:
        """Blocks of paths in their order, and the value changes on each.

        Yields
        ------
        block : PathBlock
        changes : ndarray of shape (instruments, paths of the block), float64
            On the device of the scenarios; a gain is positive.
        """
        if self.fits:
            yield self._whole
            return
        for block in self._path_blocks(self.instruments):
            yield block, self.changes(block, self.instruments)

    def blocks_of(self, columns: NDArray[np.int64]) -> Iterator[tuple[PathBlock, Any]]:
        """Blocks of paths, and the value changes of some instruments only; see `blocks`.

        Parameters
        ----------
        columns : ndarray of shape (columns,), int64
            Positions of the instruments among all.
        """
        if self.fits:
            block, changes = self._whole
            yield block, changes[block.xp.asarray(columns)]
            return
        chosen = [self.instruments[column] for column in columns]
        for block in self._path_blocks(chosen):
            yield block, self.changes(block, chosen)

    def _rows_beside(self, instruments: Sequence[Instrument]) -> int:
        """Rows of paths that are held beside the changes of some instruments, at most.

        At every bar at which something is valued: a walk and a rate for each currency, a walk for
        each underlying of options, and a walk for each future that options are on. Once: two rows
        for each underlying of options, and a volatility ratio for each expiry. In addition the
        draws of one named thing at all bars, and what the valuation of one instrument takes.
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
        """Bars at which an instrument is valued, or settles before its horizon."""
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
        """Bytes of the limit that the changes on all paths leave; negative if they take more."""
        return self.memory_limit - self.bytes_of_all

    def _bytes(self, instruments: Sequence[Instrument]) -> int:
        if not instruments:
            return 0
        rows = len(instruments) + self._rows_beside(instruments)
        return 8 * rows * self.scenarios.plan.paths

    @property
    def bytes_of_all(self) -> int:
        """Bytes that the changes on all paths take, with what is drawn for them."""
        return self._bytes(self.instruments) + self._bytes(self._balances)

    @property
    def block_count(self) -> int:
        """Number of blocks of paths."""
        if self.fits:
            return 1
        return -(-len(self.scenarios.plan.tiles) // self._tiles_that_fit(self.instruments))

    def _tiles_that_fit(self, instruments: Sequence[Instrument]) -> int:
        # A caller may still hold one block while the next is made.
        tile = 2 * 8 * TILE_PATHS * (len(instruments) + self._rows_beside(instruments))
        limit = self.memory_limit - (self.collateral.memory_limit if self._balances else 0)
        return max(1, limit // tile)

    def _path_blocks(self, instruments: Sequence[Instrument]) -> Iterator[PathBlock]:
        """Blocks of paths on which the changes of some instruments fit the limit."""
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
        """Valuation of the balances alone, in a part of the memory.

        It is this valuation itself if there are only balances.
        """
        if all(isinstance(item, Balance) for item in self.instruments):
            return self
        own = self._bytes(self._balances) + self._spare if self.fits else self.memory_limit // 2
        return replace(self, instruments=self._balances, memory_limit=own)

    @cached_property
    def _balances(self) -> tuple[Instrument, ...]:
        """The balances, if there are other instruments too; otherwise none."""
        found = tuple(item for item in self.instruments if isinstance(item, Balance))
        return found if len(found) < len(self.instruments) else ()

    def changes(self, block: PathBlock, instruments: Sequence[Instrument]) -> Any:
        """Value changes of one unit of each instrument on a block; float64 [instruments, paths]."""
        at = {horizon: block.at(horizon) for horizon in set(self.horizons.values())}
        out = block.xp.empty((len(instruments), block.paths.stop - block.paths.start))
        # Threads would not help: array operations on one instrument's paths are too short.
        for row, item in enumerate(instruments):
            out[row] = value_change(item, at[self.horizons[item.product]])
            # Nothing but an option on a future needs the walk of another instrument.
            block.forget(item.name)
        block.forget()
        return out

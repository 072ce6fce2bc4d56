"""Valuation: each instrument once on every path, in the market's own currency.

In: a book's instruments, scenarios, a market, and the close-out horizon of each product class.
Out: what one unit is worth today and how much it changes, by blocks of paths that fit a memory
budget; one block, kept, where all of them do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.markets.market import Market
from mcmargin.scenarios.random_stream import TILE_PATHS
from mcmargin.scenarios.simulation import Scenarios
from mcmargin.valuing.instruments import Balance, Instrument
from mcmargin.valuing.scenario_market import PathBlock, ScenarioMarket
from mcmargin.valuing.shocked_market import ShockedMarket

SHARE_OF_MACHINE = 4
"""One over the share of the machine's memory that valuations may take by default."""


@dataclass(frozen=True, eq=False)
class UnitValues:
    """What one unit of each instrument is today; float64 [instruments], the market's currency.

    Attributes
    ----------
    value, notional, exposure : ndarray of shape (instruments,)
    """

    value: NDArray[np.float64]
    notional: NDArray[np.float64]
    exposure: NDArray[np.float64]


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
        Bytes that value changes may take.
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
        rates = [self.market.worth(item.currency) for item in self.instruments]
        rows = [
            (item.value(self.market), item.notional(self.market), item.exposure(self.market))
            for item in self.instruments
        ]
        columns = np.array(rows, np.float64).reshape(-1, 3).T * np.array(rates)
        return UnitValues(*np.ascontiguousarray(columns))

    @cached_property
    def item_horizons(self) -> NDArray[np.int64]:
        """Close-out horizon of each instrument; int64 [instruments]."""
        horizons = [self.horizons[item.product] for item in self.instruments]
        return np.array(horizons, np.int64)

    @property
    def fits(self) -> bool:
        """Whether the changes on all paths fit the memory limit, and so are kept."""
        return 8 * len(self.instruments) * self.scenarios.plan.paths <= self.memory_limit

    def blocks(self) -> Iterator[tuple[PathBlock, Any]]:
        """Blocks of paths, and value changes on them; float64 [instruments, paths of the block].

        In the order of paths, on the scenarios' device; a gain is positive.
        """
        if self.fits:
            yield self._whole
            return
        row = 8 * TILE_PATHS * len(self.instruments)
        tiles, step = self.scenarios.plan.tiles, max(1, self.memory_limit // row)
        for first in tiles[::step]:
            block = PathBlock(
                self.scenarios, self.market, range(first, min(first + step, tiles.stop))
            )
            yield block, self.changes(block, self.instruments)

    @cached_property
    def _whole(self) -> tuple[PathBlock, Any]:
        block = PathBlock(self.scenarios, self.market, self.scenarios.plan.tiles)
        return block, self.changes(block, self.instruments)

    @cached_property
    def collateral(self) -> Valuation:
        """Of the balances alone."""
        balances = tuple(item for item in self.instruments if isinstance(item, Balance))
        return replace(self, instruments=balances)

    def changes(self, block: PathBlock, instruments: Sequence[Instrument]) -> Any:
        """Value changes of one unit of each instrument on a block; float64 [instruments, paths]."""
        at = {horizon: block.at(horizon) for horizon in set(self.horizons.values())}
        out = block.xp.empty((len(instruments), block.paths.stop - block.paths.start))
        # No threads: array operations on one instrument's paths are too short to share out.
        for row, item in enumerate(instruments):
            out[row] = value_change(item, at[self.horizons[item.product]])
        return out


def value_change(item: Instrument, paths: ScenarioMarket | ShockedMarket) -> Any:
    """Value change of one unit in every scenario, in the market's currency; float64 [scenarios]."""
    gain, market = item.gain(paths), paths.market
    if item.currency == market.currency:
        return gain
    # What is owned moves with its currency too: (v + gain) c' - v c.
    start = item.value(market)
    return (start + gain) * paths.currency(item.currency) - start * market.worth(item.currency)


def default_memory_limit() -> int:
    """A quarter of the machine's memory, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // SHARE_OF_MACHINE

"""Paths on which a simulation was held within its limits.

In: what an engine marked. Out: how many paths had a price that was floored, or a variance that was
capped, in all and by asset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Limited:
    """Paths that were limited; those of different blocks add up.

    Attributes
    ----------
    floored, capped : int
        Paths on which the price of some asset was floored, or its variance capped.
    by_asset : ndarray of shape (2, assets), int64
        The same for each asset: of its price, and of its variance.
    """

    floored: int
    capped: int
    by_asset: NDArray[np.int64]

    @classmethod
    def none(cls, assets: int) -> Limited:
        """No path of so many assets."""
        return cls(0, 0, np.zeros((2, assets), np.int64))

    def __add__(self, other: Limited) -> Limited:
        """Paths of both."""
        return Limited(
            self.floored + other.floored,
            self.capped + other.capped,
            self.by_asset + other.by_asset,
        )

    def by_name(self, assets: Sequence[str]) -> dict[str, dict[str, int]]:
        """Paths of every asset that has some, under `floored` and `capped`, the most first.

        Examples
        --------
        >>> Limited(5, 0, np.array([[2, 0, 4], [0, 0, 0]])).by_name(["btc", "eth", "sol"])
        {'floored': {'sol': 4, 'btc': 2}, 'capped': {}}
        """
        found = {}
        for name, counts in zip(("floored", "capped"), self.by_asset, strict=True):
            order = np.argsort(-counts, kind="stable")
            found[name] = {assets[at]: int(counts[at]) for at in order if counts[at]}
        return found

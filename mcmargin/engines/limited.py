"""Paths on which a simulation was held within its limits.

In: the marks of an engine. Out: on how many paths a price was floored or a variance was capped, in
all and for each asset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Limited:
    """Numbers of paths that were limited; those of different paths can be added.

    Attributes
    ----------
    floored, capped : int
        Paths on which the price of at least one asset was floored, or its variance capped.
    by_asset : ndarray of shape (2, assets), int64
        Paths on which each asset's price was floored, and on which its variance was capped.
    """

    floored: int
    capped: int
    by_asset: NDArray[np.int64]

    @classmethod
    def none(cls, assets: int) -> Limited:
        """Return the numbers of no paths, for a number of assets."""
        return cls(0, 0, np.zeros((2, assets), np.int64))

    def __add__(self, other: Limited) -> Limited:
        """Return the numbers of both together."""
        return Limited(
            self.floored + other.floored,
            self.capped + other.capped,
            self.by_asset + other.by_asset,
        )

    def by_name(self, assets: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return the numbers of the assets that were limited, under `floored` and `capped`.

        The asset with the most paths comes first.

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

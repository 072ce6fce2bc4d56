"""The simulation plan: what, with the model, decides the scenarios to the last bit.

In: a seed, a number of paths, horizons, a precision and two limits. Out: one checked value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcmargin.checks import cited, real_number, whole_number
from mcmargin.data.ranges import SIMULATED_BARS
from mcmargin.draws.random_stream import TILE_PATHS
from mcmargin.errors import PolicyError


@dataclass(frozen=True)
class SimulationPlan:
    """What to simulate: together with the model, it decides the scenarios.

    Attributes
    ----------
    seed, paths : int
    horizons : tuple of int
        Numbers of bars, increasing.
    precision : str
        `single` (float32) or `double` (float64).
    variance_cap : float
        Largest simulated variance, as a multiple of an asset's sample variance; infinite for no
        limit.
    price_floor : float
        Lowest simulated price, as a share of today's price.

    Raises
    ------
    PolicyError
        If a value is out of its range.

    Examples
    --------
    >>> SimulationPlan(seed=7, paths=1000, horizons=(1, 2), precision="single").horizons
    (1, 2)
    """

    seed: int
    paths: int
    horizons: tuple[int, ...]
    precision: str
    variance_cap: float = 100.0
    price_floor: float = 1e-4

    def __post_init__(self) -> None:
        try:
            horizons = tuple(self.horizons)
        except TypeError:
            raise PolicyError(
                "horizons must be several whole numbers of bars, such as (1, 2), not "
                f"{cited(self.horizons)}; give one as horizon="
            ) from None
        if not horizons:
            raise PolicyError("give a horizon of 1 bar or more")
        plain = {
            "seed": whole_number("seed", self.seed, least=0),
            "paths": whole_number("paths", self.paths),
            "horizons": tuple(
                whole_number("horizon", horizon, most=SIMULATED_BARS) for horizon in horizons
            ),
            "variance_cap": real_number("variance_cap", self.variance_cap),
            "price_floor": real_number("price_floor", self.price_floor),
        }
        # A report writes its plan as JSON, which cannot hold numpy integers.
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        if list(self.horizons) != sorted(set(self.horizons)):
            raise PolicyError(f"horizons must increase, not {self.horizons}")
        # A counter word holds the number of a tile in 32 bits.
        if self.paths > 2**32 * TILE_PATHS:
            raise PolicyError(f"paths must be at most {2**32 * TILE_PATHS}, not {self.paths}")
        if not isinstance(self.precision, str) or self.precision not in ("single", "double"):
            raise PolicyError(f"precision must be 'single' or 'double', not {self.precision!r}")
        if not self.variance_cap > 1.0:
            raise PolicyError(f"variance_cap must be above 1, not {self.variance_cap}")
        if not 0.0 < self.price_floor < 1.0:
            raise PolicyError(f"price_floor must lie between 0 and 1, not {self.price_floor}")

    @property
    def dtype(self) -> type[np.float32] | type[np.float64]:
        """Type of the simulated arrays."""
        return np.float64 if self.precision == "double" else np.float32

    @property
    def tiles(self) -> range:
        """All tiles of 2,048 paths. Of the last one, the plan may keep a part only."""
        return range(-(-self.paths // TILE_PATHS))

    def paths_in(self, tiles: range) -> int:
        """Return how many paths of some consecutive tiles the plan keeps."""
        return min(tiles.stop * TILE_PATHS, self.paths) - tiles.start * TILE_PATHS

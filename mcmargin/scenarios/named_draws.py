"""Draws that belong to a name: of a contract's basis, a currency's rate, a stablecoin's jump.

In: a plan, and the array module of its scenarios. Out: draws on the same paths, where the
scenarios lie. They depend on the seed and the name alone, so that a draw that was not kept comes
again to the last bit.
"""

from __future__ import annotations

from threading import Lock
from types import ModuleType
from typing import Any

from mcmargin.draws.plan import SimulationPlan
from mcmargin.draws.random_stream import lane_of
from mcmargin.engines.choice import engine_named

KEPT_BYTES = 2**28
"""Bytes of normals that are kept."""


class NamedDraws:
    """Draws of named things on the paths of a plan.

    Normals are kept, so that a market that moves is valued again without new draws. Several
    threads may ask at once. A pickle or a copy starts empty.

    Parameters
    ----------
    plan : SimulationPlan
    engine : str
        `numpy` or `cupy`: the one whose arrays are returned.

    Attributes
    ----------
    kept_bytes : int
        Bytes of the normals that are kept.

    Examples
    --------
    >>> draws = NamedDraws(SimulationPlan(7, 3000, (1, 2), "single"), "numpy")
    >>> normals = draws.normals("basis", range(2))
    >>> normals.shape, normals is draws.normals("basis", range(2))
    ((2, 3000), True)
    """

    def __init__(self, plan: SimulationPlan, engine: str) -> None:
        self.plan, self.engine = plan, engine
        self.kept_bytes = 0
        self._kept: dict[tuple[str, int, int], Any] = {}
        self._lock = Lock()

    def normals(self, name: str, tiles: range, most: int | None = None) -> Any:
        """Standard normals of a named thing, one for each bar and path.

        Parameters
        ----------
        name : str
        tiles : range
            Consecutive tiles of paths.
        most : int, optional
            Bytes that may be kept in all; `KEPT_BYTES` by default, and never more.

        Returns
        -------
        ndarray of shape (longest horizon, paths of the tiles), float64
        """
        key = (name, tiles.start, tiles.stop)
        with self._lock:
            if key in self._kept:
                return self._kept[key]
            drawn = self._module.named_normals(
                self.plan.seed, lane_of(name), tiles, range(self.plan.horizons[-1])
            )[:, : self.plan.paths_in(tiles)]
            room = KEPT_BYTES if most is None else min(most, KEPT_BYTES)
            if self.kept_bytes + drawn.nbytes <= room:
                self.kept_bytes += drawn.nbytes
                self._kept[key] = drawn
            return drawn

    def jumps(self, name: str, tiles: range, probability: float) -> Any:
        """Whether a named thing jumps in each bar; bool [longest horizon, paths of the tiles].

        Parameters
        ----------
        name : str
        tiles : range
            Consecutive tiles of paths.
        probability : float
            Of a jump in one bar.
        """
        steps = range(self.plan.horizons[-1])
        jumps = self._module.named_jumps(self.plan.seed, lane_of(name), tiles, steps, probability)
        return jumps[:, : self.plan.paths_in(tiles)]

    @property
    def _module(self) -> ModuleType:
        return engine_named(self.engine)

    def __reduce__(self) -> tuple[type[NamedDraws], tuple[SimulationPlan, str]]:
        return NamedDraws, (self.plan, self.engine)

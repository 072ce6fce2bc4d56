"""What every component of a margin is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mcmargin.books.units import Units
from mcmargin.margins.estimates import Estimate
from mcmargin.margins.figures import UnitFigures
from mcmargin.policies.policy import MarginPolicy
from mcmargin.progress import Passes, Progress
from mcmargin.stresses.stress_losses import StressTable
from mcmargin.valuing.valuation import Valuation

Amounts: TypeAlias = NDArray[np.float64]
"""One entry a unit or a row, in its currency."""


@dataclass(frozen=True, eq=False)
class UnitContext:
    """What a component is computed from.

    Attributes
    ----------
    units : Units
    valuation : Valuation
        Of initial or of maintenance margin.
    companions : mapping of str to Valuation
        The same at the volatility of other times: `floor`.
    policy : MarginPolicy
    level : float
        Of initial or of maintenance margin.
    figures : UnitFigures
        Of the units at this valuation and level.
    stress : StressTable, optional
        Of the units, where the policy charges stress scenarios.
    passes : Passes, optional
        Told of each pass over the units while the margin is computed.
    together : bool
        Whether several figures that move with the paths make a margin, so that it must be known
        how they move with one another.
    kinks : dict of str to int
        Columns for what comparisons of estimates leave unexplained; see `kink`.
    margin : str
        `initial` or `maintenance`, whose comparisons have columns of their own.
    lone : dict
        Expected shortfalls of single units that have been taken; see `mcmargin.margins.lone`.
    """

    units: Units
    valuation: Valuation
    companions: Mapping[str, Valuation]
    policy: MarginPolicy
    level: float
    figures: UnitFigures
    stress: StressTable | None
    passes: Passes | None = None
    together: bool = False
    kinks: dict[str, int] = field(default_factory=dict)
    margin: str = "initial"
    lone: dict[tuple[int, bool, str], Estimate] = field(default_factory=dict)

    @property
    def rates(self) -> Amounts:
        """Value of each unit's currency, in the market's; float64 [units]."""
        return np.array([self.valuation.market.worth(code) for code in self.units.currencies])

    def next_pass(self) -> Progress | None:
        """Whom a pass over the units tells of what it has done."""
        return None if self.passes is None else self.passes.begin()

    def kink(self, name: str) -> int:
        """Column of one comparison of estimates, the same whenever it is made.

        See `mcmargin.margins.estimates.larger`.
        """
        return self.kinks.setdefault(f"{self.margin}: {name}", len(self.kinks))

"""Unit context: what every component of a margin is computed from.

In: units, their valuation and figures, and a policy. Out: one value that components share.
"""

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
        Of initial margin or of maintenance margin.
    companions : mapping of str to Valuation
        The same instruments at another volatility, by the name of the scenarios: `floor`.
    policy : MarginPolicy
    level : float
        Confidence level of initial margin or of maintenance margin.
    figures : UnitFigures
        Of the units, at this valuation and level.
    stress : StressTable, optional
        Stress losses of the units, where the policy charges stress scenarios.
    passes : Passes, optional
        It is told of each pass over the units while the margin is computed.
    together : bool
        Whether a margin is made of several figures that move with the paths, so that it must be
        known how they move with one another.
    errors : bool
        Whether standard errors are wanted.
    kinks : dict of str to int
        Column of each comparison of estimates, by its name; filled by `kink`.
    purpose : str
        Which margin: `initial` or `maintenance`. The comparisons of each have columns of their own.
    lone : dict
        Expected shortfalls of positions of one unit, kept once they are computed; filled by
        `mcmargin.margins.lone.lone_estimates`.
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
    errors: bool = True
    kinks: dict[str, int] = field(default_factory=dict)
    purpose: str = "initial"
    lone: dict[tuple[int, bool, str], Estimate] = field(default_factory=dict)

    @property
    def rates(self) -> Amounts:
        """Value of each unit's currency in the market's currency; float64 [units]."""
        return np.array([self.valuation.market.worth(code) for code in self.units.currencies])

    def next_pass(self) -> Progress | None:
        """Progress of the next pass over the units, if anybody follows it."""
        return None if self.passes is None else self.passes.begin()

    def kink(self, name: str) -> int:
        """Column of a comparison of estimates, always the same for one name.

        See `mcmargin.margins.estimates.larger`.
        """
        return self.kinks.setdefault(f"{self.purpose}: {name}", len(self.kinks))

"""Stress scenarios of a policy, declared: windows of history, grids, gaps and depegs.

In: numbers, names and dates. Out: frozen, checked values of plain types. `mcmargin.stresses` makes
scenarios of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from mcmargin.checks import cited, require_type, whole_number
from mcmargin.data.ranges import SHARE, Range, check_ranges
from mcmargin.data.times import date_text
from mcmargin.errors import PolicyError
from mcmargin.policies.part_checks import one_of, parts_of, require_text

GRIDS = ("deribit", "okx-major", "okx-mid", "okx-other", "paradex")
"""Scenario grids that exchanges publish; `mcmargin.stresses.stress_grids` has them."""


REPLAYS = ("filtered", "raw")


@dataclass(frozen=True)
class StressWindow:
    """Dates of the model's history whose worst bars are replayed.

    Attributes
    ----------
    name : str
        Name of the window in results.
    first, last : str
        First and last date, as ISO text; both are included.
    worst : int
        Number of dates, the worst for an account, that are listed; the worst one gives its loss.
    replay : str
        `filtered` takes the date's standardised residuals at today's volatility; `raw` takes its
        returns as they were.
    """

    name: str
    first: str
    last: str
    worst: int = 1
    replay: str = "filtered"

    def __post_init__(self) -> None:
        require_text("stress window: name", self.name)
        for name in ("first", "last"):
            try:
                object.__setattr__(self, name, date_text(getattr(self, name)))
            except ValueError as error:
                raise PolicyError(f"stress window {self.name!r}: {name} {error}") from None
        if self.first > self.last:
            raise PolicyError(f"stress window {self.name!r}: it ends before it begins")
        whole_number(f"stress window {self.name!r}: worst", self.worst)
        one_of(f"stress window {self.name!r}: replay", self.replay, REPLAYS)


@dataclass(frozen=True)
class Gap:
    """A jump of one underlying, while all others do not move.

    Attributes
    ----------
    underlying : str
        The asset whose price jumps.
    move : float
        Size of the jump as a fraction; -0.3 is a fall of 30 %.
    """

    underlying: str
    move: Annotated[float, Range(-1.0, 100.0)]

    def __post_init__(self) -> None:
        require_text("gap: underlying", self.underlying)
        check_ranges(self, "gap", error=PolicyError)


@dataclass(frozen=True)
class GridTerms:
    """Terms that the exchanges do not publish; the defaults are our choice.

    Attributes
    ----------
    volatility_up, volatility_down : float
        Relative move of the implied volatility of an option with 30 days to expiry. The default is
        that of Deribit's former grid, in both directions.
    power, floor_days : float
        The move of an option of n days is (30 / max(floor_days, n))**power times as large. The
        power is that of Deribit's former grid.
    extended_weight : float, optional
        Share of the loss in a move beyond the grid's edge that counts. By default it is the edge
        divided by the move, so that a linear position loses as much there as at the edge.
    """

    volatility_up: Annotated[float, Range(0.0, 100.0)] = 0.38
    volatility_down: Annotated[float, SHARE] = 0.38
    power: Annotated[float, SHARE] = 0.30
    floor_days: Annotated[float, Range(0.01, 365.0)] = 1.0
    extended_weight: Annotated[float, SHARE] | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "gridterms", error=PolicyError)


@dataclass(frozen=True)
class Stress:
    """Stress scenarios, and their add-on to the margin.

    Attributes
    ----------
    windows : tuple of StressWindow
        Parts of the history that are replayed.
    grids : mapping of str to str
        For an underlying, or `*` for all others, the name of a published grid: `deribit`,
        `okx-major`, `okx-mid`, `okx-other` or `paradex`.
    grid_terms : GridTerms
        Terms that the grids need and that exchanges do not publish.
    gaps : tuple of Gap
        Jumps of single underlyings.
    depegs : mapping of str to float
        Share of its value that a currency loses.
    scenario_weight : float
        Share that is added to the margin of the excess over base of the loss in the worst scenario.
    dependence_weight : float
        Share that is added to the margin of the excess over base in the worse of two tests: the two
        largest risk factors alone (concentration), and all of them together (perfect dependence),
        as in OCC's STANS. The weights are 0 by default: stress is reported, and adds nothing.

    Examples
    --------
    >>> year = StressWindow("2008", "2008-01-01", "2008-12-31", worst=5)
    >>> Stress(windows=(year,), grids={"*": "okx-major"}, gaps=(Gap("btc", -0.3),)).gaps[0].move
    -0.3
    """

    windows: tuple[StressWindow, ...] = ()
    grids: Mapping[str, str] = field(default_factory=dict)
    grid_terms: GridTerms = field(default_factory=GridTerms)
    gaps: tuple[Gap, ...] = ()
    depegs: Mapping[str, Annotated[float, SHARE]] = field(default_factory=dict)
    scenario_weight: Annotated[float, SHARE] = 0.0
    dependence_weight: Annotated[float, SHARE] = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, "stress", error=PolicyError)
        lists: tuple[tuple[str, type, str], ...] = (
            ("windows", StressWindow, "StressWindow('2008', '2008-01-01', '2008-12-31')"),
            ("gaps", Gap, "Gap('btc', -0.3)"),
        )
        for name, kind, way in lists:
            given = parts_of(f"stress: {name}", getattr(self, name), kind, way)
            object.__setattr__(self, name, given)
        require_type("stress: grid_terms", self.grid_terms, GridTerms, error=PolicyError)
        if not isinstance(self.grids, Mapping):
            raise PolicyError(
                "stress: grids must map underlyings to grids, such as {'btc': 'deribit'}, not "
                f"{cited(self.grids)}"
            )
        for underlying, grid in self.grids.items():
            one_of(f"stress: grid of {underlying!r}", grid, GRIDS)

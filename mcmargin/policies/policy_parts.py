"""Parts of a margin policy, each of which one component of the margin reads.

In: numbers and names. Out: small frozen values, checked and of plain types. The components are in
`mcmargin.margins`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from mcmargin.checks import whole_number
from mcmargin.data.ranges import CONFIDENCE, NOTIONAL, SHARE, Range, check_ranges
from mcmargin.errors import PolicyError
from mcmargin.policies.part_checks import check_horizons, one_of, parts_of
from mcmargin.policies.stress_parts import StressWindow

COLLATERAL_MODES = ("joint", "haircut")


@dataclass(frozen=True)
class Maintenance:
    """Maintenance margin, with its own confidence level and horizon on the same paths.

    Attributes
    ----------
    level : float
        Confidence level of its expected shortfall, between 0.5 and 1.
    horizon : int, optional
        Its margin period of risk in bars; by default, that of initial margin.
    horizons : mapping of str to int
        Horizons of single product classes, in bars; the others have `horizon`.
    """

    level: Annotated[float, CONFIDENCE] = 0.975
    horizon: int | None = None
    horizons: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self, "maintenance", error=PolicyError)
        check_horizons(self)


@dataclass(frozen=True)
class Procyclicality:
    """Tools that keep a margin from rising too fast in a crisis.

    The first three are those of EMIR's RTS 153/2013, Article 28(1). Each is off by default.

    Attributes
    ----------
    buffer : float
        Share of the margin that is charged on top in calm times and used up first while
        requirements rise: at least 0.25 for (a).
    stressed_weight : float
        Share of the observations that come from the stressed period: at least 0.25 for (b).
    stressed_first, stressed_last : str, optional
        First and last ISO date of the stressed period; if none are given, the worst 250 bars of the
        history.
    floor_years : float
        The margin is at least the one that the volatility of so many years would give: 10 for (c).
    speed_limit : float, optional
        Largest rise of the margin in a bar, as a share of the last margin; the rest of a rise
        follows in later bars. A margin never falls below base by it.

    Examples
    --------
    >>> Procyclicality(buffer=0.25, floor_years=10).buffer
    0.25
    """

    buffer: Annotated[float, SHARE] = 0.0
    stressed_weight: Annotated[float, SHARE] = 0.0
    stressed_first: str | None = None
    stressed_last: str | None = None
    floor_years: Annotated[float, Range(0.0, 100.0)] = 0.0
    speed_limit: Annotated[float, Range(1e-9, 10.0)] | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "procyclicality", error=PolicyError)
        if (self.stressed_first is None) != (self.stressed_last is None):
            raise PolicyError("procyclicality: give both stressed_first and stressed_last, or none")
        if self.stressed_first is not None and self.stressed_last is not None:
            period = StressWindow("stressed period", self.stressed_first, self.stressed_last)
            object.__setattr__(self, "stressed_first", period.first)
            object.__setattr__(self, "stressed_last", period.last)


@dataclass(frozen=True)
class Liquidity:
    """Cost of closing out, and longer horizons of positions that are large for their market.

    Attributes
    ----------
    impact : float
        Y in the square-root law: each unit of notional costs Y x daily volatility x sqrt(size /
        daily volume).
    participation : float
        Share of a day's volume that one can close in a day; a larger position takes longer.
    spread : float
        Bid-ask spread as a share of the price, for instruments without one in the market.
    """

    impact: Annotated[float, Range(0.0, 100.0)] = 1.0
    participation: Annotated[float, Range(1e-6, 1.0)] = 0.1
    spread: Annotated[float, SHARE] = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, "liquidity", error=PolicyError)


@dataclass(frozen=True)
class Concentration:
    """Charge on the part of a holding of one underlying that exceeds a free amount.

    Attributes
    ----------
    free_notional : float
        Delta-equivalent amount of one underlying that costs nothing, in the market's currency.
    rate : float
        Share of the holding beyond `free_notional` that is charged.
    """

    free_notional: Annotated[float, NOTIONAL]
    rate: Annotated[float, SHARE]

    def __post_init__(self) -> None:
        check_ranges(self, "concentration", error=PolicyError)


@dataclass(frozen=True)
class LeverageTier:
    """A bracket of notional, and the leverage that is allowed in it.

    Attributes
    ----------
    up_to : float
        Notional in one underlying at which the bracket ends, in the market's currency; infinite
        for the last bracket.
    max_leverage : float
        Largest ratio of notional to margin in this bracket, 1 to 10,000.
    """

    up_to: Annotated[float, NOTIONAL]
    max_leverage: Annotated[float, Range(1.0, 10_000.0)]

    def __post_init__(self) -> None:
        check_ranges(self, "leveragetier", error=PolicyError)


@dataclass(frozen=True)
class Leverage:
    """Largest leverage, by brackets of notional; it falls as open interest grows.

    Attributes
    ----------
    tiers : tuple of LeverageTier
        Brackets of rising notional and falling leverage. The margin is the sum over the brackets.
    open_interest_lower, open_interest_upper : float
        While the open interest of an underlying grows from `open_interest_lower` to
        `open_interest_upper`, the margin as a share of notional rises from that of the tiers to 1,
        as in dYdX v4's liquidity tiers. Infinite means never.

    Examples
    --------
    >>> Leverage((LeverageTier(1e6, 20), LeverageTier(float("inf"), 10))).tiers[0].max_leverage
    20.0
    """

    tiers: tuple[LeverageTier, ...]
    open_interest_lower: Annotated[float, NOTIONAL] = float("inf")
    open_interest_upper: Annotated[float, NOTIONAL] = float("inf")

    def __post_init__(self) -> None:
        tiers = parts_of("leverage: tiers", self.tiers, LeverageTier, "LeverageTier(1e6, 20.0)")
        object.__setattr__(self, "tiers", tiers)
        if not self.tiers:
            raise PolicyError("leverage: give at least one tier")
        ends = [tier.up_to for tier in self.tiers]
        if ends != sorted(set(ends)) or ends[0] <= 0 or ends[-1] != float("inf"):
            raise PolicyError(
                f"leverage: tiers must rise from above 0 and end at inf; these end at {ends}"
            )
        allowed = [tier.max_leverage for tier in self.tiers]
        if allowed != sorted(allowed, reverse=True):
            raise PolicyError(f"leverage: larger brackets cannot allow more leverage: {allowed}")
        check_ranges(self, "leverage", error=PolicyError)
        lower, upper = self.open_interest_lower, self.open_interest_upper
        if not (0 <= lower <= upper) or (lower == upper != float("inf")):
            raise PolicyError(
                f"leverage: open interest must rise from lower to upper, not {lower} to {upper}"
            )


@dataclass(frozen=True)
class Resources:
    """Default fund, and the target ratio of resources to risk.

    Attributes
    ----------
    cover : int
        Number of owners with the largest stressed losses beyond margin that the fund covers.
    target_ratio : float
        Ratio of margin and fund to the stressed loss that must be kept, at least 1.
    """

    cover: int = 2
    target_ratio: Annotated[float, Range(1.0, 1000.0)] = 1.0

    def __post_init__(self) -> None:
        whole_number("resources: cover", self.cover)
        check_ranges(self, "resources", error=PolicyError)


@dataclass(frozen=True)
class Collateral:
    """How collateral counts.

    Attributes
    ----------
    mode : str
        With `joint` collateral counts at its full value, and its moves are part of the account's
        profit and loss. With `haircut` it counts at its value less a haircut, and its moves are
        not part of the profit and loss.
    level : float
        Confidence level of the expected shortfall that a haircut is.
    """

    mode: str = "joint"
    level: Annotated[float, CONFIDENCE] = 0.99

    def __post_init__(self) -> None:
        one_of("collateral: mode", self.mode, COLLATERAL_MODES)
        check_ranges(self, "collateral", error=PolicyError)

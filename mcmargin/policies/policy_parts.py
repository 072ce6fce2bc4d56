"""Parts of a margin policy, each a small checked value that one component reads.

In: numbers and names. Out: frozen values of plain types. What a part does stands in
`mcmargin.margins.components`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from mcmargin.checks import cited, require_type, whole_number
from mcmargin.data.ranges import CONFIDENCE, NOTIONAL, SHARE, SIMULATED_BARS, Range, check_ranges
from mcmargin.data.times import date_text
from mcmargin.errors import PolicyError

PRODUCTS = ("spot", "perpetual", "future", "option")
"""Product classes of instruments."""

GRIDS = ("deribit", "okx-major", "okx-mid", "okx-other", "paradex")
"""Scenario grids that exchanges publish; see `mcmargin.stresses.stress_grids`."""

REPLAYS = ("filtered", "raw")
COLLATERAL_MODES = ("joint", "haircut")


@dataclass(frozen=True)
class Maintenance:
    """Maintenance margin: a level and horizon of its own, on the same paths.

    Attributes
    ----------
    level : float
        Confidence level of its expected shortfall, between 0.5 and 1.
    horizon : int, optional
        Its margin period of risk in bars; if none is given, that of initial margin.
    horizons : mapping of str to int
        Horizons of single product classes, in bars; the others take `horizon`.
    """

    level: Annotated[float, CONFIDENCE] = 0.975
    horizon: int | None = None
    horizons: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self, "maintenance", error=PolicyError)
        check_horizons(self)


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
        How many of the dates that are worst for an account are listed; the worst gives its loss.
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
    """A jump of one underlying, while all others stand still.

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
    """Terms that the exchanges' own sources leave open; the defaults are ours.

    Attributes
    ----------
    volatility_up, volatility_down : float
        Relative move of the implied volatility of an option with 30 days to expiry. The default is
        that of Deribit's former grid, in both directions.
    power, floor_days : float
        A move of an option of n days is (30 / max(floor_days, n))**power times as large; the
        power is that of Deribit's former grid.
    extended_weight : float, optional
        Share that counts of the loss in a move beyond the grid's edge. If none is given, it is the
        edge divided by the move: a linear position then loses as much there as at the edge.
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
    """Stress scenarios, and the add-on that they make.

    Attributes
    ----------
    windows : tuple of StressWindow
        Times of the history that are replayed.
    grids : mapping of str to str
        For an underlying, or `*` for all others, the name of a published grid: `deribit`,
        `okx-major`, `okx-mid`, `okx-other` or `paradex`.
    grid_terms : GridTerms
        Terms that the grids need and the exchanges do not publish.
    gaps : tuple of Gap
        Jumps of one underlying alone.
    depegs : mapping of str to float
        For a currency, the share of its value that it loses.
    scenario_weight : float
        If the loss in the worst scenario exceeds base, the share of that excess that is added to
        the margin.
    dependence_weight : float
        Share of the excess over base of the worse of two tests that is added: the two largest risk
        factors alone (concentration), and all in step (perfect dependence), as OCC's STANS has.
        The weights are 0 by default: stress is reported, and adds nothing to the margin.

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


@dataclass(frozen=True)
class Procyclicality:
    """What keeps a margin from rising too fast when it is least wanted.

    The first three are those of EMIR's RTS 153/2013, Article 28(1); each is off by default.

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
        The margin does not fall below what the volatility of so many years asks for: 10 for (c).
    speed_limit : float, optional
        Largest rise of the margin in a bar, as a share of the last margin; the rest of a rise
        follows in later bars. It never holds a margin below base.

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
    """Cost of closing out, and longer close-outs of positions that are large for their market.

    Attributes
    ----------
    impact : float
        Y in the square-root law: each unit of notional costs Y x daily volatility x sqrt(size /
        daily volume).
    participation : float
        Share of a day's volume that one can close in a day; a larger position takes longer.
    spread : float
        Bid-ask spread as a share of the price, for instruments to which the market gives none.
    """

    impact: Annotated[float, Range(0.0, 100.0)] = 1.0
    participation: Annotated[float, Range(1e-6, 1.0)] = 0.1
    spread: Annotated[float, SHARE] = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, "liquidity", error=PolicyError)


@dataclass(frozen=True)
class Concentration:
    """Charge on a holding of one underlying that is larger than a free amount.

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
    """A bracket of notional and the leverage that it allows.

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
    """Largest leverage by brackets of notional; it falls as open interest grows.

    Attributes
    ----------
    tiers : tuple of LeverageTier
        Brackets of rising notional and falling leverage; the margin is the sum over the brackets.
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
    """Default fund, and the ratio of resources to risk that is to be kept.

    Attributes
    ----------
    cover : int
        How many of the largest stressed losses beyond margin, by owner, the fund covers.
    target_ratio : float
        Ratio of margin and fund to the stressed loss that is to be kept, at least 1.
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


def parts_of(where: str, value: Any, kind: type, way: str) -> tuple[Any, ...]:
    """Check a list of parts, and return it as a tuple.

    Raises
    ------
    PolicyError
        If it is no list or tuple, or holds anything but such parts.

    Examples
    --------
    >>> parts_of("stress: gaps", [Gap("btc", -0.3)], Gap, "Gap('btc', -0.3)")
    (Gap(underlying='btc', move=-0.3),)
    """
    if not isinstance(value, (tuple, list)):
        raise PolicyError(f"{where} must be a tuple of {kind.__name__} objects, not {cited(value)}")
    for each in value:
        if not isinstance(each, kind):
            raise PolicyError(
                f"{where} must hold {kind.__name__} objects, such as {way}, not {cited(each)}"
            )
    return tuple(value)


def require_text(where: str, value: Any) -> None:
    """Refuse a name that is no text, or empty."""
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(f"{where} must be text, not {cited(value)}")


def one_of(what: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Refuse a name that is not among the allowed."""
    if not isinstance(value, str) or value not in allowed:
        raise PolicyError(f"{what} {value!r} is unknown; give one of {allowed}")


def check_horizons(part: Any) -> None:
    """Check `horizon` and `horizons`, and keep them plain and sorted."""
    if part.horizon is not None:
        object.__setattr__(
            part, "horizon", whole_number("horizon", part.horizon, most=SIMULATED_BARS)
        )
    if not isinstance(part.horizons, Mapping):
        raise PolicyError(
            f"horizons must be a mapping of product classes to bars, such as {{'option': 5}}, not "
            f"{part.horizons!r}; give one for all as horizon="
        )
    plain = {}
    for product, bars in sorted(part.horizons.items()):
        one_of("horizons: product class", product, PRODUCTS)
        plain[product] = whole_number(f"horizons of {product!r}", bars, most=SIMULATED_BARS)
    object.__setattr__(part, "horizons", plain)

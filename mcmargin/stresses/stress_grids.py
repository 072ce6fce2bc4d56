"""Scenario grids that exchanges publish: moves of an underlying's price and implied volatility.

In: a grid's name, and the numbers that our source does not give (`GridTerms`). Out: a
`StressGrid`, whose points are instantaneous moves. Exchanges change theirs without notice: each
preset says of what page, and of what date where the page has one, its figures are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mcmargin.policies.part_checks import one_of
from mcmargin.policies.stress_parts import GRIDS, GridTerms

EXTENDED = (-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
"""Deribit's extended price moves."""

OKX_MOVES = {
    "okx-major": (0.04, 0.08, 0.12),
    "okx-mid": (0.06, 0.12, 0.18),
    "okx-other": (0.08, 0.16, 0.25),
}
OKX_EXTREME = {"okx-major": 0.24, "okx-mid": 0.36, "okx-other": 0.50}
OKX_BASIS = {"okx-major": 0.05, "okx-mid": 0.15, "okx-other": 0.30}


@dataclass(frozen=True)
class GridPoint:
    """One scenario of a grid.

    Attributes
    ----------
    price, volatility : float
        Relative moves; that of volatility is of an option of 30 days.
    basis : float
        Move of ln(F/S) of dated futures, a year of their time to expiry.
    weight : float
        Share of the loss that counts.
    """

    price: float = 0.0
    volatility: float = 0.0
    basis: float = 0.0
    weight: float = 1.0

    @property
    def name(self) -> str:
        """For people.

        Examples
        --------
        >>> GridPoint(-0.16, 0.38).name, GridPoint(basis=0.05).name, GridPoint(weight=0.5).name
        ('price -16 %, volatility +38 %', 'basis +5 % a year', 'unmoved, 50 % of the loss')
        """
        moves = (("price", self.price, ""), ("volatility", self.volatility, ""))
        parts = [
            f"{what} {100 * move:+.4g} %{unit}"
            for what, move, unit in (*moves, ("basis", self.basis, " a year"))
            if move
        ]
        share = [f"{100 * self.weight:.4g} % of the loss"] if self.weight != 1.0 else []
        return ", ".join([*(parts or ["unmoved"]), *share])


@dataclass(frozen=True)
class StressGrid:
    """Moves of one underlying.

    Attributes
    ----------
    name : str
    points : tuple of GridPoint
    power, floor_days : float
        A volatility move of an option of n days is (30 / max(floor_days, n))**power times that of
        the point.
    """

    name: str
    points: tuple[GridPoint, ...]
    power: float
    floor_days: float

    @property
    def family(self) -> str:
        """The exchange: its grids correspond point by point.

        Examples
        --------
        >>> stress_grid("okx-major").family
        'okx'
        """
        return self.name.partition("-")[0]


def stress_grid(name: str, terms: GridTerms | None = None) -> StressGrid:
    """Grid of a name in `GRIDS`.

    Parameters
    ----------
    name : str
    terms : GridTerms, optional

    Raises
    ------
    PolicyError
        If there is no such grid.

    Examples
    --------
    >>> [(name, len(stress_grid(name).points)) for name in GRIDS]
    [('deribit', 35), ('okx-major', 25), ('okx-mid', 25), ('okx-other', 25), ('paradex', 24)]
    """
    one_of("grid", name, GRIDS)
    terms = GridTerms() if terms is None else terms
    if name == "deribit":
        return deribit(terms)
    return paradex(terms) if name == "paradex" else okx(name, terms)


def deribit(terms: GridTerms) -> StressGrid:
    """Deribit's portfolio margin: 27 points and 8 extended ones.

    Price moves within 16 % in 9 even buckets, each with volatility up, the same, and down; and
    `EXTENDED` with volatility up, at a share of the loss. Ours are the sizes of the volatility
    moves and the share. Left out are the dampener of the extended moves, whose form and amount
    our source does not give (so that losses there are not lessened), and the delta and roll
    shocks of futures.

    References
    ----------
    Deribit, Portfolio Margin, support article 25944756247837; the former grid, whose volatility
    moves by (30 / days)**0.30 x 38 %: deribit.com, docs/portfoliomargin. Neither bears a date.
    """
    regular = _product([0.04 * step for step in range(-4, 5)], _volatilities(terms))
    return _grid("deribit", [*regular, *_extended(0.16, EXTENDED, terms)], terms)


def okx(name: str, terms: GridTerms) -> StressGrid:
    """OKX's portfolio margin, by class of underlying: 21 points, 2 extreme, and 2 of the basis.

    `okx-major` is for BTC and ETH: price 0, 4, 8 and 12 % either way, extreme 24 %, basis 5 % a
    year; `okx-mid` 0, 6, 12, 18, 36 and 15 %; `okx-other` 0, 8, 16, 25, 50 and 30 %. Ours are the
    sizes of the volatility moves, that each price move is taken with all three, the share of the
    extreme moves' loss that counts, and that the basis of all expiries moves in step. Left out
    are the minimum charge by size and the tiers of the stablecoin depeg (`Stress.depegs` has one
    of any size).

    References
    ----------
    OKX, Portfolio margin parameters of January 2025: MR1, MR4, MR6.
    """
    moves = OKX_MOVES[name]
    prices = [*(-move for move in reversed(moves)), 0.0, *moves]
    extreme, basis = OKX_EXTREME[name], OKX_BASIS[name]
    weight = _extended_weight(moves[-1], extreme, terms)
    points = [
        *_product(prices, _volatilities(terms)),
        *(GridPoint(price=sign * extreme, weight=weight) for sign in (-1.0, 1.0)),
        *(GridPoint(basis=sign * basis) for sign in (-1.0, 1.0)),
    ]
    return _grid(name, points, terms)


def paradex(terms: GridTerms) -> StressGrid:
    """Paradex's scan risk: 24 scenarios, of which the worst weighted loss counts.

    IV' = IV (1 + shock (30 / max(floor, days))**power). Which 24, the shocks, the power and the
    weights our source does not give; ours are Deribit's moves: 9 prices with volatility up, the
    inner 7 with volatility down, and 8 extended ones. Left out are the minimum delta charge and
    the provisions for funding and fees.

    References
    ----------
    Paradex, documentation, Portfolio margin, which bears no date.
    """
    prices = [0.04 * step for step in range(-4, 5)]
    up, down = _product(prices, [terms.volatility_up]), _product(prices, [-terms.volatility_down])
    return _grid("paradex", [*up, *down[1:-1], *_extended(0.16, EXTENDED, terms)], terms)


def _grid(name: str, points: Iterable[GridPoint], terms: GridTerms) -> StressGrid:
    return StressGrid(name, tuple(points), terms.power, terms.floor_days)


def _volatilities(terms: GridTerms) -> list[float]:
    return [terms.volatility_up, 0.0, -terms.volatility_down]


def _product(prices: Iterable[float], volatilities: list[float]) -> list[GridPoint]:
    return [GridPoint(price, volatility) for price in prices for volatility in volatilities]


def _extended(edge: float, moves: Iterable[float], terms: GridTerms) -> list[GridPoint]:
    return [
        GridPoint(move, terms.volatility_up, weight=_extended_weight(edge, move, terms))
        for move in moves
    ]


def _extended_weight(edge: float, move: float, terms: GridTerms) -> float:
    return edge / abs(move) if terms.extended_weight is None else terms.extended_weight

"""Parts of a market: how a stablecoin may lose its peg, and how an instrument trades.

In: numbers. Out: frozen, checked values of plain types, which `Market` holds by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from mcmargin.checks import cited, plain_number
from mcmargin.data.ranges import (
    DAILY_VOLUME,
    LEVEL_SIZE,
    PRICE,
    SHARE,
    SPREAD,
    declared_ranges,
    within,
)
from mcmargin.errors import DataError

LARGEST_LOSS = 0.999999
"""Largest loss of a depeg: the coin must keep some value, at which amounts are converted."""


@dataclass(frozen=True)
class Depeg:
    """How a stablecoin may lose its peg: in one jump, after which its value does not come back.

    Attributes
    ----------
    probability : float
        Probability in [0, 1] that the jump happens in one bar.
    loss : float
        Share of its value that the coin loses in the jump, in [0, 1).
    """

    probability: Annotated[float, SHARE]
    loss: Annotated[float, SHARE]

    def __post_init__(self) -> None:
        for name in ("probability", "loss"):
            value = plain_number(getattr(self, name))
            if value is None or not SHARE.holds(value):
                given = cited(getattr(self, name))
                raise DataError(f"depeg: {name} must lie between 0 and 1, not {given}")
            object.__setattr__(self, name, value)
        if self.loss > LARGEST_LOSS:
            raise DataError(
                f"depeg: a loss of {self.loss:g} leaves no rate to convert at; give less, such as "
                "0.999"
            )


@dataclass(frozen=True)
class InstrumentLiquidity:
    """How much of an instrument can be traded, and at what cost.

    Attributes
    ----------
    daily_volume : float, optional
        Units that are traded in a day.
    spread : float, optional
        Distance between the best bid and the best ask, as a share of the price.
    bids, asks : tuple of (float, float)
        Order book: pairs of a price and the size offered at it, in units, the best price first.

    Raises
    ------
    DataError
        If a number is not above 0, prices are out of order, or the best bid is not below the
        best ask.

    Examples
    --------
    >>> InstrumentLiquidity(bids=((99.0, 5.0), (98.0, 9.0)), asks=((101.0, 4.0),)).middle
    100.0
    """

    daily_volume: Annotated[float, DAILY_VOLUME] | None = None
    spread: Annotated[float, SPREAD] | None = None
    bids: tuple[tuple[float, float], ...] = ()
    asks: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in declared_ranges(InstrumentLiquidity).items():
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, within(f"market: {name}", given, allowed))
        for side, order in (("bids", -1), ("asks", 1)):
            pairs = _side_of_book(side, getattr(self, side))
            object.__setattr__(self, side, pairs)
            prices = [price for price, _ in pairs]
            if prices != sorted(set(prices), reverse=order < 0):
                raise DataError(f"market: {side} must run from the best price on, each once")
        if self.bids and self.asks and self.bids[0][0] >= self.asks[0][0]:
            raise DataError(
                f"market: the order book is crossed: bid {self.bids[0][0]}, ask {self.asks[0][0]}"
            )

    @property
    def middle(self) -> float:
        """Mean of best bid and best ask; with one side alone, the best price of that side."""
        best = [pairs[0][0] for pairs in (self.bids, self.asks) if pairs]
        return sum(best) / len(best)


def _side_of_book(side: str, given: Any) -> tuple[tuple[float, float], ...]:
    """One side of the order book as pairs of plain floats."""
    if not isinstance(given, (list, tuple)) or not all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in given
    ):
        raise DataError(
            f"market: {side} must be pairs of price and size, such as ((99.5, 10.0), (99.0, 5.0)), "
            f"not {cited(given)}"
        )
    return tuple(
        (
            within(f"market: a price of the {side}", price, PRICE),
            within(f"market: a size of the {side}", size, LEVEL_SIZE),
        )
        for price, size in given
    )

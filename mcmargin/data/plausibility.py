"""Plausibility: limits of figures that are taken without a question.

In: the limits that the user widens, by name. Out: a frozen value that calibration, updates, markets
and margins use. A figure beyond a limit is an error that names the limit, or is mentioned in the
reports; docs/files.md says which of the two. A user who knows that a figure is right widens the
limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import real_number, whole_number
from mcmargin.errors import PolicyError

LARGEST_LIMIT = 1e9
"""A limit of this size allows everything."""

NEAR = float(np.log(1.25))
"""Largest difference in logarithms of a price from a close of another column that it fits."""

HALVED = 0.95
"""A fall is mentioned from this share of the limit on. After a split of two for one the price has
halved, and has also made that day's own move."""


@dataclass(frozen=True)
class Plausibility:
    """Limits beyond which a figure is refused, or is mentioned in reports.

    Attributes
    ----------
    volatility : float
        Largest volatility a year, implied or of a rate, a basis or a volatility (5 is 500 %).
    rate : float
        Largest rate of interest or carry a year, of either sign.
    move : float
        Largest move of a price, as a fraction of its last close, if the move is also larger than
        `move_deviations`.
    move_deviations : float
        Largest move in conditional standard deviations, if the move is also larger than `move`.
    price_ratio : float
        Largest ratio of a close to the one before, or of the one before to it.
    fx_difference : float
        Largest difference between a currency's rate in `fx` and the price of the asset that is
        this rate, as a fraction.
    forward_difference : float
        Largest difference of a surface's forward, or of a contract's own price, from the spot price
        of the underlying, as a fraction.
    still_bars : int
        Number of closes in a row at one price at which an asset that used to move is halted.
    gap_bars : float
        Largest number of bars of the calendar that a return may span without a remark. For bars
        within a day, sessions are counted if a return ends with the first bar of a session, since
        a holiday has none of the bars of a session, and a half-day lacks the last ones.
    close_hours : float
        Largest difference in hours between the time of day of a new close and those of earlier
        closes.
    market_before_days : float
        Largest number of days by which a market may lie before the model's last close. One minute
        is always allowed, as clocks differ.
    market_after_days : float
        Largest number of days by which a market may lie after the model's last close, if the policy
        has no `max_age_days`: the longest holidays of an exchange. For bars longer than three days,
        two bars are allowed if those are longer.
    future_days : float
        Largest number of days by which a close may lie after now. A date alone is its midnight in
        UTC, and begins earlier in some zones.

    Raises
    ------
    PolicyError
        If a limit is not a number from 0 to 1e9.

    Examples
    --------
    >>> Plausibility(volatility=10).volatility, Plausibility().move
    (10.0, 0.5)
    """

    volatility: float = 5.0
    rate: float = 1.0
    move: float = 0.5
    move_deviations: float = 12.0
    price_ratio: float = 1000.0
    fx_difference: float = 0.05
    forward_difference: float = 0.5
    still_bars: int = 20
    gap_bars: float = 5.0
    close_hours: float = 1.1
    market_before_days: float = 0.0
    market_after_days: float = 10.0
    future_days: float = 1.0

    def __post_init__(self) -> None:
        for each in fields(self):
            limit: float
            if each.name == "still_bars":
                limit = whole_number(each.name, self.still_bars, least=3)
            else:
                limit = real_number(each.name, getattr(self, each.name))
            # Comparisons with NaN are false, so that it is refused, too.
            if not 0.0 <= limit <= LARGEST_LIMIT:
                raise PolicyError(
                    f"plausibility: {each.name} must be a number from 0 to {LARGEST_LIMIT:g}, not "
                    f"{limit}; {LARGEST_LIMIT:g} bounds nothing"
                )
            object.__setattr__(self, each.name, limit)

    def widened(self) -> dict[str, Any]:
        """Limits that differ from the defaults, by name.

        Examples
        --------
        >>> Plausibility(volatility=10).widened()
        {'volatility': 10.0}
        """
        usual = asdict(Plausibility())
        return {name: limit for name, limit in asdict(self).items() if limit != usual[name]}

    def is_doubtful(self, moves: Any, deviations: Any) -> NDArray[np.bool_]:
        """Whether simple returns are larger than both `move` and `move_deviations`.

        Parameters
        ----------
        moves : array_like of any shape
            Simple returns, as fractions.
        deviations : array_like of the same shape
            Conditional standard deviations of these returns, as fractions.

        Examples
        --------
        >>> Plausibility().is_doubtful([1.4, 1.4, -0.39], [0.08, 0.2, 0.03]).tolist()
        [True, False, False]
        """
        sizes = np.abs(np.asarray(moves, float))
        beyond = sizes > self.move_deviations * np.asarray(deviations, float)
        return np.asarray((sizes > self.move) & beyond)

    def is_told(self, moves: Any, deviations: Any) -> NDArray[np.bool_]:
        """Whether returns are so large that reports mention them.

        The limits are those of `is_doubtful`, but a fall counts from `HALVED` of the limit on.

        Examples
        --------
        >>> Plausibility().is_told([0.49, -0.49], [0.02, 0.02]).tolist()
        [False, True]
        """
        moves = np.asarray(moves, float)
        return self.is_doubtful(np.where(moves < 0, moves / HALVED, moves), deviations)


_LARGEST: dict[str, Any] = {each.name: int(LARGEST_LIMIT) for each in fields(Plausibility)}
UNLIMITED = Plausibility(**_LARGEST)
"""Limits that allow everything, for markets and models that are combined from two days."""


def way_to_widen(limit: str, figure: float) -> str:
    """Say how to allow a figure that is right, with a limit a little above it.

    Examples
    --------
    >>> way_to_widen("volatility", 65.2)
    "Where it is right, widen its limit: volatility = 68 in the market file's [plausibility], ..."
    """
    wide = float(f"{1.05 * abs(figure):.2g}")
    return (
        f"Where it is right, widen its limit: {limit} = {wide:g} in the market file's "
        f"[plausibility], or mm.Plausibility({limit}={wide:g})."
    )


def changed_places(
    prices: NDArray[np.float64], last: NDArray[np.float64], doubtful: NDArray[np.bool_]
) -> list[tuple[int, ...]]:
    """Find assets whose prices fit the last closes of one another, and not their own.

    Parameters
    ----------
    prices, last : ndarray of shape (assets,), float64
        New prices, and the last closes.
    doubtful : ndarray of shape (assets,), bool
        Assets whose own move is doubtful.

    Returns
    -------
    list of tuple of int
        Two assets whose columns were swapped, or more whose columns changed places in a circle.

    Examples
    --------
    >>> last, new = np.array([40_000.0, 2_500.0, 1.0]), np.array([2_520.0, 39_500.0, 1.0])
    >>> changed_places(new, last, np.array([True, True, False]))
    [(0, 1)]
    """
    places = np.flatnonzero(doubtful)
    if len(places) < 2:
        return []
    apart = np.abs(np.log(prices[places])[:, None] - np.log(last[places])[None, :])
    nearest = apart.argmin(axis=1).tolist()
    fits = (apart.min(axis=1) < NEAR).tolist()
    found, seen = [], set()
    for start in range(len(places)):
        circle, at = [], start
        while fits[at] and at not in seen and at not in circle:
            circle.append(at)
            at = nearest[at]
        if len(circle) > 1 and at == start:
            found.append(tuple(int(places[each]) for each in circle))
            seen.update(circle)
    return found


def plausibility_of(texts: Iterable[str], *, option: str = "--allow") -> Plausibility:
    """Read limits from texts such as `volatility=10`, which the command line takes.

    Raises
    ------
    PolicyError
        If a name is not that of a limit, a value is not a number, or a name is given twice.

    Examples
    --------
    >>> plausibility_of(["move=2", "still_bars=60"]).widened()
    {'move': 2.0, 'still_bars': 60}
    """
    given: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise PolicyError(
                f"{option} {text!r}: a limit and its value are needed, such as move=2"
            )
        if name in given:
            raise PolicyError(f"{option}: {name!r} is given twice; give it once")
        try:
            given[name] = float(value)
        except ValueError:
            raise PolicyError(f"{option} {name}: {value!r} is not a number") from None
    return plausibility_from(given, where=option)


def plausibility_from(given: Mapping[str, Any], *, where: str) -> Plausibility:
    """Make limits from names and values; the others have their defaults.

    Raises
    ------
    PolicyError
        If a name is unknown; it tells the known ones.

    Examples
    --------
    >>> plausibility_from({"volatilty": 10}, where="--allow")
    Traceback (most recent call last):
    mcmargin.errors.PolicyError: --allow: 'volatilty' is not a limit; it is one of volatility...
    """
    known = [each.name for each in fields(Plausibility)]
    for name in given:
        if name not in known:
            raise PolicyError(f"{where}: {name!r} is not a limit; it is one of {', '.join(known)}")
    # Files do not tell whole numbers from others.
    numbers = {
        name: int(limit) if isinstance(limit, float) and limit.is_integer() else limit
        for name, limit in given.items()
    }
    return Plausibility(**numbers)

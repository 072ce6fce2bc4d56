"""Static arbitrage between quotes of implied volatility.

In: quotes of all expiries. Out: linear conditions on their out-of-the-money prices, which hold if
and only if there is a surface without arbitrage through the quotes; and a text about the first
place where they fail. In each expiry, calls fall and are convex in the strike, starting from the
forward at the strike 0 (no butterfly arbitrage). Between expiries, strikes are compared as
multiples of the forward (no calendar arbitrage). There a later price must not be below what an
earlier expiry's quotes imply: the price at the same strike, or the higher of the two lines through
neighbouring quotes. And no price may be above a line between two prices of its own or later
expiries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import plain_time
from mcmargin.errors import DataError
from mcmargin.markets.otm import (
    Floats,
    above_envelope,
    is_call,
    lower_envelope,
    otm_prices,
    says_enough,
)
from mcmargin.markets.quotes import ExpiryQuotes

TOLERANCE = 1e-8
"""Share of an option's price by which a condition may fail. Volatilities that were implied from
prices are not more accurate."""

ROUNDING = 4e-16
"""Rounding error of float64 in a condition, as a share of the sum of its terms."""

SAME = 1e-12
"""Difference of log-moneyness below which two strikes are the same."""

REMEDY = "correct or leave out a quote, or use repair=True"

Indices = NDArray[np.intp]

Part = tuple[Indices, Floats, Floats]
"""Columns, coefficients and constants of some conditions, as in `Conditions`."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Quotes of all expiries in one row, without those whose price is at a bound.

    Attributes
    ----------
    k, x : ndarray of shape (quotes,), float64
        Log-moneyness, and strike over forward.
    expiry : ndarray of shape (quotes,), int
        Number of each quote's expiry.
    place : ndarray of shape (quotes,), int
        Number of each quote within its expiry.
    starts : ndarray of shape (expiries + 1,), int
        Place in the row at which the quotes of each expiry begin.
    """

    k: Floats
    x: Floats
    expiry: Indices
    place: Indices
    starts: Indices

    @classmethod
    def of(cls, quotes: Sequence[ExpiryQuotes]) -> Chain:
        """Make a chain of quotes, without those whose price is 0 or the bound, up to rounding."""
        kept = [
            np.flatnonzero(
                says_enough(each.log_moneyness, otm_prices(each.log_moneyness, each.variances))
            )
            for each in quotes
        ]
        k = np.concatenate(
            [each.log_moneyness[rows] for each, rows in zip(quotes, kept, strict=True)]
        )
        counts = [len(rows) for rows in kept]
        return cls(
            k,
            np.exp(k),
            np.repeat(np.arange(len(quotes)), counts),
            np.concatenate(kept),
            np.append(0, np.cumsum(counts)),
        )

    def take(self, arrays: Sequence[Floats]) -> Floats:
        """Put what is given for the quotes of each expiry in one row."""
        return np.array([arrays[e][p] for e, p in zip(self.expiry, self.place, strict=True)], float)

    def of_expiry(self, expiry: int) -> Indices:
        """Places in the row of an expiry's quotes."""
        return np.arange(self.starts[expiry], self.starts[expiry + 1])


@dataclass(frozen=True, eq=False)
class Conditions:
    """Sums of prices that must not be negative: coefficients @ prices[columns] + constant >= 0.

    Attributes
    ----------
    columns : ndarray of shape (conditions, 3), int
        Quotes of a chain. The condition limits the price of the first one.
    coefficients : ndarray of shape (conditions, 3), float64
    constant : ndarray of shape (conditions,), float64
    kind : str
        "rise", "butterfly", "calendar" or "spread".
    """

    columns: Indices
    coefficients: Floats
    constant: Floats
    kind: str

    def slack(self, prices: Floats) -> Floats:
        """Value of each sum as a share of the forward; it is negative if the condition fails."""
        return np.asarray((self.coefficients * prices[self.columns]).sum(axis=1) + self.constant)

    def failing(self, prices: Floats) -> Indices:
        """Places of the conditions that fail by more than the tolerance."""
        size = (np.abs(self.coefficients) * prices[self.columns]).sum(axis=1)
        allowed = TOLERANCE * prices[self.columns[:, 0]]
        allowed = allowed + ROUNDING * (size + np.abs(self.constant))
        if self.kind == "rise":
            # Calls must really fall: a spread between calls of one price would cost nothing.
            last = prices[self.columns[:, 0]]
            allowed = -TOLERANCE * np.minimum(last, 1.0 - last)
        return np.flatnonzero(self.slack(prices) < -allowed)

    def rows(self, which: Indices) -> Conditions:
        """Some of the conditions."""
        return Conditions(
            self.columns[which], self.coefficients[which], self.constant[which], self.kind
        )


def strike_conditions(chain: Chain, expiry: int) -> list[Conditions]:
    """Conditions of one expiry: calls fall at its last quote, and prices are convex at others."""
    at = chain.of_expiry(expiry)
    if len(at) < 2:
        return []
    middle, right = at[:-1], at[1:]
    left = middle - 1
    x_left = np.append(0.0, chain.x[at[:-2]])
    span = chain.x[right] - x_left
    weights = np.stack(
        [
            -np.ones(len(middle)),
            (chain.x[right] - chain.x[middle]) / span,
            (chain.x[middle] - x_left) / span,
        ],
        axis=1,
    )
    # The left neighbour of the first quote is the strike 0: a put costs 0, a call the forward.
    no_left = np.arange(len(middle)) == 0
    anchored = np.where(no_left & is_call(chain.k[middle]), weights[:, 1], 0.0)
    columns = np.stack([middle, np.where(no_left, middle, left), right], axis=1)
    fixed = np.where(no_left, 0.0, weights[:, 1])
    weights[:, 1] = fixed
    butterfly = _conditions(chain, columns, weights, anchored, "butterfly")
    last = np.array([[at[-1], at[-2], at[-1]]])
    fall = np.array([[-1.0, 1.0, 0.0]])
    # That calls fall means of puts that they rise by less than the strike.
    room = np.where(is_call(chain.k[at[-1:]]), 0.0, chain.x[at[-1]] - chain.x[at[-2]])
    return [_conditions(chain, last, fall, room, "rise"), butterfly]


def calendar_conditions(chain: Chain, earlier: int, later: int) -> Conditions:
    """Conditions that prices of a later expiry are not below what an earlier expiry implies."""
    at, ys = chain.of_expiry(earlier), chain.of_expiry(later)
    if len(at) == 0 or len(ys) == 0:
        return _joined(chain, [], "calendar")
    k, y = chain.k[at], chain.k[ys]
    nearest = _nearest(k, y)
    same = np.abs(k[nearest] - y) <= SAME
    # Place of the first earlier quote on the right of each later one.
    right = np.searchsorted(k, y)
    left_line = np.flatnonzero(~same & (right >= 1))
    right_line = np.flatnonzero(~same & (right + 1 < len(k)))
    beyond = np.flatnonzero(~same & (right + 1 == len(k)))
    parts = [
        _above_equal(ys[same], at[nearest[same]]),
        _above_left_line(chain, ys[left_line], at, right[left_line]),
        _above_right_line(chain, ys[right_line], at[right[right_line]]),
        _above_level(chain, ys[beyond], at[right[beyond]]),
    ]
    return _joined(chain, parts, "calendar")


def _nearest(k: Floats, y: Floats) -> Indices:
    """Place in `k`, which ascends, of the value nearest to each of `y`."""
    if len(k) == 1:
        return np.zeros(len(y), np.intp)
    after = np.clip(np.searchsorted(k, y), 1, len(k) - 1)
    return np.where(np.abs(k[after] - y) < np.abs(k[after - 1] - y), after, after - 1)


def _above_equal(later: Indices, earlier: Indices) -> Part:
    """Each later quote costs at least as much as the earlier one of the same log-moneyness."""
    return (
        np.stack([later, earlier, later], axis=1),
        np.tile([1.0, -1.0, 0.0], (len(later), 1)),
        np.zeros(len(later)),
    )


def _above_left_line(chain: Chain, later: Indices, at: Indices, right: Indices) -> Part:
    """Each later quote lies on or above the line through the two earlier quotes on its left.

    The farther one of them may be the strike 0, where a put costs nothing and a call the forward.

    Parameters
    ----------
    later : ndarray of shape (conditions,), int
    at : ndarray of shape (earlier quotes,), int
    right : ndarray of shape (conditions,), int
        Place in `at` of the first quote on the right of each later one; 1 or more.
    """
    x = chain.x
    near, far = at[right - 1], at[np.maximum(right - 2, 0)]
    zero = right < 2
    x_far = np.where(zero, 0.0, x[far])
    way = (x[later] - x[near]) / (x[near] - x_far)
    return (
        np.stack([later, near, far], axis=1),
        np.stack([np.ones(len(later)), -(1 + way), np.where(zero, 0.0, way)], axis=1),
        np.where(zero & is_call(chain.k[later]), way, 0.0),
    )


def _above_right_line(chain: Chain, later: Indices, near: Indices) -> Part:
    """Each later quote lies on or above the line through the two earlier quotes on its right."""
    x, far = chain.x, near + 1
    way = (x[near] - x[later]) / (x[far] - x[near])
    return (
        np.stack([later, near, far], axis=1),
        np.stack([np.ones(len(later)), -(1 + way), way], axis=1),
        np.zeros(len(later)),
    )


def _above_level(chain: Chain, later: Indices, last: Indices) -> Part:
    """A later call costs at least as much as the last earlier one on its right, as calls fall."""
    x = chain.x
    return (
        np.stack([later, last, last], axis=1),
        np.tile([1.0, -1.0, 0.0], (len(later), 1)),
        np.where(is_call(chain.k[later]), 0.0, x[last] - x[later]),
    )


def spread_conditions(chain: Chain, prices: Floats) -> Conditions:
    """Conditions that fail: quotes above a line between two quotes of their own or later expiries.

    There is such a condition for every triple of quotes, so that only those are made that fail. If
    none fails, each expiry's quotes lie on the lower convex envelope of all quotes of it and of
    later expiries, and the envelopes are a surface without arbitrage.
    """
    parts: list[Part] = []
    for expiry in range(len(chain.starts) - 2):
        rest = np.arange(chain.starts[expiry], len(chain.k))
        if len(rest) == 0:
            break
        # Of several quotes at one strike only the lowest counts.
        rest = rest[np.lexsort((prices[rest], chain.k[rest]))]
        rest = rest[np.append(True, np.diff(chain.k[rest]) > SAME)]
        # The strike 0, at which a put costs nothing, is the point before the first quote.
        k, points = np.append(-np.inf, chain.k[rest]), np.append(0.0, prices[rest])
        corners = lower_envelope(k, points)
        above, place = above_envelope(k, points, corners)
        own = np.append(False, chain.expiry[rest] == expiry)
        wrong = np.flatnonzero(own & (above > TOLERANCE))
        low, high = corners[place[wrong]], corners[place[wrong] + 1]
        x = np.exp(k)
        way = (x[wrong] - x[low]) / (x[high] - x[low])
        zero = low == 0
        parts.append(
            (
                np.stack([rest[wrong - 1], rest[np.maximum(low - 1, 0)], rest[high - 1]], axis=1),
                np.stack([-np.ones(len(wrong)), np.where(zero, 0.0, 1 - way), way], axis=1),
                np.where(zero & is_call(k[wrong]), 1 - way, 0.0),
            )
        )
    return _joined(chain, parts, "spread")


def _joined(chain: Chain, parts: Sequence[Part], kind: str) -> Conditions:
    """All conditions of several parts, of which there may be none."""
    none = np.zeros((0, 3), np.intp), np.zeros((0, 3)), np.zeros(0)
    columns, weights, constant = (np.concatenate(each) for each in zip(none, *parts, strict=True))
    return _conditions(chain, columns, weights, constant, kind)


def _conditions(
    chain: Chain, columns: Indices, weights: Floats, constant: Floats, kind: str
) -> Conditions:
    """Conditions on options of the first quote's kind, call or put, in out-of-the-money prices.

    An option of that kind that is in the money costs the out-of-the-money price and its intrinsic
    value.
    """
    calls = is_call(chain.k[columns])
    inside = np.where(calls != calls[:, :1], np.abs(chain.x[columns] - 1), 0.0)
    return Conditions(columns, weights, constant + (weights * inside).sum(axis=1), kind)


def all_conditions(chain: Chain) -> list[Conditions]:
    """All conditions of one expiry and of two, the soonest first; without `spread_conditions`."""
    found: list[Conditions] = []
    for later in range(len(chain.starts) - 1):
        found += strike_conditions(chain, later)
        found += [calendar_conditions(chain, at, later) for at in range(later)]
    return found


def require_no_arbitrage(quotes: Sequence[ExpiryQuotes], *, source: str) -> None:
    """Refuse quotes that admit an arbitrage.

    Raises
    ------
    DataError
        It names the worst arbitrage of the soonest expiry that has one.

    Examples
    --------
    >>> places, volatilities = np.log([0.9, 1.0, 1.1]), np.array([0.2, 0.5, 0.2])
    >>> one = ExpiryQuotes(np.datetime64("2021-03-26"), 0.2, 100.0, places, volatilities)
    >>> require_no_arbitrage([one], source="quotes.csv")
    Traceback (most recent call last):
    mcmargin.errors.DataError: quotes.csv: expiry 2021-03-26, strike 100: a call costs 0.0331 of...
    """
    chain = Chain.of(quotes)
    prices = otm_prices(chain.k, chain.take([each.variances for each in quotes]))
    total, told = 0, ""
    # An arbitrage of three expiries is told only if no two have one.
    for conditions in (*all_conditions(chain), spread_conditions(chain, prices)):
        failing = conditions.failing(prices)
        total += len(failing)
        if len(failing) and not told:
            worst = failing[np.argmin(conditions.slack(prices)[failing])]
            told = _told(quotes, chain, conditions, int(worst), prices)
    if total:
        more = f" (and {total - 1:,} more such places)" if total > 1 else ""
        raise DataError(f"{source}: {told}{more}; {REMEDY}")


def place_of(quotes: ExpiryQuotes, k: float) -> str:
    """Name a place on a smile: its strike, or its log-moneyness if no forward is known.

    Examples
    --------
    >>> one = ExpiryQuotes(np.datetime64("2021-03-26"), 0.2, 100.0, np.zeros(1), np.ones(1))
    >>> place_of(one, -0.1)
    'strike 90.4837'
    """
    if np.isnan(quotes.forward):
        return f"log-moneyness {k:.6g}"
    return f"strike {quotes.forward * np.exp(k):.6g}"


def _told(
    quotes: Sequence[ExpiryQuotes], chain: Chain, conditions: Conditions, at: int, prices: Floats
) -> str:
    first, second, third = conditions.columns[at].tolist()
    missing = -float(conditions.slack(prices)[at])
    own = quotes[chain.expiry[first]]
    names = [place_of(quotes[chain.expiry[each]], chain.k[each]) for each in (first, second, third)]
    start = f"expiry {plain_time(own.expiry)}, {names[0]}: "
    if conditions.kind == "rise" and missing < TOLERANCE * prices[first]:
        return f"{start}a call costs as much as at {names[1]}, and calls fall in the strike"
    if conditions.kind == "rise":
        return (
            f"{start}a call costs {missing:.3g} of the forward more than at {names[1]}, and calls "
            "fall in the strike"
        )
    if conditions.kind == "butterfly":
        low = "strike 0" if second == first else names[1]
        return (
            f"{start}a call costs {missing:.3g} of the forward more than the line between {low} "
            f"and {names[2]} allows: butterfly arbitrage"
        )
    if conditions.kind == "spread":
        low, high = (
            f"{name} of expiry {plain_time(quotes[chain.expiry[each]].expiry)}"
            for name, each in zip(names[1:], (second, third), strict=True)
        )
        low = low if conditions.coefficients[at, 1] else "strike 0"
        return (
            f"{start}a call costs {missing:.3g} of the forward more than the line between {low} "
            f"and {high} allows, at equal strike over forward: calendar arbitrage"
        )
    other = quotes[chain.expiry[second]]
    before = plain_time(other.expiry)
    if third == first:
        w, w_before = own.variances[chain.place[first]], other.variances[chain.place[second]]
        return (
            f"{start}total variance {w:.6g} is below the {w_before:.6g} of expiry {before} at the "
            "same log-moneyness: calendar arbitrage"
        )
    if third == second and chain.x[second] > chain.x[first]:
        return (
            f"{start}a call costs {missing:.3g} of the forward less than at {names[1]} of expiry "
            f"{before}: calendar arbitrage"
        )
    line = names[1:] if third != second else [names[1], "strike 0"]
    return (
        f"{start}an option costs {missing:.3g} of the forward less than the line through "
        f"{' and '.join(line)} of expiry {before} demands at the same log-moneyness: calendar "
        "arbitrage"
    )

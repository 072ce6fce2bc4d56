"""Static arbitrage between quotes of implied volatility: what the quotes themselves rule out.

In: quotes of all expiries. Out: linear conditions on their out-of-the-money prices, which hold if
and only if there is a surface without arbitrage through the quotes; and the first place where they
do not hold, as text. Per expiry calls fall and are convex in the strike, from the forward at the
strike 0 on (no butterfly arbitrage). Between expiries, at equal strike over forward, a later price
is not below what an earlier expiry's quotes imply: the price at the same strike, or else the higher
of the two lines through neighbouring quotes; and no price is above a line between two prices of its
own expiry or later ones (no calendar arbitrage).
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
"""Of an option's own price, by which a condition may fail: implied volatilities are no more
accurate than that when they are taken from prices."""

ROUNDING = 4e-16
"""Of the sum of a condition's terms: what float64 loses in it."""

SAME = 1e-12
"""Difference of log-moneyness below which two strikes are the same."""

MEND = "mend or leave out a quote, or use repair=True"

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Chain:
    """Quotes of all expiries in one row, of those whose price says something.

    Attributes
    ----------
    k, x : ndarray of shape (quotes,), float64
        Log-moneyness, and strike over forward.
    expiry : ndarray of shape (quotes,), int
        Which expiry each is of.
    place : ndarray of shape (quotes,), int
        Which quote of its expiry each is.
    starts : ndarray of shape (expiries + 1,), int
        Where the quotes of each expiry begin.
    """

    k: Floats
    x: Floats
    expiry: Indices
    place: Indices
    starts: Indices

    @classmethod
    def of(cls, quotes: Sequence[ExpiryQuotes]) -> Chain:
        """Chain of quotes; those that are left out cost less than float64 can tell, or all."""
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
        """One row of what is given for every quote of each expiry."""
        return np.array([arrays[e][p] for e, p in zip(self.expiry, self.place, strict=True)], float)

    def of_expiry(self, expiry: int) -> Indices:
        """Places of an expiry's quotes in the row."""
        return np.arange(self.starts[expiry], self.starts[expiry + 1])


@dataclass(frozen=True, eq=False)
class Conditions:
    """Sums of prices that must not be negative: coefficients @ prices[columns] + constant >= 0.

    Attributes
    ----------
    columns : ndarray of shape (conditions, 3), int
        Quotes of a chain; the first is the one whose price the condition limits.
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
        """What is left of each condition, in shares of the forward; negative where it fails."""
        return np.asarray((self.coefficients * prices[self.columns]).sum(axis=1) + self.constant)

    def failing(self, prices: Floats) -> Indices:
        """Conditions that fail by more than the tolerance."""
        size = (np.abs(self.coefficients) * prices[self.columns]).sum(axis=1)
        allowed = TOLERANCE * prices[self.columns[:, 0]]
        allowed = allowed + ROUNDING * (size + np.abs(self.constant))
        if self.kind == "rise":
            # Calls fall, and not only do not rise: as much bought as sold would cost nothing.
            last = prices[self.columns[:, 0]]
            allowed = -TOLERANCE * np.minimum(last, 1.0 - last)
        return np.flatnonzero(self.slack(prices) < -allowed)

    def rows(self, which: Indices) -> Conditions:
        """Some of the conditions."""
        return Conditions(
            self.columns[which], self.coefficients[which], self.constant[which], self.kind
        )


def strike_conditions(chain: Chain, expiry: int) -> list[Conditions]:
    """That calls fall at the last quote of an expiry, and that prices are convex at the others."""
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
    # The first quote's neighbour is the strike 0, where a put costs 0 and a call the forward.
    no_left = np.arange(len(middle)) == 0
    anchored = np.where(no_left & is_call(chain.k[middle]), weights[:, 1], 0.0)
    columns = np.stack([middle, np.where(no_left, middle, left), right], axis=1)
    fixed = np.where(no_left, 0.0, weights[:, 1])
    weights[:, 1] = fixed
    butterfly = _conditions(chain, columns, weights, anchored, "butterfly")
    last = np.array([[at[-1], at[-2], at[-1]]])
    fall = np.array([[-1.0, 1.0, 0.0]])
    # Of puts: they rise by no more than the strike.
    room = np.where(is_call(chain.k[at[-1:]]), 0.0, chain.x[at[-1]] - chain.x[at[-2]])
    return [_conditions(chain, last, fall, room, "rise"), butterfly]


def calendar_conditions(chain: Chain, earlier: int, later: int) -> Conditions:
    """That prices of a later expiry are not below what an earlier expiry's quotes imply."""
    at, ys = chain.of_expiry(earlier), chain.of_expiry(later)
    if len(at) == 0 or len(ys) == 0:
        return _conditions(
            chain, np.zeros((0, 3), np.intp), np.zeros((0, 3)), np.zeros(0), "calendar"
        )
    k, y = chain.k[at], chain.k[ys]
    near = np.clip(np.searchsorted(k, y), 1, max(len(k) - 1, 1)) if len(k) > 1 else None
    nearest = (
        np.zeros(len(y), np.intp)
        if near is None
        else np.where(np.abs(k[near] - y) < np.abs(k[near - 1] - y), near, near - 1)
    )
    same = np.abs(k[nearest] - y) <= SAME
    parts = [
        (
            np.stack([ys[same], at[nearest[same]], ys[same]], axis=1),
            np.tile([1.0, -1.0, 0.0], (int(same.sum()), 1)),
            np.zeros(int(same.sum())),
        )
    ]
    right = np.searchsorted(k, y)
    x, call = chain.x, is_call(y)
    # The line through the two quotes on the left; the strike 0 may be one of them.
    rows = np.flatnonzero(~same & (right >= 1))
    b, a = at[right[rows] - 1], right[rows] - 2
    zero = a < 0
    a = at[np.maximum(a, 0)]
    x_a = np.where(zero, 0.0, x[a])
    way = (x[ys[rows]] - x[b]) / (x[b] - x_a)
    parts.append(
        (
            np.stack([ys[rows], b, a], axis=1),
            np.stack([np.ones(len(rows)), -(1 + way), np.where(zero, 0.0, way)], axis=1),
            np.where(zero & call[rows], way, 0.0),
        )
    )
    # The line through the two quotes on the right.
    rows = np.flatnonzero(~same & (right + 1 < len(k)))
    c, d = at[right[rows]], at[np.minimum(right[rows] + 1, len(k) - 1)]
    way = (x[c] - x[ys[rows]]) / (x[d] - x[c])
    parts.append(
        (
            np.stack([ys[rows], c, d], axis=1),
            np.stack([np.ones(len(rows)), -(1 + way), way], axis=1),
            np.zeros(len(rows)),
        )
    )
    # Beyond the last quote on the right calls fall: its line is level.
    rows = np.flatnonzero(~same & (right + 1 == len(k)))
    c = at[right[rows]]
    parts.append(
        (
            np.stack([ys[rows], c, c], axis=1),
            np.tile([1.0, -1.0, 0.0], (len(rows), 1)),
            np.where(call[rows], 0.0, x[c] - x[ys[rows]]),
        )
    )
    columns, weights, constant = (np.concatenate(each) for each in zip(*parts, strict=True))
    return _conditions(chain, columns, weights, constant, "calendar")


def spread_conditions(chain: Chain, prices: Floats) -> Conditions:
    """Conditions that these prices break: quotes above lines between quotes of their own and later
    expiries.

    Such conditions are as many as there are triples of quotes; those that others imply are never
    made. Where none is broken, each expiry's quotes lie on the lower convex envelope of all quotes
    from it on; the envelopes are a surface without arbitrage.
    """
    columns, weights, constant = [], [], []
    for expiry in range(len(chain.starts) - 2):
        rest = np.arange(chain.starts[expiry], len(chain.k))
        if len(rest) == 0:
            break
        # Of quotes at one strike the lowest.
        rest = rest[np.lexsort((prices[rest], chain.k[rest]))]
        rest = rest[np.append(True, np.diff(chain.k[rest]) > SAME)]
        # The strike 0, where a put costs nothing, is the point before the first.
        k, points = np.append(-np.inf, chain.k[rest]), np.append(0.0, prices[rest])
        corners = lower_envelope(k, points)
        above, place = above_envelope(k, points, corners)
        own = np.append(False, chain.expiry[rest] == expiry)
        wrong = np.flatnonzero(own & (above > TOLERANCE))
        low, high = corners[place[wrong]], corners[place[wrong] + 1]
        x = np.exp(k)
        way = (x[wrong] - x[low]) / (x[high] - x[low])
        zero = low == 0
        columns.append(
            np.stack([rest[wrong - 1], rest[np.maximum(low - 1, 0)], rest[high - 1]], axis=1)
        )
        weights.append(np.stack([-np.ones(len(wrong)), np.where(zero, 0.0, 1 - way), way], axis=1))
        constant.append(np.where(zero & is_call(k[wrong]), 1 - way, 0.0))
    if not columns:
        return _conditions(
            chain, np.zeros((0, 3), np.intp), np.zeros((0, 3)), np.zeros(0), "spread"
        )
    return _conditions(
        chain, np.concatenate(columns), np.concatenate(weights), np.concatenate(constant), "spread"
    )


def _conditions(
    chain: Chain, columns: Indices, weights: Floats, constant: Floats, kind: str
) -> Conditions:
    """Conditions on options of the first quote's kind, in terms of out-of-the-money prices.

    An option of that kind which is in the money costs its intrinsic value more.
    """
    calls = is_call(chain.k[columns])
    inside = np.where(calls != calls[:, :1], np.abs(chain.x[columns] - 1), 0.0)
    return Conditions(columns, weights, constant + (weights * inside).sum(axis=1), kind)


def all_conditions(chain: Chain) -> list[Conditions]:
    """Conditions on quotes of one expiry, and of two, soonest first; not `spread_conditions`."""
    found: list[Conditions] = []
    for later in range(len(chain.starts) - 1):
        found += strike_conditions(chain, later)
        found += [calendar_conditions(chain, at, later) for at in range(later)]
    return found


def require_no_arbitrage(quotes: Sequence[ExpiryQuotes], *, source: str) -> None:
    """Raise DataError for arbitrage between quotes: at the soonest expiry that has one, the worst.

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
    # What three expiries break together is looked for where no two do.
    for conditions in (*all_conditions(chain), spread_conditions(chain, prices)):
        failing = conditions.failing(prices)
        total += len(failing)
        if len(failing) and not told:
            worst = failing[np.argmin(conditions.slack(prices)[failing])]
            told = _told(quotes, chain, conditions, int(worst), prices)
    if total:
        more = f" (and {total - 1:,} more such places)" if total > 1 else ""
        raise DataError(f"{source}: {told}{more}; {MEND}")


def place_of(quotes: ExpiryQuotes, k: float) -> str:
    """Say where on a smile: the strike, or log-moneyness where no forward is known.

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

"""Repair of quotes that admit an arbitrage: the smallest change that removes it.

In: quotes of all expiries, with bid and ask where they are known. Out: the same quotes, some of
them moved. A linear programme over out-of-the-money prices minimises the sum of the changes of
volatility under all conditions of `mcmargin.markets.arbitrage` at once, within bid and ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array, dia_array, hstack, vstack

from mcmargin.errors import DataError
from mcmargin.markets.arbitrage import Chain, Conditions, Indices, all_conditions, spread_conditions
from mcmargin.markets.otm import Floats, is_call, otm_prices
from mcmargin.markets.quotes import ExpiryQuotes
from mcmargin.numerics.implied import implied_volatility

LEAST_DENSITY = 1e-4
"""Of the density that one volatility alone would have: repaired prices are so convex at least, so
that no probability is quite 0."""

LEAST_FALL = 0.05
"""Of the fall that calls at the last two quotes would have at one volatility: with less the tail
beyond them would be of no sensible volatility."""

STRAIGHT = 1e-11
"""Of a price, by which it may be above a straight line and count as on it."""

LEAST_RISE = 1e-6
"""Of a price, by which a later one exceeds what earlier quotes imply."""

PRICE_FOR_VOLATILITY = 5.0
"""Relative change of a price that weighs as much as a volatility's by 1: near the forward, at a
volatility of 0.2, a change of either alone weighs the same."""

LARGEST_WEIGHT = 0.05
"""Of the largest change in each expiry, beside the sum of all: of equal sums the one that is spread
over more quotes is taken, and one quote that is wrong alone still moves alone."""

LARGEST_RATIO = 1e4
"""Of a condition's terms to the price that it limits, above which it is counted in the terms."""

UNBOUNDED = 1e12
"""Times a price's size, beyond which a bound on it or on a condition bounds nothing."""

LARGEST_COST = 1e6
"""Of a change by a price's size; it is as good as none."""

SMALLEST_LEFT = 1e-6
"""Of a price, that remains of it in one pass."""

FAR = 0.5
"""Of the measure, from which the slope at the quotes may mislead."""

PASSES = 6
"""At most; a price that moves far is measured anew in each."""

SETTLED = 1e-3
"""Change of a pass's objective, as a share, below which there is no other."""


def repaired(quotes: Sequence[ExpiryQuotes], *, source: str) -> list[ExpiryQuotes]:
    """Quotes without arbitrage, of which as little as possible is moved.

    The measure is the sum over all quotes of |ln(p' / p)| + 5 |v' - v|, of the out-of-the-money
    price p and the volatility v, and a twentieth of the largest of these in each expiry. A
    programme is linear in prices: it takes the measure's slope at the quote, or for a quote that
    moves far, the secant to where it went in the pass before.

    Raises
    ------
    DataError
        If no prices within bid and ask are without arbitrage.

    References
    ----------
    S. Cohen, C. Reisinger and S. Wang, "Detecting and repairing arbitrage in traded option prices",
    Applied Mathematical Finance 27 (2020).

    Examples
    --------
    >>> places, volatilities = np.log([0.9, 1.0, 1.1]), np.array([0.2, 0.5, 0.2])
    >>> one = ExpiryQuotes(np.datetime64("2021-03-26"), 0.2, 100.0, places, volatilities)
    >>> repaired([one], source="quotes.csv")[0].volatilities.round(4).tolist()
    [0.2, 0.3137, 0.2]
    """
    chain = Chain.of(quotes)
    if len(chain.k) == 0:
        return list(quotes)
    problem = _Problem(quotes, chain)
    if not problem.fails(problem.quoted):
        return list(quotes)
    prices = problem.solved()
    if prices is None:
        raise DataError(f"{source}: {problem.why_not()}")
    volatilities = [each.volatilities.copy() for each in quotes]
    for at in np.flatnonzero(prices != problem.quoted):
        expiry, place = chain.expiry[at], chain.place[at]
        volatilities[expiry][place] = problem.volatility(prices, np.array([at]))[0]
    return [
        replace(each, volatilities=moved) for each, moved in zip(quotes, volatilities, strict=True)
    ]


class _Problem:
    """Quotes, conditions on them, and the programmes that move them."""

    def __init__(self, quotes: Sequence[ExpiryQuotes], chain: Chain) -> None:
        self.chain = chain
        self.time = np.array([each.time for each in quotes])[chain.expiry]
        self.sigma = chain.take([each.volatilities for each in quotes])
        self.quoted = otm_prices(chain.k, self.sigma**2 * self.time)
        self.bounds = self._bounds(quotes)
        self.conditions = all_conditions(chain)
        self.margins = [self._margin(each) for each in self.conditions]

    def _price(self, volatility: Floats) -> Floats:
        return otm_prices(self.chain.k, volatility**2 * self.time)

    def _bounds(self, quotes: Sequence[ExpiryQuotes]) -> tuple[Floats, Floats]:
        """Least and greatest price of each quote: of bid and ask, or those of an option."""
        bid = self.chain.take([each.bids for each in quotes])
        ask = self.chain.take([each.asks for each in quotes])
        most = (1 - 1e-9) * np.minimum(self.chain.x, 1.0)
        with np.errstate(invalid="ignore"):
            low = np.where(np.isnan(bid), 0.0, self._price(np.where(np.isnan(bid), 1.0, bid)))
            high = np.where(np.isnan(ask), most, self._price(np.where(np.isnan(ask), 1.0, ask)))
        return low, high

    def _margin(self, conditions: Conditions) -> Floats:
        """By how much repaired prices keep each condition, or as quoted ones do that keep it."""
        limited, kept = conditions.columns[:, 0], conditions.slack(self.quoted)
        # Quotes on a straight line stay there: what is below 0 by rounding alone is kept.
        kept = np.where(kept < -STRAIGHT * self.quoted[limited], np.inf, kept)
        kept[conditions.failing(self.quoted)] = np.inf
        if conditions.kind in ("calendar", "spread"):
            return np.asarray(np.minimum(LEAST_RISE * self.quoted[limited], kept))
        # What is left of the condition where all three volatilities are the middle one's.
        w = self.sigma[limited] ** 2 * self.time[limited]
        prices = [otm_prices(self.chain.k[conditions.columns[:, at]], w) for at in range(3)]
        terms = (conditions.coefficients * np.stack(prices, axis=1)).sum(axis=1)
        flat = np.maximum(terms + conditions.constant, 0.0)
        least = LEAST_FALL if conditions.kind == "rise" else LEAST_DENSITY
        return np.asarray(np.minimum(least * flat, kept))

    def volatility(self, prices: Floats, at: Indices) -> Floats:
        """Implied volatilities of some of the prices."""
        found = implied_volatility(
            prices[at], 1.0, self.chain.x[at], self.time[at], is_call(self.chain.k[at])
        )
        return np.asarray(found)

    def fails(self, prices: Floats) -> bool:
        """Whether prices admit an arbitrage."""
        return any(len(each.failing(prices)) for each in self.conditions) or bool(
            len(spread_conditions(self.chain, prices).columns)
        )

    def solved(self) -> Floats | None:
        """Prices that keep all conditions; None if there are none within the bounds.

        First with the measure's slope at each quote; where quotes then move far, with its slope on
        the way to where they may have to go as well. The cheaper is taken.
        """
        best, least = self._from(*self._slopes(self.sigma, self.sigma, self.sigma))
        if best is None or least > FAR:
            other, cost = self._from(*self._slopes(*self._levels()))
            if cost < least:
                best = other
        return best

    def _from(self, scale: Floats, up: Floats, down: Floats) -> tuple[Floats | None, float]:
        """The cheapest prices of some passes, and their measure."""
        best, least = None, np.inf
        for _ in range(PASSES):
            prices = self._programme(scale, up, down)
            if prices is None:
                break
            cost = self._cost(prices)
            if self.fails(prices):
                # Of a price far from its guess the programme's own tolerance is too coarse.
                cost = np.inf
            if cost < least:
                settled = least < (1 + SETTLED) * cost
                best, least = prices, cost
                if settled:
                    break
            elif best is not None:
                break
            moved = np.flatnonzero(prices != self.quoted)
            with np.errstate(all="ignore"):
                change = self._change(prices[moved], moved, self.volatility(prices, moved))
                secant = change / np.abs(prices[moved] - self.quoted[moved])
            usable = np.isfinite(secant) & (secant > 0)
            moved, secant = moved[usable], secant[usable]
            rises = prices[moved] > self.quoted[moved]
            up[moved[rises]], down[moved[~rises]] = secant[rises], secant[~rises]
            scale = np.maximum(prices, SMALLEST_LEFT * self.quoted)
        return best, least

    def _cost(self, prices: Floats) -> float:
        moved = np.flatnonzero(prices != self.quoted)
        change = np.zeros(len(prices))
        change[moved] = self._change(prices[moved], moved, self.volatility(prices, moved))
        starts = self.chain.starts
        largest = [change[a:b].max(initial=0.0) for a, b in pairwise(starts)]
        return float(change.sum() + LARGEST_WEIGHT * sum(largest))

    def _change(self, prices: Floats, at: Indices, volatilities: Floats) -> Floats:
        """Measure of the change from some of the quotes."""
        with np.errstate(divide="ignore"):
            relative = np.abs(np.log(prices / self.quoted[at]))
        return np.asarray(relative + PRICE_FOR_VOLATILITY * np.abs(volatilities - self.sigma[at]))

    def _levels(self) -> tuple[Floats, Floats, Floats]:
        """Volatility near each quote, and to which it may have to rise and to fall.

        A quote that lies far from its neighbours, or below an earlier expiry, will be moved far.
        """
        sigma, chain = self.sigma, self.chain
        high, low = sigma.copy(), sigma.copy()
        near = sigma.copy()
        for expiry in range(len(chain.starts) - 1):
            at = chain.of_expiry(expiry)
            if len(at) > 2:
                middle = at[1:-1]
                share = (chain.k[middle] - chain.k[at[:-2]]) / (chain.k[at[2:]] - chain.k[at[:-2]])
                line = (1 - share) * sigma[at[:-2]] + share * sigma[at[2:]]
                near[middle] = np.median([sigma[at[:-2]], sigma[middle], sigma[at[2:]]], axis=0)
                high[middle] = np.maximum(high[middle], line)
                low[middle] = np.minimum(low[middle], line)
            for other in range(len(chain.starts) - 1):
                there = chain.of_expiry(other)
                if other == expiry or len(there) == 0 or len(at) == 0:
                    continue
                w = np.interp(chain.k[at], chain.k[there], sigma[there] ** 2 * self.time[there])
                level = np.sqrt(w / self.time[at])
                if other < expiry:
                    high[at] = np.maximum(high[at], level)
                else:
                    low[at] = np.minimum(low[at], level)
        return near, high, low

    def _slopes(self, near: Floats, high: Floats, low: Floats) -> tuple[Floats, Floats, Floats]:
        """Size of each price, and the measure of its change by one, upwards and downwards."""
        step, everywhere = 1e-6 * self.sigma, np.arange(len(self.sigma))
        costs = []
        for to in (np.maximum(high, self.sigma + step), np.minimum(low, self.sigma - step)):
            price = np.maximum(self._price(to), SMALLEST_LEFT * self.quoted)
            costs.append(self._change(price, everywhere, to) / np.abs(price - self.quoted))
        scale = np.maximum(self._price(near), SMALLEST_LEFT * self.quoted)
        return scale, costs[0], costs[1]

    def _programme(self, scale: Floats, up: Floats, down: Floats) -> Floats | None:
        """Prices that cost least; with conditions added as they are found to fail."""
        chosen = [
            np.ones(len(each.columns), bool)
            if each.kind in ("rise", "butterfly")
            else (each.kind == "spread")
            | (each.slack(self.quoted) < self.quoted[each.columns[:, 0]])
            for each in self.conditions
        ]
        while True:
            prices = self._solve(scale, up, down, [np.flatnonzero(each) for each in chosen])
            if prices is None:
                return None
            fresh = 0
            for each, taken in zip(self.conditions, chosen, strict=True):
                new = np.setdiff1d(each.failing(prices), np.flatnonzero(taken))
                taken[new] = True
                fresh += len(new)
            spread = spread_conditions(self.chain, prices)
            if not fresh and len(spread.columns):
                fresh = len(spread.columns)
                self.conditions.append(spread)
                self.margins.append(self._margin(spread))
                chosen.append(np.ones(fresh, bool))
            if not fresh:
                return prices

    def _solve(
        self, scale: Floats, up: Floats, down: Floats, chosen: list[Indices]
    ) -> Floats | None:
        count = len(scale)
        rows, limits = [], []
        for each, margin, which in zip(self.conditions, self.margins, chosen, strict=True):
            part = each.rows(which)
            terms = part.coefficients * scale[part.columns]
            size = np.maximum(
                scale[part.columns[:, 0]], np.abs(terms).max(axis=1, initial=0.0) / LARGEST_RATIO
            )
            shape = (len(which), count)
            places = np.repeat(np.arange(len(which)), 3)
            values = (terms / size[:, None]).ravel()
            rows.append(csr_array(coo_array((values, (places, part.columns.ravel())), shape)))
            limits.append(np.minimum((part.slack(self.quoted) - margin[which]) / size, UNBOUNDED))
        matrix, limit = vstack(rows), np.concatenate(limits)
        # A change up and one down of each price, in units of its size.
        low, high = self.bounds
        cost = np.concatenate([scale * up, scale * down])
        cost = np.minimum(np.where(np.isfinite(cost), cost, np.inf), LARGEST_COST)
        expiries = len(self.chain.starts) - 1
        most = np.concatenate(
            [(high - self.quoted) / scale, (self.quoted - low) / scale - SMALLEST_LEFT]
        )
        # Besides the prices, the largest change of each expiry, which no change of it exceeds.
        own = coo_array((np.ones(count), (np.arange(count), self.chain.expiry)), (count, expiries))
        changes = hstack(
            [
                dia_array((cost[None, :count], 0), (count, count)),
                dia_array((cost[None, count:], 0), (count, count)),
                -own,
            ]
        )
        found = linprog(  # type: ignore[call-overload]  # the stubs know no sparse arrays
            np.append(cost, np.full(expiries, LARGEST_WEIGHT)),
            A_ub=vstack([hstack([-matrix, matrix, coo_array((len(limit), expiries))]), changes]),
            b_ub=np.append(limit, np.zeros(count)),
            bounds=np.stack(
                [
                    np.zeros(2 * count + expiries),
                    np.append(np.clip(most, 0.0, UNBOUNDED), np.full(expiries, np.inf)),
                ],
                axis=1,
            ),
            method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if found.x is None:
            return None
        change = found.x[:count] - found.x[count : 2 * count]
        return np.asarray(np.where(change == 0, self.quoted, self.quoted + scale * change))

    def why_not(self) -> str:
        """Say that there is no repair, and what to do."""
        low, high = self.bounds
        if (low > 0).any() or (high < (1 - 1e-9) * np.minimum(self.chain.x, 1.0)).any():
            return (
                "no prices between bid and ask are free of arbitrage; leave out the columns bid "
                "and ask, so that quotes may be moved farther, or mend the quotes"
            )
        return "the quotes cannot be repaired; leave some of them out"

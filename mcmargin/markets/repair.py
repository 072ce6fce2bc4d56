"""Repair of quotes that admit an arbitrage: the smallest change that removes it.

In: quotes of all expiries, with bid and ask if they are known. Out: the same quotes, some of them
moved. A linear programme in out-of-the-money prices minimises the sum of the changes, under all
conditions of `mcmargin.markets.arbitrage` at once and within bid and ask.
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
"""Least density of repaired prices, as a share of the density that one volatility for all three
quotes would give: no probability becomes 0."""

LEAST_FALL = 0.05
"""Least fall of repaired calls between the last two quotes, as a share of the fall that one
volatility for both would give. With less, the tail beyond them would have an absurd volatility."""

STRAIGHT = 1e-11
"""Share of a price by which it may lie above a straight line and still count as on it."""

LEAST_RISE = 1e-6
"""Share of its price by which a repaired later quote exceeds what earlier quotes imply."""

PRICE_FOR_VOLATILITY = 5.0
"""Weight of a change of the volatility beside a relative change of the price. Near the forward, at
a volatility of 0.2, both then weigh the same."""

LARGEST_WEIGHT = 0.05
"""Weight of the largest change in each expiry beside the sum of all changes. Of two repairs with
the same sum, the one that is spread over more quotes is taken. If one quote alone is wrong, it
still moves alone."""

LARGEST_RATIO = 1e4
"""Ratio of a condition's terms to the price that it limits above which the condition is scaled by
its terms instead of the price."""

UNBOUNDED = 1e12
"""A bound that is larger than this many times the size of a price counts as none."""

LARGEST_COST = 1e6
"""Largest cost of a change by a price's own size."""

SMALLEST_LEFT = 1e-6
"""Least share of a price that one pass leaves."""

FAR = 0.5
"""Measure above which quotes move so far that its slope at the quotes may mislead."""

PASSES = 6
"""Largest number of passes; each takes the secant of the pass before for prices that move far."""

SETTLED = 1e-3
"""Relative improvement of a pass below which no other pass follows."""


def repaired(quotes: Sequence[ExpiryQuotes], *, source: str) -> list[ExpiryQuotes]:
    """Move quotes as little as possible, so that they admit no arbitrage.

    A change is measured by |ln(p' / p)| + 5 |v' - v|, with the out-of-the-money price p and the
    volatility v. The sum over all quotes is minimised, plus a twentieth of the largest change in
    each expiry. The programme is linear in prices. It takes the slope of the measure at the quote
    or, for a quote that moves far, the secant to its price in the pass before.

    Raises
    ------
    DataError
        If there are no prices within bid and ask that admit no arbitrage.

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
    """The quotes, the conditions on them, and the programmes that move them."""

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
        """Least and largest price of each quote: those of bid and ask, or else of any option."""
        bid = self.chain.take([each.bids for each in quotes])
        ask = self.chain.take([each.asks for each in quotes])
        most = (1 - 1e-9) * np.minimum(self.chain.x, 1.0)
        with np.errstate(invalid="ignore"):
            low = np.where(np.isnan(bid), 0.0, self._price(np.where(np.isnan(bid), 1.0, bid)))
            high = np.where(np.isnan(ask), most, self._price(np.where(np.isnan(ask), 1.0, ask)))
        return low, high

    def _margin(self, conditions: Conditions) -> Floats:
        """Slack that repaired prices must leave in each condition.

        If the quoted prices keep a condition with less slack, theirs is enough.
        """
        limited, kept = conditions.columns[:, 0], conditions.slack(self.quoted)
        # Quotes on a straight line may stay there, although rounding makes their slack negative.
        kept = np.where(kept < -STRAIGHT * self.quoted[limited], np.inf, kept)
        kept[conditions.failing(self.quoted)] = np.inf
        if conditions.kind in ("calendar", "spread"):
            return np.asarray(np.minimum(LEAST_RISE * self.quoted[limited], kept))
        # The slack if all three quotes had the volatility of the one that is limited.
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

        The first programme takes the slope of the measure at each quote. If quotes move far, a
        second one takes its slope on the way to where they may have to go. The better result
        counts.
        """
        best, least = self._from(*self._slopes(self.sigma, self.sigma, self.sigma))
        if best is None or least > FAR:
            other, cost = self._from(*self._slopes(*self._targets()))
            if cost < least:
                best = other
        return best

    def _from(self, scale: Floats, up: Floats, down: Floats) -> tuple[Floats | None, float]:
        """The prices of the pass with the least measure, and the measure."""
        best, least = None, np.inf
        for _ in range(PASSES):
            prices = self._programme(scale, up, down)
            if prices is None:
                break
            cost = self._cost(prices)
            if self.fails(prices):
                # The solver's tolerance is too coarse for a price far from its guess.
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
        """Measure of the change of some quotes."""
        with np.errstate(divide="ignore"):
            relative = np.abs(np.log(prices / self.quoted[at]))
        return np.asarray(relative + PRICE_FOR_VOLATILITY * np.abs(volatilities - self.sigma[at]))

    def _targets(self) -> tuple[Floats, Floats, Floats]:
        """Usual volatility near each quote, and those to which it may have to rise or to fall.

        A quote that lies far from its neighbours, or below an earlier expiry, will move far.
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
                implied = np.sqrt(w / self.time[at])
                if other < expiry:
                    high[at] = np.maximum(high[at], implied)
                else:
                    low[at] = np.minimum(low[at], implied)
        return near, high, low

    def _slopes(self, near: Floats, high: Floats, low: Floats) -> tuple[Floats, Floats, Floats]:
        """Size of each price, and the slope of the measure upwards and downwards."""
        step, everywhere = 1e-6 * self.sigma, np.arange(len(self.sigma))
        costs = []
        for to in (np.maximum(high, self.sigma + step), np.minimum(low, self.sigma - step)):
            price = np.maximum(self._price(to), SMALLEST_LEFT * self.quoted)
            costs.append(self._change(price, everywhere, to) / np.abs(price - self.quoted))
        scale = np.maximum(self._price(near), SMALLEST_LEFT * self.quoted)
        return scale, costs[0], costs[1]

    def _programme(self, scale: Floats, up: Floats, down: Floats) -> Floats | None:
        """Prices of the least cost; conditions are added when they are found to fail."""
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
        # The unknowns are a rise and a fall of each price, in units of its size.
        low, high = self.bounds
        cost = np.concatenate([scale * up, scale * down])
        cost = np.minimum(np.where(np.isfinite(cost), cost, np.inf), LARGEST_COST)
        expiries = len(self.chain.starts) - 1
        most = np.concatenate(
            [(high - self.quoted) / scale, (self.quoted - low) / scale - SMALLEST_LEFT]
        )
        # Other unknowns are the largest changes of the expiries, which no change may exceed.
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
        """Say why there is no repair, and what to do."""
        low, high = self.bounds
        if (low > 0).any() or (high < (1 - 1e-9) * np.minimum(self.chain.x, 1.0)).any():
            return (
                "no prices between bid and ask are free of arbitrage; leave out the columns bid "
                "and ask, so that quotes may be moved farther, or correct the quotes"
            )
        return "the quotes cannot be repaired; leave some of them out"

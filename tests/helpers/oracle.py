"""Quotes without arbitrage found by a linear programme of scipy: what a repair is held against."""

import numpy as np
from scipy.optimize import linprog

from mcmargin.data.bars import years_between
from mcmargin.numerics.black import black76_greeks
from mcmargin.numerics.implied import implied_volatility
from tests.helpers.chains import AS_OF, on_surface, otm


class Oracle:
    """Call prices at the strikes of all expiries, as variables of a linear programme."""

    def __init__(self, frame):
        self.expiry = np.unique(frame["expiry"], return_inverse=True)[1]
        self.x, place = np.unique(
            (frame["strike"] / frame["forward"]).round(12), return_inverse=True
        )
        self.count, self.expiries = len(self.x), self.expiry.max() + 1
        time = years_between(AS_OF, frame["expiry"].to_numpy("datetime64[ns]"))
        x = self.x[place]
        self.otm = otm(x, frame["volatility"].to_numpy(), time)
        self.calls = self.otm + np.maximum(1 - x, 0)
        vega = black76_greeks(1.0, x, frame["volatility"].to_numpy(), time).vega
        self.cost = 1 / self.otm + 5 / vega
        self.at = self.expiry * self.count + place

    def conditions(self, extra):
        """Rows and limits of A p <= b, with room for more variables."""
        rows, limits = [], []

        def row(limit, entries):
            rows.append(np.zeros(self.expiries * self.count + extra))
            for place, value in entries:
                rows[-1][place] += value
            # A row's own size, so that the programme's tolerance means the same in all.
            size = np.abs(rows[-1]).max()
            rows[-1] /= size
            limits.append(limit / size)

        for expiry in range(self.expiries):
            start = expiry * self.count
            for at, x in enumerate(self.x):
                left = self.x[at - 1] if at else 0.0
                if at + 1 < self.count:
                    right = self.x[at + 1]
                    # Convex with its neighbours; a call at the strike 0 costs 1.
                    entries = [(start + at, right - left), (start + at + 1, left - x)]
                    if at:
                        entries.append((start + at - 1, x - right))
                    row(0.0 if at else right - x, entries)
                else:
                    row(0.0, [(start + at, 1.0), (start + at - 1, -1.0)])
                row(x - 1, [(start + at, -1.0)])
                if expiry:
                    row(0.0, [(start + at - self.count, 1.0), (start + at, -1.0)])
        return rows, limits

    def feasible(self):
        rows, limits = self.conditions(0)
        fixed = np.zeros((len(self.at), self.expiries * self.count))
        fixed[np.arange(len(self.at)), self.at] = 1.0
        found = linprog(
            np.zeros(fixed.shape[1]), rows, limits, fixed, self.calls, (0, None), method="highs"
        )
        return found.status == 0

    def repaired(self):
        """Out-of-the-money prices of quotes moved by the least that a change costs at first."""
        quotes, prices = len(self.at), self.expiries * self.count
        rows, limits = self.conditions(quotes + self.expiries)
        for each in range(quotes):
            for sign in (1.0, -1.0):
                more = np.zeros(prices + quotes + self.expiries)
                more[self.at[each]], more[prices + each] = sign, -1 / self.cost[each]
                rows.append(more)
                limits.append(sign * self.calls[each])
            more = np.zeros(prices + quotes + self.expiries)
            more[prices + each], more[prices + quotes + self.expiry[each]] = 1.0, -1.0
            rows.append(more)
            limits.append(0.0)
        cost = np.concatenate([np.zeros(prices), np.ones(quotes), np.full(self.expiries, 0.05)])
        found = linprog(cost, rows, limits, bounds=(0, None), method="highs")
        assert found.status == 0
        return self.otm + found.x[self.at] - self.calls

    def measure(self, frame, prices):
        """The measure of change as it is declared; infinite where a price is out of its bounds."""
        time = years_between(AS_OF, frame["expiry"].to_numpy("datetime64[ns]"))
        x = (frame["strike"] / frame["forward"]).to_numpy()
        volatilities = implied_volatility(prices, 1.0, x, time, x > 1)
        change = np.abs(np.log(np.maximum(prices, 1e-300) / self.otm))
        change = change + 5 * np.abs(volatilities - frame["volatility"].to_numpy())
        change = np.where(np.isnan(change), np.inf, change)
        largest = [change[self.expiry == each].max() for each in range(self.expiries)]
        return change.sum() + 0.05 * sum(largest)

    def cost_of(self, frame, surface):
        time = years_between(AS_OF, frame["expiry"].to_numpy("datetime64[ns]"))
        x = (frame["strike"] / frame["forward"]).to_numpy()
        return self.measure(frame, otm(x, on_surface(surface, frame), time))

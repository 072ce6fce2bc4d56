"""Volatility surface: implied volatility over time and log-moneyness, from quotes.

In: quotes of implied volatility at one moment. Out: a frozen surface without static arbitrage, and
its slice at one time for many scenarios.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.audit import fingerprint as digest
from mcmargin.checks import plain_time
from mcmargin.data.bars import years_between
from mcmargin.data.times import utc_time
from mcmargin.engines.arrays import array_module
from mcmargin.errors import DataError
from mcmargin.markets.arbitrage import repaired, require_no_arbitrage
from mcmargin.markets.quotes import ExpiryQuotes, quotes_by_expiry
from mcmargin.markets.smile import Floats, Smile, SmileSlice, samples

SLICE_NODES = 1025
"""Of a table of one time; about 4 KiB in float32, which stays in the fastest cache."""


@dataclass(frozen=True)
class Repair:
    """A quote that the surface does not keep, since it made an arbitrage with others.

    Attributes
    ----------
    expiry : str
        ISO.
    strike : float
        NaN where no forward is known.
    log_moneyness : float
    before, after : float
        Volatility quoted, and on the surface.
    """

    expiry: str
    strike: float
    log_moneyness: float
    before: float
    after: float


@dataclass(frozen=True, eq=False, repr=False)
class VolatilitySurface:
    """Implied volatility by time to expiry and log-moneyness k = ln(strike / forward).

    Total variance w = volatility^2 x time is interpolated at fixed k: in time linearly between
    expiries, in k as `Smile` says. Before the first expiry and after the last, volatility at fixed
    k stays that of the expiry. Times are years, ACT/365, UTC.

    What holds: at every expiry and, as far as looked at, between two, no butterfly arbitrage, up to
    a factor g of -1e-9 at 17 points between neighbouring nodes; no calendar arbitrage anywhere,
    beyond the wings and outside the expiries included. Before the first expiry there is no
    butterfly either (g is concave in a factor of w, and not negative for 0 and 1); after the last,
    flat volatility is free of it up to `arbitrage_free_until`.

    Attributes
    ----------
    as_of : numpy.datetime64
        Nanoseconds, UTC.
    expiries : ndarray of shape (expiries,), datetime64[ns]
        Increasing.
    forwards : ndarray of shape (expiries,), float64
        NaN where quotes stood at log-moneyness and none was given.
    smiles : tuple of Smile
        One an expiry.
    repairs : tuple of Repair
        What was changed; empty unless asked for and needed.
    """

    as_of: np.datetime64
    expiries: NDArray[np.datetime64]
    forwards: Floats
    smiles: tuple[Smile, ...]
    repairs: tuple[Repair, ...] = ()

    def __repr__(self) -> str:
        first, last = plain_time(self.expiries[0]), plain_time(self.expiries[-1])
        return (
            f"<VolatilitySurface as of {plain_time(self.as_of)}: {len(self.expiries):,} expiries, "
            f"{first} to {last}, {len(self.repairs):,} quotes repaired>"
        )

    @classmethod
    def from_quotes(
        cls,
        frame: pd.DataFrame,
        *,
        as_of: Any,
        forward: float | None = None,
        repair: bool = False,
        source: str = "frame",
    ) -> VolatilitySurface:
        """Surface through quotes.

        Parameters
        ----------
        frame : DataFrame
            As `read_quotes` gives, or `checked_quotes` takes.
        as_of : str, date, datetime, pandas.Timestamp or numpy.datetime64
            When the quotes held; UTC where it has no zone.
        forward : float, optional
            Of every expiry, where the frame has no such column; needed for strikes.
        repair : bool
            Change quotes that make an arbitrage, and list them, instead of refusing them.
        source : str
            Named in errors.

        Raises
        ------
        DataError
            For quotes that cannot be used, naming row and column, and for arbitrage, naming
            expiry, strike and size.

        Examples
        --------
        >>> rows = [("2021-03-26", -0.1, 0.9), ("2021-03-26", 0.1, 0.8), ("2021-06-25", 0.0, 0.8)]
        >>> frame = pd.DataFrame(rows, columns=["expiry", "log_moneyness", "volatility"])
        >>> surface = VolatilitySurface.from_quotes(frame, as_of=np.datetime64("2021-01-04"))
        >>> surface.volatility(surface.times, 0.1).round(6).tolist()
        [0.8, 0.8]
        """
        try:
            held = utc_time(as_of)
        except ValueError as error:
            raise DataError(f"{source}: as_of: {error}") from None
        quotes = quotes_by_expiry(frame, as_of=held, forward=forward, source=source)
        smiles = [Smile.through(expiry.log_moneyness, expiry.variances) for expiry in quotes]
        repairs: list[Repair] = []
        if repair:
            for at, expiry in enumerate(quotes):
                before = smiles[at - 1] if at else None
                smiles[at] = repaired(expiry, before, source=source)
                repairs += _changes(expiry, smiles[at])
        else:
            require_no_arbitrage(quotes, smiles, source=source)
        return cls(
            held,
            np.array([expiry.expiry for expiry in quotes]),
            np.array([expiry.forward for expiry in quotes]),
            tuple(smiles),
            tuple(repairs),
        )

    @property
    def times(self) -> Floats:
        """Years to each expiry."""
        return np.asarray(years_between(self.as_of, self.expiries))

    @property
    def arbitrage_free_until(self) -> float:
        """Years up to which flat volatility after the last expiry admits no butterfly arbitrage."""
        smile = self.smiles[-1]
        k = samples(smile.nodes)
        w, first, second = smile.derivatives(k)
        # g of w times c is a - b c - d c^2, which falls below 0 at the root.
        a, d = (1 - k * first / (2 * w)) ** 2, first**2 / 16
        b = first**2 / (4 * w) - second / 2
        with np.errstate(divide="ignore"):
            root = 2 * a / (b + np.sqrt(b * b + 4 * a * d))
        return float(self.times[-1] * max(root.min(), 1.0))

    def volatility(self, time: Any, log_moneyness: Any) -> Any:
        """Implied volatility a year.

        Parameters
        ----------
        time : array_like
            Years to expiry, 0 or more.
        log_moneyness : array_like
            ln(strike / forward).

        Returns
        -------
        ndarray of the broadcast shape, or a scalar, float64, on the arguments' device
        """
        here, xp = array_module(time), array_module(log_moneyness)
        there = here if xp is np else xp
        t = here.clip(here.asarray(time, np.float64), self.times[0], self.times[-1])
        k = there.asarray(log_moneyness, np.float64)
        variance = there.zeros((), np.float64)
        for at, smile in enumerate(self.smiles):
            # 1 at this expiry, and linearly to 0 at its neighbours.
            hat = here.asarray(np.eye(len(self.smiles))[at])
            weight = here.interp(t, here.asarray(self.times), hat)
            if bool((weight > 0).any()):
                variance = variance + there.asarray(weight) * smile.total_variance(k)
        return there.sqrt(variance / there.asarray(t))[()]

    def slice(self, time: float) -> SmileSlice:
        """Table of the volatilities at one time; see `SmileSlice`."""
        times = self.times
        t = float(np.clip(time, times[0], times[-1]))
        right = min(int(np.searchsorted(times, t)), len(times) - 1)
        pair = [self.smiles[max(right - 1, 0)], self.smiles[right]]
        low = float(min(smile.nodes[0] for smile in pair))
        high = float(max(smile.nodes[-1] for smile in pair))
        if low == high:
            low, high = low - 0.5, high + 0.5
        grid = np.linspace(low, high, SLICE_NODES)
        share = 0.0 if right == 0 else (t - times[right - 1]) / (times[right] - times[right - 1])
        points = np.append(
            np.linspace(low, high, 4 * SLICE_NODES), samples(*(s.nodes for s in pair))
        )
        jets = [smile.derivatives(points) for smile in pair]
        w, first, second = ((1 - share) * a + share * b for a, b in zip(*jets, strict=True))
        bend = second / (2 * np.sqrt(w * t)) - first**2 / (4 * w * np.sqrt(w * t))
        step = (high - low) / (SLICE_NODES - 1)
        error = step**2 / 8 * float(np.abs(bend).max())
        return SmileSlice(float(time), low, high, self.volatility(t, grid), error)

    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of the surface."""
        return digest(
            str(self.as_of.astype("datetime64[ns]")),
            tuple(str(expiry) for expiry in self.expiries.astype("datetime64[ns]")),
            self.forwards,
            tuple((smile.nodes, smile.variances, smile.slopes) for smile in self.smiles),
        )


def _changes(quotes: ExpiryQuotes, smile: Smile) -> list[Repair]:
    """Quotes that are not on the smile."""
    after = np.sqrt(smile.total_variance(quotes.log_moneyness) / quotes.time)
    return [
        Repair(
            plain_time(quotes.expiry),
            float(quotes.forward * np.exp(quotes.log_moneyness[at])),
            float(quotes.log_moneyness[at]),
            float(quotes.volatilities[at]),
            float(after[at]),
        )
        for at in np.flatnonzero(np.abs(after - quotes.volatilities) > 1e-12)
    ]

"""Volatility surface: implied volatility over time and log-moneyness, from quotes.

In: quotes of implied volatility at one moment. Out: a frozen surface without static arbitrage, and
its table at one time for many scenarios.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.audit import fingerprint as digest
from mcmargin.checks import plain_time, require_type
from mcmargin.data.bars import years_between
from mcmargin.data.plausibility import Plausibility
from mcmargin.data.times import utc_time
from mcmargin.errors import DataError
from mcmargin.markets.arbitrage import require_no_arbitrage
from mcmargin.markets.between import Bridges, bridged_jet, bridges, line_jet, needs_bridges
from mcmargin.markets.interpolation import ordered_smiles
from mcmargin.markets.otm import Jet
from mcmargin.markets.quotes import ExpiryQuotes, quotes_by_expiry
from mcmargin.markets.repair import repaired
from mcmargin.markets.smile import Floats, Smile, SmileSlice, samples
from mcmargin.numerics.arrays import array_module, to_host

SLICE_NODES = 1025
"""Number of nodes of a table; in float32 it takes 4 KiB, which fits in the fastest cache."""

TAIL_NODES = 8193
"""Number of nodes if a smile has a tail, which reaches far out."""

TAIL_REACH = 4.0
"""Log-moneyness up to which a table follows a tail: strikes of 50 times the forward."""


@dataclass(frozen=True)
class Repair:
    """A quote that was moved, since it made an arbitrage with other quotes.

    Attributes
    ----------
    expiry : str
        ISO time.
    strike : float
        NaN if no forward is known.
    log_moneyness : float
    before, after : float
        Volatility that was quoted, and that of the surface.
    """

    expiry: str
    strike: float
    log_moneyness: float
    before: float
    after: float


@dataclass(frozen=True, eq=False, repr=False)
class VolatilitySurface:
    """Implied volatility by time to expiry and log-moneyness k = ln(strike / forward).

    Total variance w = volatility^2 x time is interpolated in k as `Smile` explains. At fixed k it
    is linear in time between expiries, except at strikes at which that would be an arbitrage
    (`mcmargin.markets.between`). Before the first expiry and after the last one, volatility at
    fixed k is that of the expiry. Times are years, ACT/365, UTC.

    For every set of quotes that admits no arbitrage there is a surface through all of them. It has
    no butterfly arbitrage at any time up to the last expiry, and no calendar arbitrage anywhere.
    Densities are examined in 33 points between neighbouring nodes, with a tolerance of -1e-9 for g
    (`mcmargin.markets.otm.butterfly`). Before the first expiry there is no butterfly arbitrage
    either, since g is concave in a factor of w, and not negative for 0 and 1. After the last expiry
    there is none up to `arbitrage_free_until`.

    Attributes
    ----------
    as_of : numpy.datetime64
        Time of the quotes in UTC, with nanoseconds.
    expiries : ndarray of shape (expiries,), datetime64[ns]
        Expiries, increasing.
    forwards : ndarray of shape (expiries,), float64
        Forward of each expiry; NaN if quotes were given by log-moneyness without a forward.
    smiles : tuple of Smile
        Smile of each expiry.
    repairs : tuple of Repair
        Quotes that were moved; empty without a repair.
    """

    as_of: np.datetime64
    expiries: NDArray[np.datetime64]
    forwards: Floats
    smiles: tuple[Smile, ...]
    repairs: tuple[Repair, ...] = ()
    _bridges: dict[tuple[int, float], Bridges] = field(default_factory=dict, init=False)

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
        plausibility: Plausibility | None = None,
        source: str = "frame",
    ) -> VolatilitySurface:
        """Make the surface of quotes.

        Parameters
        ----------
        frame : DataFrame
            Quotes as `read_quotes` returns them, or as `checked_quotes` takes them.
        as_of : str, date, datetime, pandas.Timestamp or numpy.datetime64
            Time of the quotes; UTC if it has no zone.
        forward : float, optional
            Forward of every expiry. It is needed for strikes if the frame has no such column.
        repair : bool
            Move quotes that make an arbitrage as little as possible, and list them, instead of
            refusing them.
        plausibility : Plausibility, optional
            Limits; its largest volatility, 5 by default, tells a volatility from a percentage.
        source : str
            Named in errors.

        Raises
        ------
        DataError
            If a quote cannot be used (it names the row and the column), or quotes admit an
            arbitrage (it names the expiry, the strike and the size). With `repair`, if there are no
            prices between bid and ask without arbitrage.

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
        limits = Plausibility() if plausibility is None else plausibility
        require_type("plausibility", limits, Plausibility)
        require_type("repair", repair, bool, np.bool_)
        quotes = quotes_by_expiry(
            frame,
            as_of=held,
            forward=forward,
            limits=limits,
            source=source,
        )
        if repair:
            kept = repaired(quotes, source=source)
        else:
            require_no_arbitrage(quotes, source=source)
            kept = quotes
        smiles = ordered_smiles(kept)
        return cls(
            held,
            np.array([expiry.expiry for expiry in quotes]),
            np.array([expiry.forward for expiry in quotes]),
            tuple(smiles),
            tuple(
                change
                for before, after in zip(quotes, kept, strict=True)
                for change in _changes(before, after)
            ),
        )

    @property
    def times(self) -> Floats:
        """Years to each expiry."""
        return np.asarray(years_between(self.as_of, self.expiries))

    @property
    def arbitrage_free_until(self) -> float:
        """Years up to which flat volatility after the last expiry has no butterfly arbitrage."""
        smile = self.smiles[-1]
        k = samples(smile.places)
        w, first, second = smile.derivatives(k)
        # g of c times w is a - b c - d c^2, which becomes negative at the root.
        a, d = (1 - k * first / (2 * w)) ** 2, first**2 / 16
        b = first**2 / (4 * w) - second / 2
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            root = 2 * a / (b + np.sqrt(b * b + 4 * a * d))
        return float(self.times[-1] * max(np.nanmin(root), 1.0))

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
            # The weight is 1 at this expiry, and falls linearly to 0 at its neighbours.
            hat = here.asarray(np.eye(len(self.smiles))[at])
            weight = here.interp(t, here.asarray(self.times), hat)
            if bool((weight > 0).any()):
                variance = variance + there.asarray(weight) * smile.total_variance(k)
        if any(self.bridged):
            variance = there.asarray(self._on_bridges(to_host(t), to_host(k), to_host(variance)))
        return there.sqrt(variance / there.asarray(t))[()]

    @cached_property
    def bridged(self) -> tuple[bool, ...]:
        """Whether there are bridges between each two expiries; see `mcmargin.markets.between`."""
        return needs_bridges(self.smiles)

    def _on_bridges(self, time: Floats, k: Floats, variance: Floats) -> Floats:
        """Replace total variances by those of bridges where there are bridges."""
        out = np.array(variance)
        time, k = np.broadcast_to(time, out.shape), np.broadcast_to(k, out.shape)
        pair = np.clip(np.searchsorted(self.times, time, side="right") - 1, 0, len(self.times) - 1)
        wanted = np.append(self.bridged, False)[pair] & (time > self.times[pair])
        for when in np.unique(time[wanted]).tolist():
            there = wanted & (time == when)
            out[there] = self._between(when, k[there])[0]
        return out

    def _between(self, time: float, k: Floats) -> Jet:
        """Total variance, and its first two derivatives by k, at one time up to the last expiry."""
        right = max(min(int(np.searchsorted(self.times, time)), len(self.times) - 1), 1)
        start, end = self.times[right - 1], self.times[right]
        way = float(np.clip((time - start) / (end - start), 0.0, 1.0))
        pair = self.smiles[right - 1], self.smiles[right]
        if not (self.bridged[right - 1] and 0 < way < 1):
            return line_jet(*pair, way, k)
        key = (right, way)
        if key not in self._bridges:
            self._bridges[key] = bridges(*pair, way)
        return bridged_jet(*pair, way, self._bridges[key], k)

    def slice(self, time: float) -> SmileSlice:
        """Table of the volatilities at one time; see `SmileSlice`."""
        times = self.times
        t = float(np.clip(time, times[0], times[-1]))
        right = min(int(np.searchsorted(times, t)), len(times) - 1)
        pair = self.smiles[max(right - 1, 0)], self.smiles[right]
        reaches = [smile.reach(TAIL_REACH) for smile in pair]
        low, high = min(each[0] for each in reaches), max(each[1] for each in reaches)
        if low == high:
            low, high = low - 0.5, high + 0.5
        nodes = TAIL_NODES if any(smile.has_tail for smile in pair) else SLICE_NODES
        grid = np.linspace(low, high, nodes)
        points = np.linspace(low, high, 4 * (nodes - 1) + 1)
        volatilities = self.volatility(t, grid)
        straight = np.interp(points, grid, volatilities)
        error = 1.25 * float(np.abs(self.volatility(t, points) - straight).max())
        if all(smile.is_cubic for smile in pair) and not any(self.bridged):
            joint = np.append(points, samples(*(smile.places for smile in pair)))
            share = 0.0 if right == 0 else float((t - times[right - 1]) / np.diff(times)[right - 1])
            w, first, second = line_jet(*pair, share, joint)
            bend = second / (2 * np.sqrt(w * t)) - first**2 / (4 * w * np.sqrt(w * t))
            step = (high - low) / (nodes - 1)
            error = step**2 / 8 * float(np.abs(bend).max())
        return SmileSlice(float(time), low, high, volatilities, error)

    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of the surface."""
        return digest(
            str(self.as_of.astype("datetime64[ns]")),
            tuple(str(expiry) for expiry in self.expiries.astype("datetime64[ns]")),
            self.forwards,
            tuple(smile.content() for smile in self.smiles),
        )


def _changes(quotes: ExpiryQuotes, kept: ExpiryQuotes) -> list[Repair]:
    """Quotes of one expiry that were moved."""
    after = kept.volatilities
    return [
        Repair(
            plain_time(quotes.expiry),
            float(quotes.forward * np.exp(quotes.log_moneyness[at])),
            float(quotes.log_moneyness[at]),
            float(quotes.volatilities[at]),
            float(after[at]),
        )
        for at in np.flatnonzero(np.abs(after - quotes.volatilities) > 1e-12 * quotes.volatilities)
    ]

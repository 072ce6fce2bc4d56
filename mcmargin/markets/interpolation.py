"""Smiles through quotes, and surfaces of smiles, without arbitrage by construction.

In: quotes of all expiries, which admit no arbitrage. Out: a `Smile` for each expiry, which runs
through all of its quotes. Its density is nowhere negative, and its total variance is nowhere below
that of the expiry before.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from mcmargin.markets.convex import (
    LARGEST_GROWTH,
    LINEAR,
    BlackTail,
    ConvexPieces,
    PowerTail,
    Tail,
    tilt_of,
)
from mcmargin.markets.otm import (
    Floats,
    butterfly,
    deviation_slope,
    is_call,
    lower_envelope,
    near_enough,
    otm_prices,
    price_jet,
    says_enough,
    strikes,
    variance_jet,
)
from mcmargin.markets.quotes import ExpiryQuotes
from mcmargin.markets.smile import SAMPLES, Smile, samples

WING_LENGTHS = (1.0, 2.0, 4.0)
"""Lengths of a wing in standard deviations; the first without butterfly arbitrage is taken."""

DENSITY_TOLERANCE = 1e-9
"""Negative density that counts as 0, in g, which is 1 for a flat smile."""

VARIANCE_TOLERANCE = 1e-9
"""Share by which total variance may fall in time before a floor is needed."""

BAND = 0.02
"""Least distance of a quote's slope from the slope of each of its chords, as a share of the way
from one chord's slope to the other's in logarithms."""

CLOSELY = np.linspace(1e-6, 1 - 1e-6, 257)
"""Shares of the way between two nodes at which a negative density is measured."""

MORE_THAN_NEEDED = 1.02
"""Factor on the share of convex prices that the examined points need."""


def smile_through(nodes: Floats, variances: Floats) -> Smile:
    """Make the smile of quotes that admit no arbitrage; log-moneyness increases.

    The slopes at the quotes are those of PCHIP in total variance (Fritsch and Carlson 1980, as in
    scipy), held between the slopes of the chords of prices on either side. Between two quotes the
    smile is a cubic in total variance if its density is positive, and otherwise a mixture with
    `ConvexPieces`. The smile of one quote is flat.

    Examples
    --------
    >>> smile = smile_through(np.array([-0.1, 0.0, 0.1]), np.array([0.05, 0.04, 0.042]))
    >>> smile.total_variance(np.array([-9.0, 0.0, 9.0])).round(4).tolist()
    [0.0679, 0.04, 0.0481]
    """
    if len(nodes) == 1:
        return Smile(nodes, variances, np.zeros(1))
    slopes = PchipInterpolator(nodes, variances).derivative()(nodes)
    chain = _Chain(nodes, variances, slopes)
    smile = Smile(nodes, variances, chain.slopes)
    tails: list[Tail | None] = [None, None]
    for side in (0, -1):
        if chain.slopes[side] != 0:
            smile, tails[side] = _with_wing(smile, chain, side)
    first = int(smile.nodes[0] < nodes[0])
    return _mixed(smile, chain, first, (tails[0], tails[1]))


class _Chain:
    """Prices, slopes and chords of one expiry's quotes.

    Slopes and chords are those of the out-of-the-money option at each quote, and the chords on
    either side bound its slope. If `known` is false, the price does not tell the variance.
    """

    def __init__(self, k: Floats, w: Floats, slopes: Floats) -> None:
        self.k, self.x, self.w = k, strikes(k), w
        self.prices, self.calls = otm_prices(k, w), is_call(k)
        self.known = says_enough(k, self.prices) & near_enough(k, w)
        self.put_chords, self.call_chords = self._chords()
        with np.errstate(all="ignore"):
            natural = price_jet(k, (w, slopes, np.zeros_like(w)))[1]
            self.price_slopes = self._bounded(natural)
            moved = self.known & (self.price_slopes != natural)
            own = 2 * np.sqrt(w) * deviation_slope(k, np.sqrt(w), self.price_slopes)
        slopes = np.where(moved & np.isfinite(own), own, slopes)
        # Between prices that are not known there are no convex pieces. With these slopes the cubic
        # stays above 0 by itself.
        alone, width = ~(self.known[:-1] & self.known[1:]), np.diff(k)
        least, most = -3 * w[:-1] / width, 3 * w[1:] / width
        slopes[:-1] = np.where(alone, np.maximum(slopes[:-1], least), slopes[:-1])
        slopes[1:] = np.where(alone, np.minimum(slopes[1:], most), slopes[1:])
        self.slopes = slopes

    def _chords(self) -> tuple[Floats, Floats]:
        """Slopes of put and of call prices from each quote to the next."""
        width, inside = np.diff(self.x), np.abs(self.x - 1)
        puts = self.prices + np.where(self.calls, inside, 0.0)
        calls = self.prices + np.where(self.calls, 0.0, inside)
        return np.diff(puts) / width, np.diff(calls) / width

    def _bounded(self, natural: Floats) -> Floats:
        low, high = self._bounds()
        # The bounds are taken in the logarithm of the slope's size, which falls outwards.
        small, large = np.where(self.calls, -high, low), np.where(self.calls, -low, high)
        usable = self.known & (small > 0) & (large > small)
        ratio = np.log(np.where(usable, large / small, 1.0))
        size = np.abs(natural)
        kept = np.clip(size, small * np.exp(BAND * ratio), large * np.exp(-BAND * ratio))
        # If prices are on a straight line, the slope is that of the line.
        straight = self.known & ~usable & (large > 0)
        kept = np.where(straight, (small + large) / 2, kept)
        return np.where(usable | straight, np.where(self.calls, -kept, kept), natural)

    def _bounds(self) -> tuple[Floats, Floats]:
        """Least and largest slope of the out-of-the-money option at each quote."""
        first, last = self.prices[0] / self.x[0], self.prices[-1] / self.x[-1]
        put_low = np.append(first, self.put_chords)
        put_high = np.append(self.put_chords, 1.0)
        call_low = np.append((self.prices[0] - 1) / self.x[0], self.call_chords)
        # A call that hardly fell beyond the last quote would stay expensive far out. So its slope
        # is at least half of the last chord's or, if that is less, half of its price over the
        # strike.
        call_high = np.append(self.call_chords, -min(-self.call_chords[-1] / 2, last / 2))
        return np.where(self.calls, call_low, put_low), np.where(self.calls, call_high, put_high)

    def pieces(self) -> ConvexPieces:
        """Convex prices between the quotes, with the slopes at them."""
        slope, width = self.price_slopes, np.diff(self.x)
        calls = self.calls
        both = calls[:-1]
        chord = np.where(both, self.call_chords, self.put_chords)
        start = slope[:-1]
        end = slope[1:] + np.where(calls[1:] & ~both, 1.0, 0.0)
        before, after = chord - start, end - chord
        straight = (before <= LINEAR * np.abs(chord)) | (after <= LINEAR * np.abs(chord))
        before, after = (np.where(straight, 0.0, gap) for gap in (before, after))
        start, end = np.where(straight, chord, start), np.where(straight, chord, end)
        mass = before + after
        share = np.where(straight, 0.5, before / np.where(straight, 1.0, mass))
        return ConvexPieces(
            left=self.x[:-1],
            width=width,
            put=self.prices[:-1],
            put_slope=start,
            call=self.prices[1:],
            call_slope=end - np.where(calls[1:] & ~both, 1.0, 0.0),
            mass=mass * width,
            tilt=np.where(straight, 0.0, tilt_of(np.clip(share, 1e-15, 1 - 1e-15))),
        )


def _with_wing(smile: Smile, chain: _Chain, side: int) -> tuple[Smile, Tail | None]:
    """Add the node at which the smile becomes flat, on the left (side 0) or the right (side -1).

    Returns
    -------
    Smile
    Tail or None
        Prices of the wing, if a bend would have an arbitrage.
    """
    outwards = -1.0 if side == 0 else 1.0
    k, w, slope = smile.nodes[side], smile.variances[side], smile.slopes[side]
    place = 0 if side == 0 else len(smile.nodes)

    def extended(end: float, variance: float) -> Smile:
        return Smile(
            np.insert(smile.nodes, place, end),
            np.insert(smile.variances, place, variance),
            np.insert(smile.slopes, place, 0.0),
        )

    for deviations in WING_LENGTHS:
        length = np.sqrt(w) * deviations
        if slope * outwards < 0:
            length = min(length, w / abs(slope))
        winged = extended(k + outwards * length, w + outwards * slope * length / 2)
        ends = winged.nodes[:2] if side == 0 else winged.nodes[-2:]
        points = samples(ends)
        if butterfly(points, *winged.derivatives(points)).min() >= 0:
            return winged, None
    tail = _tail(chain, side) if chain.known[side] else None
    if tail is None:
        return winged, None
    end = tail.end
    end = max(end, k + np.sqrt(w)) if side else min(end, k - np.sqrt(w))
    with np.errstate(all="ignore"):
        far = _variance_at(tail, end)
    return extended(end, far if np.isfinite(far) else w), tail


def _variance_at(tail: Tail, k: float) -> float:
    """Total variance of a tail at one log-moneyness."""
    at = np.array([k])
    return float(variance_jet(at, tail.jet(at))[0][0])


def _tail(chain: _Chain, side: int) -> Tail | None:
    price, slope, x = (float(each[side]) for each in (chain.prices, chain.price_slopes, chain.x))
    upwards = side != 0
    if upwards and not chain.calls[side]:
        price, slope = price + 1 - x, slope - 1
    if not upwards and chain.calls[side]:
        price, slope = price + x - 1, slope + 1
    most = LARGEST_GROWTH * float(np.sqrt(chain.w[side]))
    black = BlackTail.joining(x, price, slope, call=upwards, most=most)
    return black or PowerTail.joining(x, price, slope, call=upwards)


def _mixed(
    smile: Smile, chain: _Chain, first: int, tails: tuple[Tail | None, Tail | None]
) -> Smile:
    """Mix in convex prices, with the least shares that leave no density negative."""
    nodes = smile.nodes
    count = len(nodes) - 1
    points = nodes[:-1, None] + np.diff(nodes)[:, None] * SAMPLES
    jet = smile.derivatives(points)
    with np.errstate(all="ignore"):
        wrong = (butterfly(points, *jet) < -DENSITY_TOLERANCE) | (jet[0] <= 0)
    shares = np.zeros(count)
    inner = slice(first, first + len(chain.k) - 1)
    able = np.zeros(count, bool)
    able[inner] = chain.known[:-1] & chain.known[1:]
    for tail, at in zip(tails, (0, count - 1), strict=True):
        if tail is not None:
            shares[at] = 1.0
    flagged = np.flatnonzero(wrong.any(axis=1) & able & (shares == 0))
    if len(flagged) == 0 and tails == (None, None):
        return smile
    own = chain.pieces()
    whole = _padded(own, first, count)
    mixed = replace(smile, shares=np.ones(count), pieces=whole, tails=tails)
    for piece in flagged:
        k = nodes[piece] + (nodes[piece + 1] - nodes[piece]) * CLOSELY
        safe = mixed.convex_jet(np.full(len(k), piece), k)[2]
        with np.errstate(all="ignore"):
            bare = smile.derivatives(k)
            cubic = price_jet(k, bare)[2]
            need = np.where(cubic < 0, -cubic / (safe - cubic), 0.0).max()
        sound = np.isfinite(need) and bool((bare[0] > 0).all())
        shares[piece] = min(1.0, MORE_THAN_NEEDED * need) if sound else 1.0
    return replace(mixed, shares=shares)


def _padded(pieces: ConvexPieces, first: int, count: int) -> ConvexPieces:
    """Add pieces for the wings, which are not used."""
    missing = (first, count - first - len(pieces.left))
    arrays = {name: np.pad(each, missing, mode="edge") for name, each in vars(pieces).items()}
    return ConvexPieces(**arrays)


def ordered_smiles(quotes: list[ExpiryQuotes]) -> list[Smile]:
    """Make the smiles of all expiries; none is anywhere below the one before.

    Two convex curves of prices may cross between quotes that do not. The smile of an expiry is
    therefore led below all later quotes, through additional points that later quotes determine. If
    a later smile would still be below an earlier one somewhere, it takes the earlier one's price
    there. The larger of two convex prices is convex, and the prices at the quotes stay.
    """
    smiles: list[Smile] = []
    for at, expiry in enumerate(quotes):
        later = quotes[at + 1 :]
        smile = _below(
            expiry.log_moneyness,
            expiry.variances,
            np.concatenate([each.log_moneyness for each in later] or [np.zeros(0)]),
            np.concatenate([each.variances for each in later] or [np.zeros(0)]),
        )
        if smiles and _falls(smiles[-1], smile):
            smile = replace(smile, floor=smiles[-1])
        smiles.append(smile)
    return smiles


def _falls(earlier: Smile, later: Smile) -> bool:
    """Whether total variance is anywhere smaller in the later smile."""
    k = samples(earlier.places, later.places)
    return bool(
        (later.total_variance(k) < (1 - VARIANCE_TOLERANCE) * earlier.total_variance(k)).any()
    )


def _below(k: Floats, w: Floats, bounds_k: Floats, bounds_w: Floats) -> Smile:
    """Make a smile through quotes that stays below bounds, which the quotes do not exceed."""
    smile = smile_through(k, w)
    if len(bounds_k) == 0:
        return smile
    order = np.lexsort((bounds_w, bounds_k))
    bounds_k, bounds_w = bounds_k[order], bounds_w[order]
    fresh = np.append(True, np.diff(bounds_k) > 0)
    bounds_k, bounds_w = bounds_k[fresh], bounds_w[fresh]
    beside = np.abs(bounds_k[:, None] - k[None, :]).min(axis=1) > 1e-12
    bounds_k, bounds_w = bounds_k[beside], bounds_w[beside]
    interval = np.searchsorted(k, bounds_k)
    led: set[int] = set()
    while True:
        over = smile.total_variance(bounds_k) > bounds_w * (1 + 1e-12)
        wrong = set(interval[over].tolist()) - led
        if not wrong:
            return smile
        led |= wrong
        chosen = np.concatenate([_hull(k, w, bounds_k, bounds_w, at) for at in sorted(led)])
        joint = np.argsort(nodes := np.append(k, bounds_k[chosen]))
        smile = smile_through(nodes[joint], np.append(w, bounds_w[chosen])[joint])


def _hull(
    k: Floats, w: Floats, bounds_k: Floats, bounds_w: Floats, interval: int
) -> NDArray[np.intp]:
    """Find the bounds between two neighbouring quotes that are corners of the convex hull."""
    low = -np.inf if interval == 0 else k[interval - 1]
    high = np.inf if interval == len(k) else k[interval]
    inside = np.flatnonzero((bounds_k > low) & (bounds_k < high))
    at = np.concatenate([k[[interval - 1]] if interval else [], bounds_k[inside]])
    variances = np.concatenate([w[[interval - 1]] if interval else [], bounds_w[inside]])
    if interval < len(k):
        at, variances = np.append(at, k[interval]), np.append(variances, w[interval])
    prices = otm_prices(at, variances)
    if interval == 0:
        # At the strike 0 a put costs nothing.
        at, prices = np.append(-np.inf, at), np.append(0.0, prices)
    corners = lower_envelope(at, prices)
    if interval == len(k):
        # Beyond the last quote calls fall.
        calls = prices + np.where(is_call(at), 0.0, 1 - np.exp(at))
        corners = corners[: int(np.argmin(calls[corners])) + 1]
    own = corners - 1
    return inside[own[(own >= 0) & (own < len(inside))]]

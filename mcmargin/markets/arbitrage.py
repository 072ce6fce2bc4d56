"""Static arbitrage between quotes of implied volatility: finding it, and repairing it.

In: quotes and smiles of the expiries. Out: what is wrong and where, as text; or smiles in which
nothing is. Prices fall and are convex in the strike (no butterfly arbitrage: the density of the
price at expiry is nowhere negative), and total variance at fixed log-moneyness does not fall in
time (no calendar arbitrage).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import plain_time
from mcmargin.errors import DataError
from mcmargin.markets.quotes import ExpiryQuotes
from mcmargin.markets.smile import Floats, Smile, butterfly, samples
from mcmargin.valuing.black import black76_values

PRICE_TOLERANCE = 1e-12
"""Of the forward: a thousand times the rounding of a price."""

DENSITY_TOLERANCE = 1e-9
"""Of g, which is 1 for a flat smile."""

VARIANCE_TOLERANCE = 1e-9
"""Of total variance, by which it may fall in time."""

BETWEEN = (0.25, 0.5, 0.75)
"""Shares of the way between two expiries at which the density is looked at."""

CHANGE_WEIGHT = 0.1
"""In repairs: of a share by which total variance changes, beside what is below 0 of g."""

MEND = "mend or leave out a quote, or use repair=True"


Jet: TypeAlias = tuple[Floats, Floats, Floats, Floats]
"""Points of log-moneyness, and there total variance and its first two derivatives."""

Way: TypeAlias = Callable[[Floats, Floats], Smile]
"""From log-moneyness and total variances to a smile through them."""


def require_no_arbitrage(quotes: list[ExpiryQuotes], smiles: list[Smile], *, source: str) -> None:
    """Raise DataError for the first arbitrage found, in an expiry or against the one before."""
    for at, (expiry, smile) in enumerate(zip(quotes, smiles, strict=True)):
        found = _price_fault(expiry) or _density_fault(expiry, smile)
        if found is None and at > 0:
            found = _calendar_fault(quotes[at - 1], smiles[at - 1], expiry, smile)
        if found is not None:
            raise DataError(f"{source}: {found}; {MEND}")


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


def _price_fault(quotes: ExpiryQuotes) -> str | None:
    """Call prices that do not fall, or are not convex, between neighbouring quotes."""
    # A strike of 0 belongs to the convexity: a call of it is the forward.
    strikes = np.append(0.0, np.exp(quotes.log_moneyness))
    deviations = np.append(0.0, np.sqrt(quotes.variances))
    calls = black76_values(1.0, strikes, deviations, 1.0, 1.0)
    names = ["strike 0", *(place_of(quotes, k) for k in quotes.log_moneyness)]
    rises = np.diff(calls)
    at = int(np.argmax(rises))
    if rises[at] > PRICE_TOLERANCE:
        return (
            f"expiry {plain_time(quotes.expiry)}, {names[at + 1]}: a call costs {rises[at]:.3g} "
            f"of the forward more than at {names[at]}"
        )
    left, right = np.diff(strikes)[:-1], np.diff(strikes)[1:]
    excess = calls[1:-1] - (calls[:-2] * right + calls[2:] * left) / (left + right)
    at = int(np.argmax(excess)) if len(excess) else 0
    if len(excess) and excess[at] > PRICE_TOLERANCE:
        return (
            f"expiry {plain_time(quotes.expiry)}, {names[at + 1]}: a call costs {excess[at]:.3g} "
            f"of the forward more than the line between {names[at]} and {names[at + 2]} allows: "
            "butterfly arbitrage"
        )
    return None


def _density_fault(quotes: ExpiryQuotes, smile: Smile) -> str | None:
    k, g = _lowest_density([_jet(smile)])
    if g >= -DENSITY_TOLERANCE:
        return None
    return (
        f"expiry {plain_time(quotes.expiry)}, {place_of(quotes, k)}: on the smile through the "
        f"quotes the density's factor g is {g:.3g}, below 0: butterfly arbitrage"
    )


def _calendar_fault(
    before: ExpiryQuotes, smile_before: Smile, after: ExpiryQuotes, smile_after: Smile
) -> str | None:
    first, second = plain_time(before.expiry), plain_time(after.expiry)
    k, fall = _greatest_fall(smile_before, smile_after)
    if fall > VARIANCE_TOLERANCE:
        w = float(smile_before.total_variance(k))
        return (
            f"expiry {second}, {place_of(after, k)}: total variance {w * (1 - fall):.6g} is below "
            f"the {w:.6g} of expiry {first} at the same log-moneyness: calendar arbitrage"
        )
    k, g = _lowest_density(_jets_between(smile_before, smile_after))
    if g < -DENSITY_TOLERANCE:
        return (
            f"between expiries {first} and {second}, {place_of(after, k)}: the density's factor g "
            f"is {g:.3g}, below 0: butterfly arbitrage"
        )
    return None


def _jet(smile: Smile) -> Jet:
    k = samples(smile.nodes)
    return (k, *smile.derivatives(k))


def _jets_between(earlier: Smile, later: Smile) -> list[Jet]:
    k = samples(earlier.nodes, later.nodes)
    pairs = list(zip(earlier.derivatives(k), later.derivatives(k), strict=True))
    return [
        (k, *((1 - share) * before + share * after for before, after in pairs)) for share in BETWEEN
    ]


def _lowest_density(jets: list[Jet]) -> tuple[float, float]:
    """Where the density's factor g is lowest, and what it is there."""
    k = np.concatenate([jet[0] for jet in jets])
    g = np.concatenate([butterfly(*jet) for jet in jets])
    at = int(np.argmin(g))
    return float(k[at]), float(g[at])


def _greatest_fall(earlier: Smile, later: Smile) -> tuple[float, float]:
    """Where total variance falls by the greatest share from one to the other, and by which."""
    k = samples(earlier.nodes, later.nodes)
    fall = 1 - later.total_variance(k) / earlier.total_variance(k)
    at = int(np.argmax(fall))
    return float(k[at]), float(fall[at])


def repaired(quotes: ExpiryQuotes, before: Smile | None, *, source: str) -> Smile:
    """Smile without arbitrage, in itself and after the expiry before, close to the quotes.

    Quotes below the total variance before are raised to it. Then quotes are left out, one after
    the other, until no density is negative: of the four around the worst place always the one
    whose absence leaves and changes least; and those that do no harm are put back. If the smile
    still falls below the one before, between quotes or beyond, the same is done with a smile that
    is the one before and a gain (`Smile.raised_to`).

    Raises
    ------
    DataError
        If neither ends without arbitrage.
    """
    k, w = quotes.log_moneyness, quotes.variances
    ways = [Smile.through]
    if before is not None:
        w = np.maximum(w, before.total_variance(k))
        ways.append(before.raised_to)
    for way in ways:
        smile = _thinned(way, k, w, before)
        if smile is not None:
            return smile
    raise DataError(
        f"{source}: expiry {plain_time(quotes.expiry)} cannot be repaired; leave it out"
    )


def _thinned(through: Way, k: Floats, w: Floats, before: Smile | None) -> Smile | None:
    """Smile through as many of the quotes as admit no arbitrage; None if that cannot be."""
    smile, kept = through(k, w), np.ones(len(k), bool)
    left_out = []
    while not _no_butterfly(smile, before):
        if kept.sum() == 1:
            return None
        at = _least_missed(through, k, w, kept, smile, before)
        left_out.append(at)
        kept[at] = False
        smile = through(k[kept], w[kept])
    if before is not None and _greatest_fall(before, smile)[1] > VARIANCE_TOLERANCE:
        return None
    for at in reversed(left_out):
        kept[at] = True
        fuller = through(k[kept], w[kept])
        if _no_butterfly(fuller, before) and (
            before is None or _greatest_fall(before, fuller)[1] <= VARIANCE_TOLERANCE
        ):
            smile = fuller
        else:
            kept[at] = False
    return smile


def _no_butterfly(smile: Smile, before: Smile | None) -> bool:
    return _lowest_density(_all_jets(smile, before))[1] >= -DENSITY_TOLERANCE


def _all_jets(smile: Smile, before: Smile | None) -> list[Jet]:
    return [_jet(smile), *([] if before is None else _jets_between(before, smile))]


def _least_missed(
    through: Way, k: Floats, w: Floats, kept: NDArray[np.bool_], smile: Smile, before: Smile | None
) -> int:
    """Which of the quotes kept near the worst place is best left out."""
    place, _ = _lowest_density(_all_jets(smile, before))
    at = np.flatnonzero(kept)
    right = int(np.searchsorted(k[at], place))

    def cost(candidate: int) -> float:
        rest = at[at != candidate]
        smile = through(k[rest], w[rest])
        change = abs(float(smile.total_variance(k[candidate]) / w[candidate]) - 1)
        return CHANGE_WEIGHT * change + sum(map(_negative, _all_jets(smile, before)))

    near: list[int] = at[max(right - 2, 0) : right + 2].tolist()
    return min(near, key=cost)


def _negative(jet: Jet) -> float:
    """How far g is below 0, summed over log-moneyness in standard deviations."""
    k, w, *_ = jet
    return float(np.trapezoid(np.maximum(-butterfly(*jet), 0.0) / np.sqrt(w), k))

"""Concentration and leverage: charges that go by the size of a holding alone.

In: units and their valuation. Out: amounts by unit, in the unit's currency; and the same by
underlying.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.instruments.instruments import Instrument
from mcmargin.margins.unit_context import Amounts, UnitContext
from mcmargin.policies.policy_parts import Leverage


def concentration(context: UnitContext) -> Amounts:
    """The rate x the net delta-equivalent amount of each underlying beyond the free amount."""
    return np.asarray(concentration_charges(context).sum(axis=1) / context.rates)


def concentration_charges(context: UnitContext) -> Amounts:
    """The same by underlying, in the market's currency; [units, underlyings sorted by name].

    Those open orders count as filled that make the amount largest.
    """
    values = context.valuation.instrument_values.exposure
    bought, sold = context.units.bought, context.units.sold
    gains, falls = np.maximum(values, 0.0), np.minimum(values, 0.0)
    amounts = np.abs(_by_underlying(context, bought, gains) + _by_underlying(context, sold, falls))
    if bought is not sold:
        least = _by_underlying(context, sold, gains) + _by_underlying(context, bought, falls)
        amounts = np.maximum(amounts, np.abs(least))
    part = context.policy.concentration
    if part is None:
        return np.zeros_like(amounts)
    return np.asarray(part.rate * np.maximum(amounts - part.free_notional, 0.0))


def leverage_minimum(context: UnitContext) -> Amounts:
    """Notional divided by the largest leverage, bracket by bracket.

    The notional is that of the larger side, long or short, of each underlying. Where the market
    gives an open interest OI, an initial fraction f becomes
    min(f + max((OI - L) / (U - L) (1 - f), 0), 1), as in dYdX v4 (liquidity_tier.go).
    """
    return np.asarray(leverage_charges(context).sum(axis=1) / context.rates)


def leverage_charges(context: UnitContext) -> Amounts:
    """The same by underlying, in the market's currency; [units, underlyings sorted by name].

    The notional of each side includes the open orders that add to it.
    """
    notional = context.valuation.instrument_values.notional
    bought, sold = context.units.bought, context.units.sold
    long = _by_underlying(context, bought.maximum(0), notional)
    short = _by_underlying(context, -sold.minimum(0), notional)
    larger = np.maximum(long, short)
    part = context.policy.leverage
    if part is None:
        return np.zeros_like(larger)
    interest = context.valuation.market.open_interest
    columns = [
        _bracketed(larger[:, at], part, interest.get(name, 0.0))
        for at, name in enumerate(underlyings(context.valuation.instruments))
    ]
    return np.stack(columns, axis=1) if columns else larger


def _bracketed(notional: NDArray[np.float64], part: Leverage, interest: float) -> Amounts:
    """Sum over the brackets: the notional within a bracket x its initial fraction.

    Examples
    --------
    >>> from mcmargin.policies.policy_parts import LeverageTier
    >>> tiers = (LeverageTier(100.0, 10.0), LeverageTier(float("inf"), 5.0))
    >>> _bracketed(np.array([50.0, 300.0]), Leverage(tiers), 0.0).tolist()
    [5.0, 50.0]
    """
    least, start = np.zeros(len(notional)), 0.0
    for tier in part.tiers:
        within = np.clip(notional - start, 0.0, tier.up_to - start)
        least += within * initial_fraction(1.0 / tier.max_leverage, part, interest)
        start = tier.up_to
    return least


def initial_fraction(fraction: float, part: Leverage, interest: float) -> float:
    """Margin as a share of notional, at an open interest."""
    lower, upper = part.open_interest_lower, part.open_interest_upper
    if not interest > lower:
        return fraction
    share = (interest - lower) / (upper - lower)
    return min(fraction + share * (1.0 - fraction), 1.0)


def underlyings(instruments: Sequence[Instrument]) -> list[str]:
    """Names of all underlyings, in their alphabetical order."""
    return sorted({item.underlying for item in instruments})


def _by_underlying(
    context: UnitContext, quantities: sparse.csr_array, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted quantities, added up by underlying; [units, underlyings sorted by name]."""
    instruments = context.valuation.instruments
    place = {name: at for at, name in enumerate(underlyings(instruments))}
    columns = [place[item.underlying] for item in instruments]
    starts = np.arange(len(instruments) + 1)
    member = sparse.csr_array((weights, columns, starts), shape=(len(instruments), len(place)))
    return np.asarray((quantities @ member).toarray())

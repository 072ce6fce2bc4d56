"""Components of a margin: small functions, each of which gives an amount for every unit.

In: units with their expected shortfall, and how their instruments are valued. Out: columns of
amounts, one entry a unit, in the unit's currency, and how they move with the paths where they do.
How they are put together stands in `mcmargin.policies.formula`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from scipy import sparse

from mcmargin.instruments.instruments import Perpetual
from mcmargin.margins.estimates import Estimate, fixed, larger, with_kink
from mcmargin.margins.figures import UnitFigures, unit_figures
from mcmargin.margins.leverage import concentration, leverage_minimum
from mcmargin.margins.liquidity import liquidity
from mcmargin.margins.stress_add_on import add_on
from mcmargin.margins.unit_context import Amounts, UnitContext
from mcmargin.policies.formula import FORMULA
from mcmargin.valuing.scenario_market import elapsed_years

Component: TypeAlias = Callable[[UnitContext], Amounts | Estimate]


def base(context: UnitContext) -> Estimate:
    """Expected shortfall with the worst fills of open orders, at least the short options' minimum.

    It is never below 0.
    """
    least = np.maximum(short_option_minimum(context), 0.0)
    worst = _worst(context.figures, context.kink("fills"))
    return larger(worst, fixed(least), context.kink("least"))


def _worst(figures: UnitFigures, kink: int) -> Estimate:
    """Expected shortfall with the worst fills: the sum of two columns of a report."""
    worst = with_kink(figures.estimates.worst, kink)
    return replace(worst, amounts=figures.expected_shortfall + figures.open_orders)


def short_option_minimum(context: UnitContext) -> Amounts:
    """A share of the notional of every option that is short, open sell orders included."""
    instruments = context.valuation.instruments
    options = np.array([item.product == "option" for item in instruments], float)
    notional = context.valuation.instrument_values.notional
    short = -context.units.sold.minimum(0) @ (notional * options)
    return np.asarray(context.policy.short_option_minimum * short / context.rates)


def floor(context: UnitContext) -> Estimate:
    """Expected shortfall at the average volatility of the policy's years; 0 without a floor."""
    none = fixed(np.zeros(len(context.units.currencies)))
    if "floor" not in context.companions:
        return none
    figures = unit_figures(
        context.units,
        context.companions["floor"],
        context.level,
        shares=False,
        together=context.together,
        errors=context.errors,
        progress=context.next_pass(),
    )
    worst = _worst(figures, context.kink("floor's fills"))
    return larger(worst, none, context.kink("least floor"))


def stress_add_on(context: UnitContext) -> Estimate:
    """Weighted excesses over base: of the worst scenario, and of the worse of two tests."""
    return add_on(context, base(context))


def stressed_funding(context: UnitContext) -> Amounts:
    """Cost of stressed funding over the horizon beyond expected funding, at the worst fills."""
    return np.asarray(stressed_funding_costs(context).sum(axis=1) / context.rates)


def stressed_funding_costs(context: UnitContext) -> sparse.csr_array:
    """The same by instrument, in the market's currency; [units, instruments]."""
    units, valuation = context.units, context.valuation
    market, scenarios = valuation.market, valuation.scenarios
    stressed, expected = np.zeros((2, len(valuation.instruments)))
    for at, item in enumerate(valuation.instruments):
        if isinstance(item, Perpetual) and item.stressed_funding_rate:
            years = elapsed_years(scenarios, market, valuation.horizons[item.product])
            rate = market.worth(item.currency)
            stressed[at] = rate * item.funding(market, years, stressed=True)
            expected[at] = rate * item.funding(market, years)
    if not stressed.any():
        return sparse.csr_array(units.quantities.shape)
    bought, sold = (
        _funding_beyond(filled, stressed, expected) for filled in (units.bought, units.sold)
    )
    return sparse.csr_array(bought.maximum(sold))


def _funding_beyond(
    quantities: sparse.csr_array, stressed: Amounts, expected: Amounts
) -> sparse.csr_array:
    beyond = sparse.csr_array(quantities, copy=True)
    column = beyond.indices
    costs = np.abs(beyond.data) * stressed[column] - beyond.data * expected[column]
    beyond.data = np.where(stressed[column] > 0, np.maximum(costs, 0.0), 0.0)
    return beyond


COMPONENTS: Mapping[str, Component] = {
    "base": base,
    "floor": floor,
    "stress_add_on": stress_add_on,
    "liquidity": liquidity,
    "concentration": concentration,
    "stressed_funding": stressed_funding,
    "leverage_minimum": leverage_minimum,
}
"""The function of every component that a step of the formula takes in, by its name."""


def unit_components(context: UnitContext) -> dict[str, Estimate]:
    """Every component of the formula, one entry a unit; 0 where the policy lacks its part."""
    none = np.zeros(len(context.units.currencies))
    found: dict[str, Estimate] = {}
    for step in FORMULA:
        if step.component:
            on = step.is_on(context.policy)
            amounts = COMPONENTS[step.component](context) if on else none
            found[step.component] = amounts if isinstance(amounts, Estimate) else fixed(amounts)
    return found

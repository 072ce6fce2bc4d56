"""Policies in words: what a policy says about each step of its formula, and beside the formula.

In: a `MarginPolicy`. Out: sentences and phrases, for a terminal and for reports. The order of the
steps stands in `mcmargin.policies.formula`, whose table refers to these words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mcmargin.policies.part_checks import PRODUCTS
from mcmargin.policies.policy import MarginPolicy
from mcmargin.policies.policy_parts import Leverage

Sentences: TypeAlias = Callable[[MarginPolicy], tuple[str, ...]]


@dataclass(frozen=True)
class StepWords:
    """What people read about a step of the formula.

    Attributes
    ----------
    label : str
        Name of the part of the margin in pictures.
    reason : function of MarginPolicy
        Why the part is charged; a phrase.
    sentences : function of MarginPolicy
        What the policy says about the step; whole sentences.
    """

    label: str
    reason: Callable[[MarginPolicy], str]
    sentences: Sentences


def _base(policy: MarginPolicy) -> tuple[str, ...]:
    over = _over(policy.horizon, policy.horizons, "the longest horizon simulated")
    level = percent(policy.level)
    found = [f"Expected shortfall at {level} {over}, with the worst fills of open orders."]
    if policy.short_option_minimum:
        least = percent(policy.short_option_minimum)
        found.append(f"Each short option adds at least {least} of its notional.")
    part = policy.procyclicality
    if part is not None and part.stressed_weight:
        period = (
            "the worst 250 bars in a row of the model's history"
            if part.stressed_first is None
            else f"{part.stressed_first} to {part.stressed_last}"
        )
        found.append(
            f"{percent(part.stressed_weight)} of the paths start from the volatility of {period}."
        )
    return tuple(found)


def _base_reason(policy: MarginPolicy) -> str:
    return f"the average loss on the worst {percent(1.0 - policy.level)} of the paths"


def _floor_years(policy: MarginPolicy) -> float:
    return policy.procyclicality.floor_years if policy.procyclicality else 0.0


def _floor(policy: MarginPolicy) -> tuple[str, ...]:
    years = _floor_years(policy)
    if not years:
        return ("There is no floor.",)
    return (
        "The floor: the margin is never below what it would be at the volatility of the last "
        f"{years:g} years.",
    )


def _floor_reason(policy: MarginPolicy) -> str:
    return (
        "the least margin: what it would be at the volatility of the last "
        f"{_floor_years(policy):.4g} years"
    )


def _stress(policy: MarginPolicy) -> tuple[str, ...]:
    part = policy.stress
    if part is None:
        return ("There is no stress add-on.",)
    lived = [f"{window.name} ({window.first} to {window.last})" for window in part.windows]
    lived += [f"the {grid} grid of {_any(name)}" for name, grid in part.grids.items()]
    lived += [f"{gap.underlying} alone {percent(gap.move, sign=True)}" for gap in part.gaps]
    lived += [f"{code} losing {percent(loss)}" for code, loss in part.depegs.items()]
    found = []
    if lived:
        found.append(f"Stress scenarios: {'; '.join(lived)}.")
        found.append(
            "If the loss in the worst of them exceeds base, "
            f"{percent(part.scenario_weight)} of the excess is added."
            if part.scenario_weight
            else "The losses in these scenarios are reported; they add nothing to the margin."
        )
    if part.dependence_weight:
        found.append(
            "Besides, two tests of dependence: the two largest risk factors alone, and all risk "
            "factors in step. If the worse result exceeds base, "
            f"{percent(part.dependence_weight)} of the excess is added."
        )
    return tuple(found) or ("The stress part names no scenario and no weight, and adds nothing.",)


def _stress_reason(policy: MarginPolicy) -> str:
    part = policy.stress
    weights = {
        "the worst stress scenario": part.scenario_weight if part else 0.0,
        "the worse of two tests: the two largest risk factors alone, and all in step": (
            part.dependence_weight if part else 0.0
        ),
    }
    charged = [
        f"{100.0 * weight:.4g} % of the loss beyond base in {where}"
        for where, weight in weights.items()
        if weight
    ]
    return ", and ".join(charged) or "the policy charges no stressed loss"


def _calm(policy: MarginPolicy) -> tuple[str, ...]:
    part = policy.procyclicality
    found = []
    if part is not None and part.buffer:
        found.append(
            f"In calm times a buffer of {percent(part.buffer)} is charged on top; it is used up "
            "first while requirements rise."
        )
    if part is not None and part.speed_limit is not None:
        found.append(
            f"The margin rises by at most {percent(part.speed_limit)} in a bar, but it is never "
            "below base; the rest of the rise follows in later bars."
        )
    if not found:
        return ("There is neither a buffer nor a speed limit.",)
    whose = "Both start" if len(found) > 1 else "It starts"
    return *found, f"{whose} from the margins of the previous report."


def _liquidity(policy: MarginPolicy) -> tuple[str, ...]:
    part = policy.liquidity
    if part is None:
        return ()
    return (
        "Liquidity: closing out costs what the order book says, or else half the spread"
        + (f" ({percent(part.spread)} where the market gives none)" if part.spread else "")
        + ", and beyond the book "
        f"{part.impact:g} x daily volatility x sqrt(size / daily volume). A position larger "
        f"than {percent(part.participation)} of a day's volume takes more than a day to close.",
    )


def _concentration(policy: MarginPolicy) -> tuple[str, ...]:
    part = policy.concentration
    if part is None:
        return ()
    return (
        f"Concentration: if more than {amount(part.free_notional)} of one "
        f"underlying is held, {percent(part.rate)} of the rest is charged.",
    )


def _stressed_funding(policy: MarginPolicy) -> tuple[str, ...]:
    return (
        "Funding: what the stressed funding rate of perpetuals asks for beyond the expected rate.",
    )


def _leverage(policy: MarginPolicy) -> tuple[str, ...]:
    part = policy.leverage
    if part is None:
        return ("Leverage is not limited.",)
    if part.open_interest_lower == float("inf"):
        return (_tiers(part),)
    return (
        _tiers(part),
        "As the open interest of an underlying grows from "
        f"{amount(part.open_interest_lower)} to {amount(part.open_interest_upper)}, the margin "
        "grows to the whole notional.",
    )


def _tiers(part: Leverage) -> str:
    brackets = [
        f"{tier.max_leverage:g} " + ("beyond" if index else "for all")
        if tier.up_to == float("inf")
        else f"{tier.max_leverage:g} up to {amount(tier.up_to)}"
        for index, tier in enumerate(part.tiers)
    ]
    return f"Largest leverage by notional in one underlying: {', '.join(brackets)}."


def _tick(policy: MarginPolicy) -> tuple[str, ...]:
    if not policy.tick:
        return ("The margin is not rounded.",)
    return (f"The margin is rounded up to a multiple of {amount(policy.tick)}.",)


def _maintenance(policy: MarginPolicy) -> tuple[str, ...]:
    part = policy.maintenance
    if part is None:
        return ("There is no maintenance margin.",)
    over = _over(part.horizon, part.horizons, "the same horizon")
    return (
        f"The same formula at {percent(part.level)} {over}, on the same paths.",
        "Initial margin is never below maintenance margin.",
    )


def _collateral(policy: MarginPolicy) -> tuple[str, ...]:
    part = policy.collateral
    if part is None:
        return ()
    if part.mode == "joint":
        return (
            "Collateral counts at its full value, and its moves are part of the account's profit "
            "and loss.",
        )
    return (
        "Collateral counts at its value less a haircut, the expected shortfall of the coin at "
        f"{percent(part.level)}; its moves are not part of the profit and loss.",
    )


def _resources(policy: MarginPolicy) -> tuple[str, ...]:
    part = policy.resources
    if part is None:
        return ()
    largest = (
        "the largest stressed loss"
        if part.cover == 1
        else (f"the {part.cover} largest stressed losses")
    )
    return (
        f"The default fund covers {largest} beyond margin, by owner.",
        f"Margin and fund together should be {part.target_ratio:g} times the stressed loss.",
    )


def _age(policy: MarginPolicy) -> tuple[str, ...]:
    days = policy.max_age_days
    if days is None:
        return ()
    return (
        f"A margin is refused where the model is more than {days:g} days older than the market.",
    )


BASE = StepWords("expected shortfall", _base_reason, _base)
FLOOR = StepWords("floor", _floor_reason, _floor)
STRESS = StepWords("stress", _stress_reason, _stress)
CALM = StepWords(
    "buffer, speed limit",
    lambda policy: "a buffer added in calm times, or a rise that the speed limit spreads over bars",
    _calm,
)
LIQUIDITY = StepWords(
    "liquidity",
    lambda policy: "spread, order book, impact, and longer close-outs of large positions",
    _liquidity,
)
CONCENTRATION = StepWords(
    "concentration",
    lambda policy: "holdings of one underlying, by delta, beyond the free amount",
    _concentration,
)
STRESSED_FUNDING = StepWords(
    "stressed funding",
    lambda policy: "what perpetuals may pay in funding beyond the expected rate",
    _stressed_funding,
)
LEVERAGE = StepWords(
    "leverage minimum",
    lambda policy: "the least margin: notional divided by the largest leverage",
    _leverage,
)
TICK = StepWords("tick", lambda policy: "rounding up to a whole number of ticks", _tick)
MAINTENANCE = StepWords(
    "maintenance", lambda policy: "initial margin is at least maintenance", _maintenance
)

BESIDE: Mapping[str, Sentences] = {
    "collateral": _collateral,
    "resources": _resources,
    "age": _age,
}
"""What a policy says beside its formula."""


def _over(horizon: int | None, horizons: Mapping[str, int], otherwise: str) -> str:
    own = [f"{product} {horizons[product]}" for product in PRODUCTS if product in horizons]
    common = f"over {otherwise if horizon is None else bars(horizon)}"
    return f"{common} ({', '.join(own)})" if own else common


def bars(count: int) -> str:
    """A number of bars.

    Examples
    --------
    >>> bars(1), bars(5)
    ('1 bar', '5 bars')
    """
    return f"{count} bar" if count == 1 else f"{count} bars"


def _any(name: str) -> str:
    return "all other underlyings" if name == "*" else name


def percent(share: float, *, sign: bool = False) -> str:
    """A share in per cent.

    Examples
    --------
    >>> percent(0.9995), percent(-0.3, sign=True)
    ('99.95 %', '-30 %')
    """
    return f"{100.0 * share:{'+' if sign else ''}.10g} %"


def amount(value: float) -> str:
    """An amount with commas between thousands.

    Examples
    --------
    >>> amount(2_500_000.0), amount(0.01)
    ('2,500,000', '0.01')
    """
    return f"{value:,.15g}"

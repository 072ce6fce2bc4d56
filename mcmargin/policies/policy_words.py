"""Policies in words: what a policy does, step by step, in the order of its formula.

In: a `MarginPolicy`. Out: steps, each with its line of the formula and sentences, for a terminal
and for reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mcmargin.policies.part_checks import PRODUCTS
from mcmargin.policies.policy import MarginPolicy
from mcmargin.policies.policy_parts import Collateral, Leverage, Procyclicality, Resources
from mcmargin.policies.stress_parts import Stress


@dataclass(frozen=True)
class Step:
    """A step of the formula.

    Attributes
    ----------
    name : str
        The column of a report that it makes, or the part that it is.
    formula : str
        Empty for what stands beside the formula.
    sentences : tuple of str
    """

    name: str
    formula: str
    sentences: tuple[str, ...]


def policy_in_words(policy: MarginPolicy) -> tuple[Step, ...]:
    """Say what a policy does.

    Examples
    --------
    >>> steps = policy_in_words(MarginPolicy(level=0.975, horizon=2, tick=0.01))
    >>> [step.name for step in steps]
    ['base', 'stressed', 'calm', 'total', 'margin', 'maintenance']
    >>> steps[0].sentences[0]
    'Expected shortfall at 97.5 % over 2 bars, with the worst fills of open orders.'
    """
    beside = [
        Step(name, "", sentences)
        for name, sentences in (
            ("collateral", _collateral(policy.collateral)),
            ("resources", _resources(policy.resources)),
            ("age", _age(policy.max_age_days)),
        )
        if sentences
    ]
    return (
        Step("base", "ES(level, horizon by product class)", _base(policy)),
        Step("stressed", "max(base, floor) + stress add-on", _stressed(policy)),
        Step("calm", "buffer and speed limit(stressed, previous)", _calm(policy.procyclicality)),
        Step("total", "calm + liquidity + concentration + funding", _total(policy)),
        Step(
            "margin", "round up to tick(max(total, notional / maximum leverage))", _margin(policy)
        ),
        Step("maintenance", "the same at its own level and horizon", _maintenance(policy)),
        *beside,
    )


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


def _stressed(policy: MarginPolicy) -> tuple[str, ...]:
    part = policy.procyclicality
    years = 0.0 if part is None else part.floor_years
    floor = (
        "The floor: the margin is never below what it would be at the volatility of the last "
        f"{years:g} years."
        if years
        else "There is no floor."
    )
    return floor, *_stress(policy.stress)


def _stress(part: Stress | None) -> tuple[str, ...]:
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


def _calm(part: Procyclicality | None) -> tuple[str, ...]:
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


def _total(policy: MarginPolicy) -> tuple[str, ...]:
    found = []
    part = policy.liquidity
    if part is not None:
        found.append(
            "Liquidity: closing out costs what the order book says, or else half the spread"
            + (f" ({percent(part.spread)} where the market gives none)" if part.spread else "")
            + ", and beyond the book "
            f"{part.impact:g} x daily volatility x sqrt(size / daily volume). A position larger "
            f"than {percent(part.participation)} of a day's volume takes more than a day to close."
        )
    if policy.concentration is not None:
        found.append(
            f"Concentration: if more than {amount(policy.concentration.free_notional)} of one "
            f"underlying is held, {percent(policy.concentration.rate)} of the rest is charged."
        )
    return (
        *found,
        "Funding: what the stressed funding rate of perpetuals asks for beyond the expected rate.",
    )


def _margin(policy: MarginPolicy) -> tuple[str, ...]:
    found = ["Leverage is not limited." if policy.leverage is None else _leverage(policy.leverage)]
    part = policy.leverage
    if part is not None and part.open_interest_lower < float("inf"):
        found.append(
            "As the open interest of an underlying grows from "
            f"{amount(part.open_interest_lower)} to {amount(part.open_interest_upper)}, the margin "
            "grows to the whole notional."
        )
    found.append(
        f"The margin is rounded up to a multiple of {amount(policy.tick)}."
        if policy.tick
        else "The margin is not rounded."
    )
    return tuple(found)


def _leverage(part: Leverage) -> str:
    brackets = [
        f"{tier.max_leverage:g} " + ("beyond" if index else "for all")
        if tier.up_to == float("inf")
        else f"{tier.max_leverage:g} up to {amount(tier.up_to)}"
        for index, tier in enumerate(part.tiers)
    ]
    return f"Largest leverage by notional in one underlying: {', '.join(brackets)}."


def _maintenance(policy: MarginPolicy) -> tuple[str, ...]:
    part = policy.maintenance
    if part is None:
        return ("There is no maintenance margin.",)
    over = _over(part.horizon, part.horizons, "the same horizon")
    return (
        f"The same formula at {percent(part.level)} {over}, on the same paths.",
        "Initial margin is never below maintenance margin.",
    )


def _collateral(part: Collateral | None) -> tuple[str, ...]:
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


def _resources(part: Resources | None) -> tuple[str, ...]:
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


def _age(days: float | None) -> tuple[str, ...]:
    if days is None:
        return ()
    return (
        f"A margin is refused where the model is more than {days:g} days older than the market.",
    )


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
    """An amount, thousands apart.

    Examples
    --------
    >>> amount(2_500_000.0), amount(0.01)
    ('2,500,000', '0.01')
    """
    return f"{value:,.15g}"

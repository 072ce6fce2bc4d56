"""Valuations: how the instruments of a book are valued for each margin that a policy asks for.

In: instruments, scenarios, a market and a policy. Out: one `Valuations`, which holds the valuation
of initial margin, that of maintenance margin, both again at the volatility of the policy's floor,
and the losses in the policy's stress scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mcmargin.errors import PolicyError
from mcmargin.instruments.instruments import Instrument
from mcmargin.markets.market import Market
from mcmargin.policies.policy import MarginPolicy
from mcmargin.scenarios.scenarios import Scenarios
from mcmargin.stresses.stress_losses import StressValues, stress_values
from mcmargin.valuing.outlooks import outlooks_of
from mcmargin.valuing.valuation import Valuation


@dataclass(frozen=True, eq=False)
class Valuations:
    """How instruments are valued for each margin that a policy asks for.

    Attributes
    ----------
    initial, maintenance : Valuation
        They are the same where maintenance margin has no horizon of its own.
    initial_companions, maintenance_companions : mapping of str to Valuation
        The same instruments on scenarios of another volatility, by the name of these scenarios:
        `floor`, where the policy has a floor.
    stress : StressValues, optional
        None where the policy charges no stress scenarios.
    memory_limit : int
        Bytes that all of these valuations may take together.
    """

    initial: Valuation
    maintenance: Valuation
    initial_companions: Mapping[str, Valuation]
    maintenance_companions: Mapping[str, Valuation]
    stress: StressValues | None
    memory_limit: int


def valuations_of(
    instruments: tuple[Instrument, ...],
    scenarios: Scenarios,
    market: Market,
    policy: MarginPolicy,
    *,
    memory_limit: int,
    threads: int,
) -> Valuations:
    """Valuations of instruments for each margin that a policy asks for.

    Parameters
    ----------
    instruments : tuple of Instrument
    scenarios : Scenarios
        With the companions `floor` and `stressed` where the policy asks for them.
    market : Market
    policy : MarginPolicy
    memory_limit : int
        Bytes that all valuations may take together; each of them gets the same share.
    threads : int

    Raises
    ------
    PolicyError
        If a horizon, the floor or the stressed period was not simulated, or if the model or the
        market cannot give a stress scenario of the policy.
    """
    longest = scenarios.plan.horizons[-1]
    initial = policy.horizons_from(longest)
    maintenance = policy.maintenance_horizons_from(longest)
    for horizon in (*initial.values(), *maintenance.values()):
        scenarios.horizon_index(horizon)
    part = policy.procyclicality
    weights = {"floor": part.floor_years, "stressed": part.stressed_weight} if part else {}
    wanted = [name for name, weight in weights.items() if weight]
    for name in wanted:
        if name not in scenarios.companions:
            raise PolicyError(
                f"the policy's {name} scenarios were not simulated; give simulate() the policy"
            )
    if part is not None and "stressed" in wanted:
        scenarios = scenarios.stressed(part.stressed_weight)
    floors = {name: scenarios.companions[name] for name in wanted if name == "floor"}
    share = memory_limit // ((1 + len(floors)) * (1 if maintenance == initial else 2))

    def valued(source: Scenarios, horizons: dict[str, int]) -> Valuation:
        return Valuation(instruments, source, market, horizons, share, threads)

    first = valued(scenarios, initial)
    companions = {name: valued(each, initial) for name, each in floors.items()}
    stress = None
    if policy.stress is not None and policy.stress.scenario_weight:
        outlooks, floor = outlooks_of(scenarios), scenarios.plan.price_floor
        stress = stress_values(policy.stress, instruments, market, outlooks, floor)
    if maintenance == initial:
        return Valuations(first, first, companions, companions, stress, memory_limit)
    lower = {name: valued(each, maintenance) for name, each in floors.items()}
    second = valued(scenarios, maintenance)
    return Valuations(first, second, companions, lower, stress, memory_limit)

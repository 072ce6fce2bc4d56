"""margin(): from a book and scenarios to what each account must post, and why.

In: a `Book`, `Scenarios`, a `Market` (the model's own prices where none is given) and a
`MarginPolicy`. Out: a `MarginReport`. Instruments are valued once on every path, the profit and
loss of all accounts is one sparse product in float64, taken by blocks that fit a memory budget,
and each account's margin is the expected shortfall of its losses, shared out over its positions.
"""

from __future__ import annotations

import numpy as np

from mcmargin.book import Account, Book
from mcmargin.checks import Progress, whole_number
from mcmargin.errors import DataError, PolicyError
from mcmargin.instruments import Instrument, assets_of
from mcmargin.market import Market
from mcmargin.policy import MarginPolicy
from mcmargin.reporting import MarginReport, previous_of, report_of
from mcmargin.requirement import Run, requirement
from mcmargin.simulation import Scenarios, thread_count
from mcmargin.surface import VolatilitySurface
from mcmargin.tail import tail_count
from mcmargin.units import units_of
from mcmargin.valuation import Valuation, default_memory_limit


def margin(
    book: Book,
    scenarios: Scenarios,
    market: Market | None = None,
    policy: MarginPolicy | None = None,
    *,
    previous: MarginReport | None = None,
    memory_limit: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> MarginReport:
    """Expected-shortfall margin of every account.

    How it is put together is declared by the policy; see `mcmargin.policy`.

    Parameters
    ----------
    book : Book
    scenarios : Scenarios
    market : Market, optional
        Prices to value at, in place of the model's latest.
    policy : MarginPolicy, optional
        99 % over the longest horizon by default.
    previous : MarginReport, optional
        The last report, where a buffer or a speed limit needs it.
    memory_limit : int, optional
        Bytes that valuations, and profit and loss, may take each; a quarter of the machine's
        memory by default. Changes no figure.
    threads : int, optional
        `MCMARGIN_THREADS`, or one a core. Changes no figure.
    progress : callable, optional
        Called with accounts and owners done and in all.

    Returns
    -------
    MarginReport
        A margin is a positive amount in the account's currency.

    Raises
    ------
    DataError
        For an asset that the scenarios or the market lack, an expired instrument, a currency
        without rate or risk, or a model older than the policy allows.
    PolicyError
        For a horizon, floor or stressed period that was not simulated, or too few paths for the
        level.
    """
    policy = MarginPolicy() if policy is None else policy
    market = scenarios.market() if market is None else market
    limit = default_memory_limit() if memory_limit is None else memory_limit
    tail_count(scenarios.plan.paths, policy.level)
    check_book(book, scenarios, market)
    _check_age(scenarios, market, policy)
    run = run_of(
        book.instruments,
        scenarios,
        market,
        policy,
        memory_limit=whole_number("memory_limit", limit),
        threads=thread_count(threads),
    )
    units = units_of(book)
    last = previous_of(book, units, previous, run)
    required = requirement(units, len(book.accounts), run, policy, last, progress=progress)
    return report_of(book, units, required, run, policy, given=scenarios, previous=previous)


def run_of(
    instruments: tuple[Instrument, ...],
    scenarios: Scenarios,
    market: Market,
    policy: MarginPolicy,
    *,
    memory_limit: int,
    threads: int,
) -> Run:
    """How to value instruments for each margin that a policy asks for.

    Raises
    ------
    PolicyError
        For a horizon, floor or stressed period that was not simulated.
    """
    longest = scenarios.plan.horizons[-1]
    initial, maintenance = (
        policy.horizons_from(longest),
        policy.maintenance_horizons_from(longest),
    )
    for horizon in (*initial.values(), *maintenance.values()):
        scenarios.horizon_index(horizon)
    part = policy.procyclicality
    wanted = []
    if part is not None:
        wanted = [
            n for n, w in (("floor", part.floor_years), ("stressed", part.stressed_weight)) if w
        ]
    for name in wanted:
        if name not in scenarios.companions:
            raise PolicyError(
                f"the policy's {name} scenarios were not simulated; give simulate() the policy"
            )

    def valued(source: Scenarios, horizons: dict[str, int]) -> Valuation:
        return Valuation(instruments, source, market, horizons, memory_limit, threads)

    if "stressed" in wanted and part is not None:
        scenarios = scenarios.mixed(scenarios.companions["stressed"], part.stressed_weight)
    floors = {n: c for n, c in scenarios.companions.items() if n == "floor" and n in wanted}
    first = valued(scenarios, initial)
    companions = {name: valued(each, initial) for name, each in floors.items()}
    if maintenance == initial:
        return Run(first, first, companions, companions)
    lower = {name: valued(each, maintenance) for name, each in floors.items()}
    return Run(first, valued(scenarios, maintenance), companions, lower)


def check_book(book: Book, scenarios: Scenarios, market: Market) -> None:
    """Refuse a book that the model or the market cannot value.

    Raises
    ------
    DataError
        Naming the accounts, the instrument, and what is missing.
    """
    if not book.accounts:
        raise DataError("the book has no accounts; give at least one position")
    columns = (abs(book.quantities) + abs(book.buys) + abs(book.sells)).tocsc()
    for column, instrument in enumerate(book.instruments):
        rows = columns.indices[columns.indptr[column] : columns.indptr[column + 1]]
        holders = [book.accounts[row] for row in rows]
        where = f"{_named(holders)}, instrument {instrument.name!r}"
        for asset in assets_of(instrument):
            if asset not in (*scenarios.assets, *market.fx, market.currency):
                raise DataError(
                    f"{where}: the model has no asset {asset!r}; it has "
                    f"{', '.join(scenarios.assets)}"
                )
            if asset not in (*market.spot, *market.fx, market.currency):
                raise DataError(f"{where}: the market has no price of {asset!r}")
            if asset not in scenarios.assets:
                _check_currency(asset, _named(holders), instrument.name, scenarios, market)
        foreign = {market.quoted.get(asset, market.currency) for asset in assets_of(instrument)}
        for code in foreign - {instrument.currency}:
            for each in (code, instrument.currency):
                _check_currency(each, _named(holders), instrument.name, scenarios, market)
        for holder in {holder.currency: holder for holder in holders}.values():
            if instrument.currency != holder.currency:
                for code in (instrument.currency, holder.currency):
                    if code not in market.coins:
                        _check_currency(code, _named([holder]), instrument.name, scenarios, market)


def _check_currency(
    code: str, holder: str, instrument: str, scenarios: Scenarios, market: Market
) -> None:
    where = f"{holder}, instrument {instrument!r}"
    if code not in (market.currency, *market.fx):
        way = "name it in coins" if code in market.spot else "give it in fx"
        raise DataError(
            f"{where}: the market has no rate of currency {code!r} in {market.currency}; {way}"
        )
    risky = market.fx_asset.get(code, code) in scenarios.assets
    if not (risky or code == market.currency or code in {*market.fx_volatility, *market.depeg}):
        raise DataError(
            f"{where}: the rate of {code!r} has no risk: it is no asset of the model, and the "
            "market declares no fx_volatility of it (0 to hold it still)"
        )


def _named(holders: list[Account]) -> str:
    """Name the first few accounts, and count the others."""
    if not holders:
        return "no account"
    names = ", ".join(repr(holder.name) for holder in holders[:5])
    more = f" and {len(holders) - 5} more" if len(holders) > 5 else ""
    return f"account{'s' if len(holders) > 1 else ''} {names}{more}"


def _check_age(scenarios: Scenarios, market: Market, policy: MarginPolicy) -> None:
    if policy.max_age_days is None:
        return
    age = float((market.as_of - scenarios.as_of) / np.timedelta64(1, "D"))
    if abs(age) > policy.max_age_days:
        older = "older than" if age > 0 else "newer than"
        raise DataError(
            f"the model's state of {scenarios.as_of} is {abs(age):.1f} days {older} the market; "
            f"the policy allows {policy.max_age_days}; "
            f"{'update the model' if age > 0 else 'give prices of today'}"
        )
    for name, level in market.volatility.items():
        if not isinstance(level, VolatilitySurface):
            continue
        age = float((market.as_of - level.as_of) / np.timedelta64(1, "D"))
        if abs(age) > policy.max_age_days:
            raise DataError(
                f"the volatility surface of {name!r}, of {level.as_of.astype('M8[s]')}, is "
                f"{abs(age):.1f} days from the market; the policy allows {policy.max_age_days}; "
                "give quotes of today"
            )

"""margin(): from a book and scenarios to what each account must post, and why.

In: a `Book`, `Scenarios`, a `Market` (the model's own prices where none is given) and a
`MarginPolicy`. Out: a `MarginReport`. Instruments are valued once on every path, the profit and
loss of all accounts is one sparse product in float64, taken by blocks that fit a memory budget,
and each account's margin is the expected shortfall of its losses, shared out over its positions.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from mcmargin.books.accounts import Account
from mcmargin.books.book import Book
from mcmargin.books.collateral import balance_of, held_of, is_own_cash, kinds_of
from mcmargin.books.units import Units, units_of
from mcmargin.checks import few, require_type, whole_number
from mcmargin.desk.gathering import previous_of, report_of, sums_of
from mcmargin.engines.choice import thread_count
from mcmargin.errors import DataError, MemoryLimitWarning, PolicyError
from mcmargin.instruments.instruments import Instrument, Spot, assets_of
from mcmargin.margins.equity import equity_of
from mcmargin.margins.haircuts import haircuts_of
from mcmargin.margins.market_check import require_market_of_model, require_plausible_terms
from mcmargin.margins.requirement import requirement
from mcmargin.margins.unit_tails import group_rows, with_orders
from mcmargin.margins.valuations import valuations_of
from mcmargin.markets.market import Market
from mcmargin.numerics.tail import tail_count
from mcmargin.policies.policy import MarginPolicy
from mcmargin.progress import Progress
from mcmargin.reports.margin_report import MarginReport, Session
from mcmargin.scenarios.simulation import Scenarios
from mcmargin.valuing.valuation import Valuation, within_memory


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

    How it is put together is declared by the policy; see `mcmargin.policies.policy`.

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
        Bytes that valuations may take together: those of initial and maintenance margin and of
        the policy's floor, with draws, rates and volatilities; a quarter of the machine's memory
        by default, or of what is free on the scenarios' device. Halved where memory ends all the
        same. Profit and loss takes up to as much again, or 64 MB a thread where that is
        more; where several figures make a margin, how they move with the paths takes the same
        again, or 150 MB where that is more. Held whatever the limit: all instruments on a tile of
        2,048 paths; one account's gains on all paths, if it has open orders; and the model's table
        of variances to come of each underlying of options. Changes no figure.

        Values that do not fit are made in blocks of paths, of each instrument once for all
        accounts and once more for their contributions. They are made again where the tails of
        all accounts do not fit either (of 5,000 accounts at 99 % of 20,000 paths they take 20 MB),
        or the gains of all accounts that have open orders. A `MemoryLimitWarning` says how often
        before it begins.
    threads : int, optional
        `MCMARGIN_THREADS`, or one a core. Changes no figure.
    progress : callable, optional
        Called with accounts and owners done and in all, each counted once for every expected
        shortfall that the policy takes of it.

    Returns
    -------
    MarginReport
        A margin is a positive amount in the account's currency.

    Raises
    ------
    DataError
        For an asset that the scenarios or the market lack, an expired instrument, a currency
        without rate or risk, a market dated before the model or too long after it (`max_age_days`
        of the policy), and prices that are not plausible beside the model's
        (`mcmargin.margins.market_check`).
    PolicyError
        For a horizon, floor or stressed period that was not simulated, stress scenarios that model
        or market cannot give, or too few paths for the level.
    EngineError
        Where the memory does not hold even the smallest blocks.

    Examples
    --------
    >>> from mcmargin.demo import demo_book, demo_model
    >>> from mcmargin.scenarios.simulation import simulate
    >>> scenarios = simulate(demo_model(), horizon=2, paths=10_000, seed=7)
    >>> report = margin(demo_book(), scenarios, policy=MarginPolicy(level=0.99))
    >>> report.to_frame()[["account", "margin", "margin_error"]].round()
             account   margin  margin_error
    0    diversified  21383.0         375.0
    1   index spread   8442.0         195.0
    2  long equities  35415.0         646.0
    3      short oil  27438.0         466.0
    """
    require_type("book", book, Book)
    require_type("scenarios", scenarios, Scenarios)
    market = scenarios.market() if market is None else market
    require_type("market", market, Market)
    policy = MarginPolicy() if policy is None else policy
    require_type("policy", policy, MarginPolicy, error=PolicyError)
    if previous is not None:
        require_type("previous", previous, MarginReport)
    if memory_limit is not None:
        memory_limit = whole_number("memory_limit", memory_limit)
    tail_count(scenarios.plan.paths, policy.level)
    check_book(book, scenarios, market)
    check_balances(book, scenarios, market)
    check_market(book, scenarios, market, policy)
    count = thread_count(threads)

    def work(limit: int) -> MarginReport:
        limits = {"memory_limit": limit, "threads": count}
        return _margin(book, scenarios, market, policy, previous, limits=limits, progress=progress)

    return within_memory(work, scenarios, memory_limit, f"margins of {len(book.accounts)} accounts")


def _margin(
    book: Book,
    scenarios: Scenarios,
    market: Market,
    policy: MarginPolicy,
    previous: MarginReport | None,
    *,
    limits: dict[str, int],
    progress: Progress | None,
) -> MarginReport:
    """Margins within limits of memory and threads."""
    held = held_of(book, market, policy)
    valuations = valuations_of(
        (*book.instruments, *held.items), scenarios, market, policy, **limits
    )
    haircuts, shares = haircuts_of(book, valuations.initial, policy)
    equity = equity_of(book, valuations.initial, shares)
    units = units_of(book, held)
    before = previous_of(book.accounts, units.owner, previous, valuations)
    sums = sums_of(book, units.owner, market)
    _tell_cost(units, valuations.initial, policy)
    required = requirement(
        units, len(book.accounts), valuations, policy, before, sums=sums, progress=progress
    )
    # Without its own session: reports that follow one another would keep all of their scenarios.
    last = None if previous is None else replace(previous, session=None)
    session = Session(book, held, scenarios, valuations, required.context, last, shares)
    return report_of(session, units, required, policy, equity, haircuts)


def _tell_cost(units: Units, valuation: Valuation, policy: MarginPolicy) -> None:
    """Say how often values will be made where they do not fit the memory limit."""
    if valuation.fits:
        return
    rows = group_rows(units, valuation, policy.level, policy.confidence, whole=True)
    orders = " and once more for open orders" if with_orders(units).any() else ""
    groups = f", for {len(rows)} groups of accounts" if len(rows) > 1 else ""
    warnings.warn(
        f"the memory limit leaves {valuation.memory_limit / 1e6:,.0f} MB for the values of "
        f"{len(valuation.instruments):,} instruments on {valuation.scenarios.plan.paths:,} paths, "
        f"which take {valuation.bytes_of_all / 1e6:,.0f} MB: they are made in "
        f"{valuation.block_count} blocks of paths, at least {2 * len(rows)} times instead of once"
        f"{groups}{orders}. A higher limit takes less time, and gives the same figures",
        MemoryLimitWarning,
        stacklevel=6,
    )


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
        _check_held(instrument, f"instrument {instrument.name!r}", holders, scenarios, market)


def check_market(book: Book, scenarios: Scenarios, market: Market, policy: MarginPolicy) -> None:
    """Refuse a market that does not belong to the model, and terms that no instrument has.

    Raises
    ------
    DataError
        Naming both dates, or both figures, and the limit that lets them pass.
    """
    require_market_of_model(scenarios.model, market, policy)
    require_plausible_terms(book.instruments, market)
    names = set(book.known)
    if all(type(each) is Spot and each.name == each.underlying for each in book.known.values()):
        # Without a list of instruments the assets are the instruments, held or not.
        names |= {*scenarios.assets, *market.fx, market.currency}
    for name in market.liquidity:
        if name not in names:
            raise DataError(
                f"market: liquidity of {name!r}: no instrument has this name; there are "
                f"{few(sorted(names))}; correct the name, or take the table out"
            )


def check_balances(book: Book, scenarios: Scenarios, market: Market) -> None:
    """Refuse balances that the model or the market cannot value, and debits that are no cash.

    Raises
    ------
    DataError
        Naming accounts, the asset, and what is missing.
    """
    kinds, kind = kinds_of(book)
    for at, each in enumerate(kinds):
        assert book.balances is not None
        rows = np.searchsorted(book.balances.indptr, np.flatnonzero(kind == at), side="right") - 1
        holders, what = [book.accounts[row] for row in rows], f"balance {each.asset!r}"
        if each.debit and each.asset not in (market.currency, *market.fx, each.currency):
            raise DataError(
                f"{_named(holders)}, {what}: a debit must be in cash; enter a borrowed asset as a "
                "short position"
            )
        if not is_own_cash(each, market):
            _check_held(balance_of(each.asset, market), what, holders, scenarios, market)
        elif each.asset not in (market.currency, *market.fx):
            way = "name it in coins" if each.asset in market.spot else "give it in fx"
            raise DataError(f"{_named(holders)}, {what}: the market has no rate of it; {way}")


def _check_held(
    item: Instrument, what: str, holders: list[Account], scenarios: Scenarios, market: Market
) -> None:
    """Refuse what its holders cannot be margined for."""
    where = f"{_named(holders)}, {what}"
    for asset in assets_of(item):
        if asset not in (*scenarios.assets, *market.fx, market.currency):
            raise DataError(
                f"{where}: the model has no asset {asset!r}; it has {', '.join(scenarios.assets)}"
            )
        if asset not in (*market.spot, *market.fx, market.currency):
            raise DataError(f"{where}: the market has no price of {asset!r}")
        if asset not in scenarios.assets:
            _check_currency(asset, where, scenarios, market)
    foreign = {market.quoted.get(asset, market.currency) for asset in assets_of(item)}
    for code in foreign - {item.currency}:
        for each in (code, item.currency):
            _check_currency(each, where, scenarios, market)
    for holder in {holder.currency: holder for holder in holders}.values():
        if item.currency != holder.currency:
            for code in (item.currency, holder.currency):
                if code not in market.coins:
                    _check_currency(code, f"{_named([holder])}, {what}", scenarios, market)


def _check_currency(code: str, where: str, scenarios: Scenarios, market: Market) -> None:
    if code in market.coins and code in scenarios.assets:
        return
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
    return f"account{'s' if len(holders) > 1 else ''} {few(repr(each.name) for each in holders)}"

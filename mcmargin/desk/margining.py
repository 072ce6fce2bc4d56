"""margin(): from a book and scenarios to what each account must post, and why.

In: a `Book`, `Scenarios`, a `Market` (the model's own prices where none is given) and a
`MarginPolicy`. Out: a `MarginReport`. Instruments are valued once on every path, the profit and
loss of all accounts is one sparse product in float64, taken by blocks that fit a memory budget,
and each account's margin is the expected shortfall of its losses, shared out over its positions.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

from mcmargin.books.book import Book
from mcmargin.books.resolved import ResolvedBook, resolve
from mcmargin.books.units import Units
from mcmargin.checks import require_type, whole_number
from mcmargin.desk.gathering import gathered, sums_of
from mcmargin.desk.live_session import LiveSession
from mcmargin.desk.previous import previous_of
from mcmargin.engines.choice import thread_count
from mcmargin.errors import MemoryLimitWarning, PolicyError
from mcmargin.margins.equity import equity_of
from mcmargin.margins.haircuts import haircuts_of
from mcmargin.margins.requirement import requirement
from mcmargin.margins.unit_tails import group_rows, with_orders
from mcmargin.margins.valuations import valuations_of
from mcmargin.markets.market import Market
from mcmargin.markets.model_prices import market_of_model
from mcmargin.numerics.tail import tail_count
from mcmargin.policies.policy import MarginPolicy
from mcmargin.progress import Progress
from mcmargin.reports.margin_report import MarginReport
from mcmargin.scenarios.scenarios import Scenarios
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
        (`mcmargin.books.market_check`).
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
    market = market_of_model(scenarios.model) if market is None else market
    require_type("market", market, Market)
    policy = MarginPolicy() if policy is None else policy
    require_type("policy", policy, MarginPolicy, error=PolicyError)
    if previous is not None:
        require_type("previous", previous, MarginReport)
    if memory_limit is not None:
        memory_limit = whole_number("memory_limit", memory_limit)
    tail_count(scenarios.plan.paths, policy.level)
    resolved = resolve(book, scenarios.model, market, policy)
    count = thread_count(threads)

    def work(limit: int) -> MarginReport:
        limits = {"memory_limit": limit, "threads": count}
        return _margin(resolved, scenarios, policy, previous, limits=limits, progress=progress)

    return within_memory(work, scenarios, memory_limit, f"margins of {len(book.accounts)} accounts")


def _margin(
    resolved: ResolvedBook,
    scenarios: Scenarios,
    policy: MarginPolicy,
    previous: MarginReport | None,
    *,
    limits: dict[str, int],
    progress: Progress | None,
) -> MarginReport:
    """Margins within limits of memory and threads."""
    market, units, accounts = resolved.market, resolved.units, resolved.book.accounts
    valuations = valuations_of(resolved.instruments, scenarios, market, policy, **limits)
    haircuts, shares = haircuts_of(resolved, valuations.initial, policy)
    equity = equity_of(resolved, valuations.initial, shares)
    before = previous_of(accounts, units.owner, previous, scenarios, market)
    sums = sums_of(resolved.book, units.owner, market)
    _tell_cost(units, valuations.initial, policy)
    required = requirement(
        units, len(accounts), valuations, policy, before, sums=sums, progress=progress
    )
    # Without its own session: reports that follow one another would keep all of their scenarios.
    last = None if previous is None else replace(previous, session=None)
    found = gathered(resolved, required, last, equity, haircuts)
    context = required.context
    session = LiveSession(found, resolved, scenarios, valuations, context, last, shares)
    return MarginReport(**vars(found), session=session)


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

"""margin(): from a book and scenarios to what each account must post, and why.

In: a `Book`, `Scenarios`, a `Market` (without one, the model's own prices) and a `MarginPolicy`.
Out: a `MarginReport`. The book is resolved once, and its instruments are valued once on every path.
The profit and loss of all accounts is then one sparse product in float64, which is taken in blocks
that fit a memory budget. Each account's margin starts from the expected shortfall of its losses.
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
from mcmargin.valuing.memory import within_memory
from mcmargin.valuing.valuation import Valuation


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

    The policy declares what a margin is put together of; see `mcmargin.policies.policy`.

    Parameters
    ----------
    book : Book
    scenarios : Scenarios
    market : Market, optional
        Prices to value at, in place of the model's latest.
    policy : MarginPolicy, optional
        99 % over the longest horizon by default.
    previous : MarginReport, optional
        The previous report, which a buffer or a speed limit starts from.
    memory_limit : int, optional
        Bytes that all valuations may take together: those of initial margin, of maintenance margin
        and of the policy's floor, with their draws, rates and volatilities. The default is a
        quarter of the machine's memory, or of the memory that is free on the scenarios' device. If
        memory runs out all the same, the limit is halved. It changes no figure.

        Beside the valuations, profit and loss takes as many bytes again, or 64 MB a thread if that
        is more. If several figures make a margin, their movements with the paths take as many
        bytes again, or 150 MB if that is more. Some arrays are needed under any limit: all
        instruments on a tile of 2,048 paths; the gains on all paths of one account that has open
        orders; and for each underlying of options, the model's table of future variances.

        Values that do not fit are made in blocks of paths. Each instrument is then valued once for
        the tails of all accounts, and once more for their contributions. It is valued again if the
        tails of all accounts do not fit (those of 5,000 accounts at 99 % of 20,000 paths take
        20 MB), or if the gains of all accounts that have open orders do not fit. A
        `MemoryLimitWarning` says beforehand how often values are made.
    threads : int, optional
        By default `MCMARGIN_THREADS`, or one thread a core. It changes no figure.
    progress : callable, optional
        It is called with how many accounts and owners are done, and with how many there are. Each
        of them counts once for every expected shortfall that the policy takes of it.

    Returns
    -------
    MarginReport
        A margin is a positive amount in the account's currency.

    Raises
    ------
    DataError
        If the scenarios or the market lack an asset, an instrument has expired, a currency has no
        rate or no risk, the market is dated before the model or too long after it (`max_age_days`
        of the policy), or prices are not plausible beside the model's
        (`mcmargin.books.market_check`).
    PolicyError
        If a horizon, the floor or the stressed period was not simulated, if the model or the market
        cannot give a stress scenario, or if there are too few paths for the level.
    EngineError
        If not even the smallest blocks fit into memory.

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
    """Margins, within limits of memory and threads."""
    market, units, accounts = resolved.market, resolved.units, resolved.book.accounts
    valuations = valuations_of(resolved.instruments, scenarios, market, policy, **limits)
    haircuts, shares = haircuts_of(resolved.posted, valuations.initial, policy)
    equity = equity_of(resolved, valuations.initial, shares)
    before = previous_of(accounts, units.owner, previous, scenarios, market)
    sums = sums_of(accounts, units.owner, market)
    _tell_cost(units, valuations.initial, policy)
    required = requirement(
        units, len(accounts), valuations, policy, before, sums=sums, progress=progress
    )
    # Its own session is left out: else each report would keep the scenarios of all before it.
    last = None if previous is None else replace(previous, session=None)
    found = gathered(resolved, required, last, equity, haircuts)
    context = required.context
    session = LiveSession(found, resolved, scenarios, valuations, context, last, shares)
    return MarginReport(**vars(found), session=session)


def _tell_cost(units: Units, valuation: Valuation, policy: MarginPolicy) -> None:
    """Warn how often values will be made, if they do not fit the memory limit."""
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

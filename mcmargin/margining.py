"""margin(): from a book and scenarios to what each account must post, and why.

In: a `Book`, `Scenarios`, a `Market` (the model's own prices where none is given) and a
`MarginPolicy`. Out: a `MarginReport`. Instruments are valued by block of accounts and paths, the
profit and loss of all accounts is one sparse product in float64, and each account's margin is
the expected shortfall of its losses, shared out over its positions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.book import Account, Book
from mcmargin.checks import Progress
from mcmargin.engines.arrays import array_module, device_matrix, to_host
from mcmargin.errors import DataError
from mcmargin.instruments import value_changes
from mcmargin.market import Market
from mcmargin.policy import MarginPolicy
from mcmargin.reporting import AccountMargin, Contribution, MarginReport, library_versions
from mcmargin.simulation import Scenarios
from mcmargin.tail import Tails, estimate_tails, tail_count

PATH_BLOCK = 16_384
LARGEST_BUFFER = 256 * 2**20
"""Bytes of profit and loss held at a time; accounts are taken in blocks of as many."""


def margin(
    book: Book,
    scenarios: Scenarios,
    market: Market | None = None,
    policy: MarginPolicy | None = None,
    *,
    progress: Progress | None = None,
) -> MarginReport:
    """Expected-shortfall margin of every account.

    Parameters
    ----------
    book : Book
    scenarios : Scenarios
    market : Market, optional
        Prices to value at, in place of the model's latest.
    policy : MarginPolicy, optional
        99 % over the longest horizon by default.
    progress : callable, optional
        Called with accounts done and in all.

    Returns
    -------
    MarginReport
        Margin is max(ES, 0), a positive amount in the account's currency.

    Raises
    ------
    DataError
        For an asset that the scenarios or the market lack, a currency without rate, or a
        model older than the policy allows.
    PolicyError
        For a horizon that was not simulated, or too few paths for the level.
    """
    policy = MarginPolicy() if policy is None else policy
    market = scenarios.market() if market is None else market
    horizon = scenarios.plan.horizons[-1] if policy.horizon is None else policy.horizon
    returns = scenarios.returns[scenarios.horizon_index(horizon)]
    tail_count(scenarios.plan.paths, policy.level)
    _check_assets(book, scenarios, market)
    _check_age(scenarios, market, policy)
    accounts: list[AccountMargin] = []
    block = max(1, LARGEST_BUFFER // (8 * scenarios.plan.paths))
    for start in range(0, len(book.accounts), block):
        rows = range(start, min(start + block, len(book.accounts)))
        gains = profit_and_loss(book, rows, scenarios.assets, returns, market)
        tails = estimate_tails(-gains, level=policy.level, confidence=policy.confidence)
        accounts += [
            _account_margin(book, row, tails, at, scenarios.assets, returns, market)
            for at, row in enumerate(rows)
        ]
        if progress is not None:
            progress(len(accounts), len(book.accounts))
    return MarginReport(
        accounts=tuple(accounts),
        policy=policy,
        plan=scenarios.plan,
        horizon=horizon,
        engine=scenarios.engine,
        as_of=str(scenarios.as_of),
        market_as_of=str(market.as_of),
        spot=dict(sorted(market.spot.items())),
        fingerprints={
            "model": scenarios.model_fingerprint,
            "book": book.fingerprint(),
            "market": market.fingerprint(),
            "policy": policy.fingerprint(),
        },
        floored_paths=scenarios.floored_paths,
        capped_paths=scenarios.capped_paths,
        versions=library_versions(),
    )


def profit_and_loss(
    book: Book, rows: range, assets: tuple[str, ...], returns: NDArray[Any], market: Market
) -> Any:
    """Gains of some accounts on every path; float64 [accounts, paths], where the returns lie."""
    xp = array_module(returns)
    quantities: Any = book.quantities[rows.start : rows.stop]
    if xp is not np:
        quantities = device_matrix(quantities)
    gains = xp.empty((len(rows), returns.shape[1]))
    for start in range(0, returns.shape[1], PATH_BLOCK):
        here = slice(start, start + PATH_BLOCK)
        values = value_changes(book.instruments, assets, returns[:, here], market)
        gains[:, here] = quantities @ values
    return gains


def _account_margin(
    book: Book,
    row: int,
    tails: Tails,
    at: int,
    assets: tuple[str, ...],
    returns: NDArray[Any],
    market: Market,
) -> AccountMargin:
    """One account's figures, its ES shared out over the positions by the same tail weights."""
    quantities = book.quantities
    own = slice(quantities.indptr[row], quantities.indptr[row + 1])
    held = [book.instruments[column] for column in quantities.indices[own]]
    units = quantities.data[own]
    values = to_host(value_changes(held, assets, returns[:, tails.paths[at]], market))
    shares = -units * (values @ tails.weights)
    es, var = float(tails.expected_shortfall[at]), float(tails.value_at_risk[at])
    exposures = units * np.array([market.spot[item.underlying] for item in held])
    return AccountMargin(
        account=book.accounts[row].name,
        currency=book.accounts[row].currency,
        margin=max(es, 0.0),
        expected_shortfall=es,
        expected_shortfall_error=float(tails.expected_shortfall_error[at]),
        expected_shortfall_interval=_pair(tails.expected_shortfall_interval[at]),
        value_at_risk=var,
        value_at_risk_error=float(tails.value_at_risk_error[at]),
        value_at_risk_interval=_pair(tails.value_at_risk_interval[at]),
        gross_exposure=float(np.abs(exposures).sum()),
        net_exposure=float(exposures.sum()),
        contributions=tuple(
            Contribution(item.name, float(quantity), float(exposure), float(share))
            for item, quantity, exposure, share in zip(held, units, exposures, shares, strict=True)
        ),
    )


def _pair(interval: NDArray[np.float64]) -> tuple[float, float]:
    return float(interval[0]), float(interval[1])


def _check_assets(book: Book, scenarios: Scenarios, market: Market) -> None:
    if not book.accounts:
        raise DataError("the book has no accounts; give at least one position")
    columns = book.quantities.tocsc()
    for column, instrument in enumerate(book.instruments):
        rows = columns.indices[columns.indptr[column] : columns.indptr[column + 1]]
        holders = [book.accounts[row] for row in rows]
        where = f"{_named(holders)}, instrument {instrument.name!r}"
        if instrument.underlying not in scenarios.assets:
            raise DataError(
                f"{where}: the model has no asset {instrument.underlying!r}; it has "
                f"{', '.join(scenarios.assets)}"
            )
        if instrument.underlying not in market.spot:
            raise DataError(f"{where}: the market has no price of {instrument.underlying!r}")
        for holder in holders:
            if instrument.currency != holder.currency:
                raise DataError(
                    f"{_named([holder])}, instrument {instrument.name!r}: in "
                    f"{instrument.currency}, the account in {holder.currency}, and there is no "
                    "rate between them"
                )


def _named(holders: list[Account]) -> str:
    """Name the first few accounts, and count the others."""
    if not holders:
        return "no account"
    names = ", ".join(repr(holder.name) for holder in holders[:5])
    more = f" and {len(holders) - 5} more" if len(holders) > 5 else ""
    return f"account{'s' if len(holders) > 1 else ''} {names}{more}"


def _check_age(scenarios: Scenarios, market: Market, policy: MarginPolicy) -> None:
    age = (market.as_of - scenarios.as_of) / np.timedelta64(1, "D")
    if policy.max_age_days is not None and age > policy.max_age_days:
        raise DataError(
            f"the model's state of {scenarios.as_of} is {age:.1f} days older than the market; "
            f"the policy allows {policy.max_age_days}; update the model"
        )

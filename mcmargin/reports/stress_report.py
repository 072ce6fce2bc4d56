"""stress(): what every account and owner loses in a policy's stress scenarios.

In: a `Book`, `Scenarios` (whose model has the history; no path is looked at), a `Market` and a
policy with a `Stress` part. Out: a `StressReport`, as tables, JSON or text.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mcmargin.books.book import Book
from mcmargin.books.resolved import ResolvedBook, resolve
from mcmargin.checks import require_type
from mcmargin.data.files import write_text
from mcmargin.data.json_text import json_text, plain_columns, records
from mcmargin.data.typed_fields import without_infinity
from mcmargin.engines.choice import library_versions
from mcmargin.errors import DataError, PolicyError
from mcmargin.markets.market import Market
from mcmargin.markets.model_prices import market_of_model
from mcmargin.names import table_cell, with_borders_of_console
from mcmargin.policies.policy import MarginPolicy
from mcmargin.scenarios.scenarios import Scenarios
from mcmargin.stresses.stress_losses import (
    StressTable,
    StressValues,
    all_losses,
    stress_losses,
    stress_values,
)
from mcmargin.valuing.valuation import Valuation, default_memory_limit

SCHEMA = "mcmargin.stress/1"

SHOWN_ACCOUNTS = 50
"""Accounts that a printed report lists."""


@dataclass(frozen=True, eq=False)
class StressSession:
    """What a report was made of, kept for the scenarios that it does not list."""

    resolved: ResolvedBook
    valuation: Valuation
    values: StressValues


@dataclass(frozen=True, eq=False)
class StressReport:
    """Stressed losses of all accounts, and of their owners.

    Attributes
    ----------
    accounts : DataFrame
        One row an account: account, owner, currency, scenario, loss: its worst.
    owners : DataFrame
        One row an owner, all of its accounts together: owner, currency, rate (of the currency, in
        the market's), scenario, loss.
    table : StressTable
        One row an account, in the order of `accounts`.
    policy : MarginPolicy
    as_of, market_as_of : str
        Of the model's state, and of the prices used.
    fingerprints : dict
        Of model, book, market and policy.
    versions : dict
    session : StressSession
    """

    accounts: pd.DataFrame
    owners: pd.DataFrame
    table: StressTable
    policy: MarginPolicy
    as_of: str
    market_as_of: str
    fingerprints: dict[str, str]
    versions: dict[str, str]
    session: StressSession = field(repr=False)

    @property
    def scenarios(self) -> int:
        """How many scenarios there are."""
        return int(self.session.values.changes.shape[1])

    def to_frame(self) -> pd.DataFrame:
        """One row an account and set of scenarios: account, scenario (its worst), loss.

        A window that lists several dates has a row for each.
        """
        columns = self.table.losses.shape[1]
        return pd.DataFrame(
            {
                "account": np.repeat(self.accounts["account"].to_numpy(object), columns),
                "scenario": self.table.names().ravel(),
                "loss": self.table.losses.ravel(),
            }
        )

    def scenarios_of(self, account: str) -> pd.DataFrame:
        """Every scenario of one account: set, scenario, loss, in the account's currency.

        Raises
        ------
        DataError
            If the report has no such account.
        """
        rows = np.flatnonzero(self.accounts["account"] == account)
        if len(rows) == 0:
            raise DataError(f"the stress report has no account {account!r}")
        row, session = int(rows[0]), self.session
        quantities = session.resolved.quantities[[row]]
        code = session.resolved.book.accounts[row].currency
        losses = all_losses(quantities, [code], session.values, session.valuation)[0]
        names = [(own.name, each) for own in session.values.sets for each in own.scenarios]
        return pd.DataFrame(names, columns=["set", "scenario"]).assign(loss=losses)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """JSON of schema mcmargin.stress/1, every figure exact; written whole where asked."""
        text = stress_to_json(self)
        if path is not None:
            write_text(Path(path), text)
        return text

    def __str__(self) -> str:
        """Table for a terminal: each account's worst scenario."""
        from rich.console import Console
        from rich.table import Table

        sets = len(self.session.values.sets)
        table = Table(title=f"Stress: worst of {self.scenarios:,} scenarios in {sets:,} sets")
        table.add_column("account")
        table.add_column("worst scenario")
        table.add_column("loss", justify="right")
        shown = self.accounts.iloc[:SHOWN_ACCOUNTS].to_dict("records")
        for a in shown:
            name = table_cell(f"{a['account']} ({a['currency']})")
            table.add_row(name, table_cell(str(a["scenario"])), f"{a['loss']:,.2f}")
        stream = io.StringIO()
        console = Console(file=stream, width=110, color_system=None, force_terminal=False)
        console.print(table)
        if len(self.accounts) > len(shown):
            console.print(f"and {len(self.accounts) - len(shown):,} accounts more", highlight=False)
        console.print(
            f"A loss is positive. State of {self.as_of[:19]}, prices of {self.market_as_of[:19]}.",
            highlight=False,
        )
        return with_borders_of_console(stream.getvalue().rstrip())


def stress_to_json(report: StressReport, **beside: Any) -> str:
    """JSON of schema mcmargin.stress/1, with fields beside those of the report."""
    head = {
        "schema": SCHEMA,
        "scenarios": report.scenarios,
        "policy": without_infinity(asdict(report.policy)),
        "as_of": report.as_of,
        "market_as_of": report.market_as_of,
        "fingerprints": report.fingerprints,
        "versions": report.versions,
        **beside,
    }
    owners = records(plain_columns(report.owners))
    return json_text(head, {"owners": owners, "accounts": _account_rows(report)})


def _account_rows(report: StressReport) -> Iterator[dict[str, Any]]:
    """Accounts as plain values, each with the worst scenario of every set."""
    sets, members = report.table.sets, report.table.members.tolist()
    losses = iter(plain_columns(report.to_frame()[["account", "loss"]])["loss"])
    for at, row in enumerate(records(plain_columns(report.accounts))):
        row["scenarios"] = [
            {"set": own.name, "scenario": own.scenarios[member], "loss": next(losses)}
            for own, member in zip(sets, members[at], strict=True)
        ]
        yield row


def stress(
    book: Book,
    scenarios: Scenarios,
    market: Market | None = None,
    policy: MarginPolicy | None = None,
) -> StressReport:
    """Losses of every account and owner in a policy's stress scenarios.

    Open orders are left out; collateral is in, where it counts jointly. An owner's loss is that of
    all of its accounts together in one scenario, netted or not.

    Parameters
    ----------
    book : Book
    scenarios : Scenarios
    market : Market, optional
        Prices to value at, in place of the model's latest.
    policy : MarginPolicy
        With a `Stress` part.

    Returns
    -------
    StressReport

    Raises
    ------
    DataError
        As `margin`, for a book that model or market cannot value.
    PolicyError
        For a policy without stress scenarios, and for those that model or market cannot give.

    Examples
    --------
    >>> from mcmargin.demo import demo_report
    >>> from mcmargin.policies.stress_parts import Gap, Stress
    >>> gaps = Stress(gaps=(Gap("wti", 0.3), Gap("sp500", -0.2)))
    >>> session = demo_report().session
    >>> found = stress(session.book, session.scenarios, policy=MarginPolicy(stress=gaps))
    >>> found.accounts[["account", "scenario", "loss"]].round(2)
             account        scenario      loss
    0    diversified  gap sp500 -20 %  29828.88
    1   index spread  gap sp500 -20 %  49714.80
    2  long equities  gap sp500 -20 %  49714.80
    3      short oil   gap wti +30 %  67725.00
    """
    require_type("book", book, Book)
    require_type("scenarios", scenarios, Scenarios)
    market = market_of_model(scenarios.model) if market is None else market
    require_type("market", market, Market)
    if policy is not None:
        require_type("policy", policy, MarginPolicy, error=PolicyError)
    part = None if policy is None else policy.stress
    if policy is None or part is None:
        raise PolicyError("the policy declares no stress; give it a part `stress`")
    resolved = resolve(book, scenarios.model, market, policy)
    horizons = policy.horizons_from(scenarios.plan.horizons[-1])
    valuation = Valuation(
        resolved.instruments, scenarios, market, horizons, default_memory_limit(), threads=1
    )
    values = stress_values(part, valuation)
    if not values.sets:
        raise PolicyError("the policy's stress has no scenario; give a window, grid, gap or depeg")
    currencies = [account.currency for account in book.accounts]
    table = stress_losses(resolved.quantities, currencies, values, valuation)
    return StressReport(
        accounts=pd.DataFrame(
            {
                "account": [account.name for account in book.accounts],
                "owner": [account.owner for account in book.accounts],
                "currency": currencies,
                "scenario": table.worst_names(),
                "loss": table.worst,
            }
        ),
        owners=_owners(book, resolved.quantities, values, valuation),
        table=table,
        policy=policy,
        as_of=str(scenarios.as_of),
        market_as_of=str(market.as_of),
        fingerprints={
            "model": scenarios.model.fingerprint(),
            "book": book.fingerprint(),
            "market": market.fingerprint(),
            "policy": policy.fingerprint(),
        },
        versions=library_versions(scenarios.engine),
        session=StressSession(resolved, valuation, values),
    )


def _owners(
    book: Book, quantities: sparse.csr_array, values: StressValues, valuation: Valuation
) -> pd.DataFrame:
    """One row an owner, in its accounts' currency or, where they have several, the market's."""
    market = valuation.market
    names = sorted({account.owner for account in book.accounts})
    places = {name: at for at, name in enumerate(names)}
    rows = [places[account.owner] for account in book.accounts]
    codes: list[set[str]] = [set() for _ in names]
    for row, account in zip(rows, book.accounts, strict=True):
        codes[row].add(account.currency)
    currencies = [own.pop() if len(own) == 1 else market.currency for own in codes]
    shape = len(names), len(rows)
    ones: Any = sparse.csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=shape)
    table = stress_losses((ones @ quantities).tocsr(), currencies, values, valuation)
    return pd.DataFrame(
        {
            "owner": names,
            "currency": currencies,
            "rate": [market.worth(code) for code in currencies],
            "scenario": table.worst_names(),
            "loss": table.worst,
        }
    )

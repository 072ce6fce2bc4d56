"""StressReport: what every account and owner loses in a policy's stress scenarios.

In: losses by account and owner. Out: a value, as tables, JSON or text.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mcmargin.data.files import write_text
from mcmargin.data.json_text import json_text, plain_columns, records
from mcmargin.data.typed_fields import without_infinity
from mcmargin.errors import DataError
from mcmargin.names import table_cell, with_borders_of_console
from mcmargin.policies.policy import MarginPolicy
from mcmargin.stresses.stress_losses import StressTable, StressValues, all_losses

SCHEMA = "mcmargin.stress/1"

SHOWN_ACCOUNTS = 50
"""Accounts that a printed report lists."""


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
    values : StressValues
        What one unit of each instrument gains in every scenario.
    quantities : scipy.sparse.csr_array of shape (accounts, instruments), float64
        Units of each instrument, and of the balances that move with the positions.
    policy : MarginPolicy
    as_of, market_as_of : str
        Of the model's state, and of the prices used.
    fingerprints : dict
        Of model, book, market and policy.
    versions : dict
        Of the libraries that a figure may depend on.
    """

    accounts: pd.DataFrame
    owners: pd.DataFrame
    table: StressTable
    values: StressValues
    quantities: sparse.csr_array
    policy: MarginPolicy
    as_of: str
    market_as_of: str
    fingerprints: dict[str, str]
    versions: dict[str, str]

    @property
    def scenarios(self) -> int:
        """How many scenarios there are."""
        return int(self.values.changes.shape[1])

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
        code = str(self.accounts["currency"].iloc[rows[0]])
        losses = all_losses(self.quantities[rows[:1]], [code], self.values)[0]
        names = [(own.name, each) for own in self.values.sets for each in own.scenarios]
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

        sets = len(self.values.sets)
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

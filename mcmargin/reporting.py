"""MarginReport: what margin() found, as a table, JSON or text.

In: figures by account and the audit trail. Out: a frozen value that a person reads, a job files,
and `verify` recomputes: it carries the plan, the policy, the prices and every fingerprint.
"""

from __future__ import annotations

import io
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy

from mcmargin.errors import McMarginError, ModelFileError
from mcmargin.model import write_atomically
from mcmargin.policy import MarginPolicy
from mcmargin.simulation import SimulationPlan

SCHEMA = "mcmargin.report/1"


@dataclass(frozen=True)
class Contribution:
    """One position's share of its account's expected shortfall (Euler), in its currency."""

    instrument: str
    quantity: float
    exposure: float
    contribution: float


@dataclass(frozen=True)
class AccountMargin:
    """One account's figures, in its currency; losses and margin are positive."""

    account: str
    currency: str
    margin: float
    expected_shortfall: float
    expected_shortfall_error: float
    expected_shortfall_interval: tuple[float, float]
    value_at_risk: float
    value_at_risk_error: float
    value_at_risk_interval: tuple[float, float]
    gross_exposure: float
    net_exposure: float
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, eq=False)
class MarginReport:
    """Margins of all accounts, with what is needed to compute them again.

    Attributes
    ----------
    accounts : tuple of AccountMargin
    policy : MarginPolicy
    plan : SimulationPlan
    horizon : int
        Bars.
    engine : str
    as_of, market_as_of : str
        Of the model's state, and of the prices used.
    spot : dict of str to float
    fingerprints : dict
        Of model, book, market and policy.
    floored_paths, capped_paths : int
    versions : dict
    """

    accounts: tuple[AccountMargin, ...]
    policy: MarginPolicy
    plan: SimulationPlan
    horizon: int
    engine: str
    as_of: str
    market_as_of: str
    spot: dict[str, float]
    fingerprints: dict[str, str]
    floored_paths: int
    capped_paths: int
    versions: dict[str, str]

    def to_frame(self) -> pd.DataFrame:
        """One row an account; intervals as low and high columns."""
        rows = []
        for account in self.accounts:
            row = asdict(account)
            del row["contributions"]
            for figure in ("expected_shortfall", "value_at_risk"):
                row[f"{figure}_low"], row[f"{figure}_high"] = row.pop(f"{figure}_interval")
            rows.append(row)
        return pd.DataFrame(rows)

    def contributions_frame(self) -> pd.DataFrame:
        """One row a position: account, instrument, quantity, exposure, contribution."""
        return pd.DataFrame(
            [
                {"account": account.account} | asdict(position)
                for account in self.accounts
                for position in account.contributions
            ]
        )

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """JSON of schema mcmargin.report/1, every figure exact; written whole where asked."""
        text = json.dumps({"schema": SCHEMA} | asdict(self), indent=1, sort_keys=True)
        if path is not None:
            write_atomically(Path(path), text.encode())
        return text

    @classmethod
    def from_json(cls, text: str) -> MarginReport:
        """Read a report.

        Raises
        ------
        ModelFileError
            If it is not a report of this schema.
        """
        try:
            fields = json.loads(text)
            schema = fields.pop("schema", None)
            if schema != SCHEMA:
                raise ModelFileError(f"a report of schema {schema!r}; this version reads {SCHEMA}")
            fields["policy"] = MarginPolicy(**fields["policy"])
            plan = fields["plan"]
            fields["plan"] = SimulationPlan(**plan | {"horizons": tuple(plan["horizons"])})
            fields["accounts"] = tuple(_read_account(account) for account in fields["accounts"])
            return cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelFileError(f"not a margin report: {error}") from None
        except McMarginError as error:
            raise ModelFileError(f"not a usable margin report: {error}") from None

    def __str__(self) -> str:
        """Table for a terminal, with what was simulated."""
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=f"Margin at {self.policy.level:.4%} over {self.horizon} bars")
        table.add_column("account")
        for name in ("margin", "± error", "VaR", "gross", "net", "margin / gross"):
            table.add_column(name, justify="right")
        for a in self.accounts:
            share = a.margin / a.gross_exposure if a.gross_exposure else 0.0
            figures = (a.margin, a.expected_shortfall_error, a.value_at_risk)
            table.add_row(
                escape(f"{a.account} ({a.currency})"),
                *(f"{x:,.2f}" for x in (*figures, a.gross_exposure, a.net_exposure)),
                f"{share:.2%}",
            )
        stream = io.StringIO()
        console = Console(file=stream, width=110, color_system=None, force_terminal=False)
        console.print(table)
        console.print(
            f"{self.plan.paths:,} paths, seed {self.plan.seed}, {self.plan.precision} precision, "
            f"{self.engine} engine; prices of {self.market_as_of[:19]}. The error is Monte Carlo's "
            f"alone. Paths with a floored price: {self.floored_paths}, with a capped variance: "
            f"{self.capped_paths}.",
            highlight=False,
        )
        return stream.getvalue().rstrip()


def _read_account(fields: dict[str, Any]) -> AccountMargin:
    return AccountMargin(
        **fields
        | {
            "expected_shortfall_interval": tuple(fields["expected_shortfall_interval"]),
            "value_at_risk_interval": tuple(fields["value_at_risk_interval"]),
            "contributions": tuple(Contribution(**c) for c in fields["contributions"]),
        }
    )


def library_versions() -> dict[str, str]:
    """Versions that a figure may depend on."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("mcmargin")
    except PackageNotFoundError:
        own = "source"
    return {
        "mcmargin": own,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
    }

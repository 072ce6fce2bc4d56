"""MarginReport: what margin() found, as a table, JSON or text.

In: figures by account and the audit trail. Out: a frozen value that a person reads, a job files,
and `verify` recomputes: it carries the plan, the policy, the prices and every fingerprint.
"""

from __future__ import annotations

import io
import json
import math
import os
import platform
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd
import scipy

from mcmargin.errors import DataError, McMarginError, ModelFileError
from mcmargin.files import write_atomically
from mcmargin.market import Market
from mcmargin.policy import MarginPolicy
from mcmargin.simulation import SimulationPlan

SCHEMA = "mcmargin.report/1"
MAY_BE_INFINITE = "plan.variance_cap"


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
        fields = {"schema": SCHEMA} | asdict(self)
        if math.isinf(self.plan.variance_cap):
            fields["plan"]["variance_cap"] = None  # JSON has no infinity.
        text = json.dumps(fields, indent=1, sort_keys=True, allow_nan=False)
        if path is not None:
            write_atomically(Path(path), text.encode())
        return text

    @classmethod
    def from_json(cls, text: str, *, source: str = "report") -> MarginReport:
        """Read a report.

        Parameters
        ----------
        text : str
        source : str
            Named in errors.

        Raises
        ------
        ModelFileError
            If it is not a report of this schema, naming the first field that is missing, unknown,
            of another type or not finite.
        """
        try:
            fields = json.loads(text)
            schema = fields.pop("schema", None) if isinstance(fields, dict) else None
            if schema != SCHEMA:
                raise ModelFileError(f"its schema is {schema!r}; this version reads {SCHEMA}")
            report: MarginReport = _read_dataclass(cls, fields, "")
            report.market()
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"{source}: not a margin report: {error}") from None
        except McMarginError as error:
            raise ModelFileError(f"{source}: not a usable margin report: {error}") from None
        return report

    def market(self) -> Market:
        """The prices that instruments were valued at.

        Raises
        ------
        DataError
            If a price or their time is none.
        """
        try:
            as_of = np.datetime64(self.market_as_of, "ns")
        except ValueError:
            raise DataError(f"market_as_of: {self.market_as_of!r} is not an ISO time") from None
        return Market(as_of=as_of, spot=self.spot)

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


def _read(kind: Any, value: Any, where: str) -> Any:
    """Value of JSON as the type that its field is declared with."""
    if kind is float:
        if value is None and where == MAY_BE_INFINITE:
            return math.inf
        number = _expect((int, float), "a number", value, where)
        if not abs(number) <= sys.float_info.max:
            raise ModelFileError(f"field {where} is {number!r:.60}; a finite number is needed")
        return float(number)
    if kind is int:
        return _expect(int, "a whole number", value, where)
    if kind is str:
        return _expect(str, "text", value, where)
    inner = get_args(kind)
    if get_origin(kind) is UnionType:
        return None if value is None else _read(inner[0], value, where)
    if get_origin(kind) is dict:
        entries = _expect(dict, "an object", value, where)
        return {name: _read(inner[1], entry, f"{where}.{name}") for name, entry in entries.items()}
    if get_origin(kind) is tuple:
        items = _expect(list, "a list", value, where)
        kinds = [inner[0]] * len(items) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(items):
            raise ModelFileError(f"field {where} has {len(items)} items; {len(kinds)} are needed")
        return tuple(map(_read, kinds, items, (f"{where}[{at}]" for at in range(len(items)))))
    return _read_dataclass(kind, _expect(dict, "an object", value, where), f"{where}.")


_type_hints = cache(get_type_hints)


def _read_dataclass(kind: Any, given: dict[str, Any], where: str) -> Any:
    declared = _type_hints(kind)
    for name in sorted(declared.keys() ^ given.keys()):
        what = "is missing" if name in declared else "is unknown"
        raise ModelFileError(f"field {where}{name} {what}")
    return kind(**{name: _read(hint, given[name], where + name) for name, hint in declared.items()})


def _expect(kinds: Any, name: str, value: Any, where: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ModelFileError(f"field {where} is {value!r:.60}; {name} is needed")
    return value


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

"""MarginReport: what margin() found, as tables, JSON, Parquet or text.

In: figures by account and the audit trail. Out: a frozen value that a person reads, a job files,
and `verify` recomputes: it carries the plan, the policy, the market and every fingerprint.
"""

from __future__ import annotations

import io
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from mcmargin.bars import DAY
from mcmargin.book import Book
from mcmargin.errors import DataError
from mcmargin.files import write_atomically
from mcmargin.market import Market, market_of, market_terms
from mcmargin.policy import MarginPolicy
from mcmargin.requirement import Previous, Requirement, Run
from mcmargin.simulation import Scenarios, SimulationPlan
from mcmargin.units import Units
from mcmargin.valuation import Valuation


@dataclass(frozen=True)
class Contribution:
    """One position's share of its account's expected shortfall (Euler), in its currency."""

    instrument: str
    quantity: float
    exposure: float
    contribution: float


@dataclass(frozen=True)
class AccountMargin:
    """One account's figures, in its currency; losses and margin are positive.

    How `margin` follows from the columns is said in `mcmargin.policy`: `base` is the expected
    shortfall with the worst fills of open orders, `calm` what buffer and speed limit make of
    max(base, floor) and stress, `maintenance` the margin at its own level and horizon. Of an
    isolated account base, floor and stress are sums over its positions.
    """

    account: str
    owner: str
    currency: str
    margin: float
    maintenance: float
    expected_shortfall: float
    expected_shortfall_error: float
    expected_shortfall_interval: tuple[float, float]
    value_at_risk: float
    value_at_risk_error: float
    value_at_risk_interval: tuple[float, float]
    open_orders: float
    base: float
    short_option_minimum: float
    floor: float
    stress_add_on: float
    stressed: float
    calm: float
    liquidity: float
    concentration: float
    stressed_funding: float
    total: float
    leverage_minimum: float
    maintenance_calm: float
    gross_exposure: float
    net_exposure: float
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True)
class OwnerMargin:
    """One owner's margin: that of all of its positions where they are netted, else the sum."""

    owner: str
    netting: str
    currency: str
    accounts: int
    margin: float
    maintenance: float
    calm: float
    maintenance_calm: float


@dataclass(frozen=True, eq=False)
class Session:
    """What a report was made of, kept for what-ifs on the same scenarios."""

    book: Book
    scenarios: Scenarios
    run: Run
    previous: MarginReport | None

    @property
    def valuation(self) -> Valuation:
        """Of initial margin."""
        return self.run.initial


@dataclass(frozen=True, eq=False)
class MarginReport:
    """Margins of all accounts, with what is needed to compute them again.

    Attributes
    ----------
    figures : DataFrame
        One row an account, the fields of `AccountMargin` but its contributions.
    positions : DataFrame
        One row a position: account, instrument, quantity, exposure, contribution.
    owners : DataFrame
        One row an owner, the fields of `OwnerMargin`.
    policy : MarginPolicy
    plan : SimulationPlan
    horizons : dict of str to int
        Close-out horizon of each product class, in bars.
    engine : str
    as_of, market_as_of, previous_as_of : str
        Of the model's state, of the prices used, and of the last report's state, empty where none
        was taken.
    market : dict
        Prices and rates used; of a volatility surface its fingerprint alone.
    fingerprints : dict
        Of model, book, market and policy.
    floored_paths, capped_paths : int
    versions : dict
    session : Session, optional
        In the process that made the report: what what-ifs are taken on.
    """

    figures: pd.DataFrame
    positions: pd.DataFrame
    owners: pd.DataFrame
    policy: MarginPolicy
    plan: SimulationPlan
    horizons: dict[str, int]
    engine: str
    as_of: str
    market_as_of: str
    previous_as_of: str
    market: dict[str, Any]
    fingerprints: dict[str, str]
    floored_paths: int
    capped_paths: int
    versions: dict[str, str]
    session: Session | None = field(default=None, repr=False)

    @cached_property
    def accounts(self) -> tuple[AccountMargin, ...]:
        """The figures, an object an account."""
        groups = self.positions.groupby("account", sort=False)
        own = {str(name): group for name, group in groups}
        rows = self.figures.to_dict("records")
        return tuple(_account(row, own.get(str(row["account"]))) for row in rows)

    def account(self, name: str) -> AccountMargin:
        """Figures of one account.

        Raises
        ------
        DataError
            If the report has no such account.
        """
        rows = self.figures[self.figures["account"] == name]
        if len(rows) == 0:
            raise DataError(f"the report has no account {name!r}")
        own = self.positions[self.positions["account"] == name]
        return _account(rows.to_dict("records")[0], own)

    def to_frame(self) -> pd.DataFrame:
        """One row an account; intervals as low and high columns."""
        return self.figures.copy()

    def contributions_frame(self) -> pd.DataFrame:
        """One row a position: account, instrument, quantity, exposure, contribution."""
        return self.positions.copy()

    def profit_and_loss(self, account: str) -> NDArray[np.float64]:
        """Gains of an account on every path, in its currency; float64 [paths].

        Raises
        ------
        DataError
            For an unknown account, or a report that was read from a file.
        """
        from mcmargin.whatif import profit_and_loss

        return profit_and_loss(self, account)

    def what_if(self, account: str, trades: Mapping[str, float]) -> AccountMargin:
        """Figures of an account after trades, on the same scenarios.

        Parameters
        ----------
        account : str
        trades : mapping of str to float
            Units bought of each instrument; negative is sold.

        Raises
        ------
        DataError
            For an unknown account or instrument, or a report that was read from a file.
        """
        from mcmargin.whatif import what_if

        return what_if(self, account, trades)

    def max_order(
        self, account: str, instrument: str, *, side: str, equity: float, lot: float | None = None
    ) -> float:
        """Largest order that an account's equity permits.

        The largest size up to which every size leaves the margin within the equity, or does not
        raise it: an order that reduces risk is always allowed.

        Parameters
        ----------
        account, instrument : str
        side : str
            `buy` or `sell`.
        equity : float
            In the account's currency.
        lot : float, optional
            Orders are whole multiples of it.

        Returns
        -------
        float
            Units, 0 or more; infinite where no size is too large.

        Raises
        ------
        DataError
            As `what_if`.
        """
        from mcmargin.whatif import max_order

        return max_order(self, account, instrument, side=side, equity=equity, lot=lot)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """JSON of schema mcmargin.report/1, every figure exact; written whole where asked."""
        from mcmargin.report_file import report_to_json

        text = report_to_json(self)
        if path is not None:
            write_atomically(Path(path), text.encode())
        return text

    def to_parquet(self, path: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write accounts to PATH.parquet and positions to PATH.positions.parquet beside it.

        The audit trail is in both files' metadata, under `mcmargin`. Each is written whole.
        """
        from mcmargin.report_file import report_to_parquet

        return report_to_parquet(self, path)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """One page for a browser, with tables and charts; written whole where asked.

        Nothing is loaded from elsewhere, and no script runs. Histograms of profit and loss, and
        what buffer and speed limit did, are on it in the process that made the report.

        Raises
        ------
        McMarginError
            Where jinja2 or matplotlib is not installed (`pip install 'mcmargin[report]'`).
        """
        from mcmargin.html_report import report_to_html

        text = report_to_html(self)
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
        from mcmargin.report_file import report_from_json

        return report_from_json(text, source)

    def market_used(self) -> Market:
        """The market that instruments were valued at.

        Raises
        ------
        DataError
            If a number is none, or a volatility surface is needed that the report only names.
        """
        try:
            as_of = np.datetime64(self.market_as_of, "ns")
        except ValueError:
            raise DataError(f"market_as_of: {self.market_as_of!r} is not an ISO time") from None
        return market_of(as_of, self.market)

    def __str__(self) -> str:
        """Table for a terminal, with what was simulated."""
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        bars = sorted(set(self.horizons.values()))
        over = f"{bars[0]}" if len(bars) == 1 else f"{bars[0]} to {bars[-1]}"
        table = Table(title=f"Margin at {self.policy.level:.4%} over {over} bars")
        table.add_column("account")
        for name in ("margin", "± error", "VaR", "gross", "net", "margin / gross"):
            table.add_column(name, justify="right")
        shown = self.figures.iloc[:SHOWN_ACCOUNTS].to_dict("records")
        for a in shown:
            share = a["margin"] / a["gross_exposure"] if a["gross_exposure"] else 0.0
            figures = (a["margin"], a["expected_shortfall_error"], a["value_at_risk"])
            table.add_row(
                escape(f"{a['account']} ({a['currency']})"),
                *(f"{x:,.2f}" for x in (*figures, a["gross_exposure"], a["net_exposure"])),
                f"{share:.2%}",
            )
        stream = io.StringIO()
        console = Console(file=stream, width=110, color_system=None, force_terminal=False)
        console.print(table)
        if len(self.figures) > len(shown):
            console.print(f"and {len(self.figures) - len(shown):,} accounts more", highlight=False)
        console.print(
            f"{self.plan.paths:,} paths, seed {self.plan.seed}, {self.plan.precision} precision, "
            f"{self.engine} engine; prices of {self.market_as_of[:19]}. The error is Monte Carlo's "
            f"alone. Paths with a floored price: {self.floored_paths}, with a capped variance: "
            f"{self.capped_paths}.",
            highlight=False,
        )
        return stream.getvalue().rstrip()


SHOWN_ACCOUNTS = 50
"""Accounts that a printed report lists."""

INTERVALS = ("expected_shortfall", "value_at_risk")


def _account(row: Mapping[Any, Any], positions: pd.DataFrame | None) -> AccountMargin:
    """An account's row and positions as an object."""
    fields: dict[str, Any] = dict(row)
    for figure in INTERVALS:
        fields[f"{figure}_interval"] = (fields.pop(f"{figure}_low"), fields.pop(f"{figure}_high"))
    held: Any = [] if positions is None else positions.drop(columns="account").to_dict("records")
    return AccountMargin(**fields, contributions=tuple(Contribution(**each) for each in held))


def frames_of(accounts: Sequence[AccountMargin]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Figures and positions of accounts, as `MarginReport` keeps them."""
    rows = []
    for account in accounts:
        row = asdict(account)
        del row["contributions"]
        for figure in INTERVALS:
            row[f"{figure}_low"], row[f"{figure}_high"] = row.pop(f"{figure}_interval")
        rows.append(row)
    positions = [
        {"account": account.account} | asdict(position)
        for account in accounts
        for position in account.contributions
    ]
    columns = ["account", *Contribution.__dataclass_fields__]
    return pd.DataFrame(rows), pd.DataFrame(positions, columns=columns)


def report_of(
    book: Book,
    units: Units,
    required: Requirement,
    run: Run,
    policy: MarginPolicy,
    *,
    given: Scenarios,
    previous: MarginReport | None,
) -> MarginReport:
    """Gather figures by account and owner, with the audit trail."""
    valuation = run.initial
    scenarios, market = valuation.scenarios, valuation.market
    names = np.array([account.name for account in book.accounts], object)
    held = np.diff(book.quantities.indptr)
    each = book.quantities.indices
    rates = np.array([market.price(account.currency) for account in book.accounts])
    exposures = valuation.units.exposure[each] / np.repeat(rates, held)
    return MarginReport(
        figures=pd.DataFrame(
            {
                "account": names,
                "owner": [account.owner for account in book.accounts],
                "currency": [account.currency for account in book.accounts],
                **{name: required.columns[name][: len(names)] for name in _COLUMNS},
            }
        ),
        positions=pd.DataFrame(
            {
                "account": np.repeat(names, held),
                "instrument": np.array([i.name for i in valuation.instruments], object)[each],
                "quantity": book.quantities.data,
                "exposure": book.quantities.data * exposures,
                "contribution": required.figures.contributions[: book.quantities.nnz],
            }
        ),
        owners=_owners(book, units, required, market),
        policy=policy,
        plan=scenarios.plan,
        horizons=dict(valuation.horizons),
        engine=scenarios.engine,
        as_of=str(scenarios.as_of),
        market_as_of=str(market.as_of),
        previous_as_of="" if previous is None else previous.as_of,
        market=market_terms(market),
        fingerprints={
            "model": scenarios.model.fingerprint(),
            "book": book.fingerprint(),
            "market": market.fingerprint(),
            "policy": policy.fingerprint(),
        },
        floored_paths=scenarios.floored_paths,
        capped_paths=scenarios.capped_paths,
        versions=library_versions(),
        session=Session(book, given, run, previous),
    )


def account_margin(book: Book, required: Requirement, run: Run) -> AccountMargin:
    """One account's figures, of a book that has no other."""
    account, valuation = book.accounts[0], run.initial
    row: dict[str, Any] = {name: float(required.columns[name][0]) for name in _COLUMNS}
    columns = book.quantities.indices
    exposures = valuation.units.exposure[columns] / valuation.market.price(account.currency)
    shares = required.figures.contributions
    entries = zip(columns, book.quantities.data, exposures, shares, strict=True)
    held = tuple(
        Contribution(book.instruments[column].name, float(q), float(q * exposure), float(share))
        for column, q, exposure, share in entries
    )
    for figure in INTERVALS:
        row[f"{figure}_interval"] = (row.pop(f"{figure}_low"), row.pop(f"{figure}_high"))
    return AccountMargin(account.name, account.owner, account.currency, **row, contributions=held)


_COLUMNS = (
    *("margin", "maintenance", "expected_shortfall", "expected_shortfall_error"),
    *("value_at_risk", "value_at_risk_error", "open_orders", "base", "short_option_minimum"),
    *("floor", "stress_add_on", "stressed", "calm", "liquidity", "concentration"),
    *("stressed_funding", "total", "leverage_minimum", "maintenance_calm"),
    *("gross_exposure", "net_exposure", "expected_shortfall_low", "expected_shortfall_high"),
    *("value_at_risk_low", "value_at_risk_high"),
)
"""Columns of a report, in their order."""

_OWNER_COLUMNS = ("margin", "maintenance", "calm", "maintenance_calm")


def _owners(book: Book, units: Units, required: Requirement, market: Market) -> pd.DataFrame:
    """One row an owner: its own columns where it nets, else the sums of its accounts'."""
    rows: dict[str, list[int]] = {}
    for row, account in enumerate(book.accounts):
        rows.setdefault(account.owner, []).append(row)
    netted = {owner: len(book.accounts) + at for at, owner in enumerate(units.owner)}
    table = []
    for owner, own in sorted(rows.items()):
        first = book.accounts[own[0]]
        codes = {book.accounts[row].currency for row in own}
        # Margins in several currencies add up in the market's, at today's rates.
        code = first.currency if len(codes) == 1 else market.currency
        weights = [market.price(book.accounts[row].currency) / market.price(code) for row in own]
        amounts = {
            name: float(required.columns[name][netted[owner]])
            if owner in netted
            else float(required.columns[name][own] @ weights)
            for name in _OWNER_COLUMNS
        }
        table.append(asdict(OwnerMargin(owner, first.netting, code, len(own), **amounts)))
    return pd.DataFrame(table)


def previous_of(book: Book, units: Units, report: MarginReport | None, run: Run) -> Previous | None:
    """What the last report says of the rows of this book."""
    if report is None:
        return None
    names = [account.name for account in book.accounts]
    columns = []
    for name in ("calm", "maintenance_calm"):
        accounts = report.figures.set_index("account")[name].reindex(names)
        owners = report.owners.set_index("owner")[name].reindex(list(units.owner))
        columns.append(np.concatenate([accounts.to_numpy(float), owners.to_numpy(float)]))
    last, now = np.datetime64(report.as_of, "ns"), run.initial.scenarios.as_of
    if last > now:
        raise DataError(
            f"the previous report is of {report.as_of[:19]}, after these scenarios' {now}"
        )
    calendar = run.initial.scenarios.model.calendar
    bars = max(1, round(float((now - last) / DAY) / calendar.mean_days))
    return Previous(columns[0], columns[1], bars)


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

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

from mcmargin.book import Book
from mcmargin.errors import DataError
from mcmargin.figures import UnitFigures
from mcmargin.files import write_atomically
from mcmargin.instruments import Perpetual
from mcmargin.market import Market, market_of, market_terms
from mcmargin.policy import MarginPolicy
from mcmargin.simulation import SimulationPlan
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

    The margin is max(expected_shortfall + open_orders, short_option_minimum, 0) plus
    stressed_funding; of an isolated account, the sum of that over its positions, and so are its
    other figures.
    """

    account: str
    owner: str
    currency: str
    margin: float
    expected_shortfall: float
    expected_shortfall_error: float
    expected_shortfall_interval: tuple[float, float]
    value_at_risk: float
    value_at_risk_error: float
    value_at_risk_interval: tuple[float, float]
    open_orders: float
    short_option_minimum: float
    stressed_funding: float
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


@dataclass(frozen=True, eq=False)
class Session:
    """What a report was made of, kept for what-ifs on the same scenarios."""

    book: Book
    valuation: Valuation


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
    as_of, market_as_of : str
        Of the model's state, and of the prices used.
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
    figures: UnitFigures,
    valuation: Valuation,
    policy: MarginPolicy,
) -> MarginReport:
    """Gather units' figures by account and owner, with the audit trail."""
    scenarios, market = valuation.scenarios, valuation.market
    columns = unit_columns(units, figures, valuation, policy)
    own = units.account >= 0
    gathered = {
        name: np.bincount(units.account[own], column[own], len(book.accounts)).astype(np.float64)
        for name, column in columns.items()
    }
    names = np.array([account.name for account in book.accounts], object)
    rates = np.array([market.price(account.currency) for account in book.accounts])
    held = np.diff(book.quantities.indptr)
    each = book.quantities.indices
    return MarginReport(
        figures=pd.DataFrame(
            {
                "account": names,
                "owner": [account.owner for account in book.accounts],
                "currency": [account.currency for account in book.accounts],
                **gathered,
            }
        ),
        positions=pd.DataFrame(
            {
                "account": np.repeat(names, held),
                "instrument": np.array([i.name for i in valuation.instruments], object)[each],
                "quantity": book.quantities.data,
                "exposure": book.quantities.data
                * valuation.units.exposure[each]
                / np.repeat(rates, held),
                "contribution": figures.contributions[: book.quantities.nnz],
            }
        ),
        owners=_owners(book, units, columns["margin"], gathered["margin"], market),
        policy=policy,
        plan=scenarios.plan,
        horizons=dict(valuation.horizons),
        engine=scenarios.engine,
        as_of=str(scenarios.as_of),
        market_as_of=str(market.as_of),
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
        session=Session(book, valuation),
    )


def account_margin(
    book: Book, units: Units, figures: UnitFigures, valuation: Valuation, policy: MarginPolicy
) -> AccountMargin:
    """One account's figures, of a book that has no other."""
    account = book.accounts[0]
    sums: dict[str, Any] = {
        name: float(column.sum())
        for name, column in unit_columns(units, figures, valuation, policy).items()
    }
    columns = book.quantities.indices
    exposures = valuation.units.exposure[columns] / valuation.market.price(account.currency)
    entries = zip(columns, book.quantities.data, exposures, figures.contributions, strict=True)
    held = tuple(
        Contribution(book.instruments[column].name, float(q), float(q * exposure), float(share))
        for column, q, exposure, share in entries
    )
    for figure in INTERVALS:
        sums[f"{figure}_interval"] = (sums.pop(f"{figure}_low"), sums.pop(f"{figure}_high"))
    return AccountMargin(account.name, account.owner, account.currency, **sums, contributions=held)


def unit_columns(
    units: Units, figures: UnitFigures, valuation: Valuation, policy: MarginPolicy
) -> dict[str, NDArray[np.float64]]:
    """Every figure of an account's row, by unit; float64 [units], in each unit's currency."""
    rates = np.array([valuation.market.price(code) for code in units.currencies])
    values, quantities = valuation.units, units.quantities
    options = np.array([item.product == "option" for item in valuation.instruments], float)
    short = -quantities.minimum(0) @ (values.notional * options) / rates
    minimum = policy.short_option_minimum * short
    funding = _stressed_funding(units, valuation) / rates
    worst = figures.expected_shortfall + figures.open_orders
    low, high = figures.expected_shortfall_interval.T, figures.value_at_risk_interval.T
    return {
        "margin": np.maximum(np.maximum(worst, minimum), 0.0) + funding,
        "expected_shortfall": figures.expected_shortfall,
        "expected_shortfall_error": figures.expected_shortfall_error,
        "value_at_risk": figures.value_at_risk,
        "value_at_risk_error": figures.value_at_risk_error,
        "open_orders": figures.open_orders,
        "short_option_minimum": minimum,
        "stressed_funding": funding,
        "gross_exposure": abs(quantities) @ values.notional / rates,
        "net_exposure": quantities @ values.exposure / rates,
        "expected_shortfall_low": low[0],
        "expected_shortfall_high": low[1],
        "value_at_risk_low": high[0],
        "value_at_risk_high": high[1],
    }


def _stressed_funding(units: Units, valuation: Valuation) -> NDArray[np.float64]:
    """What stressed funding costs beyond the expected, in the market's currency; [units]."""
    market, scenarios = valuation.market, valuation.scenarios
    stressed, expected = np.zeros((2, len(valuation.instruments)))
    for at, item in enumerate(valuation.instruments):
        if isinstance(item, Perpetual) and item.stressed_funding_rate:
            closes = scenarios.bar_closes[valuation.horizons[item.product] - 1]
            years = max(0.0, float((closes - market.as_of) / np.timedelta64(365, "D")))
            rate = market.price(item.currency)
            stressed[at] = rate * item.funding(market, years, stressed=True)
            expected[at] = rate * item.funding(market, years)
    if not stressed.any():
        return np.zeros(units.quantities.shape[0])
    beyond = units.quantities.copy()
    column = beyond.indices
    costs = np.abs(beyond.data) * stressed[column] - beyond.data * expected[column]
    beyond.data = np.where(stressed[column] > 0, np.maximum(costs, 0.0), 0.0)
    return np.asarray(beyond.sum(axis=1))


def _owners(
    book: Book,
    units: Units,
    unit_margins: NDArray[np.float64],
    margins: NDArray[np.float64],
    market: Market,
) -> pd.DataFrame:
    netted = dict(zip(units.owner, unit_margins[units.account < 0], strict=True))
    rows: dict[str, list[int]] = {}
    for row, account in enumerate(book.accounts):
        rows.setdefault(account.owner, []).append(row)
    table = []
    for owner, own in sorted(rows.items()):
        first = book.accounts[own[0]]
        codes = {book.accounts[row].currency for row in own}
        # Margins in several currencies add up in the market's, at today's rates.
        code = first.currency if len(codes) == 1 else market.currency
        total = sum(
            margins[row] * market.price(book.accounts[row].currency) / market.price(code)
            for row in own
        )
        figure = float(netted.get(owner, total))
        table.append(asdict(OwnerMargin(owner, first.netting, code, len(own), figure)))
    return pd.DataFrame(table)


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

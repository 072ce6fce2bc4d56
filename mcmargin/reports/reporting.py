"""MarginReport: what margin() found, as tables, JSON, Parquet or text.

In: figures by account and the audit trail. Out: a frozen value that a person reads, a job files,
and `verify` recomputes: it carries the plan, the policy, the market and every fingerprint.
"""

from __future__ import annotations

import io
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from mcmargin.books.book import Book
from mcmargin.books.collateral import Held
from mcmargin.books.equity import Equity
from mcmargin.books.units import Units
from mcmargin.data.bars import DAY
from mcmargin.data.files import write_atomically
from mcmargin.errors import DataError
from mcmargin.margins.components_context import UnitContext
from mcmargin.margins.haircuts import Haircut
from mcmargin.margins.requirement import Previous, Requirement, Run
from mcmargin.markets.market import Market, market_of, market_terms
from mcmargin.policies.policy import MarginPolicy
from mcmargin.reports.health import AccountLeverage, AccountStatus, account_status, account_statuses
from mcmargin.scenarios.simulation import Scenarios, SimulationPlan
from mcmargin.valuing.instruments import Balance
from mcmargin.valuing.valuation import Valuation


@dataclass(frozen=True)
class Contribution:
    """One position's share of its account's expected shortfall (Euler), in its currency.

    `kind` is `position`, or `collateral` of a balance that moves with the positions: then
    `instrument` is its asset, and `exposure` its value.
    """

    instrument: str
    kind: str
    quantity: float
    exposure: float
    contribution: float


@dataclass(frozen=True)
class AccountMargin:
    """One account's figures, in its currency; losses and margin are positive.

    How `margin` follows from the columns is said in `mcmargin.policies.policy`: `base` is the
    expected shortfall with the worst fills of open orders, `calm` what buffer and speed limit make
    of max(base, floor) and stress, `maintenance` the margin at its own level and horizon,
    `unrounded` the margin before the tick. Of an isolated account base, floor and stress are sums
    over its positions.

    Where collateral counts jointly, all of them are of positions and collateral together.
    `wrong_way` is their expected shortfall together less that of the positions alone: above 0 where
    collateral loses in the scenarios in which positions do, below 0 where it is their hedge.
    `collateral` is what balances count as, after haircuts; with the value of spot and options, and
    the profit and loss of perpetuals and futures since their entry prices, it is the `equity`. That
    is None where no balances were given.
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
    unrounded: float
    wrong_way: float
    collateral: float
    position_value: float
    unrealised: float
    equity: float | None
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
    """What a report was made of, kept for what-ifs on the same scenarios and for attribution."""

    book: Book
    held: Held
    scenarios: Scenarios
    run: Run
    context: UnitContext
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
        One row a position: account, instrument, kind, quantity, exposure, contribution; and one a
        balance that moves with them, of kind `collateral`.
    owners : DataFrame
        One row an owner, the fields of `OwnerMargin`.
    haircuts : DataFrame
        One row an asset, currency of accounts and side, the fields of `Haircut`; none but in
        haircut mode.
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
    haircuts: pd.DataFrame
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
        """One row a position, and one a balance that moves with them; see `positions`."""
        return self.positions.copy()

    def profit_and_loss(self, account: str) -> NDArray[np.float64]:
        """Gains of an account on every path, in its currency; float64 [paths].

        With those of its collateral, where that counts jointly.

        Raises
        ------
        DataError
            For an unknown account, or a report that was read from a file.
        """
        from mcmargin.reports.whatif import profit_and_loss

        return profit_and_loss(self, account)

    def what_if(self, account: str, trades: Mapping[str, float]) -> AccountMargin:
        """Figures of an account after trades, on the same scenarios.

        Trades are at today's values, paid in the account's cash, so that its equity stays.

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
        from mcmargin.reports.whatif import what_if

        return what_if(self, account, trades)

    def max_order(
        self,
        account: str,
        instrument: str,
        *,
        side: str,
        equity: float | None = None,
        lot: float | None = None,
    ) -> float:
        """Largest order that an account's equity permits.

        The largest size up to which every size leaves the margin within the equity, or does not
        raise it: an order that reduces risk is always allowed.

        Parameters
        ----------
        account, instrument : str
        side : str
            `buy` or `sell`.
        equity : float, optional
            In the account's currency; its own where balances were given.
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
        from mcmargin.reports.whatif import max_order

        return max_order(self, account, instrument, side=side, equity=equity, lot=lot)

    def status(self, account: str) -> AccountStatus:
        """Whether an account covers its margins, and by how much.

        Raises
        ------
        DataError
            For an unknown account, or a report of a book without balances.
        """
        return account_status(self, account)

    def statuses(self) -> pd.DataFrame:
        """One row an account, the fields of `AccountStatus`.

        Raises
        ------
        DataError
            For a report of a book without balances.
        """
        return account_statuses(self)

    def max_leverage(self, account: str) -> AccountLeverage:
        """Leverage of an account, and the most that its equity permits.

        Raises
        ------
        DataError
            For an unknown account, one without positions, a report of a book without balances,
            or one that was read from a file.
        """
        from mcmargin.reports.whatif import max_leverage

        return max_leverage(self, account)

    def attribution(self, by: str | None = None) -> pd.DataFrame:
        """What each account's margin is made of, before it is rounded to a tick.

        Parameters
        ----------
        by : str, optional
            Add up by `position`, `underlying` or `component` within an account.

        Returns
        -------
        DataFrame
            Columns account, component, kind, instrument, underlying, amount, or those that are
            added up by; see `mcmargin.reports.attribution`. An account's amounts add up to
            `unrounded`.

        Raises
        ------
        DataError
            For another `by`, or a report that was read from a file.
        """
        from mcmargin.reports.attribution import attribution

        return attribution(self, by)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """JSON of schema mcmargin.report/1, every figure exact; written whole where asked."""
        from mcmargin.reports.report_file import report_to_json

        text = report_to_json(self)
        if path is not None:
            write_atomically(Path(path), text.encode())
        return text

    def to_parquet(self, path: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write accounts to PATH.parquet and positions to PATH.positions.parquet beside it.

        The audit trail is in both files' metadata, under `mcmargin`. Each is written whole.
        """
        from mcmargin.reports.report_file import report_to_parquet

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
        from mcmargin.reports.html_report import report_to_html

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
        from mcmargin.reports.report_file import report_from_json

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

KINDS = ("position", "collateral")
"""Of contributions."""

INTERVALS = ("expected_shortfall", "value_at_risk")


def _account(row: Mapping[Any, Any], positions: pd.DataFrame | None) -> AccountMargin:
    """An account's row and positions as an object."""
    fields: dict[str, Any] = dict(row)
    fields["equity"] = None if np.isnan(row["equity"]) else row["equity"]
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
    figures = pd.DataFrame(rows)
    if len(figures):
        figures["equity"] = figures["equity"].astype(float)
    return figures, pd.DataFrame(positions, columns=columns)


def report_of(
    session: Session,
    units: Units,
    required: Requirement,
    policy: MarginPolicy,
    equity: Equity,
    haircuts: Sequence[Haircut],
) -> MarginReport:
    """Gather figures by account and owner, with the audit trail."""
    book, valuation, previous = session.book, session.valuation, session.previous
    scenarios, market = valuation.scenarios, valuation.market
    names = np.array([account.name for account in book.accounts], object)
    return MarginReport(
        figures=pd.DataFrame(
            {
                "account": names,
                "owner": [account.owner for account in book.accounts],
                "currency": [account.currency for account in book.accounts],
                **{name: required.columns[name][: len(names)] for name in _COLUMNS},
                **{each.name: getattr(equity, each.name) for each in fields(equity)},
                **{name: required.columns[name][: len(names)] for name in _BOUNDS},
            }
        ),
        positions=_positions(session, required.figures.contributions),
        owners=_owners(book, units, required, market),
        haircuts=haircut_frame(haircuts),
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
        session=session,
    )


def haircut_frame(haircuts: Sequence[Haircut]) -> pd.DataFrame:
    """One row a haircut."""
    return pd.DataFrame(map(asdict, haircuts), columns=list(Haircut.__dataclass_fields__))


def _positions(session: Session, contributions: NDArray[np.float64]) -> pd.DataFrame:
    """One row a position, and a balance that moves with them, account by account."""
    book, valuation = session.book, session.valuation
    whole = session.held.beside(book.quantities)
    counts, each = np.diff(whole.indptr), whole.indices
    moving, values = _shown(valuation)
    rates = np.array([valuation.market.price(account.currency) for account in book.accounts])
    names = np.array([account.name for account in book.accounts], object)
    return pd.DataFrame(
        {
            "account": np.repeat(names, counts),
            "instrument": np.array([i.name for i in valuation.instruments], object)[each],
            "kind": np.array(KINDS, object)[moving[each]],
            "quantity": whole.data,
            "exposure": whole.data * values[each] / np.repeat(rates, counts),
            "contribution": contributions[: whole.nnz],
        }
    )


def account_margin(
    session: Session, required: Requirement, before: Mapping[Any, Any]
) -> AccountMargin:
    """One account's figures after trades, of a book that has no other, and those before them."""
    account, book, valuation = session.book.accounts[0], session.book, session.valuation
    row: dict[str, Any] = {name: float(required.columns[name][0]) for name in _COLUMNS + _BOUNDS}
    rate = valuation.market.price(account.currency)
    values = valuation.units.value[: len(book.instruments)]
    value = float((book.quantities @ values)[0]) / rate
    # What is bought is paid in the account's own cash.
    row |= {"collateral": before["collateral"] + before["position_value"] - value}
    row |= {"position_value": value, "unrealised": before["unrealised"]}
    row |= {"equity": None if np.isnan(before["equity"]) else before["equity"]}
    for figure in INTERVALS:
        row[f"{figure}_interval"] = (row.pop(f"{figure}_low"), row.pop(f"{figure}_high"))
    # No frame: a what-if is asked for many times a second.
    whole, (moving, values) = session.held.beside(book.quantities), _shown(valuation)
    each = whole.indices
    held = tuple(
        Contribution(valuation.instruments[column].name, KINDS[moving[column]], *numbers)
        for column, *numbers in zip(
            each.tolist(),
            whole.data.tolist(),
            (whole.data * values[each] / rate).tolist(),
            required.figures.contributions.tolist(),
            strict=True,
        )
    )
    return AccountMargin(account.name, account.owner, account.currency, **row, contributions=held)


def _shown(valuation: Valuation) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Place of each instrument's kind in `KINDS`, and what a report says that a unit stands for."""
    moving = np.array([isinstance(item, Balance) for item in valuation.instruments], np.int64)
    return moving, np.where(moving, valuation.units.value, valuation.units.exposure)


_COLUMNS = (
    *("margin", "maintenance", "expected_shortfall", "expected_shortfall_error"),
    *("value_at_risk", "value_at_risk_error", "open_orders", "base", "short_option_minimum"),
    *("floor", "stress_add_on", "stressed", "calm", "liquidity", "concentration"),
    *("stressed_funding", "total", "leverage_minimum", "maintenance_calm"),
    *("gross_exposure", "net_exposure", "unrounded", "wrong_way"),
)
"""Columns of a report, in their order; equity's follow, then the intervals' bounds."""

_BOUNDS = tuple(f"{figure}_{end}" for figure in INTERVALS for end in ("low", "high"))

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
        table.append(vars(OwnerMargin(owner, first.netting, code, len(own), **amounts)))
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

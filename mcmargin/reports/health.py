"""Health: whether accounts cover their margins, by how much, and the leverage that they can take.

In: a report of a book with balances. Out: equity against initial and maintenance margin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mcmargin.errors import DataError
from mcmargin.names import shown
from mcmargin.reports.margin_figures import MarginFigures

STATES = ("healthy", "margin call", "liquidation")


@dataclass(frozen=True)
class AccountStatus:
    """Whether an account covers its margins; amounts in its currency.

    Attributes
    ----------
    account, currency : str
    equity : float
        Balances as they count, value of spot and options, and unrealised profit and loss.
    initial, maintenance : float
        Margins; maintenance is 0 where the policy has none, and then only an account without
        equity is liquidated.
    margin_ratio : float
        Equity over maintenance margin: below 1 is liquidation; infinite, with the sign of equity,
        where there is none.
    state : str
        `healthy` where equity is at or above initial margin, else `margin call` where it is at or
        above maintenance margin, else `liquidation`.
    over_initial, over_maintenance : float
        Equity less each margin: an excess, or below 0 a shortfall.
    without_entry_price : int
        Perpetual and future positions that have no entry price. Their profit and loss since they
        were entered is not in equity, as if it had been settled.
    """

    account: str
    currency: str
    equity: float
    initial: float
    maintenance: float
    margin_ratio: float
    state: str
    over_initial: float
    over_maintenance: float
    without_entry_price: int

    def __str__(self) -> str:
        """Return a sentence: the state, and by how much."""
        below = self.state != STATES[0]
        line = "maintenance" if self.state == STATES[2] else "initial"
        margin = getattr(self, line)
        sentence = (
            f"{shown(self.account)}: {self.state}; equity {self.equity:,.2f} {self.currency} is "
            f"{abs(self.equity - margin):,.2f} {'below' if below else 'above'} {line} margin "
            f"{margin:,.2f}"
        )
        note = entry_price_note(self.without_entry_price)
        return f"{sentence}. {note}" if note else sentence


def entry_price_note(positions: int, accounts: int = 1) -> str:
    """Say that equity leaves out what some positions have gained; nothing for no position.

    Parameters
    ----------
    positions : int
        Perpetual and future positions without an entry price.
    accounts : int
        Accounts that hold them.

    Examples
    --------
    >>> entry_price_note(1)
    'Equity leaves out the profit or loss of 1 perpetual or future position that has no entry_price'
    >>> entry_price_note(3, 2).partition(" of ")[2]
    '3 perpetual or future positions of 2 accounts that have no entry_price'
    """
    if positions == 0:
        return ""
    many = "positions" if positions > 1 else "position"
    have = "have" if positions > 1 else "has"
    whose = f" of {accounts:,} accounts" if accounts > 1 else ""
    return (
        f"Equity leaves out the profit or loss of {positions:,} perpetual or future {many}{whose} "
        f"that {have} no entry_price"
    )


@dataclass(frozen=True)
class AccountLeverage:
    """Leverage of an account, and the most that its equity permits; amounts in its currency.

    Attributes
    ----------
    account, currency : str
    gross_exposure, equity : float
    leverage : float
        Gross exposure over equity; infinite without equity.
    max_leverage : float
        The same where all positions are multiplied by the largest factor at which their margin
        stays within the equity, balances and open orders as they are; 0 where no factor does, and
        infinite where every one does.
    """

    account: str
    currency: str
    gross_exposure: float
    equity: float
    leverage: float
    max_leverage: float


def account_status(report: MarginFigures, account: str) -> AccountStatus:
    """Status of one account; see `MarginReport.status`."""
    own_equity(report, account)  # which refuses an unknown account, and a book without balances
    frame = _statuses(report.figures[report.figures["account"] == account])
    return AccountStatus(*next(frame.itertuples(index=False, name=None)))


def account_statuses(report: MarginFigures, by: str) -> pd.DataFrame:
    """Statuses of all accounts or owners; see `MarginReport.statuses`."""
    if by not in ("account", "owner"):
        raise DataError(f"statuses: by {by!r} is unknown; give 'account' or 'owner'")
    for account in report.figures["account"][report.figures["equity"].isna()][:1]:
        own_equity(report, str(account))
    if by == "account":
        return _statuses(report.figures)
    lacking = report.figures.groupby("owner")["without_entry_price"].sum()
    own = report.owners.assign(without_entry_price=report.owners["owner"].map(lacking))
    return _statuses(own, by)


def standings(report: MarginFigures) -> pd.DataFrame:
    """Statuses of all that has one margin: owners that net, and every account of the others.

    An account that is netted with others of its owner has no standing of its own: what it lacks,
    another may have.

    Returns
    -------
    DataFrame
        The columns of `MarginReport.statuses`, after `kind` (`account` or `owner`), `name`, and
        `accounts`, the number of accounts that the margin is of. Accounts come first.

    Raises
    ------
    DataError
        For a report of a book without balances.

    Examples
    --------
    >>> from mcmargin.demo import demo_report
    >>> standings(demo_report())[["kind", "name", "accounts", "state"]]
          kind           name  accounts        state
    0  account    diversified         1      healthy
    1  account   index spread         1      healthy
    2  account  long equities         1      healthy
    3  account      short oil         1  margin call
    """
    statuses = account_statuses(report, "account").rename(columns={"account": "name"})
    statuses.insert(0, "kind", "account")
    statuses.insert(2, "accounts", 1)
    nets = (report.owners["netting"] == "net") & (report.owners["accounts"] > 1)
    if not nets.any():
        return statuses
    owners = account_statuses(report, "owner").rename(columns={"owner": "name"})
    owners.insert(0, "kind", "owner")
    owners.insert(2, "accounts", report.owners["accounts"].to_numpy(np.int64))
    alone = ~report.figures["owner"].isin(report.owners["owner"][nets])
    return pd.concat([statuses[alone.to_numpy()], owners[nets.to_numpy()]], ignore_index=True)


def _statuses(figures: pd.DataFrame, by: str = "account") -> pd.DataFrame:
    equity, initial, maintenance = (
        figures[name].to_numpy(float) for name in ("equity", "margin", "maintenance")
    )
    none = maintenance == 0.0
    ratio = np.where(none, np.copysign(np.inf, equity), equity / np.where(none, 1.0, maintenance))
    place = np.where(equity >= initial, 0, np.where(equity >= maintenance, 1, 2))
    return pd.DataFrame(
        {
            by: figures[by].to_numpy(object),
            "currency": figures["currency"].to_numpy(object),
            "equity": equity,
            "initial": initial,
            "maintenance": maintenance,
            "margin_ratio": ratio,
            "state": np.array(STATES, object)[place],
            "over_initial": equity - initial,
            "over_maintenance": equity - maintenance,
            # Not known of a file that was written before they were counted.
            "without_entry_price": figures["without_entry_price"].fillna(0).to_numpy(np.int64),
        }
    )


def own_equity(report: MarginFigures, account: str, *, asked: str = "") -> float:
    """Equity of an account.

    Parameters
    ----------
    report : MarginFigures
    account : str
    asked : str
        What takes a figure of equity in its place, for the error: such as `max_order`.

    Raises
    ------
    DataError
        If the report has no such account, or was given no balances.
    """
    equity = report.account(account).equity
    if equity is None:
        instead = f", or give {asked} the equity (equity=, or --equity; in the account's currency)"
        raise DataError(
            f"account {account!r}: its equity is not known; give the book balances (account, "
            f"asset, amount){instead if asked else ''}"
        )
    return equity

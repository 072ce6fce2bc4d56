"""Health: whether accounts cover their margins, by how much, and the leverage that they can take.

In: a report of a book with balances. Out: equity against initial and maintenance margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mcmargin.errors import DataError

if TYPE_CHECKING:
    from mcmargin.reports.reporting import MarginReport

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

    def __str__(self) -> str:
        """Return a sentence: the state, and by how much."""
        below = self.state != STATES[0]
        line = "maintenance" if self.state == STATES[2] else "initial"
        margin = getattr(self, line)
        return (
            f"{self.account}: {self.state}; equity {self.equity:,.2f} {self.currency} is "
            f"{abs(self.equity - margin):,.2f} {'below' if below else 'above'} {line} margin "
            f"{margin:,.2f}"
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


def account_status(report: MarginReport, account: str) -> AccountStatus:
    """Status of one account; see `MarginReport.status`."""
    own_equity(report, account)  # which refuses an unknown account, and a book without balances
    frame = _statuses(report.figures[report.figures["account"] == account])
    return AccountStatus(*next(frame.itertuples(index=False, name=None)))


def account_statuses(report: MarginReport, by: str) -> pd.DataFrame:
    """Statuses of all accounts or owners; see `MarginReport.statuses`."""
    if by not in ("account", "owner"):
        raise DataError(f"statuses: by {by!r} is unknown; give 'account' or 'owner'")
    for account in report.figures["account"][report.figures["equity"].isna()][:1]:
        own_equity(report, str(account))
    return _statuses(report.figures if by == "account" else report.owners, by)


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
        }
    )


def own_equity(report: MarginReport, account: str) -> float:
    """Equity of an account.

    Raises
    ------
    DataError
        If the report has no such account, or was given no balances.
    """
    equity = report.account(account).equity
    if equity is None:
        raise DataError(
            f"account {account!r}: its equity is not known; give the book balances (account, "
            "asset, amount)"
        )
    return equity

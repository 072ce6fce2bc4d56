"""LiveSession: the desk's answers to what a report asks for (`mcmargin.reports.live.Live`).

In: a session, and a question. Out: the answer. Each method calls the function in desk/ that answers
it: reports/ may not import from desk/, and asks through the protocol `Live`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.desk.attribution import attribution
from mcmargin.desk.largest_order import max_leverage, max_order
from mcmargin.desk.margined_gains import margined_gains
from mcmargin.desk.session import Session
from mcmargin.desk.stress_testing import stress
from mcmargin.desk.what_if import profit_and_loss, what_if
from mcmargin.reports.account_figures import AccountMargin
from mcmargin.reports.health import AccountLeverage
from mcmargin.reports.live import MarginedGains
from mcmargin.reports.stress_report import StressReport


@dataclass(frozen=True, eq=False)
class LiveSession(Session):
    """A session that answers; `MarginReport` documents the questions."""

    def profit_and_loss(self, account: str) -> NDArray[np.float64]:
        """Gains of an account on every path; float64 [paths]."""
        return profit_and_loss(self, account)

    def what_if(self, account: str, trades: Mapping[str, float]) -> AccountMargin:
        """Figures of an account after trades."""
        return what_if(self, account, trades)

    def max_order(
        self, account: str, instrument: str, *, side: str, equity: float | None, lot: float | None
    ) -> float:
        """Largest order that an account's equity permits."""
        return max_order(self, account, instrument, side=side, equity=equity, lot=lot)

    def max_leverage(self, account: str, *, equity: float | None) -> AccountLeverage:
        """Leverage of an account, and the most that its equity permits."""
        return max_leverage(self, account, equity=equity)

    def attribution(self, by: str | None) -> pd.DataFrame:
        """What each account's margin is made of."""
        return attribution(self, by)

    def margined_gains(self, account: str) -> list[MarginedGains]:
        """Gains of each margin unit of an account, the largest expected shortfall first."""
        return margined_gains(self, account)

    def stress(self) -> StressReport | None:
        """Losses in the policy's stress scenarios; None where it declares none."""
        part = self.report.policy.stress
        if part is None or not (part.windows or part.grids or part.gaps or part.depegs):
            return None
        return stress(self.book, self.scenarios, self.market, self.report.policy)

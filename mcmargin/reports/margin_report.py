"""MarginReport: what margin() found, and what a user asks of it.

In: figures by account with their audit trail, and, in the process that made the report, the session
that has its scenarios. Out: tables, JSON, Parquet, a page or text; and answers, such as a what-if.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.data.files import write_text
from mcmargin.reports.account_figures import AccountMargin
from mcmargin.reports.health import (
    AccountLeverage,
    AccountStatus,
    account_status,
    account_statuses,
)
from mcmargin.reports.html_report import report_to_html
from mcmargin.reports.live import Live, required
from mcmargin.reports.margin_figures import MarginFigures
from mcmargin.reports.report_file import report_from_json, report_to_json, report_to_parquet
from mcmargin.reports.report_text import report_to_tables, report_to_text


@dataclass(frozen=True, eq=False, repr=False)
class MarginReport(MarginFigures):
    """Margins of all accounts, with what is needed to compute them again.

    `MarginFigures` lists the fields.

    Attributes
    ----------
    session : Live, optional
        What was margined (`book`, `scenarios`, `market`, `previous`), in the process that made the
        report. `what_if`, `max_order`, `max_leverage`, `profit_and_loss` and `attribution` need
        it. It is None if the report was read from a file, or came from another process: a pickled
        report holds figures, and no scenarios.

    Examples
    --------
    >>> from mcmargin.demo import demo_report
    >>> report = demo_report()
    >>> round(report.account("short oil").margin)
    27438
    >>> report.contributions_frame().query("account == 'index spread'").round()
            account instrument      kind  quantity  exposure  contribution
    3  index spread     nasdaq  position     -38.0 -250212.0       13820.0
    4  index spread      sp500  position     100.0  248574.0       -5378.0
    """

    session: Live | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Figures and audit trail, for pickle: scenarios stay in the process that made them."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return own | {"session": None}

    def __copy__(self) -> MarginReport:
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> MarginReport:
        own = {each.name for each in fields(self)} - {"session"}
        # Nothing changes a session, so that a copy may share it.
        return replace(self, **{name: deepcopy(getattr(self, name), memo) for name in sorted(own)})

    def profit_and_loss(self, account: str) -> NDArray[np.float64]:
        """Gains of an account on every path, in its currency; float64 [paths].

        A loss is negative. Gains of collateral are included if it counts jointly.

        Raises
        ------
        DataError
            If the account is unknown, or the report has no session.
        """
        return required(self.session, "profit_and_loss").profit_and_loss(account)

    def what_if(self, account: str, trades: Mapping[str, float]) -> AccountMargin:
        """Figures of an account after trades, on the same scenarios.

        Trades are made at today's values and paid in the account's cash. They change its equity
        only if that cash is a coin with a haircut. If the account is netted with others, these are
        its own figures, without theirs.

        Parameters
        ----------
        account : str
        trades : mapping of str to float
            Units bought of each instrument; negative is sold.

        Raises
        ------
        DataError
            If the account or an instrument is unknown, or the report has no session.

        Examples
        --------
        >>> from mcmargin.demo import demo_report
        >>> report = demo_report()
        >>> before, after = report.account("short oil"), report.what_if("short oil", {"wti": 1000})
        >>> round(before.margin), round(after.margin)
        (27438, 21950)
        """
        return required(self.session, "what_if").what_if(account, trades)

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

        A size is permitted if the margin after it is within the equity, or no larger than today:
        an order that reduces risk is always permitted. The answer is the end of the permitted
        sizes that follow one another from 0.

        Under some policies a margin is not convex in the size: with a buffer or a speed limit on
        the previous report beside liquidity, concentration or funding; with stress beside a floor,
        or stress weights that add up to more than 1; and with order books. Sizes are then scanned:
        the range up to a refused size is halved again and again, with 32 sizes in each half and 32
        in the last 256th. A refused size between two of them may be missed.

        Parameters
        ----------
        account, instrument : str
        side : str
            `buy` or `sell`.
        equity : float, optional
            In the account's currency. By default the account's own, if the book has balances.
        lot : float, optional
            Orders are whole multiples of it.

        Returns
        -------
        float
            Units, 0 or more; infinite if no size is too large.

        Raises
        ------
        DataError
            As `what_if`.

        Examples
        --------
        >>> from mcmargin.demo import demo_report
        >>> demo_report().max_order("short oil", "wti", side="sell", equity=30_000, lot=100)
        400.0
        """
        live = required(self.session, "max_order")
        return live.max_order(account, instrument, side=side, equity=equity, lot=lot)

    def status(self, account: str) -> AccountStatus:
        """Whether an account covers its own margins, and by how much.

        For an owner who nets its accounts, ask `statuses(by="owner")`.

        Raises
        ------
        DataError
            If the account is unknown, or the book has no balances.

        Examples
        --------
        >>> from mcmargin.demo import demo_report
        >>> print(demo_report().status("short oil"))
        short oil: margin call; equity 24,250.00 USD is 3,187.54 below initial margin 27,437.54
        """
        return account_status(self, account)

    def statuses(self, by: str = "account") -> pd.DataFrame:
        """One row an account, the fields of `AccountStatus`.

        Parameters
        ----------
        by : str
            `account`: each account on its own; or `owner`: an owner who nets has one margin for
            all of its accounts.

        Raises
        ------
        DataError
            If `by` is neither, or the book has no balances.

        Examples
        --------
        >>> from mcmargin.demo import demo_report
        >>> demo_report().statuses()[["account", "state", "over_initial"]].round()
                 account        state  over_initial
        0    diversified      healthy      599752.0
        1   index spread      healthy      239921.0
        2  long equities      healthy      792385.0
        3      short oil  margin call       -3188.0
        """
        return account_statuses(self, by)

    def max_leverage(self, account: str, *, equity: float | None = None) -> AccountLeverage:
        """Leverage of an account, and the most that its equity permits.

        All positions are multiplied by a factor, which is permitted if the margin is then within
        the equity. The most is at the end of the permitted factors that follow one another, from
        today's positions on if these are permitted. Factors are searched as `max_order` searches
        sizes.

        Parameters
        ----------
        account : str
        equity : float, optional
            In the account's currency. By default the account's own, if the book has balances.

        Raises
        ------
        DataError
            If the account is unknown or has no positions, the equity is neither known nor given,
            or the report has no session.

        Examples
        --------
        >>> from mcmargin.demo import demo_report
        >>> found = demo_report().max_leverage("short oil")
        >>> round(found.leverage, 2), round(found.max_leverage, 2)
        (9.31, 8.23)
        """
        return required(self.session, "max_leverage").max_leverage(account, equity=equity)

    def attribution(self, by: str | None = None) -> pd.DataFrame:
        """What each account's margin is made of, before it is rounded to a tick.

        Why a margin changed since an earlier report, `mm.attribute` tells.

        Parameters
        ----------
        by : str, optional
            Add up by `position`, `underlying` or `component` within an account.

        Returns
        -------
        DataFrame
            Columns account, component, kind, instrument, underlying and amount; with `by`, only
            the account, what is added up by, and the amount. `mcmargin.desk.attribution` lists the
            components. An account's amounts add up to `unrounded`.

        Raises
        ------
        DataError
            If `by` is something else, or the report has no session.

        Examples
        --------
        >>> from mcmargin.demo import demo_report
        >>> demo_report().attribution("underlying").round().head(3)
               account underlying   amount
        0  diversified     nasdaq   7849.0
        1  diversified       sp500   6916.0
        2  diversified        wti   6618.0
        """
        return required(self.session, "attribution").attribution(by)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """JSON of schema mcmargin.report/2, every figure exact; also written to a path if given."""
        text = report_to_json(self)
        if path is not None:
            write_text(Path(path), text)
        return text

    def to_parquet(self, path: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write accounts to a file, and positions and owners beside it.

        The metadata of each file has the audit trail, under `mcmargin`. All files are written, or
        none.

        Parameters
        ----------
        path : path
            Of the accounts, such as margins.parquet; positions go to margins.positions.parquet
            and owners to margins.owners.parquet.

        Returns
        -------
        tuple of Path
            Of accounts, positions and owners.

        Raises
        ------
        DataError
            If a file cannot be written.
        """
        return report_to_parquet(self, path)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """One page for a browser, with tables and charts; with a path, it is written there whole.

        The page says first who is in liquidation and who is called, and by how much. Then it lists
        the first 1,000 accounts, those that are short of most at the top, each with a picture of
        what its margin is made of. Figures are rounded to their Monte Carlo error; the exact ones
        are under each account, and in `to_json`. The page loads nothing and runs no script.

        Some charts need the session: the profit and loss of the first 8 accounts (with the open
        orders filled that cost most, and the positions of an isolated account one by one), and what
        buffer and speed limit changed since the previous report.

        Raises
        ------
        McMarginError
            If jinja2 or matplotlib is not installed (`pip install 'mcmargin[report]'`).
        """
        text = report_to_html(self, self.session)
        if path is not None:
            write_text(Path(path), text)
        return text

    @classmethod
    def from_json(cls, text: str, *, source: str = "report") -> MarginReport:
        """Read a report.

        Parameters
        ----------
        text : str
        source : str
            Name of the text in errors.

        Raises
        ------
        ModelFileError
            If the text is no report of this schema. The error names the first field that is
            missing, unknown, of another type or not finite.

        Examples
        --------
        >>> from mcmargin.demo import demo_report
        >>> text = demo_report().to_json()
        >>> MarginReport.from_json(text).to_json() == text
        True
        """
        return report_from_json(cls, text, source)

    def _repr_html_(self) -> str:
        """Tables for a notebook, which asks for them by this name."""
        return report_to_tables(self)

    def __str__(self) -> str:
        """Table for a terminal, with what was simulated."""
        return report_to_text(self)

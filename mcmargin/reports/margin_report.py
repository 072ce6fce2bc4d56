"""MarginReport: what margin() found, and what a user asks of it.

In: figures by account and the audit trail, and where the desk made the report, what answers with
its scenarios. Out: tables, JSON, Parquet, a page or text; and figures after a trade.
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
        In the process that made the report: what was margined (`book`, `scenarios`, `market`), on
        which `what_if`, `max_order`, `max_leverage`, `profit_and_loss` and `attribution` are
        taken. None where the report was read from a file, or was pickled: the figures of a report
        go to other processes, and its scenarios do not.

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

        With those of its collateral, where that counts jointly.

        Raises
        ------
        DataError
            For an unknown account, or a report that was read from a file.
        """
        return required(self.session, "profit_and_loss").profit_and_loss(account)

    def what_if(self, account: str, trades: Mapping[str, float]) -> AccountMargin:
        """Figures of an account after trades, on the same scenarios.

        Trades are at today's values, paid in the account's cash. Its equity stays, but for the
        haircut of a coin that it pays in. Of an account that is netted with others, these are its
        own figures, without them.

        Parameters
        ----------
        account : str
        trades : mapping of str to float
            Units bought of each instrument; negative is sold.

        Raises
        ------
        DataError
            For an unknown account or instrument, or a report that was read from a file.

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

        The largest size up to which every size leaves the margin within the equity, or does not
        raise it: an order that reduces risk is always allowed.

        Where a policy makes margins that are not convex in the size (a buffer or speed limit on
        the last report beside liquidity, concentration or funding; a floor, or weights above 1 in
        all, beside stress; order books), sizes are scanned: 32 of each halving of those up to one
        that is refused, and 32 of the last 256th. What is refused between two of them alone is
        not seen.

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

        Of an owner who nets its accounts, `statuses(by="owner")` tells.

        Raises
        ------
        DataError
            For an unknown account, or a report of a book without balances.

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
            `account`, each on its own, or `owner`: who nets, has one margin for all of its
            accounts.

        Raises
        ------
        DataError
            For another `by`, or a report of a book without balances.

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

        The most is the end of the factors on all positions that are permitted in a row, from the
        present one if it is permitted. They are searched, and where need be scanned, as
        `max_order` does sizes.

        Parameters
        ----------
        account : str
        equity : float, optional
            In the account's currency; its own where balances were given.

        Raises
        ------
        DataError
            For an unknown account, one without positions, equity that is neither known nor given,
            or a report that was read from a file.

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

        Parameters
        ----------
        by : str, optional
            Add up by `position`, `underlying` or `component` within an account.

        Returns
        -------
        DataFrame
            Columns account, component, kind, instrument, underlying, amount, or those that are
            added up by; see `mcmargin.desk.attribution`. An account's amounts add up to
            `unrounded`.

        Raises
        ------
        DataError
            For another `by`, or a report that was read from a file.

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
        """JSON of schema mcmargin.report/2, every figure exact; written whole where asked."""
        text = report_to_json(self)
        if path is not None:
            write_text(Path(path), text)
        return text

    def to_parquet(self, path: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write accounts to a file, and positions and owners beside it.

        The audit trail is in all files' metadata, under `mcmargin`. Each is written whole.

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
            If any cannot be written.
        """
        return report_to_parquet(self, path)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """One page for a browser, with tables and charts; written whole where asked.

        It says first who is in liquidation and who is called, and by how much; then it lists the
        first 1,000 accounts, those who are short of most at the top, each with a picture of what
        its margin is made of. Figures are rounded to their Monte Carlo error; the exact ones are
        under each account, and in `to_json`. Nothing is loaded from elsewhere, and no script runs.

        Only in the process that made the report, the page has charts of the profit and loss of the
        first 8 accounts, with the open orders filled that cost most and the positions of isolated
        accounts one by one, and of what buffer and speed limit did.

        Raises
        ------
        McMarginError
            Where jinja2 or matplotlib is not installed (`pip install 'mcmargin[report]'`).
        """
        from mcmargin.reports.html_report import report_to_html

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
            Named in errors.

        Raises
        ------
        ModelFileError
            If it is not a report of this schema, naming the first field that is missing, unknown,
            of another type or not finite.

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

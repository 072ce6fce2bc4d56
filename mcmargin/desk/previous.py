"""What the previous report says of each row of a margin, for a buffer and a speed limit.

In: the previous report, accounts, owners that net, and the scenarios of the new margin. Out: the
charge of each row in its currency at today's rates, and how many bars have closed since.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mcmargin.books.accounts import Account
from mcmargin.data.bars import DAY
from mcmargin.data.times import utc_time
from mcmargin.errors import DataError
from mcmargin.margins.row_margins import Previous
from mcmargin.markets.market import Market
from mcmargin.models.model import MarketModel
from mcmargin.reports.margin_figures import MarginFigures
from mcmargin.reports.report_checksum import require_unaltered
from mcmargin.scenarios.scenarios import Scenarios

CHARGES = ("calm", "maintenance_calm")
"""Columns of the previous report that a buffer and a speed limit start from."""


def previous_of(
    accounts: Sequence[Account],
    owners: Sequence[str],
    report: MarginFigures | None,
    scenarios: Scenarios,
    market: Market,
) -> Previous | None:
    """What the previous report says of some accounts, and then of owners of theirs that net.

    Parameters
    ----------
    accounts : sequence of Account
    owners : sequence of str
    report : MarginFigures, optional
        The previous one.
    scenarios : Scenarios
        Of the new margin: their time is now.
    market : Market
        Of the new margin: its rates convert charges that were in another currency.

    Raises
    ------
    DataError
        If the report was altered after it was written, or is of a later time than the scenarios.
    """
    if report is None:
        return None
    require_unaltered(report, "the previous report")
    own = pd.DataFrame({"name": [account.name for account in accounts]})
    own["currency"] = [account.currency for account in accounts]
    nets = {account.owner: account.currency for account in accounts}
    netted = pd.DataFrame({"name": owners, "currency": [nets[name] for name in owners]})
    rows = pd.concat(
        [
            _last_charges(own, report.figures, "account", market),
            _last_charges(netted, report.owners, "owner", market),
        ]
    )
    last, now = utc_time(report.as_of), scenarios.as_of
    if last > now:
        raise DataError(
            f"the previous report is of {report.as_of[:19]}, after these scenarios' {now}"
        )
    calm, maintenance_calm = (rows[name].to_numpy(float) for name in CHARGES)
    return Previous(calm, maintenance_calm, _bars_closed(scenarios.model, last, now))


def _last_charges(rows: pd.DataFrame, last: pd.DataFrame, key: str, market: Market) -> pd.DataFrame:
    """Charges of the previous report by name, at today's rate if the currency was another."""
    known = last.set_index(key).reindex(rows["name"])
    rates = [
        1.0 if before == now or pd.isna(before) else market.worth(before) / market.worth(now)
        for before, now in zip(known["currency"], rows["currency"], strict=True)
    ]
    return known[list(CHARGES)].astype(float).mul(np.array(rates, float), axis=0)


def _bars_closed(model: MarketModel, last: np.datetime64, now: np.datetime64) -> int:
    """Bars that closed after the previous report; 0 if both times lie within one bar."""
    times = model.history.times
    if len(times) and times[0] <= last:
        return int(np.sum((times > last) & (times <= now)))
    return round(float((now - last) / DAY) / model.calendar.mean_days)

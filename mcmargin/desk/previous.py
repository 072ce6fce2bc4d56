"""What the previous report says of each row of a margin, for a buffer and a speed limit.

In: the previous report, accounts, owners that net, and the scenarios of the new margin. Out: the
charge of each row in its currency at today's rates, and how many bars have closed since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    own = {account.name: account.currency for account in accounts}
    nets = {account.owner: account.currency for account in accounts}
    netted = {owner: nets[owner] for owner in owners}
    charges = [
        _last_charges(report.figures, "account", own, market),
        _last_charges(report.owners, "owner", netted, market),
    ]
    last, now = utc_time(report.as_of), scenarios.as_of
    if last > now:
        raise DataError(
            f"the previous report is of {report.as_of[:19]}, after these scenarios' {now}"
        )
    calm, maintenance_calm = np.concatenate(charges, axis=1)
    return Previous(calm, maintenance_calm, _bars_closed(scenarios.model, last, now))


def _last_charges(
    last: pd.DataFrame, key: str, currencies: Mapping[str, str], market: Market
) -> NDArray[np.float64]:
    """Charges of the previous report, at today's rate if the currency was another.

    Parameters
    ----------
    last : DataFrame
        Rows of the previous report.
    key : str
        Column of their names.
    currencies : mapping of str to str
        Of the rows that are asked for, by name.
    market : Market

    Returns
    -------
    ndarray of shape (charges, rows asked for), float64
        NaN for a name that the previous report does not have.
    """
    charges = np.full((len(CHARGES), len(currencies)), np.nan)
    if len(currencies) == 1:
        # A what-if asks for one account, many times a second: no index of all names is made.
        place = np.flatnonzero((last[key] == next(iter(currencies))).to_numpy(bool))[:1]
        known = np.arange(len(place))
    else:
        place = pd.Index(last[key]).get_indexer(pd.Index(list(currencies)))
        known = np.flatnonzero(place >= 0)
        place = place[known]
    codes = list(currencies.values())
    rates = np.array(
        [
            1.0 if before == codes[at] else market.worth(before) / market.worth(codes[at])
            for at, before in zip(known.tolist(), last["currency"].iloc[place], strict=True)
        ]
    )
    for row, name in enumerate(CHARGES):
        charges[row, known] = last[name].to_numpy(float)[place] * rates
    return charges


def _bars_closed(model: MarketModel, last: np.datetime64, now: np.datetime64) -> int:
    """Bars that closed after the previous report; 0 if both times lie within one bar."""
    times = model.history.times
    if len(times) and times[0] <= last:
        return int(np.sum((times > last) & (times <= now)))
    return round(float((now - last) / DAY) / model.calendar.mean_days)

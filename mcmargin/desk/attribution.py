"""Attribution: what the margin of each account is made of.

In: a report that this process made. Out: rows of account, component and amount, which add up to
the margin before it is rounded to a tick. The components are

expected_shortfall    by position: its share of the account's expected shortfall (Euler)
collateral            by asset: the share of a balance that moves with the positions
open_orders           what the worst fills add, by the ordered instrument (of kind `order`)
minimum               what is added to reach the minimum of short options, or to reach 0

and then what each further step of `mcmargin.policies.formula` adds or takes off: `BY_POSITION` and
`BY_UNDERLYING` list those that are shared out. Instrument and underlying are empty where an amount
belongs to the whole account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mcmargin.desk.order_shares import fills_of, order_shares
from mcmargin.desk.session import Session
from mcmargin.errors import DataError
from mcmargin.margins.components import stressed_funding_costs
from mcmargin.margins.leverage import concentration_charges, leverage_charges, underlyings
from mcmargin.margins.liquidity import liquidity_costs
from mcmargin.margins.operations import added_by_steps
from mcmargin.margins.unit_context import UnitContext
from mcmargin.numerics.arrays import device_of
from mcmargin.policies.formula import FORMULA
from mcmargin.reports.margin_figures import MarginFigures

BY_POSITION: dict[str, Callable[[UnitContext], Any]] = {
    "liquidity": liquidity_costs,
    "stressed_funding": stressed_funding_costs,
}
"""Steps whose charge is shared out over positions, and what each position is charged."""

BY_UNDERLYING: dict[str, Callable[[UnitContext], Any]] = {
    "concentration": concentration_charges,
    "leverage_minimum": leverage_charges,
}
"""Steps whose charge is shared out over underlyings, and what each underlying is charged."""

COLUMNS = ["account", "component", "kind", "instrument", "underlying", "amount"]

BY = {
    "position": ["account", "kind", "instrument", "underlying"],
    "underlying": ["account", "underlying"],
    "component": ["account", "component"],
}


def attribution(session: Session, by: str | None = None) -> pd.DataFrame:
    """Rows of account, component and amount; see `MarginReport.attribution`."""
    if by is not None and by not in BY:
        raise DataError(f"attribution by {by!r} is unknown; give one of {tuple(BY)}")
    report = session.report
    figures = report.figures.select_dtypes("number")
    columns = {name: figures[name].to_numpy(float) for name in figures}
    added = added_by_steps(columns, tick=0.0)
    parts = [
        _shares(report, session),
        _orders(report, session.context),
        *_by_size(report, session.context, added),
        *_of_accounts(report, added),
    ]
    frame = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    place = pd.Index(report.figures["account"]).get_indexer(pd.Index(frame["account"]))
    frame = frame.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)
    if by is None:
        return frame
    return frame.groupby(BY[by], sort=False)[["amount"]].sum().reset_index()


def _shares(report: MarginFigures, session: Session) -> pd.DataFrame:
    """Share of each position and balance in the expected shortfall."""
    rows = report.positions
    names = {item.name: item.underlying for item in session.book.instruments}
    moving = (rows["kind"] == "collateral").to_numpy()
    underlying = np.where(moving, rows["instrument"], rows["instrument"].map(names))
    component = np.where(moving, "collateral", "expected_shortfall")
    return _frame(rows["account"], component, rows["kind"], rows["instrument"], underlying,
                  rows["contribution"])  # fmt: skip


def _orders(report: MarginFigures, context: UnitContext) -> pd.DataFrame:
    """What the fills of each ordered instrument add to the expected shortfall."""
    units, valuation = context.units, context.valuation
    added = context.figures.open_orders
    rows: list[tuple[Any, ...]] = []
    with device_of(valuation.scenarios.returns):
        for unit in np.flatnonzero((units.account >= 0) & (added > 0.0)).tolist():
            account = report.figures["account"].iloc[units.account[unit]]
            fills = fills_of(units, unit, valuation, context.level)
            shares = order_shares(fills, float(added[unit]), context.level)
            for column, share in zip(fills.columns.tolist(), shares.tolist(), strict=True):
                item = valuation.instruments[column]
                row = (account, "open_orders", "order", item.name, item.underlying, share)
                rows += [row] if share else []
    return pd.DataFrame(rows, columns=COLUMNS)


def _by_size(
    report: MarginFigures, context: UnitContext, added: Mapping[str, Any]
) -> list[pd.DataFrame]:
    """What steps add, shared out over positions or underlyings by what each of them is charged."""
    accounts = report.figures["account"].to_numpy(object)
    items = context.valuation.instruments
    names = np.array([item.name for item in items], object)
    own = np.array([item.underlying for item in items], object)
    ordered = np.array(underlyings(items), object)
    parts = []
    for name, charges in (BY_POSITION | BY_UNDERLYING).items():
        rows, columns, amounts = _entries(sparse.coo_array(charges(context)), context)
        # A charge counts whole; of a minimum only the part that raises the margin counts.
        charged = report.figures[name].to_numpy(float)
        share = np.divide(added[name], charged, out=np.zeros(len(charged)), where=charged > 0.0)
        amounts = amounts * share[rows]
        if name in BY_POSITION:
            whose: tuple[Any, ...] = "position", names[columns], own[columns]
        else:
            whose = "account", "", ordered[columns]
        part = _frame(accounts[rows], name, *whose, amounts)
        parts.append(part[part["amount"] != 0.0])
    return parts


def _entries(
    matrix: sparse.coo_array, context: UnitContext
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Accounts, columns and amounts of entries that are not 0, in the accounts' currencies."""
    units, columns = matrix.coords
    rows = context.units.account[units]
    chosen = (rows >= 0) & (matrix.data != 0.0)
    amounts = (matrix.data / context.rates[units])[chosen]
    return rows[chosen], columns[chosen].astype(np.int64), amounts


def _of_accounts(report: MarginFigures, added: Mapping[str, Any]) -> list[pd.DataFrame]:
    """What belongs to the whole account, in the order of the formula."""
    figures, (first, *others) = report.figures, FORMULA
    # Positions and ordered instruments have their shares of the first step already.
    shared = figures["expected_shortfall"].to_numpy() + figures["open_orders"].to_numpy()
    amounts = {"minimum": added[first.name] - shared}
    amounts |= {
        each.name: added[each.name]
        for each in others
        if each.name not in BY_POSITION and each.name not in BY_UNDERLYING
    }
    parts = []
    for component, amount in amounts.items():
        part = _frame(figures["account"], component, "account", "", "", amount)
        parts.append(part[part["amount"] != 0.0])
    return parts


def _frame(*columns: Any) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))

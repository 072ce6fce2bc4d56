"""Attribution: what the margin of each account is made of.

In: a report that this process made. Out: rows of account, component and amount that add up to the
margin before it is rounded to a tick. Of the components,

expected_shortfall    by position: its share of the account's (Euler)
collateral            by asset: the same of balances that move with the positions
open_orders           what the worst fills add, by the instrument that is ordered (kind `order`)
minimum               what lifts these to the least of short options, or to 0
floor                 what the floor's volatility adds, and `stress` what stress scenarios do
procyclicality        what the buffer adds, or the speed limit takes off
liquidity, stressed_funding                by position
concentration, leverage_minimum            by underlying; the latter's excess over the total
maintenance           what maintenance margin is above all that

Where an amount belongs to no position or underlying, these are empty.
"""

from __future__ import annotations

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
from mcmargin.margins.unit_context import UnitContext
from mcmargin.numerics.arrays import device_of
from mcmargin.reports.margin_figures import MarginFigures

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
    parts = [
        _shares(report, session),
        _orders(report, session.context),
        *_by_size(report, session.context),
        *_of_accounts(report.figures),
    ]
    frame = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    place = pd.Index(report.figures["account"]).get_indexer(pd.Index(frame["account"]))
    frame = frame.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)
    if by is None:
        return frame
    return frame.groupby(BY[by], sort=False)[["amount"]].sum().reset_index()


def _shares(report: MarginFigures, session: Session) -> pd.DataFrame:
    """Each position's and balance's share of expected shortfall."""
    held = report.positions
    names = {item.name: item.underlying for item in session.book.instruments}
    moving = (held["kind"] == "collateral").to_numpy()
    underlying = np.where(moving, held["instrument"], held["instrument"].map(names))
    component = np.where(moving, "collateral", "expected_shortfall")
    return _frame(held["account"], component, held["kind"], held["instrument"], underlying,
                  held["contribution"])  # fmt: skip


def _orders(report: MarginFigures, context: UnitContext) -> pd.DataFrame:
    """What the fills of each ordered instrument add to expected shortfall."""
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


def _by_size(report: MarginFigures, context: UnitContext) -> list[pd.DataFrame]:
    """What is charged by position and by underlying."""
    accounts = report.figures["account"].to_numpy(object)
    items = context.valuation.instruments
    names = np.array([item.name for item in items], object)
    own = np.array([item.underlying for item in items], object)
    parts = []
    charged = {
        "liquidity": liquidity_costs(context),
        "stressed_funding": stressed_funding_costs(context),
    }
    for component, matrix in charged.items():
        rows, columns, amounts = _entries(sparse.coo_array(matrix), context)
        parts.append(
            _frame(accounts[rows], component, "position", names[columns], own[columns], amounts)
        )
    larger = _excess(report, "leverage_minimum", "total")
    with np.errstate(invalid="ignore", divide="ignore"):
        share = larger / report.figures["leverage_minimum"].to_numpy(float)
    share = np.where(larger > 0, share, 0.0)
    ordered = np.array(underlyings(items), object)
    for component, dense, weights in (
        ("concentration", concentration_charges(context), np.ones(len(accounts))),
        ("leverage_minimum", leverage_charges(context), share),
    ):
        rows, columns, amounts = _entries(sparse.coo_array(dense), context)
        amounts = amounts * weights[rows]
        part = _frame(accounts[rows], component, "account", "", ordered[columns], amounts)
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


def _excess(report: MarginFigures, name: str, over: str) -> NDArray[np.float64]:
    """What one column is above another, or 0."""
    figures = report.figures
    return np.asarray(np.maximum(figures[name].to_numpy(float) - figures[over].to_numpy(float), 0))


def _of_accounts(figures: pd.DataFrame) -> list[pd.DataFrame]:
    """What belongs to no position, in the order in which the margin is put together."""
    column = {name: values.to_numpy() for name, values in figures.select_dtypes("number").items()}
    worst = column["expected_shortfall"] + column["open_orders"]  # those by instrument
    floored = np.maximum(column["base"], column["floor"])
    least = np.maximum(column["total"], column["leverage_minimum"])
    amounts = {
        "minimum": column["base"] - worst,
        "floor": floored - column["base"],
        "stress": column["stressed"] - floored,
        "procyclicality": column["calm"] - column["stressed"],
        "maintenance": column["unrounded"] - least,
    }
    parts = []
    for component, amount in amounts.items():
        part = _frame(figures["account"], component, "account", "", "", amount)
        parts.append(part[part["amount"] != 0.0])
    return parts


def _frame(*columns: Any) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))

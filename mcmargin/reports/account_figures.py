"""Figures of accounts and owners: the rows of a report, one by one and as tables.

In: a report's tables. Out: plain values and frozen objects, account by account; and the way back,
from columns to tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.data.json_text import ROWS_AT_ONCE, plain_columns, records
from mcmargin.data.typed_fields import type_hints
from mcmargin.margins.equity import Equity
from mcmargin.margins.haircuts import Haircut

CONTRIBUTION_KINDS = ("position", "collateral")
"""Kinds of contributions."""

INTERVALS = ("expected_shortfall", "value_at_risk")
"""Figures that have a confidence interval."""

_ERRORS = ("margin_error", "maintenance_error")

ADDED = {
    "accounts": (
        "without_entry_price",
        *_ERRORS,
        *("base_error", "floor_error", "stress_add_on_error", "liquidity_error"),
        *("open_orders_error", "wrong_way_error", "collateral_error", "gross_with_orders"),
    ),
    "owners": _ERRORS,
    "haircuts": ("expected_shortfall_error", "haircut_error"),
}
"""Fields of a report's rows that `mcmargin.report/1` does not have."""

UNKNOWN = frozenset({"equity"}.union(*ADDED.values()))
"""Columns that may be unknown: NaN in a table, None elsewhere."""

BOUNDS = tuple(f"{figure}_{end}" for figure in INTERVALS for end in ("low", "high"))
"""Columns of the intervals' bounds."""


@dataclass(frozen=True)
class Contribution:
    """One position's share of its account's expected shortfall (Euler), in its currency.

    `kind` is `position`, or `collateral` for a balance that moves with the positions; then
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

    `mcmargin.policies.formula` says how `margin` follows from the columns. `base` is the expected
    shortfall with the worst fills of open orders. `calm` is what buffer and speed limit make of
    max(base, floor) with stress. `unrounded` is the margin before the tick, and `maintenance` the
    margin at its own level and horizon. For an isolated account, base, floor and stress are sums
    over its positions.

    If collateral counts jointly, these figures are of positions and collateral together.
    `wrong_way` is then the expected shortfall of both less that of the positions alone: above 0 if
    collateral loses in the scenarios in which positions lose, and below 0 if it hedges them.

    `gross_exposure` is the notional of all positions; that of an option is its underlying's,
    whatever the delta. In `gross_with_orders` each instrument counts with its open orders of the
    side that makes it larger. `net_exposure` is delta-equivalent.

    Each `..._error` is the standard error of the figure that it is named after: its standard
    deviation over seeds. It is the error of Monte Carlo's paths only, with floors, add-ons, worst
    fills and rounding as they were chosen. A figure without such a field does not depend on the
    paths.

    `collateral` is the value of balances after haircuts. `equity` is the sum of collateral, of the
    value of spot and options, and of the profit and loss of perpetuals and futures since their
    entry prices; it is None without balances. `without_entry_price` counts the perpetual and future
    positions whose profit and loss is not in it, because they have no entry price.

    A field that a file of an older version does not have is None; `ADDED` lists these fields.
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
    margin_error: float | None
    maintenance_error: float | None
    base_error: float | None
    floor_error: float | None
    stress_add_on_error: float | None
    liquidity_error: float | None
    open_orders_error: float | None
    wrong_way_error: float | None
    gross_with_orders: float | None
    collateral: float
    collateral_error: float | None
    position_value: float
    unrealised: float
    equity: float | None
    without_entry_price: int | None
    contributions: tuple[Contribution, ...]


COLUMNS = tuple(
    name
    for name, kind in type_hints(AccountMargin).items()
    if kind in (float, float | None) and name not in Equity.__dataclass_fields__
)
"""Columns of a report in their order; those of equity follow, then the bounds of intervals."""


@dataclass(frozen=True)
class OwnerMargin:
    """One owner's margin: of all of its positions if they are netted, else the sum of accounts'.

    `equity` is the sum of its accounts' equity; None without balances.
    """

    owner: str
    netting: str
    currency: str
    accounts: int
    margin: float
    maintenance: float
    calm: float
    maintenance_calm: float
    margin_error: float | None
    maintenance_error: float | None
    equity: float | None


def account_rows(figures: pd.DataFrame, positions: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Accounts as plain values, one by one: the fields of `AccountMargin`.

    Raises
    ------
    DataError
        If a figure is not finite.
    """
    names = pd.Index(figures["account"])
    owner = names.get_indexer(pd.Index(positions["account"]))
    order = np.argsort(owner, kind="stable")
    ends = np.searchsorted(owner[order], np.arange(len(names) + 1)).tolist()
    held = positions.iloc[order]
    for low in range(0, len(names), ROWS_AT_ONCE):
        high = min(low + ROWS_AT_ONCE, len(names))
        columns = plain_columns(figures.iloc[low:high], unknown=UNKNOWN)
        for figure in INTERVALS:
            bounds = (columns.pop(f"{figure}_{end}") for end in ("low", "high"))
            columns[f"{figure}_interval"] = list(zip(*bounds, strict=True))
        own = plain_columns(held.iloc[ends[low] : ends[high]])
        del own["account"]
        shares = [*records(own)]
        first = ends[low]
        columns["contributions"] = [
            shares[ends[at] - first : ends[at + 1] - first] for at in range(low, high)
        ]
        yield from records({name: columns[name] for name in AccountMargin.__dataclass_fields__})


def account_of(row: dict[str, Any]) -> AccountMargin:
    """Plain values of an account as an object."""
    held = tuple(Contribution(**each) for each in row["contributions"])
    return AccountMargin(**row | {"contributions": held})


def frames_of(columns: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Figures and positions of accounts, as `MarginReport` keeps them.

    Parameters
    ----------
    columns : mapping of str to list
        The fields of `AccountMargin`, as `mcmargin.data.typed_columns` reads them.
    """
    columns = dict(columns)
    held = columns.pop("contributions")
    for figure in INTERVALS:
        bounds = np.array(columns.pop(f"{figure}_interval"), float).reshape(-1, 2)
        columns[f"{figure}_low"], columns[f"{figure}_high"] = bounds.T
    owner = np.repeat(np.array(columns["account"], object), held.counts)
    return _frame(AccountMargin, columns), _frame(Contribution, {"account": owner, **held.columns})


def _frame(kind: type, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Table of columns, with the same types whether it has rows or not."""
    declared = {"account": str} | type_hints(kind)
    types = {str: object, bool: np.bool_, int: np.int64, int | None: np.int64}
    table: dict[str, NDArray[Any]] = {}
    for name, values in columns.items():
        own = types.get(declared.get(name, float), np.float64)
        if own is np.int64 and any(value is None for value in values):
            own = np.float64
        table[name] = np.array(values, own)
    return pd.DataFrame(table)


def haircut_frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    """One row a haircut, of columns with the fields of `Haircut`."""
    return _frame(Haircut, columns)


def owner_frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    """One row an owner, of columns with the fields of `OwnerMargin`."""
    return _frame(OwnerMargin, columns)

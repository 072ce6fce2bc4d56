"""Figures of accounts and owners: what a report's rows are, one by one and as frames.

In: rows of a report's frames. Out: frozen objects of one account or owner, and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mcmargin.margins.haircuts import Haircut

KINDS = ("position", "collateral")
"""Of contributions."""

INTERVALS = ("expected_shortfall", "value_at_risk")

COLUMNS = (
    *("margin", "maintenance", "expected_shortfall", "expected_shortfall_error"),
    *("value_at_risk", "value_at_risk_error", "open_orders", "base", "short_option_minimum"),
    *("floor", "stress_add_on", "stressed", "calm", "liquidity", "concentration"),
    *("stressed_funding", "total", "leverage_minimum", "maintenance_calm"),
    *("gross_exposure", "net_exposure", "unrounded", "wrong_way"),
    *("margin_error", "maintenance_error", "base_error", "floor_error", "stress_add_on_error"),
    *("liquidity_error", "open_orders_error", "wrong_way_error", "gross_with_orders"),
)
"""Columns of a report, in their order; equity's follow, then the intervals' bounds."""

BOUNDS = tuple(f"{figure}_{end}" for figure in INTERVALS for end in ("low", "high"))


@dataclass(frozen=True)
class Contribution:
    """One position's share of its account's expected shortfall (Euler), in its currency.

    `kind` is `position`, or `collateral` of a balance that moves with the positions: then
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

    How `margin` follows from the columns is said in `mcmargin.policies.policy`: `base` is the
    expected shortfall with the worst fills of open orders, `calm` what buffer and speed limit make
    of max(base, floor) and stress, `maintenance` the margin at its own level and horizon,
    `unrounded` the margin before the tick. Of an isolated account base, floor and stress are sums
    over its positions.

    Where collateral counts jointly, all of them are of positions and collateral together.
    `wrong_way` is their expected shortfall together less that of the positions alone: above 0 where
    collateral loses in the scenarios in which positions do, below 0 where it is their hedge.
    `gross_exposure` is the notional of all positions, an option's that of its underlying, whatever
    its delta; `gross_with_orders` has each instrument's with the orders of one side that make it
    largest; `net_exposure` is delta-equivalent.

    Each `..._error` is the standard deviation over seeds of the figure of its name, which Monte
    Carlo's paths alone cause: `margin_error` that of the margin, with floors, add-ons, worst fills
    and rounding as they were chosen. What has none does not move with the paths.
    `collateral` is what balances count as, after haircuts; with the value of spot and options, and
    the profit and loss of perpetuals and futures since their entry prices, it is the `equity`. That
    is None where no balances were given. `without_entry_price` is the number of perpetual and
    future positions whose profit and loss is not in it, because they have no entry price.
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
    margin_error: float
    maintenance_error: float
    base_error: float
    floor_error: float
    stress_add_on_error: float
    liquidity_error: float
    open_orders_error: float
    wrong_way_error: float
    gross_with_orders: float
    collateral: float
    collateral_error: float
    position_value: float
    unrealised: float
    equity: float | None
    without_entry_price: int
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True)
class OwnerMargin:
    """One owner's margin: that of all of its positions where they are netted, else the sum.

    `equity` is the sum of its accounts', None where no balances were given.
    """

    owner: str
    netting: str
    currency: str
    accounts: int
    margin: float
    maintenance: float
    calm: float
    maintenance_calm: float
    margin_error: float
    maintenance_error: float
    equity: float | None


def account_of(row: Mapping[Any, Any], positions: pd.DataFrame | None) -> AccountMargin:
    """An account's row and positions as an object."""
    fields: dict[str, Any] = dict(row)
    fields["equity"] = None if np.isnan(row["equity"]) else row["equity"]
    for figure in INTERVALS:
        fields[f"{figure}_interval"] = (fields.pop(f"{figure}_low"), fields.pop(f"{figure}_high"))
    held: Any = [] if positions is None else positions.drop(columns="account").to_dict("records")
    return AccountMargin(**fields, contributions=tuple(Contribution(**each) for each in held))


def frames_of(accounts: Sequence[AccountMargin]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Figures and positions of accounts, as `MarginReport` keeps them."""
    rows = []
    for account in accounts:
        row = asdict(account)
        del row["contributions"]
        for figure in INTERVALS:
            row[f"{figure}_low"], row[f"{figure}_high"] = row.pop(f"{figure}_interval")
        rows.append(row)
    positions = [
        {"account": account.account} | asdict(position)
        for account in accounts
        for position in account.contributions
    ]
    columns = ["account", *Contribution.__dataclass_fields__]
    figures = pd.DataFrame(rows)
    if len(figures):
        figures["equity"] = figures["equity"].astype(float)
    numbers = dict.fromkeys(("quantity", "exposure", "contribution"), float)
    return figures, pd.DataFrame(positions, columns=columns).astype(numbers)


def haircut_frame(haircuts: Sequence[Haircut]) -> pd.DataFrame:
    """One row a haircut."""
    return pd.DataFrame(map(asdict, haircuts), columns=list(Haircut.__dataclass_fields__))


def owner_frame(owners: Sequence[OwnerMargin]) -> pd.DataFrame:
    """One row an owner."""
    frame = pd.DataFrame(map(asdict, owners), columns=list(OwnerMargin.__dataclass_fields__))
    return frame.astype({"equity": float})

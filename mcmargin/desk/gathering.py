"""Gathering: from columns of a requirement to the figures of a report, or of one account.

In: a resolved book, its requirement, equity and haircuts. Out: `MarginFigures` with their audit
trail, or for a what-if one `AccountMargin`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.books.accounts import Account
from mcmargin.books.resolved import ResolvedBook
from mcmargin.books.units import Units
from mcmargin.desk.session import Session
from mcmargin.engines.choice import library_versions
from mcmargin.instruments.instruments import Balance
from mcmargin.margins.equity import Equity
from mcmargin.margins.haircuts import Haircut
from mcmargin.margins.horizons import settlement_notes
from mcmargin.margins.requirement import Requirement, Sums
from mcmargin.margins.row_margins import SUMMED
from mcmargin.markets.market import Market
from mcmargin.markets.market_terms import market_terms
from mcmargin.models.model import CalibrationNotes
from mcmargin.reports.account_figures import (
    BOUNDS,
    COLUMNS,
    CONTRIBUTION_KINDS,
    INTERVALS,
    AccountMargin,
    Contribution,
    OwnerMargin,
    haircut_frame,
    owner_frame,
)
from mcmargin.reports.margin_figures import MarginFigures
from mcmargin.scenarios.scenarios import Scenarios
from mcmargin.valuing.valuation import Valuation

OWNER_COLUMNS = ("margin", "maintenance", "calm", "maintenance_calm")
"""Columns of a requirement that an owner has too."""


def gathered(
    resolved: ResolvedBook,
    required: Requirement,
    previous: MarginFigures | None,
    equity: Equity,
    haircuts: Sequence[Haircut],
) -> MarginFigures:
    """Figures by account, position and owner, with the audit trail.

    Parameters
    ----------
    resolved : ResolvedBook
    required : Requirement
        A row for each account of the book, and then for each owner that nets.
    previous : MarginFigures, optional
    equity : Equity
        Of the accounts.
    haircuts : sequence of Haircut
    """
    book, context = resolved.book, required.context
    units, valuation, policy = context.units, context.valuation, context.policy
    scenarios, market = valuation.scenarios, valuation.market
    names = np.array([account.name for account in book.accounts], object)
    return MarginFigures(
        figures=pd.DataFrame(
            {
                "account": names,
                "owner": [account.owner for account in book.accounts],
                "currency": [account.currency for account in book.accounts],
                **{name: required.columns[name][: len(names)] for name in COLUMNS},
                **{each.name: getattr(equity, each.name) for each in fields(equity)},
                **{name: required.columns[name][: len(names)] for name in BOUNDS},
            }
        ),
        positions=_positions(resolved, valuation, required.figures.contributions),
        owners=_owners(book.accounts, units, required, market, equity.equity),
        haircuts=haircut_frame(
            {each.name: [getattr(own, each.name) for own in haircuts] for each in fields(Haircut)}
        ),
        policy=policy,
        plan=scenarios.plan,
        horizons=dict(valuation.horizons),
        engine=scenarios.engine,
        as_of=str(scenarios.as_of),
        market_as_of=str(market.as_of),
        previous_as_of="" if previous is None else previous.as_of,
        market=market_terms(market),
        fingerprints={
            "model": scenarios.model.fingerprint(),
            "book": book.fingerprint(),
            "market": market.fingerprint(),
            "policy": policy.fingerprint(),
        },
        calibration=_notes(valuation),
        floored_paths=scenarios.floored_paths,
        capped_paths=scenarios.capped_paths,
        limited_paths=_limited_paths(scenarios),
        versions=library_versions(scenarios.engine),
    )


def _limited_paths(scenarios: Scenarios) -> dict[str, dict[str, int]]:
    """Limited paths by asset, of these scenarios and of their companions."""
    found = {}
    for name, each in {"": scenarios, **scenarios.companions}.items():
        for limit, paths in each.limited.items():
            if paths:
                found[f"{limit} in {name}" if name else limit] = dict(paths)
    return found


def _notes(valuation: Valuation) -> CalibrationNotes:
    """Notes on the model, after those on settlements at hours at which no bar closes."""
    scenarios, as_of = valuation.scenarios, valuation.market.as_of
    notes = scenarios.model.calibration_notes()
    hours = settlement_notes(
        valuation.instruments, scenarios.closes(as_of), as_of, valuation.horizons
    )
    return replace(notes, doubts=(*hours, *notes.doubts))


def _positions(
    resolved: ResolvedBook, valuation: Valuation, contributions: NDArray[np.float64]
) -> pd.DataFrame:
    """One row a position, and one a balance that moves with the positions, account by account."""
    accounts, quantities = resolved.book.accounts, resolved.quantities
    counts, each = np.diff(quantities.indptr), quantities.indices
    moving, values = _shown(valuation)
    rates = np.array([valuation.market.worth(account.currency) for account in accounts])
    names = np.array([account.name for account in accounts], object)
    return pd.DataFrame(
        {
            "account": np.repeat(names, counts),
            "instrument": np.array([i.name for i in valuation.instruments], object)[each],
            "kind": np.array(CONTRIBUTION_KINDS, object)[moving[each]],
            "quantity": quantities.data,
            "exposure": quantities.data * values[each] / np.repeat(rates, counts),
            "contribution": contributions[: quantities.nnz],
        }
    )


def account_margin(
    after: Session, required: Requirement, before: Mapping[Any, Any], haircut: float
) -> AccountMargin:
    """One account's figures after trades.

    Parameters
    ----------
    after : Session
        Its book has this account alone, after the trades.
    required : Requirement
    before : mapping
        The account's row of the report's figures.
    haircut : float
        Of the cash that trades are paid in; 0 unless that cash is a coin.
    """
    account, book, valuation = after.book.accounts[0], after.book, after.valuation
    row: dict[str, Any] = {name: float(required.columns[name][0]) for name in COLUMNS + BOUNDS}
    rate = valuation.market.worth(account.currency)
    values = valuation.instrument_values.value[: len(book.instruments)]
    value = float((book.quantities @ values)[0]) / rate
    row |= {"collateral": before["collateral"], "equity": None}
    row |= {"collateral_error": before["collateral_error"]}
    row |= {"position_value": value, "unrealised": before["unrealised"]}
    row["without_entry_price"] = before["without_entry_price"]
    if not np.isnan(before["equity"]):
        # What is bought is paid in the account's own cash.
        paid = value - before["position_value"]
        row["collateral"] -= paid * (1.0 - haircut)
        row["equity"] = before["equity"] + paid * haircut
    for figure in INTERVALS:
        row[f"{figure}_interval"] = (row.pop(f"{figure}_low"), row.pop(f"{figure}_high"))
    # No frame: a what-if is asked for many times a second.
    quantities, (moving, values) = after.resolved.quantities, _shown(valuation)
    each = quantities.indices
    contributions = tuple(
        Contribution(
            valuation.instruments[column].name, CONTRIBUTION_KINDS[moving[column]], *numbers
        )
        for column, *numbers in zip(
            each.tolist(),
            quantities.data.tolist(),
            (quantities.data * values[each] / rate).tolist(),
            required.figures.contributions.tolist(),
            strict=True,
        )
    )
    return AccountMargin(
        account.name, account.owner, account.currency, **row, contributions=contributions
    )


def _shown(valuation: Valuation) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each instrument's place in `CONTRIBUTION_KINDS`, and its exposure a unit in a report."""
    moving = np.array([isinstance(item, Balance) for item in valuation.instruments], np.int64)
    values = valuation.instrument_values
    return moving, np.where(moving, values.value, values.exposure)


def _rows_by_owner(accounts: Sequence[Account]) -> dict[str, list[int]]:
    """Places of each owner's accounts, in the order of the owners' names."""
    rows: dict[str, list[int]] = {}
    for row, account in enumerate(accounts):
        rows.setdefault(account.owner, []).append(row)
    return dict(sorted(rows.items()))


def _summed_owners(accounts: Sequence[Account], netted: Sequence[str]) -> dict[str, list[int]]:
    """Places of the accounts of each owner whose margin is the sum of several."""
    rows = _rows_by_owner(accounts)
    return {owner: own for owner, own in rows.items() if len(own) > 1 and owner not in netted}


def sums_of(accounts: Sequence[Account], netted: Sequence[str], market: Market) -> Sums | None:
    """Which accounts' margins are added up for which owner; None if none are.

    Parameters
    ----------
    accounts : sequence of Account
    netted : sequence of str
        Owners that net: their margin is no sum.
    market : Market
        Its rates convert margins into the owner's currency.
    """
    owners = _summed_owners(accounts, netted)
    if not owners:
        return None
    row, owner, weights = [], [], []
    for at, own in enumerate(owners.values()):
        code = _code_of(accounts, own, market)
        for each in own:
            row.append(each)
            owner.append(at)
            weights.append(market.worth(accounts[each].currency) / market.worth(code))
    return Sums(np.array(row), np.array(owner), np.array(weights), len(owners))


def _code_of(accounts: Sequence[Account], rows: Sequence[int], market: Market) -> str:
    """Currency in which several accounts' margins add up: theirs, or the market's for several."""
    codes = {accounts[row].currency for row in rows}
    return codes.pop() if len(codes) == 1 else market.currency


def _owners(
    accounts: Sequence[Account],
    units: Units,
    required: Requirement,
    market: Market,
    equity: NDArray[np.float64],
) -> pd.DataFrame:
    """One row an owner: its own margin if it nets, else the sum of its accounts' margins."""
    netted = {owner: len(accounts) + at for at, owner in enumerate(units.owner)}
    summed = {owner: at for at, owner in enumerate(_summed_owners(accounts, units.owner))}
    table: dict[str, list[Any]] = {name: [] for name in OwnerMargin.__dataclass_fields__}
    for owner, own in _rows_by_owner(accounts).items():
        first = accounts[own[0]]
        # Margins in several currencies add up in the market's, at today's rates.
        code = _code_of(accounts, own, market)
        weights = [market.worth(accounts[row].currency) / market.worth(code) for row in own]
        amounts = {
            name: float(required.columns[name][netted[owner]])
            if owner in netted
            else float(required.columns[name][own] @ weights)
            for name in OWNER_COLUMNS
        }
        for name in SUMMED:
            # Accounts move with the paths together: the error of a sum is no sum of errors.
            if owner in netted or len(own) == 1:
                row = netted.get(owner, own[0])
                error = required.columns[f"{name}_error"][row]
            else:
                error = required.sums[name].error[summed[owner]]
            amounts[f"{name}_error"] = float(error)
        amounts["equity"] = float(equity[own] @ weights)
        whose = {"owner": owner, "netting": first.netting, "currency": code, "accounts": len(own)}
        for name, value in (whose | amounts).items():
            table[name].append(value)
    return owner_frame(table)

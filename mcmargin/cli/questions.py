"""Commands that answer questions about a book: `what-if`, `max-order`, `status` and `greeks`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcmargin.cli.app import app
from mcmargin.cli.inputs import margined, pairs
from mcmargin.cli.options import (
    AccountFile,
    BookOptions,
    ChargeOptions,
    Format,
    Model,
    PlanOptions,
    Positions,
    ResultFormat,
    grouped,
)
from mcmargin.cli.printing import emit, say, show

if TYPE_CHECKING:
    import pandas as pd

    from mcmargin.reports.account_figures import AccountMargin

AccountName = Annotated[str, typer.Option("--account", metavar="NAME", help="Account that trades.")]
NAMED = 20
"""How many accounts of each state `status --fail-on` names."""


@app.command()
@grouped
def what_if(
    model: Model,
    positions: Positions,
    account: AccountName,
    trade: Annotated[
        list[str],
        typer.Option(
            metavar="INSTRUMENT=UNITS",
            help="Units to buy, or to sell where negative, such as BTC-PERP=+3; repeat the "
            "option for more.",
        ),
    ],
    *,
    book: BookOptions,
    charge: ChargeOptions,
    form: ResultFormat = Format.table,
    plan: PlanOptions,
) -> None:
    """Print an account's figures before and after trades, on the same scenarios.

    Amounts are in the account's currency.

    Example: mcmargin what-if model.npz positions.csv --account desk --trade sp500=-2
    """
    from mcmargin.data.tables import parse_number

    asked = pairs("--trade", "BTC-PERP=+3", trade)
    trades = {name: parse_number(size, where=f"--trade {name}") for name, size in asked.items()}
    report = margined(model, positions, book, charge, plan, account=account, traded=trades)
    before, after = report.account(account), report.what_if(account, trades)
    if form is Format.json:
        emit(_json({"trades": trades, "before": asdict(before), "after": asdict(after)}))
        return
    _print(_compared(before, after), form, decimals=2)


@app.command()
@grouped
def max_order(
    model: Model,
    positions: Positions,
    account: AccountName,
    instrument: Annotated[
        str, typer.Option("--instrument", metavar="NAME", help="Instrument to order.")
    ],
    side: Annotated[str, typer.Option(metavar="SIDE", help="buy or sell.")],
    *,
    book: BookOptions,
    equity: Annotated[
        float | None,
        typer.Option(
            metavar="AMOUNT",
            help="Equity that the margin may use, in the account's currency.",
            show_default="the account's, where balances are given",
        ),
    ] = None,
    charge: ChargeOptions,
    form: ResultFormat = Format.table,
    plan: PlanOptions,
) -> None:
    """Print the largest order, in units, that an account's equity permits; inf means any order.

    An order that does not raise the margin is always permitted. In JSON, units are null where any
    order is permitted, and unlimited is true.

    Example: mcmargin max-order model.npz positions.csv --account desk --instrument sp500
    --side buy --equity 1000
    """
    report = margined(model, positions, book, charge, plan, account=account, traded=[instrument])
    units = report.max_order(account, instrument, side=side, equity=equity)
    if form is Format.table:
        show(repr(units))
        return
    answer = {
        "account": account,
        "instrument": instrument,
        "side": side,
        "equity": report.account(account).equity if equity is None else equity,
        "units": units,
        "unlimited": math.isinf(units),
    }
    if form is Format.json:
        emit(_json(_finite(answer)))
        return
    import pandas as pd

    _print(pd.DataFrame([answer]), form, decimals=2)


class FailOn(StrEnum):
    """States at which `status` ends with status 1."""

    call = "call"
    liquidation = "liquidation"


@app.command()
@grouped
def status(
    model: Model,
    positions: Positions,
    *,
    balances: Annotated[
        Path,
        typer.Option(
            "--balances",
            metavar="FILE",
            help="CSV or Parquet: account,asset,amount, the collateral.",
        ),
    ],
    book: BookOptions,
    charge: ChargeOptions,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            "--fail-on",
            metavar="call|liquidation",
            help="End with status 1 if any account, or owner who nets, is called or liquidated "
            "(call), or liquidated (liquidation); their names go to stderr.",
            show_default="status 0 whatever is found",
        ),
    ] = None,
    form: ResultFormat = Format.table,
    plan: PlanOptions,
) -> None:
    """Print each account's equity against its margins: healthy, margin call or liquidation.

    Amounts are in the account's currency. Without a policy's maintenance margin, only an account
    without equity is liquidated. The accounts of an owner who nets are printed each on its own,
    and then the owner, who has one margin for all of them.

    Example: mcmargin status model.npz positions.csv --balances balances.csv --policy policy.toml
    """
    from mcmargin.reports.health import entry_price_note, standings

    report = margined(model, positions, book, charge, plan)
    statuses = report.statuses()
    if form is Format.json:
        emit(_json([_finite(row) for row in statuses.to_dict("records")]))
    else:
        shown = statuses if statuses["without_entry_price"].any() else statuses.iloc[:, :-1]
        _print(shown if form is Format.table else statuses, form, decimals=2)
    standing = standings(report)
    owners = standing[standing["kind"] == "owner"]
    if form is Format.table and len(owners):
        show("")
        _print(owners.drop(columns="kind").rename(columns={"name": "owner"}), form, decimals=2)
    lacking = statuses["without_entry_price"]
    if note := entry_price_note(int(lacking.sum()), int((lacking > 0).sum())):
        say(f"{positions}: {note}.")
    if fail_on is not None and _told(standing, fail_on):
        raise typer.Exit(1)


@app.command()
def greeks(
    instruments: Annotated[
        Path,
        typer.Option("--instruments", metavar="FILE", help="TOML, CSV or Parquet."),
    ],
    market: Annotated[
        Path,
        typer.Option("--market", metavar="FILE", help="TOML: prices, rates and volatilities."),
    ],
    positions: Annotated[
        Path | None,
        typer.Argument(
            metavar="[POSITIONS]",
            help="CSV or Parquet: account,instrument,quantity; negative is short.",
            show_default="one unit of each instrument",
        ),
    ] = None,
    accounts: AccountFile = None,
    form: ResultFormat = Format.table,
) -> None:
    """Print delta, gamma, vega and theta: of one unit of each instrument, or of positions.

    Delta and gamma of one unit are per 1.00 of the spot price, in the instrument's currency. Those
    of positions and accounts are per relative move of the spot price (1 is 100 %), in the account's
    currency, so that they add up. Vega is per 1.00 of volatility, theta per calendar day.

    Example: mcmargin greeks --instruments instruments.toml --market market.toml positions.csv
    """
    from mcmargin.books.book_greeks import greeks_frame, instrument_greeks
    from mcmargin.books.files_of_book import BookFiles, market_of

    if positions is None:
        from mcmargin.instruments.instrument_files import read_instruments

        frame = instrument_greeks(read_instruments(instruments), market_of(market, say))
    else:
        book, priced = BookFiles(positions, instruments, market, accounts).read(tell=say)
        assert priced is not None
        frame = greeks_frame(book, priced)
    if form is Format.json:
        rows = frame.to_dict("records")
        emit(_json([_finite(row) for row in rows]))
        return
    _print(frame, form, decimals=6 if positions is None else 2)


def _told(standing: pd.DataFrame, fail_on: FailOn) -> bool:
    """Say on stderr which accounts and owners are in the states of `fail_on`; return if any is."""
    from mcmargin.reports.health import STATES

    asked = STATES[1:] if fail_on is FailOn.call else STATES[2:]
    found = standing[standing["state"].isin(asked)]
    for state in reversed(asked):
        names = found["name"][found["state"] == state].tolist()
        if names:
            rest = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
            say(f"{state} ({len(names):,}): {', '.join(map(repr, names[:NAMED]))}{rest}")
    return len(found) > 0


def _compared(before: AccountMargin, after: AccountMargin) -> pd.DataFrame:
    """Figures that are single numbers, before and after a trade, with their errors if known."""
    import pandas as pd

    numbers = [each.name for each in fields(before) if each.type == "float"]
    numbers.insert(numbers.index("gross_exposure") + 1, "gross_with_orders")
    rows = [
        (
            name,
            *(getattr(before, each, None) for each in (name, f"{name}_error")),
            *(getattr(after, each, None) for each in (name, f"{name}_error")),
        )
        for name in numbers
        if not name.endswith("_error")
    ]
    columns = ["figure", "before", "before_error", "after", "after_error"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(change=frame["after"] - frame["before"])


def _print(frame: pd.DataFrame, form: Format, *, decimals: int) -> None:
    from mcmargin.names import shown_frame, to_csv_text

    if form is Format.csv:
        emit(to_csv_text(frame))
    else:
        form_of = f"{{:,.{decimals}f}}".format
        show(shown_frame(frame).to_string(index=False, na_rep="", float_format=form_of))


def _finite(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Replace NaN and infinity by None, because JSON has neither."""
    return {
        name: None if isinstance(cell, float) and not math.isfinite(cell) else cell
        for name, cell in row.items()
    }


def _json(content: Any) -> str:
    return f"{json.dumps(content, indent=1, allow_nan=False)}\n"

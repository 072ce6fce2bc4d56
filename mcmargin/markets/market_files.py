"""Market files: a `Market` from a TOML file, and from the quotes and order books beside it.

In: a file whose tables are the market's attributes; a volatility is a number, or names a file of
quotes in the same folder or below it. In the same way an instrument's liquidity names the file of
its order book. Out: a `Market`, or a `DataError` that names the file, the table and the entry (in
a file of quotes or of an order book, the row and the column), and says what to do.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
from pydantic import Discriminator, Field, Tag, ValidationError

from mcmargin.data.bars import years_between
from mcmargin.data.plausibility import Plausibility, plausibility_from
from mcmargin.data.ranges import (
    DAILY_VOLUME,
    OPEN_INTEREST,
    PRICE,
    SHARE,
    SPREAD,
    VOLATILITY,
    VOLATILITY_OR_NONE,
    YEARLY_RATE,
    growth,
)
from mcmargin.data.validation import (
    Flag,
    Number,
    Row,
    Text,
    Time,
    first_fault,
    read_toml,
)
from mcmargin.errors import DataError, PolicyError
from mcmargin.markets.market import Market
from mcmargin.markets.market_parts import Depeg, InstrumentLiquidity
from mcmargin.markets.order_book import read_order_book
from mcmargin.markets.quotes import read_quotes
from mcmargin.markets.surface import VolatilitySurface


class QuotesTable(Row):
    """A surface, instead of one volatility."""

    quotes: Text = Field(
        description="Path of the quotes, CSV or Parquet, relative to the market file's folder and "
        "inside it."
    )
    repair: Flag = Field(
        False,
        description="Change quotes that make an arbitrage, by as little as removes it, and tell "
        "which, instead of refusing them.",
    )


class DepegTable(Row):
    """The jump by which a stablecoin loses its peg."""

    probability: Annotated[Number, SHARE] = Field(
        description="Probability that the jump happens in one bar."
    )
    loss: Annotated[Number, SHARE] = Field(description="Share of its value that the coin loses.")


class LiquidityTable(Row):
    """How much of an instrument can be traded, and at what cost."""

    daily_volume: Annotated[Number, DAILY_VOLUME] | None = Field(
        None,
        description="Units that are traded in a day; without it there is no impact beyond the "
        "order book.",
    )
    spread: Annotated[Number, SPREAD] | None = Field(
        None,
        description="Distance between best bid and ask as a share of the price (0.001 is 10 bp); "
        "by default, the policy's. An order book counts instead of it.",
    )
    levels: Text | None = Field(
        None,
        description="Path of the order book, CSV or Parquet, relative to the market file's folder "
        "and inside it.",
    )


def _kind_of_volatility(value: Any) -> str:
    return "table" if isinstance(value, dict) else "number"


NumberOrQuotes: TypeAlias = Annotated[
    Annotated[Number, VOLATILITY, Tag("number")] | Annotated[QuotesTable, Tag("table")],
    Discriminator(_kind_of_volatility),
]


class MarketFile(Row):
    """A market."""

    as_of: Time = Field(
        description="Time of the prices: an ISO time, in UTC if it has no zone. A date alone is "
        "its midnight."
    )
    currency: Text = Field(
        Market.currency, description="The market's own currency, in which fx is counted."
    )
    spot: dict[Text, Annotated[Number, PRICE]] = Field(
        description="Price of each asset, in the market's currency or the one in quoted."
    )
    fx: dict[Text, Annotated[Number, PRICE]] = Field(
        {}, description="Value of one unit of each other currency, in currency."
    )
    quoted: dict[Text, Text] = Field(
        {},
        description="Currency of an asset's price in spot, if it is not the market's; it needs a "
        "rate in fx.",
    )
    coins: tuple[Text, ...] = Field(
        (),
        description="Currencies of accounts that are coins. Margins in them are computed in the "
        "market's currency and converted at today's price.",
    )
    rates: dict[Text, Annotated[Number, YEARLY_RATE]] = Field(
        {},
        description="Interest of each currency, a year, continuously compounded (0.05 is 5 %); 0 "
        "by default.",
    )
    carry: dict[Text, Annotated[Number, YEARLY_RATE]] = Field(
        {}, description="ln(F/S) a year of each underlying; 0 by default."
    )
    volatility: dict[Text, NumberOrQuotes] = Field(
        {},
        description="Implied volatility of each underlying of options, a year (0.8 is 80 %); or "
        "a table, below.",
    )
    vol_of_vol: dict[Text, Annotated[Number, VOLATILITY_OR_NONE]] = Field(
        {},
        description="Volatility of implied volatility, a year, for underlyings whose volatility is "
        "constant in the model.",
    )
    volatility_asset: dict[Text, Text] = Field(
        {},
        description="Asset of the model whose moves drive an underlying's surface (VIX for the "
        "S&P 500).",
    )
    fx_asset: dict[Text, Text] = Field(
        {}, description="Asset of the model that is a currency's rate."
    )
    fx_volatility: dict[Text, Annotated[Number, VOLATILITY_OR_NONE]] = Field(
        {}, description="Volatility a year of a currency's rate that is not an asset of the model."
    )
    depeg: dict[Text, DepegTable] = Field(
        {}, description="Jumps of stablecoins; each currency has a table, described below."
    )
    liquidity: dict[Text, LiquidityTable] = Field(
        {}, description="Cost of closing out; each instrument has a table, described below."
    )
    open_interest: dict[Text, Annotated[Number, OPEN_INTEREST]] = Field(
        {},
        description="Notional of all open contracts on each underlying, in currency. A policy's "
        "leverage may fall as it grows.",
    )
    plausibility: dict[Text, Number] = Field(
        {},
        description="Limits, other than the usual ones, beyond which the market is refused; see "
        "Plausibility below.",
    )


def read_market(path: str | os.PathLike[str]) -> Market:
    r"""Read a market from TOML; the fields are in docs/files.md.

    If quotes at strikes have no column `forward`, the forward is spot x exp(carry x years) of this
    market. The surface's `repairs` lists the quotes that a repair has moved.

    Parameters
    ----------
    path : path

    Raises
    ------
    DataError
        If a table or entry is unknown, missing, of another type or out of its range, or if quotes
        or an order book cannot be used or are not in the market file's folder.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "market.toml"
    ...     _ = path.write_text("as_of = 2021-01-04\nspot = {btc = 32000}\n")
    ...     read_market(path).price("btc")
    32000.0
    """
    file = _read(path)
    try:
        limits = plausibility_from(file.plausibility, where="[plausibility]")
    except PolicyError as error:
        raise DataError(f"{path}: {error}") from None
    volatility = {
        name: given if isinstance(given, float) else _surface(Path(path), file, name, given, limits)
        for name, given in file.volatility.items()
    }
    depeg = {code: Depeg(jump.probability, jump.loss) for code, jump in file.depeg.items()}
    liquidity = {
        name: _liquidity(Path(path), name, table) for name, table in file.liquidity.items()
    }
    others = {
        name: getattr(file, name)
        for name in MarketFile.model_fields
        if name not in ("volatility", "depeg", "liquidity", "plausibility")
    }
    try:
        return Market(
            volatility=volatility,
            depeg=depeg,
            liquidity=liquidity,
            plausibility=limits,
            **others,
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def files_beside(path: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Paths of the quotes and order books that a market file names.

    The errors are those of `read_market`.
    """
    file = _read(path)
    quotes = (
        _quotes(Path(path), name, given.quotes)
        for name, given in file.volatility.items()
        if isinstance(given, QuotesTable)
    )
    order_books = (
        _order_book(Path(path), name, table.levels)
        for name, table in file.liquidity.items()
        if table.levels is not None
    )
    return (*quotes, *order_books)


def repair_notes(market: Market) -> tuple[str, ...]:
    """Say how each quote was moved that made an arbitrage."""
    return tuple(
        f"volatility of {name!r}: quote of {change.expiry}, "
        + (
            f"log-moneyness {change.log_moneyness:.6g}"
            if np.isnan(change.strike)
            else f"strike {change.strike:.6g}"
        )
        + f", repaired from {change.before:.6g} to {change.after:.6g}"
        for name, given in market.volatility.items()
        if isinstance(given, VolatilitySurface)
        for change in given.repairs
    )


def _read(path: str | os.PathLike[str]) -> MarketFile:
    try:
        return MarketFile.model_validate(read_toml(path))
    except ValidationError as error:
        place, kind, words = first_fault(error)
        if kind == "extra_forbidden":
            tables: dict[str, type[Row]] = {
                "depeg": DepegTable,
                "volatility": QuotesTable,
                "liquidity": LiquidityTable,
            }
            known: type[Row] = MarketFile if len(place) == 1 else tables[str(place[0])]
            words += f"; known are {', '.join(known.model_fields)}"
        raise DataError(f"{path}: {_named(place)}: {words}") from None


def _named(place: tuple[int | str, ...]) -> str:
    """Write a place in the file as TOML does: [volatility] btc.quotes."""
    section, *entry = (str(step) for step in place if step != "[key]")
    if section == "volatility":
        # pydantic also names the kind of entry that it has tried.
        del entry[1:2]
    return f"[{section}] {'.'.join(entry)}" if entry else section


def _surface(
    path: Path, file: MarketFile, name: str, table: QuotesTable, limits: Plausibility
) -> VolatilitySurface:
    source = _quotes(path, name, table.quotes)
    frame = read_quotes(source)
    if "strike" in frame and "forward" not in frame:
        if name not in file.spot:
            raise DataError(
                f"{source}: quotes at strikes need a forward; add a column 'forward', or the "
                f"price of {name!r} to [spot] of {path}"
            )
        years = [years_between(file.as_of, expiry) for expiry in frame["expiry"].to_numpy()]
        carry, what = file.carry.get(name, 0.0), f"{source}: the forward of {name!r}"
        frame["forward"] = [file.spot[name] * growth(carry, each, what) for each in years]
    return VolatilitySurface.from_quotes(
        frame, as_of=file.as_of, repair=table.repair, plausibility=limits, source=str(source)
    )


def _quotes(path: Path, name: str, quotes: str) -> Path:
    return _inside(path, f"[volatility] {name}.quotes", quotes)


def _liquidity(path: Path, name: str, table: LiquidityTable) -> InstrumentLiquidity:
    sides = {} if table.levels is None else read_order_book(_order_book(path, name, table.levels))
    return InstrumentLiquidity(table.daily_volume, table.spread, **sides)


def _order_book(path: Path, name: str, levels: str) -> Path:
    return _inside(path, f"[liquidity] {name}.levels", levels)


def _inside(path: Path, entry: str, named: str) -> Path:
    """Path of a named file in the market file's folder.

    A market file may come from somebody else, and must not open files outside its own folder.
    """
    where = f"{path}: {entry}"
    try:
        folder, target = path.parent.resolve(), (path.parent / named).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{where}: {named!r:.60} is not a path ({error})") from None
    if Path(named).is_absolute() or not target.is_relative_to(folder):
        raise DataError(
            f"{where}: {named!r} leads out of the market file's folder; put the file beside it, "
            "and name it relative to it"
        )
    return path.parent / named

"""What several commands read: a book with its market, a policy, and scenarios for them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcmargin.cli.app import bar
from mcmargin.cli.printing import say
from mcmargin.data.files import check_destination
from mcmargin.errors import DataError, PolicyError

if TYPE_CHECKING:
    from mcmargin.books.book import Book
    from mcmargin.markets.market import Market
    from mcmargin.models.model import MarketModel
    from mcmargin.policies.policy import MarginPolicy
    from mcmargin.reports.margin_report import MarginReport
    from mcmargin.scenarios.scenarios import Scenarios

Positions = Annotated[
    Path,
    typer.Argument(
        metavar="POSITIONS", help="CSV or Parquet: account,instrument,quantity; negative is short."
    ),
]
InstrumentFile = Annotated[
    Path | None,
    typer.Option(
        "--instruments",
        metavar="FILE",
        help="TOML, CSV or Parquet: what the positions' instruments are.",
        show_default="spot of the model's assets",
    ),
]
MarketFile = Annotated[
    Path | None,
    typer.Option(
        "--market",
        metavar="FILE",
        help="TOML: prices, rates and volatilities.",
        show_default="the model's prices",
    ),
]
AccountFile = Annotated[
    Path | None,
    typer.Option(
        "--accounts",
        metavar="FILE",
        help="CSV or Parquet: account,owner,currency,mode,netting.",
        show_default="cross accounts in the market's currency",
    ),
]
OrderFile = Annotated[
    Path | None,
    typer.Option(
        "--orders",
        metavar="FILE",
        help="CSV or Parquet: open orders, in the positions' columns.",
        show_default="none",
    ),
]
BalanceFile = Annotated[
    Path | None,
    typer.Option(
        "--balances",
        metavar="FILE",
        help="CSV or Parquet: account,asset,amount, the collateral.",
        show_default="none, and no equity",
    ),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="TOML: what is charged, in place of --level, --horizon and --product-horizon; "
        "'policy init' writes one.",
        show_default="the expected shortfall",
    ),
]
PreviousFile = Annotated[
    Path | None,
    typer.Option(
        "--previous",
        metavar="REPORT",
        help="JSON of the last report, from which a policy's buffer and speed limit start.",
        show_default="none",
    ),
]
Horizon = Annotated[
    int | None,
    typer.Option(
        metavar="BARS", help="Margin period of risk, in bars of the prices.", show_default="2"
    ),
]
ProductHorizon = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PRODUCT=BARS",
        help="Horizon of spot, perpetual, future or option alone, such as option=5; repeat the "
        "option for more.",
        show_default="the horizon",
    ),
]
Level = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="Confidence level: 0.99 is 99 %.", show_default="0.99"),
]


@dataclass(frozen=True)
class BookFiles:
    """Files that make up a book and its market."""

    positions: Path
    instruments: Path | None
    market: Path | None
    accounts: Path | None
    orders: Path | None
    balances: Path | None

    def check_output(self, output: Path, *others: Path) -> None:
        """Refuse an output that cannot be written, or that is one of these files or others."""
        given = (path for path in vars(self).values() if path is not None)
        check_destination(output, inputs=(*others, *given))
        if self.market is not None:
            from mcmargin.markets.market_files import files_beside

            check_destination(output, inputs=files_beside(self.market))

    def read(self, *, currency: str | None = None) -> tuple[Book, Market | None]:
        """Read all of them, telling what a repair of quotes changed.

        Without a file, accounts and instruments are in `currency`, or else the market's.
        """
        from mcmargin.books.book import read_positions

        instruments = accounts = market = None
        if self.market is not None:
            market = read_market_aloud(self.market)
        if self.instruments is not None:
            from mcmargin.instruments.instrument_files import read_instruments

            instruments = read_instruments(self.instruments)
        if self.accounts is not None:
            from mcmargin.books.book_files import read_accounts

            accounts = read_accounts(self.accounts)
        if currency is None:
            currency = "USD" if market is None else market.currency
        book = read_positions(
            self.positions,
            instruments=instruments,
            accounts=accounts,
            orders=self.orders,
            balances=self.balances,
            currency=currency,
        )
        return book, market


def read_market_aloud(path: Path) -> Market:
    """Read a market, telling on stderr which quotes were repaired."""
    from mcmargin.markets.market_files import read_market, repair_notes

    market = read_market(path)
    for note in repair_notes(market):
        say(f"{path}: {note}")
    return market


def pairs(option: str, example: str, texts: list[str] | None) -> dict[str, str]:
    """NAME=VALUE texts of an option by name, each once."""
    out: dict[str, str] = {}
    for text in texts or []:
        name, equals, value = (part.strip() for part in text.rpartition("="))
        if not (name and equals and value):
            raise DataError(f"{option} {text!r}: a name and a value are needed, such as {example}")
        if name in out:
            raise DataError(f"{option}: {name!r} is given twice; give it once")
        out[name] = value
    return out


def margin_policy(
    file: Path | None,
    level: float | None,
    horizon: int | None,
    product_horizon: list[str] | None,
) -> MarginPolicy:
    """Policy of the file, or else of the options.

    Raises
    ------
    PolicyError
        For options beside a file, whose fingerprint would not be that of what was charged, and a
        file without a horizon, which nothing else here gives.
    """
    from mcmargin.policies.policy import MarginPolicy
    from mcmargin.policies.policy_parts import PRODUCTS

    if file is not None:
        options = {"--level": level, "--horizon": horizon, "--product-horizon": product_horizon}
        for name, given in options.items():
            if given not in (None, []):
                raise PolicyError(f"{name} and --policy: give one of them, or set it in {file}")
        policy = MarginPolicy.from_toml(file)
        if policy.horizon is None:
            raise PolicyError(f"{file}: horizon is missing; give it in bars, such as horizon = 2")
        return policy
    horizons = {}
    for product, bars in pairs("--product-horizon", "option=5", product_horizon).items():
        if product not in PRODUCTS:
            choices = ", ".join(PRODUCTS)
            raise PolicyError(f"--product-horizon {product}: unknown; it is one of {choices}")
        if not (bars.isascii() and bars.isdigit()):
            raise PolicyError(f"--product-horizon {product}: {bars!r} is no whole number of bars")
        horizons[product] = int(bars)
    return MarginPolicy(
        level=0.99 if level is None else level,
        horizon=2 if horizon is None else horizon,
        horizons=horizons,
    )


def read_report(path: Path, *, altered: bool = False) -> MarginReport:
    """Read a report's JSON.

    Parameters
    ----------
    path : Path
    altered : bool
        Whether one that was altered after it was written may pass, as for `verify`.

    Raises
    ------
    ModelFileError
        Where there is none.
    DataError
        Where it was altered.
    """
    from mcmargin.desk.restoring import read_report as read

    return read(path, altered=altered)


def scenarios_of(
    model: MarketModel,
    horizons: tuple[int, ...],
    paths: int,
    seed: int,
    engine: str,
    precision: str,
    policy: MarginPolicy | None = None,
) -> Scenarios:
    """Simulate with a progress bar, for every command that needs scenarios."""
    from mcmargin.scenarios.simulation import simulate

    with bar("Simulating") as progress:
        return simulate(
            model,
            horizons=horizons,
            paths=paths,
            seed=seed,
            policy=policy,
            engine=engine,
            precision=precision,
            progress=progress,
        )


def margined(
    files: BookFiles,
    model: Path,
    policy: MarginPolicy,
    previous: Path | None,
    plan: tuple[int, int, str, str],
    *,
    every: bool,
    account: str | None = None,
    traded: Collection[str] = (),
) -> MarginReport:
    """Margins on fresh scenarios, with progress bars.

    Parameters
    ----------
    plan : tuple
        Paths, seed, engine and precision.
    every : bool
        Whether scenarios must serve every instrument that is known, which a trade may be in, or
        those alone that are held.
    account, traded : str, and collection of str, optional
        An account and instruments that will be asked about.

    Raises
    ------
    DataError
        If the files know no such account or instrument, before anything is simulated.
    """
    from mcmargin import load_model, margin
    from mcmargin.checks import few
    from mcmargin.margins.horizons import horizons_needed

    last = None if previous is None else read_report(previous)
    (book, market), fitted = files.read(), load_model(model)
    accounts = [each.name for each in book.accounts]
    if account is not None and account not in accounts:
        raise DataError(f"account {account!r} is unknown; the book has {few(accounts)}")
    for name in traded:
        if name not in book.known:
            raise DataError(
                f"instrument {name!r} is unknown; add it, or correct the name; there are "
                f"{few(book.known)}"
            )
    items = book.known.values() if every else book.instruments
    horizons = horizons_needed(items, fitted, policy, None if market is None else market.as_of)
    scenarios = scenarios_of(fitted, horizons, *plan, policy)
    with bar("Margining") as progress:
        return margin(book, scenarios, market, policy, previous=last, progress=progress)

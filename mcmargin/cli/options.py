"""The arguments and options that several commands share: their types, help texts and groups.

In: nothing. Out: annotated types for one option each; groups of options, which a command takes as
one value; and `grouped`, which lets typer see the options of a group one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from mcmargin.books.files_of_book import BookFiles

Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Model file that 'calibrate' or 'update' wrote.")
]
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
Paths = Annotated[int, typer.Option(metavar="COUNT", help="Simulated paths.")]
Seed = Annotated[
    int,
    typer.Option(
        metavar="NUMBER", help="Seed of the random stream; one seed gives the same figures again."
    ),
]
Engine = Annotated[str, typer.Option(metavar="NAME", help="auto, numpy or cupy.")]
Precision = Annotated[
    str, typer.Option(metavar="NAME", help="single (float32) or double (float64).")
]


Volatility = Annotated[
    str, typer.Option(metavar="NAME", help="garch, gjr, egarch, ewma or constant.")
]
Innovations = Annotated[
    str, typer.Option(metavar="NAME", help="normal, t, skewt, ged or empirical.")
]
Dependence = Annotated[
    str, typer.Option(metavar="NAME", help="gaussian, t or historical (with empirical only).")
]
FileToStartFrom = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="File to write.", show_default="print it"),
]


class Format(StrEnum):
    """The format in which a result is printed or written."""

    table = "table"
    json = "json"
    csv = "csv"


ResultFormat = Annotated[Format, typer.Option("--format", help="Format of the result.")]
OutputFormat = Annotated[
    Format | None,
    typer.Option("--format", help="Format of the result.", show_default="as FILE ends, or table"),
]


@dataclass(frozen=True)
class BookOptions:
    """Files that describe a book beside its positions."""

    instruments: InstrumentFile = None
    market: MarketFile = None
    accounts: AccountFile = None
    orders: OrderFile = None
    balances: BalanceFile = None

    def with_positions(self, positions: Path) -> BookFiles:
        """All files of the book."""
        from mcmargin.books.files_of_book import BookFiles

        return BookFiles(positions, **vars(self))


@dataclass(frozen=True)
class ChargeOptions:
    """The policy, and the last report, from which a buffer and a speed limit start."""

    policy: PolicyFile = None
    previous: PreviousFile = None


@dataclass(frozen=True)
class PlanOptions:
    """The plan of the simulation, and the policy if no policy file is given."""

    horizon: Horizon = None
    product_horizon: ProductHorizon = None
    level: Level = None
    paths: Paths = 100_000
    seed: Seed = 7
    engine: Engine = "auto"
    precision: Precision = "single"


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose groups of options typer sees as single options.

    A group stands where the command names it. An option that the command also declares itself
    keeps the command's own place and help text, and the group receives its value.

    Parameters
    ----------
    command : callable
        Its parameters are options, or dataclasses of options.

    Examples
    --------
    >>> @grouped
    ... def show(*, name: str, charge: ChargeOptions) -> None:
    ...     print(name, charge.policy, charge.previous)
    >>> list(signature(show).parameters)
    ['name', 'policy', 'previous']
    >>> show(name="desk", policy=Path("policy.toml"), previous=None)
    desk policy.toml None
    """
    hints = get_type_hints(command, include_extras=True)
    own = signature(command).parameters
    groups = {name: hints[name] for name in own if is_dataclass(hints[name])}
    options: dict[str, Parameter] = {}
    for name, parameter in own.items():
        if name not in groups:
            options[name] = parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name])
            continue
        types = get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            if field.name not in own:
                options[field.name] = Parameter(
                    field.name,
                    Parameter.KEYWORD_ONLY,
                    default=Parameter.empty if field.default is MISSING else field.default,
                    annotation=types[field.name],
                )

    @wraps(command)
    def with_groups(**given: Any) -> None:
        arguments = {name: given[name] for name in own if name not in groups}
        for name, group in groups.items():
            arguments[name] = group(**{each.name: given[each.name] for each in fields(group)})
        command(**arguments)

    with_groups.__signature__ = Signature(list(options.values()))  # type: ignore[attr-defined]
    with_groups.__annotations__ = {name: each.annotation for name, each in options.items()}
    return with_groups

"""Groups of options: typer sees the options of a group one by one, each in its place."""

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from mcmargin.cli.options import BookOptions, ChargeOptions, Positions, grouped

SEEN = []
app = typer.Typer()


@app.command()
@grouped
def command(
    positions: Positions,
    *,
    balances: Annotated[Path, typer.Option("--balances")],
    book: BookOptions,
    equity: float = 1.0,
    charge: ChargeOptions,
) -> None:
    """Do something."""
    SEEN.append((positions, balances, book, equity, charge))


@pytest.fixture
def seen():
    SEEN.clear()
    return SEEN


def test_a_group_is_made_of_its_options_and_of_those_that_the_command_declares(seen):
    arguments = ["p.csv", "--balances", "b.csv", "--market", "m.toml", "--policy", "p.toml"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    book = BookOptions(market=Path("m.toml"), balances=Path("b.csv"))
    charge = ChargeOptions(policy=Path("p.toml"))
    assert seen == [(Path("p.csv"), Path("b.csv"), book, 1.0, charge)]


def test_options_stand_where_the_command_names_their_group():
    names = [each.name for each in typer.main.get_command(app).params]
    expected = [
        *("positions", "balances", "instruments", "market", "accounts", "orders"),
        *("equity", "policy", "previous"),
    ]
    assert names[: len(expected)] == expected


def test_an_option_that_the_command_needs_is_needed(seen):
    done = CliRunner().invoke(app, ["p.csv"])
    assert done.exit_code == 2
    assert "--balances" in done.output
    assert seen == []

"""Help of every command: all of its words are shown, and no line is broken too early."""

import re

import pytest
import typer
from typer.testing import CliRunner

from mcmargin.cli.app import app
from tests.helpers.commands import called

ROOT = typer.main.get_command(app)
WIDE = {"COLUMNS": "400", "TERMINAL_WIDTH": "400"}


def commands(group, path=()):
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


COMMANDS = dict(commands(ROOT))


def bare(text):
    """Only the letters and signs of a text, without blanks and without the frames of the help."""
    return re.sub(r"[\s│╭╮╰╯─]", "", text)


@pytest.fixture(params=COMMANDS, ids=lambda path: " ".join(path) or "mcmargin")
def helped(request):
    done = CliRunner().invoke(app, [*request.param, "--help"], env=WIDE)
    assert done.exit_code == 0
    return COMMANDS[request.param], done.output


def test_every_word_is_shown(helped):
    """Words in brackets were once taken for styles, and not shown."""
    command, shown = helped
    assert bare(command.help) in bare(shown)
    for parameter in command.params:
        if text := getattr(parameter, "help", None):
            assert bare(text) in bare(shown), parameter.name


def test_paragraphs_flow(helped):
    """A sentence breaks at the end of the screen, and not at the end of a line of the source."""
    command, shown = helped
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    for paragraph in command.help.split("\n\n"):
        flowing = " ".join(paragraph.split())
        if len(flowing) < 380:
            assert flowing in lines


def test_help_teaches_by_example(monkeypatch, capsys):
    _, text, _ = called(("--help",), monkeypatch, capsys)
    steps = ("calibrate prices.csv", "update model.npz", "margin model.npz", "verify report.json")
    places = [text.index(f"mcmargin {step}") for step in steps]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("command", "texts"),
    [
        ("calibrate", ("--jobs", "one a processor core", "default: gjr")),
        ("update", ("--provisional", "running bar")),
        ("margin", ("BARS", "0.99 is 99 %", "default: 100000", "account,instrument,quantity")),
        ("margin", ("--instruments", "--market", "--accounts", "--orders", "option=5")),
        ("simulate", ("BARS", "default: (2)", "default: 7")),
        ("verify", ("REPORT", "default: auto", "the report's prices")),
        ("what-if", ("BTC-PERP=+3", "--account", "required")),
        ("max-order", ("buy or sell", "--equity", "required")),
        ("greeks", ("--instruments", "required", "one unit of each instrument")),
        ("info", ()),
        ("demo", ()),
    ],
)
def test_help_of_a_command_has_an_example_and_defaults(command, texts, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    status, output, _ = called((command, "--help"), monkeypatch, capsys)
    assert status == 0
    assert f"Example: mcmargin {command}" in output
    for text in texts:
        assert text in output

"""Help of every command: all of its words are on the screen, and no line is broken early."""

import re

import pytest
import typer
from typer.testing import CliRunner

from mcmargin.cli.app import app

ROOT = typer.main.get_command(app)
WIDE = {"COLUMNS": "400", "TERMINAL_WIDTH": "400"}


def commands(group, path=()):
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


COMMANDS = dict(commands(ROOT))


def bare(text):
    """Letters and signs alone: no blanks, and none of the frames of the help."""
    return re.sub(r"[\s│╭╮╰╯─]", "", text)


@pytest.fixture(params=COMMANDS, ids=lambda path: " ".join(path) or "mcmargin")
def helped(request):
    done = CliRunner().invoke(app, [*request.param, "--help"], env=WIDE)
    assert done.exit_code == 0
    return COMMANDS[request.param], done.output


def test_every_word_is_shown(helped):
    """Words in brackets were taken for styles, and swallowed."""
    command, shown = helped
    assert bare(command.help) in bare(shown)
    for parameter in command.params:
        if text := getattr(parameter, "help", None):
            assert bare(text) in bare(shown), parameter.name


def test_paragraphs_flow(helped):
    """A sentence breaks where the screen ends, and not where the source's line did."""
    command, shown = helped
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    for paragraph in command.help.split("\n\n"):
        flowing = " ".join(paragraph.split())
        if len(flowing) < 380:
            assert flowing in lines

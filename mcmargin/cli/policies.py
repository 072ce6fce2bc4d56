"""Commands on policies: `policy check` explains one, and `policy init` writes one."""

from __future__ import annotations

import textwrap
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from mcmargin.cli.app import app
from mcmargin.cli.file_names import FileNamingGroup
from mcmargin.cli.printing import emit, say, show
from mcmargin.data.files import check_destination, write_text
from mcmargin.names import shown

policies = typer.Typer(
    cls=FileNamingGroup, no_args_is_help=True, help="Check a margin policy, or start one."
)
app.add_typer(policies, name="policy")

WIDTH = 100


@policies.command()
def check(
    policy: Annotated[
        Path, typer.Argument(metavar="POLICY", help="TOML; docs/files.md has every field.")
    ],
) -> None:
    """Say in words what a policy does, step by step, or name the field that is wrong.

    Example: mcmargin policy check policy.toml
    """
    from mcmargin.policies.formula import policy_in_words
    from mcmargin.policies.policy import MarginPolicy

    read = MarginPolicy.from_toml(policy)
    show(f"{shown(read.name or policy.name)}, fingerprint {read.fingerprint()}")
    for line in policy_in_words(read):
        show(f"\n{line.name} = {line.formula}" if line.formula else f"\n{line.name}")
        for sentence in line.sentences:
            show(textwrap.fill(sentence, WIDTH, initial_indent="  ", subsequent_indent="    "))


@policies.command()
def init(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File to write.", show_default="print it"
        ),
    ] = None,
) -> None:
    """Write a policy to start from, with every field and a word on each.

    Example: mcmargin policy init -o policy.toml
    """
    text = (files("mcmargin.templates") / "policy.toml").read_text(encoding="utf-8")
    if output is None:
        emit(text)
        return
    check_destination(output, inputs=(output,))
    write_text(output, text)
    say(f"Wrote {output}.")

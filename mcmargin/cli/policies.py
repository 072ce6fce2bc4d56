"""Commands on policies: `policy check` explains one, and `policy init` writes one."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated

import typer

from mcmargin.cli.app import app, write_template
from mcmargin.cli.file_names import FileNamingGroup
from mcmargin.cli.options import FileToStartFrom
from mcmargin.cli.printing import show
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
def init(output: FileToStartFrom = None) -> None:
    """Write a policy to start from, with every field and a word on each.

    Example: mcmargin policy init -o policy.toml
    """
    write_template("policy.toml", output)

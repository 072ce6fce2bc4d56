"""Names of files: errors name the files that they are about, and outputs have sensible names.

In: a command's options. Out: errors from any part of the package, with the names of the files that
they are about. An output is refused if its name ends in a format that the command does not write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from mcmargin.errors import EngineError, McMarginError, PolicyError

SUBJECTS = {
    "model": r"\bmodel\b|\bscenarios\b",
    "warm_start": r"\bwarm start\b",
    "prices": r"\b(assets?|columns?|dates?|bars?|closes?|prices?|history)\b",
    "positions": r"\b(accounts?|book|positions?)\b",
    "instruments": r"\binstruments?\b|\boptions\b",
    "market": r"\bmarket\b|\bfx\b|\bvolatility surface\b",
    "accounts": r"\bowners?\b|\bcurrency\b|\bisolated\b|\bnet(s|ted|ting)?\b",
    "orders": r"\borders?\b",
    "balances": r"\bbalances?\b|\bcollateral\b",
    "policy": r"\bpolicy\b|\bprocyclicality\b|\bstress\b|\bleverage\b",
    "previous": r"\bprevious report\b",
    "margins": r"\bmargin report\b",
    "report": r"\breport\b",
}
"""For each option that names a file, the words by which a message is about that file."""

WRITTEN = {
    "calibrate": (".npz",),
    "update": (".npz",),
    "simulate": (".npz",),
    "margin": (".json", ".csv", ".html", ".parquet"),
    "stress": (".json", ".csv"),
    "why": (".json", ".csv", ".html", ".png"),
    "policy init": (".toml",),
}
"""Endings that each command writes; an ending that is not in PROMISES is always accepted."""

TABLES = ("margin", "stress", "why")
"""Commands that write a table if the ending is not in PROMISES."""

PROMISES = frozenset({
    *(".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".pdf", ".doc", ".docx", ".odt", ".rtf", ".pptx"),
    *(".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".bmp", ".html", ".htm", ".mhtml", ".md"),
    *(".feather", ".arrow", ".orc", ".avro", ".parquet", ".pkl", ".pickle", ".joblib", ".npy"),
    *(".npz", ".h5", ".hdf5", ".nc", ".mat", ".rds", ".rda", ".dta", ".sav", ".sas7bdat"),
    *(".zip", ".gz", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz", ".db", ".sqlite", ".duckdb"),
    *(".xml", ".yaml", ".yml", ".toml", ".ini", ".json", ".jsonl", ".ndjson", ".csv", ".tsv"),
    *(".rst", ".tex", ".ipynb", ".py"),
})  # fmt: skip
"""Endings of names by which a reader expects a certain format."""


class FileNamingGroup(TyperGroup):
    """Commands whose outputs are checked by name, and whose errors name their files."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command, and wrap it in these checks."""
        command = super().get_command(ctx, cmd_name)
        if command is None or isinstance(command, TyperGroup):
            return command
        invoke, name = command.invoke, cmd_name
        if ctx.parent is not None:
            name = f"{ctx.info_name} {cmd_name}"

        def guarded(context: typer.Context) -> Any:
            check_endings(name, context.params)
            try:
                return invoke(context)
            except McMarginError as error:
                raise with_files(error, context.params) from error

        command.invoke = guarded  # type: ignore
        return command


def check_endings(command: str, options: Mapping[str, Any]) -> None:
    """Refuse an output whose name ends in a format that the command does not write.

    Raises
    ------
    McMarginError
        Naming the output, and the endings that it may have.

    Examples
    --------
    >>> check_endings("margin", {"output": Path("report.json"), "html": Path("page.html")})
    >>> check_endings("margin", {"output": Path("report.xlsx")})
    Traceback (most recent call last):
    ...
    mcmargin.errors.McMarginError: report.xlsx: margin writes no .xlsx file; give a name that ends \
in .json, .csv, .html, .parquet or, for a table, .txt (a spreadsheet opens .csv)
    """
    inputs = {each.resolve() for name in SUBJECTS for each in _paths(options.get(name))}
    for option, allowed in (("output", WRITTEN.get(command)), ("html", (".html", ".htm"))):
        path = options.get(option)
        if not isinstance(path, Path) or allowed is None:
            continue
        if str(path) == "-":
            choice = "leave the option out, or " if command in TABLES else ""
            raise McMarginError(
                f"--{option}: '-' is not taken for standard output; {choice}name /dev/stdout"
            )
        ending = path.suffix.lower()
        if ending not in PROMISES or ending in allowed:
            continue
        if path.resolve() in inputs:
            continue  # The command itself refuses to overwrite an input.
        choices = [*allowed] if option == "output" else [".html"]
        told = ", ".join(choices)
        if option == "output" and command in TABLES:
            told += " or, for a table, .txt"
        sheet = ".csv" in choices and ending[:3] in (".xl", ".od", ".ts")
        hint = " (a spreadsheet opens .csv)" if sheet else ""
        raise McMarginError(
            f"{path}: {command} writes no {ending} file; give a name that ends in {told}{hint}"
        )


def with_files(error: McMarginError, options: Mapping[str, Any]) -> McMarginError:
    """The error, with the names of the files that it is about in front of its message.

    An error that already names a file of the command stays as it is, and so does an error that is
    about no file.

    Examples
    --------
    >>> from mcmargin.errors import DataError
    >>> options = {"model": Path("model.npz"), "market": Path("market.toml")}
    >>> print(with_files(DataError("the market has no price of 'eth'"), options))
    market.toml: the market has no price of 'eth'
    >>> print(with_files(DataError("market.toml: no table"), options))
    market.toml: no table
    """
    files = {name: _paths(options.get(name)) for name in SUBJECTS}
    message = str(error)
    given = [str(path) for paths in files.values() for path in paths]
    # A message that begins with an option is about the text that was typed.
    about_option = message.startswith("--")
    if isinstance(error, EngineError) or about_option or any(name in message for name in given):
        return error
    if not files["instruments"]:
        # Without a file of instruments, the positions name them.
        files["instruments"] = files["positions"]
    named: dict[str, None] = {}
    for subject, words in SUBJECTS.items():
        declared = subject == "policy" and isinstance(error, PolicyError)
        if declared or re.search(words, message):
            named |= dict.fromkeys(map(str, files[subject]))
    return type(error)(f"{', '.join(named)}: {message}") if named else error


def _paths(given: Any) -> list[Path]:
    """The files that one option names: none, one or several."""
    several = given if isinstance(given, (list, tuple)) else [given]
    return [path for path in several if isinstance(path, Path)]

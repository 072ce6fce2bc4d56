"""Every block in README.md and docs/files.md works, in order, as it is printed.

A page is played as a reader would play it. The text before a block of csv or toml names a file; the
block is written to this file, or compared with it if an earlier command has written it. The blocks
of python on a page run in one session. The lines of an indented block are commands.
"""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.commands import called

ROOT = Path(__file__).parents[2]
SETS_UP = {"make", "pip"}
"""Programs that set a machine up; they are not run here, because the suite itself needs them."""
OUTLINES = {"json"}
"""Kinds of blocks that show the outline of a file, and are not files themselves."""
FORMULAS = {"base"}
"""First words of indented blocks that are formulas."""


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    before: str


def blocks_of(page):
    """Blocks of a page in order, each with the text between it and the block before."""
    found, last = [], 0
    pattern = r"^```(\w+)\n(.*?)^```$|((?:^ {4,}\S[^\n]*\n)+)"
    for match in re.finditer(pattern, page, flags=re.DOTALL | re.MULTILINE):
        kind, fenced, indented = match.groups()
        found.append(
            Block(kind or "commands", fenced or indented, page[last : match.start()].strip())
        )
        last = match.end()
    return found


def commands_of(text):
    """The words of each command; a backslash continues a line, and # begins a comment."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def play(page, monkeypatch, capsys):
    """Run all blocks of a page in the current folder; return how many of each kind there are."""
    session, counts = {}, {}
    for block in blocks_of(page):
        counts[block.kind] = counts.get(block.kind, 0) + 1
        if block.kind == "python":
            exec(compile(block.text, f"<block of python {counts['python']}>", "exec"), session)
            capsys.readouterr()
        elif block.kind in OUTLINES:
            continue
        elif block.kind == "commands":
            if block.text.split()[0] in FORMULAS:
                continue
            for words in commands_of(block.text):
                _run(words, monkeypatch, capsys)
        else:
            name = re.findall(rf"`(\w+\.{block.kind})`", block.before)[-1]
            _keep(Path(name), block.text)
    return counts


def _keep(path, text):
    if not path.exists():
        path.write_text(text, encoding="utf-8")
        return
    header, *rows = text.splitlines()
    written = path.read_text(encoding="utf-8").splitlines()
    assert (written[0], written[-len(rows) :]) == (header, rows), path


def _run(words, monkeypatch, capsys):
    program, *arguments = words
    if program == "cd":
        (folder,) = arguments
        monkeypatch.chdir(folder)
    elif program == "python":
        subprocess.run([sys.executable, *arguments], check=True)
    elif program == "mcmargin":
        status, _, message = called(arguments, monkeypatch, capsys)
        assert status == 0, (words, message)
    else:
        assert program in SETS_UP, words


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with the examples as they are in a clone."""
    left = shutil.ignore_patterns("prices.csv", "model.npz", "report.*", "*.parquet")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=left)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_prints_what_its_commands_print(checkout, monkeypatch, capsys):
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    counts = play(page, monkeypatch, capsys)
    assert counts["python"] >= 4
    assert counts["commands"] >= 8
    assert (checkout / "examples" / "perpetual" / "today.html").exists()


def test_files_prints_what_its_commands_print(checkout, monkeypatch, capsys):
    """The page shows its commands before its files, and so the files are written first."""
    page = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    folder = checkout / "set"
    folder.mkdir()
    monkeypatch.chdir(folder)
    blocks = blocks_of(page)
    for block in blocks:
        if block.kind in {"csv", "toml"} and "`prices.csv`" not in block.before[-60:]:
            name = re.findall(rf"`(\w+\.{block.kind})`", block.before)[-1]
            assert not Path(name).exists(), name
            _keep(Path(name), block.text)
    counts = play(page, monkeypatch, capsys)
    assert counts["csv"] + counts["toml"] == 12
    assert (folder / "report.html").exists()


def test_makefile_has_the_targets_that_are_named():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"make ([a-z-]+)\b", page)) - {"and"}
    assert named
    for target in named:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_extras_that_are_named():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"'\.\[(\w+)\]'", page)) | set(re.findall(r"extra `(\w+)`", page))
    assert {"report", "notebook"} <= named <= set(extras["project"]["optional-dependencies"])


def test_blocks_are_found():
    page = "`a.csv`:\n\n```csv\na\n1\n```\n\nThen\n\n    mcmargin info\n    make test  # all\n"
    first, second = blocks_of(page)
    assert (first.kind, first.text) == ("csv", "a\n1\n")
    assert commands_of(second.text) == [["mcmargin", "info"], ["make", "test"]]
    assert second.before == "Then"

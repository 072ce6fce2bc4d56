"""One direction: no folder imports from one that stands after it, and no files import in a circle.

Imports inside functions and for types alone count too. The order of the folders stands here, once;
docs/architecture.md shows the same list.
"""

import ast
import re
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mcmargin"

ORDER = (
    *("errors", "names", "audit", "progress", "checks", "workers", "numerics", "data", "draws"),
    *("models", "policies", "engines", "scenarios", "markets", "instruments", "valuing", "books"),
    *("stresses", "margins", "reports", "desk", "demo", "backtests", "jobs", "cli"),
)
"""From the ground up: what stands later may import what stands before."""

FOR_USERS = {"__init__", "__main__"}
"""The package's own table of contents, which nothing inside it reads."""


def modules():
    """Every file of the package by its dotted name without `mcmargin.`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name] = path
    return found


MODULES = modules()


def imports_of(source, names):
    """Modules of the package that a source imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            asked = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            asked = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            asked = ["mcmargin.relative"]
        else:
            continue
        for each in asked:
            if each.partition(".")[0] == "mcmargin":
                found.add(_module(each.split(".")[1:], names))
    return found


def _module(parts, names):
    """The file that a dotted name lies in: a module, a name in one, or a folder's `__init__`."""
    for end in (len(parts), len(parts) - 1):
        dotted = ".".join(parts[:end])
        for name in (dotted, f"{dotted}.__init__".lstrip(".")):
            if name in names:
                return name
    raise AssertionError(f"import of {'.'.join(parts)}, which is not in the package")


IMPORTS = {name: imports_of(path.read_text("utf-8"), MODULES) for name, path in MODULES.items()}


def folder_of(name):
    return name.partition(".")[0]


def upward(imports):
    """Pairs of files of which the first imports from a folder that stands after its own."""
    place = {folder: at for at, folder in enumerate(ORDER)}
    return [
        (name, other)
        for name, others in sorted(imports.items())
        if name not in FOR_USERS
        for other in sorted(others)
        if other in FOR_USERS or place[folder_of(other)] > place[folder_of(name)]
    ]


def circle(imports):
    """A circle of files that import one another, or none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_every_folder_has_its_place():
    assert {folder_of(name) for name in MODULES} - FOR_USERS == set(ORDER)


def test_no_import_runs_upward():
    assert upward(IMPORTS) == []


def test_no_circle_of_files():
    assert circle(IMPORTS) is None


def test_the_document_shows_the_same_order():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = page[page.index("## Folders") :]
    shown = re.findall(r"^\| `([a-z]+)` \|", table, flags=re.MULTILINE)
    assert shown == list(ORDER)


@pytest.mark.parametrize(
    "folder", sorted({folder_of(name) for name in MODULES if "." in name} - {"cli"})
)
def test_a_folder_says_what_is_in_it(folder):
    """A line a module, and a screen in all; the command line's modules are its commands."""
    doc = ast.get_docstring(ast.parse(MODULES[f"{folder}.__init__"].read_text("utf-8")))
    listed = re.findall(r"^(\w+)  +\S", doc, flags=re.MULTILINE)
    own = {name.partition(".")[2] for name in MODULES if folder_of(name) == folder}
    assert sorted(listed) == sorted(own - {"__init__", "__main__"})
    assert "In: " in doc
    assert "Out: " in doc
    assert len(doc.splitlines()) <= 60


@pytest.mark.parametrize(
    "source",
    [
        "import mcmargin.reports.health",
        "from mcmargin.reports.health import standings",
        "from mcmargin.reports import health",
        "def late():\n    from mcmargin.reports import health\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mcmargin.reports.health\n",
    ],
)
def test_every_kind_of_import_is_seen(source):
    found = imports_of(source, MODULES)
    assert found == {"reports.health"}
    assert upward({"models.model": found}) == [("models.model", "reports.health")]


def test_circles_are_seen():
    links = defaultdict(set, {"a.one": {"a.two"}, "a.two": {"a.three"}, "a.three": {"a.one"}})
    assert set(circle(links)) == {"a.one", "a.two", "a.three"}

"""Where tests lie: as the package does, a folder for a folder, and a file for a module.

`tests/books/test_units.py` tests `mcmargin/books/units.py`, and `tests/test_workers.py` tests
`mcmargin/workers.py`. What no single module owns has folders of its own.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS, PACKAGE = ROOT / "tests", ROOT / "mcmargin"

APART = {
    "properties": "what holds for the whole package, whichever module it runs through",
    "reference": "results of others: arch, QuantLib, exact arithmetic",
    "golden": "figures that stay the same from release to release",
    "emulator": "a double of cupy, which runs the kernels on the processor",
    "gpu": "what a GPU alone can show",
    "project": "documents, examples, packaging and the layout of the project",
    "helpers": "what test files share",
    "saved": "files that tests read",
}
"""Folders that mirror none of the package's."""

EXCEPTIONS = {
    "test_one_direction.py": "the imports of all modules",
    "cli/test_help.py": "the help of every command",
    "engines/test_engine_parity.py": "one suite that both engines pass",
    "engines/test_engine_twins.py": "both engines offer the same functions",
    "engines/test_kernels_on_cpu.py": "the CUDA sources, which are no module",
}
"""Files in mirrored folders that no single module owns."""

LONGEST = 520
"""Lines of a file of tests at most."""

FILES = sorted(path for path in TESTS.rglob("*.py") if "__pycache__" not in path.parts)
TEST_FILES = [path for path in FILES if path.name.startswith("test_")]


def inside(path):
    """The path below tests/, as it is written here."""
    return path.relative_to(TESTS).as_posix()


def imports_of(path):
    """Dotted names of the modules that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{inside(path)} imports relative to itself"
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)


def mirrored(path):
    return inside(path).partition("/")[0] not in APART


def test_every_test_file_is_named_after_a_module():
    without = {
        inside(path)
        for path in TEST_FILES
        if mirrored(path)
        and not (PACKAGE / path.relative_to(TESTS)).with_name(path.name[5:]).is_file()
    }
    assert without <= set(EXCEPTIONS), "no module has this name: rename it, or give the reason"


def test_every_exception_is_still_needed():
    assert all((TESTS / name).is_file() for name in EXCEPTIONS if name != "test_one_direction.py")
    modules = {(PACKAGE / name).with_name(Path(name).name[5:]) for name in EXCEPTIONS}
    assert not any(path.is_file() for path in modules)


def test_every_folder_of_the_package_has_tests():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"kernels"}
    empty = {name for name in folders if not any((TESTS / name).glob("test_*.py"))}
    assert not empty, "write the tests of this folder"
    assert {path.name for path in TESTS.iterdir() if path.is_dir()} - {"__pycache__"} <= {
        *folders,
        *APART,
    }


def test_a_folder_of_tests_holds_tests_alone():
    """Helpers lie in tests/helpers; fixtures of a folder in its conftest.py."""
    others = {
        inside(path) for path in FILES if mirrored(path) and not path.name.startswith("test_")
    }
    assert {Path(name).name for name in others} <= {"__init__.py", "conftest.py"}


def test_no_test_file_imports_another():
    shared = ("tests.helpers", "tests.emulator", "tests.gpu.check")
    for path in TEST_FILES:
        ours = {name for name in imports_of(path) if name.startswith("tests.")}
        assert all(name.startswith(shared) for name in ours), inside(path)
        assert not any(".test_" in name for name in ours), inside(path)


def test_helpers_import_no_test_file():
    for path in sorted((TESTS / "helpers").glob("*.py")):
        ours = {name for name in imports_of(path) if name.startswith("tests.")}
        assert all(name.startswith(("tests.helpers", "tests.emulator")) for name in ours), path.name


def test_every_folder_with_python_files_is_a_package():
    """Names repeat: a test_figures.py may lie in two folders."""
    assert {path.parent for path in FILES} == {path.parent for path in TESTS.rglob("__init__.py")}


def test_files_of_tests_are_read_in_one_sitting():
    lines = {inside(path): path.read_text(encoding="utf-8").count("\n") for path in FILES}
    assert not {name for name, count in lines.items() if count > LONGEST}


def test_every_file_of_tests_that_is_named_exists():
    """In documents, comments, the Makefile and the workflows; CHANGELOG tells of the past."""
    sources = [
        *(path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"),
        *(ROOT / "docs").glob("*.md"),
        *TESTS.rglob("*.md"),
        *(ROOT / ".ci").rglob("*"),
        *(PACKAGE).rglob("*.py"),
        *(ROOT / "tools").rglob("*"),
        *(ROOT / "benchmarks").glob("*.py"),
        *(path for path in FILES if path != Path(__file__)),
        ROOT / "Makefile",
        ROOT / "pyproject.toml",
    ]
    found = 0
    for source in sources:
        if source.is_file() and source.suffix != ".pyc":
            text = source.read_text(encoding="utf-8")
            for name in re.findall(r"\btests/[\w/]+\.(?:py|h|md|json|npz)\b", text):
                found += 1
                assert (ROOT / name).is_file(), f"{source.relative_to(ROOT)} names {name}"
    assert found > 10

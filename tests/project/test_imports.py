"""Importing the package loads nothing heavy, and its names are those that type checkers see."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import mcmargin as mm

HEAVY = (
    "numpy",
    "pandas",
    "scipy",
    "pyarrow",
    "arch",
    "cupy",
    "typer",
    "rich",
    "sklearn",
    "pydantic",
    "jinja2",
    "matplotlib",
)


def loaded(statement):
    """The heavy packages that a new interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nprint([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ast.literal_eval(done.stdout.splitlines()[-1])


def test_importing_the_package_loads_no_library():
    assert loaded("import mcmargin") == []


def test_importing_the_command_line_loads_only_its_own():
    assert set(loaded("import mcmargin.cli.commands")) <= {"typer", "rich"}
    assert loaded("import mcmargin.cli") == []


def test_simulating_from_a_saved_model_needs_neither_arch_nor_the_command_line():
    assert set(loaded("from mcmargin import load_model, simulate")).isdisjoint(
        {"arch", "cupy", "typer", "rich", "sklearn", "pydantic", "jinja2", "matplotlib"}
    )


def test_every_name_is_the_one_of_the_module_that_a_type_checker_is_told():
    tree = ast.parse(Path(mm.__file__).read_text(encoding="utf-8"))
    told = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(told) == mm.__all__
    for name, module in told.items():
        assert getattr(mm, name) is getattr(importlib.import_module(module), name)


def test_dir_star_and_unknown_names():
    names = {}
    exec("from mcmargin import *", names)
    assert set(mm.__all__) <= set(names)
    assert set(mm.__all__) <= set(dir(mm))
    with pytest.raises(AttributeError, match="no attribute 'marginal'"):
        _ = mm.marginal


@pytest.mark.parametrize("name", [each for each in mm.__all__ if each.islower()])
def test_every_public_function_has_an_example(name):
    """The test suite runs the examples of docstrings."""
    function = getattr(mm, name)
    assert inspect.isfunction(function)
    assert "\nExamples\n--------\n>>> " in inspect.getdoc(function)

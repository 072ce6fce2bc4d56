"""A wheel holds every module and template, and the kernels, whose folder is at the top level."""

import shutil
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "mcmargin" / "templates"


def test_a_wheel_holds_modules_and_kernels(tmp_path):
    # Build a copy, because setuptools also packs files that an earlier build has left.
    project = tmp_path / "project"
    for name in ("mcmargin", "kernels"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, project], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "mcmargin").rglob("*.py")}
    kernels = {f"mcmargin/kernels/{path.name}" for path in (ROOT / "kernels").glob("*.*")}
    templates = {f"mcmargin/templates/{path.name}" for path in TEMPLATES.iterdir()}
    assert found == modules | kernels | templates | {"mcmargin/py.typed"}


def test_kernels_are_found_where_this_runs():
    installed = files("mcmargin.kernels")
    for path in (ROOT / "kernels").glob("*.cu*"):
        assert (installed / path.name).read_text() == path.read_text()

"""Fixtures of all tests, and which of them a GPU runs.

MCMARGIN_TEST_GPU: 1 puts cupy and a GPU under the `cupy` fixture; `double` keeps the double and
runs tests/gpu on it, in small, to show that these tests themselves are sound.
"""

import importlib
import os
import shutil
from pathlib import Path

import pytest

from tests.emulator.fake_cupy import installed
from tests.emulator.machine import Device, Machine
from tests.helpers.lacking import lacking

ON_A_DEVICE = Path(__file__).parent / "gpu"

# As most machines run Python: what a command writes waits in a buffer.
os.environ.pop("PYTHONUNBUFFERED", None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark `gpu` what a GPU runs where there is one: users of the `cupy` fixture, and tests/gpu."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        # A test that asks for the pretended machine runs on it everywhere.
        if ON_A_DEVICE in item.path.parents or ("cupy" in fixtures and "machine" not in fixtures):
            item.add_marker("gpu")


@pytest.fixture
def machine():
    """Two pretended GPUs, with cupy's double installed: kernels run on the processor."""
    if shutil.which("g++") is None:
        lacking("g++ is not installed: the kernels cannot be compiled for a processor")
    pretended = Machine([Device(), Device()])
    with installed(pretended):
        yield pretended


@pytest.fixture
def cupy(request):
    """cupy's double, or cupy itself where MCMARGIN_TEST_GPU is 1."""
    if os.environ.get("MCMARGIN_TEST_GPU") != "1":
        request.getfixturevalue("machine")
    return importlib.import_module("cupy")

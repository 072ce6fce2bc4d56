"""Fixtures of all tests."""

import importlib
import os
import shutil

import pytest

from tests.emulator.fake_cupy import installed
from tests.emulator.machine import Device, Machine


@pytest.fixture
def machine():
    """Two pretended GPUs, with cupy's double installed: kernels run on the processor."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: the kernels cannot be compiled for a processor")
    pretended = Machine([Device(), Device()])
    with installed(pretended):
        yield pretended


@pytest.fixture
def cupy(request):
    """cupy's double, or cupy itself where MCMARGIN_TEST_GPU is 1."""
    if os.environ.get("MCMARGIN_TEST_GPU") != "1":
        request.getfixturevalue("machine")
    return importlib.import_module("cupy")

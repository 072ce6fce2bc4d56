"""Tests that say something on a GPU alone."""

import os

import pytest


@pytest.fixture(autouse=True)
def on_a_device():
    if "MCMARGIN_TEST_GPU" not in os.environ:
        pytest.skip("for a GPU: make gpu-check, or MCMARGIN_TEST_GPU=1")

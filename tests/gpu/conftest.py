"""Tests in this folder are skipped where there is no GPU, since only a GPU can fail them."""

import os

import pytest


@pytest.fixture(autouse=True)
def on_a_device():
    if "MCMARGIN_TEST_GPU" not in os.environ:
        pytest.skip("for a GPU: make gpu-check, or MCMARGIN_TEST_GPU=1")

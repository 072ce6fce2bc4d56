"""Which engine runs and on which devices: as asked, or as the environment and the machine say."""

import importlib.machinery
import re
import sys

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.engines import cupy_devices
from mcmargin.engines.choice import choose_engine
from mcmargin.scenarios.simulation import simulate
from tests.helpers.books import book_of
from tests.helpers.models import make_model

SETTINGS = {"horizon": 3, "paths": 9000, "seed": 7, "engine": "cupy"}


@pytest.fixture
def model():
    return make_model(("garch", "egarch", "gjr"), "skewt", "t", nu=4.2)


def test_auto_takes_the_gpu_where_there_is_one(machine, monkeypatch):
    assert choose_engine("auto") == "cupy"
    monkeypatch.setenv("MCMARGIN_ENGINE", "numpy")
    assert choose_engine("auto") == "numpy"
    monkeypatch.delenv("MCMARGIN_ENGINE")
    machine.devices.clear()
    assert choose_engine("auto") == "numpy"
    assert cupy_devices.device_names() == []
    with pytest.raises(mm.EngineError, match="no usable CUDA device"):
        choose_engine("cupy")


class Broken:
    """Finds a module that cannot be loaded, and raises the error that cupy raises."""

    def __init__(self, name):
        self.name = name

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == self.name else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        text = "\n=====\nFailed to import CuPy.\n"
        raise ImportError(text) from OSError("libcudart.so.13: no such file")


@pytest.mark.parametrize("broken", ["cupy", "cupy.cublas"])
def test_a_cupy_that_cannot_be_loaded_is_a_reason(machine, monkeypatch, broken):
    """If cupy is of CUDA 13 and the machine has CUDA 12, or has no cuBLAS, auto takes numpy."""
    monkeypatch.delitem(sys.modules, broken, raising=False)
    monkeypatch.delattr(machine.module, "cublas", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(broken), *sys.meta_path])
    assert choose_engine("auto") == "numpy"
    assert cupy_devices.device_names() == []
    reason = r"loaded \(libcudart.so.13: no such file\); install .* extra cuda13 or cuda12"
    with pytest.raises(mm.EngineError, match=reason):
        choose_engine("cupy")


def test_devices_are_named(machine):
    assert len(cupy_devices.device_names()) == 2


def test_reports_name_cupy_and_cuda_where_they_ran(machine):
    """The double calls itself cupy 14.2.0 on CUDA 13.2."""
    book = book_of([("a", "a0", 1.0)])
    given = {}
    for engine in ("cupy", "numpy"):
        scenarios = simulate(make_model(), **SETTINGS | {"engine": engine})
        given[engine] = mm.margin(book, scenarios).versions
    assert given["cupy"] == given["numpy"] | {"cupy": "14.2.0", "cuda": "13.2"}


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ((7,), "device 7 is not here; this machine has 0 to 1"),
        ((-1,), "device -1 is not here"),
        ((True,), "device True is not here"),
        ((0, 0), "devices (0, 0) repeat; give each once"),
        ("01", "devices must be several places of GPUs, such as (0, 1), not '01'"),
        (0, "devices must be several places of GPUs, such as (0, 1), not 0"),
        ((), "devices must be several places of GPUs"),
    ],
)
def test_devices_that_are_not_here(model, machine, devices, message):
    with pytest.raises(mm.EngineError, match=re.escape(message)):
        simulate(model, devices=devices, **SETTINGS)


def test_devices_of_the_environment(model, machine, monkeypatch):
    expected = simulate(model, devices=(0, 1), **SETTINGS)
    launches = len(machine.launches)
    monkeypatch.setenv("MCMARGIN_DEVICES", "0, 1")
    found = simulate(model, **SETTINGS)
    assert {launch.device for launch in machine.launches[launches:]} == {0, 1}
    np.testing.assert_array_equal(found.to_host().returns, expected.to_host().returns)
    monkeypatch.setenv("MCMARGIN_DEVICES", "all")
    with pytest.raises(mm.EngineError, match="MCMARGIN_DEVICES must be places of GPUs"):
        simulate(model, **SETTINGS)

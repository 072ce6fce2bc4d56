"""`make gpu-check` says so if there is no GPU; on the double its tests pass.

The run on the double is that of a bare machine: it has Python, cupy, numpy, scipy, pandas, pytest
and a checkout that is not installed. All other packages are hidden from it.
"""

import json
import re
from pathlib import Path

import pytest

from mcmargin.engines import cupy_devices
from tests.gpu.check import FILES
from tests.helpers.bare_machine import HIDDEN, run_bare

ROOT = Path(__file__).parents[2]


def test_the_check_of_a_bare_machine(machine, tmp_path):
    done = run_bare("tests.gpu.check", "--results", tmp_path, "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "gpu_check.json").read_text())
    assert summary["counts"]["failed"] == 0
    assert {test.partition("::")[0] for test in summary["measured"]} == {"tests/gpu/test_device.py"}
    assert set(summary["skips"].values()) == {
        "the double's memory is the processor's",
        "registers are the device compiler's",
    }
    text = (tmp_path / "gpu_check.md").read_text()
    assert "Pretended GPU, compute capability 9.0" in text
    assert f"{summary['counts']['passed']} passed, 0 failed" in text


def test_a_failure_is_told_and_is_the_exit_status(machine, tmp_path):
    planted = tmp_path / "test_planted.py"
    planted.write_text(
        "import pytest\npytestmark = pytest.mark.gpu\n"
        "def test_planted():\n    raise ValueError('first line\\nthe planted fault')\n"
    )
    done = run_bare("tests.gpu.check", "--results", tmp_path, "-q", "-k", "planted", planted)
    assert done.returncode == 1, done.stdout + done.stderr
    summary = json.loads((tmp_path / "gpu_check.json").read_text())
    assert list(summary["failures"].values()) == ["the planted fault"]
    assert "the planted fault" in (tmp_path / "gpu_check.md").read_text()


@pytest.mark.skipif(cupy_devices.missing() is None, reason="there is a CUDA device")
@pytest.mark.parametrize("module", ["tests.gpu.check", "benchmarks.gpu"])
def test_without_a_gpu_it_says_so(module, tmp_path):
    done = run_bare(module, "--results", tmp_path, gpu=None)
    assert done.returncode == 2
    assert "needs a machine with a CUDA GPU" in done.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "package", "name"),
    [
        ("tests.gpu.check", "pandas", "pandas"),
        ("benchmarks.gpu", "pandas", "pandas"),
        ("tests.gpu.check", "pytest", "pytest"),
        ("benchmarks.gpu", "pytest_benchmark", "pytest-benchmark"),
    ],
)
def test_a_package_that_is_missing_is_named(module, package, name, tmp_path):
    done = run_bare(module, "--results", tmp_path, hidden=(*HIDDEN, package))
    assert done.returncode == 2
    assert re.fullmatch(rf"gpu-\w+: this Python has no {name}; install it\n", done.stderr)
    assert not any(tmp_path.iterdir())


def test_every_file_that_uses_a_device_is_checked():
    """Tests of the double itself, and of the fake machine, do not run on a GPU."""
    uses = re.compile(r"def test_\w+\((?![^)]*\bmachine\b)[^)]*\bcupy\b")
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if uses.search(path.read_text())
    }
    outside = {file for file in files if not file.startswith(FILES)}
    assert outside == {"tests/emulator/test_double.py"}

"""The benchmarks run on small workloads, so that none breaks between two `make bench`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import memory, report
from benchmarks.test_simulation_speed import peak_megabytes

ROOT = Path(__file__).parents[2]
SUITES = re.search(r"\$\(or \$\(ONLY\),([a-z0-9 ]+)\)", (ROOT / "Makefile").read_text())[1].split()
MB = 2**20


def test_make_bench_runs_every_suite():
    """The benchmark of a GPU has a target of its own, and is not among them."""
    files = {path.name for path in (ROOT / "benchmarks").glob("test_*_speed.py")}
    assert {f"test_{name}_speed.py" for name in SUITES} == files - {"test_gpu_speed.py"}


def test_every_benchmark_runs_and_is_reported(tmp_path):
    """Ours and the peers of the extra `test` run; compilers and workers start too slowly."""
    pytest.importorskip("pytest_benchmark")
    raw = tmp_path / "raw.json"
    slow = "numba or pytorch or jax or vollib or (test_ours and (cold-2 or warm-2))"
    # In a worker of pytest-xdist nothing would be timed.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-o", "addopts=--import-mode=importlib"),
            *("-p", "no:cacheprovider", "-p", "no:xdist", "-k", f"not ({slow})"),
            *(f"--benchmark-json={raw}", *(f"benchmarks/test_{name}_speed.py" for name in SUITES)),
        ],
        cwd=ROOT,
        env=environment | {"MCMARGIN_BENCHMARKS": "small"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report.main(raw, tmp_path / "small")
    rows = json.loads((tmp_path / "small.json").read_text())["rows"]
    assert {row["who"] for row in rows} >= {"mcmargin", "plain numpy", "arch", "quantlib"}
    text = (tmp_path / "small.md").read_text()
    for group in ("W1", "GJR", "200 assets", "float32", "B1", "P1"):
        assert f"\n| {group}" in text


def test_a_peak_is_that_of_the_call():
    """The call takes 64 MB; an earlier peak of 256 MB does not count. 8 MB are for all else."""
    np.ones(256 * MB, np.uint8)
    result, megabytes = memory.growth(np.ones, 64 * MB, np.uint8)
    assert len(result) == 64 * MB
    assert abs(megabytes - 64) < 8


def test_a_simulation_takes_its_results_and_some_rooms():
    """W1's results are two float32 arrays of 20 x 100,000, 16 MB; each thread takes 4 MB more."""
    assert 15 <= peak_megabytes("W1", "mcmargin") <= 48

"""`make gpu-bench`: run the benchmarks on the GPU of this machine, and write their report.

They measure the simulation, as a whole beside other libraries and step by step, and Black-76, books
and policies on numpy and on cupy.

    python3 -m benchmarks.gpu [--results FOLDER] [options of pytest]

This needs cupy, numpy, scipy, pandas, pytest, pytest-benchmark and the checkout, which need not be
installed. PyTorch, JAX and numba are compared with if they are installed. Out:
FOLDER/gpu_speed.json and gpu_speed.md, in benchmarks/results by default. The exit status is 0 if
the run is done, 1 if it failed, and 2 if there is no GPU or a package is missing. A target that is
missed is reported, and is not a failure.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.device import NEEDED, NO_DEVICE, absent, cupy_installed, facts, prepare
from benchmarks.report import write

TESTS = [f"benchmarks/test_{name}_speed.py" for name in ("gpu", "black76", "book", "policy")]
RESULTS = Path("benchmarks/results")


class Notes:
    """A plugin of pytest that notes which benchmarks were skipped or failed, and why."""

    def __init__(self):
        self.skipped, self.failed = [], []

    def pytest_runtest_logreport(self, report):
        if report.skipped and isinstance(report.longrepr, tuple):
            self.skipped.append(report.longrepr[2].removeprefix("Skipped: "))
        if report.failed:
            self.failed.append(f"{report.nodeid}: {report.longreprtext.splitlines()[-1]}")


def main(arguments):
    """Run the benchmarks and write their report; return the exit status."""
    prepare()
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.gpu")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options, others = parser.parse_known_args(arguments)
    lacking = absent((*NEEDED, "pytest-benchmark"))
    if lacking:
        print(f"gpu-bench: this Python has no {lacking}; install it", file=sys.stderr)
        return NO_DEVICE
    with cupy_installed() as (cupy, reason), tempfile.TemporaryDirectory() as folder:
        if cupy is None:
            print(f"gpu-bench: {reason}. It needs a machine with a CUDA GPU.", file=sys.stderr)
            return NO_DEVICE
        import pytest

        device, notes, raw = facts(cupy), Notes(), Path(folder) / "raw.json"
        plain = ["-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider", "-q"]
        status = pytest.main([*plain, *TESTS, f"--benchmark-json={raw}", *others], plugins=[notes])
        if not raw.exists() or not raw.stat().st_size:
            print("gpu-bench: nothing was measured", file=sys.stderr)
            return 1
        measured = json.loads(raw.read_text())
    measured |= {"device": device, "skipped": notes.skipped, "failed": notes.failed}
    options.results.mkdir(parents=True, exist_ok=True)
    write(measured, options.results / "gpu_speed", "GPU speed")
    return 0 if status == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Run all tests that a GPU can run, on the GPU of this machine, and write a report.

    python3 -m tests.gpu.check [--results FOLDER] [options of pytest]

It needs cupy, numpy, scipy, pandas and pytest, and the checkout itself, which need not be
installed. It writes gpu_check.json and gpu_check.md into FOLDER, by default benchmarks/results. The
exit status is 0 if all tests passed, 1 if some failed, and 2 if there is no GPU or a package is
missing.
"""

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from benchmarks.device import NEEDED, NO_DEVICE, absent, cupy_installed, facts, prepare

FILES = ("tests/gpu", "tests/engines/test_kernels_on_cpu.py", "tests/engines/test_engine_parity.py")
"""Files with tests marked `gpu`. They import only what every machine with cupy has."""

RESULTS = Path("benchmarks/results")


@dataclass(eq=False)  # pytest hashes its plugins
class Recorder:
    """A plugin of pytest that records the outcomes of tests and what they measured.

    Attributes
    ----------
    outcomes : dict
        For each test, `passed`, `failed` or `skipped`.
    failures, skips : dict
        For each such test, the last line of its failure, or the reason why it was skipped.
    measured : dict
        For each test, the properties that it recorded.
    """

    outcomes: dict = field(default_factory=dict)
    failures: dict = field(default_factory=dict)
    skips: dict = field(default_factory=dict)
    measured: dict = field(default_factory=dict)

    def pytest_runtest_logreport(self, report):
        test = report.nodeid
        if report.failed:
            self._fail(test, report)
        elif report.skipped:
            self.outcomes[test] = "skipped"
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            self.skips[test] = reason.removeprefix("Skipped: ")
        elif report.when == "call":
            self.outcomes.setdefault(test, "passed")
        if report.when == "call" and report.user_properties:
            self.measured[test] = dict(report.user_properties)

    def pytest_collectreport(self, report):
        if report.failed:
            self._fail(report.nodeid, report)

    def _fail(self, test, report):
        self.outcomes[test] = "failed"
        crash = getattr(report.longrepr, "reprcrash", None)
        text = crash.message if crash else report.longreprtext
        lines = [line for line in text.splitlines() if line.strip()]
        self.failures[test] = lines[-1].strip() if lines else ""


def summarise(recorder, device, status, seconds):
    """Return what is written about a run."""
    counts = Counter(recorder.outcomes.values())
    return {
        "date": date.today().isoformat(),
        "device": device,
        "pytest_status": int(status),
        "seconds": round(seconds, 1),
        "counts": {name: counts[name] for name in ("passed", "failed", "skipped")},
        "failures": recorder.failures,
        "skips": recorder.skips,
        "measured": recorder.measured,
    }


def table(summary):
    """Return a summary as Markdown."""
    device, counts = summary["device"], summary["counts"]
    lines = [
        "# GPU check",
        "",
        f"{summary['date']}, {device['name']}, compute capability {device['compute_capability']}, "
        f"{device['memory_GB']} GB, CUDA driver {device['driver']}, runtime {device['runtime']}, "
        f"cupy {device['cupy']}, numpy {device['numpy']}, Python {device['python']}.",
        "",
        f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped "
        f"in {summary['seconds']} s.",
        *_section("Failures", summary["failures"]),
        *_section("Skipped", summary["skips"]),
        "",
        "## Measured",
        "",
        "| test | what | value |",
        "|---|---|---|",
    ]
    for test, found in summary["measured"].items():
        lines += [f"| {_short(test)} | {_cell(name)} | {_value(found[name])} |" for name in found]
    return "\n".join(lines) + "\n"


def _section(title, reasons):
    if not reasons:
        return []
    rows = [f"- {_short(test)}: {reason}" for test, reason in reasons.items()]
    return ["", f"## {title}", "", *rows]


def _short(test):
    return _cell(test.rpartition("/")[2])


def _cell(text):
    return text.replace("|", "\\|")


def _value(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main(arguments):
    """Run the tests, write the report, and return the exit status."""
    prepare()
    parser = argparse.ArgumentParser(prog="python3 -m tests.gpu.check")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options, others = parser.parse_known_args(arguments)
    lacking = absent(NEEDED)
    if lacking:
        print(f"gpu-check: this Python has no {lacking}; install it", file=sys.stderr)
        return NO_DEVICE
    with cupy_installed() as (cupy, reason):
        if cupy is None:
            print(f"gpu-check: {reason}. It needs a machine with a CUDA GPU.", file=sys.stderr)
            return NO_DEVICE
        import pytest

        device, recorder, start = facts(cupy), Recorder(), time.perf_counter()
        chosen = ["-m", "gpu", "-p", "no:cacheprovider", *FILES, *others]
        status = pytest.main(chosen, plugins=[recorder])
        summary = summarise(recorder, device, status, time.perf_counter() - start)
    options.results.mkdir(parents=True, exist_ok=True)
    kept = options.results / "gpu_check"
    kept.with_suffix(".json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    kept.with_suffix(".md").write_text(table(summary))
    print(table(summary))
    return 0 if status == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

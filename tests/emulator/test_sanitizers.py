"""The tests of the kernels again, under AddressSanitizer and UndefinedBehaviorSanitizer.

The sanitizers must be the first library of a process. So each test starts a process, in which
libasan is loaded before Python. Device arrays are arrays of numpy, which takes exactly the bytes of
an array from malloc. So the sanitizers find an access to one element too many.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.emulator.raw_module import SANITIZE
from tests.helpers.lacking import lacking

ROOT = Path(__file__).parents[2]
TESTS = "tests/engines/test_kernels_on_cpu.py"

RUN = """
import sys
import pytest
from mcmargin.engines import cupy_kernels

file, sound, broken, *chosen = sys.argv[1:]
source_of = cupy_kernels.source_of

def planted(name):
    source = source_of(name)
    if name == file:
        assert source.count(sound) == 1, f"{file} has no such line any more: {sound}"
    return source.replace(sound, broken) if name == file else source

cupy_kernels.source_of = planted
sys.exit(pytest.main(["-q", "-s", "-x", "-p", "no:cacheprovider", *chosen]))
"""


def run_sanitized(*arguments):
    """Run the tests of the kernels under the sanitizers, with one line of a source replaced."""
    library = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(library).is_absolute():
        lacking("g++ has no libasan")
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        SANITIZE: "1",
    }
    return subprocess.run(
        [sys.executable, "-c", RUN, *arguments, TESTS],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_no_kernel_leaves_its_arrays(machine):
    done = run_sanitized("", "", "")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout and "skipped" not in done.stdout


PLANTED = {
    "one element beyond what is written": (
        *("shared_draws.cu", "out[row.first + i] = int(", "out[row.first + i + 1] = int("),
        *("test_dates_are_exactly", "heap-buffer-overflow"),
    ),
    "a row beyond what is read": (
        *("evolve.cu", "(x < 0 ? 0 : TAIL_INTERVALS + 1)", "(x < 0 ? 0 : 2 * TAIL_INTERVALS + 2)"),
        *("test_evolve_of_drawn_shocks", "heap-buffer-overflow"),
    ),
    "a null pointer": (
        *("evolve.cu", "if (mixing) drawn[i] *=", "drawn[i] *="),
        *("test_evolve_at_the_edges", "null pointer"),
    ),
    "a vector store that is not aligned": (
        *("normals.cu", "TILE_PATHS + 4 * quad", "TILE_PATHS + 4 * quad - 1"),
        *("test_normals_are_those", "misaligned address"),
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(machine, fault):
    file, sound, broken, test, message = PLANTED[fault]
    done = run_sanitized(file, sound, broken, "-k", test)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr

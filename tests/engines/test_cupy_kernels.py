"""NVIDIA's compilers accept all kernels for all architectures, with the registers expected.

No GPU is needed. NVRTC makes the machine code that cupy would load, with the options that cupy 14.2
adds, and reports the registers, stack and spills of each kernel. nvcc does the same, where it is
installed.
"""

import re
import shutil
import subprocess
import sys

import pytest

from mcmargin.engines.cupy_kernels import NAME_EXPRESSIONS, OPTIONS, source_of
from tests.helpers.kernels import REGISTERS
from tests.helpers.lacking import lacking

ARCHITECTURES = (75, 80, 86, 90, 100, 120)
CUPYS_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")


FILES = pytest.mark.parametrize("file", NAME_EXPRESSIONS)


def compile_with_nvrtc(source, names, architecture):
    """Return whether NVRTC accepts a source, and its log."""
    if sys.platform != "linux":
        pytest.skip("NVRTC comes with the tests' requirements on x86-64 Linux alone")
    try:
        from cuda.bindings import nvrtc
    except ImportError:
        lacking("cuda-bindings is not installed")
    options = (*OPTIONS, *CUPYS_OPTIONS, f"-arch=sm_{architecture}", "--ptxas-options=-v")
    status, program = nvrtc.nvrtcCreateProgram(source.encode(), b"joined.cu", 0, [], [])
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS
    for name in names:
        nvrtc.nvrtcAddNameExpression(program, name.encode())
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    log = bytes(nvrtc.nvrtcGetProgramLogSize(program)[1])
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(program)
    return status == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.rstrip(b"\0").decode()


def resources(log):
    """Return the registers of each kernel that ptxas reports, and the bytes of stack and spills."""
    if shutil.which("c++filt") is None:
        lacking("c++filt is not installed: the kernels' names cannot be read")
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        mangled = part.partition("'")[0]
        plain = subprocess.run(["c++filt", mangled], capture_output=True, text=True).stdout
        name = plain.removeprefix("void ").partition("(")[0]
        registers = int(re.search(r"Used (\d+) registers", part)[1])
        # The first of these lines is about the kernel, the others are about functions it calls.
        own = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes", part)
        found[name] = (registers, sum(int(size) for size in own.groups()))
    return found


def assert_within_limits(file, log):
    found = resources(log)
    assert set(found) == set(NAME_EXPRESSIONS[file])
    for name, (registers, local) in found.items():
        assert registers <= REGISTERS[name], name
        assert local == 0, f"{name} keeps {local} bytes in local memory"


def test_every_instantiation_has_a_limit():
    assert set(REGISTERS) == {name for names in NAME_EXPRESSIONS.values() for name in names}


@FILES
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvrtc_compiles_every_kernel_within_its_registers(file, architecture):
    compiled, log = compile_with_nvrtc(source_of(file), NAME_EXPRESSIONS[file], architecture)
    assert compiled, log
    assert "warning" not in log, log
    assert_within_limits(file, log)


def test_nvrtc_finds_what_only_an_instantiation_shows():
    """The error names the kernel file and its line."""
    source = source_of("evolve.cu")
    before = source.partition('"kernels/evolve.cu"\n')[2].partition("sqrt(h)")[0]
    planted = source.replace("sqrt(h)", "root(h)")
    compiled, log = compile_with_nvrtc(planted, NAME_EXPRESSIONS["evolve.cu"], 90)
    assert not compiled
    line = 1 + before.count("\n")
    assert f'kernels/evolve.cu({line}): error: identifier "root" is undefined' in log


@FILES
def test_nvcc_compiles_every_kernel(file, tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    source = tmp_path / file
    # The address of a kernel instantiates its template.
    kept = ", ".join(f"(void*)&{name}" for name in NAME_EXPRESSIONS[file])
    source.write_text(f"{source_of(file)}void* const kept[] = {{{kept}}};\n")
    command = [
        *("nvcc", *OPTIONS, "-ftz=true", "-arch=sm_90", "-cubin", "--resource-usage"),
        *("-o", str(tmp_path / "kernels.cubin"), str(source)),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    assert "warning" not in log, log
    assert_within_limits(file, log)

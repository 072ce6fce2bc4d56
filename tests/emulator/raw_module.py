"""cupy.RawModule and RawKernel on a processor: g++ compiles the .cu source.

In: CUDA source, options and name expressions, as cupy takes them. Out: kernels that run as loops
over blocks and threads. Some arguments cupy would pass on wrongly without an error: a Python
number, an array of another dtype, a view with gaps. They raise TypeError here, and the message
names the kernel, the position and the type of the parameter.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import itertools
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from tests.emulator.device_array import ndarray
from tests.emulator.machine import Launch, Machine

HEADER = Path(__file__).with_name("cuda_on_cpu.h")
WARNINGS = (
    *("-Wall", "-Wextra", "-Wshadow", "-Wdouble-promotion", "-Wfloat-conversion", "-Werror"),
    "-Wno-unknown-pragmas",  # unroll
)
FLAGS = ("-O2", "-g1", "-shared", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", *WARNINGS)
SANITIZERS = ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
SANITIZE = "MCMARGIN_SANITIZE_KERNELS"
"""If this environment variable is 1, kernels are built with sanitizers; libasan must be loaded."""

DTYPES = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "unsigned int": np.uint32,
    "long long": np.int64,
    "unsigned long long": np.uint64,
    "unsigned char": np.uint8,
}
LARGEST_GRID = (2**31 - 1, 65_535, 65_535)
LARGEST_BLOCK = (1024, 1024, 64)
LARGEST_BLOCK_THREADS = 1024


class CompileException(Exception):
    """The error cupy.cuda.compiler.CompileException, with the log of the compiler."""

    __module__ = "cupy.cuda.compiler"


class RawModule:
    """cupy.RawModule, made of source code with name expressions."""

    def __init__(
        self,
        machine: Machine,
        *,
        code: str,
        options: tuple[str, ...] = (),
        name_expressions: tuple[str, ...],
    ) -> None:
        if not isinstance(options, tuple):
            raise TypeError("Argument 'options' has incorrect type (expected tuple)")
        self._machine, self._code, self._options = machine, code, options
        self._names = tuple(name_expressions)

    def get_function(self, name: str) -> RawKernel:
        """Return one instantiation, compiled on first use, as in cupy."""
        if name not in self._names:
            raise KeyError(f"{name!r} is not one of the name expressions {self._names}")
        if not self._machine.devices:
            self._machine.allocate(0)
        library = load(self._code, self._options, self._names)
        return RawKernel(self._machine, library, self._names.index(name), name)


class RawKernel:
    """cupy.RawKernel; it is called with a grid, a block and the arguments, which are tuples."""

    def __init__(self, machine: Machine, library: ctypes.CDLL, number: int, name: str) -> None:
        self._machine, self.name = machine, name
        self._launch = getattr(library, f"launch_{number}")
        names = getattr(library, f"parameters_{number}")
        names.restype = ctypes.POINTER(ctypes.c_char_p)
        self.parameters = tuple(
            text.decode() for text in itertools.takewhile(lambda text: text is not None, names())
        )

    def __call__(self, grid, block, args, *, shared_mem=0, stream=None) -> None:
        if shared_mem:
            raise ValueError(f"{self.name}: the double has no shared memory")
        if len(args) != len(self.parameters):
            raise TypeError(
                f"{self.name}: takes {len(self.parameters)} arguments, but {len(args)} were given"
            )
        grid, block = (
            self._sizes("grid", grid, LARGEST_GRID),
            self._sizes("block", block, LARGEST_BLOCK),
        )
        if np.prod(block) > LARGEST_BLOCK_THREADS:
            raise ValueError(f"{self.name}: a block of {block} has over 1,024 threads")
        # The list keeps the values alive; the call gets only their addresses.
        values = [
            self._value(at, kind, argument)
            for at, (kind, argument) in enumerate(zip(self.parameters, args, strict=True))
        ]
        addresses = (ctypes.c_void_p * len(values))(*(each.ctypes.data for each in values))
        triple = ctypes.c_uint * 3
        self._machine.launches.append(Launch(self.name, self._machine.current, grid, block))
        self._launch(triple(*grid), triple(*block), addresses)

    def _sizes(self, what: str, sizes, largest: tuple[int, ...]) -> tuple[int, ...]:
        if not isinstance(sizes, tuple) or not 1 <= len(sizes) <= 3:
            raise TypeError(f"{self.name}: the {what} must be a tuple of one to three sizes")
        full = (*sizes, 1, 1)[:3]
        # cupy turns a 0 into a 1, and the kernel would write to memory that is not there.
        if any(not 1 <= size <= most for size, most in zip(full, largest, strict=True)):
            raise ValueError(f"{self.name}: {what} {sizes} is beyond 1 to {largest}")
        return tuple(int(size) for size in full)

    def _value(self, at: int, kind: str, argument) -> np.ndarray:
        """Return the bytes of an argument, as the kernel reads them."""
        where = f"{self.name}, argument {at} ({kind})"
        if not kind.endswith("*"):
            if type(argument) is not DTYPES[kind]:
                raise TypeError(f"{where}: needs {DTYPES[kind].__name__}, not {_told(argument)}")
            return np.array(argument)
        dtype = np.dtype(DTYPES[kind.removeprefix("const ").removesuffix("*")])
        if argument is None or (type(argument) is np.uintp and argument == 0):
            return np.zeros(1, np.uintp)
        if not isinstance(argument, ndarray):
            raise TypeError(f"{where}: needs a device array, not {_told(argument)}")
        allowed = {dtype, np.dtype(bool)} if dtype == np.uint8 else {dtype}
        if argument.dtype not in allowed:
            raise TypeError(f"{where}: needs {dtype}, not {argument.dtype}")
        if not argument.flags.c_contiguous:
            raise TypeError(f"{where}: a kernel ignores strides; the array is not C-contiguous")
        argument.check_device()
        return np.array(argument.address, np.uintp)


def _told(argument) -> str:
    return f"{type(argument).__module__}.{type(argument).__qualname__}"


def load(code: str, options: tuple[str, ...], names: tuple[str, ...]) -> ctypes.CDLL:
    """Compile a source, unless it is compiled already, and load it."""
    return _load(code, options, names, os.environ.get(SANITIZE) == "1")


@functools.cache
def _load(
    code: str, options: tuple[str, ...], names: tuple[str, ...], sanitize: bool
) -> ctypes.CDLL:
    other = [each for each in options if not each.startswith(("-std=", "-D"))]
    if other:
        raise ValueError(f"the double does not know the options {other}")
    flags = (*options, *FLAGS, *(SANITIZERS if sanitize else ()))
    source = _source(code, names)
    key = hashlib.sha256("\0".join([*flags, HEADER.read_text(), source]).encode()).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"mcmargin-kernels-on-cpu-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{key}.so"
    # If several workers need the same kernels, they wait for the first one.
    with open(folder / f"{key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            _compile(source, flags, library)
    return ctypes.CDLL(str(library))


def _source(code: str, names: tuple[str, ...]) -> str:
    """Return the header, the kernels, and a trampoline for each name expression."""
    visible = 'extern "C" __attribute__((visibility("default")))'
    trampolines = "".join(
        f"{visible} const char* const* parameters_{at}() {{\n"
        f"    return cuda_on_cpu::parameters(&{name});\n}}\n"
        f"{visible} void launch_{at}(const unsigned int* grid, const unsigned int* block,\n"
        f"                           void* const* arguments) {{\n"
        f"    cuda_on_cpu::launch(&{name}, grid, block, arguments);\n}}\n"
        for at, name in enumerate(names)
    )
    return f'#include "{HEADER.name}"\n{code}\n#line 1 "trampolines"\n{trampolines}'


def _compile(source: str, flags: tuple[str, ...], library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        unfinished = Path(folder) / library.name
        command = ["g++", *flags, f"-I{HEADER.parent}", "-xc++", "-", "-o", str(unfinished)]
        done = subprocess.run(command, input=source, capture_output=True, text=True)
        if done.returncode:
            raise CompileException(done.stderr)
        unfinished.rename(library)

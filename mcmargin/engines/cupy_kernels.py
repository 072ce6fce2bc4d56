"""The sources of the CUDA kernels, compiled through cupy on first use, and the launches.

In: a kernel file, an instantiation of a kernel, and the arguments under the names that the source
gives to the kernel's parameters. Out: the kernel is launched on the current device. The source
alone says which parameters a kernel takes, in which order and of which types; `launch` reads it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np

NAME_EXPRESSIONS: dict[str, tuple[str, ...]] = {
    "normals.cu": ("normals<float>", "normals<double>"),
    "shared_draws.cu": ("mixing<float>", "mixing<double>", "dates", "jumps"),
    "evolve.cu": ("evolve<float, 0>", "evolve<float, 1>", "evolve<double, 0>", "evolve<double, 1>"),
}
"""Every instantiation of every kernel file; a template that is not named is never compiled."""

OPTIONS = ("-std=c++17",)

NULL = np.uintp(0)
"""What a kernel takes for an array that is not there."""

SCALARS: dict[str, Any] = {
    "int": np.int32,
    "i64": np.int64,
    "u64": np.uint64,
    "float": np.float32,
    "double": np.float64,
}
"""Types of parameters that are no pointers, by their names in the sources."""


def kernel_folder() -> Traversable:
    """Return the folder of the CUDA sources.

    In an installed package it is `mcmargin.kernels`; in a checkout that is not installed, it is the
    folder `kernels` beside `mcmargin`.
    """
    try:
        return files("mcmargin.kernels")
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "kernels"


def source_of(file: str) -> str:
    """Return common.cuh and one kernel file as one source, so that errors name file and line.

    cupy's cache of compiled kernels knows the source, but not the headers that it includes. So the
    header is joined to the source.
    """
    folder = kernel_folder()
    parts = ("common.cuh", file)
    return "".join(f'#line 1 "kernels/{part}"\n{(folder / part).read_text()}\n' for part in parts)


@functools.cache
def parameters_of(file: str, name: str) -> Mapping[str, str]:
    """Return the types of a kernel's parameters by their names, in the order of the source.

    Examples
    --------
    >>> parameters = parameters_of("normals.cu", "normals<float>")
    >>> parameters["out"], parameters["key0"], parameters["steps"]
    ('float*', 'u64', 'int')
    """
    kernel_name, _, template = name.partition("<")
    found = re.search(rf"__global__ void {kernel_name}\(([^)]*)\)", source_of(file))
    assert found is not None, name
    listed = found[1].replace("__restrict__ ", "").replace("const ", "")
    listed = re.sub(r"\bT\b", template.partition(",")[0].rstrip(">"), listed)
    declared = (each.rpartition(" ") for each in listed.split(","))
    return {parameter: kind.strip() for kind, _, parameter in declared}


@functools.cache
def members_of(file: str, struct: str) -> tuple[str, ...]:
    """Return the names of a struct's members, which are of one type, in their order in memory.

    Examples
    --------
    >>> members_of("evolve.cu", "Asset")[:2]
    ('omega', 'alpha')
    """
    found = re.search(rf"struct {struct} {{\s*T ([^;]*);\s*}}", source_of(file))
    assert found is not None, struct
    return tuple(each.strip() for each in found[1].split(","))


def launch(file: str, name: str, grid: tuple[int, ...], threads: int, **arguments: Any) -> None:
    """Launch a kernel.

    Parameters
    ----------
    file, name : str
        Kernel file and instantiation, as in `NAME_EXPRESSIONS`.
    grid : tuple of int
        Thread blocks in up to three dimensions.
    threads : int
        Threads of each block.
    **arguments : cupy.ndarray, int, float or None
        All parameters of the kernel by their names: numbers, which are converted to the type of
        their parameter; arrays, which must be of it; None for an array that is not there.

    Raises
    ------
    TypeError
        If a parameter is missing, or the kernel has no parameter of a name.
    """
    parameters = parameters_of(file, name)
    if arguments.keys() != parameters.keys():
        wrong = ", ".join(sorted(arguments.keys() ^ parameters.keys()))
        raise TypeError(f"{name}: missing parameters, or unknown ones: {wrong}")
    values = (_passed(arguments[each], kind) for each, kind in parameters.items())
    kernel(file, name)(grid, (threads,), tuple(values))


def _passed(value: Any, kind: str) -> Any:
    """Convert an argument to what cupy passes on as it is."""
    if kind.endswith("*"):
        return NULL if value is None else value
    return SCALARS[kind](value)


def kernel(file: str, name: str) -> Any:
    """Return one instantiation of a kernel.

    cupy compiles it once in a process, and keeps the result on disk for later ones.
    """
    import cupy

    return _kernel(cupy, file, name)


@functools.cache
def _kernel(cupy: Any, file: str, name: str) -> Any:
    return _module(cupy, file).get_function(name)


@functools.cache
def _module(cupy: Any, file: str) -> Any:
    return cupy.RawModule(
        code=source_of(file), options=OPTIONS, name_expressions=NAME_EXPRESSIONS[file]
    )

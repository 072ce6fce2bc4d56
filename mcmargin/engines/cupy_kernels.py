"""The CUDA sources and their instantiations, compiled through cupy on first use."""

from __future__ import annotations

import functools
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

NAME_EXPRESSIONS: dict[str, tuple[str, ...]] = {
    "normals.cu": ("normals<float>", "normals<double>"),
    "shared_draws.cu": ("mixing<float>", "mixing<double>", "dates", "jumps"),
    "evolve.cu": ("evolve<float, 0>", "evolve<float, 1>", "evolve<double, 0>", "evolve<double, 1>"),
}
"""Every instantiation of every kernel file; a template that is not named is never compiled."""

OPTIONS = ("-std=c++17",)


def kernel_folder() -> Traversable:
    """Return the folder of the CUDA sources.

    Installed it is the package `mcmargin.kernels`; run from a checkout that is not installed, the
    folder `kernels` beside `mcmargin`.
    """
    try:
        return files("mcmargin.kernels")
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "kernels"


def source_of(file: str) -> str:
    """Return common.cuh and one kernel file as one source, errors naming their file and line.

    cupy's cache keys on the source and not on included headers, so the header is joined in.
    """
    folder = kernel_folder()
    parts = ("common.cuh", file)
    return "".join(f'#line 1 "kernels/{part}"\n{(folder / part).read_text()}\n' for part in parts)


def kernel(file: str, name: str) -> Any:
    """Return one instantiation; cupy compiles it once a process, and caches it on disk."""
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

"""Count the machine instructions of the kernels, as NVIDIA's compiler makes them for an H100.

    python -m tools.sass_counts

This needs nvcc, and nvdisasm (from PyPI's nvidia-cuda-nvdisasm or from the CUDA toolkit). Out:
docs/gpu_instructions.json, which docs/gpu_model.md and the benchmarks on a GPU use.

The instructions on the path that nearly all threads take are counted. These are all instructions of
the kernel, except those of subroutines, those of blocks that call a subroutine (roots and quotients
of extreme arguments, 64-bit divisions of a row's number), and those of blocks whose source lines a
workload never reaches (`VARIANTS`). Predicated instructions count, because they are issued in any
case. Special cases that are inlined without a call count too, so that float64 figures are upper
bounds.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mcmargin.engines.cupy_kernels import OPTIONS, kernel_folder, source_of

TARGET = "sm_90"
OUT = Path("docs/gpu_instructions.json")

TABLE = ("const T held = fmin", "g *= exp(tail[0]")
BEYOND = ("if (fabs(x) > edge) {", "g *= exp(tail[0]")
SCALE = ("z = tabled ?", "z = tabled ?")
EGARCH = ("const T log_h =", "return fmax(exp(log_h)")
LINEAR = ("const T slope =", "return asset.beta * h + slope")
LIMITED = ("if (hit_floor || hit_cap) {", "if (before) before[state] =")
"""Lines of kernels/evolve.cu: from the line with the first text to the line with the second."""


@dataclass(frozen=True)
class Variant:
    """One kernel with the branches of one use.

    Attributes
    ----------
    file, name : str
        Kernel file and instantiation.
    unit : str
        The unit of work that instructions are counted for.
    units : int
        How many units one thread makes; in a loop, how many one turn makes.
    skipped : tuple of (str, str)
        Source lines that are not reached.
    """

    file: str
    name: str
    unit: str
    units: int = 1
    skipped: tuple[tuple[str, str], ...] = ()


def _evolve(name, *skipped):
    # Few paths are limited.
    return Variant("evolve.cu", name, "asset-step", 1, (*skipped, LIMITED))


VARIANTS = {
    "normals, float32": Variant("normals.cu", "normals<float>", "normal", 8),
    "normals, float64": Variant("normals.cu", "normals<double>", "normal", 8),
    "mixing": Variant("shared_draws.cu", "mixing<float>", "path-step", 4),
    "dates": Variant("shared_draws.cu", "dates", "path-step", 4),
    "evolve, scaled, float32": _evolve("evolve<float, 0>", TABLE, EGARCH),
    "evolve, tabled, float32": _evolve("evolve<float, 0>", BEYOND, SCALE, EGARCH),
    "evolve, EGARCH, float32": _evolve("evolve<float, 0>", TABLE, LINEAR),
    "evolve, dates, float32": _evolve("evolve<float, 1>", EGARCH),
    "evolve, scaled, float64": _evolve("evolve<double, 0>", TABLE, EGARCH),
    "evolve, tabled, float64": _evolve("evolve<double, 0>", BEYOND, SCALE, EGARCH),
}

PIPES = {
    "float32 add and multiply": ("FADD", "FMUL", "FFMA", "HFMA2"),
    "float64": ("DADD", "DMUL", "DFMA", "DSETP", "DMNMX"),
    "integer multiply": ("IMAD", "IMUL"),
    "root, exponential, conversion": ("MUFU", "F2I", "I2F", "F2F", "FRND", "FCHK"),
    "memory": ("LDG", "STG", "LDC", "LD", "ST"),
    "uniform": ("U", "R2UR", "S2UR", "S2R", "CS2R"),
    "control": ("BRA", "EXIT", "BSSY", "BSYNC", "NOP", "CALL", "RET", "WARPSYNC"),
}
"""Opcodes by the unit that runs them; all others are integer additions, comparisons, logic, shifts
and moves."""
OTHER = "integer add, compare, logic"

RATES = {
    "float32 add and multiply": 128,
    "float64": 64,
    "integer multiply": 64,
    OTHER: 64,
    "root, exponential, conversion": 16,
}
"""Results a cycle of one multiprocessor of compute capability 9.0: CUDA C++ Programming Guide,
"Throughput of Native Arithmetic Instructions". Conversions take the lowest rate, 16."""
ISSUED = 128
"""Instructions of single threads that its four schedulers issue a cycle."""


def pipe_of(opcode):
    """The unit that runs an opcode such as IMAD.WIDE.U32."""
    plain = opcode.partition(".")[0]
    if plain == "I2FP":  # on the integer unit, unlike I2F
        return OTHER
    if opcode.startswith("IMAD.MOV") or opcode == "IMAD.IADD" or opcode == "IMAD.X":
        return OTHER
    for pipe, opcodes in PIPES.items():
        if plain in opcodes or (pipe == "uniform" and plain.startswith("U")):
            return pipe
    return OTHER


@dataclass(frozen=True)
class Block:
    """Instructions that run one after another.

    Attributes
    ----------
    labels : list of str
    instructions : list of (str, str)
        Opcodes and operands.
    lines : set of int
        Lines of the kernel's file; a block without any has the line of the block before.
    """

    labels: list
    instructions: list
    lines: set


def disassemble(variant):
    """The kernel's blocks, without its subroutines."""
    source = source_of(variant.file)
    with tempfile.TemporaryDirectory() as folder:
        text, cubin = Path(folder) / "kernel.cu", Path(folder) / "kernel.cubin"
        # Taking a kernel's address instantiates it.
        text.write_text(f"{source}void* const kept[] = {{(void*)&{variant.name}}};\n")
        flags = (*OPTIONS, "-ftz=true", f"-arch={TARGET}", "-cubin", "-lineinfo", "-w")
        subprocess.run(["nvcc", *flags, "-o", str(cubin), str(text)], check=True)
        listing = subprocess.run(
            [nvdisasm(), "-c", "-gi", str(cubin)], check=True, capture_output=True, text=True
        ).stdout
    return parse(listing, variant)


def parse(listing, variant):
    """Blocks of the one function whose mangled name begins with the kernel's."""
    short = re.match(r"\w+", variant.name)[0]
    # shared_draws.cu has a kernel that is no template, and so is always there.
    sections = re.split(r"^//-+ \.text\.(\S+) +-+$", listing, flags=re.MULTILINE)[1:]
    bodies = dict(zip(sections[::2], sections[1::2], strict=True))
    (body,) = (text for mangled, text in bodies.items() if f"{len(short)}{short}" in mangled)
    blocks, here, last, named = [], Block([], [], set()), 0, False
    for line in body.splitlines():
        label = re.match(r"(\.L\w+|\$\S+):", line)
        place = re.search(rf'//## .*?"\S*kernels/{re.escape(variant.file)}", line (\d+)', line)
        found = re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z]\S*)\s*(.*?) ?;", line)
        if label and label[1].startswith("$"):
            break
        if label and here.instructions:
            here = _closed(here, blocks, last)
        if label:
            here.labels.append(label[1])
        elif place and not named:
            # This is the innermost of the inlined calls; the outer ones follow.
            last, named = int(place[1]), True
            here.lines.add(last)
        elif found:
            named = False
            here.instructions.append((found[1], found[2]))
            if found[1].partition(".")[0] in ("BRA", "EXIT"):
                here = _closed(here, blocks, last)
    _closed(here, blocks, last)
    return blocks


def _closed(block, blocks, line):
    """Keep a block, with the last line seen if it names none; return a new block."""
    if not block.lines:
        block.lines.add(line)
    if block.instructions or block.labels:
        blocks.append(block)
    return Block([], [], set())


def lines_of(variant):
    """Numbers of the source lines that a variant does not reach."""
    source = (kernel_folder() / variant.file).read_text().splitlines()
    numbers = set()
    for first, last in variant.skipped:
        (start,) = (at for at, line in enumerate(source, 1) if first in line)
        (stop,) = (at for at, line in enumerate(source, 1) if last in line)
        numbers |= set(range(start, stop + 1))
    return numbers


def is_called(block):
    """Whether a block calls a subroutine."""
    return any(opcode.startswith("CALL") for opcode, _ in block.instructions)


def loop_of(blocks):
    """Numbers of the blocks of the longest loop; empty if there is no loop."""
    place = {label: at for at, block in enumerate(blocks) for label in block.labels}
    loops = [range(0)]
    for at, block in enumerate(blocks):
        # A kernel ends in a branch to itself, which is never reached.
        opcode, operands = block.instructions[-1] if len(block.instructions) > 1 else ("", "")
        target = re.search(r"\((\.L\w+)\)", operands)
        if opcode == "BRA" and target and place[target[1]] <= at:
            loops.append(range(place[target[1]], at + 1))
    return max(loops, key=len)


def count(variant):
    """Instructions of one unit of work by pipe, and those of once a thread or once a horizon."""
    blocks, skipped = disassemble(variant), lines_of(variant)
    loop = loop_of(blocks)
    body, once, kept = Counter(), Counter(), Counter()
    roots = 0
    for at, block in enumerate(blocks):
        if is_called(block) or block.lines <= skipped:
            continue
        opcodes = [opcode for opcode, _ in block.instructions]
        stores = any(opcode.startswith("STG") for opcode in opcodes)
        # Within the loop results are stored at horizons alone.
        part = body if not loop else once if at not in loop else kept if stores else body
        part.update(pipe_of(opcode) for opcode in opcodes)
        roots += at in loop and sum(opcode.startswith("MUFU.RSQ") for opcode in opcodes)
    # Each step has one root, which tells how often the compiler unrolled the loop.
    turns = roots if loop else variant.units
    a_unit = {pipe: round(number / turns, 2) for pipe, number in sorted(body.items())}
    issued = sum(body.values()) / turns
    cycles = {pipe: a_unit.get(pipe, 0) / rate for pipe, rate in RATES.items()}
    cycles["issue"] = issued / ISSUED
    bound = max(cycles, key=cycles.get)
    return {
        "kernel": variant.name,
        "unit": variant.unit,
        "instructions": round(issued, 2),
        "by_pipe": a_unit,
        "once_a_thread": sum(once.values()),
        "once_a_horizon": round(sum(kept.values()) / turns, 2),
        "bound_by": bound,
        "cycles": round(cycles[bound], 5),
    }


def nvdisasm():
    """The path of NVIDIA's disassembler: the one on PATH, or the one of its PyPI package."""
    found = shutil.which("nvdisasm")
    packaged = (Path(each) / "nvidia/cu13/bin/nvdisasm" for each in sys.path)
    return found or next((str(path) for path in packaged if path.exists()), None)


def missing():
    """The programs that are needed and not found; None if all are found."""
    if shutil.which("nvcc") is None:
        return "nvcc is not installed"
    if nvdisasm() is None:
        return "nvdisasm is not installed (PyPI nvidia-cuda-nvdisasm)"
    return None


def compiler():
    """The version that the compiler prints."""
    said = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True)
    return re.search(r"V([\d.]+)", said.stdout)[1]


def main():
    """Count every variant and write the file."""
    reason = missing()
    if reason is not None:
        raise SystemExit(f"sass_counts: {reason}")
    counts = {name: count(variant) for name, variant in VARIANTS.items()}
    kept = {"compiler": f"nvcc {compiler()}", "target": TARGET, "rates": RATES}
    kept |= {"issued": ISSUED, "kernels": counts}
    OUT.write_text(json.dumps(kept, indent=1) + "\n")
    for name, found in counts.items():
        print(
            f"{name}: {found['instructions']} instructions a {found['unit']}, "
            f"{found['cycles']} cycles by {found['bound_by']}"
        )


if __name__ == "__main__":
    main()
